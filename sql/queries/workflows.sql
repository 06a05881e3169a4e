-- Workflows: what the registered workers declare. A declaration is the agent's, narrowed by an admin's list.

-- name: workflows_declared
-- Each different declaration once, with the workers that make it; of one workflow or of all.
SELECT declared, array_agg(workers.id ORDER BY workers.id) AS workers
FROM workers CROSS JOIN jsonb_array_elements(workflows) AS declared
WHERE (allowed_workflows = '{}' OR declared->>'name' = ANY(allowed_workflows))
  AND (%(names)s::text[] IS NULL OR declared->>'name' = ANY(%(names)s))
GROUP BY declared
ORDER BY declared->>'name', count(*) DESC, min(workers.id);

-- name: workflows_known
-- Every workflow that was ever offered, as it was declared last; or those of these names.
SELECT name, declared FROM known_workflows WHERE %(names)s::text[] IS NULL OR name = ANY(%(names)s) ORDER BY name;

-- name: workflows_not_offered
SELECT said.workflow, workers.name, said.why FROM workers CROSS JOIN jsonb_each_text(not_offered) AS said(workflow, why)
WHERE said.workflow = ANY(%(names)s) AND health IN ('healthy', 'degraded')
ORDER BY said.workflow, workers.name, workers.id;
