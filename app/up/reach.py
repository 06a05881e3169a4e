"""Whether Redis and PostgreSQL answer, and are new enough."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis

from app.pool import redis_client
from app.pool.errors import PoolError, Unavailable

ANSWER_S = 3  # of PostgreSQL
LEAST_REDIS = (6, 2)
LEAST_POSTGRESQL = 15


def check_redis(url: str) -> None:
    """Raise Unavailable when Redis does not answer, PoolError when it is too old or the URL is wrong."""
    try:
        with redis_client.client(url, redis_client.PROBE_S) as client:
            client.ping()  # refused while it still loads its data
            found = str(client.info("server")["redis_version"])
    except redis.AuthenticationError as error:
        raise PoolError(
            f"Redis at {without_password(url)} refuses us: give its user and password in the URL"
        ) from error
    except redis.RedisError as error:
        raise Unavailable(f"Redis at {without_password(url)} cannot be reached: {error}") from error
    except ValueError as error:
        raise PoolError(f"{without_password(url)} is not a redis:// URL: {error}") from error
    if tuple(int(part) for part in found.split(".")[:2]) < LEAST_REDIS:
        least = ".".join(map(str, LEAST_REDIS))
        raise PoolError(f"Redis at {without_password(url)} is {found}; {least} or newer is needed (Valkey serves too)")


def check_postgresql(url: str) -> None:
    """Raise Unavailable when PostgreSQL does not answer, PoolError when it is too old or the URL is wrong."""
    try:
        with psycopg.connect(url, connect_timeout=ANSWER_S) as connection:
            found = connection.info.server_version // 10000
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        raise Unavailable(f"PostgreSQL at {without_password(url)} cannot be reached: {reason}") from error
    except psycopg.ProgrammingError as error:
        raise PoolError(f"DATABASE_URL is not a PostgreSQL URL: {error}") from error
    if found < LEAST_POSTGRESQL:
        raise PoolError(f"PostgreSQL at {without_password(url)} is {found}; {LEAST_POSTGRESQL} or newer is needed")


def without_password(url: str) -> str:
    """The URL without user, password and query, as it may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
