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
-- What lies between the beginning and the end that are kept, each of `half` bytes.
DELETE FROM log_portions
WHERE job_id = %(job)s AND attempt = %(attempt)s AND first_byte >= %(half)s AND NOT closed
  AND first_byte + bytes <= (SELECT max(first_byte + bytes) - %(half)s FROM log_portions
                             WHERE job_id = %(job)s AND attempt = %(attempt)s);

-- name: log_portions_after
-- Those that hold lines beyond `after`, with where the kept one before each ends. `data` is read one by one.
SELECT number, first_line, lines, first_byte, bytes,
       coalesce(lag(first_byte + bytes) OVER (ORDER BY number),
                (SELECT max(p.first_byte + p.bytes) FROM log_portions p WHERE p.job_id = %(job)s
                 AND p.attempt = %(attempt)s AND p.first_line + p.lines <= %(after)s + 1), 0) AS gap_from_byte
FROM log_portions
WHERE job_id = %(job)s AND attempt = %(attempt)s AND first_line + lines > %(after)s + 1
ORDER BY number LIMIT %(limit)s;

-- name: log_portion
-- None where it has been trimmed meanwhile.
SELECT data FROM log_portions WHERE job_id = %(job)s AND attempt = %(attempt)s AND number = %(number)s;

-- name: log_line_before_tail
-- The line after which the last `limit` lines begin, by the newest portions; 0 where there are fewer.
SELECT greatest(0, max(first_line + lines) - 1 - %(limit)s) AS after
FROM log_portions WHERE job_id = %(job)s AND attempt = %(attempt)s;

-- name: log_kept_until
-- The last line that is kept up to this one.
SELECT max(least(first_line + lines - 1, %(line)s)) AS line
FROM log_portions WHERE job_id = %(job)s AND attempt = %(attempt)s AND first_line <= %(line)s;

-- name: log_is_closed
SELECT EXISTS (SELECT 1 FROM log_portions WHERE job_id = %(job)s AND attempt = %(attempt)s AND closed)
    OR EXISTS (SELECT 1 FROM attempts WHERE job_id = %(job)s AND number = %(attempt)s
               AND ended_at < now() - make_interval(secs => %(patience_s)s))
    OR EXISTS (SELECT 1 FROM jobs WHERE id = %(job)s AND ended_at IS NOT NULL)
       AND NOT EXISTS (SELECT 1 FROM attempts WHERE job_id = %(job)s AND number = %(attempt)s) AS closed;

-- name: log_search_portions
-- Those that hold lines beyond `after`.
SELECT number, first_line, lines, bytes FROM log_portions
WHERE job_id = %(job)s AND attempt = %(attempt)s AND first_line + lines > %(after)s + 1
ORDER BY number LIMIT %(limit)s;

-- name: log_extents
SELECT attempt, max(first_line + lines) - 1 AS lines, max(first_byte + bytes) AS bytes, bool_or(closed) AS closed,
       max(first_line + lines) - 1 - sum(lines) AS missing_lines,
       max(first_byte + bytes) - sum(bytes) AS missing_bytes
FROM log_portions WHERE job_id = %(job)s GROUP BY attempt ORDER BY attempt;
