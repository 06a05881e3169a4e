"""Only what is declared can run; what cannot run here is named with the reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent.join.declare import declared
from agent.workflows import ffmpeg, trial
from app.pool.codec import from_json, to_json
from app.pool.errors import SettingsError
from app.pool.model import Rule, Workflow

ONE = '[workflows.x]\nrunner = "command"\nargv = ["true", "--a={a}"]\n[workflows.x.parameters.a]\n'


def ruled(rule: str, times: int = 1) -> str:
    """A workflow with this rule."""
    return '[workflows.x]\nrunner = "command"\nargv = ["true"]\n' + f"[[workflows.x.rules]]\n{rule}\n" * times


def demanding(outputs: str) -> str:
    """A workflow with a parameter that demands these outputs."""
    return f"{ONE}\n[workflows.x.outputs]\n{outputs}\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "workflows.toml"
    path.write_text(text)
    return path


def test_without_a_file_what_ships_is_offered() -> None:
    names = [workflow.name for workflow in declared(None).workflows]
    assert names == ["transcode", "burn"]


def test_without_ffmpeg_transcode_is_not_offered_and_why_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ffmpeg.program.cache_clear()
    trial.choose.cache_clear()
    monkeypatch.setenv(ffmpeg.VARIABLE, "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    found = declared(None)
    ffmpeg.program.cache_clear()
    assert [workflow.name for workflow in found.workflows] == ["burn"]
    assert "ffmpeg is not found" in found.not_offered["transcode"]


def test_with_a_file_only_what_stands_there_is_offered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = '[workflows.gone]\nrunner = "command"\nargv = ["no-such-program"]\n'
    text = 'shipped = ["burn"]\n' + ONE + 'type = "int"\nmin = 2\n' + gone
    found = declared(written(tmp_path, text))
    assert [workflow.name for workflow in found.workflows] == ["burn", "x"]
    assert found.not_offered == {"gone": "the program no-such-program is not found"}
    assert caplog.messages == ["not offered: workflow=gone cause=the program no-such-program is not found"]
    x = found.workflows[1]
    assert (x.argv, x.parameters[0].type, x.parameters[0].min) == (("true", "--a={a}"), "int", 2)
    assert from_json(type(x), to_json(x)) == x


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("= 3", "cannot be read"),
        ('shipped = ["encode"]', "'encode' does not ship; these do: transcode, burn"),
        ('shiped = ["burn"]', "it has 'shiped'"),
        ('shipped = ["burn"]\n[workflows.burn]\nrunner = "command"\nargv = ["true"]', "choose one"),
        (ONE + 'kind = "int"', "x.a has 'kind'"),
        (ONE + 'type = "number"', "workflow x: expected"),
        (ONE.replace("[workflows.x.p", "stall_s = 0\n[workflows.x.p"), "stall_s must be at least 1"),
        (ONE + 'type = "choice"', "choices are needed"),
        (ONE + 'type = "int"\ndefault = "3"', "its default must be a whole number"),
        ('[workflows.x]\nrunner = "command"\nargv = ["true", "{b}"]', "argv names {b}"),
        ('[workflows.x]\nrunner = "command"\nargv = ["{b}"]', "must begin with a program"),
        ('[workflows.x]\nrunner = "python"\ntarget = "module"', "target must be module:function"),
        ('[workflows.x]\nrunner = "command"\nargv = [["true"]]', "must begin with a program"),
        ('[workflows.x]\nrunner = "command"\nargv = ["true", ["-s", "{b}"]]', "argv names {b}"),
        ('[workflows.x]\nrunner = "command"\nargv = ["true", [["-s"]]]', "workflow x: expected str"),
        (ONE.replace("parameters.a]", "parameters.gpu_indices]"), "argv names {a}"),
        (ONE + 'type = "int"\n[workflows.x.parameters.gpu_indices]', "gpu_indices is the place of the job's GPUs"),
        (ONE + f'type = "int"\nmax = {2**64}', "its max must be a number, of 64 bits where it is whole"),
        (ONE + 'type = "float"\nmin = nan', "its min must be a number"),
        (ONE + 'type = "int"\nmin = 3\nmax = 2', "its min is above its max"),
        ('[workflows.x]\nargv = ["true"]', "lacks runner"),
        (ONE.replace("[workflows.x.p", 'python = "python3"\n[workflows.x.p'), "python is a word of the python runner"),
        (ruled("exit_code = 75"), "rule 1: then must be one of later, never, elsewhere, hold"),
        (ruled('exit_code = 75\nthen = "again"'), "rule 1: then must be one of"),
        (ruled('then = "later"'), "rule 1: name exit_code or log"),
        (ruled('exit_code = 75\nlog = "x"\nthen = "later"'), "only one of them"),
        (ruled('exit_code = 0\nthen = "later"'), "a whole number from 1 to 255"),
        (ruled('exit_code = true\nthen = "later"'), "a whole number from 1 to 255"),
        (ruled('exit_code = 256\nthen = "later"'), "a whole number from 1 to 255"),
        (ruled('log = ""\nthen = "later"'), "of 1 to 200 characters"),
        (ruled('log = 7\nthen = "later"'), "of 1 to 200 characters"),
        (ruled(f'log = "{"x" * 201}"\nthen = "later"'), "of 1 to 200 characters"),
        (ruled('log = "(licence"\nthen = "later"'), "rule 1: log is no regular expression: missing )"),
        (ruled('exit_code = 75\nthen = "later"\nwhen = "x"'), "x, rule 1 has 'when'"),
        (ruled('exit_code = 75\nthen = "later"', 21), "rules must be a list of at most 20"),
        ('[workflows.x]\nrunner = "command"\nargv = ["true"]\nrules = ["later"]', "x, rule 1 must be a table"),
        ('[workflows.x]\nrunner = "command"\nargv = ["true"]\nrules = 3', "rules must be a list"),
        (ruled('log = "("').replace("rules", "fail_when"), "fail_when 1: log is no regular expression: missing )"),
        (ruled("").replace("rules", "fail_when"), "fail_when 1: log must be a regular expression of 1 to 200"),
        (ruled("exit_code = 0").replace("rules", "fail_when"), "x, fail_when 1 has 'exit_code'; known are log"),
        (ruled('log = "x"', 11).replace("rules", "fail_when"), "fail_when must be a list of at most 10"),
        (ruled("").replace("[[workflows.x.rules]]", "fail_when = 3"), "fail_when must be a list"),
        (demanding("name = 3"), "x, outputs has 'name'; known are at_least, names, not_empty"),
        (demanding('names = "a.exr"'), "workflow x: expected tuple, got 'a.exr'"),
        (demanding("at_least = true"), "workflow x: expected int"),
        (demanding('names = ["{a}_{b}.exr"]'), "workflow x: outputs: '{a}_{b}.exr': {b} is no declared parameter"),
        (ONE.replace("[workflows.x.p", "outputs = 3\n[workflows.x.p"), "x, outputs must be a table"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        declared(written(tmp_path, text))
    assert complaint in str(caught.value)


def test_groups_of_arguments_and_whole_bounds_are_kept_as_they_stand(tmp_path: Path) -> None:
    text = ONE.replace('"--a={a}"', '["-a", "{a}"]') + f'type = "int"\nmin = {-(2**63)}\nmax = {2**64 - 1}'
    [workflow] = declared(written(tmp_path, text)).workflows
    assert workflow.argv == ("true", ("-a", "{a}"))
    assert (workflow.parameters[0].min, workflow.parameters[0].max) == (-(2**63), 2**64 - 1)
    assert from_json(Workflow, to_json(workflow)) == workflow


def test_rules_are_read_in_their_order(tmp_path: Path) -> None:
    text = ruled('exit_code = 75\nthen = "later"') + "[[workflows.x.rules]]\nlog = '(?i)bad \\w+'\nthen = \"never\"\n"
    [workflow] = declared(written(tmp_path, text)).workflows
    assert workflow.rules == (Rule("later", exit_code=75), Rule("never", log=r"(?i)bad \w+"))
    assert from_json(Workflow, to_json(workflow)) == workflow
