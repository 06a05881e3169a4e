-- Reports: what workers say of an attempt. Repeating one is harmless.

-- name: attempt_moved_from
-- The last attempt that ran before this one, where it ran elsewhere or was taken away.
SELECT was.number, was.worker_id, was_worker.name AS worker_name, was.cause, was.lost_s, was.lost_steps,
       jobs.owner, jobs.name, jobs.workflow, present.worker_id AS to_worker, present_worker.name AS to_name,
       extract(epoch FROM present.started_at - was.ended_at)::float8 AS waited_s
FROM attempts present
JOIN jobs ON jobs.id = present.job_id
JOIN workers present_worker ON present_worker.id = present.worker_id
JOIN LATERAL (
    SELECT * FROM attempts WHERE job_id = present.job_id AND number < present.number AND started_at IS NOT NULL
    ORDER BY number DESC LIMIT 1
) was ON was.end_word = 'taken away' OR was.worker_id <> present.worker_id
JOIN workers was_worker ON was_worker.id = was.worker_id
WHERE present.job_id = %(job)s AND present.number = %(attempt)s;

-- name: report_progress
-- Older numbers come late and are passed over; the fraction never falls below what was shown.
UPDATE jobs SET progress = greatest(progress, %(fraction)s), text = %(text)s, progress_number = %(number)s
WHERE id = %(job)s AND attempt = %(attempt)s AND worker_id = %(worker)s AND incarnation = %(incarnation)s
  AND state = 'running' AND progress_number < %(number)s;

-- name: report_current
-- Whether this attempt is the job's, and this incarnation its worker's present one.
SELECT jobs.state, (attempt = %(attempt)s AND worker_id = %(worker)s AND jobs.incarnation = %(incarnation)s
                    AND workers.incarnation = %(incarnation)s) AS mine
FROM jobs LEFT JOIN workers ON workers.id = jobs.worker_id WHERE jobs.id = %(job)s;

-- name: report_checkpoint
-- Kept only of the running attempt, and only when it is newer than the newest kept.
INSERT INTO checkpoints (job_id, attempt, number, state, files, fraction)
SELECT id, attempt, %(number)s, %(state)s, %(files)s, coalesce(%(fraction)s, progress) FROM jobs
WHERE id = %(job)s AND attempt = %(attempt)s AND worker_id = %(worker)s AND incarnation = %(incarnation)s
  AND state = 'running'
  AND NOT EXISTS (SELECT 1 FROM checkpoints c WHERE c.job_id = %(job)s
                  AND (c.attempt, c.number) >= (%(attempt)s, %(number)s))
ON CONFLICT DO NOTHING;

-- name: report_checkpoint_known
SELECT 1 AS found FROM checkpoints WHERE job_id = %(job)s AND attempt = %(attempt)s AND number >= %(number)s;

-- name: checkpoints_of_jobs
SELECT DISTINCT ON (job_id) * FROM checkpoints WHERE job_id = ANY(%(jobs)s) ORDER BY job_id, attempt DESC, number DESC;

-- name: checkpoints_of_job
-- Newest first; `attempt` and `number` are those of the last one already seen. Rows stay when files go.
SELECT checkpoints.*, attempts.files_removed_at IS NULL AS kept
FROM checkpoints JOIN attempts ON attempts.job_id = checkpoints.job_id AND attempts.number = checkpoints.attempt
WHERE checkpoints.job_id = %(job)s
  AND (%(attempt)s::integer IS NULL OR (checkpoints.attempt, checkpoints.number) < (%(attempt)s, %(number)s))
ORDER BY checkpoints.attempt DESC, checkpoints.number DESC LIMIT %(limit)s;

-- name: report_refused
-- Once for each kind of an attempt, so that a repeating agent does not fill the ledger.
WITH counted AS (
    UPDATE attempts SET refused = refused + 1 WHERE job_id = %(job)s AND number = %(attempt)s
    AND NOT EXISTS (SELECT 1 FROM refused_reports r WHERE r.job_id = %(job)s AND r.attempt = %(attempt)s
                    AND r.worker_id = %(worker)s AND r.incarnation = %(incarnation)s AND r.kind = %(kind)s)
)
INSERT INTO refused_reports (job_id, attempt, worker_id, incarnation, kind, report, why)
SELECT %(job)s, %(attempt)s, %(worker)s, %(incarnation)s, %(kind)s, %(report)s, %(why)s
WHERE EXISTS (SELECT 1 FROM jobs WHERE id = %(job)s)
ON CONFLICT DO NOTHING;

-- name: refused_of_job
SELECT * FROM refused_reports WHERE job_id = %(job)s ORDER BY id;

-- name: attempts_of_job
SELECT attempts.*, workers.name AS worker_name FROM attempts JOIN workers ON workers.id = attempts.worker_id
WHERE job_id = %(job)s ORDER BY number;

-- name: attempts_without_room
-- How many attempts in a row, right before this one, went back because others had filled their cards.
SELECT count(*) AS found FROM attempts
WHERE job_id = %(job)s AND number < %(attempt)s
  AND number > coalesce((SELECT max(number) FROM attempts was WHERE was.job_id = %(job)s AND was.number < %(attempt)s
                         AND was.cause IS DISTINCT FROM 'no room'), 0);

-- name: attempts_of_worker
SELECT attempts.*, jobs.name AS job_name, jobs.workflow, jobs.state AS job_state, jobs.owner
FROM attempts JOIN jobs ON jobs.id = attempts.job_id
WHERE attempts.worker_id = %(worker)s
  AND (%(before_at)s::timestamptz IS NULL
       OR (attempts.assigned_at, attempts.job_id) < (%(before_at)s, %(before_id)s))
ORDER BY attempts.assigned_at DESC, attempts.job_id DESC LIMIT %(limit)s;

-- name: attempt_ended_as
-- The same end told again.
SELECT 1 AS found FROM attempts
WHERE job_id = %(job)s AND number = %(attempt)s AND worker_id = %(worker)s AND incarnation = %(incarnation)s
  AND end_word = %(end_word)s;

-- name: attempts_remains
-- The accepted attempt keeps its output; where none was accepted, the last one that ran does.
-- One that was taken away may be running still, cut off, until its max_orphan_s are over.
SELECT attempts.job_id, attempts.number,
       attempts.number = coalesce(results.attempt, (
           SELECT max(number) FROM attempts a WHERE a.job_id = jobs.id AND a.started_at IS NOT NULL)) AS keeps_output
FROM attempts JOIN jobs ON jobs.id = attempts.job_id LEFT JOIN results ON results.job_id = jobs.id
WHERE files_removed_at IS NULL AND jobs.ended_at IS NOT NULL
  AND (jobs.ended_at < now() - make_interval(secs => greatest(jobs.max_orphan_s, %(orphan_s)s))
       OR NOT EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = jobs.id AND a.started_at IS NOT NULL
                      AND (a.end_word IS NULL OR a.end_word = 'taken away')))
ORDER BY jobs.ended_at LIMIT %(limit)s;

-- name: attempt_files_removed
UPDATE attempts SET files_removed_at = now() WHERE job_id = %(job)s AND number = %(attempt)s;
