"""What each part of the fast field brings: scores of the preset, and of the preset with one thing changed.

    python -m benchmarks.ablation lego-3|lego-6|kitchen-18 -o DIR [--only NAME,...] [--steps N] [--rays N]
                                        [--size PIXELS] [--workspace DIR] [--threads N]

``lego-N`` trains on the first N views with `depthrf bench`'s hash field settings and scores every 16th test view;
``kitchen-18`` trains in a workspace in which all stages up to merge have run and scores its 12 test photos:

    depthrf reconstruct images/ -o WORKSPACE --pipeline rgbd --until merge --poses transforms.json --sensor-depth depth/
        --depth-camera transforms.json --refine-intrinsics

Each variant writes ``DIR/<scene>/<name>.json`` and a picture; a variant that has them is not run again. The data is
expected in $DEPTHRF_DATA or ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.results import origin
from depthrf import pipeline
from depthrf.bench import presets
from depthrf.bench.scene import load_store, normalised, scaled_camera, score_views
from depthrf.evaluation import mean_scores
from depthrf.io.poses.blender import read_split
from depthrf.io.poses.transforms_json import load_views
from depthrf.io.trained_field import TrainedField
from depthrf.nerf.model import RadianceField
from depthrf.nerf.training.loop import prepare
from depthrf.nerf.training.losses import DEPTH_LOSSES
from depthrf.stages.scoring import held_out
from depthrf.stages.scoring.views import score_view
from depthrf.stages.training.photos import load
from depthrf.workspace import Workspace
from tests.evaluation_data import DATA

_EVENLY = "optimiser.pixels.contrast_share=0"
_ALONE = ["few_photos.max_photos=0", "loss.distortion=0", "loss.depth_final=1", _EVENLY]
LEGO: dict[str, list[str]] = {
    "preset": [],
    "without depth (none)": ["loss.depth=none"],
    "l2": ["loss.depth=l2"],
    "urf": ["loss.depth=urf"],
    "ds_nerf": ["loss.depth=ds_nerf"],
    "without rays of unseen cameras": ["few_photos.min_unseen_share=0"],
    "without their edges": ["loss.unseen.edges=0"],
    "without their opacity": ["loss.unseen.opacity=0"],
    "depth prior kept to the end": ["loss.depth_final=1"],
    "depth prior fading to 1 %": ["few_photos.min_depth_final=0.01"],
    "with view-dependent colour": ["few_photos.max_view_degree=2"],
    "pixels drawn evenly": [_EVENLY],
    "pixels with contrast drawn more often": ["few_photos.max_contrast_share=0.5"],
    "rays through pixel centres": ["few_photos.min_pixel_jitter=0"],
    "density bias -1": ["model.field.density_bias=-1"],
    "without distortion": ["loss.distortion=0"],
    "with anti-aliasing": ["model.field.antialias=true"],
    "without grid decay": ["loss.grid_decay=0"],
    **{f"{loss}, nothing for few photos": [*_ALONE, f"loss.depth={loss}"] for loss in DEPTH_LOSSES},
}
_NEARBY = ["loss.unseen.share=0.2", "loss.unseen.angle=0.3", "loss.unseen.tilt=0.15"]
KITCHEN: dict[str, list[str]] = {
    "preset": [],
    "without depth (none)": ["loss.depth=none"],
    "l2": ["loss.depth=l2"],
    "urf": ["loss.depth=urf"],
    "ds_nerf": ["loss.depth=ds_nerf"],
    "with rays of unseen cameras within 0.3 rad": [*_NEARBY, "loss.unseen.edges=0"],
    "with such rays and their edges": [*_NEARBY, "loss.unseen.edges=0.03"],
    "depth prior fading to 1 %": ["loss.depth_final=0.01"],
    "without view-dependent colour": ["model.field.view_degree=0"],
    "density bias -3": ["model.field.density_bias=-3"],
    "without distortion": ["loss.distortion=0"],
    "pixels with contrast drawn more often": ["optimiser.pixels.contrast_share=0.4"],
    "rays cast from beside the cameras": ["optimiser.pixels.recast.share=0.5"],
    "with anti-aliasing": ["model.field.antialias=true"],
    "without appearance vectors": ["model.field.appearance=0"],
    "without grid decay": ["loss.grid_decay=0"],
    "with pose refinement": ["optimiser.pose_rate=5e-4"],
}


@dataclass(frozen=True)
class Run:
    """A variant's scores (means over the test views), steps and speed; ``order``: its place in the table above."""

    name: str
    order: int
    changes: list[str]
    steps: int
    seconds: float
    rays_per_second: int
    scores: dict[str, float | None]
    size: int
    rays: int
    origin: dict[str, str]


def trained(store: Any, options: Any, seed: int) -> tuple[RadianceField, float]:
    """The model to render after all steps, and the seconds they took."""
    parts = options.model, options.loss, options.few_photos, options.optimiser
    trainer = prepare(store, *parts, seed=seed, device=torch.device("cpu"))
    start = time.monotonic()
    for _ in range(options.optimiser.steps):
        trainer.advance(store)
    return trainer.eval_model.eval(), time.monotonic() - start


def _length(arguments: argparse.Namespace) -> list[str]:
    return [f"optimiser.steps={arguments.steps}", f"optimiser.batch_rays={arguments.rays}"]


def lego(views: int, changes: list[str], arguments: argparse.Namespace, picture: Path) -> tuple[Any, float, Any]:
    scene = DATA / "lego"
    fixed = [f"size={arguments.size}", *_length(arguments), "model.field.grid.log2_size=17"]  # a CPU's cache is small
    options = presets.load("hash", pipeline.assignments([*fixed, *changes]), "changes")
    frames, test = read_split(scene, "train")[:views], read_split(scene, "test")[::16]
    store = load_store([scaled_camera(frames[0], options.size, 0)], frames, torch.device("cpu"))
    model, seconds = trained(store, options, arguments.seed)
    field = TrainedField(model, *normalised(), options.size)
    (scores,) = score_views(picture, field, test, options)
    return options, seconds, {"psnr": scores.psnr, "ssim": scores.ssim}


def kitchen(changes: list[str], arguments: argparse.Namespace, picture: Path) -> tuple[Any, float, Any]:
    workspace = Workspace(arguments.workspace)
    fixed = [f"max_side={arguments.size}", *_length(arguments)]
    table = pipeline.merge_tables(pipeline.load_pipeline("rgbd"), {"train": pipeline.assignments([*fixed, *changes])})
    options = pipeline.make_plan(table, "rgbd")["train"]
    photos = load(workspace, options.max_side, options.optimiser.pixels, torch.device("cpu"))
    model, seconds = trained(photos.store, options, arguments.seed)
    field = TrainedField(model, photos.normalised_from_scene, photos.bounds, options.max_side)
    found, (trained_on, _) = held_out.find(workspace, None), load_views(workspace.transforms)
    rows = []
    for view in found.views:
        photo, depth = found.images / view.name, found.depth.get(view.name)
        gain = photos.exposures.gain_at(view, trained_on)
        rows.append(score_view(field, view, photo, picture, masks=found.masks, gain=gain, reference=depth))
    return options, seconds, mean_scores(rows)


def variant(scene: str, name: str, changes: list[str], arguments: argparse.Namespace) -> Run:
    """Trains and scores one variant, or reads it where it is there."""
    stem = "".join(c if c.isalnum() or c in "-." else "_" for c in name)
    done = arguments.output / scene / f"{stem}.json"
    if not done.is_file():
        done.parent.mkdir(parents=True, exist_ok=True)
        kind, _, number = scene.partition("-")
        run: Callable[..., Any] = kitchen if kind == "kitchen" else lambda *a: lego(int(number), *a)
        options, seconds, scores = run(changes, arguments, done.with_suffix(".png"))
        optimiser = options.optimiser
        rate = round(optimiser.steps * optimiser.batch_rays / seconds)
        order = list(KITCHEN if kind == "kitchen" else LEGO).index(name)
        settings = arguments.size, arguments.rays
        found = Run(name, order, changes, optimiser.steps, round(seconds, 1), rate, scores, *settings, origin("cpu"))
        done.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    return Run(**json.loads(done.read_text(encoding="utf-8")))


def table(runs: list[Run]) -> Table:
    names = ("psnr", "psnr_exposure_fit", "ssim", "depth_median_abs_error")
    shown = Table("variant", *names, "rays/s")
    for run in runs:
        values = (run.scores.get(name) for name in names)
        shown.add_row(run.name, *("-" if v is None else f"{v:.3f}" for v in values), f"{run.rays_per_second:,}")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", help="lego-N or kitchen-18")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", help="names of variants, separated by commas")
    parser.add_argument("--workspace", type=Path, help="kitchen-18: where all stages up to merge have run")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rays", type=int, default=4096, help="rays per step")
    parser.add_argument("--size", type=int, default=200, help="longer side of the photos in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    variants = KITCHEN if arguments.scene.startswith("kitchen") else LEGO
    names = arguments.only.split(",") if arguments.only else list(variants)
    runs = [variant(arguments.scene, name, variants[name], arguments) for name in names]
    Console().print(table(runs))


if __name__ == "__main__":
    main()
