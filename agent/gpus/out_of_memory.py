"""GPU out of memory: recognised by what drivers, and the libraries and programs built on them, write into a log.

Want of the host's memory is another thing, and so are messages that do not say which of the two was used up, such as
`Failed to allocate memory for requested buffer` of onnxruntime's arenas. Where the words below were read is said in
tests/kit/gpu_words.py, with an example of each.

Only the last lines count: a program that ran out of memory, made do with less and failed of something
else a long time later did not fail of that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LAST_LINES = 100

# "CUDA out of memory", "CUDA failed with error out of memory", "HIP error: out of memory", "GPU out of memory", and
# a function that was called: "cudaMalloc failed: out of memory". Pinned memory (cudaMallocHost) is the host's.
_OF_A_GPU = (
    r"\b(?:CUDA\b|Cuda\b|cuda\b|HIP\b|ROCm\b|GPU\b|VRAM\b|XPU\b|MPS\b|(?:cuda|cu|hip)(?!\w*Host)[A-Z]\w*)"
    r"(?:(?![Hh]ost|\bCPU\b|\bRAM\b|\bkille[dr]\b).){0,120}?\b[Oo]ut of memory\b"
)
_WORDS = re.compile(
    "|".join(
        (
            _OF_A_GPU,
            r"\b[Oo]ut of memory(?: error)? (?:on|in) (?:GPU|CUDA|cuda|(?:cu|hip|optix)(?!\w*Host)[A-Z]\w*\()",
            # Cycles: "System is out of GPU and shared host memory".
            r"\b[Oo]ut of (?:GPU|VRAM|video|device)(?: and (?:shared )?host)? memory\b|\b[Oo]ut of VRAM\b",
            r"\bout of memory on your GPU\b",  # ComfyUI
            # The constants of drivers: CUDA, HIP, OptiX, Vulkan, Level Zero, OpenCL.
            r"CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|\bhipError(?:OutOfMemory|MemoryAllocation)\b",
            r"ERROR_(?:DEVICE_OUT_OF_MEMORY|OUT_OF_DEVICE_MEMORY)\b|\bErrorOutOfDeviceMemory\b",
            r"\bMEM_OBJECT_ALLOCATION_FAILURE\b|\bCL_MEM_OBJECT_ALLOCATION_FAILURE\b",
            r"\bvkAllocateMemory failed:? -2\b",  # ncnn, and so most upscalers; -1 is the host's
            # And of CUDA's and ROCm's libraries, and so of all that call them.
            r"\b(?:CU(?:BLAS|DNN|SOLVER|SPARSE)|HIP[A-Z]+)_STATUS_ALLOC_FAILED\b|\bmiopenStatusAllocFailed\b",
            r"\bCUFFT_ALLOC_FAILED\b|\bCURAND_STATUS_ALLOCATION_FAILED\b",
            r"\b(?:CU|HIP)DNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED\b",
            # Frameworks.
            r"\btorch\.(?:cuda\.)?OutOfMemoryError",
            r"\bOutOfMemoryError: Out of memory allocating",  # cupy
            # JAX; on a processor it says "Out of memory allocating".
            r"RESOURCE_EXHAUSTED: (?:Out of memory while trying to allocate|Failed to allocate request for)\b",
            r"\bOOM when allocating tensor\b.*\bGPU",  # TensorFlow
            r"\bAllocator \(GPU_\d+_bfc\) ran out of memory\b(?!.*\bnot a failure)",
            r"\bout_of_memory: (?:CUDA|RMM)\b",  # RAPIDS
            r"\bError out of memory at line \d+ in file\b",  # bitsandbytes
            r"\.cu:\d+\b.*\bout of memory\b",  # a source file of CUDA
            # Programs.
            r"\bAllocation on device\b.*\bwould exceed allowed memory\b",  # torch's other allocator, and so ComfyUI
            r"\bGot an OOM, unloading all loaded models\b",
            r"\b(?:failed|unable) to allocate (?:CUDA|ROCm|Vulkan|SYCL)\d+ buffer\b",  # llama.cpp and its kin
            r"\bggml_vulkan: Device memory allocation of size \d+ failed\b",
            r"\bRequested amount of GPU memory \(\d+ bytes\) could not be allocated\b",  # TensorRT
            r"\bNo available memory for the cache blocks\b|\bis less than desired GPU memory utilization\b",  # vLLM
            r"nvenc\b.*: out of memory \(10\)|OpenEncodeSessionEx failed: out of memory",  # ffmpeg's NVENC
            # ENOMEM may be the host's memory, unless the line names a part of ffmpeg that has its frames on the card.
            r"(?:nvenc|nvdec|cuvid|cuda)\b.*Cannot allocate memory",
        )
    )
)


_HINTS = ("memory", "alloc", "oom", "vram")  # one of them is in all that is looked for, and in few lines else


def ran_out(lines: Sequence[str]) -> bool:
    """True when one of the last LAST_LINES of these lines says that a GPU's memory was used up."""
    return any(_WORDS.search(line) for line in lines[-LAST_LINES:] if _may_say_so(line.lower()))


def _may_say_so(small: str) -> bool:
    return any(hint in small for hint in _HINTS)
