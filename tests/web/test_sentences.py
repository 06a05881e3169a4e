"""Pages and API say what they say when every sentence in the ledger is other words."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.ledger import waiting
from app.pool.model import Health, WaitingFor, WaitingReason
from tests.kit.seed import Seed
from tests.kit.sentences import OTHER_WORDS, exchange
from tests.kit.web import HTML, Web, signed_in


@pytest.fixture
def seed(web: Web, database_url: str, tmp_path: Path) -> Seed:
    exchange(database_url)
    return Seed(web.ledger, web.services.redis, web.services.keys, tmp_path / "output", database_url)


def test_pages_and_answers_show_other_words_beside_the_same_states(web: Web, seed: Seed) -> None:
    well, ill = seed.worker("well-01"), seed.worker("ill-02")
    runs = seed.run(seed.job("runs"), well)
    broken = seed.fail(seed.run(seed.job("broken", max_failures=1), well), well, "bad frame")
    seed.beat(well, running=(runs,))
    seed.health(ill, Health.DOWN, "no heartbeat for 48 s")
    investigation = seed.investigate(ill, "host silent", "nothing answers on its address")
    seed.tell("root", "a job was moved", runs)
    reasons = {kind: seed.job(kind.value, tags=(f"tag-{kind.value}",)) for kind in (WaitingFor.SLOT, WaitingFor.WORKER)}
    classes = {found.requirement.tags: name for name, found in waiting.classes(seed.ledger, {}).items()}
    waiting.note_classes(
        seed.ledger,
        {
            classes[job.spec.requirement.tags]: WaitingReason(kind, "as dispatch saw it")
            for kind, job in reasons.items()
        },
    )

    for kind, job in reasons.items():
        answered = web.get(f"/jobs/{job.id}")
        assert (answered["status"], answered["waiting"]["for"], answered["waiting"]["why"]) == (
            "waiting",
            kind.value,
            OTHER_WORDS,
        )
        assert web.get(f"/jobs/{job.id}/why")["filters"][0]["words"] == f"lack tag-{kind.value}"
    assert (web.get(f"/jobs/{broken.id}")["state"], web.get(f"/jobs/{broken.id}")["error"]) == ("failed", OTHER_WORDS)
    assert web.get(f"/admin/workers/{ill.id}")["status"] == "down"

    browser = signed_in(web, web.admin)
    pages = {
        "/": ("well-01", "down"),
        f"/workers/{ill.id}": ("down", OTHER_WORDS),
        f"/workers/{well.id}": ("runs",),
        "/jobs": ("waiting", "failed", "running"),
        f"/jobs/{broken.id}": ("failed", OTHER_WORDS),
        f"/jobs/{reasons[WaitingFor.SLOT].id}?why=1": ("waiting", OTHER_WORDS, "lack tag-slot"),
        f"/investigations/{investigation}": ("host silent",),
        "/notifications": (OTHER_WORDS,),
    }
    for path, said in pages.items():
        answered = browser.get(path, headers=HTML)
        assert answered.status_code == 200, path
        text = answered.text.lower()  # a sentence of its own begins with a capital letter
        assert [words for words in said if words not in text] == [], path
