"""Renders a film's frames into a folder, going on where an earlier run was stopped."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.geometry.visibility import SeenDepth
from depthrf.io.draw.overlays import ColourScale, Picture
from depthrf.io.files import is_whole_picture
from depthrf.io.photos.images import write_png
from depthrf.stages.filming.pictures import hatch_unseen, paint_normals, unseen_pixels
from depthrf.storage import fresh_dir, read_json, write_json

if TYPE_CHECKING:
    from depthrf.geometry.camera import View
    from depthrf.io.trained_field import TrainedField

_SOURCE = "made_from.json"


def frames_folder(folder: Path, source: dict[str, Any]) -> Path:
    """The folder, emptied unless what is in it was made from the same ``source``, a plain JSON object."""
    known = folder / _SOURCE
    if not _says(known, source):
        fresh_dir(folder)
        write_json(known, source)
    return folder


def _says(known: Path, source: dict[str, Any]) -> bool:
    try:
        return known.is_file() and read_json(known) == json.loads(json.dumps(source))
    except DepthrfError:  # damaged
        return False


def render_frames(
    field: TrainedField,
    views: Sequence[View],
    frames: Path,
    *,
    kinds: Sequence[str],
    colours: ColourScale,
    depths: Sequence[SeenDepth],
) -> None:
    """Renders the frames that are not there yet, as ``<kind>_<number>.png``.

    Args:
        field: The trained field.
        views: One a frame, scene coordinates, named by number.
        frames: Where to; ``rgb`` is written last, so that a frame that has it is complete.
        kinds: Of ``depth``, ``normals`` and ``trust``, beside ``rgb``.
        colours: Of depth, scene units.
        depths: The photos' depth, for ``trust``.
    """
    from depthrf.nerf.normalise import normalise_view
    from depthrf.nerf.rendering.views import render_view

    wanted = [*(k for k in kinds if k != "rgb"), "rgb"]
    missing = [v for v in views if not all(is_whole_picture(frames / f"{kind}_{v.name}.png") for kind in wanted)]
    size = sum(p.stat().st_size for p in frames.glob("*.png"))
    first: dict[bytes, View] = {}
    for view in views:
        first.setdefault(view.cam_from_world.tobytes() + repr(view.camera).encode(), view)
    with console.progress() as display:
        task = display.add_task("render", total=len(views), completed=len(views) - len(missing), info="")
        start = time.monotonic()
        for done, view in enumerate(missing, 1):
            same = first[view.cam_from_world.tobytes() + repr(view.camera).encode()]
            if same.name != view.name:  # a picture that stands still
                for kind in wanted:
                    _link(frames / f"{kind}_{same.name}.png", frames / f"{kind}_{view.name}.png")
            else:
                normalised = normalise_view(view, field.normalised_from_scene)
                rendered = render_view(field.model, normalised, field.bounds, adaptive=True)
                depth = rendered.depth / field.normalised_from_scene.scale
                for kind in wanted:
                    picture = _picture(kind, view, rendered.rgb, depth, colours, depths)
                    write_png(frames / f"{kind}_{view.name}.png", picture)
            size += sum((frames / f"{kind}_{view.name}.png").stat().st_size for kind in wanted)
            rate = done / max(time.monotonic() - start, 1e-6)
            display.update(task, advance=1, info=f"{rate:.2f} frames/s  {size / 1e6:.0f} MB")


def _picture(
    kind: str, view: View, rgb: Picture, depth: Any, colours: ColourScale, depths: Sequence[SeenDepth]
) -> Picture:
    if kind == "depth":
        return colours.paint(depth)
    if kind == "normals":
        return paint_normals(view, depth)
    if kind == "trust":
        return hatch_unseen(rgb, unseen_pixels(view, depth, depths))
    return rgb


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
