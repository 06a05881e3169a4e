-- Blocks: a worker may not run a workflow that fails there while it succeeds elsewhere.

-- name: worker_lock
-- Held to the end of the transaction by whoever judges the worker's attempts.
SELECT name FROM workers WHERE id = %(worker)s FOR NO KEY UPDATE;

-- name: block_open
-- When the last so many telling ends of the workflow on this worker, given since its last block ended, are all
-- failures, and another worker has succeeded with it since the first of them began.
WITH last AS (
    SELECT end_word, coalesce(started_at, assigned_at) AS began FROM telling_ends
    WHERE worker_id = %(worker)s AND workflow = %(workflow)s
      AND assigned_at > coalesce((SELECT max(forgiven_at) FROM worker_blocks
                                  WHERE worker_id = %(worker)s AND workflow = %(workflow)s), '-infinity')
    ORDER BY ended_at DESC, assigned_at DESC, job_id LIMIT %(failures)s
), opened AS (
    INSERT INTO worker_blocks (worker_id, workflow, why, until)
    SELECT %(worker)s, %(workflow)s,
           CASE count(*) WHEN 1 THEN 'a failure' ELSE count(*) || ' failures in a row' END || ' while others succeed',
           now() + make_interval(secs => %(block_s)s)
    FROM last
    HAVING count(*) = %(failures)s AND bool_and(end_word = 'failed') AND EXISTS (
        SELECT 1 FROM attempts WHERE job_workflow = %(workflow)s AND end_word = 'succeeded' AND ended_at >= min(began)
        AND worker_id <> %(worker)s)
    ON CONFLICT (worker_id, workflow) WHERE forgiven_at IS NULL DO NOTHING
    RETURNING why, since, until
)
SELECT block_words(why, since, until) AS words FROM opened;

-- name: blocks_forgive
UPDATE worker_blocks SET forgiven_at = now(), forgiven_by = %(who)s
FROM workers
WHERE workers.id = worker_id AND worker_id = %(worker)s AND forgiven_at IS NULL
  AND (%(workflow)s::text IS NULL OR workflow = %(workflow)s)
RETURNING worker_id, workflow, name;

-- name: blocks_over
UPDATE worker_blocks SET forgiven_at = now(), forgiven_by = 'pool'
FROM workers
WHERE workers.id = worker_id AND forgiven_at IS NULL AND until <= now()
RETURNING worker_id, workflow, name;

-- name: blocks_listed
SELECT * FROM worker_blocks WHERE worker_id = %(worker)s
ORDER BY forgiven_at IS NULL DESC, id DESC LIMIT %(limit)s;
