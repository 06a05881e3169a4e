"""PostgreSQL goes away and comes back under a ledger that is asked all the while."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.ledger import groups
from app.ledger.db import Ledger
from app.pool.errors import Unavailable
from tests.kit.services import Services, eventually

AWAY_S = 8.0  # long enough for pauses that double from a second to be longer than BACK_S
BACK_S = 3.5


@pytest.mark.timeout(60)
def test_a_ledger_answers_soon_after_postgresql_does_however_long_that_was_away(tmp_path: Path) -> None:
    services = Services(tmp_path)
    ledger = Ledger.connect(services.new_database())
    try:
        assert _answers(ledger)
        services.end("postgresql")
        end = time.monotonic() + AWAY_S
        while time.monotonic() < end:
            assert not _answers(ledger)
        services.again("postgresql")
        began = time.monotonic()
        eventually(lambda: _answers(ledger), 20)
        assert time.monotonic() - began < BACK_S
    finally:
        ledger.close()
        services.close()


def _answers(ledger: Ledger) -> bool:
    try:
        return groups.names(ledger) == []
    except Unavailable:
        return False
