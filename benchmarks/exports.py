"""What exports are worth: errors of the mesh, pictures of the splats from held-out places, sizes and times.

    python -m benchmarks.exports WORKSPACE --held-out DIR -o DIR [--truth GROUND_TRUTH] [--views 4]

Works on a copy of a trained workspace. The mesh is judged against the demo's true depth: it is laid over the truth by
the cameras, and seen from every true viewpoint. A picture of the splats is compared with the photo that was held out.
Writes results.json for ``python -m benchmarks.intake exports``.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import View
from depthrf.io.gaussians import Gaussians
from depthrf.io.photos.images import read_png_uint16, read_rgb
from depthrf.io.poses.transforms_json import load_views
from depthrf.pipeline import run_stage
from depthrf.stages import export
from depthrf.stages.exporting.rasteriser import render_splats
from depthrf.stages.scoring import held_out
from depthrf.storage import write_json
from depthrf.workspace import Workspace, open_workspace
from tests.similarity import fit_similarity

_WITHIN = 0.02  # of the depth: pixels that the mesh shows where the truth has its surface
_SIDE = 480
_SH_DC = 0.28209479177387814  # the constant spherical harmonic


@dataclass(frozen=True)
class Cost:
    """Of one kind: seconds of the clock and of the processor, and megabytes of its files."""

    wall_seconds: float
    cpu_seconds: float
    megabytes: float
    count: int
    of: str


@dataclass(frozen=True)
class MeshScore:
    """Errors of depth as shares of it, over pixels where the mesh has a surface: median and 90th percentile.
    complete: share of all true pixels within 2 %; covered: share with any surface. views: from which it was seen."""

    median: float
    percentile_90: float
    complete: float
    covered: float
    views: int


@dataclass(frozen=True)
class SplatScore:
    """Means over held-out views, dB. covered: share of pixels that splats cover to nine tenths. psnr: of all pixels.
    psnr_covered: of covered pixels. field: PSNR of the field's own pictures of the same views; None if not scored."""

    views: int
    psnr: float
    psnr_covered: float
    covered: float
    field: float | None


def measured(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds of the clock, of this process's processor time, and the result."""

    def cpu() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    wall, before = time.monotonic(), cpu()
    result = work()
    return time.monotonic() - wall, cpu() - before, result


def export_all(workspace: Workspace) -> dict[str, Cost]:
    """Every kind by itself, so that each has its own time; mesh and splats render the field each."""
    costs = {}
    for kind in export.KINDS:
        options = export.Options(what=(kind,))

        def work(options: export.Options = options) -> Any:
            return run_stage(workspace, "export", options, force=True)

        wall, cpu, _ = measured(work)
        summary = run_stage(workspace, "export", options)
        paths = export.outputs(workspace, options)
        size = sum(f.stat().st_size for path in paths for f in (path, *path.rglob("*")) if f.is_file()) / 1e6
        done = summary["exported"][0]
        costs[kind] = Cost(round(wall, 1), round(cpu, 1), round(size, 2), done["count"], done["of"])
        print(f"{kind:<12}{wall:>8.1f} s{cpu:>8.1f} CPU s{size:>9.1f} MB  {done['count']} {done['of']}", flush=True)
    return costs


def score_mesh(workspace: Workspace, truth: Path) -> MeshScore:
    """The exported mesh, seen from every true viewpoint of the demo."""
    import open3d as o3d

    train, test = load_views(truth / "transforms.json")
    true = {view.stem: view for view in (*train, *test)}
    found = {view.stem: view for view in load_views(workspace.transforms)[0]}
    common = sorted(found.keys() & true.keys())
    centres = [np.stack([views[name].centre for name in common]) for views in (found, true)]
    true_from_scene = fit_similarity(*centres)
    mesh = o3d.io.read_triangle_mesh(export.export_folder(workspace) / "mesh.ply")
    moved = true_from_scene.scale * np.asarray(mesh.vertices) @ true_from_scene.rotation.T + true_from_scene.translation
    scene = o3d.t.geometry.RaycastingScene()
    mesh.vertices = o3d.utility.Vector3dVector(moved)
    scene.add_triangles(o3d.t.geometry.TriangleMesh.from_legacy(mesh))
    errors, covered, complete = [], [], []
    for view in true.values():
        reference = read_png_uint16(truth / "depth" / f"{view.stem}.png").astype(np.float64) / 1000.0
        depth = _seen(scene, view)
        known, hit = reference > 0, np.isfinite(depth)
        error = np.abs(depth - reference)[known & hit] / reference[known & hit]
        errors.append(error)
        covered.append(hit[known].mean())
        complete.append((error <= _WITHIN).sum() / known.sum())
    every = np.concatenate(errors)
    return MeshScore(
        float(np.median(every)),
        float(np.quantile(every, 0.9)),
        float(np.mean(complete)),
        float(np.mean(covered)),
        len(true),
    )


def _seen(scene: Any, view: View) -> NDArray[np.float64]:
    """z-depth (H, W) of the first surface that each pixel sees; inf where there is none."""
    pose = view.world_from_cam
    rays = view.camera.directions(view.camera.pixel_centres()) @ pose[:3, :3].T
    origins = np.broadcast_to(pose[:3, 3], rays.shape)
    found = scene.cast_rays(np.concatenate([origins, rays], axis=-1).astype(np.float32))
    return np.asarray(found["t_hit"].numpy(), dtype=np.float64)


def score_splats(workspace: Workspace, photos: Path, count: int) -> SplatScore:
    """The exported splats from the places of held-out photos, which are registered to the model."""
    from depthrf.evaluation import read_evaluation

    evaluation = read_evaluation(workspace.evaluation)
    scored = {view.name: view.psnr for view in evaluation.views} if evaluation else {}
    files = sorted(path for path in photos.iterdir() if path.is_file())
    chosen = workspace.root / "held out for splats"
    chosen.mkdir(exist_ok=True)
    for index in np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int):
        shutil.copyfile(files[index], chosen / files[index].name)
    found = held_out.find(workspace, chosen)
    gaussians = read_gaussians(export.export_folder(workspace) / "splats.ply")
    whole, inside, covered, field = [], [], [], []
    for view in found.views:
        small = view.with_camera(view.camera.fitted(_SIDE))
        truth = _resized(read_rgb(found.images / view.name), small) / 255.0
        color, opacity = render_splats(gaussians, small)
        squared = (np.clip(color, 0.0, 1.0) - truth) ** 2
        solid = opacity > 0.9
        shown = squared[solid] if solid.any() else squared
        whole.append(-10.0 * np.log10(squared.mean()))
        inside.append(-10.0 * np.log10(shown.mean()))
        covered.append(solid.mean())
        field.append(scored.get(view.name))
        print(f"splats from {view.name}: {whole[-1]:.2f} dB, {covered[-1]:.1%} covered, {inside[-1]:.2f} dB there")
        _write_pair(workspace.root.parent / f"splats_{view.stem}.png", color, truth)
    known = [psnr for psnr in field if psnr is not None]
    scored_field = float(np.mean(known)) if len(known) == len(whole) else None
    means = [float(np.mean(values)) for values in (whole, inside, covered)]
    return SplatScore(len(whole), means[0], means[1], means[2], scored_field)


def read_gaussians(path: Path) -> Gaussians:
    """A 3DGS file of degree 0, read independently of what has written it."""
    from plyfile import PlyData

    vertex = PlyData.read(str(path))["vertex"]

    def columns(*names: str) -> NDArray[np.float64]:
        return np.stack([np.asarray(vertex[name], dtype=np.float64) for name in names], axis=-1)

    return Gaussians(
        columns("x", "y", "z"),
        columns("nx", "ny", "nz"),
        np.exp(columns("scale_0", "scale_1", "scale_2")),
        columns("rot_0", "rot_1", "rot_2", "rot_3"),
        columns("f_dc_0", "f_dc_1", "f_dc_2") * _SH_DC + 0.5,
        1.0 / (1.0 + np.exp(-columns("opacity")[:, 0])),
    )


def _resized(rgb: NDArray[np.uint8], view: View) -> NDArray[np.float64]:
    import cv2

    small = cv2.resize(rgb, (view.camera.width, view.camera.height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float64)


def _write_pair(path: Path, color: NDArray[np.float64], truth: NDArray[np.float64]) -> None:
    from depthrf.io.photos.images import write_png

    pair = np.concatenate([np.clip(color, 0.0, 1.0), truth], axis=1)
    write_png(path, (255.0 * pair).round().astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--held-out", type=Path, required=True, help="photos of the scene that were not trained on")
    parser.add_argument("--truth", type=Path, help="ground_truth of the demo")
    parser.add_argument("--views", type=int, default=4, help="held-out photos that splats are compared with")
    parser.add_argument("--name", required=True, help="what the rows call the set")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    copy = arguments.output / "workspace"
    if not copy.is_dir():
        left_out = shutil.ignore_patterns("render", "mono", "stereo", "aligned", "export", "evaluation", ".lock")
        shutil.copytree(arguments.workspace, copy, ignore=left_out)
    workspace = open_workspace(copy)
    content: dict[str, Any] = {"set": arguments.name, "costs": export_all(workspace)}
    if arguments.truth is not None:
        content["mesh"] = score_mesh(workspace, arguments.truth)
        print(content["mesh"], flush=True)
    content["splats"] = score_splats(workspace, arguments.held_out, arguments.views)
    print(content["splats"], flush=True)
    write_json(arguments.output / "results.json", content)


if __name__ == "__main__":
    main()
