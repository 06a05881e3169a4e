"""The share of processor time is one, whatever the kernel counts."""

from __future__ import annotations

import pytest

from agent.gpus import cpu


@pytest.mark.parametrize(("idle", "use"), [(50, 0.75), (-10, 1.0), (300, 0.0)])
def test_use_is_from_none_to_all_also_where_the_kernel_counts_back(
    monkeypatch: pytest.MonkeyPatch, idle: int, use: float
) -> None:
    ticks = iter([(1_000, 500), (1_200, 500 + idle)])
    monkeypatch.setattr(cpu, "_times", lambda: next(ticks))

    assert cpu.Cpu().use() == use
