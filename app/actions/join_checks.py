"""The checks of a join. Each has a name, a duration and, when it fails, the next step; none changes anything."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from app.actions.services import Services
from app.ledger.registry import joins, workers, workflows
from app.ledger.registry.joins import Join
from app.pool.agent_http import CALL_ERRORS, Check, ask_who
from app.pool.model import Health

CALL_S = 3
PROOF_BYTES = 4096
PROOF_NAME = re.compile(r"\.join-[0-9A-Za-z_-]{1,64}")
ALONE = "alone"

CheckResult = tuple[bool, str, str]  # passed, what was seen, the next step
PASSED: CheckResult = (True, "", "")


def look(services: Services, join: Join) -> list[Check]:
    """Every check of this join, made now. Raises Unavailable, RedisError."""
    return [_timed(name, check, services, join) for name, check in CHECKS]


def _timed(name: str, check: Callable[[Services, Join], CheckResult], services: Services, join: Join) -> Check:
    began = time.monotonic()
    ok, detail, next_step = check(services, join)
    return Check(name, ok, round(time.monotonic() - began, 3), detail, next_step)


def _redis(services: Services, join: Join) -> CheckResult:
    answer = services.redis.get(services.keys.join(join.nonce))
    step = "let this host reach the Redis server at the address that the join's answer named, and start the agent again"
    if answer is None:
        return False, "the agent's answer is not in Redis", step
    return PASSED if answer == join.answer else (False, "the answer in Redis is another one", step)


def _output(services: Services, join: Join) -> CheckResult:
    folder = services.settings.output_folder
    step = f"mount the same folder as MUSTER_OUTPUT on this host and on the server (there: {folder})"
    if not PROOF_NAME.fullmatch(join.offer.proof_file):
        return False, "the agent wrote no proof into MUSTER_OUTPUT", step
    try:
        text = _small_file(folder / join.offer.proof_file)
    except OSError as error:
        return False, f"the server cannot read the agent's proof file: {error.strerror}", step
    return PASSED if text == join.offer.proof_text else (False, "the proof file holds another text", step)


def _small_file(path: Path) -> str:
    # A proof is a plain file; a link or a pipe of that name could point or block anywhere.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        return file.read(PROOF_BYTES).decode("utf-8", "replace")


def _callback(services: Services, join: Join) -> CheckResult:
    address, port = join.offer.address, join.offer.port
    if not address or not port:
        return PASSED
    step = f"open {address}:{port} for the server, or unset MUSTER_ADDRESS to join without being called"
    try:
        there = ask_who(address, port, CALL_S)
    except CALL_ERRORS as error:
        return False, f"nobody answers at {address}:{port}: {error}", step
    if (there.worker, there.incarnation) != (join.worker, join.incarnation):
        return False, f"at {address}:{port} answers {there.name} on {there.hostname}, not this agent", step
    return PASSED


def _alone(services: Services, join: Join) -> CheckResult:
    present = workers.find(services.ledger, join.worker)
    if present is None:
        return PASSED
    step = (
        f"an agent of {present.name} runs on {present.hostname}: stop it first, or give this one a machine id"
        " (or, without a GPU, a MUSTER_NAME) of its own"
    )
    [(_, listeners)] = services.redis.pubsub_numsub(services.keys.bell_of(join.worker))
    live = services.live.beats([join.worker]).get(join.worker)
    # The kernel of a frozen agent holds its connection: it listens for ever. When its beat has lapsed and the
    # pool doubts it, no strict attempt of it takes another step, should it thaw.
    if listeners and (live or present.health is Health.HEALTHY):
        return False, "the worker's present agent listens", step
    now = joins.find(services.ledger, join.id) or join
    # What beat before the join began may be dead by now. Both ages are durations, each by its own store; the
    # join's is asked last, so that the time between the two makes nobody look dead.
    if live and live.beat.incarnation == present.incarnation and live.age_s < now.age_s:
        return False, "the worker's present agent has beaten since this join began", step
    return PASSED


def _same_workflows(services: Services, join: Join) -> CheckResult:
    offered = {workflow.name: workflow for workflow in join.offer.workflows}
    differing = {
        declared.workflow.name
        for declared in workflows.declared(services.ledger, list(offered))
        if declared.workflow != offered[declared.workflow.name] and set(declared.workers) != {join.worker}
    }
    if not differing:
        return PASSED
    names = ", ".join(sorted(differing))
    step = "make their workflows.toml the same; both are shown until then"
    return True, f"other workers declare {names} differently", step


CHECKS: tuple[tuple[str, Callable[[Services, Join], CheckResult]], ...] = (
    ("redis", _redis),
    ("output", _output),
    ("callback", _callback),
    ("workflows", _same_workflows),
    (ALONE, _alone),
)
