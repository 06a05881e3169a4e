-- Views name each column: one over jobs.* would not show what a later migration adds.

-- Jobs that wait to be placed; a condition on them reads jobs_due. A job whose time is ahead is none of them.
CREATE VIEW due_jobs AS
SELECT id, attempt, class, priority, owner, created_at, workflow, requires, prefers, group_name, min_vram_mb,
       above_vram_mb, gpus, only_workers, exclude_workers, failed_on
FROM jobs WHERE state = 'pending' AND not_before IS NULL;

-- The workflows for which a worker is blocked now: {workflow: {"why", "since", "until"}}.
CREATE VIEW blocked_workflows AS
SELECT worker_id, jsonb_object_agg(workflow, jsonb_build_object('why', why, 'since', since, 'until', until)) AS blocked
FROM worker_blocks WHERE forgiven_at IS NULL GROUP BY worker_id;

COMMENT ON VIEW telling_ends IS 'Its condition is that of app/ledger/failures.py, speaks_against_worker.';
