from __future__ import annotations

import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from depthrf import process
from tests.scenes import corner

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


_PEAKS = """
import subprocess, sys
from depthrf.process import PeakMemory
held = bytearray(400_000_000)
held[::4096] = b"x" * len(held[::4096])
first = PeakMemory()
print(first.megabytes)
del held
second = PeakMemory()
print(second.megabytes)
fill = "held = bytearray(900_000_000); held[::4096] = b'x' * len(held[::4096])"
subprocess.run([sys.executable, "-c", fill], check=True)
print(second.megabytes, PeakMemory().megabytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a span of time")
def test_peak_memory_is_that_of_the_span_of_time() -> None:
    done = subprocess.run([sys.executable, "-c", _PEAKS], capture_output=True, text=True, check=True)
    full, emptied, with_child, afterwards = map(float, done.stdout.split())
    assert full > 400
    assert emptied < full - 350
    assert with_child > 900
    assert afterwards < full - 350


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("busy", [True, False], ids=["does not listen", "listens"])
def test_signals_end_the_process(number: signal.Signals, busy: bool) -> None:
    code = (
        "import sys, time; from depthrf import process\n"
        "leaving = process.Leaving('go on so').__enter__()\n"
        "words = 'ready'\n"
        "while True:\n"
        "    try:\n"
        "        said, words = words, ''\n"
        "        if said: print(said, flush=True)\n"
        "        time.sleep(60)\n"
        "    except KeyboardInterrupt:\n"
        f"        if not {busy}: print('left', flush=True); sys.exit(leaving.code)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    ready = run.stdout.readline()
    run.send_signal(number)
    out, err = run.communicate(timeout=50)
    assert ready == "ready\n"
    assert run.returncode == 128 + number
    assert (out, err) == (("", "\nerror: go on so\n") if busy else ("left\n", ""))


def test_a_command_that_is_terminated_says_how_to_go_on(tmp_path: Path) -> None:
    corner.write_photos(tmp_path / "photos", corner.views(5))
    command = [sys.executable, "-m", "depthrf", "reconstruct", "photos", "-o", "ws"]
    run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert run.stderr is not None
    said = next(line for line in run.stderr if line.startswith("sfm"))
    run.terminate()
    said += run.communicate(timeout=100)[1]
    assert run.returncode == 143
    assert said.endswith("Interrupted. Run the same command again to go on.\n")
    assert "Traceback" not in said


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with process.Leaving("go on so"):
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
