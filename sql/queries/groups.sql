-- Groups: named sets of workers. A deleted one stays as a row, since jobs of the past name it.

-- name: groups_names
SELECT name FROM groups WHERE deleted_at IS NULL ORDER BY name;

-- name: groups_strategies
-- Of those that have their own.
SELECT name, strategy FROM groups WHERE strategy IS NOT NULL AND deleted_at IS NULL;

-- name: groups_pin
-- Those of these that are there, held to the end of the transaction: nobody deletes or renames them before.
SELECT name FROM groups WHERE name = ANY(%(names)s) AND deleted_at IS NULL ORDER BY name FOR SHARE;

-- name: groups_lock
-- The same for whoever changes them.
SELECT name FROM groups WHERE name = ANY(%(names)s) AND deleted_at IS NULL ORDER BY name FOR UPDATE;

-- name: groups_listed
SELECT groups.name, groups.strategy, groups.created_at,
       ARRAY(SELECT id FROM workers WHERE groups.name = ANY(workers.groups) ORDER BY id)
           AS workers,
       count(jobs.id) FILTER (WHERE state IN ('pending', 'assigned')) AS waiting,
       count(jobs.id) FILTER (WHERE state = 'running') AS running
FROM groups LEFT JOIN jobs ON jobs.group_name = groups.name AND jobs.state IN ('pending', 'assigned', 'running')
WHERE groups.deleted_at IS NULL AND (%(name)s::text IS NULL OR groups.name = %(name)s)
GROUP BY groups.name ORDER BY groups.name;

-- name: group_create
-- One that was deleted is there again, with the jobs that still wait for it; one that is there is left alone.
INSERT INTO groups (name, strategy) VALUES (%(name)s, %(strategy)s)
ON CONFLICT (name) DO UPDATE SET strategy = excluded.strategy, created_at = now(), deleted_at = NULL, moved_to = NULL
WHERE groups.deleted_at IS NOT NULL
RETURNING name;

-- name: group_set_strategy
UPDATE groups SET strategy = %(strategy)s WHERE name = %(name)s AND deleted_at IS NULL;

-- name: group_end
UPDATE groups SET deleted_at = now(), moved_to = %(moved_to)s WHERE name = %(name)s AND deleted_at IS NULL;

-- name: group_successor
-- Where the jobs of a group went; itself while it is there, no row when it was deleted without another.
WITH RECURSIVE chain AS (
    SELECT name, moved_to, deleted_at FROM groups WHERE name = %(name)s
    UNION
    SELECT next.name, next.moved_to, next.deleted_at FROM groups next JOIN chain ON next.name = chain.moved_to
    WHERE chain.deleted_at IS NOT NULL
)
SELECT name FROM chain WHERE deleted_at IS NULL;

-- name: group_members_rename
UPDATE workers SET groups = array_replace(groups, %(name)s, %(to)s), revision = revision + 1
FROM (SELECT id FROM workers WHERE %(name)s = ANY(groups) ORDER BY id FOR NO KEY UPDATE) held
WHERE workers.id = held.id;

-- name: group_members_drop
UPDATE workers SET groups = array_remove(groups, %(name)s), revision = revision + 1
FROM (SELECT id FROM workers WHERE %(name)s = ANY(groups) ORDER BY id FOR NO KEY UPDATE) held
WHERE workers.id = held.id;

-- name: group_jobs_move
-- Jobs that have not ended; the class of each follows.
UPDATE jobs SET group_name = %(to)s
WHERE group_name = %(name)s AND state IN ('pending', 'assigned', 'running');
