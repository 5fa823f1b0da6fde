"""The machine: processor and threads, GPUs, memory, shared memory, and the disk that results go to."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hyperconformer.doctor.findings import GIBIBYTE, Finding, fault, gib, ok, warning
from hyperconformer.provenance import processor

INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 bf16", "amx_bf16": "AMX bf16"}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
LEAST_MEMORY, LEAST_SHM = 4 * GIBIBYTE, GIBIBYTE
SMALL_DISK, FULL_DISK = 10 * GIBIBYTE, GIBIBYTE
BUSY_GPU = 0.2
CGROUP = Path("/sys/fs/cgroup")


def cores(torch: Mapping[str, Any]) -> Iterator[Finding]:
    """Look at the processor and at how many threads will run on it.

    Parameters
    ----------
    torch : mapping
        What :func:`hyperconformer.doctor.probe.examine` found.

    Yields
    ------
    Finding

    Examples
    --------
    >>> [finding.subject for finding in cores({"threads": 1})]
    ['processor', 'threads']
    """
    usable = usable_cores()
    flags = _flags()
    known = [name for flag, name in INSTRUCTIONS.items() if flag in flags]
    said = f"{processor()}, {os.cpu_count()} cores, {usable:g} usable, {', '.join(known) or 'no AVX2'}"
    if flags and "avx2" not in flags:
        yield warning("processor", said, "PyTorch is slow without AVX2: use a newer machine or a GPU")
    else:
        yield ok("processor", said)
    asked = ", ".join(f"{name}={os.environ[name]}" for name in THREADS if name in os.environ)
    if "threads" in torch:
        said = f"PyTorch uses {torch['threads']}" + (f" ({asked})" if asked else "")
        if torch["threads"] > usable + 1:
            remedy = f"they get in each other's way: export OMP_NUM_THREADS={max(1, int(usable))}"
            yield warning("threads", said, remedy)
        else:
            yield ok("threads", said)


def usable_cores() -> float:
    """Cores that this process may use: a container may have fewer than its machine.

    Returns
    -------
    float

    Examples
    --------
    >>> 0 < usable_cores() <= os.cpu_count()
    True
    """
    allowed = float(len(os.sched_getaffinity(0)))
    quota, _, period = _read(CGROUP / "cpu.max").partition(" ")
    return min(allowed, int(quota) / int(period)) if quota.isdigit() else allowed


def _read(path: Path) -> str:
    """What a file of the system says; nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _flags() -> set[str]:
    lines = _read(Path("/proc/cpuinfo")).splitlines()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def gpus(torch: Mapping[str, Any]) -> Iterator[Finding]:
    """Look at the GPUs that PyTorch finds, and for those that it does not.

    Parameters
    ----------
    torch : mapping
        What :func:`hyperconformer.doctor.probe.examine` found.

    Yields
    ------
    Finding

    Examples
    --------
    >>> gpu = {"name": "A100", "total": 40 * 2**30, "free": 39 * 2**30, "capability": "8.0", "bf16": True}
    >>> next(gpus({"gpus": [gpu], "cuda": "13.0"})).said
    'A100, 39.0 GiB of 40.0 GiB free, capability 8.0, bf16, driver ...'
    """
    if "gpus" not in torch:
        yield warning("GPU", "not looked for: PyTorch cannot be imported", "mend PyTorch first")
        return
    driver = driver_version()
    for index, gpu in enumerate(torch["gpus"]):
        yield _gpu(f"GPU {index}", gpu, driver)
    if torch["gpus"]:
        return
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not driver:
        yield ok("GPU", "none: everything runs on the CPU")
    elif hidden is not None:
        yield ok("GPU", f"none, as CUDA_VISIBLE_DEVICES={hidden!r} says: everything runs on the CPU")
    else:
        built = f"built for CUDA {torch['cuda']}" if torch["cuda"] else "built without CUDA"
        remedy = (
            "install a PyTorch whose CUDA the driver knows, or a newer driver; in a container: --gpus all"
        )
        yield fault("GPU", f"driver {driver} is there, but PyTorch ({built}) finds no GPU", remedy)


def _gpu(subject: str, gpu: Mapping[str, Any], driver: str) -> Finding:
    if "error" in gpu:
        remedy = "if its memory is full, see nvidia-smi; else install a PyTorch built for this GPU"
        return fault(subject, f"{gpu['name']} does not multiply ({gpu['error']})", remedy)
    said = (
        f"{gpu['name']}, {gib(gpu['free'])} of {gib(gpu['total'])} free, capability {gpu['capability']}, "
        f"{'bf16' if gpu['bf16'] else 'no bf16'}, driver {driver or 'unknown'}"
    )
    if gpu["free"] < BUSY_GPU * gpu["total"]:
        return warning(subject, said, "another program holds its memory: see nvidia-smi")
    return ok(subject, said)


def driver_version() -> str:
    """Version of NVIDIA's driver; empty where there is none.

    Returns
    -------
    str

    Examples
    --------
    >>> isinstance(driver_version(), str)
    True
    """
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60)
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.split()[0]
    except (OSError, subprocess.TimeoutExpired):
        pass
    words = _read(Path("/proc/driver/nvidia/version")).split()
    return next((word for word in words if word[0].isdigit() and "." in word), "")


def memory() -> Iterator[Finding]:
    """Look at the memory that is free, and at the shared memory that loader processes need.

    Yields
    ------
    Finding

    Examples
    --------
    >>> [finding.subject for finding in memory()]
    ['memory', 'shared memory']
    """
    free = free_memory()
    said = f"{gib(free)} free"
    if free < LEAST_MEMORY:
        yield warning("memory", said, "end other programs, or train with a smaller --max_batch_length")
    else:
        yield ok("memory", said)
    shm = Path("/dev/shm")
    if not shm.is_dir():
        yield warning("shared memory", "there is no /dev/shm", "train with --num_workers=0")
        return
    size, _, left = shutil.disk_usage(shm)
    said = f"{gib(left)} of {gib(size)} free in /dev/shm"
    if left < LEAST_SHM:
        remedy = "loader processes may die: docker run --shm-size=8g, or train with --num_workers=0"
        yield warning("shared memory", said, remedy)
    else:
        yield ok("shared memory", said)


def free_memory() -> int:
    """Bytes that this process may still take: of the machine's, and of its container's.

    Returns
    -------
    int

    Examples
    --------
    >>> free_memory() > 0
    True
    """
    lines = dict(line.split(":", 1) for line in _read(Path("/proc/meminfo")).splitlines())
    free = 1024 * int(lines["MemAvailable"].split()[0])
    limit, used = _read(CGROUP / "memory.max"), _read(CGROUP / "memory.current")
    if not (limit.isdigit() and used.isdigit()):
        return free
    # Files that were read and lie in memory make room when it is needed.
    pages = dict(line.split(" ", 1) for line in _read(CGROUP / "memory.stat").splitlines())
    return min(free, int(limit) - int(used) + int(pages.get("inactive_file", 0)))


def disk(folder: Path) -> Iterator[Finding]:
    """Look at where results go.

    Parameters
    ----------
    folder : Path
        It need not exist yet.

    Yields
    ------
    Finding

    Examples
    --------
    >>> [finding.level for finding in disk(Path("/proc/results"))]
    ['FAULT']
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x")
    except OSError as error:
        yield fault(
            "disk", f"'{there}' cannot be written ({error.strerror})", "choose another --output_folder"
        )
        return
    left = shutil.disk_usage(there).free
    said = f"{gib(left)} free where '{folder}' is"
    if left < FULL_DISK:
        yield fault("disk", said, "delete old runs, or choose another --output_folder")
    elif left < SMALL_DISK:
        yield warning("disk", said, "a run of a large model keeps ten checkpoints: make room")
    else:
        yield ok("disk", said)
