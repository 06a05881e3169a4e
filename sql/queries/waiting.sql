-- Jobs that wait. A class is the jobs that demand exactly the same; a queue is what one owner has waiting in one class
-- at one priority, oldest first.

-- name: waiting_due
-- Jobs whose time has come wait like all others from now on.
UPDATE jobs SET not_before = NULL, waiting = NULL
WHERE state = 'pending' AND not_before <= coalesce(%(now)s, now());

-- name: waiting_class_names
-- Each class with due jobs: one look into jobs_due for each, however many jobs it has (a loose index scan).
WITH RECURSIVE found AS (
    (SELECT class FROM due_jobs ORDER BY class LIMIT 1)
    UNION ALL
    SELECT (SELECT class FROM due_jobs WHERE class > found.class
            ORDER BY class LIMIT 1)
    FROM found WHERE found.class IS NOT NULL
)
SELECT class AS class_name FROM found WHERE class IS NOT NULL;

-- name: waiting_classes
-- What the jobs of these classes demand, as one of them says it.
SELECT one.* FROM unnest(%(names)s::text[]) AS named(class) CROSS JOIN LATERAL (
    SELECT class AS class_name, workflow, requires, prefers, group_name, min_vram_mb, above_vram_mb, gpus, only_workers,
           exclude_workers, failed_on
    FROM due_jobs WHERE class = named.class
    ORDER BY class, -priority, owner LIMIT 1
) one;

-- name: waiting_heads
-- The first jobs of each queue of these classes, at most so many. The repetition of a strict job waits until the job
-- that it repeats has no process left.
WITH RECURSIVE queues AS (
    SELECT first.* FROM unnest(%(classes)s::text[]) AS wanted(class) CROSS JOIN LATERAL (
        SELECT class, -priority AS rank, owner FROM due_jobs WHERE class = wanted.class
        ORDER BY class, -priority, owner LIMIT 1
    ) first
    UNION ALL
    SELECT next.* FROM queues CROSS JOIN LATERAL (
        SELECT class, -priority AS rank, owner FROM due_jobs WHERE class = queues.class
          AND (-priority, owner) > (queues.rank, queues.owner)
        ORDER BY class, -priority, owner LIMIT 1
    ) next
)
SELECT head.*, extract(epoch FROM now() - head.created_at)::float8 AS age_s
FROM queues CROSS JOIN LATERAL (
    SELECT id, attempt, class AS class_name, priority, owner, created_at FROM due_jobs WHERE class = queues.class
      AND -priority = queues.rank AND owner = queues.owner AND id NOT IN (SELECT id FROM barred)
    ORDER BY created_at, id
    LIMIT %(each)s
) head;

-- name: waiting_assign
-- Moves jobs that are still pending with this attempt and demand what they demanded when they were placed, to workers
-- that are active and healthy in this incarnation, and set up as they were then; returns them. The attempt's row is
-- written by the same statement. strict and timeout_s are what holds where the job names none.
-- Of a workflow on hold one job is moved, and only when it is time and no other tries. Of two statements that would
-- choose one at once the second finds the hold as the first has left it, but jobs as they were before: so it compares
-- `tries`.
WITH placed AS (
    SELECT * FROM jsonb_to_recordset(%(assignments)s)
        AS one(job text, attempt integer, class_name text, worker text, incarnation bigint, gpus text[],
               vram_mb integer, whole boolean, slots integer, strict boolean, timeout_s integer, revision bigint,
               placement jsonb)
), may_try AS MATERIALIZED (
    SELECT workflow, tries FROM holds WHERE until <= now() AND NOT EXISTS (
        SELECT 1 FROM jobs WHERE id = probe_job AND attempt = probe_attempt AND state IN ('assigned', 'running'))
), probes AS (
    UPDATE holds SET probe_job = oldest.job, probe_attempt = oldest.attempt, tries = holds.tries + 1
    FROM may_try CROSS JOIN LATERAL (
        SELECT placed.job, placed.attempt FROM placed
        JOIN jobs ON jobs.id = placed.job AND jobs.attempt = placed.attempt AND jobs.state = 'pending'
        WHERE jobs.workflow = may_try.workflow ORDER BY jobs.created_at, jobs.id LIMIT 1) oldest
    WHERE holds.workflow = may_try.workflow AND holds.tries = may_try.tries
    RETURNING probe_job
), moved AS (
    UPDATE jobs SET state = 'assigned', worker_id = placed.worker, incarnation = placed.incarnation, nonce = NULL,
                    assigned_at = now(), waiting = NULL, not_before = NULL, progress_number = 0
    FROM placed JOIN workers ON workers.id = placed.worker AND workers.incarnation = placed.incarnation
                          AND workers.intent = 'active' AND workers.health = 'healthy'
                          AND workers.revision = coalesce(placed.revision, workers.revision)
    WHERE jobs.id = placed.job AND jobs.attempt = placed.attempt AND jobs.state = 'pending'
      AND jobs.class = coalesce(placed.class_name, jobs.class)
      AND (jobs.workflow NOT IN (SELECT workflow FROM holds) OR jobs.id IN (SELECT probe_job FROM probes))
    RETURNING jobs.*, placed.gpus AS reserved_gpus, placed.vram_mb, placed.whole, placed.slots, placed.placement,
              jobs.strict OR placed.strict AS held_strictly,
              coalesce(jobs.timeout_s, placed.timeout_s) AS limit_s
), written AS (
    INSERT INTO attempts (job_id, number, worker_id, incarnation, gpus, vram_mb, whole, slots, strict, timeout_s,
                          placement)
    SELECT id, attempt, worker_id, incarnation, coalesce(reserved_gpus, '{}'), vram_mb, whole, slots, held_strictly,
           limit_s, placement
    FROM moved
)
SELECT *, false AS attempt_ended FROM moved;

-- name: waiting_slots_in_use
-- By owner, of everything that has not ended.
SELECT jobs.owner, sum(attempts.slots) AS slots
FROM attempts JOIN jobs ON jobs.id = attempts.job_id WHERE attempts.end_word IS NULL GROUP BY jobs.owner;

-- name: waiting_count
SELECT count(*) AS jobs FROM jobs WHERE state = 'pending';

-- name: waiting_note_barred
-- Why a repetition waits that waiting_heads leaves out.
UPDATE jobs SET waiting = %(why)s, waiting_for = %(waiting_for)s
WHERE id IN (SELECT id FROM barred) AND waiting IS DISTINCT FROM %(why)s;

-- name: waiting_clear_barred
-- Due jobs that are not barred any longer wait as their class does.
UPDATE jobs SET waiting = NULL
WHERE state = 'pending' AND not_before IS NULL AND waiting IS NOT NULL AND id NOT IN (SELECT id FROM barred);

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
    SELECT 1 FROM due_jobs WHERE class = classes.name);
