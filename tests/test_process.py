from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_CODE = """
import resource, threading
import numpy as np
from depthrf import process
if {tuned}:
    assert process.keep_freed_memory()
def work():
    for _ in range(20):
        np.ones(2**24)  # 128 MB, 32768 pages
work()
start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start)
"""


def _page_faults(*, tuned: bool) -> int:
    done = subprocess.run([sys.executable, "-c", _CODE.format(tuned=tuned)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of another C library")
def test_freed_memory_is_used_again_in_all_threads() -> None:
    assert _page_faults(tuned=True) < 0.1 * _page_faults(tuned=False)
