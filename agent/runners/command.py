"""The command runner: a fixed argv with declared parameters put in, never a shell.

In its output `::progress 0.4 text` and `::checkpoint {json} files…` are understood (words.py), all else passes to our
own output, and so into the log (relay.py). The state of the last checkpoint lies in the file that MUSTER_CHECKPOINT
names; without a checkpoint the variable is not set. What it keeps is in checkpoints.py.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess

from agent.context import Job, Stopped
from agent.ipc.start import Start
from agent.ipc.wire import Signals, Wire
from agent.runners import children
from agent.runners.checkpoints import Checkpoints
from agent.runners.relay import Relay
from app.pool.errors import PoolError
from app.pool.model import Workflow
from app.pool.parameters import GPU_INDICES, arguments
from app.pool.status import ended_words

CHECKPOINT_VARIABLE = "MUSTER_CHECKPOINT"
INDICES_VARIABLE = "MUSTER_GPU_INDICES"


class CommandFailed(PoolError):
    """The command did not end with exit code 0; `exit_code` is None when a signal ended it."""

    def __init__(self, how: str, returncode: int) -> None:
        super().__init__(how)
        self.exit_code = returncode if returncode > 0 else None


def run(job: Job, start: Start, wire: Wire, signals: Signals) -> None:
    """Run the command to its end, from where its last checkpoint was.

    Raises Stopped when it was asked to stop, CommandFailed, PoolError where it cannot begin, LeaseLost.
    """
    checkpoints = Checkpoints(job, start)
    checkpoints.restore()
    command = _start(job, start.runner)
    _follow(job, command, _Understood(job, wire, checkpoints), wire, signals)
    if job.stopping:
        # Also after exit code 0: a command that saved its state and left in order looks the same as a
        # finished one, and doing its last part again harms nobody.
        raise Stopped(ended_words(command.returncode))
    if command.returncode != 0:
        raise CommandFailed(ended_words(command.returncode), command.returncode)


def _start(job: Job, workflow: Workflow) -> subprocess.Popen[bytes]:
    argv = arguments(workflow, {**job.params, GPU_INDICES: os.environ.get(INDICES_VARIABLE) or None})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        return children.start(argv, start_new_session=True, env=_environment(job), **pipes)
    except OSError as error:  # it was there when it was declared; or what its first line names is not
        raise PoolError(f"{argv[0]} cannot be started: {error.strerror}") from error


def _environment(job: Job) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != CHECKPOINT_VARIABLE}
    if job.resume:
        path = job.checkpoint_dir / "resume.json"
        path.write_text(json.dumps(job.resume.state))
        environment[CHECKPOINT_VARIABLE] = str(path)
    return environment


def _follow(job: Job, command: subprocess.Popen[bytes], understand: _Understood, wire: Wire, signals: Signals) -> None:
    """Pass the command's output on until it has ended; ask it to stop, once, when the job is asked to."""
    assert command.stdout is not None and command.stderr is not None
    with command.stdout as out, command.stderr as error:
        relays = [Relay(pipe.fileno(), number, understand) for number, pipe in ((1, out), (2, error))]
        asked = False
        # The end of the command counts, not that of its output: a grandchild may hold that open.
        while command.poll() is None:
            _wait(relays, wire, signals)
            for relay in relays:
                relay.step()
            if job.stopping and not asked:
                asked = True
                os.killpg(command.pid, signal.SIGTERM)
        _pass_rest(job, relays, wire, signals)


def _wait(relays: list[Relay], wire: Wire, signals: Signals) -> None:
    poll = select.poll()
    for relay in relays:
        relay.register(poll)
    for source in (wire, signals):
        poll.register(source, select.POLLIN)
    poll.poll()
    signals.clear()


def _pass_rest(job: Job, relays: list[Relay], wire: Wire, signals: Signals) -> None:
    """Pass on what is left after the command's end, at most what its pipes held then."""
    for relay in relays:
        relay.finish()
    while any(relay.unwritten for relay in relays):
        _wait(relays, wire, signals)
        for relay in relays:
            relay.write()
        _ = job.stopping  # raises LeaseLost


class _Understood:
    """What follows from the words of the command."""

    def __init__(self, job: Job, wire: Wire, checkpoints: Checkpoints) -> None:
        self._job, self._wire, self._checkpoints = job, wire, checkpoints

    def __call__(self, word: bytes) -> None:
        line = word.decode(errors="replace")
        verb, _, rest = line.partition(" ")
        try:
            if verb == "::checkpoint":
                self._checkpoints.take(rest)
            else:
                fraction, _, text = rest.strip().partition(" ")
                self._job.progress(float(fraction), text.strip())
        except ValueError as error:
            self._wire.send({"remark": f"not understood ({error}): {line}"})
