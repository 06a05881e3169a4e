"""What tests and benches share. A conftest holds fixtures only, and nobody imports it or a test module.

Take the shallowest depth at which the rule under test can be seen; what is not real there, the test plays.

| module              | real                                     | the test plays           | fixture           |
| ------------------- | ---------------------------------------- | ------------------------ | ----------------- |
| `actors`            | PostgreSQL                               | coordinator, agents, web | `ledger`          |
| `waiting_jobs`      | nothing: rows as placement reads them    | the ledger               |                   |
| `placement_scene`   | Redis, placement, a fleet in memory      | ledger, agents           | `pool` (redis)    |
| `coordinator_scene` | all stores, a leader whose time is moved | agents (`peer.Peer`)     | `scene`           |
| `web`               | all stores, the web application          | coordinator, agents      | `web`             |
| `browser`           | the same, served, and a Chromium         | the rest, by `seed.Seed` | `site`, `visitor` |
| `workflow_scene`    | one workflow process                     | its guard                |                   |
| `slot_scene`        | slot and guard processes, Redis          | the agent's main         |                   |
| `agent_scene`       | a whole agent, Redis                     | server and coordinator   |                   |
| `whole_pool`        | all that `python -m app up` starts       | people                   | `pool`            |
| `pool_with_agents`  | the same, agents to be frozen or cut off | people, faults           | `site`            |

Beside them: `services` starts databases and waits for events, `agents` runs one agent, `hosts` makes hosts with
links that can be cut, `proxy` a connection that can be, `clock` a wall clock that can be set, `nvml` a GPU driver,
`cgroups` little memory; `processes` finds and kills processes; `films` makes films and looks at them; `steps` and
`recorded_steps` are workflows, `history` reads back what the latter wrote; `logs` writes logs of any length as agents
send them; `gpu_words` is what programs say when a GPU's memory is used up, `ordinary` what ordinary Python programs do.
"""
