"""Verbs about workers, which people name by id, or by a name that only one of them has."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import click

from app.cli import show
from app.cli.client import Client
from app.cli.options import as_json
from app.pool.errors import PoolError


@click.command()
@as_json
def workers(as_json: bool) -> None:
    """List the workers."""
    found = list(Client.from_environment().pages("/admin/workers"))
    show.as_json(found) if as_json else show.workers(found)


@click.command()
@click.argument("tags")
@click.argument("workers", nargs=-1, required=True, metavar="WORKER…")
def tag(tags: str, workers: tuple[str, ...]) -> None:
    """Add TAGS (between commas) to workers, by id or name."""
    _act(workers, {"action": "tag", "tags": tags.split(",")})


@click.command()
@click.argument("tags")
@click.argument("workers", nargs=-1, required=True, metavar="WORKER…")
def untag(tags: str, workers: tuple[str, ...]) -> None:
    """Remove TAGS (between commas) from workers, by id or name."""
    _act(workers, {"action": "untag", "tags": tags.split(",")})


@click.command()
@click.argument("workers", nargs=-1, required=True, metavar="WORKER…")
@click.option("--for-s", type=click.IntRange(1), help="Seconds; until resumed unless given.")
@click.option("--note", default="", help="Why, for people.")
def pause(workers: tuple[str, ...], for_s: int | None, note: str) -> None:
    """Give workers no new jobs; what runs there is finished."""
    _act(workers, {"action": "pause", "for_s": for_s, "note": note})


@click.command()
@click.argument("workers", nargs=-1, required=True, metavar="WORKER…")
def resume(workers: tuple[str, ...]) -> None:
    """Let paused workers take jobs again."""
    _act(workers, {"action": "resume"})


def _act(workers: tuple[str, ...], action: dict[str, Any]) -> None:
    """Act on workers, named as people know them, and exit: 1 when the action failed for any, else 0."""
    client = Client.from_environment()
    named = worker_ids(workers, list(client.pages("/admin/workers")))
    done = client.post("/admin/workers/actions", {**action, "workers": named})["items"]
    sys.exit(0 if show.results(done) else 1)


def worker_ids(words: Sequence[str], known: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ids of the workers that words name. Raises PoolError for a word that names none, or several of one name."""
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
        choices = "; ".join(
            f"{len(found)} workers are named {word}: {', '.join(found)}" for word, found in several.items()
        )
        raise PoolError(f"{choices}; say which by id")
    return [found[0] for found in meant.values()]


COMMANDS = (workers, tag, untag, pause, resume)
