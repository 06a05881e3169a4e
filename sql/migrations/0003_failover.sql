-- What failover goes by, and what it leaves for people: lost work, investigations.

ALTER TABLE attempts
    ADD COLUMN strict boolean NOT NULL DEFAULT false,  -- the job's own word or the pool's, when it was assigned
    ADD COLUMN timeout_s integer,        -- the job's own, its workflow's or the pool's, when it was assigned
    ADD COLUMN lost_steps integer,       -- where the workflow's checkpoints say "step" of "steps"
    ADD COLUMN worker_died boolean NOT NULL DEFAULT false,  -- it ran when its worker died
    ADD COLUMN files_removed_at timestamptz;  -- its checkpoints' files, and its outputs unless accepted
CREATE INDEX attempts_to_clean ON attempts (job_id) WHERE files_removed_at IS NULL;

-- Opened when a worker fails; one is open for a worker at a time, until a person resolves it.
CREATE TABLE investigations (
    id           text PRIMARY KEY,
    worker_id    text NOT NULL REFERENCES workers,
    incarnation  bigint NOT NULL,
    cause        text NOT NULL CHECK (cause IN
                     ('process killed', 'host silent', 'Redis unreachable', 'GPU fell off', 'out of memory')),
    evidence     jsonb NOT NULL DEFAULT '{}',
    silent_at    timestamptz NOT NULL,  -- since when nothing had been heard of it
    opened_at    timestamptz NOT NULL DEFAULT now(),
    resolved_at  timestamptz,
    resolved_by  text,
    note         text
);
CREATE UNIQUE INDEX investigations_open ON investigations (worker_id) WHERE resolved_at IS NULL;
CREATE INDEX investigations_newest ON investigations (opened_at DESC, id DESC);

CREATE TABLE investigation_notes (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    investigation_id  text NOT NULL REFERENCES investigations,
    author            text NOT NULL,
    text              text NOT NULL,
    at                timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX investigation_notes_of ON investigation_notes (investigation_id, id);
