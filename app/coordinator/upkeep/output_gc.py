"""Output GC: the files that nobody needs once their job has ended.

The files of its checkpoints go, and the folders of all attempts but the last; what was accepted as its
output stays. Idempotent: what is left when this process dies goes the next time.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from app.ledger import attempts, policy
from app.ledger.attempts import AttemptFiles
from app.ledger.db import Ledger
from app.pool.settings import CHECKPOINTS, folder_of_attempt

log = logging.getLogger(__name__)

EVERY_S = 30.0
AFTER_ORPHANS_S = 60.0  # beyond max_orphan_s: by then no cut-off attempt writes there
AT_ONCE = 200


class OutputGc:
    """Removes files under the pool's output folder; does nothing where it is not there."""

    def __init__(self, ledger: Ledger, output: Path) -> None:
        self._ledger = ledger
        self._output = output

    def step(self) -> None:
        """Remove what is due, AT_ONCE attempts at most. Raises Unavailable."""
        if not self._output.is_dir():
            return
        orphan_s = policy.read(self._ledger).max_orphan_s + AFTER_ORPHANS_S
        gone = [each for each in attempts.remains(self._ledger, orphan_s, AT_ONCE) if self._remove(each)]
        attempts.removed(self._ledger, gone)

    def _remove(self, remains: AttemptFiles) -> bool:
        attempt = folder_of_attempt(self._output, remains.job, remains.attempt)
        folder = attempt / CHECKPOINTS if remains.keeps_output else attempt
        # No link is followed: an agent could have left one that leads elsewhere.
        if any(each.is_symlink() for each in (attempt.parent, attempt, folder)):
            return True
        errors: list[object] = []  # of single files: the others go all the same
        shutil.rmtree(folder, onerror=lambda _call, _path, info: errors.append(info[1]))
        if folder.exists():
            log.warning("output GC: %s cannot be removed: %s", folder, errors[0] if errors else "new files came")
        return not folder.exists()
