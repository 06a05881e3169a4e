"""Which lines say that a GPU's memory was used up: those of the programs that studios run, and no others."""

from __future__ import annotations

import pytest

from agent.gpus.out_of_memory import ran_out
from tests.kit.gpu_words import OF_A_GPU, OF_NEITHER, OF_THE_HOST


@pytest.mark.parametrize("line", [said.line for said in OF_A_GPU])
def test_the_words_of_drivers_libraries_and_programs_are_known(line: str) -> None:
    assert ran_out(["started", line, "exit 1"])


@pytest.mark.parametrize("line", [said.line for said in (*OF_THE_HOST, *OF_NEITHER)])
def test_no_other_words_are_taken_for_them(line: str) -> None:
    assert not ran_out(["started", line, "exit 1"])


def test_a_hundred_lines_of_words_that_nearly_match_are_looked_through_at_once() -> None:
    """No pattern backtracks: a guard looks through a thousand lines of a thousand characters while it is awaited."""
    nearly = "memory CUDA cudaMalloc GPU nvenc torch. Allocator (GPU_0_bfc) .cu:1 RESOURCE_EXHAUSTED: " * 11
    assert not ran_out([nearly] * 100)
