"""Numba kernels on several threads.

Threads are Python's, as many as PyTorch uses in the calling thread: two threads must not enter numba's pool at once.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="kernels")


def over_ranges(kernel: Any, count: int, step: int, *arguments: Any) -> None:
    """``kernel(first, last, *arguments)`` on ranges of at most ``step`` that make up ``count``."""
    ranges = [(first, min(first + step, count)) for first in range(0, count, step)]
    if torch.get_num_threads() == 1 or len(ranges) == 1:
        for first, last in ranges:
            kernel(first, last, *arguments)
        return
    for task in [_pool().submit(kernel, first, last, *arguments) for first, last in ranges]:
        task.result()
