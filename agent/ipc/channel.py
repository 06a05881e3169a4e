"""The channel between main and a slot: how main starts one, and the datagrams that the slot and its guards send.

A guard sends main one end of a socket pair of its own here; what they then say goes over that (link.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from agent.ipc.link import Message
from agent.processes import WORKER_VARIABLE
from app.pool.codec import to_json
from app.pool.model import WorkerId, Workflow
from app.pool.protocol import Order

ROOT = Path(__file__).resolve().parents[2]
# Not for a slot: what it was started with stands in /proc, and so in that of each workflow that it forks.
SECRETS = ("MUSTER_JOIN_TOKEN", "MUSTER_TOKEN", "MUSTER_SECRET_KEY", "REDIS_URL", "RQ_REDIS_URL", "DATABASE_URL")
DATAGRAM_BYTES = 64 * 1024  # far above what a slot says


@dataclass(frozen=True)
class SlotSetup:
    """What main tells a new slot process, on its standard input because one part is a password."""

    worker: WorkerId
    incarnation: int
    slot: int
    start: int  # the how-manieth start of this slot; makes RQ's worker names unique
    main_pid: int
    deadline_fd: int
    lock_fd: int
    rq_redis_url: str
    output_folder: str
    workflows: tuple[Workflow, ...]


def start_slot(
    setup: SlotSetup, environment: Mapping[str, str] = os.environ
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A new slot process and main's end of its channel; from main's main thread only (PDEATHSIG)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "agent.slot.process", str(theirs.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=(theirs.fileno(), setup.deadline_fd, setup.lock_fd),
            env=_slots_environment(environment, setup.worker),
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # it may have died: its waiter sees that
        pipe.write(to_json(setup).encode())
    return process, ours


def _slots_environment(agents: Mapping[str, str], worker: WorkerId) -> dict[str, str]:
    """The agent's without its secrets."""
    kept = {name: value for name, value in agents.items() if name not in SECRETS}
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, WORKER_VARIABLE: worker}


def introduce(channel: socket.socket, order: Order) -> socket.socket:
    """A line of a new guard's own to main, told with all that main must know to end the attempt without its guard.

    The nonce tells this guard's claim from any other's.
    """
    ours, mains = socket.socketpair()
    said = {
        "m": "guard",
        "pid": os.getpid(),
        "job": order.job,
        "attempt": order.attempt,
        "nonce": token_hex(8),
        "strict": order.strict,
        "max_orphan_s": order.max_orphan_s,
        "timeout_s": order.timeout_s,
    }
    with mains:
        tell(channel, said, (mains.fileno(),))
    channel.close()  # or main would not see the slot's death while we live
    return ours


def tell(channel: socket.socket, message: Mapping[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send one datagram with these file descriptors. Raises OSError when main is gone."""
    socket.send_fds(channel, [json.dumps(message, separators=(",", ":")).encode()], fds)


def told(channel: socket.socket) -> tuple[Message, list[int]] | None:
    """One datagram and the descriptors that came with it; None when nobody holds the other end."""
    text, fds, _, _ = socket.recv_fds(channel, DATAGRAM_BYTES, 4, socket.MSG_CMSG_CLOEXEC)
    return (json.loads(text), fds) if text else None
