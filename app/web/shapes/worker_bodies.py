"""What people may send about workers: a setup, a pause, one action on many. Forms are read into the same bodies."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.actions.workers import Action
from app.ledger.registry.pauses import Pause
from app.pool.model import LIMITS
from app.pool.policy import ABOUT
from app.web.http.schemas import WHOLE, Body, FilterWords, GroupName, Id, Name, Seconds, Tag, When, WorkflowName

MOST_SLOTS = 64
MOST_DEPTH = int(ABOUT["queue_depth"].high or 0)
MOST_NAMED = 10_000


class WorkerBody(Body):
    """What is to be changed; what is not named stays."""

    tags: list[Tag] = Field([], max_length=LIMITS.tags, description="those that its agent reports are not among them")
    groups: list[GroupName] = Field([], max_length=LIMITS.tags)
    workflows: list[WorkflowName] = Field(
        [], max_length=LIMITS.tags, description="the only ones of those that it offers; none: all"
    )
    slots: Annotated[int, Field(ge=1, le=MOST_SLOTS), WHOLE] | None = Field(
        None, description="how many jobs it runs at a time; null: as many as its agent offers"
    )
    queue_depth: Annotated[int, Field(ge=0, le=MOST_DEPTH), WHOLE] | None = Field(
        None, description="how many jobs may wait behind its slots; null: the pool's setting"
    )


class PauseBody(Body):
    """How long, and why; without a time until a person resumes it."""

    until: When | None = Field(None, description="ahead; either this or for_s")
    for_s: Seconds | None = None
    note: Name = Field("", description="why, for people")

    def pause(self) -> Pause:
        """The pause that this body asks for."""
        return Pause(self.until, self.for_s, self.note or None)


class UnblockBody(Body):
    """Which block is to end."""

    workflow: WorkflowName | None = Field(None, description="all for which it is blocked unless named")


class FilterBody(FilterWords, Body):
    """Workers by the fleet's filter; an empty one is all of them."""


class ActionBody(PauseBody):
    """What is to be done to which workers, with what this action reads; the rest is empty."""

    action: Action
    workers: Annotated[list[Id], Field(min_length=1, max_length=MOST_NAMED)] | None = None
    filter: FilterBody | None = Field(None, description="either this or workers")
    tags: list[Tag] = Field([], max_length=LIMITS.tags)
    groups: list[GroupName] = Field([], max_length=LIMITS.tags)
    workflow: WorkflowName | None = Field(None, description="of unblock; all unless named")
