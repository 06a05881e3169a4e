-- Tokens: only their SHA-256 is stored; the secret is shown once.

-- name: token_create
INSERT INTO tokens (id, kind, owner, sha256, worker_id, uses_left, expires_at)
VALUES (%(id)s, %(kind)s, %(owner)s, %(sha256)s, %(worker)s, %(uses)s, %(expires_at)s)
RETURNING *;

-- name: token_find
-- Its use is noted once a minute: enough for people, and it spares the ledger a write a request.
SELECT *, last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS note_use FROM tokens
WHERE sha256 = %(sha256)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
  AND (uses_left IS NULL OR uses_left > 0);

-- name: token_used
UPDATE tokens SET last_used_at = now() WHERE id = %(id)s;

-- name: token_spend
-- Of two joins with the last use, one is refused.
UPDATE tokens SET uses_left = uses_left - 1, last_used_at = now()
WHERE id = %(id)s AND revoked_at IS NULL AND (uses_left IS NULL OR uses_left > 0);

-- name: tokens_listed
SELECT * FROM tokens WHERE kind <> 'agent' ORDER BY created_at DESC, id;

-- name: token_revoke
UPDATE tokens SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL;

-- name: tokens_revoke_of_worker
UPDATE tokens SET revoked_at = now() WHERE worker_id = %(worker)s AND sha256 <> %(keep)s AND revoked_at IS NULL;
