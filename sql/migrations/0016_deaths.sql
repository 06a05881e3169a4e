-- What ends a job under which workers die, and what is known of workflows that nobody offers now.

-- Attempts that were lost with their worker, or with their slot process.
CREATE VIEW lost_attempts AS
    SELECT job_id, number, worker_id, incarnation, started_at, ended_at, worker_died FROM attempts
    WHERE worker_died OR (end_word = 'stopped' AND cause = 'slot' AND started_at IS NOT NULL);
CREATE INDEX attempts_worker_died ON attempts (worker_id) WHERE worker_died;

-- Every workflow that a worker has ever offered, as it was declared last; rows outlive their workers.
CREATE TABLE known_workflows (
    name      text PRIMARY KEY,
    declared  jsonb,  -- null: it was offered before declarations were kept
    at        timestamptz NOT NULL DEFAULT now()
);
-- In the order of names, so that two joins never wait for each other in a ring; mostly there is nothing to write.
CREATE FUNCTION know_workflows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO known_workflows (name, declared)
    SELECT DISTINCT ON (1) one->>'name', one FROM jsonb_array_elements(NEW.workflows) AS one
    WHERE NOT EXISTS (SELECT FROM known_workflows known WHERE known.name = one->>'name' AND known.declared = one)
    ORDER BY 1
    ON CONFLICT (name) DO UPDATE SET declared = excluded.declared, at = now();
    RETURN NULL;
END $$;
CREATE TRIGGER know_workflows AFTER INSERT OR UPDATE OF workflows ON workers
    FOR EACH ROW EXECUTE FUNCTION know_workflows();
INSERT INTO known_workflows (name, declared)
    SELECT DISTINCT ON (1) one->>'name', one FROM workers, jsonb_array_elements(workflows) AS one
    ORDER BY 1, joined_at DESC;
INSERT INTO known_workflows (name)
    SELECT DISTINCT job_workflow FROM attempts WHERE job_workflow IS NOT NULL
    ON CONFLICT DO NOTHING;
