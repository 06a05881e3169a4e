"""Bars that redraw themselves: of a stream's states only the newest is shown, until a whole line follows it. PURE."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Bars(Generic[T]):
    """Holds back the state of each stream's bar; `pending` are those that nothing has superseded, by stream."""

    def __init__(self) -> None:
        self.pending: dict[str, T] = {}

    def take(self, stream: str, redraw: bool, line: T) -> T | None:
        """The line where it stays; None for the state of a bar. The one before of this stream is superseded."""
        self.pending.pop(stream, None)
        if not redraw:
            return line
        self.pending[stream] = line
        return None
