"""Files that change behind the program's back: noticed and made again, or named in a message."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from benchmarks.faults import scene
from benchmarks.faults.finished import Finished, problems_of_refusal
from benchmarks.faults.outcome import Outcome
from depthrf.storage import remove

_LOOKED_AT = re.compile(
    r"\.lock|sfm/database-.*|report\..*|sfm/log\.txt|nerf/val/.*|nerf/metrics\.jsonl|.*/overlays/.*|render/preflight\.png|render/frames/.*"
)
"""Files that no stage reads, or that its result stands without: frames may be deleted once the film is there.

The database is read, and checked, where further photos are placed.
"""


def in_workspace(finished: Finished, most: int, until: float) -> Outcome:
    """Flips a bit in one file of every kind that a workspace holds, or cuts it off, and runs the command again."""
    outcome, begun = Outcome("files of a workspace cut off, or with a bit flipped", "files"), time.monotonic()
    for damage in (_flip, _cut):
        for name in kinds(finished.copy / "ws"):
            if outcome.tried >= most or time.monotonic() > until or outcome.is_hopeless:
                break
            finished.restore()
            path = finished.workspace.root / name
            whole = path.read_bytes()
            if whole:
                path.write_bytes(damage(whole))
                outcome.tried += 1
                where = f"{name}, {'cut off' if damage is _cut else 'a bit flipped'}: "
                outcome.problems += [where + problem for problem in _after_damage(finished, path, outcome)]
    outcome.seconds = round(time.monotonic() - begun, 1)
    return outcome


def kinds(root: Path) -> list[str]:
    """One file of every kind: those whose names differ by numbers alone are of one kind."""
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(re.sub(r"[0-9a-f]*\d[0-9a-f]*", "N", name), name)
    return [name for name in first.values() if not _LOOKED_AT.fullmatch(name)]


def _after_damage(finished: Finished, path: Path, outcome: Outcome) -> list[str]:
    damaged = path.read_bytes()
    run = scene.start(finished.folder, scene.COMMAND)
    code, problems = run.end(), list[str]()
    if code != 0:
        outcome.refused += 1
        problems += [p for p in problems_of_refusal(finished.folder, run, code, (path.name,)) if path.name not in p]
        remove(path)  # as the message says
        run = scene.start(finished.folder, scene.COMMAND)
        run.end()
    elif path.parent.name != "records" and path.is_file() and path.read_bytes() == damaged:
        # Of a record, most only tells what was found, and has no checksum; what decides is compared.
        problems.append("neither noticed nor made again")
    outcome.runs += 1
    return problems + finished.problems(run)


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def of_photos(finished: Finished, most: int, until: float) -> Outcome:
    """Changes a photo while the command runs, and runs it again: the result has to be that of the changed photo.

    The first changes come within ``ingest``, the last after it.
    """
    outcome, begun = Outcome("a photo changed while running", "photos"), time.monotonic()
    command, expected = scene.command_until("sfm"), dict[str, str]()
    for delay in (None, 0.02, 0.1, 0.2, 0.4, 0.8, 1.6):
        if outcome.tried >= most or time.monotonic() > until:
            break
        finished.restore_photos()
        run = scene.start(finished.folder, command) if delay is not None else None
        time.sleep(delay or 0.0)
        first, second = sorted((finished.folder / "photos").iterdir())[:2]
        shutil.copyfile(second, first)  # of the same size in pixels
        if run is None:
            scene.start(finished.folder, command).end()
            expected = scene.result(finished.folder)
            continue
        code = run.end()
        outcome.tried += 1
        where = f"a photo changed after {delay} s: "
        if code != 0:
            outcome.refused += 1
            outcome.problems += [where + p for p in problems_of_refusal(finished.folder, run, code)]
        run = scene.start(finished.folder, command)
        run.end()
        outcome.runs += 1
        found = scene.result(finished.folder)
        differ = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        outcome.problems += [f"{where}{name} is not that of the changed photo" for name in differ]
    outcome.seconds = round(time.monotonic() - begun, 1)
    return outcome
