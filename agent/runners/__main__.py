"""The workflow process, in the output folder: forked by a guard, or another Python (other_python.py), or by hand as
`python -m agent.runners <fd>`.

It waits for the first line, which comes only when the claim was accepted; until then nothing of the workflow runs.
Whatever the workflow raises is caught here, SystemExit too, because an error of the workflow is its end.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable

from agent.context import Job, Permanent, Stopped
from agent.files.outputs import outputs
from agent.ipc.link import Message
from agent.ipc.start import Start
from agent.ipc.wire import Signals, Wire
from agent.limits import check_json
from agent.runners import command, demands, python
from app.pool import parameters, settings
from app.pool.codec import from_plain, plain
from app.pool.errors import BadRequest, LeaseLost, PoolError
from app.pool.model import LIMITS, Json

NAME = "muster-workflow"  # in ps and top


def main(fd: int) -> None:
    """Run one attempt and say how it ended; say nothing when the lease is lost."""
    faulthandler.register(signal.SIGUSR1)  # the guard asks for the stacks of one that hangs
    signals = Signals()
    wire = Wire(fd)
    wire.keep_from_forks()
    signals.let_forks_die()
    first = wire.first()
    if first is None:
        return
    try:
        start = from_plain(Start, first)
        wire.send(attempt(start, wire, signals))
    except LeaseLost:
        return


def attempt(start: Start, wire: Wire, signals: Signals) -> Message:
    """Run the attempt. Returns the message that ends it. Raises LeaseLost."""
    job: Job | None = None
    try:
        job = Job(start, checked(start), wire, signals)
        result = _runner(job, start, wire, signals)()
        check_json(result, LIMITS.result_bytes, "the result")
        with job.saving() as saving:
            saved = outputs(job.output_dir, job.checkpoint_dir, saving.tick, job.log)
        demands.require(start.runner.outputs, job.params, saved)
        return {"end": "succeeded", "result": result, "error": None, "outputs": plain(saved)}
    except LeaseLost:
        raise
    except Stopped as stopped:
        return _ended("stopped", str(stopped) or "stopped when asked to")
    except BaseException as error:  # noqa: BLE001 - the workflow's errors are its end; asyncio has such ones too
        # Asked to stop: it may have ended its own processes, so whatever broke says nothing about the job.
        end = _ended("stopped" if job and job.stopping else "failed", _described(error), _exit_code(error))
        if isinstance(error, Permanent) and end["end"] == "failed":
            end["then"] = "never"
        # Of a command nobody knows more than its last lines, which its guard has.
        return {**end, "last_lines": isinstance(error, command.CommandFailed)}


def checked(start: Start) -> dict[str, Json]:
    """The parameters with their defaults. Raises BadRequest when this host's declaration forbids them."""
    wrong = parameters.problems_of(start.runner, start.params, settings.input_folders(os.environ), must_exist=True)
    if wrong:
        raise BadRequest("; ".join(f"parameter {name} {what}" for name, what in wrong), wrong)
    return parameters.complete(start.runner.parameters, start.params)


def _runner(job: Job, start: Start, wire: Wire, signals: Signals) -> Callable[[], Json]:
    if start.runner.runner == "command":
        signals.arm()
        return lambda: command.run(job, start, wire, signals)
    return lambda: python.run(job, start.runner)


def _ended(how: str, why: str, exit_code: int | None = None) -> Message:
    return {"end": how, "result": None, "error": why, "outputs": [], "exit_code": exit_code}


def _exit_code(error: BaseException) -> int | None:
    """The exit code of the command, or the one that a Python workflow gave to sys.exit."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else None
    return error.exit_code if isinstance(error, command.CommandFailed) else None


def _described(error: BaseException) -> str:
    """What went wrong, and where, unless the error was meant for people."""
    if isinstance(error, PoolError):
        return str(error)
    where = traceback.format_exception(type(error), error, error.__traceback__)
    lines = "".join(where).splitlines()[-LIMITS.error_lines :]
    first = f"{type(error).__name__}: {error}".splitlines()[0]
    return "\n".join([first[: LIMITS.text_characters], *lines])


if __name__ == "__main__":
    main(int(sys.argv[1]))
