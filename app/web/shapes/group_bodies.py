"""What people may send about a group. The form is read into the same bodies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.pool.policy import STRATEGIES
from app.web.http.schemas import Body, GroupName, Id

MOST_MEMBERS = 10_000
Strategy = Annotated[Literal[STRATEGIES], Field(description="null: the pool's")]  # type: ignore[valid-type]
MemberIds = Annotated[list[Id], Field(max_length=MOST_MEMBERS, description="exactly its members")]


class NewGroupBody(Body):
    """A group to be made."""

    name: GroupName
    strategy: Strategy | None = None
    workers: MemberIds = Field([])


class GroupBody(Body):
    """What is to be changed; what is not named stays."""

    name: GroupName | None = Field(None, description="a new name, which members and waiting jobs follow")
    strategy: Strategy | None = None
    workers: MemberIds = Field([])
