"""The legal moves of workers and jobs, against which models and histories are checked."""

from __future__ import annotations

from collections.abc import Mapping

from app.pool.model import Health, JobState

HEALTH_MOVES: Mapping[Health, frozenset[Health]] = {
    Health.HEALTHY: frozenset({Health.DEGRADED, Health.DOWN, Health.LEFT}),
    Health.DEGRADED: frozenset({Health.HEALTHY, Health.DOWN, Health.LEFT}),
    Health.DOWN: frozenset({Health.HEALTHY, Health.LEFT}),
    Health.LEFT: frozenset({Health.HEALTHY}),
}

JOB_MOVES: Mapping[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset({JobState.ASSIGNED, JobState.CANCELLED, JobState.FAILED}),
    JobState.ASSIGNED: frozenset({JobState.RUNNING, JobState.PENDING, JobState.CANCELLED, JobState.FAILED}),
    JobState.RUNNING: frozenset({JobState.PENDING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
