-- Holds: a whole workflow waits for what every worker lacks, such as a licence, until one of its jobs got through.

CREATE TABLE holds (
    workflow       text PRIMARY KEY,
    why            text NOT NULL,  -- the line of the last attempt that met it, or how it ended
    since          timestamptz NOT NULL DEFAULT now(),
    until          timestamptz NOT NULL,  -- from then on one job may try
    met            integer NOT NULL DEFAULT 1,  -- the attempt that began it, and jobs that have tried in vain since
    longest_s      double precision NOT NULL,  -- that an attempt ran until it met it
    probe_job      text,  -- the job that tries, for as long as this attempt of it is assigned or running
    probe_attempt  integer,
    tries          bigint NOT NULL DEFAULT 0  -- rises whenever a job is chosen to try
);

ALTER TABLE attempts
    DROP CONSTRAINT attempts_then_word_check,
    ADD CONSTRAINT attempts_then_word_check CHECK (then_word IN ('later', 'never', 'elsewhere', 'hold'));
ALTER TABLE jobs
    DROP CONSTRAINT jobs_waiting_for_check,
    ADD CONSTRAINT jobs_waiting_for_check CHECK (waiting_for IN ('slot', 'worker', 'time', 'hold'));
ALTER TABLE classes
    DROP CONSTRAINT classes_waiting_for_check,
    ADD CONSTRAINT classes_waiting_for_check CHECK (waiting_for IN ('slot', 'worker', 'time', 'hold'));
