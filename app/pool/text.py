"""Text as stores hold it, as it comes out of pipes, and as private files keep it.

PostgreSQL's text and jsonb hold neither NUL nor half of a surrogate pair. What people, programs and beats send is
refused for that, so that they learn of it: `unstorable`. What a workflow printed must not cost its report, so there a
replacement stands for what cannot be held: `storable`.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path

from app.pool.model import Json

STORABLE = r"[^\x00\ud800-\udfff]*"  # the pattern of a whole text
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def unstorable(value: Json) -> str | None:
    """What is wrong with this text, or with a text or key anywhere in this JSON value; None where nothing is.

    The words follow a subject: "holds a NUL character". The value may not be nested without a limit.
    """
    if isinstance(value, str):
        wrong = _UNSTORABLE.search(value)
        return wrong and ("holds a NUL character" if wrong[0] == "\0" else "holds half of a surrogate pair")
    if isinstance(value, dict):
        return next(filter(None, map(unstorable, [*value, *value.values()])), None)
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(unstorable, value)), None)
    return None


def storable_text(text: str) -> str:
    """The text with U+FFFD for each NUL and a question mark for each half of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def storable(value: Json) -> Json:
    """The JSON value with every text and key in it made storable; the value may not be nested without a limit."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value


class LineBuffer:
    """Bytes that come in pieces, given back as lines without their ends; an unfinished line waits for the rest."""

    def __init__(self, longest: int | None = None) -> None:
        """`longest`: bytes of an unfinished line beyond which it is given back as it is; None: it always waits."""
        self._longest = longest
        self._partial = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are whole with this chunk."""
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if self._longest is not None and len(self._partial) > self._longest:
            lines += self.rest()
        return lines

    def rest(self) -> list[bytes]:
        """The unfinished line, where nothing more comes; none when there is none."""
        rest, self._partial = self._partial, b""
        return [rest] if rest else []


def write_private(path: Path, text: str, *, first_wins: bool = False) -> None:
    """Write a file that only its owner may read; whoever dies in between, the old one or the new is there whole.

    A missing folder is made. `first_wins`: a file that is there stays, so that processes which start together agree
    on one. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft_fd, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # with mode 600
    draft = Path(name)
    try:
        with os.fdopen(draft_fd, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # before the rename: after a power cut the new name may not stand for an empty file
        if first_wins:
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        else:
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
