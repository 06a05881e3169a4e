"""The OpenAPI document is made from the code, and schemathesis finds nothing wrong with it."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from app.ledger.leader import LEADER_LOCK
from app.web.app import GROUPS
from tests.kit.web import Web

EXAMPLES = 6  # good and as many bad requests an operation
WITHOUT_INPUT = ("/healthz", "/readyz")  # no request to them can be bad
# What these name must be there, or must not have been used; no document can say so.
NAMES_WHAT_IS_THERE = (
    *("group", "groups", "workers", "workflows", "move_to", "until", "cursor", "Idempotency-Key", "If-Match"),
)
CHECKED_BEYOND_SHAPE = ("/agent/", "/admin/workers/actions")  # an offer's ranges; what one action needs and another not


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


@pytest.mark.timeout(120)
def test_every_answer_is_as_documented(web: Web, database_url: str) -> None:
    with psycopg.connect(database_url) as leader:
        leader.execute("SELECT pg_advisory_lock(%s)", [LEADER_LOCK])
        document = schemathesis.openapi.from_wsgi("/openapi/openapi.json", web.app)
        document.config.generation.update(allow_x00=False)  # the one text that PostgreSQL cannot hold
        operations = [result.ok() for result in document.get_all_operations() if isinstance(result, Ok)]
        assert len({operation.path for operation in operations}) >= len({path for g in GROUPS for path in g.paths})
        for operation in operations:
            _try(web, operation, GenerationMode.POSITIVE)
            if operation.path not in WITHOUT_INPUT:
                _try(web, operation, GenerationMode.NEGATIVE)


def _try(web: Web, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode) -> None:
    agents = operation.path.startswith("/agent/")
    token = web.token("join", "root") if agents else web.admin
    beyond = operation.path.startswith(CHECKED_BEYOND_SHAPE)
    names = ["positive_data_acceptance"] if beyond else []
    if any(parameter.definition["schema"].get("type") == "array" for parameter in operation.query):
        names.append("negative_data_rejection")  # one word is a list of one in a URL; schemathesis takes it for wrong
    excluded: list[Any] = [schemathesis.checks.CHECKS.get_one(name) for name in names]

    allows_unknown = any(parameter.name == "allow_unknown_workflow" for parameter in operation.query)

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            together = _list(case.body.get("jobs")) if isinstance(case.body, MutableMapping) else []
            for fields in (case.query, case.body, case.headers, *together):
                if isinstance(fields, MutableMapping):
                    for name in NAMES_WHAT_IS_THERE:
                        fields.pop(name, None)
        if allows_unknown and mode is GenerationMode.POSITIVE:
            case.query = {**case.query, "allow_unknown_workflow": "true"}
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, excluded_checks=excluded)

    ask()
