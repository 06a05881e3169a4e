"""Two minutes of chaos; `make chaos` has more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.__main__ import chaos
from tests.kit.services import Services

SECONDS = 90.0  # with start, settling and the checks two minutes


@pytest.mark.timeout(400)
def test_whatever_happens_to_agents_no_job_is_lost_or_done_twice(tmp_path: Path, services: Services) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"make chaos SEED={seed} SECONDS={SECONDS:g}")  # shown when it fails
    problems = chaos(tmp_path, services, seed, SECONDS, print)
    assert not problems, "\n\n".join(problems)
