"""One command run by several processes (``torchrun --nproc-per-node N -m depthrf train WORKSPACE``).

Every process runs the same code; only the first one writes. Without torchrun there is one process and nothing to do.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta


def count() -> int:
    """Number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this process is the one that writes files and messages."""
    return rank() == 0


@contextlib.contextmanager
def connected(device: str) -> Iterator[None]:
    """Connects the processes, each to its own GPU unless ``device`` is ``cpu``."""
    if count() == 1:
        yield
        return
    import torch

    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(minutes=10))
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def barrier() -> None:
    """Waits until all processes are here."""
    if count() > 1:
        import torch

        torch.distributed.barrier()
