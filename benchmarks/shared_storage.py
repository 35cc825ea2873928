"""Whether a folder that two machines share keeps what depthrf relies on.

    python -m benchmarks.shared_storage FOLDER --second "ssh other cd $PWD &&"

    FOLDER              a folder of the shared file system, under the same name on both machines
    --first, --second   what to put before a command so that it runs on that machine; empty: here

Both machines need this checkout and its Python environment, under the same names. Tried are:

- replacing a file again and again on one machine while the other one reads it: each read finds it whole, and none finds
  an older version than the read before;
- a lock that one machine holds and the other one wants, and what becomes of it when its holder is killed;
- a reconstruction of five small photos that is killed on one machine at its longest stage and continued on the other:
  its result must be that of an undisturbed run, bit for bit.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults import scene
from depthrf.storage import atomic_open, file_lock, read_json, remove

_VERSIONS = 500
_LONGEST_S = 60.0


def write_versions(folder: Path) -> None:
    """Replaces ``file.json`` again and again."""
    for version in range(_VERSIONS):
        with atomic_open(folder / "file.json") as handle:
            json.dump({"version": version, "text": "x" * 10_000}, handle)
    print("written")


def read_versions(folder: Path) -> None:
    """Reads ``file.json`` until its last version is there, and prints how often that was and what was wrong."""
    last, reads, backwards = -1, 0, 0
    failed: Counter[str] = Counter()
    until = time.monotonic() + _LONGEST_S
    while last < _VERSIONS - 1 and time.monotonic() < until:
        try:
            found = json.loads((folder / "file.json").read_text(encoding="utf-8"))
        except OSError as e:
            failed[errno.errorcode.get(e.errno or 0, "?")] += last >= 0
            continue
        except ValueError:
            failed["torn"] += 1
            continue
        reads, backwards, last = reads + 1, backwards + (found["version"] < last), found["version"]
    wrong = ", ".join(f"{count} times {what}" for what, count in failed.items() if count) or "none failed"
    print(f"{reads} reads, {wrong}, {backwards} of an older version; last version {last}")


def hold_lock(folder: Path) -> None:
    """Holds the lock until it is killed."""
    with file_lock(folder / "lock", wait_s=_LONGEST_S):
        (folder / "held").touch()
        time.sleep(10 * _LONGEST_S)


def want_lock(folder: Path) -> None:
    """Prints whether the lock can be had, at once and within a minute after ``released`` is there."""
    try:
        with file_lock(folder / "lock"):
            print("not excluded")
            return
    except BlockingIOError:
        (folder / "wanted").touch()
    while not (folder / "released").exists():
        time.sleep(0.05)
    begun = time.monotonic()
    with file_lock(folder / "lock", wait_s=_LONGEST_S):
        print(f"excluded; had it {time.monotonic() - begun:.1f} s after its holder was killed")


ROLES: dict[str, Callable[[Path], None]] = {
    role.__name__: role for role in (write_versions, read_versions, hold_lock, want_lock)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", default="")
    parser.add_argument("--second", default="")
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    folder = given.folder.absolute()
    if given.role:
        ROLES[given.role](folder)
        return
    first, second = shlex.split(given.first), shlex.split(given.second)
    clear = [sys.executable, "-c", f"import shutil; shutil.rmtree({str(folder)!r}, ignore_errors=True)"]
    for trial in (_renames, _locks, _reconstruction):
        subprocess.run([*first, *clear], check=True)
        subprocess.run([*first, "mkdir", "-p", str(folder)], check=True)
        print(f"{trial.__name__.strip('_')}: {trial(folder, first, second)}", flush=True)
    subprocess.run([*first, *clear], check=True)


def _started(machine: list[str], role: str, folder: Path) -> subprocess.Popen[str]:
    command = [*machine, sys.executable, "-m", "benchmarks.shared_storage", str(folder), "--role", role]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def _renames(folder: Path, first: list[str], second: list[str]) -> str:
    reader = _started(second, "read_versions", folder)
    writer = _started(first, "write_versions", folder)
    begun = time.monotonic()
    writer.wait()
    seconds = time.monotonic() - begun
    return f"{reader.communicate()[0].strip()} ({1000 * seconds / _VERSIONS:.1f} ms a version, start included)"


def _locks(folder: Path, first: list[str], second: list[str]) -> str:
    holder = _started(first, "hold_lock", folder)
    _wait(first, folder / "held")
    wanting = _started(second, "want_lock", folder)
    _wait(second, folder / "wanted", or_end_of=wanting)
    os.killpg(holder.pid, signal.SIGKILL)
    holder.wait()
    subprocess.run([*first, "touch", str(folder / "released")], check=True)
    return wanting.communicate()[0].strip()


def _wait(machine: list[str], path: Path, *, or_end_of: subprocess.Popen[str] | None = None) -> None:
    while subprocess.run([*machine, "test", "-e", str(path)], check=False).returncode:
        if or_end_of is not None and or_end_of.poll() is not None:
            return
        time.sleep(0.2)


def _reconstruction(folder: Path, first: list[str], second: list[str]) -> str:
    here = Path(f"{folder.name}-undisturbed").absolute()
    remove(here)
    here.mkdir()
    scene.write_photos(here)
    command = [sys.executable, "-m", "depthrf", *scene.COMMAND]
    subprocess.run(command, cwd=here, check=True, capture_output=True)
    expected = scene.result(here)
    subprocess.run([*first, "cp", "-r", str(here / "photos"), str(folder)], check=True)
    there = ["sh", "-c", 'cd "$0" && exec "$@"', str(folder), *command]
    run = subprocess.Popen(
        [*first, *there], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    _wait(second, folder / "ws" / "nerf" / "checkpoint.pt")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    done = subprocess.run([*second, *there], capture_output=True, text=True, check=False)
    subprocess.run([*second, "cp", "-r", str(folder / "ws"), str(here / "copy")], check=True)
    (here / "ws").rename(here / "undisturbed")
    (here / "copy").rename(here / "ws")
    found = scene.result(here)
    differ = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    stages = read_json(here / "ws" / "records" / "train.json")["summary"]["steps"]
    stood = done.stderr.count(": nothing to do")
    return (
        f"exit code {done.returncode}; {stood} stages stood; trained to step {stages}; "
        f"{len(expected) - len(differ)} of {len(expected)} results the same {differ[:3] or ''}".strip()
    )


if __name__ == "__main__":
    main()
