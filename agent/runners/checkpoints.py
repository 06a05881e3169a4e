"""The checkpoints of a command: what `::checkpoint {json} names…` keeps, and what the next attempt begins with."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from agent.context import Job, Stopped
from agent.files.kept.patterns import Patterns
from agent.files.kept.store import FOLDER, Store
from agent.ipc.start import Start
from app.pool.errors import PoolError
from app.pool.model import Json

_JSON = json.JSONDecoder()


class Checkpoints:
    """One attempt's, in the thread that reads the command."""

    def __init__(self, job: Job, start: Start) -> None:
        self._job = job
        self._resume = start.resume
        self._store = Store(job.output_dir, job.checkpoint_dir, Patterns(start.runner.keep))

    def restore(self) -> None:
        """Bring the files back that the last checkpoint holds, before the command begins.

        Raises PoolError when they are not all there any more, Stopped, LeaseLost.
        """
        if self._resume is None or not self._resume.files or self._resume.files_dir is None:
            return
        checkpoints = Path(self._resume.files_dir).parent
        try:
            with self._job.saving() as saving:
                (counts,) = self._resume.files
                self._store.restore(checkpoints.parent.name, checkpoints / FOLDER, counts, saving.tick)
        except (OSError, ValueError) as error:
            raise PoolError(f"the files of checkpoint {self._resume.number} cannot be brought back: {error}") from error

    def take(self, said: str) -> None:
        """Keep a checkpoint, in the words that follow `::checkpoint`; none when the job is cancelled meanwhile.

        Raises ValueError when it cannot be kept, LeaseLost.
        """
        state, names = understood(said)
        try:
            self._job.checkpoint_with(state, lambda tick: self._store.keep(names, tick))
        except Stopped:
            return  # cancelled: the command is asked to end as soon as we return
        except OSError as error:
            raise ValueError(f"its files cannot be kept: {error}") from error


def understood(said: str) -> tuple[Json, list[str]]:
    """The state, and the files that are named behind it, quoted as in a shell. Raises ValueError."""
    said = said.strip()
    state, end = _JSON.raw_decode(said)
    names = said[end:]
    if names and not names[0].isspace():
        raise ValueError(f"a blank is missing behind the state, before {names[:20]!r}")
    return state, shlex.split(names)
