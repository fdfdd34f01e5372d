"""The machine: seed, device, threads, what is installed, how much memory was used."""

import ctypes
import functools
import math
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from snnconv.errors import UsageError

_REPORTED = ("snnconv", "torch", "torchvision", "numpy", "safetensors", "numba")


_CPU = torch.device("cpu")
_ROOT = Path("/")
_MEMINFO, _PROCESS, _CGROUP = "proc/meminfo", "proc/self", "sys/fs/cgroup"  # of Linux alone


def device(name: str) -> torch.device:
    """Return a device, if it is there.

    Raises:
        UsageError: there is no such device.
    """
    if name == "auto":
        # torchrun numbers the processes of a machine: each takes a device of its own
        local = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        name = local if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(name)
        torch.ones(1, device=found).item()  # a device that holds numbers: not `meta`
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"there is no device '{name}' here",
            str(error).splitlines()[0],
            "use --device cpu, or --device auto",
        ) from error
    return found


def prepare(seed: int, threads: int | None) -> None:
    """Seed torch and set its number of threads, for a whole process; see :func:`host_kept`.

    TF32, which CUDA would use for convolutions, keeps 10 bits of a product: spikes would differ
    from those of float32.
    """
    torch.manual_seed(seed)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if threads is not None:
        torch.set_num_threads(threads)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Give torch's own random generators their states back at the end."""
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def host_kept() -> Iterator[None]:
    """Undo :func:`prepare` at the end: the process belongs to the caller of the Python API."""
    threads = torch.get_num_threads()
    kinds: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    tf32 = [kind.allow_tf32 for kind in kinds]
    try:
        with generators_kept():
            yield
    finally:
        for kind, allowed in zip(kinds, tf32, strict=True):
            kind.allow_tf32 = allowed
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's names and numbers


def return_freed_memory() -> None:
    """Give freed memory back to the system, under glibc; it keeps gaps between what is in use."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def keep_freed_memory() -> None:
    """Leave freed memory with the process, under glibc; for the command line, which owns it.

    A layer's spikes are large. By default glibc returns their memory to the system, and takes new
    memory for the next chunk, whose pages the system clears first. That takes longer than the
    neurons.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@functools.cache  # the files of a package are parsed for it
def package_version(package: str) -> str | None:
    """Return the installed version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def environment(used: torch.device | None = None) -> dict[str, str | int]:
    """Return versions and machine, as every report carries them."""
    facts: dict[str, str | int] = {
        package: found for package in _REPORTED if (found := package_version(package))
    }
    facts |= {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
    }
    if used is not None:
        facts["device"] = (
            torch.cuda.get_device_name(used) if used.type == "cuda" else str(used.type)
        )
    return facts


def clock(used: torch.device) -> float:
    """Return seconds on a clock, after all work queued on the device is done."""
    if used.type == "cuda":
        torch.cuda.synchronize(used)
    return time.perf_counter()


def mib(size: float) -> str:
    """Return a number of bytes as the option ``--memory`` takes it, rounded up."""
    return f"{math.ceil(size / 2**20)}MiB"


def free_memory(used: torch.device = _CPU, system: Path = _ROOT) -> int:
    """Return the bytes that may still be taken: on the GPU, else by this process.

    On a CPU it is the least of what the machine has, what the process's own limits leave
    (``ulimit -v``, ``ulimit -d``), and what those of its control groups leave (containers, batch
    systems).

    Args:
        used: the device.
        system: the root below which the system tells its memory, ``proc`` and ``sys``.
    """
    if used.type == "cuda":
        return int(torch.cuda.mem_get_info(used)[0])
    left = [*_left_by_own_limits(system), *_left_by_groups(system)]
    return max(0, min([_bytes_of_machine(system), *left]))


def _left_by_own_limits(system: Path) -> Iterator[int]:
    for limit, held in (("RLIMIT_AS", "VmSize"), ("RLIMIT_DATA", "VmData")):
        most, _ = resource.getrlimit(getattr(resource, limit))
        taken = _status(system, held)
        if most != resource.RLIM_INFINITY and taken is not None:
            yield most - taken


def _left_by_groups(system: Path) -> Iterator[int]:
    """Yield what is left in each control group of the process, and in those around it."""
    for line in _lines(system / _PROCESS / "cgroup"):
        _, kinds, path = line.split(":", 2)
        if kinds == "":  # version 2 has one tree
            root, names = system / _CGROUP, ("memory.max", "memory.current")
        elif "memory" in kinds.split(","):
            root = system / _CGROUP / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        group = root / path.lstrip("/")
        # inside a container the path may be the machine's own: then the root is the group
        for place in (group, *group.parents):
            if place.is_relative_to(root):
                most, taken = (_number(place / name) for name in names)
                if most is not None and taken is not None:
                    yield most - taken


def resident_memory(used: torch.device, system: Path = _ROOT) -> int | None:
    """Return the bytes that are held now: on the GPU, else by the process, if known."""
    return torch.cuda.memory_allocated(used) if used.type == "cuda" else _status(system, "VmRSS")


def _bytes_of_machine(system: Path) -> int:
    """Return the available memory if the system tells it, else half of all there is."""
    found = _entry(system / _MEMINFO, "MemAvailable")
    if found is not None:
        return found
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _status(system: Path, name: str) -> int | None:
    return _entry(system / _PROCESS / "status", name)


def _entry(file: Path, name: str) -> int | None:
    """Return the bytes of a line ``Name:   123 kB``, if it is there."""
    found = (line.split() for line in _lines(file) if line.startswith(f"{name}:"))
    return next((int(words[1]) * 1024 for words in found), None)


def _lines(file: Path) -> list[str]:
    """Return the lines of a system file; none if it is not there."""
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def _number(file: Path) -> int | None:
    """Return the number in a system file, if there is one."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def peak_memory_mib(used: torch.device) -> float:
    """Return peak memory so far: the device's on a GPU, the process's on the CPU."""
    if used.type == "cuda":
        return torch.cuda.max_memory_allocated(used) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


@dataclass(frozen=True)
class Bound:
    """The memory bound of some work, and the memory in use before it.

    Attributes:
        bytes: the bound.
        device: the device of the work.
        held: the bytes in use before, by the process or on the GPU; None if unknown.
        peak: the most bytes in use until then.
    """

    bytes: int
    device: torch.device
    held: int | None
    peak: float

    def taken(self) -> float | None:
        """Return the bytes taken at most beyond what was held before; None if that is not known."""
        peak = peak_memory_mib(self.device) * 2**20
        return peak - self.held if self.held is not None and peak > self.peak else None


def bound(size: int, used: torch.device) -> Bound:
    """Return a bound for work that begins now."""
    return Bound(size, used, resident_memory(used), peak_memory_mib(used) * 2**20)
