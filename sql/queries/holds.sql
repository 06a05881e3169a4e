-- Holds: no job of a workflow on hold is started, but one at a time that tries (waiting_assign chooses it).

-- name: hold_lock
-- The open hold of a workflow, and whether this attempt is the one that tries.
SELECT met, coalesce(probe_job = %(job)s AND probe_attempt = %(attempt)s, false) AS is_probe
FROM holds WHERE workflow = %(workflow)s FOR UPDATE;

-- name: hold_meet
-- Opens the hold that an attempt met. Where it is open, only the attempt that tried counts and moves the time on; why
-- and the longest run are of whichever met it.
INSERT INTO holds (workflow, why, until, longest_s)
SELECT %(workflow)s, %(why)s, now() + make_interval(secs => %(pause_s)s),
       extract(epoch FROM now() - coalesce(started_at, now()))::float8
FROM attempts WHERE job_id = %(job)s AND number = %(attempt)s
ON CONFLICT (workflow) DO UPDATE SET
    why = excluded.why, longest_s = greatest(holds.longest_s, excluded.longest_s),
    met = holds.met + CASE WHEN %(is_probe)s THEN 1 ELSE 0 END,
    until = CASE WHEN %(is_probe)s THEN excluded.until ELSE holds.until END
RETURNING since, until, met;

-- name: hold_through
-- Ended by the attempt that tried.
DELETE FROM holds WHERE probe_job = %(job)s AND probe_attempt = %(attempt)s RETURNING workflow, probe_job AS job;

-- name: holds_outlasted
-- Ended where the attempt that tries has run twice as long as those that met the hold, within these bounds. One on a
-- worker that is not healthy may be dead already.
DELETE FROM holds USING attempts JOIN workers ON workers.id = attempts.worker_id
WHERE attempts.job_id = probe_job AND attempts.number = probe_attempt AND attempts.end_word IS NULL
  AND workers.health = 'healthy'
  AND now() - attempts.started_at >= make_interval(secs => least(%(most_s)s, greatest(%(least_s)s, 2 * longest_s)))
RETURNING holds.workflow, probe_job AS job;

-- name: hold_lift
DELETE FROM holds WHERE workflow = %(workflow)s RETURNING workflow;

-- name: holds_listed
-- With the job that tries now, if any does; of one workflow or of all.
SELECT workflow, why, since, until, met, probe.id AS probe, until <= now() AND probe.id IS NULL AS may_try
FROM holds LEFT JOIN LATERAL (
    SELECT id FROM jobs WHERE id = probe_job AND attempt = probe_attempt AND state IN ('assigned', 'running')
) probe ON true
WHERE %(workflow)s::text IS NULL OR workflow = %(workflow)s
ORDER BY workflow;

-- name: holds_overtaken
-- What was given to workers before a hold began, and has not started.
SELECT jobs.id AS job, jobs.attempt FROM jobs JOIN holds USING (workflow)
WHERE state = 'assigned' AND (jobs.id, jobs.attempt) IS DISTINCT FROM (probe_job, probe_attempt);
