"""Types of the fields that people send, with their ranges and sizes, and the paths, queries and headers of the API.

Unknown fields are refused, so that a misspelt one is noticed.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from app.pool.model import ID_LENGTH, LIMITS, LONGEST_S, TAG, JobState
from app.pool.status import WorkerStatus

ID_PATTERN = f"[0-9a-z]{{{ID_LENGTH}}}"
LOG_PLACE = "([0-9]{1,9}:)?[0-9]{1,15}"  # an attempt where the log is that of several, and a line
LISTED = 50
LISTED_MOST = 200


def _no_controls(text: str) -> str:
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ValueError("may not hold control characters")
    return text


def _names_something(word: str) -> str:
    if word.removeprefix("!")[:1] in ("", "!"):
        raise ValueError('needs a word, after a "!" where it is to be left out')
    return word


def _is_tag(text: str) -> str:
    if not re.fullmatch(TAG, text):
        most = LIMITS.tag_characters
        raise ValueError(
            f"must be at most {most} characters: a letter or a digit, then letters, digits and . _ : + - only"
        )
    return text


def _is_status(text: str) -> str:
    if text.removeprefix("!") not in [*WorkerStatus]:
        raise ValueError(f"must be one of {', '.join(WorkerStatus)}; with ! before it all others are found")
    return text


def at_most(limit: int, name: str) -> AfterValidator:
    """A validator that refuses a value whose JSON has more than `limit` bytes; the message names the field."""

    def check(value: Any) -> Any:
        size = len(json.dumps(value, ensure_ascii=False).encode())
        if size > limit:
            raise ValueError(f"{name} is {size} bytes as JSON; the limit is {limit} ({limit // 1024} KiB)")
        return value

    return AfterValidator(check)


def _moment(value: object) -> object:
    # Pydantic takes a number for a time too; the document calls it a string, so it must be one.
    if not isinstance(value, str | datetime):
        raise ValueError("must be a time by RFC 3339, such as 2030-01-31T18:00:00Z")
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError("must be a time by RFC 3339, such as 2030-01-31T18:00:00Z") from error
    if moment.tzinfo is None:
        raise ValueError("must name its offset from UTC, such as 2030-01-31T18:00:00Z")
    try:
        return moment.astimezone(timezone.utc)  # PostgreSQL takes no offset of 16 hours or more
    except OverflowError as error:
        raise ValueError("must be a time of the years 1 to 9999 in UTC") from error


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value  # 3.0 is a whole number in JSON


# The pattern is for the document; the validator says in words what is wrong.
NO_CONTROLS = Field(json_schema_extra={"pattern": r"^[^\u0000-\u001f\u007f]*$"})
# The length comes first: after a validator pydantic would call characters items.
Name = Annotated[str, Field(max_length=LIMITS.text_characters), AfterValidator(_no_controls), NO_CONTROLS]
WHOLE = BeforeValidator(_whole)
Seconds = Annotated[int, Field(ge=1, le=LONGEST_S), WHOLE]
WorkflowName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Tag = Annotated[
    str,
    AfterValidator(_is_tag),
    Field(min_length=1, max_length=LIMITS.tag_characters, json_schema_extra={"pattern": TAG}),
]
GroupName = Tag
FilterWord = Annotated[
    str,
    AfterValidator(_no_controls),
    AfterValidator(_names_something),
    Field(
        max_length=LIMITS.text_characters,
        json_schema_extra={"pattern": r"^!?[^!\u0000-\u001f\u007f][^\u0000-\u001f\u007f]*$"},
    ),
]
StatusWord = Annotated[
    str,
    AfterValidator(_is_status),
    Field(json_schema_extra={"pattern": f"^!?({'|'.join(WorkerStatus)})$"}),
]
Id = Annotated[str, StringConstraints(pattern=f"^{ID_PATTERN}$")]
When = Annotated[datetime, Field(strict=False), BeforeValidator(_moment)]


class Body(BaseModel):
    """A request's body: nothing unknown, and no text where a number belongs."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """A request's query: nothing unknown."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(Query):
    """Which page of a list."""

    cursor: str | None = Field(default=None, max_length=200, description="`next` of the page before")
    limit: int = Field(default=LISTED, ge=1, le=LISTED_MOST)


class TokenBody(Body):
    """A token to be made."""

    kind: Annotated[str, StringConstraints(pattern="^(admin|creator|read|metrics|join)$")]
    owner: Annotated[Name, Field(min_length=1)]
    uses: Annotated[int, Field(ge=1, le=1_000_000), WHOLE] | None = Field(
        None, description="how many workers may join with it"
    )
    expires_at: When | None = None


class JobPath(BaseModel):
    """A job's path."""

    job: Id


class WorkerPath(BaseModel):
    """A worker's path."""

    worker: Id


class TokenPath(BaseModel):
    """A token's path."""

    token: Id


class JoinPath(BaseModel):
    """A join's path."""

    join: Id


class OutputPath(JobPath):
    """An output's path."""

    name: str


class SubmitQuery(Query):
    """How strictly a submission is checked."""

    allow_unknown_workflow: bool = Field(False, description="take jobs of workflows that no worker has ever offered")


class JobsQuery(PageQuery):
    """Which jobs, newest first."""

    state: list[JobState] = Field([], description="any of these")
    workflow: WorkflowName | None = None
    owner: Name | None = Field(None, description="others' are seen by admins and readers only")


class LogQuery(Query):
    """Which lines of a log, as JSON or, with `Accept: text/plain`, all beyond `after` as text."""

    attempt: Annotated[int, Field(ge=1, le=2**31 - 1)] | Literal["all"] | None = Field(
        None, description="the newest unless named; `all`: those of every attempt, one after the other"
    )
    after: str = Field(
        "0",
        pattern=f"^{LOG_PLACE}$",
        description="`next` of the part before, or the number of the last line already seen, of all attempts "
        "`attempt:number`",
    )
    limit: int = Field(1000, ge=1, le=5000)
    tail: int | None = Field(None, ge=0, le=5000, description="only the last lines, so many")
    search: str | None = Field(
        None,
        min_length=1,
        max_length=LIMITS.text_characters,
        description="only lines that hold this, in letters of either case; a part may be empty and have a `next`",
    )
    timestamps: bool = Field(False, description="of text: begin each line with its time")
    colours: bool = Field(False, description="of text: leave terminals' escapes in it")


class FilterWords(BaseModel):
    """The fleet's filter. A word that begins with "!" leaves out; of the plain ones of one field any may hold."""

    status: Annotated[list[StatusWord], Field(max_length=LIMITS.tags)] = []
    tag: Annotated[list[FilterWord], Field(max_length=LIMITS.tags)] = []
    host: Annotated[list[FilterWord], Field(max_length=LIMITS.tags, description="a part of its name or host's")] = []
    group: Annotated[list[FilterWord], Field(max_length=LIMITS.tags)] = []
    investigation: Annotated[list[Annotated[str, StringConstraints(pattern="^!?open$")]], Field(max_length=2)] = []


class WorkersQuery(FilterWords, PageQuery):
    """Which workers, by name."""


class MatchHeader(BaseModel):
    """Which version of it the caller has seen."""

    if_match: str | None = Field(None, alias="If-Match", max_length=1000, description="the ETag; stale: 412")


class IdempotencyHeader(BaseModel):
    """A key that makes repeating a submission harmless."""

    idempotency_key: str | None = Field(
        None,
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="the same key and body give the first answer again, for a day",
    )

    @classmethod
    @cache
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """The schema, made once: flask-openapi3 asks for it with each request."""
        return super().model_json_schema(*args, **options)
