"""The context of a running workflow: what it is given, and what it tells the pool.

At least once: a step may run twice, on two hosts, and then begins from the same checkpoint.
Every call looks at the deadline and at what the guard has said.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent import files as kept_files
from agent.ipc.deadline import Deadline, Past
from agent.ipc.start import Start, StartFrom
from agent.ipc.wire import Signals, Wire
from agent.tags import is_tag
from app.pool.codec import nested, plain
from app.pool.errors import LeaseLost
from app.pool.model import LIMITS, FileFact, Json
from app.pool.text import storable_text, unstorable

CUT = " … (cut)"
LOG_FULL = f"… the log of this attempt is full ({LIMITS.log_lines} lines); what follows is not kept"

Stopping = Literal["checkpoint", "cancel"]


class Stopped(Exception):
    """Raised by a workflow that was asked to stop and did: it goes on later from its last checkpoint."""


@dataclass(frozen=True)
class Resume:
    """The last checkpoint that was kept: its state, and its files in the order they were given."""

    number: int
    state: Json
    files: tuple[Path, ...] = ()


class WorkerTags:
    """What a workflow says of the worker on which it runs."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def add_tag(self, tag: str) -> None:
        """Say that it can do something more, until it is dropped or the agent ends. Raises ValueError."""
        self._say(tag, True)

    def drop_tag(self, tag: str) -> None:
        """Take that back. Raises ValueError."""
        self._say(tag, False)

    def _say(self, tag: str, has: bool) -> None:
        if not is_tag(tag):
            raise ValueError(f"{str(tag)[:80]!r} is no tag: up to 64 letters, digits and . _ : + -")
        self._wire.send({"tag": tag, "has": has})


class Job:
    """What a workflow sees of its job. Safe to use from several threads of the workflow."""

    def __init__(self, start: Start, params: Mapping[str, Json], wire: Wire, signals: Signals) -> None:
        self.params = dict(params)
        self.gpus = start.gpus
        self.output_dir = Path(start.output_dir)
        self.checkpoint_dir = Path(start.checkpoint_dir)
        self.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        self._wire, self._signals = wire, signals
        self.worker = WorkerTags(wire)
        self._deadline = deadline_of(start)
        self._lock = threading.RLock()
        self._lines = 0
        self._facts: dict[Path, FileFact] = {}
        self._number = start.resume.number if start.resume else 0
        self.resume = self._resumed(start.resume) if start.resume else None

    @property
    def stopping(self) -> Stopping | None:
        """None; "checkpoint": save your state and raise Stopped; "cancel": nothing will be kept, just end."""
        with self._lock:
            past = self._look()
            if self._wire.stopping == "cancel":
                return "cancel"
            asked = self._wire.stopping or self._signals.terminated or past is Past.TERM
            return "checkpoint" if asked else None

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far the job is, from 0 to 1, and what it does, in up to 200 characters."""
        with self._lock:
            self._look()
            fraction = min(max(0.0, float(fraction)), 1.0)
            self._wire.send({"progress": fraction, "text": storable_text(text)[: LIMITS.text_characters]})

    def log(self, line: str) -> None:
        """Add to the attempt's log; a line of more than 4 KiB is cut."""
        self.log_all(line.splitlines() or [""])

    def log_all(self, lines: Iterable[str]) -> None:
        """The same for many lines at once; beyond 100,000 of an attempt they are dropped, which the log says."""
        with self._lock:
            self._look()
            left = LIMITS.log_lines - self._lines
            if left <= 0:
                return
            new = [cut(storable_text(line)) for line in lines]
            self._lines += len(new)
            self._wire.send({"log": new if len(new) < left else [*new[: left - 1], LOG_FULL]})

    def checkpoint(self, state: Json, files: Iterable[Path | str] = ()) -> tuple[Path, ...]:
        """Save a state, and files that belong to it, from which the next attempt can go on.

        The files are moved into a folder of this checkpoint and must not change from now on; where
        they lie is returned, in the given order. One that already belongs to an earlier checkpoint
        may be given again and is linked. Raises ValueError when the state is no JSON or too large.
        """
        check_json(state, LIMITS.checkpoint_bytes, "a checkpoint's state")
        with self._lock:
            self._look()
            self._number += 1
            paths = self._keep([Path(path) for path in files], self.checkpoint_dir / str(self._number))
            self._look()  # again: moving and hashing may have taken long
            facts = [plain(self._facts[path]) for path in paths]
            self._wire.send({"checkpoint": state, "number": self._number, "files": facts})
        return paths

    def _look(self) -> Past:
        self._wire.look()
        past = self._deadline.past() if self._deadline else Past.NOT
        if past is Past.KILL:
            raise LeaseLost("the deadline of this attempt has passed")
        return past

    def _keep(self, sources: list[Path], folder: Path) -> tuple[Path, ...]:
        if not sources:
            return ()
        targets = tuple(folder / source.name for source in sources)
        if len(set(targets)) < len(targets):
            raise ValueError("two files of a checkpoint have the same name")
        folder.mkdir(parents=True)
        for source, target in zip(sources, targets, strict=True):
            self._facts[target] = self._kept(source, target)
        kept_files.sync_folder(folder)
        kept_files.sync_folder(self.checkpoint_dir)
        return targets

    def _kept(self, source: Path, target: Path) -> FileFact:
        known = self._facts.get(source)
        if known is not None:
            kept_files.link(source, target)
            return known
        kept_files.move(source, target)
        return kept_files.fact(target, target.name)

    def _resumed(self, start: StartFrom) -> Resume:
        folder = Path(start.files_dir or "")
        paths = tuple(folder / fact.name for fact in start.files)
        for path, fact in zip(paths, start.files, strict=True):
            if not path.is_file() or path.stat().st_size != fact.size:
                raise FileNotFoundError(f"checkpoint {start.number} lacks its file {path}")
            self._facts[path] = fact
        return Resume(start.number, start.state, paths)


def deadline_of(start: Start) -> Deadline | None:
    """The attempt's deadline; None when its guard has none either."""
    if start.deadline_fd is None:
        return None
    os.set_inheritable(start.deadline_fd, False)
    return Deadline(start.deadline_fd, start.strict, start.max_orphan_s)


def check_json(value: Json, most: int, what: str) -> None:
    """Raise ValueError when it is no JSON that PostgreSQL can hold, or has more bytes than `most`."""
    try:
        if nested(value) > LIMITS.nested:
            raise ValueError(f"it is nested deeper than {LIMITS.nested} levels")
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} cannot be written as JSON: {error}") from error
    if wrong := unstorable(value):
        raise ValueError(f"{what} {wrong}")
    size = len(text.encode())
    if size > most:
        raise ValueError(f"{what} has {size} bytes; at most {most} are kept, put the rest into a file")


def cut(line: str) -> str:
    """At most 4 KiB of a line, marked where something is missing."""
    encoded = line.encode()
    if len(encoded) <= LIMITS.log_line_bytes:
        return line
    return encoded[: LIMITS.log_line_bytes - len(CUT.encode())].decode("utf-8", "ignore") + CUT
