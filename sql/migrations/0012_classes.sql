-- A class is the jobs that demand exactly the same of a worker. Its name follows from the row, whichever statement
-- writes it: what changes a demand (a failure, a card that was too small, a renamed group) moves the job to its class.

ALTER TABLE jobs
    ADD COLUMN failed_on text[] NOT NULL DEFAULT '{}',  -- the workers on which it has failed, in order
    ADD COLUMN waiting_for text CHECK (waiting_for IN ('slot', 'worker', 'time'));  -- what `waiting` says in words

-- The order in which names are given makes no difference.
CREATE FUNCTION in_one_order(names text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY(SELECT unnest(names) COLLATE "C" ORDER BY 1)
$$;
-- One expression without a subquery, which PL/pgSQL evaluates without the executor: it runs with every submission.
CREATE FUNCTION jobs_class() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.class := left(md5(jsonb_build_array(
        NEW.workflow,
        CASE WHEN cardinality(NEW.requires) > 1 THEN in_one_order(NEW.requires) ELSE NEW.requires END,
        NEW.prefers, NEW.group_name, NEW.min_vram_mb, NEW.above_vram_mb, NEW.gpus,
        CASE WHEN cardinality(NEW.only_workers) > 1 THEN in_one_order(NEW.only_workers) ELSE NEW.only_workers END,
        CASE WHEN cardinality(NEW.exclude_workers) > 1 THEN in_one_order(NEW.exclude_workers)
             ELSE NEW.exclude_workers END,
        NEW.failed_on)::text), 16);
    RETURN NEW;
END $$;
CREATE TRIGGER jobs_class
    BEFORE INSERT OR UPDATE OF workflow, requires, prefers, group_name, min_vram_mb, above_vram_mb, gpus, only_workers,
                               exclude_workers, failed_on
    ON jobs FOR EACH ROW EXECUTE FUNCTION jobs_class();
UPDATE jobs SET failed_on = ARRAY(
    SELECT DISTINCT worker_id COLLATE "C" FROM attempts WHERE job_id = jobs.id AND end_word = 'failed' ORDER BY 1)
WHERE state IN ('pending', 'assigned', 'running');

DROP INDEX jobs_due_memory;

DELETE FROM classes;  -- of the former names; dispatch notes the reasons anew
UPDATE jobs SET waiting = NULL WHERE state = 'pending' AND not_before IS NULL AND waiting IS NOT NULL;
UPDATE jobs SET waiting_for = 'time' WHERE state = 'pending' AND waiting IS NOT NULL;
ALTER TABLE classes ADD COLUMN waiting_for text NOT NULL CHECK (waiting_for IN ('slot', 'worker', 'time'));
