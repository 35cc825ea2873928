"""The plan for many scenes, reckoned from the measurements in ``benchmarks/results``."""

from __future__ import annotations

import json
import math
from pathlib import Path

_STAGES = ("SfM", "stereo", "training", "video")
_SCENES, _DAY_S = 10_000, 86_400
_GPU = {"`train` and `render` on a GPU, work as on CPUs": 55, "`train` and `render` on a GPU, preset `default`": 225}
"""Seconds on a GPU: an estimate from measured rates, which the page explains."""


def times(root: Path) -> str:
    """Seconds of every stage, as measured, and what is left for the other stages."""
    rows = [f"| photos | {' | '.join(_STAGES)} | the rest | in all |", "|---|" + "---|" * (len(_STAGES) + 2)]
    for name, seconds in _measured(root).items():
        rest = seconds["in all"] - sum(seconds[stage] for stage in _STAGES)
        cells = [*(f"{seconds[stage]} s" for stage in _STAGES), f"{rest} s", f"{seconds['in all']} s"]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def workers(root: Path) -> str:
    """How many workers 10,000 scenes need to be done in a day, a week and 30 days."""
    measured = _measured(root).values()
    whole = sum(seconds["in all"] for seconds in measured) / len(measured)
    before = sum(s["in all"] - s["training"] - s["video"] for s in measured) / len(measured)
    rows = [
        "| what a worker does | a scene takes | in a day | in a week | in 30 days |",
        "|---|---|---|---|---|",
        _needed("all stages, on two cores", whole),
        _needed("all stages up to `merge`, on two cores", before),
        *(_needed(what, seconds) for what, seconds in _GPU.items()),
    ]
    return "\n".join(rows)


def _needed(what: str, seconds: float) -> str:
    counts = [f"{math.ceil(_SCENES * seconds / (days * _DAY_S)):,}" for days in (1, 7, 30)]
    return f"| {what} | {seconds:.0f} s | {' | '.join(counts)} |"


def _measured(root: Path) -> dict[str, dict[str, int]]:
    """Seconds by set and stage; the demo is left out, whose time includes making its photos."""
    found = json.loads((root / "benchmarks" / "results" / "end_to_end.json").read_text(encoding="utf-8"))["rows"]
    return {
        row["values"]["set"]: {
            name: int(row["values"][name].removesuffix(" s").replace(",", "")) for name in (*_STAGES, "in all")
        }
        for row in found
        if row["values"]["set"] != "demo"
    }
