"""Which slots main starts when; the processes are real ones that wait, ready when the test says so for them."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from agent.ipc.channel import SlotSetup, send_datagram
from agent.slot import starter
from agent.slot.starter import START_S, SlotProcess, SlotProcesses
from app.pool.model import WorkerId


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, socket.socket]]:
    """The slots' own ends, by slot; two processors."""
    ends: dict[int, socket.socket] = {}
    mains: list[socket.socket] = []

    def start(setup: SlotSetup) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, ends[setup.slot] = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mains.append(ours)
        return subprocess.Popen(["sleep", "60"]), ours

    monkeypatch.setattr(starter, "start_slot", start)
    monkeypatch.setattr(starter, "AT_ONCE", 2)
    yield ends
    for each in (*ends.values(), *mains):
        each.close()


@pytest.fixture
def slots(theirs: dict[int, socket.socket]) -> Iterator[SlotProcesses]:
    slots = SlotProcesses(SlotSetup(WorkerId("0" * 12), 1, 0, 0, 1, 0, 0, "", "", "", ()), 5)
    yield slots
    slots.stop(0)


def started(slots: SlotProcesses, now: float) -> list[SlotProcess]:
    return slots.start_due(lambda _: False, now)


def test_no_more_slots_start_at_once_than_there_are_processors(
    slots: SlotProcesses, theirs: dict[int, socket.socket]
) -> None:
    first = started(slots, 0.0)
    assert [each.number for each in first] == [0, 1] and not started(slots, 0.1)
    send_datagram(theirs[1], {"m": "ready"})
    slots.hear(first[1], 0.2)
    assert [each.number for each in started(slots, 0.2)] == [2]
    send_datagram(theirs[1], {"m": "guard"})
    slots.hear(first[1], 0.3)  # what runs a job has started
    assert not started(slots, 0.3)


def test_a_slot_that_never_gets_ready_keeps_no_other_from_starting(slots: SlotProcesses) -> None:
    started(slots, 0.0)
    assert not started(slots, START_S - 0.1)
    assert [each.number for each in started(slots, START_S)] == [2, 3]


def test_one_that_died_while_it_started_leaves_its_turn(slots: SlotProcesses, theirs: dict[int, socket.socket]) -> None:
    first = started(slots, 0.0)
    theirs[0].close()
    assert slots.hear(first[0], 0.1) is None
    assert [each.number for each in started(slots, 0.1)] == [2]


def test_a_slot_killed_by_a_signal_without_a_name_is_buried_as_any_other(
    slots: SlotProcesses, theirs: dict[int, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    slot = started(slots, 0.0)[0]
    process = slot.process
    assert process is not None
    process.send_signal(signal.SIGRTMIN + 6)
    theirs[0].close()
    assert slots.hear(slot, 0.1) is None
    assert process.returncode == -40 and process.pid not in slots.pids()
    assert "slot process died, killed by signal 40: " in caplog.text


def test_a_slot_that_cannot_be_started_is_tried_again_and_costs_no_other(
    slots: SlotProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: SlotSetup) -> None:
        raise BlockingIOError("no process left")

    with monkeypatch.context() as full:
        full.setattr(starter, "start_slot", fail)
        assert not started(slots, 0.0)
        assert not started(slots, 0.0)  # all five were tried, two at a time, and wait
        assert not started(slots, 0.0)
    assert not started(slots, 0.05)
    assert [each.number for each in started(slots, 0.3)] == [0, 1]
