"""Settings of one process: read from the environment once, checked, handed down.

What people change while the pool runs stands in the ledger (policy.py), not here.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from app.pool.errors import SettingsError
from app.pool.model import JobId
from app.pool.parameters import whole

DEFAULT_PORT = 8046
RQ_DATABASE = 0
POOL_DATABASE = 1
CHECKPOINTS = ".checkpoints"  # the folder of checkpoints' files in that of their attempt

# Variables that open the pool's stores, its API or its join. No job may see them, and an agent gets of them its
# join token at most: how to reach Redis it learns at the join, and PostgreSQL it never reaches.
SECRETS = frozenset(
    {
        "DATABASE_URL",
        "REDIS_URL",
        "RQ_REDIS_URL",
        "MUSTER_AGENT_REDIS_URL",
        "MUSTER_AGENT_RQ_REDIS_URL",
        "MUSTER_SECRET_KEY",
        "MUSTER_TOKEN",
        "MUSTER_JOIN_TOKEN",
    }
)

Environment = Mapping[str, str]


@dataclass(frozen=True)
class ServerSettings:
    """What web, coordinator and the command line's server verbs need."""

    home: Path
    database_url: str
    redis_url: str  # the pool's database
    rq_redis_url: str  # RQ's database, another one
    agent_redis_url: str  # the two URLs by which agents reach them
    agent_rq_redis_url: str
    prefix: str
    input_folders: tuple[Path, ...]  # empty: file parameters may lie anywhere (one host, one user)
    output_folder: Path
    secret_key: str | None

    @classmethod
    def from_environment(cls, environ: Environment = os.environ) -> ServerSettings:
        """Read and check the environment. Raises SettingsError naming the variable."""
        home = home_folder(environ)
        redis_url, rq_redis_url = redis_urls(environ)
        return cls(
            home=home,
            database_url=_required(environ, "DATABASE_URL", "a PostgreSQL URL"),
            redis_url=redis_url,
            rq_redis_url=rq_redis_url,
            agent_redis_url=environ.get("MUSTER_AGENT_REDIS_URL") or redis_url,
            agent_rq_redis_url=environ.get("MUSTER_AGENT_RQ_REDIS_URL") or rq_redis_url,
            prefix=key_prefix(environ),
            input_folders=input_folders(environ),
            output_folder=output_folder(environ),
            secret_key=environ.get("MUSTER_SECRET_KEY") or None,
        )


@dataclass(frozen=True)
class AgentSettings:
    """What an agent needs to join; user and password of Redis come with the join's answer."""

    home: Path  # this agent's own state folder: its id, its token
    server: str
    join_token: str | None
    name: str
    address: str | None  # None: no address is announced, the server does not call back
    port: int  # 0: any free one
    slots: int
    input_folders: tuple[Path, ...]
    output_folder: Path
    workflows_file: Path | None
    gpu_uuids: tuple[str, ...] | None  # None: every GPU of the host; empty: none
    grace_s: float
    log_spool_mib: int  # of logs that the server has yet to take, on this host's disk
    host_id: str | None  # for tests: several hosts on one machine
    boot_id: str | None

    @classmethod
    def from_environment(cls, environ: Environment = os.environ) -> AgentSettings:
        """Read and check the environment. Raises SettingsError naming the variable."""
        gpus = environ.get("MUSTER_GPUS")
        workflows = environ.get("MUSTER_WORKFLOWS")
        return cls(
            home=Path(environ.get("MUSTER_AGENT_HOME") or home_folder(environ) / "agent"),
            server=_url(environ, "MUSTER_SERVER", f"http://127.0.0.1:{DEFAULT_PORT}"),
            join_token=environ.get("MUSTER_JOIN_TOKEN") or None,
            name=_name(environ),
            address=environ.get("MUSTER_ADDRESS") or None,
            port=_integer(environ, "MUSTER_AGENT_PORT", 0, 0, 65535),
            slots=_integer(environ, "MUSTER_SLOTS", 1, 1, 64),
            input_folders=input_folders(environ),
            output_folder=output_folder(environ),
            workflows_file=Path(workflows) if workflows else None,
            gpu_uuids=None if gpus is None else tuple(u for u in gpus.split(",") if u),
            grace_s=_integer(environ, "MUSTER_GRACE_S", 30, 0, 3600),
            log_spool_mib=_integer(environ, "MUSTER_LOG_SPOOL_MIB", 512, 1, 1_048_576),
            host_id=environ.get("MUSTER_HOST_ID") or None,
            boot_id=environ.get("MUSTER_BOOT_ID") or None,
        )


def without_secrets(environ: Environment) -> dict[str, str]:
    """The environment without SECRETS."""
    return {name: value for name, value in environ.items() if name not in SECRETS}


def home_folder(environ: Environment) -> Path:
    """The state folder, absolute."""
    return Path(environ.get("MUSTER_HOME") or ".muster").expanduser().absolute()


def output_folder(environ: Environment) -> Path:
    """Where outputs and checkpoints' files lie, shared by the server and all hosts."""
    return Path(environ.get("MUSTER_OUTPUT") or home_folder(environ) / "output").expanduser().absolute()


def folder_of_attempt(output: Path, job: JobId, attempt: int) -> Path:
    """Where one attempt's outputs lie in the folder of all, those of its checkpoints in CHECKPOINTS below."""
    return output / job / f"a{attempt}"


def input_folders(environ: Environment) -> tuple[Path, ...]:
    """The folders that file parameters may lie in, links resolved; empty means anywhere."""
    folders = (environ.get("MUSTER_INPUT") or "").split(os.pathsep)
    return tuple(Path(folder).expanduser().resolve() for folder in folders if folder)


def redis_urls(environ: Environment) -> tuple[str, str]:
    """(the pool's URL, RQ's URL). Raises SettingsError when both name one database.

    Without RQ_REDIS_URL one server serves both: RQ in database 0, the pool in the one that
    REDIS_URL names, or in 1 when it names none or 0.
    """
    url = _required(environ, "REDIS_URL", "a redis:// URL")
    rq_url = environ.get("RQ_REDIS_URL")
    if not rq_url:
        named = _database(url, "REDIS_URL")
        return _with_database(url, named or POOL_DATABASE), _with_database(url, RQ_DATABASE)
    if url == rq_url:
        raise SettingsError("REDIS_URL and RQ_REDIS_URL name the same database; give each its own number")
    return url, rq_url


def key_prefix(environ: Environment) -> str:
    """The prefix of every key of the pool. Raises SettingsError."""
    prefix = environ.get("MUSTER_PREFIX", "pool:")
    if not re.fullmatch(r"[A-Za-z0-9:.-]{0,32}", prefix):
        raise SettingsError("MUSTER_PREFIX may hold up to 32 letters, digits, ':', '.' and '-'")
    return prefix


def _required(environ: Environment, name: str, what: str) -> str:
    value = environ.get(name)
    if not value:
        raise SettingsError(f"{name} is not set; give {what}, or start everything with `make up`")
    return value


def _integer(environ: Environment, name: str, default: int, least: int, most: int) -> int:
    value = environ.get(name, str(default))
    number = whole(value)
    if number is None or not least <= number <= most:
        raise SettingsError(f"{name} is {value!r}; give a whole number from {least} to {most}")
    return number


def _url(environ: Environment, name: str, default: str) -> str:
    value = environ.get(name) or default
    if urlsplit(value).scheme not in ("http", "https"):
        raise SettingsError(f"{name} is {value!r}; give an http:// or https:// address")
    return value.rstrip("/")


def _name(environ: Environment) -> str:
    name = environ.get("MUSTER_NAME") or socket.gethostname()
    if not re.fullmatch(r"[^\s/][^\n\r/]{0,62}", name):
        raise SettingsError("MUSTER_NAME must have 1 to 63 characters, no line break and no '/'")
    return name


def _database(url: str, name: str) -> int:
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise SettingsError(f"{name} is {url!r}; give a redis:// URL")
    path = parts.path.strip("/")
    return int(path) if path.isdigit() else 0


def _with_database(url: str, database: int) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
