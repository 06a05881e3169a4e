"""GPU out of memory: recognised by what CUDA, and the libraries and programs built on it, write into a log.

Only the last lines count: a program that ran out of memory, made do with less and failed of something
else a long time later did not fail of that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LAST_LINES = 100

_WORDS = re.compile(
    "|".join(
        (
            r"CUDA out of memory",  # torch
            r"CUDA error: out of memory",
            r"\btorch\.(?:cuda\.)?OutOfMemoryError",
            r"\bOutOfMemoryError: Out of memory allocating",  # cupy
            r"CUDA_ERROR_OUT_OF_MEMORY",  # the driver, and TensorFlow, ffmpeg's hwaccels
            r"cudaErrorMemoryAllocation",
            r"cudaMalloc failed: out of memory",  # llama.cpp
            # JAX; on a processor it says "Out of memory allocating".
            r"RESOURCE_EXHAUSTED: (?:Out of memory while trying to allocate|Failed to allocate request for)\b",
            r"\bOOM when allocating tensor\b.*\bGPU",  # TensorFlow
            r"\bCU(?:BLAS|DNN|SOLVER)_STATUS_ALLOC_FAILED\b",  # of CUDA's libraries, and so of all
            r"\bout of GPU memory",  # Blender
            r"OpenEncodeSessionEx failed: out of memory",  # ffmpeg's NVENC
            # ENOMEM may be the host's memory, unless the line names a part of ffmpeg that has its frames on the card.
            r"(?:nvenc|nvdec|cuvid|cuda)\b.*Cannot allocate memory",
        )
    )
)


def ran_out(lines: Sequence[str]) -> bool:
    """True when one of the last LAST_LINES of these lines says that a GPU's memory was used up."""
    return any(_WORDS.search(line) for line in lines[-LAST_LINES:])
