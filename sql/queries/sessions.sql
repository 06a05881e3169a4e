-- Sessions of people on the pages: only the SHA-256 of what the cookie carries is stored.

-- name: session_begin
INSERT INTO sessions (sha256, token_id, expires_at)
VALUES (%(sha256)s, %(token)s, now() + make_interval(secs => %(seconds)s));

-- name: session_find
-- The token of a session that has not ended; a revoked or expired token ends its sessions.
SELECT tokens.* FROM sessions JOIN tokens ON tokens.id = sessions.token_id
WHERE sessions.sha256 = %(sha256)s AND sessions.expires_at > now()
  AND tokens.revoked_at IS NULL AND (tokens.expires_at IS NULL OR tokens.expires_at > now());

-- name: session_end
-- Those that are over go with it.
DELETE FROM sessions WHERE sha256 = %(sha256)s OR expires_at < now();
