"""What programs say when a GPU's memory is used up: whole lines, and where their words were read.

`python -m tests.kit.gpu_words` fetches the wheels that are named here (some are large) and reads the words again. What
names none was read in the project's source, or in logs that its users have published.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Said:
    """A line, and its words as they stand in a file of a wheel."""

    line: str
    by: str = ""  # requirement of the wheel, exact
    file: str = ""  # the end of the file's name in it
    words: tuple[str, ...] = ()


CUDART = "nvidia-cuda-runtime-cu12==12.8.90"
ONNX = "onnxruntime-gpu==1.31.1"

OF_A_GPU = (
    # Blender 2.9 to 5 (intern/cycles/device: device.cpp, cuda/util.cpp, hip/util.cpp)
    Said("System is out of GPU memory"),
    Said("System is out of GPU and shared host memory"),
    Said("00:02.044  cycles           | ERROR System is out of GPU and shared host memory"),
    Said("Out of memory in cuMemAlloc(&device_pointer, size) (intern/cycles/device/cuda/device_impl.cpp:789)"),
    Said("Out of memory in cuStreamCreate(&cuda_stream_, CU_STREAM_NON_BLOCKING) (queue.cpp:21)"),
    Said("Out of memory in hipDrvMemcpy2DUnaligned(&param) (intern/cycles/device/hip/device_impl.cpp:788)"),
    Said("CUDA error: Out of memory in cuMemAlloc(&device_pointer, size), line 1231"),
    Said("CUDA error at cuCtxCreate: Out of memory"),
    Said("OPTIX_ERROR_DEVICE_OUT_OF_MEMORY in optixAccelBuild(context, NULL, &options)"),
    # The drivers' own
    Said(
        "RuntimeError: CUDA error: out of memory",
        CUDART,
        "libcudart.so.12",
        ("cudaErrorMemoryAllocation", "out of memory"),
    ),
    Said(
        "thrust::system::system_error: cudaErrorMemoryAllocation: out of memory",
        CUDART,
        "libcudart.so.12",
        ("cudaErrorMemoryAllocation",),
    ),
    Said("HIP error: out of memory"),
    Said(":3:hip_memory.cpp :3965: 030 us: hipDrvMemcpy2DUnaligned: Returned hipErrorOutOfMemory : "),
    Said("[AVHWFramesContext @ 0x55] Memory allocation failed: VK_ERROR_OUT_OF_DEVICE_MEMORY"),
    Said("vkAllocateMemory failed -2", "ncnn==1.0.20261020", "x86_64-linux-gnu.so", ("vkAllocateMemory failed %d",)),
    Said("Native API returns: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"),
    Said(
        "clEnqueueNDRangeKernel failed: MEM_OBJECT_ALLOCATION_FAILURE",
        "pyopencl==2026.1.4",
        "x86_64-linux-gnu.so",
        ("MEM_OBJECT_ALLOCATION_FAILURE",),
    ),
    Said("clEnqueueNDRangeKernel(): CL_MEM_OBJECT_ALLOCATION_FAILURE"),
    Said("cuMemAlloc(): out of memory"),  # hashcat
    # Libraries of CUDA and ROCm
    Said("RuntimeError: cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    Said("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    Said("CUSPARSE_STATUS_ALLOC_FAILED"),
    Said("RuntimeError: cuFFT error: CUFFT_ALLOC_FAILED"),
    Said("HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`"),
    Said("RuntimeError: miopenStatusAllocFailed"),
    Said("NCCL WARN Cuda failure 2 'out of memory'"),
    Said("include/alloc.h:99 NCCL WARN Cuda failure 'out of memory'"),
    Said("[TRT] [E] Requested amount of GPU memory (57662592 bytes) could not be allocated."),
    Said("[E] 1: [defaultAllocator.cpp::allocate::19] Error Code 1: Cuda Runtime (out of memory)"),
    # onnxruntime, CTranslate2 (faster-whisper), bitsandbytes, RAPIDS, dlib, spconv, Paddle, TensorFlow, torch
    Said(
        "onnxruntime::CudaCall CUDA failure 2: out of memory ; GPU=0 ; hostname=a ; file=b.cc ; line=1 ; expr=c",
        ONNX,
        "libonnxruntime_providers_cuda.so",
        ("%s failure %d: %s ; GPU=%d ; hostname=%s ; file=%s ",),
    ),
    Said(
        "RuntimeError: CUDA failed with error out of memory",
        "ctranslate2==4.6.0",
        "libctranslate2-c75cca97.so.4.6.0",
        ("CUDA failed with error ",),
    ),
    Said("cuda failed with error 2 out of memory. use CUDA_LAUNCH_BLOCKING=1 to get correct traceback."),
    Said(
        "Error out of memory at line 534 in file /src/csrc/pythonInterface.cpp",
        "bitsandbytes==0.48.1",
        "libbitsandbytes_cuda128.so",
        ("Error %s at line %d in file %s", "pythonInterface.cpp"),
    ),
    Said("std::bad_alloc: out_of_memory: RMM failure at:pool_memory_resource.hpp:424: Maximum pool size exceeded"),
    Said("std::bad_alloc: out_of_memory: CUDA error at: cuda_memory_resource.hpp"),
    Said(
        "Error while calling cudaMalloc(&data, new_size*sizeof(float)) in file a.cpp:1. code: 2, reason: out of memory"
    ),
    Said("Error: sumMatrixOnGPU.cu:168, code: 2, reason: out of memory"),
    Said(
        "Out of memory error on GPU 0. Cannot allocate 1.000000GB memory on GPU 0, 7.084717GB memory has been allocated"
    ),
    Said("Out of memory error on GPU Virtual Memory 0. Cannot allocate 1.0GB memory"),
    Said("Allocator (GPU_0_bfc) ran out of memory trying to allocate 2.00GiB (rounded to 2147483648)requested by op"),
    Said("torch.OutOfMemoryError: HIP out of memory. Tried to allocate 978.00 MiB. GPU 0 has a total capacity"),
    Said("torch.OutOfMemoryError: XPU out of memory. Tried to allocate 2.00 GiB"),
    Said("RuntimeError: HIP out of memory. Tried to allocate 978.00 MiB."),
    Said("torch.AcceleratorError: CUDA error: out of memory"),
    # ComfyUI, vLLM, llama.cpp and its kin, ffmpeg
    Said("!!! Exception during processing !!! Allocation on device 0 would exceed allowed memory. (out of memory)"),
    Said("This error means you ran out of memory on your GPU."),
    Said("Got an OOM, unloading all loaded models."),
    Said("ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"),
    Said("ValueError: Free memory on device cuda:0 (3/23 GiB) on startup is less than desired GPU memory utilization"),
    Said("alloc_tensor_range: failed to allocate CUDA0 buffer of size 5064192000"),
    Said("llama_model_load: error loading model: unable to allocate ROCm1 buffer"),
    Said("ggml_vulkan: Device memory allocation of size 1879048192 failed."),
    Said("ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory"),
    Said("[h264_nvenc @ 0x55d1c0] CreateInputBuffer failed: out of memory (10): (no details)"),
)

OF_THE_HOST = (
    Said("MemoryError"),
    Said("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 74.5 GiB for an array with shape (100000,)"),
    Said("terminate called after throwing an instance of 'std::bad_alloc'"),
    Said("what():  std::bad_alloc"),
    Said("Killed"),
    Said("Out of memory: Killed process 4711 (gpu_render) total-vm:81234567kB, anon-rss:61234567kB"),
    Said("oom-kill:constraint=CONSTRAINT_MEMCG,task=cuda_worker,pid=4711"),
    Said("Memory cgroup out of memory: Killed process 4711 (blender)"),
    Said("The GPU worker was killed: out of memory"),
    Said("java.lang.OutOfMemoryError: Java heap space"),
    Said("FATAL ERROR: CALL_AND_RETRY_LAST Allocation failed - JavaScript heap out of memory"),
    Said("RuntimeError: [enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
    Said("RuntimeError: Unable to allocate pinned memory: cudaMallocHost failed: out of memory"),
    Said("CUDA error: cudaHostAlloc: out of memory"),
    Said("ggml_backend: failed to allocate CUDA_Host buffer of size 5064192000"),
    Said("vkAllocateMemory failed -1", "ncnn==1.0.20261020", "x86_64-linux-gnu.so", ("vkAllocateMemory failed %d",)),
    Said("VK_ERROR_OUT_OF_HOST_MEMORY"),
    Said("OPTIX_ERROR_HOST_OUT_OF_MEMORY"),
    Said(
        "clCreateContext failed: OUT_OF_HOST_MEMORY",
        "pyopencl==2026.1.4",
        "x86_64-linux-gnu.so",
        ("OUT_OF_HOST_MEMORY",),
    ),
    Said("CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
    Said(
        "RESOURCE_EXHAUSTED: Out of memory allocating 1125899906842624 bytes.",
        "jaxlib==0.10.2",
        "libjax_common.so",
        ("Out of memory allocating %d bytes.",),
    ),
    Said("OOM when allocating tensor with shape[8,8] on /job:localhost/replica:0/task:0/device:CPU:0 by allocator cpu"),
    Said("GPU 0 is idle, but the host is out of memory"),
    Said("slurmstepd: error: Detected 1 oom_kill event in StepId=1.0. Some of the step tasks have been OOM Killed."),
)

OF_NEITHER = (
    # Which memory, the arena does not say: a processor's has the same words.
    Said(
        "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 939524096",
        ONNX,
        "libonnxruntime.so.1.31.1",
        ("Failed to allocate memory for requested buffer of size ",),
    ),
    Said(
        "Allocator (GPU_0_bfc) ran out of memory trying to allocate 1G. The caller indicates that this is not a failure"
    ),
    Said("CUDA error: an illegal memory access was encountered"),
    Said("CUDA failed with error CUDA driver version is insufficient for CUDA runtime version"),
    Said("CUDNN_STATUS_NOT_INITIALIZED"),
    Said("CUBLAS_STATUS_EXECUTION_FAILED"),
    Said("OPTIX_ERROR_INVALID_VALUE in optixAccelBuild"),
    Said("VK_ERROR_DEVICE_LOST"),
    Said("Fra:1 Mem:17765.97M (Peak 23433.50M) | Time:00:39.16 | Mem:1517.36M, Peak:1517.36M | Scene | Building BVH"),
    Said("GPU memory: 3.1 of 24 GiB in use; out of 100 frames 4 are done"),
    Said("option --on-oom: what to do when CUDA runs out of its memory"),
    Said("No space left on device"),
    Said("the couple is out of memory sticks"),
)


def main() -> int:
    """Read the words of every wheel again; 1 when some are not there."""
    missing = 0
    said = [each for each in (*OF_A_GPU, *OF_THE_HOST, *OF_NEITHER) if each.by]
    for requirement in sorted({each.by for each in said}):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
            subprocess.run([*command, "-d", folder, requirement], check=True)
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
                missing += sum(not _stands_in(wheel, each) for each in said if each.by == requirement)
    return 1 if missing else 0


def _stands_in(wheel: zipfile.ZipFile, said: Said) -> bool:
    files = [name for name in wheel.namelist() if name.endswith(said.file)]
    content = b"".join(wheel.read(name) for name in files)
    missing = [words for words in said.words if words.encode() not in content]
    print(f"{said.by} {said.file}: {'missing: ' + ', '.join(missing) if missing else 'read again'}: {said.line}")
    return not missing


if __name__ == "__main__":
    sys.exit(main())
