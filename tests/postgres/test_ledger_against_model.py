"""The ledger's verbs in any order, by workers old and new, against a model that fits on a page."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from app.ledger import attempts, jobs, open_attempts, waiting
from app.ledger.db import Ledger
from app.ledger.reports import Applied
from app.pool.model import Job, JobState, Worker
from tests.kit.actors import found, join, submit, tell
from tests.kit.moves import JOB_MOVES

NAMES = ("render-a", "render-b")
NONCES = ("n1", "n1", "n2")
WHICH = st.integers(0, 1)
OLDER = st.sampled_from((0, 0, 0, 1))  # mostly the present attempt, else nothing ever gets far


@dataclass
class Believed:
    """What the model believes of a job."""

    job: Job
    max_failures: int
    state: JobState = JobState.PENDING
    seen: JobState = JobState.PENDING  # after the step before
    attempt: int = 1
    failures: int = 0
    worker: Worker | None = None
    nonce: str | None = None
    checkpoint: tuple[int, int] | None = None  # attempt, number
    result: int | None = None  # the attempt that gave it
    ends: dict[tuple[int, str, int], str] = field(default_factory=dict)

    def again(self) -> None:
        self.state, self.worker, self.nonce = JobState.PENDING, None, None
        self.attempt += 1


class LedgerVerbs(RuleBasedStateMachine):
    """Two workers, each with a past; anybody may report anything of any attempt at any time."""

    ledger: Ledger

    @initialize()
    def workers_join_and_jobs_wait(self) -> None:
        self.present = {name: join(self.ledger, name) for name in NAMES}
        self.every = list(self.present.values())
        # Two jobs, so that each gets far: more would share the steps.
        self.jobs = [Believed(submit(self.ledger, max_failures=most), most) for most in (1, 3)]

    @rule(name=st.sampled_from(NAMES))
    def rejoin(self, name: str) -> None:
        self.present[name] = join(self.ledger, name)
        self.every.append(self.present[name])

    @rule(which=WHICH, data=st.data(), older=OLDER)
    def assign(self, which: int, data: st.DataObject, older: int) -> None:
        it = self.jobs[which]
        worker, attempt = self._somebody(data), max(1, it.attempt - older)
        moved = waiting.assign(self.ledger, [waiting.Assignment(it.job.id, attempt, worker.id, worker.incarnation)])
        ready = it.state is JobState.PENDING and it.job.not_before is None
        if ready and attempt == it.attempt and worker is self.present[worker.name]:
            assert moved.keys() == {it.job.id}
            it.state, it.worker = JobState.ASSIGNED, worker
        else:
            assert moved == {}

    @rule(which=WHICH)
    def forward(self, which: int) -> None:
        """What happens when nothing goes wrong, so that the steps that go wrong meet every state."""
        it = self.jobs[which]
        if it.state is JobState.PENDING:
            it.worker = self.present[NAMES[it.attempt % 2]]
            wish = waiting.Assignment(it.job.id, it.attempt, it.worker.id, it.worker.incarnation)
            assert waiting.assign(self.ledger, [wish]).keys() == {it.job.id}
            it.state = JobState.ASSIGNED
        elif it.state is JobState.ASSIGNED and it.worker is self.present[it.worker.name if it.worker else ""]:
            applied = tell(self.ledger, it.worker, it.job, it.attempt, "claim", nonce="n1")
            assert applied is Applied.CLAIMED
            it.state, it.nonce = JobState.RUNNING, "n1"

    @rule(which=WHICH, data=st.data(), nonce=st.sampled_from(NONCES), older=OLDER)
    def claim(self, which: int, data: st.DataObject, nonce: str, older: int) -> None:
        it = self.jobs[which]
        worker, attempt = self._somebody(data, it), max(1, it.attempt - older)
        applied = tell(self.ledger, worker, it.job, attempt, "claim", nonce=nonce)
        rightful = attempt == it.attempt and worker is it.worker and worker is self.present[worker.name]
        if rightful and (it.state is JobState.ASSIGNED or (it.state is JobState.RUNNING and it.nonce == nonce)):
            assert applied is (Applied.CLAIMED if it.state is JobState.ASSIGNED else Applied.REPEATED)
            it.state, it.nonce = JobState.RUNNING, nonce
        else:
            doubled = rightful and it.state is JobState.RUNNING
            assert applied is (Applied.DOUBLED if doubled else Applied.REFUSED)

    @rule(which=WHICH, data=st.data(), number=st.integers(1, 3), older=OLDER)
    def checkpoint(self, which: int, data: st.DataObject, number: int, older: int) -> None:
        it = self.jobs[which]
        worker, attempt = self._somebody(data, it), max(1, it.attempt - older)
        applied = tell(self.ledger, worker, it.job, attempt, "checkpoint", number=number, state=[attempt, number])
        newer = it.checkpoint is None or it.checkpoint < (attempt, number)
        if self._runs(it, worker, attempt) and newer:
            assert applied is Applied.STORED
            it.checkpoint = (attempt, number)
        else:
            assert applied in (Applied.IGNORED, Applied.REFUSED)

    @rule(which=WHICH, data=st.data(), older=OLDER, end=st.sampled_from(["succeeded", "failed", "stopped"]))
    def end(self, which: int, data: st.DataObject, older: int, end: str) -> None:
        it = self.jobs[which]
        worker, attempt = self._somebody(data, it), max(1, it.attempt - older)
        applied = tell(self.ledger, worker, it.job, attempt, "end", end=end, cause="guard", result=attempt)
        held = it.state in (JobState.ASSIGNED, JobState.RUNNING) and worker is it.worker and attempt == it.attempt
        if not held or (end == "succeeded" and it.state is not JobState.RUNNING):
            told_before = it.ends.get((attempt, worker.id, worker.incarnation))
            cancelled = it.state is JobState.CANCELLED
            assert applied is (Applied.ENDED if told_before == end else Applied.REFUSED) or cancelled
            return
        assert applied in (Applied.ENDED, Applied.WORKER_BARRED)
        it.ends[(attempt, worker.id, worker.incarnation)] = end
        self._ended(it, end)

    def _ended(self, it: Believed, end: str) -> None:
        if end == "succeeded":
            it.state, it.result = JobState.SUCCEEDED, it.attempt
        elif end == "failed" and it.failures + 1 >= it.max_failures:
            it.failures, it.state = it.failures + 1, JobState.FAILED
        else:
            it.failures += end == "failed"
            it.again()

    @rule(which=WHICH, older=OLDER, running=st.booleans())
    def take(self, which: int, older: int, running: bool) -> None:
        it = self.jobs[which]
        verb, state = (
            (open_attempts.take_away, JobState.RUNNING) if running else (open_attempts.take_back, JobState.ASSIGNED)
        )
        taken = verb(self.ledger, it.job.id, it.attempt - older, "for a test")
        assert (taken is not None) == (it.state is state and not older)
        if taken:
            it.again()

    @rule(which=WHICH, sure=st.integers(0, 5))
    def cancel(self, which: int, sure: int) -> None:
        it = self.jobs[which]
        if sure:
            return  # seldom, because nothing happens to a cancelled job any more
        cancelled = jobs.cancel(self.ledger, it.job.id)
        assert (cancelled is not None) == (it.state in (JobState.PENDING, JobState.ASSIGNED, JobState.RUNNING))
        if cancelled:
            it.state = JobState.CANCELLED

    @invariant()
    def ledger_and_model_agree(self) -> None:
        for it in self.jobs:
            now = found(self.ledger, it.job)
            assert (now.state, now.attempt, now.failures) == (it.state, it.attempt, it.failures)
            assert now.state is it.seen or now.state in JOB_MOVES[it.seen]
            it.seen = now.state
            newest = attempts.newest_checkpoints(self.ledger, [it.job.id]).get(it.job.id)
            assert (newest and (newest.attempt, newest.number)) == it.checkpoint
            result = jobs.result(self.ledger, it.job.id)
            assert (result and result.attempt) == it.result
            running = [a for a in attempts.of_job(self.ledger, it.job.id) if a.started_at and not a.end]
            assert len(running) <= 1

    def _somebody(self, data: st.DataObject, it: Believed | None = None) -> Worker:
        """Mostly the right worker, else any that there is or was."""
        right = [it.worker] * 3 if it and it.worker else list(self.present.values())
        return data.draw(st.sampled_from([*right, data.draw(st.sampled_from(self.every))]))

    def _runs(self, it: Believed, worker: Worker, attempt: int) -> bool:
        return it.state is JobState.RUNNING and worker is it.worker and attempt == it.attempt


@pytest.mark.timeout(300)  # it ends within seconds, unless the computer is very busy
def test_any_order_of_verbs_by_any_worker_leaves_what_the_model_says(ledger: Ledger) -> None:
    verbs = type("Verbs", (LedgerVerbs,), {"ledger": ledger})
    run_state_machine_as_test(
        verbs,
        settings=settings(
            max_examples=12, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
