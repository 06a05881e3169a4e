"""The channel from a slot to main: the datagrams that the slot sends, and by which its guards introduce themselves.

A guard sends main one end of a socket pair of its own here; what they say after that goes over the pair (link.py).
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from agent.ipc.link import Message
from app.pool.model import Gpu, WorkerId, Workflow
from app.pool.protocol import Order

DATAGRAM_BYTES = 64 * 1024  # far above what a slot says


@dataclass(frozen=True)
class SlotSetup:
    """What main tells a new slot process, on its standard input because one part is a password."""

    worker: WorkerId
    incarnation: int
    slot: int
    start: int  # counts the starts of this slot; makes RQ's worker names unique
    main_pid: int
    deadline_fd: int
    lock_fd: int
    rq_redis_url: str
    output_folder: str
    log_folder: str
    workflows: tuple[Workflow, ...]
    gpus: tuple[Gpu, ...] = ()  # of this worker

    def workflow(self, name: str) -> Workflow | None:
        """The workflow as the worker declares it; None when it does not."""
        return next((workflow for workflow in self.workflows if workflow.name == name), None)


def introduce(channel: socket.socket, order: Order) -> socket.socket:
    """Give main a line to this new guard, and all that it must know to end the attempt without the guard.

    Returns the guard's end. The nonce tells this guard's claim from any other's. Raises OSError when main is gone.
    """
    ours, mains = socket.socketpair()
    introduction = {
        "m": "guard",
        "pid": os.getpid(),
        "job": order.job,
        "attempt": order.attempt,
        "nonce": token_hex(8),
        "strict": order.strict,
        "max_orphan_s": order.max_orphan_s,
        "timeout_s": order.timeout_s,
        "gpus": order.gpus,
        "free_mb": order.free_mb,
        "others_mb": order.others_mb,
    }
    with mains:
        send_datagram(channel, introduction, (mains.fileno(),))
    channel.close()  # or main would not see the slot's death while we live
    return ours


def send_datagram(channel: socket.socket, message: Mapping[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send one datagram with these file descriptors. Raises OSError when main is gone."""
    socket.send_fds(channel, [json.dumps(message, separators=(",", ":")).encode()], fds)


def receive_datagram(channel: socket.socket) -> tuple[Message, list[int]] | None:
    """Wait for one datagram. Returns it with the descriptors that came along; None when nobody holds the other end."""
    text, fds, _, _ = socket.recv_fds(channel, DATAGRAM_BYTES, 4, socket.MSG_CMSG_CLOEXEC)
    return (json.loads(text), fds) if text else None
