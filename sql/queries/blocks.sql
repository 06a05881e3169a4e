-- Blocks: a worker may not run a workflow that fails there while it succeeds elsewhere.

-- name: worker_lock
-- Held to the end of the transaction by whoever judges the worker's attempts, and by a join that is confirmed.
SELECT FROM workers WHERE id = %(worker)s FOR NO KEY UPDATE;

-- name: block_open
-- When the last so many telling ends of the workflow on this worker, given since its last block ended, are all
-- failures, and another worker has succeeded with it since the first of them began. Asked for as the newest success
-- and not by EXISTS, which the planner answers by reading the whole table.
WITH last AS (
    SELECT end_word, coalesce(started_at, assigned_at) AS began FROM telling_ends
    WHERE worker_id = %(worker)s AND workflow = %(workflow)s
      AND assigned_at > coalesce((SELECT max(forgiven_at) FROM worker_blocks
                                  WHERE worker_id = %(worker)s AND workflow = %(workflow)s), '-infinity')
    ORDER BY ended_at DESC, assigned_at DESC, job_id LIMIT %(failures)s
), opened AS (
    INSERT INTO worker_blocks (worker_id, workflow, why, until)
    SELECT %(worker)s, %(workflow)s, %(why)s, now() + make_interval(secs => %(block_s)s)
    FROM last
    HAVING count(*) = %(failures)s AND bool_and(end_word = 'failed') AND (
        SELECT ended_at FROM attempts
        WHERE job_workflow = %(workflow)s AND end_word = 'succeeded' AND ended_at >= min(began)
          AND worker_id <> %(worker)s
        ORDER BY ended_at DESC LIMIT 1) IS NOT NULL
    ON CONFLICT (worker_id, workflow) WHERE forgiven_at IS NULL DO NOTHING
    RETURNING why, since, until
)
SELECT name, since, until FROM opened JOIN workers ON workers.id = %(worker)s;

-- name: blocks_forgive
UPDATE worker_blocks SET forgiven_at = now(), forgiven_by = %(who)s
FROM workers, (SELECT id FROM worker_blocks WHERE worker_id = ANY(%(workers)s) AND forgiven_at IS NULL
               AND (%(workflow)s::text IS NULL OR workflow = %(workflow)s) ORDER BY id FOR NO KEY UPDATE) held
WHERE worker_blocks.id = held.id AND workers.id = worker_id
RETURNING worker_id, workflow, name;

-- name: blocks_over
UPDATE worker_blocks SET forgiven_at = now(), forgiven_by = 'pool'
FROM workers, (SELECT id FROM worker_blocks WHERE forgiven_at IS NULL AND until <= now() ORDER BY id
               FOR NO KEY UPDATE) held
WHERE worker_blocks.id = held.id AND workers.id = worker_id
RETURNING worker_id, workflow, name;

-- name: blocks_listed
SELECT * FROM worker_blocks WHERE worker_id = %(worker)s
ORDER BY forgiven_at IS NULL DESC, id DESC LIMIT %(limit)s;

-- name: errors_of_owners
-- Of the worker's last telling ends, given since counting began, the failures that are newer than its newest success;
-- of so many only: owners are counted at each failure, so three are found when the third comes.
-- When they are of so many owners, counting begins anew, so that nobody else finds them again.
WITH last AS (
    SELECT job_id, end_word, ended_at FROM telling_ends
    WHERE worker_id = %(worker)s
      AND assigned_at > coalesce((SELECT errors_counted_from FROM workers WHERE id = %(worker)s), '-infinity')
    ORDER BY ended_at DESC, assigned_at DESC, job_id LIMIT 100
), errors AS (
    SELECT array_agg(DISTINCT owner ORDER BY owner) AS owners, min(last.ended_at) AS since
    FROM last JOIN jobs ON jobs.id = job_id
    WHERE end_word = 'failed'
      AND last.ended_at > coalesce((SELECT max(ended_at) FROM last WHERE end_word = 'succeeded'), '-infinity')
)
UPDATE workers SET errors_counted_from = now()
FROM errors WHERE id = %(worker)s AND cardinality(owners) >= %(owners)s
RETURNING name, incarnation, intent, owners, now() AS at, extract(epoch FROM now() - since)::float8 AS seconds;

-- name: pool_pauses_lock
SELECT pg_advisory_xact_lock(hashtext('muster pool pauses'));

-- name: pool_pauses_others
-- Whether workers other than this one take jobs; whether the pool has paused as many as it may: one in five, and one in
-- a pool of fewer.
SELECT EXISTS (SELECT 1 FROM workers WHERE id <> %(worker)s AND intent = 'active' AND health = 'healthy') AS take_jobs,
       (SELECT count(*) FROM workers WHERE intent = 'paused' AND paused_by = 'pool')
           >= greatest(1, (SELECT count(*) FROM workers) / 5) AS enough_paused;

-- name: worker_pause_by_pool
UPDATE workers SET intent = 'paused', paused_until = NULL, paused_by = 'pool' WHERE id = %(worker)s;
