"""Who this agent is: its host, its boot, and what it keeps of its membership in the pool.

The state folder holds the worker's id and its own tokens; a join token only admits the first time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from dataclasses import dataclass
from pathlib import Path

from app.pool.model import Gpu, WorkerId
from app.pool.settings import AgentSettings
from app.pool.text import write_private

log = logging.getLogger(__name__)

MACHINE_ID = Path("/etc/machine-id")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Identity:
    """What makes two lives of an agent the same worker; `digest` names it on this host."""

    machine_id: str
    boot_id: str
    digest: str


@dataclass(frozen=True)
class PoolMembership:
    """The worker's id and its own tokens, the newest first; the older ones serve until a join is confirmed."""

    worker: WorkerId | None = None
    tokens: tuple[str, ...] = ()


def identify(settings: AgentSettings, gpus: tuple[Gpu, ...]) -> Identity:
    """Machine id, boot id, and the SHA-256 of machine id and GPU UUIDs, or without a GPU the worker's name and pool.

    Two pools may each have a worker of this host's name; no two may have the same GPU. The server's hash of the same
    facts, `identity_of` in app/ledger/registry/joins.py, differs without a GPU: it stays within one pool, and has no
    need to name it.
    """
    machine_id = settings.host_id or _machine_id(settings.home)
    boot_id = settings.boot_id or BOOT_ID.read_text().strip()
    parts = [machine_id, *(sorted(gpu.uuid for gpu in gpus) or [settings.name, settings.server])]
    return Identity(machine_id, boot_id, hashlib.sha256("\n".join(parts).encode()).hexdigest())


def load_membership(home: Path) -> PoolMembership:
    """The membership of an earlier life; an empty one when there was none or it cannot be read."""
    try:
        fields = json.loads(_membership(home).read_text())
        return PoolMembership(WorkerId(fields["worker"]), tuple(fields["tokens"]))
    except FileNotFoundError:
        return PoolMembership()
    except (OSError, ValueError, KeyError, TypeError) as error:
        # Not the error's repr: it may hold the tokens.
        log.warning(
            "membership cannot be read: path=%s: %s: %s; this agent needs a join token",
            _membership(home),
            type(error).__name__,
            error,
        )
        return PoolMembership()


def save_membership(home: Path, membership: PoolMembership) -> None:
    """Write the membership down whole or not at all, readable by this user alone. Raises OSError."""
    text = json.dumps({"worker": membership.worker, "tokens": membership.tokens})
    write_private(_membership(home), text)


def _membership(home: Path) -> Path:
    return home / "membership.json"


def _machine_id(home: Path) -> str:
    """Linux' machine id, or one made for this state folder where the host has none (some containers)."""
    try:
        hosts = MACHINE_ID.read_text().strip()
    except OSError:
        hosts = ""
    return hosts or _made_machine_id(home / "machine-id")


def _made_machine_id(path: Path) -> str:
    if not path.exists():
        write_private(path, uuid.uuid4().hex)
    return path.read_text().strip()
