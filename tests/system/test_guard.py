"""The guard, run by a real slot on a real Redis, with the test in main's place."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.processes import carried_by, kill_all
from app.pool.model import Workflow
from app.pool.settings import SECRETS
from tests.kit.cgroups import limited
from tests.kit.services import eventually
from tests.kit.slot_scene import SlotScene


@pytest.fixture
def main(rq_url: str, tmp_path: Path) -> Iterator[SlotScene]:
    with SlotScene(rq_url, tmp_path) as main:
        yield main


def test_an_accepted_claim_runs_the_workflow_and_its_words_become_reports(main: SlotScene) -> None:
    main.put(main.order("quick", params={"seed": 7}))
    line = main.guard().claimed()
    assert line.gone()
    kinds = [report["kind"] for report in line.reports]
    assert kinds.count("end") == 1 and kinds[-1] == "end"
    assert "progress" in kinds
    assert line.log == ["one line"]
    assert line.end and line.end["end"] == "succeeded" and line.end["result"] == {"seed": 7, "mark": None}
    assert [fact["name"] for fact in line.end["files"]] == ["out.txt"]
    assert main.told("horse")[0]["status"] == 0
    main.told("ready")


@pytest.mark.parametrize("gpus", [("GPU-a", "GPU-b"), ()])
def test_what_runs_sees_the_cards_that_it_was_given_by_their_uuid(main: SlotScene, gpus: tuple[str, ...]) -> None:
    main.put(main.order("cards", gpus=gpus))
    line = main.guard().claimed()
    assert line.gone() and line.end
    shown = ",".join(gpus)
    assert line.end["result"] == {"gpus": list(gpus), "own": shown, "program": shown}


def test_a_program_that_knows_no_uuids_is_told_the_cards_by_index(rq_url: str, tmp_path: Path) -> None:
    by_index = Workflow("by index", "python", target="tests.kit.steps:cards", gpu_ids="index")
    with SlotScene(rq_url, tmp_path, workflows=[by_index]) as main:
        main.put(main.order("by index", gpus=("GPU-b", "GPU-a")))
        line = main.guard().claimed()
        assert line.gone() and line.end
    assert line.end["result"] == {"gpus": ["GPU-b", "GPU-a"], "own": "2,0", "program": "2,0"}


def test_a_refused_claim_runs_nothing(main: SlotScene, tmp_path: Path) -> None:
    order = main.order("marks", params={"mark": str(tmp_path / "mark")})
    main.put(order)
    line = main.guard()
    line.until("claim")
    line.tell("refused")
    assert line.gone() and line.reports == []
    main.told("horse")
    assert not (tmp_path / "mark").exists()
    assert not main.processes(order.job)


def test_the_workflows_own_error_is_its_failure_with_the_last_lines(main: SlotScene) -> None:
    main.put(main.order("broken"))
    line = main.guard().claimed()
    assert line.gone() and line.end
    assert (line.end["end"], line.end["cause"]) == ("failed", "workflow")
    assert "no such frame" in line.end["error"]


def test_a_workflow_that_dies_is_reported_with_its_signal_and_its_last_lines(main: SlotScene) -> None:
    main.put(main.order("shot"))
    line = main.guard().claimed()
    assert line.gone() and line.end
    assert (line.end["end"], line.end["signal"], line.end["exit_code"]) == ("failed", signal.SIGKILL, None)
    assert "about to die" in line.end["error"]


def test_a_cancelled_workflow_that_ignores_sigterm_is_killed_with_what_escaped_it(main: SlotScene) -> None:
    line = main.running("stubborn")
    assert len(main.processes(line.job)) == 2
    line.tell("stop", why="cancel", grace_s=0.3)
    assert line.gone() and line.end
    assert (line.end["end"], line.end["cause"]) == ("cancelled", "cancel")
    assert not main.processes(line.job)


def test_a_workflow_that_is_asked_to_stop_leaves_a_checkpoint(main: SlotScene) -> None:
    line = main.running("polite")
    line.tell("stop", why="checkpoint", grace_s=20)
    assert line.gone() and line.end
    assert (line.end["end"], line.end["cause"]) == ("stopped", "good-bye")
    kept = [report for report in line.reports if report["kind"] == "checkpoint"]
    assert [(report["number"], report["state"]) for report in kept] == [(1, {"why": "checkpoint"})]


def test_a_killed_attempt_leaves_nothing(main: SlotScene) -> None:
    line = main.running("stubborn")
    line.tell("kill", why="revoked")
    assert line.gone() and line.end
    assert (line.end["end"], line.end["cause"]) == ("stopped", "revoked")
    assert not main.processes(line.job)


def test_a_strict_attempt_ends_when_no_beat_gets_through(main: SlotScene) -> None:
    line = main.running("stubborn", strict=True)
    main.beating.clear()
    assert line.gone(seconds=5) and line.end
    assert (line.end["end"], line.end["cause"]) == ("stopped", "deadline")
    assert not main.processes(line.job)


def test_another_attempt_outlives_that_silence(main: SlotScene) -> None:
    line = main.running("polite", max_orphan_s=600)
    main.beating.clear()
    strict = main.clocks.strict_kill_s
    for _ in range(2 + round(strict)):
        line.until("looking")
    assert main.processes(line.job)


def test_a_claim_that_is_accepted_after_the_deadline_runs_nothing(main: SlotScene, tmp_path: Path) -> None:
    main.put(main.order("marks", params={"mark": str(tmp_path / "mark")}, strict=True))
    line = main.guard()
    line.until("claim")
    os.kill(line.pid, signal.SIGSTOP)
    main.beating.clear()
    eventually(lambda: main.past(strict=True))
    line.tell("claimed")
    os.kill(line.pid, signal.SIGCONT)
    assert line.gone() and line.end and line.end["cause"] == "deadline"
    assert not (tmp_path / "mark").exists()


def test_a_workflow_that_exceeds_its_timeout_fails(main: SlotScene) -> None:
    main.put(main.order("silent", timeout_s=1))
    line = main.guard().claimed()
    assert line.gone() and line.end
    assert (line.end["end"], line.end["cause"]) == ("failed", "timeout")


def test_a_workflow_that_gives_no_sign_shows_its_stacks_and_fails(main: SlotScene) -> None:
    main.put(main.order("silent", stall_s=1))
    line = main.guard().claimed()
    assert line.gone() and line.end
    assert (line.end["end"], line.end["cause"]) == ("failed", "stall")
    assert any("in silent" in said for said in line.log)


def test_saving_a_checkpoints_files_counts_for_no_limit_and_shows_how_far_it_is(main: SlotScene) -> None:
    order = main.order("saver", params={"mark": "checkpoint"}, timeout_s=4, stall_s=4)
    main.put(order)
    line = main.guard().claimed()
    while not line.until("progress")["text"].startswith("saving 0 of 1 ("):
        pass
    for _ in range(5):
        line.until("looking")
    os.truncate(main.folder / order.job / "a1/.checkpoints/1/big", 1 << 20)
    assert line.until("checkpoint")["files"][0]["name"] == "big"
    assert line.gone() and line.end and line.end["cause"] in ("timeout", "stall")  # from now on it counts again
    assert "kept" in line.log
    assert [report["text"] for report in line.reports if report["kind"] == "progress"][-1] == "rendered"


@pytest.mark.parametrize(
    ("why", "grace_s", "end"), [("cancel", 20, ("cancelled", "cancel")), ("checkpoint", 0.1, ("stopped", "good-bye"))]
)
def test_what_is_saving_its_outputs_can_be_ended(
    main: SlotScene, why: str, grace_s: float, end: tuple[str, str]
) -> None:
    main.put(main.order("saver"))
    line = main.guard().claimed()
    line.until("progress")
    line.tell("stop", why=why, grace_s=grace_s)
    assert line.gone(seconds=10) and line.end
    assert (line.end["end"], line.end["cause"]) == end
    assert not main.processes(line.job)


def test_what_is_saving_its_outputs_ends_at_its_deadline(main: SlotScene) -> None:
    main.put(main.order("saver", strict=True))
    line = main.guard().claimed()
    line.until("progress")
    main.beating.clear()
    assert line.gone(seconds=10) and line.end and line.end["cause"] == "deadline"


def test_whatever_a_workflow_writes_is_a_sign(main: SlotScene) -> None:
    began = time.monotonic()
    main.put(main.order("chatty", stall_s=1))
    line = main.guard().claimed()
    assert line.gone() and line.end and line.end["cause"] == "stall"
    assert time.monotonic() - began > 2.5


def test_a_workflow_that_the_kernel_kills_for_its_hunger_is_reported_so(main: SlotScene) -> None:
    with limited(32 * 1024 * 1024) as group:
        main.put(main.order("hungry", params={"mark": str(group)}))
        line = main.guard().claimed()
        assert line.gone() and line.end
    assert (line.end["end"], line.end["cause"], line.end["signal"]) == ("failed", "workflow", signal.SIGKILL)
    assert line.end["oom_killed"] and "out of memory" in line.end["error"]


def test_a_guard_waits_for_the_answer_of_a_main_that_stands_still(main: SlotScene) -> None:
    main.put(main.order("quick"))
    line = main.guard()
    line.until("claim")
    for _ in range(3):
        line.until("looking")
    line.tell("claimed")
    assert line.gone() and line.end and line.end["end"] == "succeeded"


def test_a_killed_guard_takes_its_workflow_along(main: SlotScene) -> None:
    line = main.running("polite")
    os.kill(line.pid, signal.SIGKILL)
    assert line.gone() and line.end is None
    eventually(lambda: not main.processes(line.job), seconds=5)
    status = main.told("horse")[0]["status"]
    assert os.WTERMSIG(status) == signal.SIGKILL
    main.told("ready")


def test_a_killed_slot_takes_everything_along(main: SlotScene) -> None:
    line = main.running("stubborn")
    main.slot.kill()
    assert line.gone() and line.end
    assert (line.end["end"], line.end["cause"]) == ("stopped", "slot")
    assert not main.processes(line.job)


def test_what_slot_and_guard_leave_when_they_die_in_one_blow_is_found_by_its_environment(main: SlotScene) -> None:
    line = main.running("stubborn")
    os.kill(line.pid, signal.SIGSTOP)  # so that it cannot bury what is its own
    main.slot.kill()
    os.kill(line.pid, signal.SIGKILL)
    assert line.gone()
    assert eventually(lambda: len(main.processes(line.job)) == 1)  # the one that escaped
    assert not kill_all(lambda: carried_by(line.job, line.attempt))
    assert not main.processes(line.job)


def test_a_slot_that_is_asked_to_stop_takes_nothing_new_and_finishes(main: SlotScene) -> None:
    line = main.running("polite")
    main.slot.send_signal(signal.SIGTERM)
    left = main.order("quick")
    main.put(left)
    line.tell("stop", why="checkpoint", grace_s=20)
    assert line.gone() and line.end
    assert main.slot.wait(timeout=10) == 0
    assert len(main.queue) == 1


def test_an_idle_slot_stops_at_once(main: SlotScene) -> None:
    main.told("ready")
    main.slot.send_signal(signal.SIGTERM)
    assert main.slot.wait(timeout=5) == 0


def test_no_process_of_an_attempt_shows_a_secret_of_the_agents(rq_url: str, tmp_path: Path) -> None:
    secrets = dict.fromkeys({*SECRETS, "MUSTER_AGENT_REDIS_URL", "MUSTER_AGENT_RQ_REDIS_URL"}, "mst_hidden")
    with SlotScene(rq_url, tmp_path, {**secrets, "MUSTER_SEEN": "mst_shown"}) as main:
        line = main.running("polite")
        shown = [Path(f"/proc/{pid}/environ").read_bytes() for pid in (main.slot.pid, *main.processes(line.job))]
    assert len(shown) >= 2
    assert all(b"mst_shown" in each and b"mst_hidden" not in each for each in shown)
