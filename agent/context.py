"""What a workflow of Python sees of its job: the public API for those who write workflows.

At least once: a step may run twice, on two hosts, and then begins from the same checkpoint.

Every call looks at the attempt's deadline and at what the guard has said since the last one. Once the attempt is no
longer this worker's, every call raises LeaseLost: let it through, what the workflow does from then on is refused.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.files import durable, moving, names
from agent.files.facts import facts
from agent.files.work import Ticker
from agent.ipc.deadline import Deadline, Past
from agent.ipc.own_output import OwnOutput
from agent.ipc.saving import Saving
from agent.ipc.start import Start, StartFrom
from agent.ipc.wire import Signals, Wire
from agent.limits import check_json
from agent.tags import is_tag
from app.pool.codec import plain
from app.pool.errors import LeaseLost, PoolError
from app.pool.model import LIMITS, FileFact, Json
from app.pool.text import storable_text

__all__ = ["Job", "LeaseLost", "Permanent", "Resume", "Stopped", "Stopping", "WorkerTags"]

Stopping = Literal["checkpoint", "cancel"]


class Stopped(Exception):
    """Raised by a workflow that was asked to stop and did: its job goes on later from the last checkpoint."""


class Permanent(PoolError):
    """Raised by a workflow that can never succeed with these parameters: its job fails now and is not tried again.

    The message says why and what to do next. A rule of the workflow that fits is still followed.
    """


@dataclass(frozen=True)
class Resume:
    """The last checkpoint that was kept, from which this attempt goes on."""

    number: int  # counted from 1 over all attempts of the job
    state: Json  # as it was given to Job.checkpoint
    files: tuple[Path, ...] = ()  # in the order in which they were given; never to be changed


class WorkerTags:
    """The tags by which a workflow says what its worker can do. May be used from any thread of the workflow."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def add_tag(self, tag: str) -> None:
        """Give the worker a tag, such as `model:sdxl`, until it is dropped or the agent ends; harmless when repeated.

        A worker has at most 64 such tags; one beyond them is dropped, which the agent's log says. Raises ValueError
        when the text is no tag, LeaseLost when the attempt is no longer this worker's.
        """
        self._say(tag, True)

    def drop_tag(self, tag: str) -> None:
        """Take a tag from the worker; harmless when it has none of this name. Raises ValueError, LeaseLost."""
        self._say(tag, False)

    def _say(self, tag: str, has: bool) -> None:
        if not is_tag(tag):
            raise ValueError(f"{str(tag)[:80]!r} is no tag: up to 64 letters, digits and . _ : + -")
        self._wire.send({"tag": tag, "has": has})


class Job:
    """A running attempt, as its workflow sees it. Every call may come from any thread of the workflow.

    params          the parameters by name, with defaults; None where there is neither value nor default
    gpus            UUIDs of the GPUs that the attempt may use, () for none; CUDA_VISIBLE_DEVICES says the same
    output_dir      the attempt's output folder, also the current folder: regular files in it become outputs
    checkpoint_dir  the place for unfinished files of a checkpoint to come; below output_dir, but no output
    resume          the checkpoint to go on from; None: begin at the beginning
    worker          the worker's tags
    """

    def __init__(self, start: Start, params: Mapping[str, Json], wire: Wire, signals: Signals) -> None:
        """For the runners. Raises FileNotFoundError when the checkpoint to resume from lacks a file."""
        self.params: dict[str, Json] = dict(params)
        self.gpus: tuple[str, ...] = start.gpus
        self.output_dir = Path(start.output_dir)
        self.checkpoint_dir = Path(start.checkpoint_dir)
        self.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        self.worker = WorkerTags(wire)
        self._wire, self._signals = wire, signals
        self._deadline = deadline_of(start)
        self._lock = threading.RLock()
        self._output = OwnOutput(1)
        self._facts: dict[Path, FileFact] = {}  # of files that belong to a checkpoint
        self._number = start.resume.number if start.resume else 0
        brings_back = start.runner.runner == "command"  # its runner brings the files back by itself
        self.resume: Resume | None = self._resumed(start.resume, brings_back) if start.resume else None

    @property
    def stopping(self) -> Stopping | None:
        """What the workflow is asked to do. Raises LeaseLost. Cheap: look at it after each step.

        None: go on. "checkpoint": save your state and raise Stopped. "cancel": nothing will be kept, just end.
        """
        with self._lock:
            past = self._look()
            if self._wire.stopping == "cancel":
                return "cancel"
            asked = self._wire.stopping or self._signals.terminated or past is Past.TERM
            return "checkpoint" if asked else None

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far the job is, from 0 to 1, and what it does, in up to 200 characters.

        Only the newest is shown; call it as often as you like. Raises LeaseLost, and ValueError for no number.
        """
        with self._lock:
            self._look()
            fraction = min(max(0.0, float(fraction)), 1.0)
            self._wire.send({"progress": fraction, "text": storable_text(text)[: LIMITS.text_characters]})

    def log(self, line: str) -> None:
        """Add a line, or several, to the attempt's log; each is cut after 4 KiB. Raises LeaseLost.

        It stands behind what was printed before. Waits while the agent does not read.
        """
        self.log_all(line.splitlines() or [""])

    def log_all(self, lines: Iterable[str]) -> None:
        """Add many lines at once. Raises LeaseLost."""
        with self._lock:
            self._look()
            with contextlib.suppress(AttributeError, OSError, ValueError):  # whatever the workflow has put there
                sys.stdout.flush()
            self._output.write("".join(f"{line}\n" for line in lines).encode(errors="replace"))

    def checkpoint(self, state: Json, files: Iterable[Path | str] = ()) -> tuple[Path, ...]:
        """Save a state (JSON, up to 256 KiB), and files that belong to it, from which the next attempt can go on.

        The files are moved into a folder of this checkpoint; the paths where they lie from now on are returned, in
        the given order. They must not change after that. A file of an earlier checkpoint may be given again: it is
        linked. Every checkpoint stands alone, so name all files that the next attempt needs.

        Raises ValueError when the state is no JSON or too large, when two files have the same name, and for what is
        no regular file; OSError when the output folder takes no files; LeaseLost, and then nothing was kept.
        """
        check_json(state, LIMITS.checkpoint_bytes, "a checkpoint's state")
        with self._lock:
            self._look()
            self._number += 1
            paths = self._store([Path(path) for path in files], self.checkpoint_dir / str(self._number))
            self._look()  # again: moving and hashing may have taken long
            given = [plain(self._facts[path]) for path in paths]
            self._wire.send({"checkpoint": state, "number": self._number, "files": given})
        return paths

    def checkpoint_with(self, state: Json, keep: Callable[[Ticker], FileFact | None]) -> None:
        """For the runners: save a state with what `keep` saves and tells of. Raises as `checkpoint`, and Stopped."""
        check_json(state, LIMITS.checkpoint_bytes, "a checkpoint's state")
        with self._lock:
            with self.saving() as saving:
                kept = keep(saving.tick)
            self._look()
            self._number += 1
            given = [plain(kept)] if kept else []
            self._wire.send({"checkpoint": state, "number": self._number, "files": given})

    def saving(self) -> Saving:
        """For the runners: a context in which files are saved. Raises LeaseLost, and Stopped when all is cancelled."""
        return Saving(self._wire, self._still_wanted)

    def _look(self) -> Past:
        self._wire.look()
        past = self._deadline.past() if self._deadline else Past.NOT
        if past is Past.KILL:
            raise LeaseLost("the deadline of this attempt has passed")
        return past

    def _still_wanted(self) -> None:
        if self.stopping == "cancel":
            raise Stopped("cancelled while its files were saved")

    def _store(self, sources: list[Path], folder: Path) -> tuple[Path, ...]:
        if not sources:
            return ()
        targets = tuple(folder / names.escaped(source.name) for source in sources)
        if len(set(targets)) < len(targets):
            raise ValueError("two files of a checkpoint have the same name")
        with Saving(self._wire, self._look) as saving:
            folder.mkdir(parents=True)
            new = [target for source, target in zip(sources, targets) if not self._linked(source, target)]
            found = facts([(target, target.name) for target in new], [folder], saving.tick)
            self._facts.update(zip(new, found))
            durable.sync_folder(self.checkpoint_dir)
        return targets

    def _linked(self, source: Path, target: Path) -> bool:
        """Give a file of an earlier checkpoint a second name; a new one is moved here, and False is returned."""
        if source in self._facts:
            moving.link(source, target)
            self._facts[target] = self._facts[source]
            return True
        moving.move(source, target)
        return False

    def _resumed(self, start: StartFrom, state_alone: bool) -> Resume:
        if state_alone:
            return Resume(start.number, start.state)
        folder = Path(start.files_dir or "")
        paths = tuple(folder / fact.name for fact in start.files)
        for path, fact in zip(paths, start.files):
            if not path.is_file() or path.stat().st_size != fact.size:
                raise FileNotFoundError(f"checkpoint {start.number} lacks its file {path}")
            self._facts[path] = fact
        return Resume(start.number, start.state, paths)


def deadline_of(start: Start) -> Deadline | None:
    """The attempt's deadline; None where its guard has none either (in tests)."""
    if start.deadline_fd is None:
        return None
    os.set_inheritable(start.deadline_fd, False)
    return Deadline(start.deadline_fd, start.strict, start.max_orphan_s)
