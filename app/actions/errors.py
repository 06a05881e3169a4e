"""Errors of actions: nothing was done, and the message says why. A field that cannot be taken is a BadRequest."""

from __future__ import annotations

from app.pool.errors import PoolError


class ActionError(PoolError):
    """The action was not done. Asking again is useful only after something else has changed."""


class Missing(ActionError):
    """Nothing of this id exists, or the actor may not know of it."""


class Forbidden(ActionError):
    """The actor may not do this."""


class Conflict(ActionError):
    """The present state does not allow it: a job has ended, a name is taken."""


class Stale(ActionError):
    """Somebody changed it after the actor had read it; reading it again and repeating the change is safe."""

    def __init__(self) -> None:
        super().__init__("somebody has changed this since you read it; read it again")
