"""The dynamic tags of this worker: what its workflows say it can do at the moment, such as a model held in VRAM."""

from __future__ import annotations

import logging
import re

from app.pool.model import LIMITS, TAG

log = logging.getLogger(__name__)

_TAG = re.compile(TAG)


class Tags:
    """The worker's dynamic tags. Each lasts until it is dropped or the agent ends, and outlives its job."""

    def __init__(self) -> None:
        self._tags: set[str] = set()

    def listed(self) -> list[str]:
        """The tags in order, as the beat says them."""
        return sorted(self._tags)

    def change(self, tag: str, has: bool) -> bool:
        """Add a tag, or drop it when not `has`. True when that changed anything."""
        if not has:
            is_there = tag in self._tags
            self._tags.discard(tag)
            return is_there
        if tag in self._tags:
            return False
        if not is_tag(tag) or len(self._tags) >= LIMITS.tags:
            log.warning("tag refused: tag=%.80r; a worker has at most %d", tag, LIMITS.tags)
            return False
        self._tags.add(tag)
        return True


def is_tag(text: object) -> bool:
    """True for a text that has the syntax of a tag."""
    return isinstance(text, str) and _TAG.fullmatch(text) is not None
