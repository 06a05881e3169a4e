"""A GPU driver for tests: nvml.c as libnvidia-ml.so.1, so that pynvml runs for real without a card.

A test says what the driver answers (`Driver.say`), also while a process that has `Driver.environ` runs.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml.c")
BUILD = Path(__file__).parents[3] / "build" / "nvml"


@dataclass(frozen=True)
class Card:
    """What the driver says of a card; memory in MiB. `errors`: NVML function (or *) -> its code."""

    uuid: str
    name: str = "NVIDIA Test"
    total: int = 16384
    reserved: int = 0
    used: int = 0
    utilisation: int = 0  # per cent
    temperature: int = 40
    milliwatts: int = 50_000
    clocks: tuple[int, int] = (1410, 1593)
    compute: tuple[tuple[int, int | None], ...] = ()  # (pid, MiB or None: not known)
    graphics: tuple[tuple[int, int | None], ...] = ()
    errors: Mapping[str, int] = field(default_factory=dict)
    hangs: tuple[str, ...] = ()  # NVML functions that wait until the file no longer says so


@dataclass(frozen=True)
class Driver:
    """The driver of the processes that have `environ`; without `say` there is none yet."""

    file: Path

    @property
    def environ(self) -> dict[str, str]:
        """The present environment with the stand-in before any real driver."""
        path = os.pathsep.join(filter(None, [str(library().parent), os.environ.get("LD_LIBRARY_PATH")]))
        return {**os.environ, "LD_LIBRARY_PATH": path, "MUSTER_NVML_FILE": str(self.file)}

    def say(
        self,
        *cards: Card,
        driver: str = "570.86.15",
        errors: Mapping[str, int] | None = None,
        hangs: tuple[str, ...] = (),
    ) -> None:
        """From now on the driver answers this; a reader sees the old or the new whole."""
        lines = [f"driver {driver}", *_rules(errors or {}, hangs)]
        for card in cards:
            lines += _lines(card)
        new = self.file.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        new.replace(self.file)

    def vanish(self) -> None:
        """From now on there is no driver."""
        self.file.unlink()


def library() -> Path:
    """The built libnvidia-ml.so.1; built once for each state of its source."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    built = BUILD / digest / "libnvidia-ml.so.1"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            fresh = Path(folder, built.name)
            command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(fresh), str(SOURCE)]
            subprocess.run(command, check=True)
            fresh.replace(built)  # whole or not at all: tests that run beside each other build at once
    return built


def _lines(card: Card) -> list[str]:
    return [
        "gpu",
        f"uuid {card.uuid}",
        f"name {card.name}",
        f"memory {card.total} {card.reserved} {card.used}",
        f"utilisation {card.utilisation}",
        f"temperature {card.temperature}",
        f"power {card.milliwatts}",
        f"clocks {card.clocks[0]} {card.clocks[1]}",
        *(f"compute {pid} {-1 if mib is None else mib}" for pid, mib in card.compute),
        *(f"graphics {pid} {-1 if mib is None else mib}" for pid, mib in card.graphics),
        *_rules(card.errors, card.hangs),
    ]


def _rules(errors: Mapping[str, int], hangs: tuple[str, ...]) -> list[str]:
    return [*(f"error {call} {code}" for call, code in errors.items()), *(f"hang {call}" for call in hangs)]
