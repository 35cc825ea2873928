"""export: what was reconstructed, as files that other programs open (``export/``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console, device
from depthrf.errors import UsageError
from depthrf.io.depth.scale import metres_per_unit
from depthrf.options import option
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    from depthrf.stages.exporting.target import Exported, Target

HELP = "writes points, meshes, Gaussian splats, or the photos with poses and depth, for other programs."
REQUIRES = ("sfm", "merge")

KINDS = ("points", "mesh", "splats", "colmap", "nerfstudio", "depth", "cameras")
_OF_THE_FIELD = {"mesh", "splats"}


@dataclass(frozen=True)
class Options:
    what: tuple[str, ...] = option(
        ("points",), "what to write, several separated by commas: points, mesh, splats, or data for other programs",
        choices=KINDS,
    )  # fmt: skip
    units: str = option(
        "scene", "unit of length; metres need sensor depth, metric poses or a known length", choices=("scene", "metres")
    )
    max_sigma: float = option(
        0.05, "leave out depth whose standard deviation exceeds this share of it", least=0, most=10
    )
    spacing: float = option(
        0.0,
        "distance between points or splats, in these units; 0: by the photos' resolution",
        least=0,
        most=1e6,
    )
    triangles: int = option(300_000, "most triangles of a mesh", least=100, most=50_000_000)
    device: str = option("auto", "where the field is rendered", choices=device.CHOICES, identity=False)


@dataclass(frozen=True)
class Summary:
    """folder: where the files lie. units: as in the options."""

    folder: str
    units: str
    exported: tuple[Exported, ...]


def export_folder(workspace: Workspace) -> Path:
    return workspace.root / "export"


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    read = [workspace.undistorted_images, workspace.undistorted_sparse, workspace.prior_depth, workspace.transforms]
    read += [workspace.scale] if options.units == "metres" else []
    return [*read, workspace.undistorted_masks, *([workspace.checkpoint] if _OF_THE_FIELD & {*options.what} else [])]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    files = {
        "points": ("points.ply",),
        "mesh": ("mesh.ply", "mesh.obj", "mesh.glb"),
        "splats": ("splats.ply", "splats.spz"),
        "cameras": ("cameras.json",),
    }
    return [export_folder(workspace) / name for kind in options.what for name in files.get(kind, (kind,))]


def run(workspace: Workspace, options: Options) -> Summary:
    """Writes what is asked for into ``export/``; other files there stay.

    Raises:
        UsageError: Metres are asked for and the scale is not known, or a mesh or splats and no field is trained.
        DepthrfError: There is nothing to write, or a file cannot be written.
    """
    from depthrf.io.poses.colmap import load_scene
    from depthrf.stages.exporting.target import Target

    folder = export_folder(workspace)
    folder.mkdir(exist_ok=True)
    target = Target(
        workspace=workspace,
        views=load_scene(workspace.undistorted_sparse).views,
        folder=folder,
        unit=_known_scale(workspace) if options.units == "metres" else 1.0,
        units=options.units,
        max_sigma=options.max_sigma,
        spacing=options.spacing,
        triangles=options.triangles,
        device=options.device,
    )
    exported = []
    for kind, write in _writers(target, options.what).items():
        done = write()
        console.note(f"  {kind}: {folder / done.path} ({done.count} {done.of})")
        exported.append(done)
    return Summary(str(folder), options.units, tuple(exported))


def _writers(target: Target, kinds: tuple[str, ...]) -> dict[str, Callable[[], Exported]]:
    """What writes each kind, in the order asked for; the field is rendered once for all that need it."""
    from functools import cache

    from depthrf.stages.exporting import datasets
    from depthrf.stages.exporting.mesh import write_meshes
    from depthrf.stages.exporting.points import write_points
    from depthrf.stages.exporting.splats import write_splats
    from depthrf.stages.exporting.surfaces import RenderedPhoto, render_photos

    @cache
    def photos() -> list[RenderedPhoto]:
        return render_photos(target)

    known: dict[str, Callable[[], Exported]] = {
        "points": lambda: write_points(target),
        "mesh": lambda: write_meshes(target, photos()),
        "splats": lambda: write_splats(target, photos()),
        "colmap": lambda: datasets.write_colmap(target),
        "nerfstudio": lambda: datasets.write_nerfstudio(target),
        "depth": lambda: datasets.write_depth(target),
        "cameras": lambda: datasets.write_cameras(target),
    }
    return {kind: known[kind] for kind in dict.fromkeys(kinds)}


def _known_scale(workspace: Workspace) -> float:
    unit = metres_per_unit(workspace)
    if unit is None:
        raise UsageError(
            "The scale of the scene is not known. Tell a length: "
            f"depthrf merge {workspace.root} --known-length PHOTO:x1,y1:x2,y2=1.20m. Or export with --units scene."
        )
    return unit
