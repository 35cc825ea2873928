"""Which device to compute on. ``auto`` means CUDA where a working GPU is found, else the CPU."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.errors import DepthrfError, UsageError

if TYPE_CHECKING:
    import torch

CHOICES = ("auto", "cpu", "cuda")


def has_cuda_driver() -> bool:
    """Whether an NVIDIA driver finds a GPU. This is quick, because it does not import torch."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    return False


def free_memory(device: torch.device) -> int | None:
    """Bytes that can be allocated on a device; None where the system does not tell."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    return free_main_memory()


def free_main_memory() -> int | None:
    """Bytes of main memory that can be allocated, files that are merely cached included; None where no system tells
    (only Linux does)."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return None
    group = Path("/sys/fs/cgroup")  # a container's own limit
    with contextlib.suppress(OSError, ValueError):  # no such group, or it has no limit
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return free


def require_memory(needed: float, what: str, advice: str) -> None:
    """Refuses work that would not fit, before it drives the machine to swapping.

    Args:
        needed: Bytes of main memory.
        what: The work, as the subject of a sentence.
        advice: A sentence that says what to do instead.

    Raises:
        DepthrfError: Less than that is free.
    """
    free = free_main_memory()
    if free is not None and needed > free:
        raise DepthrfError(f"{what} takes {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free. {advice}")


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Inside, every operation of torch runs on one thread: items are the parallel work. The setting before returns."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def resolve(name: str) -> torch.device:
    """The torch device of ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UsageError: ``cuda`` was asked for and torch cannot use a GPU here.
    """
    import torch

    usable = torch.cuda.is_available()
    if name == "cuda" and not usable:
        raise UsageError(
            "--device cuda was asked for, but torch finds no usable GPU here. Check `nvidia-smi` and that the "
            "installed torch is a CUDA build, or use --device cpu."
        )
    return torch.device("cuda" if name == "cuda" or (name == "auto" and usable) else "cpu")
