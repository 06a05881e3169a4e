"""A real workflow process over a real socket pair, with the test in the guard's place."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from app.pool.codec import plain
from app.pool.model import Workflow
from tests.kit.services import eventually

ROOT = Path(__file__).resolve().parents[2]
Message = dict[str, Any]


@dataclass
class WorkflowScene:
    """A workflow process of one attempt; `said` holds its messages so far, `checkpoints` is its folder for those.

    `printed` is what it has written so far to its standard output and error; nobody reads while `reading` is not set.
    """

    folder: Path
    workflow: Workflow
    params: Mapping[str, Any]
    resume: Message | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)  # of the first line
    said: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.checkpoints = self.folder / ".checkpoints"
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agent.runners", str(theirs.fileno())],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
                pass_fds=(theirs.fileno(), *([self.more["deadline_fd"]] if "deadline_fd" in self.more else [])),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        self._partial = b""
        self.printed = {"o": bytearray(), "e": bytearray()}
        self.reading = threading.Event()
        self.reading.set()
        assert self.process.stdout and self.process.stderr
        self._readers = [self._reader("o", self.process.stdout), self._reader("e", self.process.stderr)]

    def __enter__(self) -> WorkflowScene:
        return self

    def __exit__(self, *_: object) -> None:
        self.reading.set()
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(5)
        self.socket.close()

    def begin(self) -> WorkflowScene:
        """Send the first line, by which the process begins."""
        self.tell(
            {
                "job": "0123456789ab",
                "attempt": 1,
                "workflow": self.workflow.name,
                "runner": plain(self.workflow),
                "params": dict(self.params),
                "resume": self.resume,
                "output_dir": str(self.folder),
                "checkpoint_dir": str(self.checkpoints),
                "gpus": [],
                "deadline_fd": None,
                "strict": False,
                **self.more,
            }
        )
        return self

    def tell(self, message: Mapping[str, Any]) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def until(self, key: str, seconds: float = 40, **values: Any) -> Message:
        """Read on to the first message that has this key and these values."""
        deadline = time.monotonic() + seconds
        while True:
            message = self._next(deadline)
            assert message is not None, f"ended without {key}: {self.said[-5:]}"
            if key in message and all(message.get(name) == value for name, value in values.items()):
                return message

    def end(self, seconds: float = 40) -> Message:
        """The last message of the process."""
        return self.until("end", seconds)

    def silent_end(self, seconds: float = 20) -> bool:
        """True when the process ends without a last message."""
        deadline = time.monotonic() + seconds
        while self._next(deadline) is not None:
            pass
        return not any("end" in message for message in self.said)

    def last(self, key: str) -> Message:
        """The last message so far that has this key."""
        return next(message for message in reversed(self.said) if key in message)

    @property
    def log(self) -> list[str]:
        """The lines that it has written to its standard output."""
        return self.printed["o"].decode(errors="replace").splitlines()

    @property
    def remarks(self) -> list[str]:
        """What it has remarked on its own account."""
        return [message["remark"] for message in self.said if "remark" in message]

    def until_printed(self, words: str, stream: str = "o", seconds: float = 40) -> None:
        """Wait until it has written this."""
        eventually(lambda: words.encode() in self.printed[stream], seconds)

    def resumed_by(self, folder: Path, environment: Mapping[str, str] | None = None, **changes: Any) -> WorkflowScene:
        """A process for the next attempt, which resumes from this one's last checkpoint."""
        last = self.last("checkpoint")
        resume = {
            "number": last["number"],
            "state": last["checkpoint"],
            "files_dir": str(self.checkpoints / str(last["number"])),
            "files": last["files"],
        }
        return WorkflowScene(folder, self.workflow, {**self.params, **changes}, resume, environment or {})

    def _reader(self, stream: str, pipe: IO[bytes]) -> threading.Thread:
        def read() -> None:
            with pipe:
                while self.reading.wait() and (chunk := os.read(pipe.fileno(), 1 << 16)):
                    self.printed[stream] += chunk

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def _next(self, deadline: float) -> Message | None:
        while b"\n" not in self._partial:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            chunk = self.socket.recv(1 << 16)
            if not chunk:
                return None
            self._partial += chunk
        line, _, self._partial = self._partial.partition(b"\n")
        message: Message = json.loads(line)
        self.said.append(message)
        return message
