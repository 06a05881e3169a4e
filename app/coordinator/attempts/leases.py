"""Leases: what each worker is told of its attempts. A lease only moves on: given, claimed, revoked, ended.

Marks and releases are collected and go out in one pipeline, each compared in its script with the
attempt that stands there, so a late one changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from app.coordinator.scripts import source
from app.coordinator.stores import Stores
from app.pool.codec import plain
from app.pool.model import JobId, WorkerId
from app.pool.protocol import LeaseState, Reservation, Revocation


class Leases:
    """Makes batches of changes, and remembers the workers whose leases were touched, until these have been read."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._mark = source("attempts/mark")
        self._release = source("attempts/release")
        self._touched: set[WorkerId] = set()

    def batch(self) -> Batch:
        """An empty batch of changes."""
        return Batch(self._stores, self._mark, self._release, self._touched)

    def touched(self) -> frozenset[WorkerId]:
        """The workers whose leases this leader changed and has not read since."""
        return frozenset(self._touched)

    def looked_at(self, workers: Collection[WorkerId]) -> None:
        """The leases of these workers were read after they were touched."""
        self._touched -= set(workers)


class Batch:
    """Changes that go out together when `send` is called. At least once: each may be repeated."""

    def __init__(self, stores: Stores, mark: str, release: str, touched: set[WorkerId]) -> None:
        self._stores = stores
        self._scripts = (mark, release)
        self._touched = touched
        self._pipe = stores.redis.pipeline(transaction=False)
        self._rung: set[WorkerId] = set()

    def claimed(
        self,
        worker: WorkerId,
        job: JobId,
        attempt: int,
        nonce: str | None,
        reserved: Reservation | None = None,
    ) -> None:
        """The claim with this nonce was accepted. `reserved` names what it holds, where Redis forgot the lease."""
        self._put(worker, job, attempt, LeaseState.CLAIMED, {"nonce": nonce, **_fields(reserved)})

    def given(self, worker: WorkerId, job: JobId, attempt: int, reserved: Reservation) -> None:
        """The attempt is assigned, and Redis forgot it."""
        self._put(worker, job, attempt, LeaseState.GIVEN, _fields(reserved))

    def revoked(self, worker: WorkerId, job: JobId, attempt: int, why: Revocation, grace_s: float = 0.0) -> None:
        """The attempt is to end; its slot is free when its last process is gone."""
        self._put(worker, job, attempt, LeaseState.REVOKED, {"why": str(why), "grace_s": grace_s})

    def ended(self, worker: WorkerId, job: JobId, attempt: int) -> None:
        """The attempt has ended: this acknowledges its last report and gives its slot back."""
        self._put(worker, job, attempt, LeaseState.ENDED, {})

    def released(self, worker: WorkerId, job: JobId, attempt: int) -> None:
        """The lease goes, and its reservation with it."""
        self._call(1, worker, [worker, job, attempt, self._stores.keys.eligible_prefix])

    def ring(self, worker: WorkerId) -> None:
        """Ring this worker after the changes."""
        self._rung.add(worker)

    def send(self) -> None:
        """Write all changes, then ring each worker once. Raises RedisError: then the same changes may be made again."""
        for worker in sorted(self._rung):
            self._pipe.publish(self._stores.keys.bell_of(worker), "look")
        self._pipe.execute()
        self._rung.clear()

    def _put(self, worker: WorkerId, job: JobId, attempt: int, state: LeaseState, fields: dict[str, Any]) -> None:
        change = json.dumps({"state": str(state), **fields})
        self._call(0, worker, [worker, job, attempt, self._stores.keys.eligible_prefix, change])

    def _call(self, which: int, worker: WorkerId, arguments: list[Any]) -> None:
        keys = self._stores.keys
        # Sent whole: for registered ones each pipeline first asks the server whether it knows them.
        self._pipe.eval(self._scripts[which], 3, keys.lease(worker), keys.worker(worker), keys.load, *arguments)
        self._rung.add(worker)
        self._touched.add(worker)


def _fields(reserved: Reservation | None) -> dict[str, Any]:
    """The fields that are not empty: the script's JSON would write an empty list as an object."""
    return {name: value for name, value in plain(reserved).items() if value} if reserved else {}
