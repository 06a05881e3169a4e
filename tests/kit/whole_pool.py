"""A whole pool, started as people start it, in a home and on a port of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.cli.client import Client
from app.pool.errors import PoolError
from app.up.processes import free_port
from tests.kit.processes import alive_below, alive_with, started
from tests.kit.services import eventually

ROOT = Path(__file__).resolve().parents[2]
READY_S = 40  # 15 on a quiet computer
STOP_S = 12


@dataclass
class WholePool:
    """A pool of `python -m app up`; `start` and `stop` may be called again and again, the home stays."""

    home: Path
    port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    bind: str = "127.0.0.1"
    process: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> str:
        return f"http://{self.bind}:{self.port}"

    @property
    def token(self) -> str:
        """The admin's token."""
        return (self.home / "admin-token").read_text().strip()

    @property
    def client(self) -> Client:
        """A client that speaks to the server as the admin."""
        return Client(self.server, self.token)

    @property
    def output(self) -> str:
        """The output of this life of the pool."""
        return self._said.read_text()

    def start(self, *options: str, ready: bool = True, **environment: str) -> None:
        """Run `python -m app up` with more options and environment; come back when it is ready."""
        self.environment |= environment
        where = ("--home", str(self.home), "--port", str(self.port), "--bind", self.bind)
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app", "up", *where, *options],
                cwd=ROOT,
                env=clean(os.environ) | {"MUSTER_HOST_ID": self.home.name, "MUSTER_TEST": self.mark} | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        if ready:
            eventually(self._is_ready, READY_S)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the pool a signal; returns its exit code. Fails when it is not gone in time."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(STOP_S)

    def stop(self) -> None:
        """End the pool if it runs; fails when something of it is left."""
        if self.process is not None and self.process.poll() is None:
            self.end()
        eventually(lambda: not self.processes(), 5)

    def processes(self) -> dict[int, str]:
        """Every process that this pool has started, whoever is its parent now; pid -> command line."""
        # Servers write their titles over their environment, but they work in the home.
        return alive_with("MUSTER_TEST", self.mark) | alive_below(self.home)

    def only(self, words: str) -> int:
        """The pid of the oldest process whose command line has these words."""
        return min((pid for pid, line in self.processes().items() if words in line), key=started)

    @property
    def mark(self) -> str:
        return f"{self.home}:{self.port}"

    @property
    def _said(self) -> Path:
        return self.home.with_name(f"{self.home.name}.out")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output
        return "Muster is ready" in self.output

    def healthy_workers(self) -> list[dict[str, Any]]:
        """The workers that are healthy now; none while the server does not answer."""
        try:
            return list(self.client.pages("/admin/workers", {"status": "healthy"}))
        except PoolError:
            return []


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would name other servers, another home or another worker."""
    servers = ("DATABASE_URL", "REDIS_URL", "RQ_REDIS_URL")
    return {
        name: value for name, value in environment.items() if not name.startswith("MUSTER_") and name not in servers
    }
