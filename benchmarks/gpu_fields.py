"""The parts of the GPU benchmark that train fields on data: lego with both kinds of field, and the kitchen."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu_request import Add, Request, Row, clear_peak, peak
from depthrf import pipeline
from depthrf.bench import presets, published
from depthrf.storage import read_json, write_json
from depthrf.workspace import open_workspace

if TYPE_CHECKING:
    from depthrf.bench.protocol import Options, Result

LEGO_TARGET_DB = {3: 24.5, 6: 28.5, 100: 37.0}
LEGO_TARGET_S, KITCHEN_TARGET_S = 120, 60
LEGO_STEPS = {3: 3000, 6: 6000, 100: 20000}
_LEGO_FIT_S, _SEED_STEPS, _SEED_FIT_S = 110.0, 50000, 75.0
_KITCHEN_STEPS = 4000
_LEAST_STEPS = 500
_OTHERS = ("none", "l2", "urf", "ds_nerf")

_GRID = {"levels": 2, "log2_size": 8, "finest": 32}
_TOY_PROPOSAL = {"num_samples": [8], "width": 8, "grid": _GRID}
_TOY_HASH = {"field": {"width": 8, "grid": _GRID}, "proposal": _TOY_PROPOSAL, "num_samples": 8}
_TOY_MLP = {"field": {"width": 8, "depth": 2}, "proposal": _TOY_PROPOSAL, "num_samples": 8}
_TOY_OPTIMISER = {"steps": 4, "batch_rays": 64}


def _options(request: Request, field: str, **given: Any) -> Options:
    toy: dict[str, Any] = {}
    if request.quick:
        toy = {"model": _TOY_HASH if field == "hash" else _TOY_MLP, "optimiser": _TOY_OPTIMISER, "size": 24}
    asked = pipeline.merge_tables(toy, {"device": request.device, **given})
    return presets.load(field, asked, "the benchmark")


def _steps(request: Request, field: str, asked: int | None, most: int, seconds: float) -> int:
    """Steps of every field of this kind: as asked, or as many as a timing says fit, the same in every run."""
    path = request.out / f"steps-{field}.json"
    if asked or request.quick:
        return asked or int(_TOY_OPTIMISER["steps"])
    if not path.is_file():
        from benchmarks.kernels import training
        from depthrf import device
        from depthrf.nerf import hashgrid
        from depthrf.nerf.training.schedule import step_cost

        target, options = device.resolve(request.device), _options(request, field)
        found = training(hashgrid.implementation(target.type), options, target, rounds=20)
        rays = options.optimiser.batch_rays * step_cost(options.optimiser, options.model.rays_across)
        fitting = int(seconds * found["rays_per_second"] / rays) // 100 * 100
        write_json(path, {"steps": min(most, max(_LEAST_STEPS, fitting)), **found})
    return int(read_json(path)["steps"])


def _lego(request: Request, part: str, cells: Iterable[tuple[int, str]], known: frozenset[str], add: Add) -> None:
    """The fast field, by number of views and loss."""
    most = _steps(request, "hash", request.lego_steps, max(LEGO_STEPS.values()), _LEGO_FIT_S)
    for views, loss in [c for c in cells if c[0] == 3] if request.quick else cells:
        steps = most if request.lego_steps else min(LEGO_STEPS[views], most)
        given = {"views": [views], "losses": [loss], "test_every": request.test_every}
        options = _options(request, "hash", **given, optimiser={"steps": steps})
        result, row = _cell(request, request.folder(part), options)
        target, met = f"{LEGO_TARGET_S} s", result.train_seconds <= LEGO_TARGET_S
        if loss == "cdf":
            target = f"{LEGO_TARGET_DB[views]} dB in {target}"
            met &= result.scores[0].psnr >= LEGO_TARGET_DB[views]
        if row.case not in known:  # else it was trained by an earlier run, which knew the peak memory
            add(Row(**{**vars(row), "target": target, "met": None if request.quick else met}))


def _cell(request: Request, folder: Path, options: Options) -> tuple[Result, Row]:
    """Trains and scores one field, unless that is done, with its published number."""
    from depthrf.bench import blender

    assert request.lego is not None
    clear_peak(request.device)
    (result,) = blender.run(request.lego, folder, options)
    score, cell = result.scores[0], result.cell
    known = published.lego_psnr(cell.loss, cell.group)
    row = Row(
        case=f"lego-{cell.views}, {cell.loss}",
        measured=(
            f"{score.psnr:.2f} dB, SSIM {score.ssim:.3f} ({score.size} px, {result.num_test} test views, "
            f"{result.steps} steps, {result.rays_per_second / 1e3:,.0f}k rays/s{peak(request.device)})"
        ),
        published="none known" if known is None else f"{known:.2f} dB",
        seconds=f"{result.train_seconds:.0f} / {result.test_seconds:.0f}",
    )
    return result, row


def lego(request: Request, known: frozenset[str], add: Add) -> None:
    _lego(request, "lego", [(views, "cdf") for views in LEGO_TARGET_DB], known, add)


def losses(request: Request, known: frozenset[str], add: Add) -> None:
    """What the targets compare comes first."""
    cells = [(views, loss) for views in LEGO_TARGET_DB for loss in _OTHERS]
    _lego(request, "losses", sorted(cells, key=lambda c: c[0] != 3 and c != (100, "none")), known, add)


def seed(request: Request, known: frozenset[str], add: Add) -> None:
    """The published network with every loss, and the order they come in."""
    steps = _steps(request, "mlp", request.seed_steps, _SEED_STEPS, _SEED_FIT_S)
    found = {}
    for loss in ("cdf", *_OTHERS):
        given = {"views": [3], "losses": [loss], "test_every": request.seed_test_every}
        # The published warm-up of 512 steps would be all of a short run.
        optimiser = {"steps": steps, "warmup_steps": min(512, max(1, steps // 4))}
        options = _options(request, "mlp", **given, optimiser=optimiser)
        result, row = _cell(request, request.folder("seed"), options)
        found[loss] = result.scores[0].psnr
        if row.case not in known:
            add(row)
    theirs = {loss: by_views[3] for loss, by_views in published.LEGO_PSNR.items()}
    best = max(found, key=found.__getitem__) == "cdf"
    add(Row("order of the losses", _order(found), "cdf first", None if request.quick else best, _order(theirs)))


def _order(psnr: dict[str, float]) -> str:
    return " > ".join(sorted(psnr, key=psnr.__getitem__, reverse=True))


def kitchen(request: Request, known: frozenset[str], add: Add) -> None:
    """Trains in a copy of the workspace, always anew: the time is what is measured."""
    from depthrf.cli.shared import run_evaluate, run_single
    from depthrf.planning import make_plan

    assert request.workspace is not None
    copy = request.folder("kitchen")
    shutil.rmtree(copy, ignore_errors=True)
    leave = shutil.ignore_patterns(
        "nerf", "render", "evaluation*", "train.json", "render.json", "evaluate.json", "*.db"
    )
    shutil.copytree(request.workspace, copy, ignore=leave)
    workspace = open_workspace(copy)
    train: dict[str, Any] = {"max_side": 640, "optimiser": {"steps": _KITCHEN_STEPS}}
    if request.quick:
        train = {"max_side": 32, "model": _TOY_HASH, "optimiser": _TOY_OPTIMISER}
    clear_peak(request.device)
    plan = make_plan("rgbd", {"train": train}, request.device)
    run_single(workspace, "train", plan["train"], force=False)
    memory = peak(request.device)
    start = time.monotonic()
    run_evaluate(workspace, {"device": request.device}, force=False)
    seconds = time.monotonic() - start
    summary, found = read_json(workspace.record("train"))["summary"], read_json(workspace.evaluation)
    mean = found["mean"]
    text = f"{mean['psnr']:.2f} dB, {mean['psnr_exposure_fit']:.2f} dB exposure fitted, SSIM {mean['ssim']:.3f}"
    if "depth_median_abs_error" in mean:
        text += f", depth median error {mean['depth_median_abs_error']:.4f} m, AbsRel {mean['depth_abs_rel']:.4f}"
    text += f" ({found['num_views']} views, {summary['steps']} steps, "
    text += f"{summary['rays_per_second'] / 1e3:,.0f}k rays/s{memory})"
    case = f"{summary['num_photos']} photos at {summary['width']}x{summary['height']}, rgbd preset"
    in_time = None if request.quick else summary["seconds"] <= KITCHEN_TARGET_S
    add(Row(case, text, f"{KITCHEN_TARGET_S} s", in_time, seconds=f"{summary['seconds']:.0f} / {seconds:.0f}"))
