"""A line of the log that makes exit code 0, or a returned result, a failure: as a real guard hears it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.pool.model import FailWhen, Rule, Workflow
from tests.kit.slot_scene import SlotScene

MISSING = FailWhen("are missing")
HOSTILE = FailWhen("(a+)+$")
LINE = "Warning: 2 libraries are missing"
SPOKEN = f"the pattern {HOSTILE.log!r} of this workflow's fail_when was given up: it takes too long"


def command(name: str, script: str, *fail_when: FailWhen, rules: tuple[Rule, ...] = ()) -> Workflow:
    return Workflow(name, "command", argv=("sh", "-c", script), fail_when=fail_when, rules=rules)


WORKFLOWS = (
    command("early", f"echo {LINE}; seq 300000; echo x >out", MISSING),
    command("late", f"seq 5000 >&2; printf '{LINE}' >&2", MISSING, rules=(Rule("never", log="^Warning: "),)),
    command("fine", "echo all frames are there; echo x >out", MISSING),
    command("undeclared", f"echo {LINE}"),
    command("own", f"echo {LINE}; exit 3", MISSING),
    command("hostile", f"echo {'a' * 60}b; seq 200; echo {LINE}", HOSTILE, MISSING),
    command("survivor", f"echo {'a' * 60}b; seq 200", HOSTILE, MISSING),
    Workflow("python", "python", target="tests.kit.steps:quick", fail_when=(FailWhen("^one line$"),)),
)


@pytest.fixture
def main(rq_url: str, tmp_path: Path) -> Iterator[SlotScene]:
    with SlotScene(rq_url, tmp_path, workflows=WORKFLOWS) as main:
        yield main


@pytest.mark.parametrize(
    ("workflow", "said", "then"), [("early", LINE, None), ("late", LINE, "never"), ("python", "one line", None)]
)
def test_a_line_anywhere_in_either_stream_makes_a_success_a_failure_of_the_workflow_s_own(
    main: SlotScene, workflow: str, said: str, then: str | None
) -> None:
    end = main.ended(workflow).end
    assert end
    assert (end["end"], end["cause"], end["result"], end["files"]) == ("failed", "workflow", None, [])
    assert (end["error"].splitlines()[-1], end["then"]) == (said, then)


@pytest.mark.parametrize("workflow", ["fine", "undeclared"])
def test_without_such_a_line_or_such_a_word_it_stays_a_success(main: SlotScene, workflow: str) -> None:
    end = main.ended(workflow).end
    assert end
    assert (end["end"], bool(end["files"])) == ("succeeded", workflow == "fine")


def test_another_failure_keeps_its_own_words(main: SlotScene) -> None:
    end = main.ended("own").end
    assert end
    assert (end["exit_code"], end["error"].splitlines()[0]) == (3, "exit code 3")


@pytest.mark.parametrize(("workflow", "how"), [("hostile", "failed"), ("survivor", "succeeded")])
def test_a_hostile_pattern_is_given_up_with_a_word_and_the_others_still_count(
    main: SlotScene, workflow: str, how: str
) -> None:
    line = main.ended(workflow)
    assert line.end and line.end["end"] == how
    assert line.log.count(SPOKEN) == 1
