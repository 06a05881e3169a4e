"""No pickle in this process. RQ reads pickles wherever nobody named a serializer, and whoever can write to
Redis can write one; what runs code is the look-up of a class or function by name."""

from __future__ import annotations

import sys


class PickleRefused(Exception):
    """A pickle that names a class or function is not read here."""


_refused: list[bool] = []  # an audit hook cannot be removed; it refuses while this list holds something


def refuse_pickle() -> None:
    """Refuse every pickle in this process that names a function or class."""
    _refused.append(True)
    sys.addaudithook(_audit)


def allow_pickle() -> None:
    """Allow pickles again, in a fork that reads nothing from Redis."""
    _refused.clear()


def _audit(event: str, _: tuple[object, ...]) -> None:
    # Raised by every unpickler, the one in C too, before it imports anything.
    if event == "pickle.find_class" and _refused:
        raise PickleRefused("pickle is not read here")
