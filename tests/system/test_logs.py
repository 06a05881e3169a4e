"""Logs: what a real guard hears of real programs, and how it reaches the server whatever happens on the way."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.log.lines import CUT
from agent.log.spool import attempt_folder
from app.pool.model import JobId, Rule, Workflow
from app.pool.protocol import Lease, LeaseState, Revocation
from tests.kit.agent_scene import DEADLINE_S, AgentScene, ended
from tests.kit.services import eventually
from tests.kit.slot_scene import GuardLine, SlotScene

OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
BARS = r"""
for e in 1 2; do
  printf '\repoch %s:  50%%' $e >&2; printf '\repoch %s: 100%%' $e >&2
  echo "::checkpoint {\"epoch\": $e}"                             # behind the bar of another stream
  printf '\rsaving  50%%'; printf '\rsaving 100%%'; echo "::progress 0.$e saved $e"   # behind one of its own
done
echo " over" >&2
"""
SCRIPTS = {
    "bars": BARS,
    "bar": r"""for i in $(seq 30); do printf "\r$i of 30" >&2; sleep 0.1; done""",
    "hangs": "echo begun; exec sleep 600",
    "raw": r"""printf 'a\0b\377\376\n'; head -c 1000000 /dev/zero | tr '\0' x; printf '\nlast words'""",
    "dies": "echo first; echo 'cannot read input' >&2; printf 'last words'; kill -KILL $$",
    "summary": f"seq 100001; echo '{OOM}'; for i in $(seq 40); do echo summary $i; done; exit 1",
    "floods": "exec yes",
    "random": "head -c 3000000 /dev/urandom | base64; echo done",
}
RULES = (Rule("never", log="cannot read input"),)


@pytest.fixture
def main(rq_url: str, tmp_path: Path) -> Iterator[SlotScene]:
    workflows = [Workflow(name, "command", argv=("sh", "-c", script), rules=RULES) for name, script in SCRIPTS.items()]
    with SlotScene(rq_url, tmp_path, workflows=workflows) as main:
        yield main


def run(main: SlotScene, workflow: str, **more: object) -> GuardLine:
    return main.ended(workflow, DEADLINE_S, **more)


def test_words_behind_bars_are_understood_and_of_the_bars_the_last_state_is_kept(main: SlotScene) -> None:
    line = run(main, "bars")
    kept = [report["state"] for report in line.reports if report["kind"] == "checkpoint"]
    assert kept == [{"epoch": 1}, {"epoch": 2}]
    last = [report for report in line.reports if report["kind"] == "progress"][-1]
    assert (last["fraction"], last["text"]) == (0.2, "saved 2")
    said = [(each.stream, each.text) for each in line.lines if not each.redraw]
    assert sorted(said) == [("e", "epoch 2: 100% over"), ("o", "saving 100%")]


def test_a_bar_that_moves_is_a_sign_of_life_and_is_seen_while_it_moves(main: SlotScene) -> None:
    line = run(main, "bar", stall_s=2)
    assert line.end and line.end["end"] == "succeeded"
    shown = [each for each in line.lines if each.redraw]
    assert shown and all(each.stream == "e" and re.fullmatch(r"\d+ of 30", each.text) for each in shown)
    assert line.log == ["30 of 30"]


def test_a_command_that_hangs_fails_without_stacks_that_are_not_its_own(main: SlotScene) -> None:
    line = run(main, "hangs", stall_s=1)
    assert line.end and (line.end["end"], line.end["cause"]) == ("failed", "stall")
    assert line.log == ["begun"]


def test_bytes_of_any_kind_are_kept_and_last_words_need_no_line_end(main: SlotScene) -> None:
    binary, long, last = run(main, "raw").log
    assert (binary, last) == ("a\0b\ufffd\ufffd", "last words")
    assert long.startswith("xxx") and long.endswith(CUT.decode()) and len(long.encode()) <= 4096


def test_a_death_is_told_with_what_was_said_before_it(main: SlotScene) -> None:
    end = run(main, "dies").end
    assert end and end["then"] == "never"
    how, *lines = end["error"].splitlines()
    assert how == "killed by SIGKILL"
    assert sorted(lines) == ["cannot read input", "first", "last words"]  # of two streams, read at once


def test_the_end_of_a_long_log_counts_and_all_of_it_is_kept(main: SlotScene) -> None:
    line = run(main, "summary")
    assert line.end and (line.end["end"], line.end["cause"]) == ("failed", "gpu memory")
    assert line.end["error"].splitlines()[1:] == [f"summary {number}" for number in range(21, 41)]
    assert line.log == [*map(str, range(1, 100_002)), OOM, *(f"summary {number}" for number in range(1, 41))]
    heads = [head for head, _ in line.portions]
    assert [head.closed for head in heads] == [False] * (len(heads) - 1) + [True]


def test_a_log_that_is_too_large_ends_its_job(main: SlotScene) -> None:
    line = run(main, "floods", log_limit_mib=2)
    assert line.end and (line.end["end"], line.end["cause"]) == ("failed", "log")
    assert "its log grew beyond 2 MiB" in line.end["error"]
    assert 2**21 < sum(head.bytes for head, _ in line.portions) < 2**24


@pytest.mark.parametrize("trouble", ["not a folder", "hangs"])
def test_a_disk_that_does_not_take_the_log_costs_the_log_and_nothing_else(
    main: SlotScene, trouble: str, tmp_path: Path
) -> None:
    order = main.order("dies")
    if trouble == "hangs":
        folder = attempt_folder(main.spool, order.job, order.attempt)
        folder.mkdir(parents=True)
        os.mkfifo(folder / "1.draft")  # opening it waits for a reader, for ever
    else:
        main.spool.touch()
    main.put(order)
    line = main.guard().claimed()
    assert line.gone(DEADLINE_S) and line.end
    assert (line.end["end"], line.end["then"]) == ("failed", "never")
    assert "last words" in line.end["error"]
    main.told("ready")  # the slot goes on


@pytest.fixture
def pool(redis_url: str, rq_url: str, tmp_path: Path) -> Iterator[AgentScene]:
    with AgentScene(redis_url, rq_url, tmp_path) as pool:
        yield pool


def working(pool: AgentScene, **environment: str) -> None:
    """An agent that offers the scripts, beside what the scene's agents offer."""
    file = pool.folder / "commands.toml"
    file.write_text(
        "".join(
            f"[workflows.{name}]\nrunner = 'command'\nargv = ['sh', '-c', '''{script}''']\n"
            for name, script in SCRIPTS.items()
            if name in ("summary", "random", "hangs")
        )
    )
    pool.working(MUSTER_WORKFLOWS=str(file), **environment)


def spooled(pool: AgentScene) -> int:
    """How many bytes of portions lie in the spool."""
    files = (pool.folder / "home" / "logs").rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


def kill(pool: AgentScene) -> None:
    """Kill the agent with all its processes at once."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in [pool.agents[-1].pid, *pool.processes()]:
            os.kill(pid, number)
    pool.agents[-1].wait()


def test_a_log_reaches_the_server_whole_and_leaves_nothing_behind(pool: AgentScene) -> None:
    working(pool)
    job = pool.put("summary")
    eventually(lambda: pool.log_closed(job), DEADLINE_S)
    assert len(pool.log(job)) == 100_042
    eventually(lambda: list((pool.folder / "home" / "logs").iterdir()) == [], DEADLINE_S)


def test_while_the_server_is_away_logs_wait_and_a_lost_answer_doubles_nothing(pool: AgentScene) -> None:
    pool.refusals["logs"] = [(503, {})] * 3
    working(pool)
    job = pool.put("summary")
    pool.until("end", job, DEADLINE_S)  # it waits for no log
    eventually(lambda: pool.log_closed(job), DEADLINE_S)
    assert pool.refusals["logs"] == []
    numbers = sorted(pool.portions[job, 1])
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(pool.log(job)) == 100_042


def test_a_spool_that_is_full_keeps_beginning_and_end_and_the_job_goes_on(pool: AgentScene) -> None:
    pool.refusals["logs"] = [(503, {})] * 10_000
    working(pool, MUSTER_LOG_SPOOL_MIB="1")
    job = pool.put("random")
    assert pool.until("end", job, DEADLINE_S).end == "succeeded"
    eventually(lambda: 0 < spooled(pool) <= 2**20, DEADLINE_S)
    pool.refusals["logs"] = []
    eventually(lambda: pool.log_closed(job), DEADLINE_S)
    heads = [head for _, (head, _) in sorted(pool.portions[job, 1].items())]
    assert pool.log(job)[-1] == "done"
    assert sum(head.bytes for head in heads) < heads[-1].first_byte + heads[-1].bytes  # the gap shows


def test_what_a_killed_agent_has_left_is_sent_by_its_next_life(pool: AgentScene) -> None:
    pool.refusals["logs"] = [(503, {})] * 10_000
    working(pool)
    job = pool.put("hangs")
    eventually(lambda: spooled(pool), DEADLINE_S)
    kill(pool)
    pool.refusals["logs"] = []
    pool.working()
    eventually(lambda: pool.log(job) == ["begun"], DEADLINE_S)
    eventually(lambda: list((pool.folder / "home" / "logs").iterdir()) == [], DEADLINE_S)


def test_the_log_of_an_attempt_that_was_taken_away_is_evidence(pool: AgentScene) -> None:
    working(pool)
    job = pool.put("hangs")
    eventually(lambda: pool.log(job), DEADLINE_S)
    pool.lease(job, Lease(attempt=1, state=LeaseState.REVOKED, why=Revocation.TAKEN))
    eventually(lambda: pool.log_closed(job), DEADLINE_S)


def test_an_agent_that_leaves_sends_the_rest_first(pool: AgentScene) -> None:
    working(pool)
    job = pool.put("hangs")
    eventually(lambda: pool.log(job), DEADLINE_S)
    pool.agents[-1].send_signal(signal.SIGTERM)
    assert ended(pool.agents[-1], DEADLINE_S)[0] == 0
    assert pool.log_closed(job)


def test_an_agent_leaves_though_the_server_is_away_and_keeps_what_it_could_not_send(pool: AgentScene) -> None:
    pool.refusals["logs"] = [(503, {})] * 10_000
    working(pool)
    job: JobId = pool.put("hangs")
    eventually(lambda: spooled(pool), DEADLINE_S)
    pool.agents[-1].send_signal(signal.SIGTERM)
    code, said = ended(pool.agents[-1], DEADLINE_S)
    assert code == 0 and "the next life sends the rest" in said
    assert spooled(pool) and not pool.log(job)
