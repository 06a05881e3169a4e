-- Rules: what follows from an attempt's failure for its job, its worker and its workflow there.

ALTER TABLE attempts
    ADD COLUMN job_workflow text,  -- written with the end
    ADD COLUMN then_word text CHECK (then_word IN ('later', 'never', 'elsewhere'));  -- what a rule of its workflow says
ALTER TABLE jobs
    ADD COLUMN above_vram_mb integer;  -- free on the card where it ran out of GPU memory; it wants one with more
ALTER TABLE workers
    ADD COLUMN errors_counted_from timestamptz,  -- attempts given before it do not count towards errors in a row
    ADD COLUMN IF NOT EXISTS paused_by text;  -- a person, or 'pool'

-- Ends that say something of a worker: successes, and failures by the job's own error. A wait for something that
-- all workers lack, or a card that was too small, says nothing.
CREATE VIEW telling_ends AS
    SELECT job_id, number, worker_id, job_workflow AS workflow, end_word, error, assigned_at, started_at, ended_at FROM attempts
    WHERE end_word = 'succeeded' OR (end_word = 'failed' AND cause IS DISTINCT FROM 'gpu memory'
                                     AND then_word IS DISTINCT FROM 'later');
CREATE INDEX attempts_telling_of_workflow ON attempts (worker_id, job_workflow, ended_at DESC)
    WHERE end_word = 'succeeded' OR (end_word = 'failed' AND cause IS DISTINCT FROM 'gpu memory'
                                     AND then_word IS DISTINCT FROM 'later');
CREATE INDEX attempts_telling ON attempts (worker_id, ended_at DESC)
    WHERE end_word = 'succeeded' OR (end_word = 'failed' AND cause IS DISTINCT FROM 'gpu memory'
                                     AND then_word IS DISTINCT FROM 'later');
CREATE INDEX attempts_succeeded ON attempts (job_workflow, ended_at DESC) WHERE end_word = 'succeeded';

-- A worker is blocked for a workflow that fails there while others succeed. One block is open for both at a time;
-- it ends at `until` or by a person, and then counting begins anew.
CREATE TABLE worker_blocks (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    worker_id    text NOT NULL REFERENCES workers,
    workflow     text NOT NULL,
    why          text NOT NULL,
    since        timestamptz NOT NULL DEFAULT now(),
    until        timestamptz NOT NULL,
    forgiven_at  timestamptz,
    forgiven_by  text  -- a person, or 'pool' when its time was over
);
CREATE UNIQUE INDEX worker_blocks_one_open ON worker_blocks (worker_id, workflow) WHERE forgiven_at IS NULL;
CREATE INDEX worker_blocks_of ON worker_blocks (worker_id, workflow, forgiven_at DESC);

-- In words, which matching.py puts after the workflow and the worker's name.
CREATE FUNCTION block_words(why text, since timestamptz, until timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT 'until ' || to_char(until AT TIME ZONE 'UTC', CASE WHEN until < since + interval '1 day'
                               THEN 'HH24:MI' ELSE 'YYYY-MM-DD HH24:MI' END) || ' UTC (' || why || ')'
$$;

ALTER TABLE investigations
    DROP CONSTRAINT investigations_cause_check,
    ADD CONSTRAINT investigations_cause_check CHECK (cause IN
        ('process killed', 'host silent', 'Redis unreachable', 'GPU fell off', 'out of memory',
         'errors of several owners'));
