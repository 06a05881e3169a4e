-- Waiting jobs are found by class, priority and owner without reading them all; why a class waits is kept once.

DROP INDEX jobs_pending;
-- A job whose time is ahead comes into it when that time is over (waiting_due).
CREATE INDEX jobs_due ON jobs (class, (-priority), owner, created_at, id)
    WHERE state = 'pending' AND not_before IS NULL;
CREATE INDEX jobs_later ON jobs (not_before) WHERE state = 'pending' AND not_before IS NOT NULL;
CREATE INDEX jobs_repeating ON jobs (retry_of) WHERE state = 'pending' AND retry_of IS NOT NULL;

CREATE TABLE classes (
    name  text PRIMARY KEY,  -- of jobs with equal requirements
    why   text NOT NULL,     -- its jobs wait, in words; a job that waits for another reason has its own
    at    timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE attempts ADD COLUMN placement jsonb;  -- strategy, score, load, parts, runners_up at the time
