"""What the depth prior is worth when made from keypoints, stereo, a network, or stereo and a network.

    python -m benchmarks.prior_sources WORKSPACE [--kind depth|inverse_depth] [--only NAME,...]
                                       [--steps N --size PX --rays N] [--json FILE]

WORKSPACE holds photos with sensor depth after ``ingest``, ``sfm`` and ``depth --source stereo``; photos set aside with
``--holdout`` are scored. It is left as it is. The sensor is the truth and no source of the prior; the network is that
truth disguised (``disguise.py``), nan outside the sensor's field of view.

Per variant: AbsRel of the prior where it has depth, coverage of the pixels with truth, AbsRel over all of these with
a missing pixel counted as 100 %, the shares of errors within one and two sigma (0.68 and 0.95 for a Gaussian; the
sensor's own sigma is added to the prior's), and with ``--steps`` the PSNR of held-out photos after the same training.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.disguise import disguise
from depthrf import pipeline
from depthrf.depth.sensor import sensor_sigma
from depthrf.io.depth.depth_maps import read_prior, write_map
from depthrf.io.depth.reports import MonoMeta
from depthrf.io.depth.sensor_maps import MAX_DEPTH_M, open_sensor_maps
from depthrf.io.poses.colmap import load_scene
from depthrf.stages import align, evaluate, merge, train
from depthrf.stages.merging.sensor_unit import settle_sensor_unit
from depthrf.storage import remove, write_json
from depthrf.workspace import Workspace

Array = NDArray[np.float64]

# Which sources each variant has besides the keypoints: stereo, network.
VARIANTS = {
    "keypoints": (False, False),
    "stereo": (True, False),
    "network": (False, True),
    "both": (True, True),
}
# Pixels farther than this from any truth, as a share of the photo's width, are outside the sensor's field of view.
_OUTSIDE = 0.02


@dataclass(frozen=True)
class Result:
    """Scores of one variant over the pixels of all photos."""

    variant: str
    kind: str
    abs_rel: float
    coverage: float
    abs_rel_missing_is_1: float
    within_1_sigma: float
    within_2_sigma: float
    psnr: float | None = None
    psnr_exposure_fit: float | None = None


@dataclass(frozen=True)
class Truth:
    """The sensor's depth and its standard deviation, (H, W), scene units, 0 = missing."""

    depth: Array
    sigma: Array


def truth_of(workspace: Workspace) -> dict[str, Truth]:
    """By stem."""
    scene, maps = load_scene(workspace.undistorted_sparse), open_sensor_maps(workspace)
    found = {view.stem: maps.metres(view, MAX_DEPTH_M) for view in scene.views}
    metres = {stem: depth for stem, depth in found.items() if depth is not None}
    unit = settle_sensor_unit(workspace, scene, metres, max_keypoint_sigma=0.1).metres_per_unit
    assert unit is not None
    focal = scene.views[0].camera.fx
    return {
        stem: Truth(depth.astype(np.float64) / unit, sensor_sigma(depth, focal).astype(np.float64) / unit)
        for stem, depth in metres.items()
    }


def prediction_of(truth: Array, kind: str, seed: list[int]) -> Array:
    """The truth as a network would give it, nan outside the sensor's field of view."""
    distance = cv2.distanceTransform((truth <= 0).astype(np.uint8), cv2.DIST_L2, 5)
    prediction = disguise(truth, kind, np.random.default_rng(seed))
    return np.where(distance <= _OUTSIDE * truth.shape[1], prediction, np.nan)


def prepare(source: Workspace, root: Path, variant: str, kind: str, truth: dict[str, Truth]) -> Workspace:
    """A copy of the workspace with the sources of a variant."""
    stereo, network = VARIANTS[variant]
    shutil.copytree(source.root, root, ignore=shutil.ignore_patterns("sensor_*", "nerf", "render", "mono", "prior"))
    workspace = Workspace(root)
    if not stereo:
        remove(workspace.stereo_depth)
    if network:
        for i, (stem, true) in enumerate(truth.items()):
            write_map(workspace.mono_depth / f"{stem}.npy", prediction_of(true.depth, kind, [i, len(kind)]))
        write_json(workspace.mono_meta, MonoMeta("disguised sensor", kind))
    return workspace


def score(workspace: Workspace, truth: dict[str, Truth], variant: str, kind: str) -> Result:
    errors, sigmas, known = [], [], []
    for stem, sensor in truth.items():
        prior, _ = read_prior(workspace.prior_depth / f"{stem}.npz")
        has_truth = sensor.depth > 0
        true, found = sensor.depth[has_truth], prior.depth[has_truth].astype(np.float64)
        errors.append(np.abs(found - true) / true)
        sigmas.append(np.hypot(prior.sigma, sensor.sigma)[has_truth] / true)
        known.append(found > 0)
    error, sigma, has = np.concatenate(errors), np.concatenate(sigmas), np.concatenate(known)
    return Result(
        variant,
        kind,
        abs_rel=float(error[has].mean()),
        coverage=float(has.mean()),
        abs_rel_missing_is_1=float(np.where(has, error, 1.0).mean()),
        within_1_sigma=float((error <= sigma)[has].mean()),
        within_2_sigma=float((error <= 2.0 * sigma)[has].mean()),
    )


def held_out_psnr(workspace: Workspace, arguments: argparse.Namespace) -> tuple[float | None, float | None]:
    """PSNR of the held-out photos after training, as it is and with the exposure fitted."""
    changes = [
        f"max_side={arguments.size}",
        f"optimiser.steps={arguments.steps}",
        f"optimiser.batch_rays={arguments.rays}",
    ]
    table = pipeline.merge_tables(pipeline.load_pipeline("cpu"), {"train": pipeline.assignments(changes)})
    train.run(workspace, pipeline.make_plan(table, "cpu")["train"])
    mean = evaluate.run(workspace, evaluate.Options(lpips="none")).mean
    return mean["psnr"], mean["psnr_exposure_fit"]


def measure(arguments: argparse.Namespace, variant: str, kind: str, truth: dict[str, Truth]) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        workspace = prepare(Workspace(arguments.workspace), Path(folder) / "w", variant, kind, truth)
        align.run(workspace, align.Options())
        merge.run(workspace, merge.Options())
        found = score(workspace, truth, variant, kind)
        if arguments.steps:
            psnr, fitted = held_out_psnr(workspace, arguments)
            found = Result(**{**asdict(found), "psnr": psnr, "psnr_exposure_fit": fitted})
    return found


def line(found: Result) -> str:
    psnr = "" if found.psnr is None else f"{found.psnr:8.2f}{found.psnr_exposure_fit:8.2f}"
    numbers = f"{found.abs_rel:9.4f}{found.coverage:9.1%}{found.abs_rel_missing_is_1:9.4f}"
    return f"{found.variant:10}{found.kind:14}{numbers}{found.within_1_sigma:8.1%}{found.within_2_sigma:8.1%}{psnr}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--kind", choices=("depth", "inverse_depth"), action="append")
    parser.add_argument("--only", default=",".join(VARIANTS), help="variants, separated by commas")
    parser.add_argument("--steps", type=int, default=0, help="training steps; 0: the prior alone is scored")
    parser.add_argument("--size", type=int, default=240, help="longer side of the photos in training, pixels")
    parser.add_argument("--rays", type=int, default=2048, help="rays a step")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    truth = truth_of(Workspace(arguments.workspace))
    rows = []
    print("variant   kind          AbsRel covered AbsRel, missing = 1; < 1 sigma, < 2 sigma; PSNR, exposure fitted")
    for i, kind in enumerate(arguments.kind or ("inverse_depth", "depth")):
        for variant in arguments.only.split(","):
            if i == 0 or VARIANTS[variant][1]:  # without a network its kind changes nothing
                rows.append(measure(arguments, variant, kind, truth))
                print(line(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
