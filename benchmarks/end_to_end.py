"""Whole sets of photos, reconstructed, rendered, scored and timed.

    python -m benchmarks.end_to_end demo|fox-18|fox-9|fox-6|fox-5|kitchen-10|kitchen-18 -o DIR

    fox-18, fox-9, fox-6,       that many of the 50 fox photos or 30 colour frames of the kitchen, at equal steps, as a
    kitchen-10                  bare folder with the `cpu` preset; the others are registered to the model and scored
    fox-5                       the same, but each photo is scored by a field trained on the four others
    kitchen-18                  18 RGB-D frames with given poses and sensor depth, `rgbd` preset; 12 held-out frames are
                                scored at their given poses
    demo                        the made-up room

The focal length that comes with the kitchen's poses is the depth camera's; SfM finds that of the photos. Poses are
compared with the true ones after a similarity fit. All sets but ``demo`` need the evaluation data ($DEPTHRF_DATA or
../shared/data).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.transforms import rotation_angle_deg
from depthrf.io.poses.transforms_json import load_views, read_transforms
from depthrf.storage import read_json
from depthrf.workspace import Workspace
from tests.evaluation_data import DATA
from tests.similarity import fit_similarity


def depthrf(*arguments: object) -> float:
    """Runs the command line and returns its wall seconds."""
    start = time.monotonic()
    command = [sys.executable, "-c", "from depthrf.cli import main; main()", *map(str, arguments)]
    subprocess.run(command, check=True)
    return time.monotonic() - start


def demo(folder: Path) -> dict[str, Any]:
    wall = depthrf("demo", "-o", folder, "--pipeline", "cpu")
    workspace = Workspace(folder / "workspace")
    return {"wall": wall, **report(workspace), **pose_errors(workspace, folder / "ground_truth" / "transforms.json")}


def bare(scene: str, count: int, folder: Path, *, leave_one_out: bool = False) -> dict[str, Any]:
    source = DATA / scene
    names = sorted(p.name for p in (source / "images").iterdir())
    chosen = {names[i] for i in np.linspace(0, len(names) - 1, count).round().astype(int)}
    for part, members in (("train", chosen), ("held_out", set(names) - chosen)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for name in members:
            shutil.copy(source / "images" / name, folder / part / name)
    wall = depthrf("reconstruct", folder / "train", "-o", folder / "ws", "--pipeline", "cpu")
    workspace = Workspace(folder / "ws")
    scored = ["--leave-one-out"] if leave_one_out else ["--photos", folder / "held_out"]
    depthrf("evaluate", workspace.root, *scored)
    return {"wall": wall, **report(workspace), **pose_errors(workspace, source / "transforms.json")}


def kitchen(folder: Path) -> dict[str, Any]:
    source = DATA / "kitchen"
    poses = source / "transforms.json"
    given = ["--poses", poses, "--sensor-depth", source / "depth", "--depth-camera", poses, "--refine-intrinsics"]
    wall = depthrf("reconstruct", source / "images", "-o", folder / "ws", *given, "--pipeline", "rgbd")
    workspace = Workspace(folder / "ws")
    depthrf("evaluate", workspace.root)
    return {"wall": wall, **report(workspace)}


def report(workspace: Workspace) -> dict[str, Any]:
    """Seconds of each stage, photos placed, and the mean scores."""
    records = {p.stem: read_json(p) for p in workspace.records.glob("*.json")}
    train = records["train"]["summary"]
    return {
        "seconds": {name: record["seconds"] for name, record in records.items()},
        "registered": [records["sfm"]["summary"][k] for k in ("num_registered", "num_photos")],
        "train": {k: train[k] for k in ("steps", "rays_per_second", "width", "height")},
        "video_frames": records["render"]["summary"]["num_frames"],
        "device": train["device"],
        "num_views": read_json(workspace.evaluation)["num_views"],
        "scores": read_json(workspace.evaluation)["mean"],
    }


def pose_errors(workspace: Workspace, truth: Path) -> dict[str, Any]:
    """Rotation in degrees and centre error as a share of the trajectory's extent, after a similarity fit."""
    known = {Path(p.name).stem: p.cam_from_world for p in read_transforms(truth).photos}
    views, _ = load_views(workspace.transforms)
    found = np.stack([view.cam_from_world for view in views])
    true = np.stack([known[view.stem] for view in views])
    found_centres, true_centres = camera_centres(found), camera_centres(true)
    similarity = fit_similarity(found_centres, true_centres)
    moved = np.stack([similarity.apply_to_pose(pose) for pose in found])
    rotation = rotation_angle_deg(moved[:, :3, :3], true[:, :3, :3])
    extent = np.linalg.norm(np.ptp(true_centres, axis=0))
    offset = np.linalg.norm(similarity.apply(found_centres) - true_centres, axis=1) / extent
    return {
        "rotation_deg": {"median": float(np.median(rotation)), "max": float(rotation.max())},
        "centre_share": {"median": float(np.median(offset)), "max": float(offset.max())},
        "metres_per_unit_truth": similarity.scale,
    }


def camera_centres(cam_from_world: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) centres of (N, 4, 4) poses, in the world."""
    return np.asarray(-np.einsum("nji,nj->ni", cam_from_world[:, :3, :3], cam_from_world[:, :3, 3]))


SETS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "demo": demo,
    "fox-18": partial(bare, "fox", 18),
    "fox-9": partial(bare, "fox", 9),
    "fox-6": partial(bare, "fox", 6),
    "fox-5": partial(bare, "fox", 5, leave_one_out=True),
    "kitchen-10": partial(bare, "kitchen", 10),
    "kitchen-18": kitchen,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    print(json.dumps({"set": arguments.set, **SETS[arguments.set](arguments.output)}, indent=1))


if __name__ == "__main__":
    main()
