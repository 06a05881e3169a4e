-- The log of an attempt in compressed portions, as its agent sends them to the web server (app/pool/log/portion.py).

CREATE TABLE log_portions (
    job_id      text NOT NULL REFERENCES jobs,
    attempt     integer NOT NULL,
    number      integer NOT NULL CHECK (number > 0),
    first_line  bigint NOT NULL,
    lines       bigint NOT NULL,
    first_byte  bigint NOT NULL,
    bytes       bigint NOT NULL,
    closed      boolean NOT NULL DEFAULT false,
    data        bytea NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, attempt, number)
);
-- It comes compressed: PostgreSQL need not try again.
ALTER TABLE log_portions ALTER COLUMN data SET STORAGE EXTERNAL;

-- Lines of before become portions that are not compressed. log_lines stays, empty of new lines, for one release: what
-- still runs of the last one writes to it.
INSERT INTO log_portions (job_id, attempt, number, first_line, lines, first_byte, bytes, closed, data)
SELECT job_id, attempt, part, first_line, lines,
       coalesce(sum(bytes) OVER (PARTITION BY job_id, attempt ORDER BY part
                                 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0),
       bytes, part = max(part) OVER (PARTITION BY job_id, attempt), data
FROM (
    SELECT job_id, attempt, 1 + (number - 1) / 200 AS part, min(number) AS first_line,
           1 + max(number) - min(number) AS lines,
           sum(octet_length(line) + 1) AS bytes,
           convert_to(string_agg(floor(extract(epoch FROM at) * 1000)::bigint || ' o '
                                 || replace(line, E'\n', ' ') || E'\n', '' ORDER BY number), 'UTF8') AS data
    FROM log_lines GROUP BY job_id, attempt, 1 + (number - 1) / 200
) parts;
