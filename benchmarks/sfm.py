"""Structure from motion on bare folders of real photos, beside COLMAP's own defaults in the same run.

    python -m benchmarks.sfm [SETS...] -o DIR [--ours-only]

``ours`` is ``depthrf reconstruct PHOTOS --pipeline default --until sfm``; ``defaults`` is pycolmap's
``extract_features``, ``match_exhaustive`` and ``incremental_mapping`` without any option, its largest model. Each runs
in a process of its own. Needs the evaluation data ($DEPTHRF_DATA or ../shared/data).

Photos: ``fox-50`` all; ``fox-18`` and ``fox-9`` at equal steps through the sorted list; ``fox-7`` every 8th, ``fox-5``
every 11th, ``fox-4`` and ``fox-3`` far apart (no three of ``fox-3`` share enough: nothing can place them);
``kitchen-18`` the training photos, ``kitchen-10``, ``-6`` and ``-5`` at equal steps of them; ``demo-6`` and ``demo-5``
photos of the demo's room, rendered here, at equal steps of its path; ``demo-100``, ``demo-200`` and ``demo-400`` the
same at half the size, to see how costs grow (only where they are named).

Columns: photos placed and trusted by the self-check (which judges the defaults' model too); median and largest
rotation error in degrees; median and largest error of the camera centres in per cent of the diagonal of the box around
the true ones; median points that a photo sees (``ours`` has points of two photos, which the defaults leave out); focal
length in pixels; the features that won; wall seconds, CPU seconds of all processes, and the largest process in GB.
Errors are over the placed photos. The world frame of a reconstruction is arbitrary: rotations are compared after the
world rotation that brings them closest to the true ones (chordal mean), centres after a similarity fit of their own
(Umeyama), so that neither fit blurs the other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.demo.photos import write_demo
from depthrf.geometry.transforms import rotation_angle_deg
from depthrf.io.poses.colmap import read_model
from depthrf.io.poses.transforms_json import read_transforms
from depthrf.storage import read_json, write_json
from depthrf.workspace import Workspace
from tests.evaluation_data import DATA
from tests.similarity import fit_similarity

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PoseErrors:
    """Degrees, and shares of the trajectory's extent."""

    rotation_median_deg: float
    rotation_max_deg: float
    centre_median: float
    centre_max: float


@dataclass(frozen=True)
class Result:
    """``cpu_seconds`` and ``peak_gb`` are of all processes and of the largest one; ``features`` those that won."""

    photos: int
    placed: int
    trusted: int
    points_per_photo: float
    focal_px: float
    errors: PoseErrors | None
    wall_seconds: float
    cpu_seconds: float
    peak_gb: float
    features: str = ""


def _equal_steps(names: Sequence[str], count: int) -> list[str]:
    return [names[i] for i in np.linspace(0, len(names) - 1, count).round().astype(int)]


def photos_of(name: str) -> tuple[Path, list[str]]:
    """Folder of a real set's scene and the photos that belong to it."""
    scene, count = name.split("-")
    if scene == "fox":
        everything = sorted(p.name for p in (DATA / "fox" / "images").iterdir())
        if far_apart := {"4": (0, 16, 33, 49), "3": (5, 25, 45)}.get(count):
            return DATA / "fox", [everything[i] for i in far_apart]
        step = {"7": 8, "5": 11}.get(count)
        return DATA / "fox", everything[::step] if step else _equal_steps(everything, int(count))
    listed = read_json(DATA / "kitchen" / "transforms.json")["train_filenames"]
    return DATA / "kitchen", _equal_steps(sorted(Path(p).name for p in listed), int(count))


_HUNDREDS = ("demo-100", "demo-200", "demo-400")
_OF_FOX = ("fox-50", "fox-18", "fox-9", "fox-7", "fox-5", "fox-4", "fox-3")
SETS = (*_OF_FOX, "kitchen-18", "kitchen-10", "kitchen-6", "kitchen-5", "demo-6", "demo-5")


def pose_errors(found: Mapping[str, Array], true: Mapping[str, Array]) -> PoseErrors | None:
    """Errors of ``cam_from_world`` (4, 4) by stem against the reference; None for fewer than three photos."""
    stems = sorted(found)
    if len(stems) < 3:
        return None
    a, b = (np.stack([poses[s] for s in stems]) for poses in (found, true))
    # world rotation W with found = true @ W: the rotation nearest to the mean of true^T found
    u, _, vt = np.linalg.svd(np.einsum("nji,njk->ik", b[:, :3, :3], a[:, :3, :3]))
    world = (u * [1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    rotation = rotation_angle_deg(a[:, :3, :3], b[:, :3, :3] @ world)
    centres_a, centres_b = (-np.einsum("nji,nj->ni", p[:, :3, :3], p[:, :3, 3]) for p in (a, b))
    offset = np.linalg.norm(fit_similarity(centres_a, centres_b).apply(centres_a) - centres_b, axis=1)
    share = offset / np.linalg.norm(np.ptp(centres_b, axis=0))
    return PoseErrors(float(np.median(rotation)), float(rotation.max()), float(np.median(share)), float(np.max(share)))


def _run(command: Sequence[object], log: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds, peak GB; a failed run's output stays in ``log``."""
    start = time.monotonic()
    with open(log, "wb") as handle:
        child = subprocess.Popen([sys.executable, *map(str, command)], stdout=handle, stderr=handle)
        _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0  # already waited for
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def run_ours(photos: Path, folder: Path, true: Mapping[str, Array]) -> Result:
    workspace = Workspace(folder / "workspace")
    command = ["-c", "from depthrf.cli import main; main()", "reconstruct", photos, "-o", workspace.root]
    costs = _run([*command, "--pipeline", "default", "--until", "sfm"], folder / "ours.log")
    count = len(list(photos.iterdir()))
    if not workspace.record("sfm").is_file():
        return Result(count, 0, 0, 0.0, 0.0, None, *costs)
    summary = read_json(workspace.record("sfm"))["summary"]
    images = read_model(workspace.sfm_model).images.values()
    poses = {Path(i.name).stem: i.cam_from_world for i in images}
    placed = summary["num_registered"]
    points, focal = summary["median_points_per_photo"], summary["focal_px"]
    return Result(count, placed, placed, points, focal, pose_errors(poses, true), *costs, summary["features"])


def run_defaults(photos: Path, folder: Path, true: Mapping[str, Array]) -> Result:
    output = folder / "defaults"
    costs = _run(["-m", "benchmarks.sfm", "--defaults", photos, output], folder / "defaults.log")
    count = len(list(photos.iterdir()))
    if not (output / "verdict.json").is_file():
        return Result(count, 0, 0, 0.0, 0.0, None, *costs)
    verdict = read_json(output / "verdict.json")
    poses = {Path(i.name).stem: i.cam_from_world for i in read_model(output / "best").images.values()}
    trusted, points, focal = verdict["trusted"], verdict["points_per_photo"], verdict["focal_px"]
    return Result(count, len(poses), trusted, points, focal, pose_errors(poses, true), *costs)


def defaults(photos: Path, output: Path) -> None:
    """COLMAP's own way, in this process; the largest model and the self-check's verdict on it."""
    from depthrf.sfm.child._pycolmap import pycolmap
    from depthrf.sfm.child.features import read_keypoints, read_pairs
    from depthrf.sfm.child.models import focal_of, placed_images, placed_photos, ray_pairs
    from depthrf.sfm.judging.selfcheck import check
    from depthrf.sfm.recipes import Trust

    output.mkdir()
    database = output / "database.db"
    pycolmap.extract_features(database, photos)
    pycolmap.match_exhaustive(database)
    models = pycolmap.incremental_mapping(database, photos, output)
    if not models:
        return
    model = max(models.values(), key=lambda m: m.num_reg_images())
    (output / "best").mkdir()
    model.write(output / "best")
    verdict = check(placed_photos(model), ray_pairs(model, read_pairs(database), read_keypoints(database)), Trust())
    write_json(
        output / "verdict.json",
        {
            "trusted": len(verdict.trusted),
            "points_per_photo": float(np.median([i.num_points3D for i in placed_images(model)])),
            "focal_px": focal_of(model),
        },
    )


def benchmark(name: str, folder: Path, ours_only: bool = False) -> dict[str, Result]:
    photos = folder / "photos"
    if name.startswith("demo-"):
        width, height = (320, 240) if name in _HUNDREDS else (640, 480)
        count = int(name.removeprefix("demo-"))
        transforms = write_demo(folder, num_train=count, num_test=1, width=width, height=height).transforms
    else:
        scene, names = photos_of(name)
        transforms = scene / "transforms.json"
        photos.mkdir(parents=True)
        for photo in names:
            shutil.copyfile(scene / "images" / photo, photos / photo)
    true = {Path(p.name).stem: p.cam_from_world for p in read_transforms(transforms).photos}
    results = {"ours": run_ours(photos, folder, true)}
    return results if ours_only else {**results, "defaults": run_defaults(photos, folder, true)}


_HEAD = f"{'set':<12}{'':<10}{'placed':>8}{'trusted':>8}{'rotation deg':>15}{'centre %':>15}"
_HEAD += f"{'points':>8}{'focal':>7}{'features':>15}{'wall s':>8}{'CPU s':>7}{'GB':>6}"


def row(name: str, who: str, r: Result) -> str:
    rotation = centre = "-"
    if r.errors is not None:
        rotation = f"{r.errors.rotation_median_deg:.2f} / {r.errors.rotation_max_deg:.2f}"
        centre = f"{100 * r.errors.centre_median:.2f} / {100 * r.errors.centre_max:.2f}"
    costs = f"{r.wall_seconds:>8.1f}{r.cpu_seconds:>7.1f}{r.peak_gb:>6.2f}"
    placed = f"{r.placed}/{r.photos}"
    return (
        f"{name:<12} {who:<9}{placed:>8}{r.trusted:>8}{rotation:>15}{centre:>15}"
        f"{r.points_per_photo:>8.0f}{r.focal_px:>7.0f}{r.features:>15}{costs}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=SETS, metavar="SETS", help=f"of {', '.join((*SETS, *_HUNDREDS))}")
    parser.add_argument("-o", "--output", type=Path, help="folder for photos, workspaces and results.json")
    parser.add_argument("--ours-only", action="store_true", help="leave out COLMAP's defaults")
    parser.add_argument("--defaults", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.defaults:
        defaults(*arguments.defaults)
        return
    if arguments.output is None:
        parser.error("-o is needed")
    print(_HEAD, flush=True)
    for name in arguments.sets:
        folder = arguments.output / name
        if folder.exists():
            parser.error(f"{folder} exists; give another -o")
        results = benchmark(name, folder, arguments.ours_only)
        for who, result in results.items():
            print(row(name, who, result), flush=True)
        path = arguments.output / "results.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        write_json(path, {**known, name: {who: asdict(result) for who, result in results.items()}})


if __name__ == "__main__":
    main()
