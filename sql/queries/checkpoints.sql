-- Checkpoints as people list them.

-- name: checkpoints_listed
-- Newest first; `attempt` and `number` are those of the last one already seen. Rows stay when files go.
SELECT checkpoints.*, attempts.files_removed_at IS NULL AS kept
FROM checkpoints JOIN attempts ON attempts.job_id = checkpoints.job_id AND attempts.number = checkpoints.attempt
WHERE checkpoints.job_id = %(job)s
  AND (%(attempt)s::integer IS NULL OR (checkpoints.attempt, checkpoints.number) < (%(attempt)s, %(number)s))
ORDER BY checkpoints.attempt DESC, checkpoints.number DESC LIMIT %(limit)s;
