"""What does a workspace survive? Kills, signals, full disks, damaged files and two runs at once.

    python -m benchmarks.faults -o DIR [--kills 200] [--minutes 60] [--part NAME]...

Runs the whole pipeline on a small made-up scene again and again. ``DIR/faults.json`` holds what came out; folders of
runs with a problem are kept. Needs Linux, and root for the disks.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.faults import company, damage, disks, finished, kills, scene
from benchmarks.faults.finished import Finished
from benchmarks.faults.outcome import Outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--cases", type=int, default=200, help="at most, of each other part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", action="append", choices=PARTS, help="only these; repeatable")
    chosen = parser.parse_args()
    plan = Plan(chosen.output, chosen.kills, chosen.cases, chosen.seed)
    found = run(plan, chosen.part or list(PARTS), minutes=chosen.minutes)
    print(json.dumps(found, indent=1, ensure_ascii=False))
    sys.exit(1 if any(part["problems"] for part in found.values()) else 0)


@dataclass(frozen=True)
class Plan:
    """What to do: most kills and most other cases of a kind, in the new folder ``output``."""

    output: Path
    kills: int
    cases: int
    seed: int


def run(plan: Plan, parts: Sequence[str], *, minutes: float) -> dict[str, dict[str, Any]]:
    """What came out, by part, which is also in ``faults.json``.

    Args:
        plan: What to do.
        parts: Keys of ``PARTS``.
        minutes: For all parts together; those that need less leave the rest to the others.
    """
    output = plan.output
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    os.environ.setdefault("PYTHONPATH", os.getcwd())
    scene.preload(output / "kernels")
    undisturbed = finished.make(output / "case", output / "undisturbed")
    end, found = time.monotonic() + 60 * minutes, dict[str, dict[str, Any]]()
    for index, part in enumerate(parts):
        now = time.monotonic()
        until = now + (end - now) / (len(parts) - index)
        found[part] = PARTS[part](plan, undisturbed, until).told()
        (output / "faults.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def _points(plan: Plan, undisturbed: Finished, until: float, *, after: bool) -> Outcome:
    folder = plan.output / ("after" if after else "before")
    return kills.at_points(folder, undisturbed.expected, plan.kills // 2, until, after=after)


def _random(plan: Plan, undisturbed: Finished, until: float) -> Outcome:
    return kills.at_random(plan.output / "random", undisturbed.expected, plan.kills, random.Random(plan.seed), until)


Part = Callable[[Plan, Finished, float], Outcome]


def _cases(part: Callable[[Finished, int, float], Outcome]) -> Part:
    return lambda plan, undisturbed, until: part(undisturbed, plan.cases, until)


PARTS: dict[str, Part] = {
    "clocks": _cases(company.clocks),
    "at-once": _cases(company.at_once),
    "photos": _cases(damage.of_photos),
    "read-only": _cases(disks.read_only),
    "full": _cases(disks.full),
    "damage": _cases(damage.in_workspace),
    "before": partial(_points, after=False),
    "after": partial(_points, after=True),
    "random": _random,
}

if __name__ == "__main__":
    main()
