-- What people set of workers and groups while the pool runs.

ALTER TABLE workers
    ADD COLUMN slots_wanted integer CHECK (slots_wanted BETWEEN 1 AND 64),  -- an admin's word; null: the agent's own
    ADD COLUMN revision bigint NOT NULL DEFAULT 0,  -- rises with each change of what the worker may be given
    ADD COLUMN IF NOT EXISTS paused_by text,  -- a person, or 'pool'
    ADD COLUMN paused_note text;
CREATE INDEX workers_pauses ON workers (paused_until) WHERE intent = 'paused' AND paused_until IS NOT NULL;

-- Jobs of the past name the group that they were bound to, so a group is never removed; one that is created again
-- under the same name is the same row.
ALTER TABLE groups
    ADD COLUMN deleted_at timestamptz,
    ADD COLUMN moved_to text REFERENCES groups;  -- where its jobs went when it was renamed or deleted
CREATE INDEX jobs_of_group ON jobs (group_name) WHERE state IN ('pending', 'assigned', 'running');
