"""One table of what SECURITY.md promises: kills, disks, damage, bad input, hostile files, fuzzing, memory.

    python -m benchmarks.promises -o DIR [--minutes 60] [--fuzz-minutes 60] [--kills 200]

Needs Linux, root, and the tests' packages. ``DIR/promises.json`` holds what came out, for
``python -m benchmarks.intake promises``. A part with 0 minutes is left out.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.results import Row
from depthrf.records import read_record
from depthrf.stages.stage import STAGES
from depthrf.workspace import Workspace

_COUNTED = re.compile(r"(\d+) (passed|failed|error)")
_SUMMARY = 200  # characters at the end of what pytest says


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0, help="of kills, full disks and damage")
    parser.add_argument("--fuzz-minutes", type=float, default=60.0)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workspace", type=Path, help="a finished run to take peak memory from, not the made-up scene")
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"bad input": cases("--bad-input"), "hostile files": cases("-m", "hostile")}
    if chosen.minutes:
        limits = ("--minutes", str(chosen.minutes), "--kills", str(chosen.kills))
        found["faults"] = _made_by("faults", chosen.output / "faults", "faults.json", *limits)
    if chosen.fuzz_minutes:
        limit = ("--minutes", str(chosen.fuzz_minutes))
        found["fuzz"] = _made_by("fuzz", chosen.output / "fuzz", "findings.json", *limit)
    measured = chosen.workspace or chosen.output / "faults" / "undisturbed" / "ws"
    if measured.is_dir():
        found["memory"] = peaks(measured)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    (chosen.output / "promises.json").write_text(text + "\n", encoding="utf-8")
    print(text)


def cases(*selection: str) -> dict[str, int]:
    """How many tests of a selection there are, and how many pass."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *selection]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    counts = {word: int(number) for number, word in _COUNTED.findall(done.stdout[-_SUMMARY:])}
    if not counts:
        raise RuntimeError(f"{' '.join(command)} ran no test: {done.stdout[-500:]}{done.stderr[-500:]}")
    return {"tried": sum(counts.values()), "handled": counts.get("passed", 0)}


def _made_by(benchmark: str, output: Path, file: str, *arguments: str) -> Any:
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", "-o", str(output), *arguments]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode not in (
        0,
        1,
    ):  # 1: it found something
        raise RuntimeError(f"{' '.join(command)} failed")
    return json.loads((output / file).read_text(encoding="utf-8"))


def peaks(root: Path) -> dict[str, float]:
    """Peak memory of every stage of a finished run, MB."""
    records = {stage: read_record(Workspace(root).record(stage)) for stage in STAGES}
    return {stage: r.peak_memory_mb for stage, r in records.items() if r and r.peak_memory_mb is not None}


_KILLS = "killed before and after each rename and sync, and at random"
_FAULTS = "full disks, read-only folders, damaged files, changed photos, runs at once, clocks set back"
_INPUTS = "bad input, hostile files, files damaged at random"
_GROUPS = {
    _KILLS: ("before", "after", "random"),
    _FAULTS: ("full", "read-only", "damage", "photos", "at-once", "clocks"),
}
"""The parts of ``benchmarks.faults`` that make one row."""


def rows(file: Path) -> list[Row]:
    """One row a kind of fault, for the table of results, of ``promises.json``."""
    found, made = json.loads(file.read_text(encoding="utf-8")), results.origin("cpu")
    values = [
        {"what": what, **_of_faults([found["faults"][part] for part in parts])}
        for what, parts in _GROUPS.items()
        if all(part in found.get("faults", {}) for part in parts)
    ]
    values.append({"what": _INPUTS, **_of_inputs(found)})
    if memory := found.get("memory"):
        peaks = ", ".join(f"{stage} {mb:.0f}" for stage, mb in memory.items())
        values.append({"what": "peak memory, MB", "tried": "five photos, 240x180", "result": peaks})
    return [{"values": row, **made} for row in values]


def _of_inputs(found: dict[str, Any]) -> dict[str, str]:
    tried, came = list[str](), list[str]()
    for what in ("bad input", "hostile files"):
        tried.append(f"{found[what]['tried']} cases of {what}")
        came.append(f"{found[what]['handled']} handled")
    if fuzz := found.get("fuzz"):
        tried.append(f"{fuzz['inputs']} inputs to {fuzz['readers']} readers in {fuzz['minutes']:g} minutes")
        names = ", ".join(f"{count} {name}" for name, count in fuzz["findings"].items())
        came.append(names or "all read or refused")
    return {"tried": "; ".join(tried), "result": "; ".join(came)}


def _of_faults(parts: list[dict[str, Any]]) -> dict[str, str]:
    tried = ", ".join(f"{part['tried']} {part['unit']}" for part in parts)
    problems = [problem for part in parts for problem in part["problems"]]
    refused = sum(part["refused"] for part in parts)
    after = f", {refused} times after a message" if refused > 1 else ", once after a message" if refused else ""
    fine = f"same result bit for bit{after}"
    return {"tried": tried, "result": f"{len(problems)} problems: {problems[0]}" if problems else fine}


if __name__ == "__main__":
    main()
