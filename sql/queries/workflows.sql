-- Workflows: what the registered workers declare. A declaration is the agent's, narrowed by an admin's list.

-- name: workflows_declared
-- Each different declaration once, with the workers that make it; of one workflow or of all.
SELECT declared, array_agg(workers.id ORDER BY workers.id) AS workers
FROM workers CROSS JOIN jsonb_array_elements(workflows) AS declared
WHERE (allowed_workflows = '{}' OR declared->>'name' = ANY(allowed_workflows))
  AND (%(names)s::text[] IS NULL OR declared->>'name' = ANY(%(names)s))
GROUP BY declared
ORDER BY declared->>'name', count(*) DESC, min(workers.id);
