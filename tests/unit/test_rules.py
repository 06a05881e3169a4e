"""What a workflow's rules say of a failure, and whether it was for want of GPU memory."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import pytest

from agent.attempt.reporter import Reporter
from agent.attempt.rules import TOO_SLOW, WITHIN_S, apply_rules
from agent.gpus import out_of_memory
from agent.log.attempt_log import AttemptLog, Passage
from agent.log.last_lines import CHARACTERS, LINES
from app.pool.model import JobId, Rule, WorkerId
from app.pool.protocol import Cause, Order, Report

ORDER = Order(JobId("0123456789ab"), 3, WorkerId("abcdefghjkmn"), 1, "burn", {})
LATER = Rule("later", exit_code=75)
NEVER = Rule("never", log="(?i)bad input")
HOSTILE = Rule("never", log="(a+)+$")  # doubles with each letter


def reporter(*lines: str) -> Reporter:
    """One that has heard these lines."""
    log = AttemptLog(lambda passage: None)
    log.hear("o", "".join(f"{line}\n" for line in lines).encode())
    return Reporter(ORDER, lambda message: None, log)


def end(heard: Reporter, exit_code: int | None = 1, **more: Any) -> Report:
    fields = {"end": "failed", "cause": "workflow", "error": "exit code 1", "exit_code": exit_code, **more}
    return heard.report("end", **fields)


def then(given: tuple[Rule, ...], *lines: str, **more: Any) -> str | None:
    heard = reporter(*lines)
    return apply_rules(end(heard, **more), given, heard).then


def test_the_first_rule_that_fits_counts() -> None:
    both = ("Bad Input: frame 3",)
    assert then((LATER, NEVER), *both, exit_code=75) == "later"
    assert then((NEVER, LATER), *both, exit_code=75) == "never"
    assert then((LATER, NEVER), *both) == "never"
    assert then((LATER, NEVER), "all was well") is None
    assert then((), *both) is None


def test_what_the_rule_fits_is_told_as_the_reason() -> None:
    heard = reporter("one", f"  Bad Input: {'x' * 300}  ", "bad input again")
    assert apply_rules(end(heard), (NEVER,), heard).because == f"Bad Input: {'x' * 300}"[:200]
    assert apply_rules(end(heard, exit_code=75), (LATER,), heard).because == "exit code 75"
    assert apply_rules(end(heard), (LATER,), heard).because is None


def test_an_exit_code_that_nobody_knows_fits_no_rule() -> None:
    assert then((LATER, Rule("never", log="no such line")), exit_code=None) is None


def test_what_the_workflow_itself_says_counts_where_no_rule_fits() -> None:
    assert then((LATER,), exit_code=1, then="never") == "never"
    assert then((LATER,), exit_code=75, then="never") == "later"


def test_the_error_counts_as_a_line_too() -> None:
    assert then((NEVER,), error="ValueError: bad input") == "never"


@pytest.mark.parametrize("said", [{"end": "stopped"}, {"end": "cancelled"}])
def test_what_is_no_failure_is_left_alone(said: dict[str, str]) -> None:
    heard = reporter("bad input", "CUDA out of memory")
    told = end(heard, 75, **said)
    assert apply_rules(told, (LATER, NEVER), heard) == told


def test_a_limit_may_have_a_rule_but_is_no_want_of_memory() -> None:
    heard = reporter("waits for a licence", "CUDA out of memory")
    found = apply_rules(end(heard, None, cause="stall"), (Rule("later", log="licence"),), heard)
    assert (found.cause, found.then) == ("stall", "later")


def test_only_the_last_lines_and_the_beginning_of_each_are_looked_at() -> None:
    assert then((NEVER,), "bad input", *["x"] * (LINES - 1)) == "never"
    assert then((NEVER,), "bad input", *["x"] * LINES) is None
    assert then((NEVER,), "x" * CHARACTERS + "bad input") is None


def test_a_pattern_that_takes_for_ever_is_given_up_and_exit_codes_still_count() -> None:
    kept: list[Passage] = []
    log = AttemptLog(kept.append)
    log.hear("o", b"a" * 64 + b"b\n")
    heard = Reporter(ORDER, lambda message: None, log)
    before, began = signal.getsignal(signal.SIGALRM), time.monotonic()
    found = apply_rules(end(heard, 75), (HOSTILE, LATER), heard)
    assert WITHIN_S <= time.monotonic() - began < WITHIN_S + 2
    assert found.then == "later"
    assert (kept[-1].stream, kept[-1].text) == ("m", f"{TOO_SLOW}\n".encode())
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_rule_before_a_hostile_one_counts_without_waiting_for_it() -> None:
    began = time.monotonic()
    assert then((LATER, HOSTILE), "a" * 64 + "b", exit_code=75) == "later"
    assert time.monotonic() - began < WITHIN_S


def test_twenty_ordinary_patterns_are_tried_on_all_lines_in_time() -> None:
    many = tuple(Rule("never", log=rf"^\[error\] +code={number}\b.*$") for number in range(20))
    lines = ["[error]   code=77 in frame 12 of reel.mov"] * LINES
    assert then((*many, LATER), *lines, exit_code=75) == "later"


def test_a_signal_that_comes_while_a_pattern_is_tried_is_handled_at_once() -> None:
    handled: list[float] = []
    before = signal.signal(signal.SIGTERM, lambda *_: handled.append(time.monotonic()))
    heard, began = reporter("a" * 64 + "b"), time.monotonic()
    try:
        with subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -TERM {os.getpid()}"]):
            apply_rules(end(heard), (HOSTILE,), heard)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handled[0] - began < WITHIN_S


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity",
        "torch.cuda.OutOfMemoryError: Allocation on device",
        "RuntimeError: CUDA error: out of memory",
        "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 8,589,934,592 bytes (allocated so far: 0 bytes).",
        "failed to allocate 7.91G (8489271296 bytes) from device: CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        "error code 2: cudaErrorMemoryAllocation",
        "ggml_backend_cuda_buffer_type_alloc: allocating 4096.00 MiB on device 0: cudaMalloc failed: out of memory",
        "[h264_nvenc @ 0x55d1c0] OpenEncodeSessionEx failed: out of memory (10): (no details)",
        "[vost#0:0/hevc_nvenc @ 0x5581] Task finished with error code: -12 (Cannot allocate memory)",
        "[hevc_cuvid @ 0x7f] decoder init failed: Cannot allocate memory",
        "System is out of GPU memory",
        "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 300.00GiB with "
        "allocator GPU_0_bfc",
        "XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4770354232 bytes.",
        "XlaRuntimeError: RESOURCE_EXHAUSTED: Failed to allocate request for 2.99GiB (3206250496B) on device ordinal 0",
        "ResourceExhaustedError: OOM when allocating tensor with shape[500,17,17,4032] and type float on "
        "/job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc.",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "RuntimeError: cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    ],
)
def test_the_words_of_cuda_are_known_as_a_want_of_gpu_memory(line: str) -> None:
    heard = reporter("begins", line, "aborted")
    assert apply_rules(end(heard), (), heard).cause == Cause.GPU_MEMORY
    heard = reporter("begins")
    assert apply_rules(end(heard, error=f"exit code 1\n{line}"), (), heard).cause == Cause.GPU_MEMORY


@pytest.mark.parametrize(
    "line",
    [
        "MemoryError",
        "its process was killed by SIGKILL: out of memory, as the kernel says",
        "[libx264 @ 0x55] malloc of size 4147200 failed: Cannot allocate memory",
        "fork: Cannot allocate memory",
        "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 1125899906842624 bytes.",
        "ResourceExhaustedError: OOM when allocating tensor with shape[16,19,19,1024] and type float on "
        "/job:localhost/replica:0/task:0/device:CPU:0 by allocator cpu",
    ],
)
def test_a_want_of_the_hosts_memory_is_another_thing(line: str) -> None:
    heard = reporter(line)
    assert apply_rules(end(heard), (), heard).cause == "workflow"


def test_a_want_that_was_overcome_long_ago_is_not_the_cause() -> None:
    heard = reporter("CUDA out of memory; halving the batch", *["step"] * out_of_memory.LAST_LINES)
    assert apply_rules(end(heard), (), heard).cause == "workflow"


def test_a_rule_may_say_what_follows_from_it() -> None:
    heard = reporter("CUDA out of memory")
    found = apply_rules(end(heard), (Rule("never", log="CUDA out of memory"),), heard)
    assert (found.cause, found.then) == (Cause.GPU_MEMORY, "never")
