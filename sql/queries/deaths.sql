-- Deaths: how often a job's attempt was lost with its worker or slot process. Rows of attempts are the only record.

-- name: deaths_since_checkpoint
-- The attempts of this job that were lost since its newest kept checkpoint, the first first. One that kept it and was
-- lost then is among them. `returned`: the same life of the agent came back, so it was cut off and not dead.
-- `beside_worse`: a job that ran beside it at its end had, until then, been lost more often without a checkpoint.
WITH lost AS (
    SELECT *, row_number() OVER (ORDER BY number) - 1 AS before FROM lost_attempts
    WHERE job_id = %(job)s
      AND number >= coalesce((SELECT max(attempt) FROM checkpoints WHERE job_id = %(job)s), 0)
)
SELECT workers.name, worker_died, worker_died AND EXISTS (
        SELECT FROM worker_transitions back
        WHERE back.worker_id = lost.worker_id AND back.incarnation = lost.incarnation AND back.to_health = 'healthy'
          AND back.at >= lost.ended_at) AS returned,
    worker_died AND EXISTS (
        SELECT FROM attempts beside
        WHERE beside.worker_id = lost.worker_id AND beside.incarnation = lost.incarnation
          AND beside.job_id <> lost.job_id AND (beside.end_word IS NULL OR beside.worker_died)
          AND beside.started_at <= lost.ended_at AND coalesce(beside.ended_at, now()) >= lost.started_at
          AND lost.before < (
              SELECT count(*) FROM lost_attempts former
              WHERE former.job_id = beside.job_id AND former.number < beside.number AND former.number >= coalesce((
                  SELECT max(attempt) FROM checkpoints c
                  WHERE c.job_id = beside.job_id AND c.attempt <= beside.number), 0))) AS beside_worse
FROM lost JOIN workers ON workers.id = lost.worker_id
ORDER BY number;

-- name: deaths_fail
UPDATE jobs SET state = 'failed', ended_at = now(), waiting = NULL, not_before = NULL, error = %(error)s
WHERE id = %(job)s AND state = 'pending';

-- name: deaths_pause
UPDATE jobs SET not_before = now() + make_interval(secs => %(pause_s)s), waiting = %(why)s, waiting_for = 'time'
WHERE id = %(job)s AND state = 'pending';
