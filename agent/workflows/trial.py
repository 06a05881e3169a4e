"""A trial of the whole way from a film to segments and back, once when an agent starts.

Some builds of ffmpeg crash only where the film is joined, after hours of encoding: such a build must not be offered.
"""

from __future__ import annotations

import logging
import tempfile
from functools import lru_cache
from pathlib import Path

from agent.workflows import NotOffered, ffmpeg, segments
from agent.workflows.segments import TICKS, Encoded
from app.pool.errors import PoolError

log = logging.getLogger(__name__)

LIMIT_S = 30.0  # of each of its few steps, which take a tenth of a second on a host that is not busy
SIZE, RATE, SEGMENT_S = "64:36", 6, 0.5
FILM = ["-f", "lavfi", "-i", f"testsrc2=size=64x36:rate={RATE}:duration=1"]
SOUND = ["-f", "lavfi", "-i", "sine=duration=1:sample_rate=8000"]
X264 = ["-c:v", "libx264", "-preset", "ultrafast"]


@lru_cache(maxsize=1)
def choose() -> str:
    """Use the first ffmpeg that passes, here and in the processes that this one starts. Raises NotOffered."""
    reasons = []
    for path in ffmpeg.candidates():
        ffmpeg.use(path)
        try:
            with tempfile.TemporaryDirectory(prefix="muster-trial-") as folder:
                _try(Path(folder))
        except (PoolError, OSError) as error:
            reasons.append(f"{path} does not pass a trial: {str(error).splitlines()[0]}")
            log.warning("%s", reasons[-1])
        else:
            return path
    raise NotOffered("; ".join(reasons))


def _try(folder: Path) -> None:
    """Make a film of two segments, the second as a resumed attempt does, and join it. Raises PoolError, OSError."""
    if "libx264" not in ffmpeg.encoders():
        raise PoolError("it was built without libx264")
    sound = ["-map", "1:a", "-c:a", "aac", "-f", "mp4", "audio.m4a"]
    _run([*FILM, *SOUND, "-map", "0:v", *X264, *_cutting(1, 0, []), *sound], folder)
    first, second = (folder / segments.NAME.format(number) for number in (1, 2))
    encoded = segments.grown(Encoded(), first, folder, LIMIT_S)
    second.unlink()
    rest = [f"settb=1/{TICKS}", f"trim=start_pts={encoded.last + 1}", f"setpts=PTS-({round(SEGMENT_S * TICKS)})"]
    _run([*FILM, *X264, *_cutting(2, SEGMENT_S, rest)], folder)
    encoded = segments.grown(encoded, second, folder, LIMIT_S)
    inputs = [*segments.joining(encoded, [first, second], folder), "-i", "audio.m4a", "-map", "0:v", "-map", "1:a"]
    _run([*inputs, *segments.joined(encoded.step), "film.mp4"], folder)
    if encoded.frames != RATE:
        raise PoolError(f"of {RATE} frames it encoded {encoded.frames}")
    segments.check(encoded, folder / "film.mp4", folder, LIMIT_S)


def _cutting(number: int, begin_s: float, filters: list[str]) -> list[str]:
    return segments.cutting(SIZE, SEGMENT_S, number, begin_s, filters or [f"settb=1/{TICKS}"])


def _run(arguments: list[str], folder: Path) -> None:
    ffmpeg.run(arguments, lambda line: None, folder, limit_s=LIMIT_S)
