"""The command runner: a fixed argv with declared parameters put in, never a shell.

In its output `::progress 0.4 text` and `::checkpoint {json}` are understood, all else is log. The state of the last
checkpoint lies in the file that MUSTER_CHECKPOINT names; without a checkpoint the variable is not set.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
from collections import deque
from collections.abc import Mapping

from agent.context import Job, Stopped
from agent.ipc.wire import Signals, Wire
from agent.runners import children
from app.pool.errors import PoolError
from app.pool.model import LIMITS, Json, Workflow
from app.pool.status import ended_words
from app.pool.text import LineBuffer

CHECKPOINT_VARIABLE = "MUSTER_CHECKPOINT"
PLACE = re.compile(r"\{(\w+)\}")
LAST_LINES = 20

_CHUNK = 1 << 16
_LONGEST = LIMITS.checkpoint_bytes + _CHUNK  # bytes of a line whose end is waited for; a checkpoint fits


class CommandFailed(PoolError):
    """The command did not end with exit code 0; `exit_code` is None when a signal ended it."""

    def __init__(self, how: str, returncode: int) -> None:
        super().__init__(how)
        self.exit_code = returncode if returncode > 0 else None


def run(job: Job, workflow: Workflow, wire: Wire, signals: Signals) -> None:
    """Run the command to its end. Raises Stopped when it was asked to stop, CommandFailed, LeaseLost."""
    command = children.start(
        arguments(workflow, job.params),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=_environment(job),
    )
    lines = _Lines(job)
    _follow(job, command, lines, wire, signals)
    if job.stopping:
        # Also after exit code 0: a command that saved its state and left in order looks the same as a
        # finished one, and doing its last part again harms nobody.
        raise Stopped(ended_words(command.returncode))
    if command.returncode != 0:
        raise CommandFailed("\n".join([ended_words(command.returncode), *lines.last]), command.returncode)


def arguments(workflow: Workflow, params: Mapping[str, Json]) -> list[str]:
    """The argv with every `{name}` replaced; an element that names a parameter without a value is left out.

    Raises PoolError when a value would begin an argument with '-' and so become an option.
    """
    argv = []
    for element in workflow.argv:
        names = PLACE.findall(element)
        if any(params.get(name) is None for name in names):
            continue
        argument = PLACE.sub(lambda place: _text(params[place[1]]), element)
        if element.startswith("{") and argument.startswith("-"):
            raise PoolError(f"the value of {names[0]} may not begin with '-': it would be read as an option")
        argv.append(argument)
    return argv


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _environment(job: Job) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != CHECKPOINT_VARIABLE}
    if job.resume:
        path = job.checkpoint_dir / "resume.json"
        path.write_text(json.dumps(job.resume.state))
        environment[CHECKPOINT_VARIABLE] = str(path)
    return environment


def _follow(job: Job, command: subprocess.Popen[bytes], lines: _Lines, wire: Wire, signals: Signals) -> None:
    """Pass the command's output on until it has ended; ask it to stop, once, when the job is asked to."""
    assert command.stdout is not None
    asked = False
    os.set_blocking(command.stdout.fileno(), False)
    with selectors.DefaultSelector() as selector, command.stdout as output:
        for source in (output, wire, signals):
            selector.register(source, selectors.EVENT_READ)
        # The end of the command counts, not that of its output: a grandchild may hold that open.
        while command.poll() is None:
            ready = [key.fileobj for key, _ in selector.select()]
            signals.clear()
            if output in ready and not lines.read(output.fileno()):
                selector.unregister(output)
            if job.stopping and not asked:
                asked = True
                os.killpg(command.pid, signal.SIGTERM)
        lines.read_rest(output.fileno())


class _Lines:
    """The command's output, line by line: understood, or put into the log."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._buffer = LineBuffer(_LONGEST)
        self.last: deque[str] = deque(maxlen=LAST_LINES)

    def read(self, fd: int) -> bool:
        """Read what is there. False at the end of the output."""
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return True
        self._take(self._buffer.feed(chunk))
        return bool(chunk)

    def read_rest(self, fd: int) -> None:
        """Read what is left after the command's end, at most what a pipe holds."""
        os.set_blocking(fd, False)
        for _ in range(1 + (1 << 20) // _CHUNK):
            self.read(fd)
        self._take(self._buffer.rest())

    def _take(self, lines: list[bytes]) -> None:
        plain: list[str] = []
        for raw in lines:
            # What a progress bar overwrites with '\r' was never meant to stay.
            line = raw.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace")
            if line.startswith(("::progress ", "::checkpoint ")):
                self._log(plain)  # first: the order of what it said is kept
                plain = []
                self._understand(line)
            else:
                plain.append(line)
        self._log(plain)

    def _log(self, lines: list[str]) -> None:
        if lines:
            self.last.extend(line[: LIMITS.text_characters] for line in lines)
            self._job.log_all(lines)

    def _understand(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        try:
            if verb == "::checkpoint":
                self._job.checkpoint(json.loads(rest))
            else:
                fraction, _, text = rest.strip().partition(" ")
                self._job.progress(float(fraction), text.strip())
        except ValueError as error:
            self._job.log(f"not understood ({error}): {line}")
