-- What the pages read of many workers at once.

-- name: fleet_jobs
-- What these workers hold, the oldest first.
SELECT jobs.id, jobs.name, jobs.workflow, jobs.state, jobs.progress, jobs.text, attempts.worker_id,
       coalesce(attempts.started_at, attempts.assigned_at) AS since
FROM attempts JOIN jobs ON jobs.id = attempts.job_id
WHERE attempts.worker_id = ANY(%(workers)s) AND attempts.end_word IS NULL
ORDER BY attempts.worker_id, since, jobs.id;

-- name: fleet_idle_since
-- When the newest attempt of each of these workers ended.
SELECT worker.id AS worker_id, newest.ended_at
FROM unnest(%(workers)s::text[]) AS worker(id) CROSS JOIN LATERAL (
    SELECT ended_at FROM attempts WHERE worker_id = worker.id ORDER BY assigned_at DESC LIMIT 1
) newest
WHERE newest.ended_at IS NOT NULL;

-- name: fleet_samples
SELECT worker_id, at, utilisation, load FROM worker_samples
WHERE (%(workers)s::text[] IS NULL OR worker_id = ANY(%(workers)s)) AND at >= now() - make_interval(secs => %(seconds)s)
ORDER BY worker_id, at;

-- name: worker_names
SELECT id, name FROM workers WHERE id = ANY(%(workers)s);

-- name: fleet_tags
SELECT DISTINCT unnest(tags || dynamic_tags) AS tag FROM workers;
