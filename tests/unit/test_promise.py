"""What was promised of an attempt's cards is looked at once more, by fresh figures, before it claims."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from agent.attempt.handle import AttemptHandle, SlotRef
from agent.gpus.promise import FREEING_S, WAIT_S, Kept, Promise, PromiseCheck
from agent.ipc.deadline import Deadline, make_deadline
from agent.ipc.link import Link
from app.pool.protocol import GpuFigures, Memory

MB = 46_068
ONE, TWO = "GPU-1", "GPU-2"


def card(others: int | None, ours: int | None = 0, free: int | None = None, uuid: str = ONE) -> GpuFigures:
    free = MB - (others or 0) - (ours or 0) if free is None else free
    return GpuFigures(uuid, int(uuid[-1]) - 1, vram_mb=MB, memory=Memory(ours, others, free))


WHOLE, SHARE = Promise((ONE,), others_mb=2_048), Promise((ONE,), free_mb=8_000)


@dataclass
class ScriptedMeter:
    """The sampler, as far as a check sees it: what it answers, and when that was measured."""

    cards: Sequence[GpuFigures] = ()
    at: float = -1.0
    answers: bool = True
    asked: list[float] = field(default_factory=list)

    def ask(self, now: float) -> bool:
        self.asked.append(now)
        return self.answers

    def measured(self, since: float) -> Sequence[GpuFigures] | None:
        return self.cards if self.at >= since else None

    def measures(self, at: float, *cards: GpuFigures) -> None:
        self.at, self.cards = at, cards


@pytest.mark.parametrize(
    ("promise", "figures", "broken"),
    [
        (WHOLE, card(0), False),
        (WHOLE, card(2_048), False),
        (WHOLE, card(45_000), True),
        (WHOLE, card(0, ours=45_000), False),  # an earlier attempt's, which the driver has yet to free
        (WHOLE, card(None, None, free=1_000), True),  # a driver that lists no processes, and nothing of ours runs
        (WHOLE, GpuFigures(ONE, 0, vram_mb=MB), False),  # nobody knows
        (Promise((ONE,), free_mb=44_000, others_mb=2_048), card(2_048), False),
        (Promise((ONE,), free_mb=44_500, others_mb=2_048), card(2_048), True),
        (SHARE, card(38_016), False),
        (SHARE, card(39_000), True),
        (SHARE, GpuFigures(ONE, 0, vram_mb=MB), False),
        (Promise((TWO,), others_mb=2_048), card(45_000), False),  # another attempt's card
    ],
)
def test_a_promise_is_broken_where_others_have_what_was_promised(
    promise: Promise, figures: GpuFigures, broken: bool
) -> None:
    assert (promise.broken([figures], []) is not None) is broken


def test_what_other_attempts_hold_of_a_card_is_not_there_for_this_one() -> None:
    beside = [Promise((ONE,), free_mb=30_000), Promise((TWO,), free_mb=40_000)]
    assert SHARE.broken([card(8_000)], beside) is None
    assert SHARE.broken([card(8_128)], beside) is not None
    # Where the driver does not say whose memory it is, what they hold is theirs.
    assert SHARE.broken([card(None, None, free=16_000)], beside) is None


def test_one_card_of_several_is_enough_to_break_it_and_is_named() -> None:
    both = Promise((ONE, TWO), others_mb=2_048)
    said = both.broken([card(400), card(45_056, free=668, uuid=TWO)], [])
    assert said == "GPU 1 has 668 MiB free, others hold 45056; a whole card was promised"
    assert SHARE.broken([card(45_056)], []) == "GPU 0 has 1012 MiB free, others hold 45056; 8000 MiB were promised"


@pytest.mark.parametrize("promise", [Promise(), Promise((ONE,))])
def test_an_attempt_that_holds_no_memory_of_a_card_asks_for_no_figures(promise: Promise) -> None:
    meter = ScriptedMeter()
    assert PromiseCheck(promise).step(meter, [], None, 100.0) is Kept.YES
    assert not meter.asked


def test_only_figures_count_that_were_measured_since_they_were_asked_for() -> None:
    meter, check = ScriptedMeter(), PromiseCheck(WHOLE)
    meter.measures(99.9, card(0))
    assert check.step(meter, [], None, 100.0) is Kept.NOT_YET
    meter.measures(100.1, card(45_000))
    assert isinstance(check.step(meter, [], None, 100.2), str)
    assert meter.asked == [100.0]


def test_without_figures_an_attempt_claims_as_it_was_placed() -> None:
    silent = ScriptedMeter(answers=False)
    assert PromiseCheck(WHOLE).step(silent, [], None, 100.0) is Kept.YES
    hanging, check = ScriptedMeter(), PromiseCheck(WHOLE)
    assert check.step(hanging, [], None, 100.0) is Kept.NOT_YET
    assert check.step(hanging, [], None, 100.0 + WAIT_S) is Kept.YES
    hanging.measures(100.5)  # the driver has gone: it lists no card
    assert PromiseCheck(WHOLE).step(hanging, [], None, 100.4) is Kept.YES


def test_memory_of_our_own_last_attempt_may_take_a_while_to_be_free() -> None:
    """In a container the driver does not tell ours from others'."""
    meter, check, left_at = ScriptedMeter(), PromiseCheck(WHOLE), 99.0
    meter.measures(100.0, card(45_000))
    assert check.step(meter, [], left_at, 100.0) is Kept.NOT_YET
    meter.measures(101.0, card(45_000))
    assert check.step(meter, [], left_at, 101.0) is Kept.NOT_YET
    meter.measures(102.0, card(0))
    assert check.step(meter, [], left_at, 102.0) is Kept.YES


def test_memory_that_nobody_frees_is_others_after_a_while_and_so_is_what_was_seen_last() -> None:
    meter, check, left_at = ScriptedMeter(), PromiseCheck(WHOLE), 99.0
    meter.measures(100.0, card(45_000))
    assert check.step(meter, [], left_at, 100.0) is Kept.NOT_YET
    hangs = PromiseCheck(WHOLE)
    assert hangs.step(meter, [], left_at, 100.0) is Kept.NOT_YET
    assert hangs.step(meter, [], left_at, 100.1) is Kept.NOT_YET
    assert isinstance(hangs.step(meter, [], left_at, 100.1 + WAIT_S), str)  # no newer figures came
    over = left_at + FREEING_S
    meter.measures(over, card(45_000))
    assert isinstance(check.step(meter, [], left_at, over), str)


def test_an_attempt_that_goes_back_holds_nothing_while_its_guard_is_still_there() -> None:
    """Else the next one on its card would be sent back for it."""
    said = {"job": "j", "attempt": 1, "nonce": "n", "pid": os.getpid(), "timeout_s": None}
    said |= {"gpus": [ONE], "free_mb": 8_000, "others_mb": None}
    ours, theirs = socket.socketpair()
    with theirs:
        fd = make_deadline()
        handle = AttemptHandle(said, SlotRef(0, os.getpid()), Deadline(fd, False, 60), Link(ours), 100.0)
        assert (handle.promise, handle.may_hold_cards) == (SHARE, True)
        handle.give_back("GPU 0 has 1 MiB free")
        assert theirs.recv(100) == b'{"m":"refused"}\n'
        assert not handle.may_hold_cards and not handle.buried
        handle.close()
        os.close(fd)
