-- The leader's lock, as others see it.

-- name: leader_held
SELECT 1 AS held FROM pg_locks
WHERE locktype = 'advisory' AND classid = 0 AND objid = %(lock)s::oid AND objsubid = 1 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
