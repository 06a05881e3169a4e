"""The codecs that transcode offers, and how ffmpeg is told about them."""

from __future__ import annotations

from collections.abc import Mapping

from agent.workflows import NotOffered, ffmpeg
from app.pool.model import Json

ENCODERS = {"h264": "libx264", "hevc": "libx265", "h264_nvenc": "h264_nvenc", "hevc_nvenc": "hevc_nvenc"}
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


def offered() -> tuple[str, ...]:
    """Those whose encoder this ffmpeg has. Raises NotOffered when even h264 is missing."""
    found = ffmpeg.encoders()
    codecs = tuple(codec for codec, encoder in ENCODERS.items() if encoder in found)
    if "h264" not in codecs:
        raise NotOffered("this ffmpeg was built without libx264")
    return codecs


def encoding(params: Mapping[str, Json]) -> list[str]:
    """The options to encode with."""
    codec, crf, preset = (params[name] for name in ("codec", "crf", "preset"))
    if codec.endswith("_nvenc"):
        return ["-c:v", ENCODERS[codec], "-rc", "vbr", "-cq", str(crf), "-b:v", "0"]
    quiet = ["-x265-params", "log-level=error"] if codec == "hevc" else []
    return ["-c:v", ENCODERS[codec], "-crf", str(crf), "-preset", preset, *quiet]


def tag(params: Mapping[str, Json]) -> list[str]:
    """What an MP4 calls the codec; Apple's players take HEVC under no other name."""
    return ["-tag:v", "hvc1"] if params["codec"].startswith("hevc") else []
