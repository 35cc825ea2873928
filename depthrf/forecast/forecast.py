"""Puts the stages' costs together: which stages will run, what they take, and what a time budget buys."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthrf import console
from depthrf.forecast.cost import Cost
from depthrf.forecast.work import Work, find_work
from depthrf.freshness import foresee
from depthrf.options import seconds_of
from depthrf.stages.stage import STAGES
from depthrf.workspace import Workspace

BUDGETS = ("2m", "5m", "10m", "30m", "1h")
_BUSY = 1.3
"""Threads that want a core, for each core, from which on a machine counts as busy."""


@dataclass(frozen=True)
class StageForecast:
    """reasons: Why the stage will run; empty where its results stand. seconds: When nothing else runs. memory_mb: Most
    that the program holds meanwhile; None where the stage stands or the system does not tell."""

    stage: str
    reasons: tuple[str, ...]
    seconds: float
    memory_mb: float | None
    work: str


@dataclass(frozen=True)
class Purchase:
    """What a training budget buys: steps, and the seconds of the whole run."""

    budget: str
    steps: int
    run_seconds: float


@dataclass(frozen=True)
class Forecast:
    """What a run will take.

    Attributes:
        num_photos, width, height: Photos that train, and the size of most of them.
        device: Where training computes.
        stages: All, in order.
        seconds: Of the whole run, on this machine when nothing else runs.
        memory_mb: Most of any stage; None where the system does not tell.
        budgets: What training budgets buy; empty where the field stands.
        load: Threads that wanted a core while the kernels were tried, for each core; None where not known.
        trial_seconds: What that took.
    """

    num_photos: int
    width: int
    height: int
    device: str
    stages: tuple[StageForecast, ...]
    seconds: float
    memory_mb: float | None
    budgets: tuple[Purchase, ...]
    load: float | None
    trial_seconds: float

    @property
    def is_busy(self) -> bool:
        """Whether other programs will make the run slower than this."""
        return self.load is not None and self.load > _BUSY


def forecast(source: Path, workspace: Workspace, plan: Mapping[str, Any], budget: str | None = None) -> Forecast:
    """Tries the kernels of the stages that would run.

    Args:
        source: Photos, export or video.
        workspace: Of the run; need not exist.
        plan: Options of all stages.
        budget: A training budget to tell of beside :data:`BUDGETS`.

    Raises:
        UsageError: The source is not one, or options are wrong.
        DepthrfError: There are too few photos.
    """
    start = time.monotonic()
    why = foresee(workspace, plan, tuple(STAGES))
    with tempfile.TemporaryDirectory(prefix="depthrf-plan-") as folder:
        scratch = Path(folder)
        work = find_work(source, plan["ingest"], None if why["ingest"] else workspace, scratch)
        costs, budgets = _costs(work, plan, {stage for stage in STAGES if why[stage]}, scratch, budget)
    rows, most = [], 0.0
    for stage in STAGES:
        cost = costs.get(stage, Cost(0.0, None, ""))
        # Memory that was freed stays with the process, for its next stage.
        most = max(most, cost.memory_mb or 0.0)
        rows.append(StageForecast(stage, why[stage], cost.seconds, most or None if stage in costs else None, cost.work))
    seconds = sum(row.seconds for row in rows)
    other = seconds - costs["train"].seconds if "train" in costs else seconds
    return Forecast(
        num_photos=work.num_photos,
        width=work.width,
        height=work.height,
        device=_device(plan),
        stages=tuple(rows),
        seconds=seconds,
        memory_mb=most or None,
        budgets=tuple(Purchase(b, steps, other + seconds_of(b)) for b, steps in budgets.items()),
        load=_load(),
        trial_seconds=round(time.monotonic() - start, 1),
    )


def _costs(
    work: Work, plan: Mapping[str, Any], running: set[str], scratch: Path, budget: str | None
) -> tuple[dict[str, Cost], dict[str, int]]:
    """Costs of the stages that run, by stage, and steps by budget."""
    from depthrf.forecast import depth, field, poses

    costs: dict[str, Cost] = {}
    with console.progress() as display:
        task = display.add_task("trying the kernels", total=len(running), info="")

        def add(stage: str, cost: Cost) -> None:
            costs[stage] = cost
            display.update(task, advance=1, info=stage)

        if "ingest" in running:
            add("ingest", Cost(work.seconds * work.num_photos, None, f"{work.num_photos} photos"))
        if "sfm" in running:
            add("sfm", poses.sfm_cost(work, plan["sfm"], scratch))
        if "depth" in running:
            add("depth", depth.depth_cost(work, plan["depth"], scratch))
        if "align" in running:
            add("align", depth.align_cost(work, plan["depth"]))
        if "merge" in running:
            add("merge", depth.merge_cost(work, plan["merge"], plan["depth"], scratch))
        if not running & {"train", "render"}:
            return costs, {}
        pace, trainer = field.try_training(work, plan["train"])
        if "train" in running:
            add("train", field.train_cost(work, plan["train"], pace))
        if "render" in running:
            add("render", field.film_cost(work, plan["render"], trainer, scratch))
    wanted = dict.fromkeys(sorted({*BUDGETS, *([budget] if budget else [])}, key=seconds_of))
    return costs, {b: pace.steps_in(seconds_of(b)) for b in wanted} if "train" in running else {}


def _device(plan: Mapping[str, Any]) -> str:
    from depthrf.device import resolve

    return str(resolve(plan["train"].device))


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)
    except (AttributeError, OSError):
        return None
