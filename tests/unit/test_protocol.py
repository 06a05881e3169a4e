"""What crosses Redis reads back as it was, and strange input is refused, not half-read."""

import json

import pytest

from app.pool.agent_http import Offer
from app.pool.codec import from_json, to_json
from app.pool.model import FileFact, Gpu, JobId, Parameter, WorkerId, Workflow
from app.pool.protocol import AttemptRef, Beat, GpuFigures, Lease, LeaseState, Memory, Order, Report, ResumePoint

BEAT = Beat(
    WorkerId("w"),
    3,
    7,
    15_000,
    35_000,
    "boot",
    slots=2,
    free_slots=1,
    attempts=(AttemptRef(JobId("j"), 2, 0),),
    gpus=(GpuFigures("GPU-1", 0, utilisation=0.5, memory=Memory(ours=10, free=20)),),
)
MESSAGES = [
    BEAT,
    Lease(attempt=1, state=LeaseState.CLAIMED, nonce="n", gpus=("GPU-1",), vram_mb=10),
    Report("checkpoint", WorkerId("w"), 1, JobId("j"), 1, number=4, state={"a": [1]}, files=(FileFact("f", 1, "0"),)),
    Order(JobId("j"), 2, WorkerId("w"), 1, "t", {"p": 1}, resume=ResumePoint(1, 1, {"done": 3})),
    Offer("m", "b", "h", "n", 1, "1", 1, gpus=(Gpu("u", 0, "X", 9),), workflows=(Workflow("t", "python"),)),
    Workflow("t", "command", argv=("a", "{b}"), parameters=(Parameter("b", "choice", choices=("x",), min=1.0),)),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_reads_back_as_it_was(message: object) -> None:
    assert from_json(type(message), to_json(message)) == message


def test_an_unknown_field_is_ignored() -> None:
    newer = json.loads(to_json(BEAT)) | {"from_a_newer_agent": 1}

    assert from_json(Beat, json.dumps(newer)) == BEAT


@pytest.mark.parametrize(
    ("field", "value"),
    [("seq", "seven"), ("seq", True), ("attempts", {}), ("attempts", [1]), ("boot_id", None), ("gpus", [{"index": 0}])],
)
def test_a_field_of_the_wrong_shape_is_refused(field: str, value: object) -> None:
    strange = json.loads(to_json(BEAT)) | {field: value}

    with pytest.raises(ValueError):
        from_json(Beat, json.dumps(strange))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "-0.5", "1.5"])
def test_a_share_that_is_none_is_refused(number: str) -> None:
    of_cpu = to_json(BEAT).replace('"cpu":null', f'"cpu":{number}')
    of_gpu = to_json(BEAT).replace('"utilisation":0.5', f'"utilisation":{number}')

    for text in (of_cpu, of_gpu):
        assert text != to_json(BEAT)
        with pytest.raises(ValueError):
            from_json(Beat, text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slots", -1),
        ("ttl_ms", 10**400),
        ("tags", ["fast", "a\x00"]),
        ("tags", ["fast\n"]),
        ("tags", [""]),
        ("gpu_reason", "\x00"),
        ("boot_id", "\ud800"),
        ("attempts", [{"slot": 0, "job": "a\ud800", "attempt": 1}]),
        ("gpus", [{"uuid": "GPU-1", "index": 0, "memory": {"free": -1}}]),
        ("gpus", [{"uuid": "GPU-1", "index": 0, "temperature_c": 2**31}]),
    ],
)
def test_what_no_worker_can_mean_and_nobody_can_store_is_refused(field: str, value: object) -> None:
    strange = json.loads(to_json(BEAT)) | {field: value}

    with pytest.raises(ValueError):
        from_json(Beat, json.dumps(strange))


@pytest.mark.parametrize("word", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_json_does_not_have_is_refused_wherever_it_stands(word: str) -> None:
    report = to_json(Report("checkpoint", WorkerId("w"), 1, JobId("j"), 1, state=["here"]))

    with pytest.raises(ValueError):
        from_json(Report, report.replace('"here"', word))


@pytest.mark.parametrize("field", ["job", "nonce"])
def test_a_report_of_what_nobody_can_store_is_refused(field: str) -> None:
    report = json.loads(to_json(Report("claim", WorkerId("w"), 1, JobId("j"), 1, nonce="n")))

    with pytest.raises(ValueError, match="ud800"):
        from_json(Report, json.dumps({**report, field: "a\ud800"}))


def test_a_missing_field_is_named() -> None:
    short = json.loads(to_json(BEAT))
    del short["boot_id"]

    with pytest.raises(ValueError, match="boot_id"):
        from_json(Beat, json.dumps(short))


def test_a_state_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError):
        from_json(Lease, '{"attempt": 1, "state": "lost"}')
