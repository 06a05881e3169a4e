"""A wall clock that a test may set for the processes that have its environment; see clock.c."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


@dataclass(frozen=True)
class WallClock:
    """Lies in a folder of the test's own."""

    folder: Path

    def environ(self) -> dict[str, str]:
        """For the processes that shall believe in it; built on the way."""
        library = self.folder / "libclock.so"
        command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(library), str(SOURCE)]
        subprocess.run([*command, "-ldl"], check=True)
        return {"LD_PRELOAD": str(library), "MUSTER_CLOCK_FILE": str(self._file)}

    def set(self, hours: int) -> None:
        """From now on it differs by so many hours from the real one."""
        draft = self._file.with_suffix(".new")
        draft.write_text(str(hours * 3600))
        draft.replace(self._file)

    @property
    def _file(self) -> Path:
        return self.folder / "offset"
