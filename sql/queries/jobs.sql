-- Jobs: each statement that moves one compares what it was, so of two movers one wins.

-- name: jobs_submit
-- All or none. A wish has columns by their names; those that it lacks are as in a job that nobody has looked at yet.
-- Of those that are submitted together each is a microsecond younger than the one before.
INSERT INTO jobs
SELECT job.* FROM jsonb_populate_record(NULL::jobs,
        '{"state": "pending", "attempt": 1, "failures": 0, "failed_on": [], "progress": 0, "progress_number": 0,
          "text": ""}') AS fresh,
    jsonb_array_elements(%(jobs)s) WITH ORDINALITY AS wish(columns, place),
    jsonb_populate_record(fresh, wish.columns
        || jsonb_build_object('created_at', now() + make_interval(secs => (wish.place - 1) / 1e6))) AS job
ORDER BY wish.place
RETURNING *, class AS class_name, false AS attempt_ended,
    CASE WHEN not_before IS NULL THEN (SELECT why FROM classes WHERE classes.name = jobs.class) END AS class_why,
    CASE WHEN not_before IS NULL THEN (SELECT waiting_for FROM classes WHERE classes.name = jobs.class) END
        AS class_waiting_for;

-- name: job_find
SELECT jobs.*, (attempts.end_word IS NOT NULL OR attempts.number IS NULL) AS attempt_ended, classes.why AS class_why,
       classes.waiting_for AS class_waiting_for
FROM jobs LEFT JOIN attempts ON attempts.job_id = jobs.id AND attempts.number = jobs.attempt
LEFT JOIN classes ON classes.name = jobs.class AND jobs.state = 'pending' AND jobs.not_before IS NULL
WHERE jobs.id = %(id)s;

-- name: jobs_listed
-- Newest first; `before` is the (created_at, id) of the last one already seen.
SELECT jobs.*, (attempts.end_word IS NOT NULL OR attempts.number IS NULL) AS attempt_ended, classes.why AS class_why,
       classes.waiting_for AS class_waiting_for
FROM jobs LEFT JOIN attempts ON attempts.job_id = jobs.id AND attempts.number = jobs.attempt
LEFT JOIN classes ON classes.name = jobs.class AND jobs.state = 'pending' AND jobs.not_before IS NULL
WHERE (%(owner)s::text IS NULL OR owner = %(owner)s)
  AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s))
  AND (%(workflow)s::text IS NULL OR workflow = %(workflow)s)
  AND (%(before_at)s::timestamptz IS NULL OR (jobs.created_at, jobs.id) < (%(before_at)s, %(before_id)s))
ORDER BY jobs.created_at DESC, jobs.id DESC
LIMIT %(limit)s;

-- name: job_claim
-- A claim sent twice carries the same nonce and is true twice; another nonce finds the job running.
-- The checkpoint it resumes from is the newest of the attempts before it; a claim that is sent again finds its own too.
WITH claimed AS (
    UPDATE jobs SET state = 'running', nonce = %(nonce)s, started_at = coalesce(started_at, now())
    WHERE id = %(job)s AND attempt = %(attempt)s AND worker_id = %(worker)s AND incarnation = %(incarnation)s
      AND incarnation = (SELECT incarnation FROM workers WHERE workers.id = %(worker)s)
      AND (state = 'assigned' OR (state = 'running' AND nonce = %(nonce)s))
    RETURNING id, attempt
)
UPDATE attempts SET started_at = coalesce(started_at, now()),
    resumed_from = coalesce(resumed_from, (
        SELECT jsonb_build_object('attempt', c.attempt, 'number', c.number, 'at', c.at, 'fraction', c.fraction,
                                  'step', c.state->'step')
        FROM checkpoints c WHERE c.job_id = claimed.id AND c.attempt < claimed.attempt
        ORDER BY c.attempt DESC, c.number DESC LIMIT 1))
FROM claimed WHERE attempts.job_id = claimed.id AND attempts.number = claimed.attempt
RETURNING attempts.started_at < now() AS before;

-- name: jobs_take
-- Makes attempts that stand in these states pending again, attempt + 1, and ends their rows.
-- Which: one job's attempt, or all of a worker's. Strict running ones are left out where %(spare_strict)s.
-- %(died)s says that the worker died under those that ran. Lost steps: where checkpoints say "step" of "steps".
WITH taken AS (
    SELECT jobs.id, jobs.attempt, jobs.worker_id, jobs.state, jobs.progress FROM jobs
    JOIN attempts ON attempts.job_id = jobs.id AND attempts.number = jobs.attempt
    WHERE state = ANY(%(states)s)
      AND (%(job)s::text IS NULL OR (jobs.id = %(job)s AND jobs.attempt = %(attempt)s))
      AND (%(worker)s::text IS NULL OR jobs.worker_id = %(worker)s)
      AND NOT (%(spare_strict)s AND attempts.strict AND state = 'running')
    FOR UPDATE OF jobs
), kept AS (
    SELECT DISTINCT ON (c.job_id) c.job_id, c.attempt, c.fraction, c.at,
        CASE WHEN jsonb_typeof(c.state->'step') = 'number' AND jsonb_typeof(c.state->'steps') = 'number'
             THEN greatest(0, round(taken.progress * (c.state->>'steps')::numeric - (c.state->>'step')::numeric)) END
            AS lost_steps
    FROM checkpoints c JOIN taken ON taken.id = c.job_id
    ORDER BY c.job_id, c.attempt DESC, c.number DESC
), moved AS (
    UPDATE jobs SET state = 'pending', attempt = jobs.attempt + 1, worker_id = NULL, incarnation = NULL, nonce = NULL,
                    progress_number = 0, not_before = NULL, progress = coalesce(kept.fraction, 0)
    FROM taken LEFT JOIN kept ON kept.job_id = taken.id WHERE jobs.id = taken.id
    RETURNING jobs.id
), ended AS (
    UPDATE attempts SET end_word = %(end_word)s, cause = %(cause)s, ended_at = now(),
        worker_died = %(died)s AND taken.state = 'running',
        lost_s = CASE WHEN attempts.started_at IS NOT NULL THEN extract(epoch FROM now() - greatest(
            attempts.started_at, CASE WHEN kept.attempt = attempts.number THEN kept.at END)) END,
        lost_steps = CASE WHEN attempts.started_at IS NOT NULL THEN kept.lost_steps END
    FROM taken LEFT JOIN kept ON kept.job_id = taken.id
    WHERE attempts.job_id = taken.id AND attempts.number = taken.attempt
    RETURNING attempts.job_id, attempts.lost_s
)
SELECT taken.id, taken.attempt, taken.worker_id, taken.state, ended.lost_s, jobs.owner, jobs.name, jobs.workflow
FROM taken JOIN jobs ON jobs.id = taken.id LEFT JOIN ended ON ended.job_id = taken.id;

-- name: job_cancel
-- An attempt that has not started ends here; one that runs ends when its processes are gone.
WITH cancelled AS (
    UPDATE jobs SET state = 'cancelled', ended_at = now(), waiting = NULL, not_before = NULL
    WHERE id = %(id)s AND state IN ('pending', 'assigned', 'running')
    RETURNING *
), ended AS (
    UPDATE attempts SET end_word = 'cancelled', cause = %(cause)s, ended_at = now()
    FROM cancelled
    WHERE attempts.job_id = cancelled.id AND attempts.number = cancelled.attempt AND attempts.started_at IS NULL
    RETURNING attempts.job_id
)
SELECT cancelled.*, NOT EXISTS (
    SELECT 1 FROM attempts WHERE job_id = cancelled.id AND started_at IS NOT NULL AND end_word IS NULL
) AS attempt_ended
FROM cancelled;

-- name: jobs_held
-- Every attempt that has not ended: assigned, running, or cancelled with processes left.
SELECT jobs.id AS job, attempts.number AS attempt, attempts.worker_id AS worker, attempts.incarnation, jobs.state,
       jobs.nonce, attempts.gpus AS given_gpus, attempts.vram_mb, attempts.whole, attempts.slots, attempts.strict,
       attempts.timeout_s, jobs.workflow, jobs.requires, jobs.prefers, jobs.group_name, jobs.min_vram_mb, jobs.gpus,
       jobs.only_workers, jobs.exclude_workers, jobs.above_vram_mb, jobs.failed_on,
       extract(epoch FROM now() - coalesce(attempts.started_at, attempts.assigned_at))::float8 AS age_s
FROM attempts JOIN jobs ON jobs.id = attempts.job_id
WHERE attempts.end_word IS NULL AND (%(worker)s::text IS NULL OR attempts.worker_id = %(worker)s);

-- name: jobs_slots_queued
-- Of each worker that has attempts which have not started: the slots that all its attempts take.
SELECT worker_id AS worker, sum(slots)::integer AS slots FROM attempts
WHERE end_word IS NULL AND worker_id IN (SELECT worker_id FROM jobs WHERE state = 'assigned')
GROUP BY worker_id;

-- name: job_end
-- The end of a running attempt. Failures that may be tried again name the state 'pending'.
WITH moved AS (
    UPDATE jobs SET state = %(state)s, failures = failures + %(failure)s,
        attempt = attempt + CASE WHEN %(state)s = 'pending' THEN 1 ELSE 0 END,
        worker_id = CASE WHEN %(state)s = 'pending' THEN NULL ELSE worker_id END,
        incarnation = CASE WHEN %(state)s = 'pending' THEN NULL ELSE incarnation END,
        nonce = NULL, progress_number = 0,
        error = CASE WHEN %(state)s = 'succeeded' THEN NULL WHEN %(failure)s > 0 THEN %(error)s ELSE error END,
        not_before = now() + make_interval(secs => %(retry_s)s), waiting = %(waiting)s, waiting_for = %(waiting_for)s,
        failed_on = CASE WHEN %(failure)s > 0
            THEN ARRAY(SELECT DISTINCT unnest(failed_on || %(worker)s) COLLATE "C" ORDER BY 1) ELSE failed_on END,
        above_vram_mb = greatest(above_vram_mb, %(above_vram_mb)s),
        progress = CASE WHEN %(state)s = 'succeeded' THEN 1 WHEN %(state)s = 'pending' THEN
            coalesce((SELECT c.fraction FROM checkpoints c WHERE c.job_id = jobs.id
                      ORDER BY c.attempt DESC, c.number DESC LIMIT 1), 0) ELSE progress END,
        ended_at = CASE WHEN %(state)s = 'pending' THEN NULL ELSE now() END
    WHERE id = %(job)s AND attempt = %(attempt)s AND worker_id = %(worker)s AND incarnation = %(incarnation)s
      AND state = ANY(%(from_states)s)
    RETURNING id, workflow
)
UPDATE attempts SET end_word = %(end_word)s, cause = %(cause)s, then_word = %(then)s, error = %(error)s,
    signal = %(signal)s, exit_code = %(exit_code)s, oom_killed = %(oom_killed)s, job_workflow = moved.workflow, ended_at = now(),
    lost_s = CASE WHEN %(state)s <> 'pending' OR attempts.started_at IS NULL THEN NULL
        ELSE extract(epoch FROM now() - greatest(attempts.started_at, (SELECT max(at) FROM checkpoints c
            WHERE c.job_id = attempts.job_id AND c.attempt = attempts.number))) END
FROM moved WHERE attempts.job_id = moved.id AND attempts.number = %(attempt)s;

-- name: job_failures
SELECT failures, max_failures, workflow FROM jobs WHERE id = %(job)s;

-- name: attempt_end_cancelled
-- The last process of a cancelled attempt is gone, or its worker is.
UPDATE attempts SET end_word = 'cancelled', cause = coalesce(cause, %(cause)s), ended_at = now()
FROM jobs
WHERE jobs.id = attempts.job_id AND jobs.state = 'cancelled' AND attempts.end_word IS NULL
  AND (%(job)s::text IS NULL OR (attempts.job_id = %(job)s AND attempts.number = %(attempt)s))
  AND (%(worker)s::text IS NULL OR attempts.worker_id = %(worker)s);

-- name: job_result
SELECT * FROM results WHERE job_id = %(job)s;

-- name: result_accept
-- Primary key job: a second result is never accepted.
INSERT INTO results (job_id, attempt, worker_id, result, outputs, warnings)
VALUES (%(job)s, %(attempt)s, %(worker)s, %(result)s, %(outputs)s, %(warnings)s)
ON CONFLICT (job_id) DO NOTHING;

-- name: results_before
-- Of the last successes of the job's workflow, so many at most, how many there are and how many left no file. Read from
-- the end of attempts_succeeded.
SELECT workflow, count(*) AS results, count(*) FILTER (WHERE outputs = '[]') AS without_files
FROM jobs CROSS JOIN LATERAL (
    SELECT outputs FROM attempts JOIN results ON results.job_id = attempts.job_id
    WHERE job_workflow = jobs.workflow AND end_word = 'succeeded' AND attempts.job_id <> jobs.id
    ORDER BY attempts.ended_at DESC LIMIT %(most)s
) last
WHERE jobs.id = %(job)s GROUP BY workflow;

-- name: results_of_jobs
SELECT job_id, result, warnings FROM results WHERE job_id = ANY(%(jobs)s);
