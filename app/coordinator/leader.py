"""Who leads: one PostgreSQL advisory lock on a session of its own.

The lock saves work; correctness never rests on it: a leader that lost it without knowing writes at most
leases and envelopes whose claims are refused. The session ends by itself when this process freezes
or loses its network, and is given up when the loop hangs; so a standby leads within 5 s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from app.ledger import leader
from app.pool.backoff import Outage
from app.pool.errors import Unavailable
from app.pool.loop import Bell

log = logging.getLogger(__name__)

PING_S = 1.0
BELIEVED_S = 3.0  # after the last ping that got through; well before PostgreSQL ends the session
HANGS_AFTER_S = 10.0


class Leadership:
    """Holds the lock, or tries to; `run` is a thread's. `changed` is called when a term begins."""

    def __init__(self, database_url: str, changed: Callable[[], None]) -> None:
        self._url = database_url
        self._changed = changed
        self._terms = 0
        self._leads = False
        self._pinged_at = 0.0
        self._finished_at = time.monotonic()
        self._outage = Outage(log, "leader: this coordinator does not lead")
        self.bell = Bell()

    @property
    def term(self) -> int:
        """0 while another leads or may lead, else a number that rises with each term."""
        # A thawed process asks this before its own ping could tell it that another leads.
        believed = time.monotonic() - self._pinged_at < BELIEVED_S
        return self._terms if self._leads and believed else 0

    def finished_step(self) -> None:
        """Note that the loop has finished a step."""
        self._finished_at = time.monotonic()

    def run(self) -> None:
        """Try to lead, and lead, until the bell is stopped."""
        while not self.bell.stopped:
            try:
                with leader.session(self._url) as session:
                    why = self._lead(session)
            except Unavailable as error:
                why = str(error)
            if why:
                self._lost(why)
            self.bell.wait(PING_S)
        self._leads = False

    def _lead(self, session: leader.LeaderSession) -> str | None:
        """Wait for the lock and keep it; returns why it was given up, None when the bell was stopped."""
        while not session.try_lock():
            self._outage.over()
            if not self.bell.wait(PING_S):
                return None
        self._won()
        while self.bell.wait(PING_S):
            if time.monotonic() - self._finished_at > HANGS_AFTER_S:
                return f"its loop finished no step for {HANGS_AFTER_S:.0f} s"
            session.ping()
            self._pinged_at = time.monotonic()
        return None

    def _won(self) -> None:
        self._finished_at = self._pinged_at = time.monotonic()
        self._outage.over()
        self._terms += 1
        self._leads = True
        log.info("leader: this coordinator leads, term=%d", self._terms)
        self._changed()

    def _lost(self, why: str) -> None:
        self._outage.failed(why)
        self._leads = False
