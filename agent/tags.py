"""The dynamic tags of this worker: what its workflows say it can do just now, such as a model held in VRAM."""

from __future__ import annotations

import logging
import re

from app.pool.model import LIMITS, TAG

log = logging.getLogger(__name__)

_TAG = re.compile(TAG)


class Tags:
    """They live until they are dropped or the agent ends; a job's end leaves them."""

    def __init__(self) -> None:
        self._tags: set[str] = set()

    def listed(self) -> list[str]:
        """What the beat says."""
        return sorted(self._tags)

    def change(self, tag: str, has: bool) -> bool:
        """Add or drop one; whether that changed anything."""
        if not has:
            known = tag in self._tags
            self._tags.discard(tag)
            return known
        if tag in self._tags:
            return False
        if not is_tag(tag) or len(self._tags) >= LIMITS.tags:
            log.warning("tag refused: tag=%.80r; a worker has at most %d", tag, LIMITS.tags)
            return False
        self._tags.add(tag)
        return True


def is_tag(text: object) -> bool:
    """True for a text with a tag's syntax."""
    return isinstance(text, str) and _TAG.fullmatch(text) is not None
