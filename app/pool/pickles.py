"""No pickle in this process. RQ reads pickles wherever nobody named a serializer, and whoever can write to
Redis can write one; what runs code is the look-up of a class or function by name."""

from __future__ import annotations

import sys


class PickleRefused(Exception):
    """A pickle that names a class or function is not read here."""


def refuse_pickle() -> None:
    """From now on, and until it ends, no pickle in this process can name a function or class."""
    sys.addaudithook(_audit)


def _audit(event: str, _: tuple[object, ...]) -> None:
    if event == "pickle.find_class":  # raised by every unpickler, the one in C too, before it imports anything
        raise PickleRefused("pickle is not read here")
