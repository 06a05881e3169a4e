"""The log over HTTP: from any place, of one attempt or of all, with what is missing, searched, and as text."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from app.ledger import logs
from app.pool.model import Job
from tests.kit.actors import found, join, running, tell
from tests.kit.logs import write_log, write_many
from tests.kit.web import Web, signed_in

E = "\x1b"


@pytest.fixture
def job(web: Web) -> Job:
    """A job that runs."""
    return running(web.ledger, join(web.ledger))


@pytest.fixture
def twice(web: Web) -> Job:
    """A job in its second attempt; of both there are three lines."""
    worker = join(web.ledger)
    first = running(web.ledger, worker)
    write_log(web.ledger, first, ["one", "two", "three"], closed=True)
    tell(web.ledger, worker, first, 1, "end", end="stopped")
    second = running(web.ledger, worker, found(web.ledger, first))
    write_log(web.ledger, second, ["four", ("e", "five"), ("m", "six")])
    return second


def part(web: Web, job: Job, **query: Any) -> Any:
    return web.get(f"/jobs/{job.id}/log?" + "&".join(f"{name}={value}" for name, value in query.items()))


def lines(part: Any) -> list[str]:
    return [item["line"] if "line" in item else item["missing"] for item in part["items"]]


def looked(web: Web, job: Job, **query: Any) -> Iterator[Any]:
    """The items of each part until the last."""
    after: str | None = "0"
    while after is not None:
        answered = part(web, job, after=after, **query)
        yield answered["items"]
        after = answered["next"]


def text(web: Web, job: Job, query: str = "") -> str:
    answered = web.ask("GET", f"/jobs/{job.id}/log{query}", web.admin, headers={"Accept": "text/plain"})
    assert (answered.status_code, answered.mimetype) == (200, "text/plain")
    return answered.text


def test_a_line_has_its_time_and_its_stream(web: Web, job: Job) -> None:
    write_log(web.ledger, job, ["out", ("e", "err"), ("m", "own"), ("O", "10 %")])
    items = part(web, job)["items"]
    assert [(item["number"], item["stream"], item["redraw"]) for item in items] == [
        (1, "stdout", False),
        (2, "stderr", False),
        (3, "muster", False),
        (4, "stdout", True),
    ]
    assert items[0]["at"] == "2025-11-30T10:53:21Z"


def test_a_log_is_read_part_by_part_and_says_when_nothing_more_comes(web: Web, job: Job) -> None:
    write_log(web.ledger, job, ["a", "b", "c"])
    first = part(web, job, limit=2)
    assert (lines(first), first["next"], first["closed"]) == (["a", "b"], "2", False)
    second = part(web, job, after=first["next"])
    assert (lines(second), second["next"], second["closed"]) == (["c"], None, False)
    write_log(web.ledger, job, closed=True)
    assert part(web, job, after=3) == {"items": [], "next": None, "closed": True}
    assert lines(part(web, job, tail=2)) == ["b", "c"]


def test_the_log_of_an_agent_that_is_gone_is_closed_after_a_minute(
    web: Web, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(web.ledger, job, ["a"])
    assert job.worker
    worker = join(web.ledger, "other")
    tell(web.ledger, worker, job, 1, "end", end="succeeded")  # of another: refused
    assert not part(web, job)["closed"]
    with psycopg.connect(web.services.settings.database_url) as connection:
        connection.execute("UPDATE attempts SET ended_at = now() - interval '59 s'")
        connection.commit()
        assert not part(web, job)["closed"]
        connection.execute("UPDATE attempts SET ended_at = now() - interval '61 s'")
        connection.commit()
    assert part(web, job)["closed"]


def test_what_is_missing_is_told_where_it_is_missing(web: Web, job: Job) -> None:
    write_log(web.ledger, job, ["a"])
    write_log(web.ledger, job, ["z"], lost=5)
    gap = {"lines": 5, "bytes": 50}
    assert lines(part(web, job)) == ["a", gap, "z"]
    assert part(web, job)["items"][1] == {"attempt": 1, "after": 1, "missing": gap}
    assert text(web, job) == "a\n… 5 lines are missing here (50 bytes) …\nz\n"


def test_all_attempts_are_one_log_in_their_order(web: Web, twice: Job) -> None:
    assert lines(part(web, twice)) == ["four", "five", "six"]
    assert lines(part(web, twice, attempt=1)) == ["one", "two", "three"]
    parts = list(looked(web, twice, attempt="all", limit=2))
    assert [len(items) for items in parts] == [2, 2, 2]
    assert [(item["attempt"], item["line"]) for items in parts for item in items] == [
        (1, "one"),
        (1, "two"),
        (1, "three"),
        (2, "four"),
        (2, "five"),
        (2, "six"),
    ]
    assert not part(web, twice, attempt="all")["closed"]
    assert lines(part(web, twice, attempt="all", tail=4)) == ["three", "four", "five", "six"]
    assert text(web, twice, "?attempt=all") == "-- attempt 1\none\ntwo\nthree\n-- attempt 2\nfour\nfive\nsix\n"


def test_words_are_found_as_readers_see_them(web: Web, job: Job) -> None:
    write_log(web.ledger, job, [f"{E}[31mErr{E}[0mor 1", "fine", ("O", "error 50 %"), ("e", "ERROR 2"), "errand"])
    write_log(web.ledger, job, ["no Error"], closed=True)
    found = part(web, job, search="error")
    assert [item["number"] for item in found["items"]] == [1, 4, 6]
    assert (found["next"], found["closed"]) == (None, True)
    first = part(web, job, search="error", limit=1)
    assert [item["number"] for item in part(web, job, search="error", after=first["next"])["items"]] == [4, 6]
    assert part(web, job, search="1764500001")["items"] == []  # its time is no part of a line


def test_a_search_of_a_long_log_goes_on_look_by_look(web: Web, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ledger.logs.search.__defaults__", (0, 100, 1))
    for n in range(4):
        write_log(web.ledger, job, [f"portion {n}", "needle" if n in (1, 3) else "hay"])
    looks = list(looked(web, job, search="needle"))
    assert [[item["number"] for item in items] for items in looks] == [[], [4], [], [8]]


def test_a_search_of_all_attempts_goes_from_one_to_the_next(web: Web, twice: Job) -> None:
    hits = [item for items in looked(web, twice, attempt="all", search="o") for item in items]
    assert [(item["attempt"], item["line"]) for item in hits] == [(1, "one"), (1, "two"), (2, "four")]


def test_text_has_no_escapes_and_of_a_bar_the_last_state(web: Web, job: Job) -> None:
    write_log(
        web.ledger,
        job,
        [
            ("E", "10 %"),
            f"{E}[31mred{E}[0m",
            ("E", "20 %"),
            ("e", "done"),
            ("O", "5 %"),
            ("O", "6 %"),
            "end",
            ("E", "x"),
        ],
    )
    assert text(web, job) == "red\ndone\nend\nx\n"
    assert f"{E}[31mred{E}[0m\n" in text(web, job, "?colours=true")
    assert text(web, job, "?timestamps=true").splitlines()[0] == "2025-11-30T10:53:22.000Z red"


def test_bytes_that_are_no_text_break_neither_json_nor_text_nor_html(web: Web, job: Job) -> None:
    write_log(web.ledger, job, ["nul \0 bell \a", "latin \udce9", "</div><script>x</script>"])
    assert lines(part(web, job)) == ["nul \ufffd bell \a", "latin \ufffd", "</div><script>x</script>"]
    assert text(web, job).splitlines()[:2] == ["nul  bell ", "latin \ufffd"]
    page = signed_in(web, web.admin).get(f"/jobs/{job.id}", headers={"Accept": "text/html"}).text
    assert "&lt;/div&gt;&lt;script&gt;" in page and "<script>x" not in page and "\0" not in page


@pytest.mark.parametrize(
    "query", ["attempt=0", "attempt=some", "after=x", "after=1:2:3", "limit=5001", "search=", "x=1"]
)
def test_what_cannot_be_asked_is_refused_by_name(web: Web, job: Job, query: str) -> None:
    refused = web.ask("GET", f"/jobs/{job.id}/log?{query}", web.admin)
    assert (refused.status_code, query.partition("=")[0] in refused.text) == (422, True)


def test_a_log_is_its_owner_s_and_those_who_see_all(web: Web, job: Job) -> None:
    other = web.token("creator", "bob")
    assert web.ask("GET", f"/jobs/{job.id}/log", other).status_code == 404
    for path in ("log-lines", "log-search?search=x", "log?attempt=all"):
        assert signed_in(web, other).get(f"/ui/jobs/{job.id}/{path}").status_code == 404
        assert web.app.test_client().get(f"/ui/jobs/{job.id}/{path}").status_code in (303, 401)


def test_a_million_lines_are_sent_a_portion_at_a_time(web: Web, job: Job) -> None:
    write_many(web.ledger, job, 200_000)
    client = web.app.test_client()
    headers = {"Authorization": f"Bearer {web.admin}", "Accept": "text/plain"}
    tracemalloc.start()
    with client.get(f"/jobs/{job.id}/log", headers=headers) as answered:
        count = sum(piece.count(b"\n") for piece in answered.iter_encoded())
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200_000
    assert most < 12_000_000  # its text has 5 MB, as Python's lines ten times that
    assert len(lines(part(web, job, after=199_000))) == 1000


def fragment(web: Web, job: Job, query: str) -> tuple[int, str]:
    answered = signed_in(web, web.admin).get(f"/ui/jobs/{job.id}/log-lines?{query}")
    return answered.status_code, answered.text


def test_the_page_polls_for_what_is_new_and_stops_at_the_end(web: Web, job: Job) -> None:
    write_log(web.ledger, job, ["a"])
    page = fragment(web, job, "attempt=1")[1]
    assert "after=1:1&" not in page and 'after=1:1"' in page and "every 1s" in page
    assert fragment(web, job, "attempt=1&after=1:1") == (204, "")
    write_log(web.ledger, job, ["b", ("O", "10 %")])
    status, more = fragment(web, job, "attempt=1&after=1:1")
    assert (status, ">a<" in more, ">b<" in more, "every 1s" in more) == (200, False, True, True)
    assert '<div id="log-bar-o" hx-swap-oob="true"><div class="row" id="line-1-3">' in more
    write_log(web.ledger, job, ["c"], closed=True)
    last = fragment(web, job, "attempt=1&after=1:3")[1]
    assert '<div id="log-bar-o" hx-swap-oob="true"></div>' in last
    assert "every 1s" not in last and "End of the log" in last


def test_a_reader_who_follows_and_fell_behind_is_shown_the_end(web: Web, job: Job) -> None:
    write_many(web.ledger, job, 5_000, closed=False)
    behind = signed_in(web, web.admin).get(f"/ui/jobs/{job.id}/log-lines?attempt=1&after=1:3&follow=1")
    assert behind.headers["HX-Retarget"] == "#log-box"
    assert "line 5000 of the log" in behind.text and "line 4 of the log" not in behind.text
    reading = fragment(web, job, "attempt=1&after=1:3")[1]
    assert "line 4 of the log" in reading and "line 5000 of the log" not in reading and "every 1s" not in reading


def test_a_reader_who_follows_goes_on_with_the_next_attempt(web: Web, twice: Job) -> None:
    client = signed_in(web, web.admin)
    next_one = client.get(f"/ui/jobs/{twice.id}/log-lines?attempt=1&newest=1&after=1:3&follow=1")
    assert next_one.headers["HX-Retarget"] == "#log"
    assert "Log of attempt 2" in next_one.text and ">four<" in next_one.text
    named = client.get(f"/ui/jobs/{twice.id}/log-lines?attempt=1&after=1:3&follow=1")
    assert "HX-Retarget" not in named.headers and "The job went on with" in named.text


def test_the_page_shows_the_newest_attempt_and_a_way_to_all(web: Web, twice: Job) -> None:
    client = signed_in(web, web.admin)
    page = client.get(f"/jobs/{twice.id}", headers={"Accept": "text/html"}).text
    assert "Log of attempt 2" in page and ">four<" in page and ">one<" not in page
    assert f'href="/jobs/{twice.id}?attempt=all#log"' in page
    whole = client.get(f"/jobs/{twice.id}?attempt=all", headers={"Accept": "text/html"}).text
    assert "Log of all attempts" in whole and whole.index(">one<") < whole.index(">four<")
    refused = client.get(f"/jobs/{twice.id}?attempt=many", headers={"Accept": "text/html"})
    assert refused.status_code == 422


def test_parts_before_and_around_a_line_are_shown_without_a_script_too(web: Web, job: Job) -> None:
    write_many(web.ledger, job, 3_000)
    client = signed_in(web, web.admin)

    def page(query: str) -> str:
        return client.get(f"/jobs/{job.id}?{query}", headers={"Accept": "text/html"}).text

    assert "line 1999 of the log" in page("before=1:2000") and "line 2000 of the log" not in page("before=1:2000")
    around = page("line=1:1500&search=1500")
    assert 'class="row hit" id="line-1-1500"' in around and "line 1501 of the log" in around
    assert "line=1:1500&amp;search=1500#line-1-1500" in around
    assert "line 601 of the log" in page("after=1:600")


def test_before_a_gap_stands_the_gap_whole(web: Web, job: Job) -> None:
    write_log(web.ledger, job, ["a", "b"])
    write_log(web.ledger, job, ["z"], lost=1000)
    before = logs.before(web.ledger, job.id, 1, 1003, limit=10)
    assert [getattr(entry, "lines", getattr(entry, "text", None)) for entry in before.entries] == [1000]
    assert (before.more, logs.place(before.entries[0])) == (True, 3)
    assert [entry.text for entry in logs.before(web.ledger, job.id, 1, 3, 10).entries] == ["a", "b"]  # type: ignore[union-attr]
