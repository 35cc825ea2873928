"""The radiance field beside nerfstudio's depth-nerfacto: same data, rays per batch, seconds and threads, in one run.

    python -m benchmarks.peer_nerfstudio WORKSPACE --nerfstudio-python NS/bin/python --seconds 600 -o DIR

WORKSPACE has run up to ``merge`` on photos with given poses, some of them held out (``test_filenames``), and sensor
depth; it is only read. NS is a virtual environment with nerfstudio 1.1.5.

Both train on identical photos (made smaller once, by area), poses, intrinsics and depth: nerfstudio gets them as a
``transforms.json`` in metres with 16-bit millimetre PNGs of the very prior that depthrf trains on (0 = none, which its
depth loss masks out), except that it has no place for the prior's standard deviation. What it is run with is told in
``peer_nerfstudio_runner.py``. Only training steps are timed, not the loading of data. Both render the same held-out
views, which the same code scores: median z-depth against the sensor in metres, colours against the photos.

DIR gets ``data`` (what nerfstudio read), one folder of renderings for each, and ``result.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.peer_scene import Map, Scene, export, load_scene, z_depth
from benchmarks.results import origin
from depthrf import pipeline
from depthrf.evaluation import ViewScores, mean_scores
from depthrf.geometry.camera import DepthPrior, View
from depthrf.io.photos.images import read_rgb
from depthrf.nerf.normalise import normalise_view
from depthrf.nerf.rays.pixel_store import PixelStore, resize_prior
from depthrf.nerf.rendering.views import render_view
from depthrf.nerf.scores.metrics import color_scores, depth_scores
from depthrf.nerf.training.loop import Trainer, prepare
from depthrf.nerf.training.memory import advance
from depthrf.nerf.training.schedule import StepBudget
from depthrf.stages import train
from depthrf.stages.training.loop import fit_budget
from depthrf.stages.training.photos import load
from depthrf.storage import fresh_dir, write_json
from depthrf.workspace import Workspace

RUNNER = Path(__file__).with_name("peer_nerfstudio_runner.py")
_DEPTHS = ("median", "expected")  # of those that the runner writes
_EXPECTED = "depth_median_abs_error_of_expected"


@dataclass(frozen=True)
class Rendering:
    """rgb (H, W, 3) uint8 and z-depth (H, W) in metres; ``others``: further z-depths by name, where there are any."""

    rgb: NDArray[np.uint8]
    depth: Map
    others: dict[str, Map]


@dataclass(frozen=True)
class Run:
    """What one of the two did; ``step_seconds`` and ``view_seconds`` in order, ``renderings`` by photo stem.

    ``cpu_seconds``: of all steps and threads; fewer than seconds times threads where something else took the cores.
    """

    name: str
    step_seconds: list[float]
    cpu_seconds: float
    view_seconds: list[float]
    rays_per_view: int
    threads: int
    renderings: dict[str, Rendering]
    settings: dict[str, Any]


def run_nerfstudio(scene: Scene, arguments: argparse.Namespace) -> Run:
    """Trains and renders in a process of nerfstudio's environment."""
    data, folder = fresh_dir(arguments.output / "data"), fresh_dir(arguments.output / "nerfstudio")
    export(scene, data)
    # Isolated (-I): the folder of the script holds modules whose names others use too.
    command = [arguments.nerfstudio_python, "-I", "-W", "ignore", RUNNER, data, "-o", folder]
    for name in ("seconds", "batch_rays", "threads", "score_every", "camera_optimizer"):
        if (value := getattr(arguments, name)) is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    subprocess.run(command, check=True)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    renderings = {}
    for view in scene.test[:: arguments.score_every]:
        with np.load(folder / f"{view.stem}.npz") as maps:
            depths = {k: z_depth(maps[f"distance_{k}"], view.camera, summary["units_per_metre"]) for k in _DEPTHS}
            renderings[view.stem] = Rendering(maps["rgb"], depths.pop("median"), depths)
    settings = {k: summary[k] for k in ("torch", "camera_optimizer", "units_per_metre")}
    measured = {
        k: summary[k] for k in ("name", "step_seconds", "cpu_seconds", "view_seconds", "rays_per_view", "threads")
    }
    return Run(**measured, renderings=renderings, settings=settings)


def run_depthrf(scene: Scene, arguments: argparse.Namespace) -> Run:
    """Trains with the stage's own parts, and renders."""
    folder, target = fresh_dir(arguments.output / "depthrf"), torch.device("cpu")
    options = train_options(arguments)
    torch.set_num_threads(arguments.threads)
    # As the other program gets them: their exposure is left alone.
    photos = load(scene.workspace, options.max_side, options.optimiser.pixels, target, one_exposure=False)
    store = photos.store
    parts = options.model, options.loss, options.few_photos, options.optimiser
    trainer = prepare(store, *parts, seed=options.seed, device=target)
    processor = time.process_time()
    steps = timed_steps(trainer, store, arguments.seconds)
    processor = time.process_time() - processor
    renderings, view_seconds = {}, []
    to_metres = np.float32(scene.metres_per_unit / photos.normalised_from_scene.scale)
    for view in scene.test[:: arguments.score_every]:
        start = time.perf_counter()
        normalised = normalise_view(view, photos.normalised_from_scene)
        rendered = render_view(trainer.eval_model.eval(), normalised, photos.bounds)
        view_seconds.append(time.perf_counter() - start)
        renderings[view.stem] = Rendering(rendered.rgb, rendered.depth * to_metres, {})
        np.savez(folder / f"{view.stem}.npz", rgb=rendered.rgb, depth=renderings[view.stem].depth)
    rays = scene.test[0].camera.width * scene.test[0].camera.height
    settings = {"torch": torch.__version__, "pipeline": arguments.pipeline}
    return Run("depthrf", steps, processor, view_seconds, rays, torch.get_num_threads(), renderings, settings)


def train_options(arguments: argparse.Namespace) -> train.Options:
    """The preset's, at the size and batch of the comparison."""
    changes = {"max_side": arguments.size, "optimiser": {"batch_rays": arguments.batch_rays}}
    tables = pipeline.merge_tables(pipeline.load_pipeline(arguments.pipeline), {"train": changes})
    options: train.Options = pipeline.make_plan(tables, arguments.pipeline)["train"]
    return options


def timed_steps(trainer: Trainer, store: PixelStore, seconds: float) -> list[float]:
    """Steps until the schedule that the first of them planned has ended, or the time, whichever is first."""
    budget: StepBudget | None = StepBudget(seconds)
    steps: list[float] = []
    spent = 0.0
    while trainer.step < trainer.total and spent < seconds:
        start = time.perf_counter()
        result = advance(trainer, store, print)
        steps.append(time.perf_counter() - start)
        spent += steps[-1]
        if budget is not None:
            trainer.total, budget = fit_budget(trainer, budget, result, spent)
    return steps


def score(rendering: Rendering, view: View, scene: Scene) -> dict[str, Any]:
    """Scores of one held-out view, whoever rendered it; depth errors in metres."""
    camera = view.camera
    photo = read_rgb(scene.workspace.undistorted_images / view.name)
    photo = cv2.resize(photo, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    row: dict[str, Any] = {"name": view.name, **asdict(color_scores(rendering.rgb, photo))}
    if view.name not in scene.depth:
        return row
    known = scene.depth[view.name]
    reference = resize_prior(DepthPrior(known, known), camera).depth * np.float32(scene.metres_per_unit)
    if scores := depth_scores(rendering.depth, reference):
        row |= asdict(scores)
    for name, depth in rendering.others.items():
        if scores := depth_scores(depth, reference):
            row[f"depth_median_abs_error_of_{name}"] = scores.depth_median_abs_error
    return row


def report(run: Run, scene: Scene, batch_rays: int) -> dict[str, Any]:
    """Counts, speeds and scores of one run. Rates of rendering are of the median view: the first may compile."""
    rows = [score(run.renderings[v.stem], v, scene) for v in scene.test if v.stem in run.renderings]
    seconds, steps = sum(run.step_seconds), len(run.step_seconds)
    mean = mean_scores([msgspec.convert(row, ViewScores) for row in rows])
    expected = [row[_EXPECTED] for row in rows if _EXPECTED in row]
    return {
        "name": run.name,
        "settings": {**run.settings, "threads": run.threads},
        "steps": steps,
        "rays": steps * batch_rays,
        "seconds": round(seconds, 2),
        "rays_per_second": steps * batch_rays / seconds,
        "rays_per_cpu_second": steps * batch_rays / run.cpu_seconds,
        "median_step_seconds": statistics.median(run.step_seconds),
        "rendered_rays_per_second": run.rays_per_view / statistics.median(run.view_seconds),
        "mean": {
            **mean,
            **({_EXPECTED: statistics.fmean(expected)} if expected else {}),
        },
        "views": rows,
    }


def ratios(ours: dict[str, Any], peer: dict[str, Any]) -> dict[str, float]:
    """How the two compare; depth errors of the peer are those of the better of its two depths."""
    peer_error = min(peer["mean"]["depth_median_abs_error"], peer["mean"][_EXPECTED])
    return {
        "rays_per_second, ours / peer": ours["rays_per_second"] / peer["rays_per_second"],
        "rays_per_cpu_second, ours / peer": ours["rays_per_cpu_second"] / peer["rays_per_cpu_second"],
        "rendered_rays_per_second, ours / peer": ours["rendered_rays_per_second"] / peer["rendered_rays_per_second"],
        "psnr, ours - peer": ours["mean"]["psnr"] - peer["mean"]["psnr"],
        "psnr_exposure_fit, ours - peer": ours["mean"]["psnr_exposure_fit"] - peer["mean"]["psnr_exposure_fit"],
        "depth_median_abs_error, ours / peer": ours["mean"]["depth_median_abs_error"] / peer_error,
    }


def print_table(runs: list[dict[str, Any]]) -> None:
    columns = ("psnr", "psnr_exposure_fit", "ssim", "depth_abs_rel", "depth_median_abs_error", _EXPECTED)
    titles = ("PSNR", "fitted", "SSIM", "AbsRel", "median m", "of mean m")
    print(
        f"{'':34}{'steps':>7}{'s':>7}{'rays/s':>9}{'rays/cpu s':>12}{'rendered':>10}"
        + "".join(f"{t:>11}" for t in titles)
    )
    for run in runs:
        speed = (
            f"{run['rays_per_second']:9.0f}{run['rays_per_cpu_second']:12.0f}{run['rendered_rays_per_second']:10.0f}"
        )
        values = (run["mean"].get(name) for name in columns)
        scores = "".join(f"{'-':>11}" if v is None else f"{v:11.4f}" for v in values)
        print(f"{run['name']:34}{run['steps']:7}{run['seconds']:7.0f}{speed}{scores}")


RUNS = {"depthrf": run_depthrf, "nerfstudio": run_nerfstudio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--nerfstudio-python", type=Path, help="the interpreter of nerfstudio's environment")
    parser.add_argument("--seconds", type=float, default=600.0, help="of training steps, each (default: 600)")
    parser.add_argument("--size", type=int, default=240, help="longer side in pixels (default: 240)")
    parser.add_argument("--batch-rays", type=int, default=4096)
    parser.add_argument("--pipeline", default="rgbd", help="preset of depthrf (default: rgbd)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--score-every", type=int, default=1, help="score every N-th held-out view")
    parser.add_argument("--camera-optimizer", choices=("off", "SO3xR3", "SE3"), help="nerfstudio's; default: its own")
    parser.add_argument("--only", choices=RUNS)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.only != "depthrf" and arguments.nerfstudio_python is None:
        parser.error("--nerfstudio-python is needed, except with --only depthrf")
    scene = load_scene(Workspace(arguments.workspace), arguments.size)
    names = [arguments.only] if arguments.only else list(RUNS)
    reports = {name: report(RUNS[name](scene, arguments), scene, arguments.batch_rays) for name in names}
    print_table(list(reports.values()))
    settings = {k: getattr(arguments, k) for k in ("seconds", "size", "batch_rays", "score_every")}
    result: dict[str, Any] = {**origin("cpu"), "settings": settings, "runs": reports}
    if len(reports) == 2:
        result["ratios"] = ratios(*reports.values())
        for name, value in result["ratios"].items():
            print(f"{name}: {value:.3f}")
    write_json(arguments.output / "result.json", result)


if __name__ == "__main__":
    main()
