-- The pool's settings, events, notifications and idempotency keys.

-- name: settings_read
SELECT name, value FROM settings;

-- name: settings_lock
LOCK TABLE settings IN SHARE ROW EXCLUSIVE MODE;

-- name: setting_write
INSERT INTO settings (name, value, actor) VALUES (%(name)s, %(value)s, %(actor)s)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, actor = excluded.actor, at = now();

-- name: event_record
INSERT INTO events (kind, worker_id, job_id, actor, sentence)
VALUES (%(kind)s, %(worker)s, %(job)s, %(actor)s, %(sentence)s);

-- name: events_record_of_workers
INSERT INTO events (kind, worker_id, actor, sentence)
SELECT %(kind)s, row.worker, %(actor)s, row.sentence
FROM jsonb_to_recordset(%(rows)s) AS row(worker text, sentence text);

-- name: events_listed
SELECT * FROM events
WHERE (%(before)s::bigint IS NULL OR id < %(before)s)
  AND (%(worker)s::text IS NULL OR worker_id = %(worker)s)
  AND (%(job)s::text IS NULL OR job_id = %(job)s)
ORDER BY id DESC LIMIT %(limit)s;

-- name: notification_tell
-- At least once, shown once: the id is made from what it tells.
INSERT INTO notifications (id, owner, kind, job_id, worker_id, sentence, facts)
VALUES (%(id)s, %(owner)s, %(kind)s, %(job)s, %(worker)s, %(sentence)s, %(facts)s)
ON CONFLICT (id) DO NOTHING;

-- name: notification_tell_admins
-- Each admin for themselves, so that one's marks are not another's.
INSERT INTO notifications (id, owner, kind, worker_id, sentence, facts)
SELECT DISTINCT %(id)s || ':' || owner, owner, %(kind)s, %(worker)s, %(sentence)s, %(facts)s::jsonb FROM tokens
WHERE kind = 'admin' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
ON CONFLICT (id) DO NOTHING;

-- name: notifications_listed
SELECT * FROM notifications
WHERE owner = %(owner)s
  AND (%(before_at)s::timestamptz IS NULL OR (at, id) < (%(before_at)s, %(before_id)s))
ORDER BY at DESC, id DESC LIMIT %(limit)s;

-- name: notifications_unread
SELECT count(*) AS unread FROM notifications WHERE owner = %(owner)s AND read_at IS NULL;

-- name: notifications_read
UPDATE notifications SET read_at = now()
WHERE owner = %(owner)s AND read_at IS NULL AND (%(id)s::text IS NULL OR id = %(id)s);

-- name: idempotency_begin
-- A key older than a day is forgotten, so its place is free again.
INSERT INTO idempotency_keys (owner, key, body_sha256) VALUES (%(owner)s, %(key)s, %(body_sha256)s)
ON CONFLICT (owner, key) DO UPDATE SET body_sha256 = excluded.body_sha256, status = NULL, answer = NULL,
    created_at = now()
WHERE idempotency_keys.created_at < now() - interval '1 day'
   OR (idempotency_keys.status IS NULL AND idempotency_keys.created_at < now() - interval '1 minute');

-- name: idempotency_find
SELECT * FROM idempotency_keys WHERE owner = %(owner)s AND key = %(key)s;

-- name: idempotency_finish
UPDATE idempotency_keys SET status = %(status)s, answer = %(answer)s
WHERE owner = %(owner)s AND key = %(key)s AND body_sha256 = %(body_sha256)s;

-- name: idempotency_drop
DELETE FROM idempotency_keys WHERE owner = %(owner)s AND key = %(key)s AND status IS NULL;
