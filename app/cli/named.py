"""Workers as people name them on the command line: by id, or by a name that only one of them has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from app.pool.errors import PoolError


def worker_ids(words: Sequence[str], known: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ids that are meant. Raises PoolError for a word that means nobody, or several: agents may share a name."""
    ids = {each["id"] for each in known}
    named = defaultdict(list)
    for each in known:
        named[each["name"]].append(each["id"])
    meant = {word: [word] if word in ids else named.get(word, []) for word in words}
    unknown = [word for word, found in meant.items() if not found]
    if unknown:
        raise PoolError(f"there is no worker {', '.join(unknown)}; `python -m app workers` lists them")
    several = {word: found for word, found in meant.items() if len(found) > 1}
    if several:
        told = "; ".join(
            f"{len(found)} workers are named {word}: {', '.join(found)}" for word, found in several.items()
        )
        raise PoolError(f"{told}; say which by id")
    return [found[0] for found in meant.values()]
