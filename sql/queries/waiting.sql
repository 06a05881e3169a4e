-- Jobs that wait. A queue is what one owner has waiting in one class at one priority, oldest first.

-- name: waiting_due
-- Those whose time has come wait like all others from now on.
UPDATE jobs SET not_before = NULL, waiting = NULL
WHERE state = 'pending' AND not_before <= coalesce(%(now)s, now());

-- name: waiting_classes
-- Each class with due jobs: what they demand, and why they wait as it was noted. One look into jobs_due for each
-- class, however many jobs it has (a loose index scan).
WITH RECURSIVE found AS (
    (SELECT class FROM jobs WHERE state = 'pending' AND not_before IS NULL ORDER BY class LIMIT 1)
    UNION ALL
    SELECT (SELECT class FROM jobs WHERE state = 'pending' AND not_before IS NULL AND class > found.class
            ORDER BY class LIMIT 1)
    FROM found WHERE found.class IS NOT NULL
)
SELECT found.class, classes.why, one.*
FROM found CROSS JOIN LATERAL (
    SELECT workflow, requires, prefers, group_name, min_vram_mb, gpus, only_workers, exclude_workers FROM jobs
    WHERE state = 'pending' AND not_before IS NULL AND jobs.class = found.class
    ORDER BY class, -priority, owner LIMIT 1
) one LEFT JOIN classes ON classes.name = found.class;

-- name: waiting_heads
-- Of each queue of these classes the first so many that may find room; with the workers on which each has failed.
-- The repetition of a strict job waits until the job that it repeats has no process left.
WITH RECURSIVE no_room AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(no_room)s)
        AS one(class text, least_mb int, without text[], failed_on text[], above_mb int)
), queues AS (
    SELECT first.* FROM unnest(%(classes)s::text[]) AS wanted(class) CROSS JOIN LATERAL (
        SELECT jobs.class, -priority AS rank, owner FROM jobs
        WHERE state = 'pending' AND not_before IS NULL AND jobs.class = wanted.class
        ORDER BY jobs.class, -priority, owner LIMIT 1
    ) first
    WHERE NOT EXISTS (
        SELECT 1 FROM no_room
        WHERE no_room.class = wanted.class AND without = '{}' AND failed_on = '{}' AND above_mb = 0
        AND least_mb <= coalesce((
            SELECT min(min_vram_mb) FROM jobs
            WHERE state = 'pending' AND not_before IS NULL AND jobs.class = wanted.class
        ), 0)
    )
    UNION ALL
    SELECT next.* FROM queues CROSS JOIN LATERAL (
        SELECT jobs.class, -priority AS rank, owner FROM jobs
        WHERE state = 'pending' AND not_before IS NULL AND jobs.class = queues.class
          AND (-priority, owner) > (queues.rank, queues.owner)
        ORDER BY jobs.class, -priority, owner LIMIT 1
    ) next
)
SELECT head.*, true AS attempt_ended, extract(epoch FROM now() - head.created_at)::float8 AS age_s
FROM queues CROSS JOIN LATERAL (
    SELECT jobs.*, failed_on FROM jobs CROSS JOIN LATERAL (
        SELECT CASE WHEN attempt > 1 THEN
            ARRAY(SELECT DISTINCT worker_id FROM attempts WHERE job_id = jobs.id AND end_word = 'failed' ORDER BY 1)
        ELSE '{}' END AS failed_on OFFSET 0
    ) before
    WHERE state = 'pending' AND not_before IS NULL AND jobs.class = queues.class AND -priority = queues.rank
      AND jobs.owner = queues.owner AND id NOT IN (SELECT id FROM barred)
      -- A subquery of its own, not EXISTS: joined, the order of the index would be lost.
      AND (SELECT true FROM no_room WHERE no_room.class = jobs.class
           AND least_mb <= coalesce(jobs.min_vram_mb, 0) AND without <@ jobs.exclude_workers
           AND (no_room.failed_on = '{}' AND above_mb = 0
                OR no_room.failed_on = before.failed_on AND above_mb = coalesce(jobs.above_vram_mb, 0)
                   AND least_mb = coalesce(jobs.min_vram_mb, 0) AND without @> jobs.exclude_workers)
           LIMIT 1) IS NULL
    ORDER BY created_at, id
    LIMIT %(each)s
) head;

-- name: waiting_larger
-- Of this class those that demand more memory.
SELECT id, min_vram_mb FROM jobs
WHERE state = 'pending' AND not_before IS NULL AND class = %(class_name)s AND min_vram_mb > %(than_mb)s
ORDER BY class, -priority, owner, created_at, id LIMIT %(most)s;

-- name: waiting_slots_in_use
-- By owner, of everything that has not ended.
SELECT jobs.owner, sum(attempts.slots) AS slots
FROM attempts JOIN jobs ON jobs.id = attempts.job_id WHERE attempts.end_word IS NULL GROUP BY jobs.owner;

-- name: waiting_count
SELECT count(*) AS jobs FROM jobs WHERE state = 'pending';

-- name: waiting_note_jobs
-- Why these wait for other reasons than their class.
UPDATE jobs SET waiting = note.why
FROM jsonb_to_recordset(%(notes)s) AS note(job text, why text)
WHERE jobs.id = note.job AND jobs.state = 'pending' AND jobs.waiting IS DISTINCT FROM note.why;

-- name: waiting_clear_jobs
-- The others do not, or do not any more.
UPDATE jobs SET waiting = NULL
WHERE state = 'pending' AND not_before IS NULL AND waiting IS NOT NULL AND NOT id = ANY(%(but)s)
  AND id NOT IN (SELECT id FROM barred);

-- name: waiting_note_barred
-- Why a repetition waits that waiting_heads leaves out.
UPDATE jobs SET waiting = %(why)s
WHERE id IN (SELECT id FROM barred) AND waiting IS DISTINCT FROM %(why)s;

-- name: waiting_note_classes
-- What is only guessed, before dispatch has looked, gives way to what it knows.
INSERT INTO classes (name, why)
SELECT name, why FROM jsonb_to_recordset(%(notes)s) AS note(name text, why text) ORDER BY name
ON CONFLICT (name) DO UPDATE SET why = excluded.why, at = now() WHERE %(known)s AND classes.why <> excluded.why;

-- name: waiting_forget_classes
-- Those in which nothing waits.
DELETE FROM classes
WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'pending' AND not_before IS NULL AND jobs.class = classes.name);
