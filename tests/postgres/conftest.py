"""A private ledger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.ledger.db import Ledger


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    ledger = Ledger.connect(database_url)
    yield ledger
    ledger.close()
