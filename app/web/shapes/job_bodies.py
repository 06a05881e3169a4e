"""What POST /jobs takes: the specification's fields, with ranges and help as app/pool/model.py has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field

from app.pool.about import About, described_fields
from app.pool.model import LIMITS, Job, JobSpec, Requirement
from app.web.http.schemas import WHOLE, Body, Id, Name, Tag, When, WorkflowName, at_most
from app.web.shapes.job_fields import FIELDS, HINTS, NOT_SUBMITTED, api_name, facts_of

BATCH_JOBS = 10_000
SUBMITTED = tuple(field for field in FIELDS if field.name not in NOT_SUBMITTED)
ABOUT = {**described_fields(Requirement), **described_fields(JobSpec)}
# Fields whose values need more than a range; by their names in the API.
SPECIAL: dict[str, tuple[Any, Any]] = {
    "workflow": (WorkflowName, ...),
    "params": (
        Annotated[dict[str, Any], at_most(LIMITS.params_bytes, "params")],
        Field({}, description=f"the workflow's parameters; at most {LIMITS.params_bytes // 1024} KiB as JSON"),
    ),
    "name": (Name, Field("", description="for people")),
    "requires": (list[Tag], Field([], max_length=LIMITS.tags, description="tags that a worker must have")),
    "prefers": (
        dict[Tag, Annotated[float, Field(ge=0, le=1)]],
        Field(
            {},
            max_length=LIMITS.tags,
            description="tags that a worker should have, and how much that weighs",
            json_schema_extra={"additionalProperties": False},  # whose names are no tags
        ),
    ),
    "group": (Name | None, Field(None, description="the only group of workers that may run it")),
    "only_workers": (list[Id], Field([], max_length=64)),
    "exclude_workers": (list[Id], Field([], max_length=64)),
    "not_before": (When | None, None),
    "resume": (
        Annotated[Any, at_most(LIMITS.checkpoint_bytes, "resume")],
        Field(None, description=f"a state to begin from; at most {LIMITS.checkpoint_bytes // 1024} KiB as JSON"),
    ),
    "owner": (Annotated[Name, Field(min_length=1)] | None, Field(None, description="only admins may name another")),
}


def _fields() -> dict[str, tuple[Any, Any]]:
    """The body's fields by name."""
    plain = {
        field.name: _plain(HINTS[field.name], field.default, ABOUT[field.name])
        for field in SUBMITTED
        if api_name(field.name) not in SPECIAL
    }
    # Idempotency keys stand for the body's text, in this order of its fields.
    first, last = ("workflow", "params", "name"), "owner"
    names = [api_name(field.name) for field in SUBMITTED]
    ordered = [*first, *(name for name in names if name not in (*first, last)), last]
    return {name: SPECIAL[name] if name in SPECIAL else plain[name] for name in ordered}


def _plain(hint: Any, default: Any, about: About) -> tuple[Any, Any]:
    """A number in its range, or a box."""
    kind: Any = bool
    if about.low is not None:
        kind = Annotated[int, Field(ge=int(about.low), le=int(about.high or 0)), WHOLE]
    optional = type(None) in get_args(hint)
    return (kind | None if optional else kind), Field(default, description=about.help or None)


if TYPE_CHECKING:

    class JobBody(Body):
        """A job to be submitted; made from the specification's fields."""

else:
    from pydantic import create_model

    JobBody = create_model("JobBody", __base__=Body, __module__=__name__, __doc__="A job to be submitted.", **_fields())


class BatchBody(Body):
    """Jobs to be submitted together."""

    jobs: list[JobBody] = Field(
        min_length=1, max_length=BATCH_JOBS, description=f"all of them are kept or none; at most {BATCH_JOBS}"
    )


def spec_of(body: JobBody) -> JobSpec:
    """The specification that a body asks for; without an owner it is whoever sends it."""
    demands = {field.name for field in SUBMITTED if field.name in Requirement.__dataclass_fields__}
    given = {field.name: getattr(body, api_name(field.name)) for field in SUBMITTED}
    requirement = Requirement(**{name: _frozen(given[name]) for name in demands})
    rest = {name: value for name, value in given.items() if name not in demands}
    return JobSpec(requirement=requirement, **{**rest, "owner": rest["owner"] or ""})


def body_of(job: Job) -> dict[str, Any]:
    """The submission that this job came from, as POST /jobs takes it; the owner is whoever sends it."""
    facts = {name: value for name, value in facts_of(job.spec).items() if name not in {"owner", *NOT_SUBMITTED}}
    # Before the first attempt the ledger's time is the submitter's wish; after it, the pool's back-off.
    return {**facts, "not_before": None if job.attempt > 1 else job.not_before}


def _frozen(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value
