"""Outputs over HTTP: those of the accepted attempt, and nothing else of any disk."""

from __future__ import annotations

import html
import os
import re
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from agent.files.outputs import outputs
from app.pool.model import FileFact, JobId
from tests.kit.actors import join, running, tell
from tests.kit.web import HTML, Web, signed_in

SHA256 = "0" * 64


@pytest.fixture
def job(web: Web) -> JobId:
    """A job whose first attempt was accepted, with three files in its folder."""
    worker = join(web.ledger)
    job = running(web.ledger, worker)
    folder = web.services.settings.output_folder / job.id / "a1"
    (folder / "parts").mkdir(parents=True)
    (folder / "clip.mp4").write_bytes(b"0123456789")
    (folder / "parts" / "log.html").write_text("<script>")
    (folder / "leak").symlink_to(web.services.settings.home / "secret")
    (web.services.settings.home / "secret").write_text("hidden words")
    names = ("clip.mp4", "parts/log.html", "leak", "../../../secret")
    files = tuple(FileFact(name, 10, SHA256) for name in names)
    tell(web.ledger, worker, job, 1, "end", end="succeeded", files=files)
    return job.id


def test_outputs_are_listed_with_size_type_and_path(web: Web, job: JobId) -> None:
    clip = web.get(f"/jobs/{job}/outputs")["items"][0]
    assert (clip["name"], clip["size"], clip["sha256"]) == ("clip.mp4", 10, SHA256)
    assert clip["media_type"] == "video/mp4"
    assert Path(clip["path"]).read_bytes() == b"0123456789"


def test_an_output_is_fetched_whole_or_in_ranges(web: Web, job: JobId) -> None:
    whole = web.ask("GET", f"/jobs/{job}/outputs/clip.mp4", web.admin)
    part = web.ask("GET", f"/jobs/{job}/outputs/clip.mp4", web.admin, headers={"Range": "bytes=2-4"})
    known = web.ask("GET", f"/jobs/{job}/outputs/clip.mp4", web.admin, headers={"If-None-Match": f'"{SHA256}"'})
    beyond = web.ask("GET", f"/jobs/{job}/outputs/clip.mp4", web.admin, headers={"Range": "bytes=99-"})
    assert (whole.status_code, whole.data) == (200, b"0123456789")
    assert (part.status_code, part.data) == (206, b"234")
    assert (known.status_code, beyond.status_code) == (304, 416)


def test_what_could_carry_a_script_is_downloaded_not_shown(web: Web, job: JobId) -> None:
    answered = web.ask("GET", f"/jobs/{job}/outputs/parts/log.html", web.admin)
    assert answered.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize("name", ["leak", "../../../secret", "..%2f..%2f..%2fsecret", "clip"])
def test_no_name_leads_outside_of_the_job_s_folder(web: Web, job: JobId, name: str) -> None:
    answered = web.ask("GET", f"/jobs/{job}/outputs/{name}", web.admin)
    assert answered.status_code == 404
    assert b"hidden words" not in answered.data


def test_a_job_without_an_accepted_attempt_has_no_outputs(web: Web) -> None:
    job = web.submit()["id"]
    (web.services.settings.output_folder / job / "a1").mkdir(parents=True)
    (web.services.settings.output_folder / job / "a1" / "half.mp4").touch()
    assert web.get(f"/jobs/{job}/outputs")["items"] == []
    assert web.ask("GET", f"/jobs/{job}/outputs/half.mp4", web.admin).status_code == 404


ODD_NAMES = (
    b"\xe9t\xe9.txt",
    b"line\nbreak.mp4",
    b"tab\tescape\x1bdelete\x7f",
    b"half\xed\xa0\x80.bin",
    b"'single' \"double\" `back`",
    b"100%.txt",
    b"%41%2e%2e%2Fx",
    b"-rf",
    b" blank around ",
    b".hidden",
    b"...",
    b"back\\slash\\..\\x",
    b"a:b;c?d#e&f=g+h@i!j$k,l*m(n)[o]{p}|q~r^s",
    b"data:,x",
    b"<b>bold</b>&amp;.svg",
    "\U0001f3ac\u202e film e\u0301 \u00e9.mp4".encode(),
    b"x" * 251 + b".exr",
    "\u00fc".encode() * 127,
    b"\xff" * 255,
    b"deep/" * 300 + b"end.txt",
    b"a/b c/\xe4/%2e/.git/e",
    "\u6df1".encode() * 85 + b"/" + "\u6df1".encode() * 85 + b"/" + b"\x07" * 200 + b"/x.png",
)


def test_every_output_that_is_listed_is_fetched_by_its_link_and_over_the_api(web: Web) -> None:
    worker = join(web.ledger)
    job = running(web.ledger, worker)
    folder = web.services.settings.output_folder / job.id / "a1"
    for name in ODD_NAMES:
        file = folder / os.fsdecode(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name)
    said: list[str] = []
    files = outputs(folder, folder / ".checkpoints", lambda words: None, said.append)
    tell(web.ledger, worker, job, 1, "end", end="succeeded", files=files)
    listed = web.get(f"/jobs/{job.id}/outputs")["items"]
    assert {each["sha256"] for each in listed} == {sha256(name).hexdigest() for name in ODD_NAMES}
    visitor = signed_in(web, web.admin)
    page = visitor.get(f"/jobs/{job.id}", headers=HTML).text
    links = {html.unescape(link) for link in re.findall(r'href="([^"]*/outputs/[^"]*)" download', page)}
    addresses = {f"/jobs/{job.id}/outputs/{quote(each['name'])}" for each in listed}
    assert len(links) == len(addresses) == len(ODD_NAMES)
    for address in links | addresses:
        assert urlsplit(address).path == address and len(address) < 4000
    assert {visitor.get(link, buffered=True).data for link in links} == set(ODD_NAMES)
    assert {web.ask("GET", address, web.admin).data for address in addresses} == set(ODD_NAMES)
