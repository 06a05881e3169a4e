-- Investigations: opened by a failover, resolved by a person.

-- name: investigation_open
-- One open investigation for a worker: a second failure before anybody looked belongs to the first.
INSERT INTO investigations (id, worker_id, incarnation, cause, evidence, silent_at)
VALUES (%(id)s, %(worker)s, %(incarnation)s, %(cause)s, %(evidence)s, now() - make_interval(secs => %(silence_s)s))
ON CONFLICT (worker_id) WHERE resolved_at IS NULL DO NOTHING;

-- name: investigations_listed
SELECT investigations.*, workers.name AS worker_name
FROM investigations JOIN workers ON workers.id = investigations.worker_id
WHERE (NOT %(open_only)s OR resolved_at IS NULL)
  AND (%(worker)s::text IS NULL OR worker_id = %(worker)s)
  AND (%(id)s::text IS NULL OR investigations.id = %(id)s)
  AND (%(before_at)s::timestamptz IS NULL OR (opened_at, investigations.id) < (%(before_at)s, %(before_id)s))
ORDER BY opened_at DESC, investigations.id DESC LIMIT %(limit)s;

-- name: investigations_open_of
SELECT worker_id, id FROM investigations WHERE resolved_at IS NULL AND worker_id = ANY(%(workers)s);

-- name: investigation_moves
-- The jobs that its worker lost, and where each went on.
SELECT lost.job_id AS job, jobs.name, jobs.workflow, lost.number AS attempt, lost.cause, lost.ended_at, lost.lost_s,
       lost.lost_steps, next.worker_id AS to_worker, workers.name AS to_name, next.started_at,
       extract(epoch FROM next.started_at - investigations.silent_at)::float8 AS seconds
FROM investigations
JOIN attempts lost ON lost.worker_id = investigations.worker_id AND lost.started_at < coalesce(resolved_at, now())
    AND lost.ended_at BETWEEN least(silent_at, opened_at - interval '5 s') AND coalesce(resolved_at, now())
    AND lost.end_word = 'taken away'
JOIN jobs ON jobs.id = lost.job_id
LEFT JOIN LATERAL (
    SELECT * FROM attempts WHERE job_id = lost.job_id AND number > lost.number AND started_at IS NOT NULL
    ORDER BY number LIMIT 1
) next ON true
LEFT JOIN workers ON workers.id = next.worker_id
WHERE investigations.id = %(id)s
ORDER BY lost.ended_at, lost.job_id;

-- name: investigation_notes
SELECT author, text, at FROM investigation_notes WHERE investigation_id = %(id)s ORDER BY id;

-- name: investigation_add_note
INSERT INTO investigation_notes (investigation_id, author, text)
SELECT id, %(author)s, %(text)s FROM investigations WHERE id = %(id)s;

-- name: investigation_resolve
UPDATE investigations SET resolved_at = now(), resolved_by = %(who)s, note = %(note)s
WHERE id = %(id)s AND resolved_at IS NULL;
