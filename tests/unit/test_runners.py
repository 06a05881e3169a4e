"""Runners and their context, in real workflow processes over a real socket pair."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import termios
from pathlib import Path
from typing import IO

import pytest

from agent.ipc.deadline import DeadlineWriter, make_deadline
from agent.processes import boottime_ns
from agent.workflows import burn
from app.pool.model import Parameter, Workflow
from app.pool.policy import Clocks
from tests.kit.services import eventually
from tests.kit.workflow_scene import WorkflowScene


def shell(script: str, *parameters: Parameter) -> Workflow:
    return Workflow(
        "try", "command", argv=("sh", "-c", script, "sh", *(f"{{{p.name}}}" for p in parameters)), parameters=parameters
    )


def python(folder: Path, source: str) -> tuple[Workflow, dict[str, str]]:
    (folder / "trial.py").write_text("from agent.context import Stopped\nimport time\n" + source)
    return Workflow("try", "python", target="trial:run"), {"PYTHONPATH": f"{folder}:{Path.cwd()}"}


def ran(tmp_path: Path, source: str, **more: object) -> WorkflowScene:
    workflow, environment = python(tmp_path, source)
    with WorkflowScene(tmp_path / "out", workflow, {}, environment=environment, more=more) as child:
        child.begin().end()
    return child


def unread(pipe: IO[bytes] | None) -> int:
    """How many bytes wait in the pipe."""
    assert pipe is not None
    count = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return int.from_bytes(count, sys.byteorder)


def test_a_command_gets_its_values_as_single_arguments_and_no_shell_sees_them(tmp_path: Path) -> None:
    workflow = Workflow(
        "echo", "command", argv=("printf", "%s|", "a{x}b", "{y}", "--z={z}"), parameters=tuple(map(Parameter, "xyz"))
    )
    with WorkflowScene(tmp_path / "out", workflow, {"x": "$(id); *", "y": "two words"}) as child:
        assert child.begin().end()["end"] == "succeeded"
    assert child.log == ["a$(id); *b|two words|"]


def test_a_value_that_would_be_an_option_never_reaches_the_command(tmp_path: Path) -> None:
    with WorkflowScene(tmp_path / "out", shell("echo $1", Parameter("x")), {"x": "-r"}) as child:
        end = child.begin().end()
    assert (end["end"], end["error"]) == (
        "failed",
        "parameter x may not begin with '-': it would be read as an option",
    )
    assert not child.log


def test_a_program_that_does_not_start_is_named_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("no program")
    (tmp_path / "tool").chmod(0o755)
    with WorkflowScene(tmp_path / "out", Workflow("try", "command", argv=(str(tmp_path / "tool"),)), {}) as child:
        assert child.begin().end()["error"] == f"{tmp_path / 'tool'} cannot be started: Exec format error"


def test_a_command_is_told_the_indices_of_its_gpus(tmp_path: Path) -> None:
    workflow = Workflow("try", "command", argv=("echo", "render", ("-d", "{gpu_indices}")))
    with WorkflowScene(tmp_path / "two", workflow, {}, environment={"MUSTER_GPU_INDICES": "0,2"}) as child:
        child.begin().end()
    with WorkflowScene(tmp_path / "none", workflow, {}, environment={"MUSTER_GPU_INDICES": ""}) as without:
        without.begin().end()
    assert (child.log, without.log) == (["render -d 0,2"], ["render"])


def test_a_commands_lines_are_progress_checkpoints_and_log(tmp_path: Path) -> None:
    script = """echo hello; echo '::progress 0.4 half way'; echo '::checkpoint {"at": 3}'; echo '::progress x' >&2
    printf 'bar\\rend'; echo 1 >result.txt"""
    with WorkflowScene(tmp_path / "out", shell(script), {}) as child:
        end = child.begin().end()
    assert end["end"] == "succeeded"
    assert [output["name"] for output in end["outputs"]] == ["result.txt"]
    assert {"progress": 0.4, "text": "half way"} in child.said
    assert (child.last("checkpoint")["checkpoint"], child.last("checkpoint")["number"]) == ({"at": 3}, 1)
    assert child.printed == {"o": b"hello\nbar\rend", "e": b""}
    [remark] = child.remarks
    assert "not understood" in remark and "::progress x" in remark


def test_a_command_finds_the_last_checkpoint_in_a_file(tmp_path: Path) -> None:
    script = 'cat "${MUSTER_CHECKPOINT:-/dev/null}"; echo; echo \'::checkpoint {"at": 3}\''
    with WorkflowScene(tmp_path / "a1", shell(script), {}) as first:
        first.begin().end()
    with first.resumed_by(tmp_path / "a2") as second:
        end = second.begin().end()
    assert (first.log, json.loads(second.log[0])) == ([""], {"at": 3})
    assert (second.last("checkpoint")["number"], end["outputs"]) == (2, [])


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("echo sorry; exit 3", "exit code 3"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("kill -40 $$", "killed by signal 40"),
    ],
)
def test_a_command_that_fails_says_how_and_leaves_the_rest_to_its_log(tmp_path: Path, script: str, error: str) -> None:
    with WorkflowScene(tmp_path / "out", shell(script), {}) as child:
        end = child.begin().end()
    assert (end["end"], end["error"], end["last_lines"]) == ("failed", error, True)


def test_a_command_ends_though_its_grandchild_holds_the_output(tmp_path: Path) -> None:
    with WorkflowScene(tmp_path / "out", shell("sleep 300 & echo done"), {}) as child:
        assert child.begin().end(10)["end"] == "succeeded"
        child.until_printed("done\n")


@pytest.mark.parametrize("way", ["message", "signal"])
def test_a_command_asked_to_stop_gets_sigterm_and_counts_as_stopped(tmp_path: Path, way: str) -> None:
    script = "trap 'echo \"::checkpoint 7\"; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    with WorkflowScene(tmp_path / "out", shell(script), {}) as child:
        child.begin().until_printed("ready")
        if way == "message":
            child.tell({"stopping": "checkpoint"})
        else:
            child.process.send_signal(signal.SIGTERM)
        assert child.end(10)["end"] == "stopped"
    assert [message["checkpoint"] for message in child.said if "checkpoint" in message] == [7]


def test_nothing_runs_when_the_claim_is_refused(tmp_path: Path) -> None:
    child = WorkflowScene(tmp_path / "out", shell("touch ran"), {})
    child.socket.close()
    assert child.process.wait(20) == 0
    child.process.communicate()
    assert not (tmp_path / "out" / "ran").exists()


def test_a_forbidden_parameter_is_refused_before_anything_runs(tmp_path: Path) -> None:
    workflow = shell("touch ran", Parameter("input", "file", required=True))
    with WorkflowScene(
        tmp_path / "out", workflow, {"input": "/etc/passwd"}, environment={"MUSTER_INPUT": str(tmp_path)}
    ) as child:
        end = child.begin().end()
    assert end["error"] == f"parameter input must lie under {tmp_path}"
    assert not (tmp_path / "out" / "ran").exists()


def test_what_a_python_workflow_returns_is_the_result(tmp_path: Path) -> None:
    child = ran(
        tmp_path,
        "def run(job):\n job.log('one\\ntwo')\n (job.output_dir / 'sub').mkdir()\n"
        " (job.output_dir / 'sub/x').write_text('abc')\n return {'n': 1}",
    )
    assert (child.said[-1]["result"], child.log) == ({"n": 1}, ["one", "two"])
    assert [(output["name"], output["size"]) for output in child.said[-1]["outputs"]] == [("sub/x", 3)]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise KeyError('gone')", "KeyError: 'gone'"),
        ("raise SystemExit(4)", "SystemExit: 4"),
        ("return 'x' * 300_000", "the result has 300002 bytes"),
        ("return {1, 2}", "the result cannot be written as JSON"),
        ("return float('nan')", "the result cannot be written as JSON"),
        ("job.checkpoint('x' * 300_000)", "a checkpoint's state has 300002 bytes"),
        ("job.checkpoint(chr(0))", "a checkpoint's state holds a NUL"),
        ("state = []\n for _ in range(700): state = [state]\n job.checkpoint(state)", "nested deeper than 100 levels"),
    ],
)
def test_a_python_workflows_error_is_its_end(tmp_path: Path, body: str, error: str) -> None:
    end = ran(tmp_path, f"def run(job):\n {body}").said[-1]
    assert end["end"] == "failed"
    assert error in end["error"].splitlines()[0]


def test_log_lines_stand_behind_what_was_printed_before_whatever_becomes_of_standard_output(tmp_path: Path) -> None:
    source = """
import os, sys
def run(job):
    sys.stdout = open(1, "w", closefd=False, buffering=1 << 20)
    print("printed")
    job.log("logged é \\udc80")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout = None
    job.log_all(["still", "here"])
"""
    assert ran(tmp_path, source).log == ["printed", "logged é ?", "still", "here"]


def test_a_line_that_is_logged_waits_for_a_reader_though_the_pipe_does_not_block(tmp_path: Path) -> None:
    source = """
import os
def run(job):
    os.set_blocking(1, False)
    for _ in range(100):
        job.log_all(["x" * 4000] * 10)
"""
    workflow, environment = python(tmp_path, source)
    with WorkflowScene(tmp_path / "out", workflow, {}, environment=environment) as child:
        child.reading.clear()
        child.begin()
        eventually(lambda: unread(child.process.stdout) >= 60_000, 40)
        child.reading.set()
        assert child.end()["end"] == "succeeded"
    assert child.log == ["x" * 4000] * 1000


@pytest.mark.parametrize(("source", "then"), [("raise Permanent('no film')", "never"), ("raise OSError('full')", None)])
def test_an_error_may_say_that_trying_again_is_useless(tmp_path: Path, source: str, then: str | None) -> None:
    end = ran(tmp_path, f"from agent.context import Permanent\ndef run(job): {source}").said[-1]
    assert (end["end"], end.get("then")) == ("failed", then)
    assert end["error"].splitlines()[0] == ("no film" if then else "OSError: full")


def test_a_permanent_error_after_the_wish_to_stop_says_nothing(tmp_path: Path) -> None:
    source = """from agent.context import Permanent
def run(job):
    job.log("ready")
    while not job.stopping:
        time.sleep(0.01)
    raise Permanent("its child was killed")"""
    workflow, environment = python(tmp_path, source)
    with WorkflowScene(tmp_path / "out", workflow, {}, environment=environment) as child:
        child.begin().until_printed("ready")
        child.tell({"stopping": "checkpoint"})
        end = child.end()
    assert (end["end"], end.get("then")) == ("stopped", None)


def test_a_checkpoints_files_never_change_and_reach_the_next_attempt(tmp_path: Path) -> None:
    source = """
def run(job):
    kept = job.resume.files if job.resume else ()
    new = job.output_dir / f"part-{len(kept)}"
    new.write_text(f"part {len(kept)}")
    kept = job.checkpoint(len(kept) + 1, [*kept, new])
    assert not new.exists()
    return [path.read_text() for path in kept]
"""
    workflow, environment = python(tmp_path, source)
    with WorkflowScene(tmp_path / "a1", workflow, {}, environment=environment) as first:
        assert first.begin().end()["result"] == ["part 0"]
    with first.resumed_by(tmp_path / "a2", environment=environment) as second:
        end = second.begin().end()
    assert (end["result"], end["outputs"]) == (["part 0", "part 1"], [])
    facts = second.last("checkpoint")["files"]
    assert [fact["name"] for fact in facts] == ["part-0", "part-1"]
    assert (tmp_path / "a1/.checkpoints/1/part-0").samefile(tmp_path / "a2/.checkpoints/2/part-0")


def test_a_checkpoints_file_of_an_odd_name_is_kept_under_another(tmp_path: Path) -> None:
    source = """
import os
def run(job):
    if job.resume: return [path.name for path in job.resume.files]
    odd = job.output_dir / os.fsdecode(b'\\xe9t')
    odd.write_text('x')
    return [path.name for path in job.checkpoint(1, [odd])]
"""
    workflow, environment = python(tmp_path, source)
    with WorkflowScene(tmp_path / "a1", workflow, {}, environment=environment) as first:
        assert first.begin().end()["result"] == ["%E9t"]
    with first.resumed_by(tmp_path / "a2", environment=environment) as second:
        assert second.begin().end()["result"] == ["%E9t"]


def test_an_output_of_an_odd_name_does_not_cost_the_work(tmp_path: Path) -> None:
    child = ran(tmp_path, "def run(job): (job.output_dir / 'frame\\udcff.png').write_text('x')")
    assert child.said[-1]["end"] == "succeeded"
    assert [output["name"] for output in child.said[-1]["outputs"]] == ["frame%FF.png"]
    assert any("is kept as frame%FF.png" in line for line in child.log)


@pytest.mark.parametrize(("word", "end"), [("checkpoint", "stopped"), ("cancel", "stopped")])
def test_a_python_workflow_sees_that_it_is_to_stop(tmp_path: Path, word: str, end: str) -> None:
    source = "def run(job):\n job.log('ready')\n while not job.stopping: time.sleep(0.01)\n raise Stopped(job.stopping)"
    workflow, environment = python(tmp_path, source)
    with WorkflowScene(tmp_path / "out", workflow, {}, environment=environment) as child:
        child.begin().until_printed("ready")
        child.tell({"stopping": word})
        said = child.end(10)
    assert (said["end"], said["error"]) == (end, word)


def test_an_error_after_the_wish_to_stop_is_no_failure(tmp_path: Path) -> None:
    source = "def run(job):\n job.log('ready')\n while not job.stopping: time.sleep(0.01)\n raise OSError('stopped')"
    workflow, environment = python(tmp_path, source)
    with WorkflowScene(tmp_path / "out", workflow, {}, environment=environment) as child:
        child.begin().until_printed("ready")
        child.process.send_signal(signal.SIGTERM)
        assert child.end(10)["end"] == "stopped"


def test_no_step_begins_after_the_deadline(tmp_path: Path) -> None:
    fd = make_deadline()
    writer = DeadlineWriter(fd)
    clocks = Clocks(interval_s=15, missed_beats=2)
    writer.move_on(boottime_ns(), clocks, 600)
    workflow, environment = python(
        tmp_path, "def run(job):\n n = 0\n while True:\n  n += 1\n  job.progress(0, str(n))\n  time.sleep(0.01)"
    )
    with WorkflowScene(
        tmp_path / "out", workflow, {}, environment=environment, more={"deadline_fd": fd, "strict": True}
    ) as child:
        child.begin().until("progress", text="3")
        writer.move_on(0, clocks, 600)
        assert child.silent_end()
    os.close(fd)


def test_burn_goes_on_from_its_last_second(tmp_path: Path) -> None:
    params = {"seconds": 2.2, "use": 0.2, "device": "cpu"}
    with WorkflowScene(tmp_path / "a1", burn.declaration(), params) as first:
        first.begin().until("checkpoint")
        first.tell({"stopping": "checkpoint"})
        assert first.end()["end"] == "stopped"
    with first.resumed_by(tmp_path / "a2") as second:
        assert second.begin().end()["result"] == {"device": "CPU", "seconds": 2.2}
    states = [message["checkpoint"]["done_s"] for message in [*first.said, *second.said] if "checkpoint" in message]
    assert states == pytest.approx([1, 2, 2.2])


def test_the_stacks_of_a_workflow_can_be_asked_for(tmp_path: Path) -> None:
    workflow, environment = python(tmp_path, "def run(job):\n job.log('ready')\n time.sleep(60)")
    with WorkflowScene(tmp_path / "out", workflow, {}, environment=environment) as child:
        child.begin().until_printed("ready")
        child.process.send_signal(signal.SIGUSR1)
        child.until_printed("trial.py", "e")


@pytest.mark.parametrize(("script", "exit_code"), [("exit 75", 75), ("kill -KILL $$", None)])
def test_a_commands_exit_code_is_told(tmp_path: Path, script: str, exit_code: int | None) -> None:
    with WorkflowScene(tmp_path / "out", shell(script), {}) as child:
        assert child.begin().end()["exit_code"] == exit_code


@pytest.mark.parametrize(("source", "exit_code"), [("raise SystemExit(75)", 75), ("exit('no')", None), ("1 / 0", None)])
def test_an_exit_code_that_a_python_workflow_names_is_told(tmp_path: Path, source: str, exit_code: int | None) -> None:
    end = ran(tmp_path, f"def run(job): {source}").said[-1]
    assert (end["end"], end["exit_code"]) == ("failed", exit_code)
