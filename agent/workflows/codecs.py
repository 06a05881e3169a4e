"""The codecs that transcode offers, and how ffmpeg is told about them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from agent.gpus import out_of_memory
from agent.workflows import NotOffered, ffmpeg
from app.pool.model import Json

log = logging.getLogger(__name__)

ENCODERS = {"h264": "libx264", "hevc": "libx265", "h264_nvenc": "h264_nvenc", "hevc_nvenc": "hevc_nvenc"}
NVENC = "_nvenc"
ONE_FRAME = ["-f", "lavfi", "-i", "color=size=256x256", "-frames:v", "1"]
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


def offered() -> tuple[str, ...]:
    """The codecs whose encoder this ffmpeg has, and this host's card and driver serve.

    Raises NotOffered when even h264 is missing.
    """
    encoders = ffmpeg.encoders()
    codecs = tuple(codec for codec, encoder in ENCODERS.items() if encoder in encoders and _served(codec))
    if "h264" not in codecs:
        raise NotOffered("this ffmpeg was built without libx264")
    return codecs


def encoding(params: Mapping[str, Json]) -> list[str]:
    """The ffmpeg options to encode with, from the job's parameters."""
    codec, crf, preset = (params[name] for name in ("codec", "crf", "preset"))
    if codec.endswith(NVENC):
        return ["-c:v", ENCODERS[codec], "-rc", "vbr", "-cq", str(crf), "-b:v", "0"]
    quiet = ["-x265-params", "log-level=error"] if codec == "hevc" else []
    return ["-c:v", ENCODERS[codec], "-crf", str(crf), "-preset", preset, *quiet]


def tag(params: Mapping[str, Json]) -> list[str]:
    """The option that names the codec in an MP4; Apple's players take HEVC under no other name."""
    return ["-tag:v", "hvc1"] if params["codec"].startswith("hevc") else []


def _served(codec: str) -> bool:
    """True when a frame can be encoded here: an H100 has no NVENC, and an older driver serves no newer ffmpeg.

    A card that is only full at the moment counts as one that serves.
    """
    if not codec.endswith(NVENC):
        return True
    options = encoding({"codec": codec, "crf": 23, "preset": None})
    why = ffmpeg.complaint([*ONE_FRAME, *options, "-f", "null", "-"])
    if not why or out_of_memory.ran_out(why):
        return True
    log.info("transcode does not offer %s: %s", codec, why[0])
    return False
