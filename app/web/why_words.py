"""Filters in people's words: "12 workers: 5 lack optix, 3 have too little memory, 1 is full"."""

from __future__ import annotations

from collections.abc import Sequence

from app.pool.model import Requirement
from app.pool.why import Turned

WORDS = {  # of one, of many
    "only": ("is not among the named workers", "are not among the named workers"),
    "excluded": ("is excluded", "are excluded"),
    "vram": ("has too little GPU memory", "have too little GPU memory"),
    "gpus": ("has too few GPUs", "have too few GPUs"),
    "blocked": ("is blocked for this workflow", "are blocked for this workflow"),
    "failed": ("failed this job before", "failed this job before"),
    "older attempt": ("may still have an older attempt", "may still have an older attempt"),
    "heartbeat": ("has no heartbeat", "have no heartbeat"),
    "slots": ("is full", "are full"),
    "cards": ("has too few free GPUs", "have too few free GPUs"),
    "free vram": ("has too little free GPU memory", "have too little free GPU memory"),
    "waiting": ("waits for approval", "wait for approval"),
}


def sentence(requirement: Requirement, workers: int, turned: Sequence[Turned], ready: int, unseen: int) -> str:
    """All of it in one sentence."""
    if not workers:
        return "no worker has joined the pool yet"
    parts = [f"{each.workers} {words(each, requirement)}" for each in turned]
    parts += [f"{ready} could take it now"] if ready else []
    parts += [f"{unseen} more would fit, whether they have room was not looked at"] if unseen else []
    return f"{workers} worker{'s' if workers > 1 else ''}: " + ", ".join(parts)


def words(turned: Turned, requirement: Requirement) -> str:
    """What these workers are or lack."""
    one = turned.workers == 1
    if turned.filter == "workflow":
        return f"{'does' if one else 'do'} not offer {requirement.workflow}"
    if turned.filter == "tags":
        tags = ", ".join(requirement.tags)
        return f"{'lacks' if one else 'lack'} {tags if len(requirement.tags) == 1 else f'one of {tags}'}"
    if turned.filter == "group":
        return f"{'is' if one else 'are'} not in group {requirement.group}"
    known = WORDS.get(turned.filter)
    return known[not one] if known else f"{'is' if one else 'are'} {turned.filter}"
