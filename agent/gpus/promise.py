"""What placement counted on of an attempt's cards, looked at once more before the attempt claims.

The pool places by figures that may be a heartbeat old. Between two of them another program can fill a card, so an
attempt that holds cards is measured against fresh figures, by the rules that placed it, and goes back to the pool where
they do not hold any more. Nobody waits long for figures: without them the attempt claims as it was placed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from app.pool.capacity import measured_card
from app.pool.model import Gpu
from app.pool.policy import DEFAULTS, Policy
from app.pool.protocol import GpuFigures, Reservation

WAIT_S = 2.0  # for figures that were asked for
FREEING_S = 5.0  # after an attempt of ours has left a card: its memory may be in use still, and look like others'


@dataclass(frozen=True)
class Promise:
    """What an order says of its cards."""

    gpus: tuple[str, ...] = ()
    free_mb: int = 0  # on each of them
    others_mb: int | None = None  # they are for it alone: the most MiB that others were to hold of each

    @property
    def counts(self) -> bool:
        """True when there is anything to measure: what holds no memory of a card counts on nothing."""
        return bool(self.gpus) and (self.others_mb is not None or self.free_mb > 0)

    @property
    def held(self) -> Reservation:
        """What it holds of its cards."""
        whole = self.others_mb is not None
        return Reservation(self.gpus, 0 if whole else self.free_mb, whole)

    def broken(self, cards: Sequence[GpuFigures], beside: Sequence[Promise]) -> str | None:
        """In words, which of its cards has less than was promised, by these figures; None when each has it.

        A card of which nobody knows what is in use has it. beside: what other attempts on this worker hold.
        """
        return next((why for card in cards if card.uuid in self.gpus and (why := self._lacks(card, beside))), None)

    def _lacks(self, figures: GpuFigures, beside: Sequence[Promise]) -> str | None:
        gpu = Gpu(figures.uuid, figures.index, figures.model, figures.vram_mb or 0)
        card = measured_card(gpu, figures.memory, not beside, [each.held for each in beside], self._policy)
        alone = self.others_mb is not None
        enough = card.usable_mb is None or card.usable_mb - (0 if alone else card.reserved_mb) >= self.free_mb
        if enough and not (alone and card.crowded):
            return None
        others_mb = card.others_mb if figures.memory.others is None else figures.memory.others
        return f"GPU {gpu.index} has {figures.memory.free} MiB free, others hold {others_mb}; {self._words}"

    @property
    def _policy(self) -> Policy:
        """Without what placement keeps back: that is its margin, and what it let pass must not come back at once."""
        most_mb = DEFAULTS.others_vram_mb if self.others_mb is None else self.others_mb
        return Policy(others_vram_mb=most_mb, vram_reserve_mb=0)

    @property
    def _words(self) -> str:
        if self.others_mb is None:
            return f"{self.free_mb} MiB were promised"
        return f"a whole card{f' with {self.free_mb} MiB free' if self.free_mb else ''} was promised"


class Meter(Protocol):
    """Who measures cards. Nothing here waits."""

    def ask(self, now: float) -> bool:
        """Have the cards measured now; False when no answer is to be expected."""

    def measured(self, since: float) -> Sequence[GpuFigures] | None:
        """The newest figures, if they were measured since that moment."""


class Kept(Enum):
    """What a look at a promise came to, where it is not broken."""

    YES = "yes"  # or nobody can tell
    NOT_YET = "not yet known"


class PromiseCheck:
    """The look at one attempt's cards; `now` from time.monotonic()."""

    def __init__(self, promise: Promise) -> None:
        self._promise = promise
        self._since: float | None = None  # figures from then on count
        self._until = 0.0
        self._broken: str | None = None

    def step(self, meter: Meter, beside: Sequence[Promise], left_at: float | None, now: float) -> Kept | str:
        """Whether the promise is kept; in words why not, once that is certain.

        left_at: when the last attempt of ours that is gone left one of these cards.
        """
        if self._since is None:
            if not self._promise.counts or not meter.ask(now):
                return Kept.YES
            self._look_from(now)
        assert self._since is not None
        figures = meter.measured(self._since)
        if figures is None:
            return Kept.NOT_YET if now < self._until else self._broken or Kept.YES
        self._broken = self._promise.broken(figures, beside)
        if self._broken and left_at is not None and now < left_at + FREEING_S:
            self._look_from(now)  # at the next figures, which come by themselves
            return Kept.NOT_YET
        return self._broken or Kept.YES

    def _look_from(self, now: float) -> None:
        self._since, self._until = now, now + WAIT_S
