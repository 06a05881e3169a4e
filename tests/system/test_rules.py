"""Rules and GPU memory, as a real guard sees them in what a real command prints and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.attempt.rules import TOO_SLOW
from app.pool.model import Rule, Workflow
from tests.kit.agent_scene import AgentScene
from tests.kit.slot_scene import SlotScene

RULES = (
    Rule("later", exit_code=75),
    Rule("elsewhere", log="no licence on this host"),
)
HOSTILE = Rule("never", log="(a+)+$")


def command(name: str, script: str, *first: Rule) -> Workflow:
    return Workflow(name, "command", argv=("sh", "-c", script), rules=(*first, *RULES))


WORKFLOWS = (
    command("busy", "echo the licence server is busy; exit 75"),
    command("unlicensed", "echo no licence on this host >&2; exit 1"),
    command("other", "echo something else; exit 3"),
    command("hostile", f"echo {'a' * 60}b; exit 75", HOSTILE),
    command("short", "echo 'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB'; exit 1"),
    command("aborted", "echo CUDA_ERROR_OUT_OF_MEMORY; kill -ABRT $$"),
    command("fine", "echo CUDA out of memory, halving the batch; echo no licence on this host; exit 0"),
)


@pytest.fixture
def main(rq_url: str, tmp_path: Path) -> Iterator[SlotScene]:
    with SlotScene(rq_url, tmp_path, workflows=WORKFLOWS) as main:
        yield main


@pytest.mark.parametrize(
    ("workflow", "exit_code", "then"), [("busy", 75, "later"), ("unlicensed", 1, "elsewhere"), ("other", 3, None)]
)
def test_a_commands_own_exit_code_and_log_decide(
    main: SlotScene, workflow: str, exit_code: int, then: str | None
) -> None:
    end = main.ended(workflow).end
    assert end
    assert (end["end"], end["cause"], end["exit_code"], end["then"]) == ("failed", "workflow", exit_code, then)


def test_a_hostile_pattern_neither_hangs_the_guard_nor_costs_its_end(main: SlotScene) -> None:
    line = main.ended("hostile")
    assert line.end and line.end["then"] == "later"
    assert TOO_SLOW in line.log
    assert main.ended("other").end  # the slot goes on


@pytest.mark.parametrize("workflow", ["short", "aborted"])
def test_a_command_that_ran_out_of_gpu_memory_says_so_as_its_cause(main: SlotScene, workflow: str) -> None:
    end = main.ended(workflow).end
    assert end
    assert (end["end"], end["cause"], end["then"]) == ("failed", "gpu memory", None)


def test_a_success_is_judged_by_no_rule(main: SlotScene) -> None:
    end = main.ended("fine").end
    assert end
    assert (end["end"], end["cause"], end["then"], end["exit_code"]) == ("succeeded", "workflow", None, 0)


DECLARED = """
[workflows.busy]
runner = "command"
argv = ["sh", "-c", "echo 'CUDA out of memory'; exit 75"]
[[workflows.busy.rules]]
exit_code = 75
then = "later"
"""


def test_a_declared_rule_is_offered_and_its_verdict_comes_through_the_agent(
    redis_url: str, rq_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "declared.toml"
    file.write_text(DECLARED)
    with AgentScene(redis_url, rq_url, tmp_path) as pool:
        pool.working(MUSTER_WORKFLOWS=str(file))
        [workflow] = pool.offers[0].workflows
        end = pool.until("end", pool.put("busy"))
    assert workflow.rules == (Rule("later", exit_code=75),)
    assert (end.end, end.cause, end.exit_code, end.then) == ("failed", "gpu memory", 75, "later")
