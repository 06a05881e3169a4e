-- Workers: the registry, joins, health and intent with their history.
-- What changes many of them locks them by id before, as the planner's order could let two such statements wait in a ring.

-- name: workers_listed
SELECT workers.*, blocked FROM workers LEFT JOIN blocked_workflows ON worker_id = workers.id
ORDER BY name, id;

-- name: workers_versions
-- Which row stands there of each registered worker: its xmin is another one after every change, but a note's does not
-- count; and its open blocks.
SELECT workers.id, concat_ws('-', CASE WHEN workers.xmin::text::bigint = noted THEN noted_before
                                       ELSE workers.xmin::text::bigint END, blocks.ids) AS version
FROM workers LEFT JOIN (SELECT worker_id, string_agg(id::text, ',' ORDER BY id) AS ids FROM worker_blocks
                        WHERE forgiven_at IS NULL GROUP BY worker_id) blocks ON blocks.worker_id = workers.id
ORDER BY name, workers.id;

-- name: workers_found
SELECT workers.*, blocked FROM workers LEFT JOIN blocked_workflows ON worker_id = workers.id
WHERE id = ANY(%(ids)s);

-- name: workers_page
SELECT workers.*, blocked FROM workers LEFT JOIN blocked_workflows ON worker_id = workers.id
WHERE %(name)s::text IS NULL OR (name, id) > (%(name)s, %(id)s)
ORDER BY name, id LIMIT %(limit)s;

-- name: worker_find
SELECT workers.*, blocked FROM workers LEFT JOIN blocked_workflows ON worker_id = workers.id
WHERE id = %(id)s;

-- name: worker_by_identity
-- With the condition of its partial index.
SELECT * FROM workers WHERE identity = %(identity)s AND decommissioned_at IS NULL;

-- name: join_begin
-- The incarnation is above that of the worker and of every join of it that was begun.
INSERT INTO joins (id, worker_id, incarnation, identity, nonce, answer, offer, token_sha256, admitted_by)
SELECT %(id)s, %(worker)s,
       1 + greatest(coalesce((SELECT incarnation FROM workers WHERE workers.id = %(worker)s), 0),
                    coalesce((SELECT max(incarnation) FROM joins WHERE worker_id = %(worker)s), 0)),
       %(identity)s, %(nonce)s, %(answer)s, %(offer)s, %(token_sha256)s, %(admitted_by)s
RETURNING *;

-- name: join_find
SELECT *, extract(epoch FROM now() - created_at)::float8 AS age_s FROM joins WHERE id = %(id)s;

-- name: join_confirmed
UPDATE joins SET confirmed_at = now() WHERE id = %(id)s AND confirmed_at IS NULL;

-- name: joins_forget
DELETE FROM joins WHERE created_at < now() - interval '1 day'
  AND NOT EXISTS (SELECT 1 FROM workers WHERE workers.id = joins.worker_id
                  AND workers.incarnation <= joins.incarnation);

-- name: worker_join
-- A new worker, or the next incarnation of one; an older incarnation changes nothing.
INSERT INTO workers (id, identity, name, hostname, host_id, boot_id, address, port, pid, version, driver, gpus,
                     gpu_model, gpu_reason, vram_mb, workflows, not_offered, slots, health, intent, status, incarnation,
                     last_heartbeat)
VALUES (%(id)s, %(identity)s, %(name)s, %(hostname)s, %(host_id)s, %(boot_id)s, %(address)s, %(port)s, %(pid)s,
        %(version)s, %(driver)s, %(gpus)s, %(gpu_model)s, %(gpu_reason)s, %(vram_mb)s, %(workflows)s,
        %(not_offered)s, %(slots)s, 'healthy', 'active', 'healthy', %(incarnation)s, now())
ON CONFLICT (id) DO UPDATE SET
    identity = excluded.identity, name = excluded.name, hostname = excluded.hostname, host_id = excluded.host_id, boot_id = excluded.boot_id,
    address = excluded.address, port = excluded.port, pid = excluded.pid, version = excluded.version,
    driver = excluded.driver, gpus = excluded.gpus, gpu_model = excluded.gpu_model,
    gpu_reason = excluded.gpu_reason, vram_mb = excluded.vram_mb, workflows = excluded.workflows,
    not_offered = excluded.not_offered, slots = excluded.slots, dynamic_tags = '{}',
    health = 'healthy', reason = NULL, degraded_as = NULL, incarnation = excluded.incarnation, joined_at = now(),
    last_heartbeat = now()
WHERE workers.incarnation < excluded.incarnation
RETURNING *;

-- name: worker_transition
INSERT INTO worker_transitions (worker_id, incarnation, from_health, to_health, cause)
VALUES (%(worker)s, %(incarnation)s, %(from_health)s, %(to_health)s, %(cause)s)
RETURNING id;

-- name: worker_set_health
-- Of two leaders that see the same change one writes it, and only that one writes the transition.
WITH moved AS (
    UPDATE workers SET health = %(to_health)s, reason = %(cause)s, degraded_as = %(degraded_as)s, status = %(status)s
    WHERE id = %(worker)s AND incarnation = %(incarnation)s AND health = %(from_health)s
    RETURNING id, incarnation
)
INSERT INTO worker_transitions (worker_id, incarnation, from_health, to_health, cause)
SELECT id, incarnation, %(from_health)s, %(to_health)s, %(cause)s FROM moved
RETURNING id;

-- name: worker_trouble_s
-- How long the trouble lasted that ended with this transition.
SELECT extract(epoch FROM now() - min(at))::float8 AS seconds FROM worker_transitions
WHERE worker_id = %(worker)s AND id < %(transition)s AND to_health IN ('degraded', 'down')
  AND id > coalesce((SELECT max(id) FROM worker_transitions
                     WHERE worker_id = %(worker)s AND id < %(transition)s AND to_health = 'healthy'), 0);

-- name: workers_set_intent
-- Paused ones may be paused again, until another time; only paused ones go on.
UPDATE workers SET intent = %(to_intent)s, paused_by = %(by)s, paused_note = %(note)s,
                   paused_until = coalesce(%(until)s, now() + make_interval(secs => %(for_s)s))
FROM (SELECT id FROM workers WHERE id = ANY(%(workers)s) AND 'paused' IN (intent, %(to_intent)s)
      ORDER BY id FOR NO KEY UPDATE) held
WHERE workers.id = held.id
RETURNING workers.id, name, paused_until;

-- name: workers_intents
SELECT id, name, intent FROM workers WHERE id = ANY(%(workers)s);

-- name: pauses_over
-- With its own index, since it is asked for each second.
UPDATE workers SET intent = 'active', paused_until = NULL, paused_by = NULL, paused_note = NULL
FROM (SELECT id FROM workers WHERE intent = 'paused' AND paused_until <= now() ORDER BY id FOR NO KEY UPDATE) held
WHERE workers.id = held.id
RETURNING workers.id, name;

-- name: workers_lock
-- Those of them that are registered, held to the end of the transaction.
SELECT * FROM workers WHERE id = ANY(%(workers)s) ORDER BY id FOR NO KEY UPDATE;

-- name: workers_set_up
UPDATE workers SET tags = new.tags, groups = new.groups, allowed_workflows = new.workflows, slots_wanted = new.slots,
                   queue_depth = new.queue_depth, revision = revision + 1
FROM jsonb_to_recordset(%(setups)s)
    AS new(id text, tags text[], groups text[], workflows text[], slots integer, queue_depth integer)
WHERE workers.id = new.id;

-- name: workers_note
-- What people see of a worker, once a minute and at each transition.
UPDATE workers SET status = note.status, dynamic_tags = coalesce(note.tags, '{}'),
                   noted = pg_current_xact_id()::xid::text::bigint,
                   noted_before = CASE WHEN workers.xmin::text::bigint = noted THEN noted_before
                                       ELSE workers.xmin::text::bigint END,
                   last_heartbeat = CASE WHEN note.beating THEN now() ELSE last_heartbeat END
FROM (SELECT note.* FROM jsonb_to_recordset(%(notes)s) AS note(id text, status text, tags text[], beating boolean)
      JOIN workers USING (id) ORDER BY id FOR NO KEY UPDATE OF workers) note
WHERE workers.id = note.id;

-- name: worker_transitions_listed
SELECT * FROM worker_transitions
WHERE worker_id = %(worker)s AND (%(before)s::bigint IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(limit)s;

-- name: worker_sample
-- At most one a minute; a second leader's is passed over.
INSERT INTO worker_samples (worker_id, at, load, utilisation, vram_used, temperature_c, power_w, attempts, figures)
VALUES (%(worker)s, date_trunc('minute', now()), %(load)s, %(utilisation)s, %(vram_used)s, %(temperature_c)s,
        %(power_w)s, %(attempts)s, %(figures)s)
ON CONFLICT DO NOTHING;

-- name: worker_samples_between
SELECT * FROM worker_samples WHERE worker_id = %(worker)s AND at >= now() - make_interval(secs => %(seconds)s)
ORDER BY at;

-- name: worker_series
-- The means of its samples over steps of so many seconds, and of each card by its UUID.
WITH found AS (
    SELECT date_bin(make_interval(secs => %(step_s)s), at, '2000-01-01 00:00:00+00') AS step, *
    FROM worker_samples WHERE worker_id = %(worker)s AND at >= %(begin)s AND at < %(until)s
), cards AS (
    SELECT step, gpu->>'uuid' AS uuid, jsonb_build_object(
        'utilisation', avg((gpu->>'utilisation')::float8),
        'memory', jsonb_build_object('ours', round(avg((gpu->'memory'->>'ours')::float8)),
                                     'others', round(avg((gpu->'memory'->>'others')::float8)),
                                     'free', round(avg((gpu->'memory'->>'free')::float8))),
        'temperature_c', round(avg((gpu->>'temperature_c')::float8)),
        'power_w', avg((gpu->>'power_w')::float8)) AS figures
    FROM found, jsonb_array_elements(coalesce(figures->'gpus', '[]')) AS gpu GROUP BY step, uuid
)
SELECT step AS at, avg(load) AS score, avg((figures->'load'->>'utilisation')::float8) AS utilisation,
       avg((figures->'load'->>'queue')::float8) AS queue, avg((figures->'load'->>'vram')::float8) AS vram,
       avg(attempts)::float8 AS jobs,
       coalesce((SELECT jsonb_object_agg(uuid, cards.figures) FROM cards WHERE cards.step = found.step), '{}') AS gpus
FROM found GROUP BY step ORDER BY step;

-- name: workers_uptimes
-- Seconds since each worker's incarnation began; of one that is down or left, until it was.
SELECT id, extract(epoch FROM CASE WHEN health IN ('down', 'left') THEN coalesce(
           (SELECT max(at) FROM worker_transitions t WHERE t.worker_id = workers.id AND t.incarnation = workers.incarnation
            AND t.to_health = workers.health), now()) ELSE now() END - joined_at)::float8 AS seconds
FROM workers WHERE id = ANY(%(workers)s);
