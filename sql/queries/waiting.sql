-- Jobs that wait. A class is the jobs that demand exactly the same; a queue is what one owner has waiting in one class
-- at one priority, oldest first.

-- name: waiting_due
-- Jobs whose time has come wait like all others from now on.
UPDATE jobs SET not_before = NULL, waiting = NULL
WHERE state = 'pending' AND not_before <= coalesce(%(now)s, now());

-- name: waiting_class_names
-- Each class with due jobs: one look into jobs_due for each, however many jobs it has (a loose index scan).
WITH RECURSIVE found AS (
    (SELECT class FROM jobs WHERE state = 'pending' AND not_before IS NULL ORDER BY class LIMIT 1)
    UNION ALL
    SELECT (SELECT class FROM jobs WHERE state = 'pending' AND not_before IS NULL AND class > found.class
            ORDER BY class LIMIT 1)
    FROM found WHERE found.class IS NOT NULL
)
SELECT class AS class_name FROM found WHERE class IS NOT NULL;

-- name: waiting_classes
-- What the jobs of these classes demand, as one of them says it.
SELECT one.* FROM unnest(%(names)s::text[]) AS named(class) CROSS JOIN LATERAL (
    SELECT class AS class_name, workflow, requires, prefers, group_name, min_vram_mb, above_vram_mb, gpus, only_workers,
           exclude_workers, failed_on
    FROM jobs WHERE state = 'pending' AND not_before IS NULL AND jobs.class = named.class
    ORDER BY class, -priority, owner LIMIT 1
) one;

-- name: waiting_heads
-- The first jobs of each queue of these classes, at most so many. The repetition of a strict job waits until the job
-- that it repeats has no process left.
WITH RECURSIVE queues AS (
    SELECT first.* FROM unnest(%(classes)s::text[]) AS wanted(class) CROSS JOIN LATERAL (
        SELECT jobs.class, -priority AS rank, owner FROM jobs
        WHERE state = 'pending' AND not_before IS NULL AND jobs.class = wanted.class
        ORDER BY jobs.class, -priority, owner LIMIT 1
    ) first
    UNION ALL
    SELECT next.* FROM queues CROSS JOIN LATERAL (
        SELECT jobs.class, -priority AS rank, owner FROM jobs
        WHERE state = 'pending' AND not_before IS NULL AND jobs.class = queues.class
          AND (-priority, owner) > (queues.rank, queues.owner)
        ORDER BY jobs.class, -priority, owner LIMIT 1
    ) next
)
SELECT head.*, extract(epoch FROM now() - head.created_at)::float8 AS age_s
FROM queues CROSS JOIN LATERAL (
    SELECT id, attempt, class AS class_name, priority, owner, created_at FROM jobs
    WHERE state = 'pending' AND not_before IS NULL AND jobs.class = queues.class
      AND -priority = queues.rank AND jobs.owner = queues.owner AND id NOT IN (SELECT id FROM barred)
    ORDER BY created_at, id
    LIMIT %(each)s
) head;

-- name: waiting_slots_in_use
-- By owner, of everything that has not ended.
SELECT jobs.owner, sum(attempts.slots) AS slots
FROM attempts JOIN jobs ON jobs.id = attempts.job_id WHERE attempts.end_word IS NULL GROUP BY jobs.owner;

-- name: waiting_count
SELECT count(*) AS jobs FROM jobs WHERE state = 'pending';

-- name: waiting_note_jobs
-- Why these wait for other reasons than their class.
UPDATE jobs SET waiting = note.why, waiting_for = note.waiting_for
FROM jsonb_to_recordset(%(notes)s) AS note(job text, why text, waiting_for text)
WHERE jobs.id = note.job AND jobs.state = 'pending' AND jobs.waiting IS DISTINCT FROM note.why;

-- name: waiting_clear_jobs
-- All others wait as their class does.
UPDATE jobs SET waiting = NULL
WHERE state = 'pending' AND not_before IS NULL AND waiting IS NOT NULL AND NOT id = ANY(%(but)s)
  AND id NOT IN (SELECT id FROM barred);

-- name: waiting_note_barred
-- Why a repetition waits that waiting_heads leaves out.
UPDATE jobs SET waiting = %(why)s, waiting_for = %(waiting_for)s
WHERE id IN (SELECT id FROM barred) AND waiting IS DISTINCT FROM %(why)s;

-- name: waiting_note_classes
-- What dispatch knows takes the place of what was guessed before it looked.
INSERT INTO classes (name, why, waiting_for)
SELECT name, why, waiting_for FROM jsonb_to_recordset(%(notes)s) AS note(name text, why text, waiting_for text)
ORDER BY name
ON CONFLICT (name) DO UPDATE SET why = excluded.why, waiting_for = excluded.waiting_for, at = now()
WHERE %(known)s AND classes.why <> excluded.why;

-- name: waiting_forget_classes
-- Classes in which nothing waits.
DELETE FROM classes WHERE NOT EXISTS (
    SELECT 1 FROM jobs WHERE state = 'pending' AND not_before IS NULL AND jobs.class = classes.name);
