"""Reading the source: each ffmpeg that reads it is followed, and what it complains of is logged and judged.

A damaged film gives a part of itself, and ffmpeg ends with 0 all the same. So its words decide, and whether the file
is still the one that it was at the beginning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.context import Job, Permanent, Stopped
from agent.workflows import ffmpeg
from agent.workflows.complaints import Complaints
from agent.workflows.source import Track, Watched, probe
from app.pool.errors import PoolError

MOST_WARNINGS = 20

_PACKET = "0,"  # begins the line of one
_CRC = ["-flush_packets", "1", "-f", "framecrc", "pipe:1"]


class _Enough(Exception):
    pass


class Reader:
    """The source of one attempt. All runs end with Stopped when the job is asked to stop."""

    def __init__(self, job: Job, path: Path, cwd: Path) -> None:
        """Raises Permanent when it is no film that ffmpeg reads, PoolError when it cannot be opened."""
        self._job, self._cwd = job, cwd
        self._allowed: bool = job.params["allow_damaged"]
        self._watched = Watched(path)
        self._known: Counter[str] = Counter()  # said of the beginning of the film
        self._known_of_sound: Counter[str] = Counter()
        self.warnings: list[str] = []
        self.stamp = self._watched.stamp
        try:
            self.film = probe(path)
        except Permanent:
            self.require_unchanged()
            raise

    def run(self, arguments: Sequence[str], on_line: Callable[[str], None] = lambda line: None) -> None:
        """Run ffmpeg over the source. Raises Permanent when it is damaged, PoolError when it fails or cannot be read.

        What is said at the beginning of the film was judged there: recordings seldom begin with a key frame.
        """
        complaints = Complaints(self.film.kind, self._known + self._known_of_sound)
        failed: ffmpeg.Failed | None = None
        try:
            self._follow(arguments, on_line, complaints, lambda: bool(complaints.damage) and not self._allowed)
        except ffmpeg.Failed as error:
            failed = error
        self._judge(complaints, failed)

    def first_frame(self, arguments: Sequence[str], filters: Sequence[str], others: Sequence[str]) -> str | None:
        """Width:height of the first frame that comes out of these filters; None when there certainly is none.

        It ends by being killed at the first frame: left to itself ffmpeg would read on for the sound, and with
        -shortest it would take the end of the sound for the end of the film.
        """
        chain = ["-map", "0:V:0", "-vf", ",".join(filters), "-frames:v", "1"]
        lines, complaints = self._until_packet([*arguments, *chain, *_CRC, *others])
        self._known = complaints.counted if "-ss" in arguments or self.film.may_begin_anywhere else Counter()
        return next((line.split()[-1].replace("x", ":") for line in lines if line.startswith("#dimensions 0:")), None)

    def sound(self) -> tuple[Track, ...]:
        """The sound tracks that can be decoded and encoded; the others are named in a warning. Raises PoolError."""
        self._known_of_sound = Counter()
        kept = []
        for place, track in enumerate(self.film.sound, 1):
            why = self._unusable(track)
            if why is None:
                kept.append(track)
            else:
                self.warn(f"sound track {place} is left out: {why} ({track.about})")
        return tuple(kept)

    def warn(self, text: str) -> None:
        """Say it in the log, and with the result."""
        self._job.log(text)
        if text not in self.warnings and len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(text)

    def damaged(self, why: str) -> None:
        """Raise Permanent, or where the job allows it only warn."""
        if not self._allowed:
            raise Permanent(
                f"{self._name} is damaged, or its end is missing: {why}\n"
                "See the log. With allow_damaged, what can be decoded is taken."
            )
        self.warn(f"what could be decoded of {self._name} was taken; it is damaged: {why}")

    def require_unchanged(self) -> None:
        """Raise PoolError when the source is no longer the file that it was when the attempt began."""
        if self._watched.changed():
            raise PoolError(f"{self._name} changed while it was read; the next attempt begins anew")

    @property
    def _name(self) -> str:
        return self._watched.path.name

    def _follow(
        self,
        arguments: Sequence[str],
        on_line: Callable[[str], None],
        complaints: Complaints,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        def take(line: str) -> None:
            if self._job.stopping:
                raise Stopped
            if enough():
                raise _Enough
            on_line(line)

        try:
            ffmpeg.run(arguments, take, self._cwd, complaints)
        except _Enough:
            return

    def _until_packet(self, arguments: Sequence[str]) -> tuple[list[str], Complaints]:
        """Run to the first packet. Returns what stands before it, nothing where there is none; judges only then."""
        lines: list[str] = []

        def take(line: str) -> None:
            lines.append(line)
            if line.startswith(_PACKET):
                raise _Enough

        complaints = Complaints(self.film.kind)
        failed: ffmpeg.Failed | None = None
        try:
            self._follow(arguments, take, complaints)
        except ffmpeg.Failed as error:
            failed = error
        if lines and lines[-1].startswith(_PACKET):
            return lines, complaints
        self._judge(complaints, failed)
        return [], complaints

    def _unusable(self, track: Track) -> str | None:
        """Why no packet comes out of a track; None when one does."""
        complaints = Complaints(self.film.kind)
        seen: list[str] = []

        def take(line: str) -> None:
            if line.startswith(_PACKET):
                seen.append(line)
                raise _Enough

        options = ["-map", f"0:{track.stream}", "-c:a", "aac", "-frames:a", "1", *_CRC]
        try:
            self._follow([*self.film.arguments, *options], take, complaints)
        except ffmpeg.Failed as error:
            if error.code < 0 or complaints.unreadable:  # it was killed, or the disk is at fault: not the track
                raise
            return error.words[0]
        if not seen:
            return complaints.lines[0] if complaints.count else "it holds nothing"
        if self.film.may_begin_anywhere:
            self._known_of_sound += complaints.counted
        return None

    def _judge(self, complaints: Complaints, failed: ffmpeg.Failed | None) -> None:
        """Log what ffmpeg complained of, and raise when that, or how it ended, is a failure."""
        if complaints.count:
            self._job.log_all(f"ffmpeg: {line}" for line in complaints.lines)
        if complaints.unreadable or complaints.damage or failed:
            self.require_unchanged()
        if complaints.unreadable:
            raise PoolError(f"{self._name} cannot be read: {complaints.unreadable}")
        if failed and (self._allowed or not complaints.damage):
            raise failed
        if complaints.damage:
            self.damaged(complaints.damage)
        elif complaints.doubt:
            self.warn(f"parts of {self._name} may be missing: {complaints.doubt}")
