"""CPU seconds and memory of the stages after SfM, by the number of photos.

    python -m benchmarks.growth 18 100 -o DIR [--side 160]

Demo photos with their true poses and points on the true surfaces stand in for SfM, which `benchmarks.sfm` measures.
``depth`` is stereo, beside given maps (the true depth), which stand in for a network's. ``train`` is one step: what
counts is loading, and the tables that are made before. Each stage runs in a process of its own; its peak memory has
that of the libraries in it, which ``import`` tells. Needs no data.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.demo.photos import write_demo
from depthrf.demo.room import demo_views
from depthrf.geometry.camera import View
from depthrf.geometry.lens import Lens
from depthrf.io.photos.images import read_png_uint16
from depthrf.io.poses.colmap import NO_POINT, ColmapImage, ColmapModel
from depthrf.io.poses.colmap_binary import write_binary_model
from depthrf.io.poses.origin import write_pose_origin
from depthrf.io.poses.transforms_json import write_transforms
from depthrf.storage import fresh_dir, write_json
from depthrf.workspace import Workspace, create_workspace

Array = NDArray[np.float64]

STAGES = ("import", "depth", "align", "merge", "train")
_POINTS = 200  # that each photo adds
_SIGHTS = 1400  # that a photo has at most, as with SfM on such photos
_NOISE_PX, _SAME_DEPTH = 0.3, 0.01


@dataclass(frozen=True)
class Cost:
    """Of one stage: CPU seconds, and the most memory that its process held, MB."""

    cpu_seconds: float
    peak_mb: float


def make_workspace(folder: Path, num_photos: int, side: int) -> Workspace:
    """A workspace after SfM with monocular depth, of photos ``side`` pixels wide."""
    width, height = side, side * 3 // 4
    files = write_demo(folder, num_train=num_photos, num_test=0, width=width, height=height)
    views, _ = demo_views(num_photos, 0, width, height)
    depths = {v.name: read_png_uint16(files.depth / f"{v.stem}.png").astype(np.float64) / 1000.0 for v in views}
    workspace = create_workspace(folder / "workspace", files.photos)
    workspace.undistorted_images.parent.mkdir(parents=True)
    files.photos.rename(workspace.undistorted_images)
    model = model_of(views, depths)
    for target in (workspace.undistorted_sparse, workspace.sfm_model):
        write_binary_model(fresh_dir(target), model)
    image_folder = workspace.undistorted_images.relative_to(workspace.root).as_posix()
    write_pose_origin(workspace.pose_origin, "estimated")
    write_transforms(workspace.transforms, views, image_folder=image_folder)
    return workspace


def model_of(views: Sequence[View], depths: dict[str, Array]) -> ColmapModel:
    """Points at random pixels of every photo, seen by photos whose depth agrees; true poses and lens."""
    rng = np.random.default_rng(0)
    camera = views[0].camera
    size = np.array([camera.width, camera.height])
    world = np.concatenate([_surface(v, depths[v.name], rng.integers(2, size - 2, (_POINTS, 2))) for v in views])
    images = {}
    for key, view in enumerate(views, 1):
        xyz = world @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            xy = camera.project(xyz)
            inside = (xyz[:, 2] > 0) & (xy > 1).all(-1) & (xy < size - 1).all(-1)
        seen = np.flatnonzero(inside)
        column, row = np.floor(xy[seen]).astype(int).T
        seen = seen[np.abs(depths[view.name][row, column] - xyz[seen, 2]) < _SAME_DEPTH * xyz[seen, 2]]
        seen = np.sort(rng.permutation(seen)[:_SIGHTS])
        noisy = xy[seen] + rng.normal(0.0, _NOISE_PX, (len(seen), 2))
        images[key] = ColmapImage(view.name, 1, view.cam_from_world, noisy, seen + 1)
    lens = Lens("PINHOLE", camera.width, camera.height, (camera.fx, camera.fy, camera.cx, camera.cy))
    sights = np.bincount(np.concatenate([i.point_ids for i in images.values()]), minlength=len(world) + 1)
    kept = np.flatnonzero(sights >= 2)
    for key, image in images.items():
        ids = np.where(sights[image.point_ids] >= 2, image.point_ids, NO_POINT)
        images[key] = ColmapImage(image.name, 1, image.cam_from_world, image.xy, ids)
    grey = np.full((len(kept), 3), 128, np.uint8)
    return ColmapModel({1: lens}, images, kept, world[kept - 1], grey, np.full(len(kept), _NOISE_PX))


def _surface(view: View, depth: Array, pixels: NDArray[np.int64]) -> Array:
    """World points (N, 3) of pixels (N, 2), column and row."""
    xyz = view.camera.directions(pixels.astype(np.float64) + 0.5) * depth[pixels[:, 1], pixels[:, 0], None]
    return np.asarray((xyz - view.cam_from_world[:3, 3]) @ view.cam_from_world[:3, :3])


def run_stage(stage: str, folder: Path) -> None:
    """One stage with its defaults, in this process."""
    from depthrf.nerf.options import OptimiserOptions
    from depthrf.stages import align, depth, merge, train

    workspace = Workspace(folder / "workspace")
    work: dict[str, Callable[[], object]] = {
        "import": lambda: None,
        "depth": lambda: depth.run(
            workspace, depth.Options(mono_depth=folder / "ground_truth" / "depth", mono_kind="depth")
        ),
        "align": lambda: align.run(workspace, align.Options()),
        "merge": lambda: merge.run(workspace, merge.Options()),
        "train": lambda: train.run(workspace, train.Options(optimiser=OptimiserOptions(steps=1))),
    }
    work[stage]()


def cost_of(stage: str, folder: Path) -> Cost:
    """Raises CalledProcessError where the stage fails; what it said is in the folder."""
    code = "from depthrf.process import tune; tune(); from benchmarks.growth import main; main()"  # as the command line
    command = [sys.executable, "-c", code, "-o", str(folder), "--stage", stage]
    with open(folder / f"{stage}.log", "wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", type=int, default=[18, 100], metavar="PHOTOS")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for workspaces and results.json")
    parser.add_argument("--side", type=int, default=160, help="width of the photos, pixels")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        run_stage(arguments.stage, arguments.output)
        return
    print(f"{'photos':<8}{'stage':<8}{'CPU s':>8}{'a photo':>9}{'peak MB':>9}", flush=True)
    results: dict[str, dict[str, Cost]] = {}
    for number in arguments.numbers:
        folder = arguments.output / str(number)
        make_workspace(folder, number, arguments.side)
        for stage in STAGES:
            cost = cost_of(stage, folder)
            results.setdefault(str(number), {})[stage] = cost
            each = cost.cpu_seconds / number
            print(f"{number:<8}{stage:<8}{cost.cpu_seconds:>8.1f}{each:>9.2f}{cost.peak_mb:>9.0f}", flush=True)
            write_json(arguments.output / "results.json", {"side": arguments.side, "costs": results})


if __name__ == "__main__":
    main()
