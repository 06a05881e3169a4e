-- Logs: portions of attempts, stored as they come and read by line number.

-- name: log_store
-- Once each. Of an attempt that exists, also of one that was taken away: its log is evidence.
INSERT INTO log_portions (job_id, attempt, number, first_line, lines, first_byte, bytes, closed, data)
SELECT %(job)s, %(attempt)s, %(number)s, %(first_line)s, %(lines)s, %(first_byte)s, %(bytes)s, %(closed)s, %(data)s
WHERE EXISTS (SELECT 1 FROM attempts WHERE job_id = %(job)s AND number = %(attempt)s AND worker_id = %(worker)s)
ON CONFLICT DO NOTHING;

-- name: log_stored
SELECT 1 AS found FROM log_portions JOIN attempts ON attempts.job_id = log_portions.job_id
                                                 AND attempts.number = log_portions.attempt
WHERE log_portions.job_id = %(job)s AND log_portions.attempt = %(attempt)s AND log_portions.number = %(number)s
  AND attempts.worker_id = %(worker)s;

-- name: log_trim
-- What lies between the beginning and the end that are kept, each of `half` bytes. A log that is shorter is not looked at.
DELETE FROM log_portions
WHERE job_id = %(job)s AND attempt = %(attempt)s AND first_byte >= %(half)s AND NOT closed
  AND first_byte + bytes <= (SELECT first_byte + bytes - %(half)s FROM log_portions
                             WHERE job_id = %(job)s AND attempt = %(attempt)s ORDER BY number DESC LIMIT 1)
  AND (SELECT first_byte + bytes FROM log_portions
       WHERE job_id = %(job)s AND attempt = %(attempt)s ORDER BY number DESC LIMIT 1) > 2 * %(half)s;

-- name: log_portions_after
-- Those that hold lines beyond `after`, with where the kept one before each ends. A slow program's log has a portion
-- for every few lines, so they are found from the newest backwards: most readers are near the end.
SELECT number, first_line, lines, first_byte, bytes,
       coalesce(lag(first_byte + bytes) OVER (ORDER BY number),
                (SELECT p.first_byte + p.bytes FROM log_portions p WHERE p.job_id = %(job)s
                 AND p.attempt = %(attempt)s AND p.first_line + p.lines <= %(after)s + 1
                 ORDER BY p.number DESC LIMIT 1), 0) AS gap_from_byte
FROM log_portions
WHERE job_id = %(job)s AND attempt = %(attempt)s AND first_line + lines > %(after)s + 1
  AND number >= coalesce((SELECT p.number FROM log_portions p WHERE p.job_id = %(job)s AND p.attempt = %(attempt)s
                          AND p.first_line <= %(after)s + 1 ORDER BY p.number DESC LIMIT 1), 0)
ORDER BY number LIMIT %(limit)s;

-- name: log_data
-- Those that have been trimmed meanwhile are not there.
SELECT number, data FROM log_portions
WHERE job_id = %(job)s AND attempt = %(attempt)s AND number = ANY(%(numbers)s);

-- name: log_length
-- The number of the last line.
SELECT first_line + lines - 1 AS lines FROM log_portions
WHERE job_id = %(job)s AND attempt = %(attempt)s ORDER BY number DESC LIMIT 1;

-- name: log_kept_until
-- The last line that is kept up to this one.
SELECT least(first_line + lines - 1, %(line)s) AS line FROM log_portions
WHERE job_id = %(job)s AND attempt = %(attempt)s AND first_line <= %(line)s ORDER BY number DESC LIMIT 1;

-- name: log_is_closed
-- Its last portion says so; or it ended so long ago that its agent must be gone; or the job ended before it began.
SELECT coalesce((SELECT closed FROM log_portions
                 WHERE job_id = %(job)s AND attempt = %(attempt)s ORDER BY number DESC LIMIT 1), false)
    OR EXISTS (SELECT 1 FROM attempts WHERE job_id = %(job)s AND number = %(attempt)s
               AND ended_at < now() - make_interval(secs => %(patience_s)s))
    OR EXISTS (SELECT 1 FROM jobs WHERE id = %(job)s AND ended_at IS NOT NULL)
       AND NOT EXISTS (SELECT 1 FROM attempts WHERE job_id = %(job)s AND number = %(attempt)s) AS closed;
