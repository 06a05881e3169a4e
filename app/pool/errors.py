"""The few kinds of error that a caller treats differently. Everything else is a bug and is raised as it is."""

from __future__ import annotations

FIELDS = "some fields cannot be taken"


def pointer(*parts: str | int) -> str:
    """The JSON pointer (RFC 6901) of a place in a body, by the names of fields and numbers of items that lead there."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def pointer_parts(place: str) -> list[str]:
    """The names and numbers that lead to the place of a JSON pointer; the inverse of `pointer`."""
    return [part.replace("~1", "/").replace("~0", "~") for part in place.split("/")[1:]]


class PoolError(Exception):
    """Muster cannot do what was asked; the message says why and what to do next."""


class SettingsError(PoolError):
    """A setting from the environment is missing or wrong; the message names it."""


class BadRequest(PoolError):
    """What a person or agent sent cannot be taken; `errors` names each field and what is wrong with it."""

    def __init__(self, detail: str, errors: list[tuple[str, str]] | None = None) -> None:
        super().__init__(detail)
        self.errors = errors or []


class BadFields(BadRequest):
    """Some fields of what was sent cannot be taken; each argument is (pointer, what is wrong with the field)."""

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__(FIELDS, list(errors))


class Unavailable(PoolError):
    """A service that is needed (Redis, PostgreSQL) does not answer; trying later is safe."""


class Collided(Unavailable):
    """Others changed the same rows at the same moment, and PostgreSQL undid the statement; trying again is safe."""


class LeaseLost(PoolError):
    """The attempt is no longer this worker's; whoever runs it stops quietly."""
