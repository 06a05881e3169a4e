"""Fixtures that every test may ask for. Each test has empty databases to itself."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import pytest

from app.ledger.db import Ledger
from tests.kit.services import Services


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The servers of this test process."""
    services = Services(tmp_path_factory.mktemp("services"))
    yield services
    services.close()


@pytest.fixture
def redis_server(services: Services) -> str:
    """An empty server's URL without a database; Valkey, and in tests/redis Debian's Redis too."""
    return services.redis("valkey")


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The pool's database, empty."""
    return f"{redis_server}/1"


@pytest.fixture
def rq_url(redis_server: str) -> str:
    """RQ's database, empty."""
    return f"{redis_server}/0"


@pytest.fixture
def database_url(services: Services) -> Iterator[str]:
    """A ledger of this test's own: migrated and empty."""
    yield services.new_database()
    services.drop_database()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true a skipped test is a failure: there everything can be installed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
    return report


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each named statement has run."""
    ran: Counter[str] = Counter()
    run, many = Ledger._run, Ledger._many

    def counted(ledger: Ledger, query: str, *rest: Any) -> Any:
        ran[query] += 1
        return run(ledger, query, *rest)

    def counted_many(ledger: Ledger, query: str, each: Sequence[dict[str, Any]]) -> None:
        ran[query] += len(each)
        many(ledger, query, each)

    monkeypatch.setattr(Ledger, "_run", counted)
    monkeypatch.setattr(Ledger, "_many", counted_many)
    return ran
