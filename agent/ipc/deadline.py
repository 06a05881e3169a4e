"""The deadline: until when attempts may go on without another beat that gets through.

Aligned int64 words in a memfd, CLOCK_BOOTTIME in ns. Only the beat process writes them; guards and workflows read.
A word is written and read as one piece (struct.pack_into would tear it). The words are not read together as one:
the reader looks at its clock first, so that a beat between the two readings can only move the deadline on.
"""

from __future__ import annotations

import mmap
import os
from enum import Enum
from typing import TYPE_CHECKING

from agent.processes import boottime_ns
from app.pool.model import ORPHAN_KILL_S

if TYPE_CHECKING:  # only the beat process needs it, and every workflow's process imports this
    from app.pool.policy import Clocks

# The words: when the last beat that got through was sent, and what follows from it for strict attempts and for others.
_THROUGH, _STRICT_TERM, _STRICT_KILL, _ORPHAN = range(4)
_SIZE = 8 * 4
_NS = 1_000_000_000


class Past(Enum):
    """Which moment of an attempt's deadline has passed."""

    NOT = "not"
    TERM = "term"  # the attempt is to be asked to end
    KILL = "kill"


def make_deadline() -> int:
    """A new memfd for one worker's deadlines, all of which have passed until the first beat has got through."""
    fd = os.memfd_create("muster-deadline", os.MFD_CLOEXEC)
    os.ftruncate(fd, _SIZE)
    return fd


class DeadlineWriter:
    """The deadline as the beat process writes it."""

    def __init__(self, fd: int) -> None:
        self._words = memoryview(mmap.mmap(fd, _SIZE)).cast("q")

    def move_on(self, sent_ns: int, clocks: Clocks, max_orphan_s: int) -> None:
        """Move the deadlines on, since a beat got through whose sending began at `sent_ns`."""
        self._words[_ORPHAN] = sent_ns + max_orphan_s * _NS
        self._words[_THROUGH] = sent_ns
        self._words[_STRICT_TERM] = sent_ns + int(clocks.strict_term_s * _NS)
        self._words[_STRICT_KILL] = sent_ns + int(clocks.strict_kill_s * _NS)


class Deadline:
    """One attempt's deadline, as guard, workflow and main read it. Without a `max_orphan_s` the pool's holds."""

    def __init__(self, fd: int, strict: bool, max_orphan_s: int | None) -> None:
        self._words = memoryview(mmap.mmap(fd, _SIZE, prot=mmap.PROT_READ)).cast("q")
        self._strict = strict
        self._orphan_ns = None if max_orphan_s is None else max_orphan_s * _NS

    def past(self) -> Past:
        """Which of the two moments has passed. The words are read twice, since a beat may come in between."""
        seen = self._look(boottime_ns())
        return seen if seen is Past.NOT else self._look(boottime_ns())

    def overdue(self) -> bool:
        """True when a guard that looks would have killed the attempt by now.

        That is a second after the deadline, or half of the time between its two moments where that is less.
        """
        return self._is_overdue(boottime_ns()) and self._is_overdue(boottime_ns())

    def _is_overdue(self, now_ns: int) -> bool:
        term, kill = self._moments()
        return now_ns >= kill + min(_NS, max(0, kill - term) // 2)

    def _look(self, now_ns: int) -> Past:
        term, kill = self._moments()
        if now_ns >= kill:
            return Past.KILL
        return Past.TERM if now_ns >= term else Past.NOT

    def _moments(self) -> tuple[int, int]:
        """When the attempt is to be asked to end, and when it is to be killed, in ns."""
        if self._strict:
            return self._words[_STRICT_TERM], self._words[_STRICT_KILL]
        own = self._orphan_ns
        orphan = self._words[_ORPHAN] if own is None else self._words[_THROUGH] + own
        term = max(orphan, self._words[_STRICT_TERM])  # a limit below the beat's interval may not end healthy jobs
        return term, term + ORPHAN_KILL_S * _NS


def read_only(fd: int) -> None:
    """Make this descriptor one that cannot write; only the beat process keeps one that can."""
    reopened = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    os.dup2(reopened, fd)
    os.close(reopened)
