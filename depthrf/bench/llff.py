"""The few-view protocol on LLFF scenes: real photos of scenes in front of the camera, their poses given.

Every 8th photo is held out; N of the others train, at equal steps (RegNeRF, Niemeyer et al. 2022), at 504x378 pixels.
Each scene and N is a workspace, in which the stages run as for any photos. So the depth prior is what depthrf makes of
the training photos alone: keypoints triangulated with the given poses, and stereo. A network joins where its weights
are here.

The photos are those of ``images_8/`` where they have that size, else reduced from the smallest larger ones. A cell that
is finished with the same settings is not run again, and an interrupted one goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from depthrf import console, pipeline
from depthrf.bench.llff_protocol import Cell, Options, Result
from depthrf.errors import DepthrfError, UsageError
from depthrf.evaluation import Evaluation
from depthrf.io.captures import llff
from depthrf.io.captures.capture import PICTURES, files_by_stem
from depthrf.options import identity
from depthrf.stages import evaluate
from depthrf.storage import fresh_dir, read_typed, write_json
from depthrf.workspace import create_workspace, lock

HOLDOUT = "every:8"
_DONE = "reduced.json"


def scenes(folder: Path) -> list[Path]:
    """The scene that ``folder`` is, or the scenes in it by name.

    Raises:
        UsageError: There is none.
    """
    found = [folder] if llff.matches(folder) else sorted(path.parent for path in folder.glob("*/poses_bounds.npy"))
    if not found:
        raise UsageError(f"{folder} is no LLFF scene: no poses_bounds.npy lies in it or in a folder below it.")
    return found


def run(folder: Path, output: Path, options: Options, plan: pipeline.Plan, *, force: bool = False) -> list[Result]:
    """Trains and scores all cells of the scenes in ``folder`` that are not in ``output`` yet.

    A scene that cannot be reconstructed from so few photos is told and leaves its cell without scores.

    Args:
        folder: A scene, or a folder of scenes.
        output: Where results and workspaces go.
        options: What to run.
        plan: Options of all stages; photos, split, size and loss are the protocol's.
        force: Runs finished cells again.

    Raises:
        UsageError: There is no scene, or ``output`` holds results of other settings.
    """
    results: list[Result] = []
    for scene in scenes(folder):
        for views in options.views:
            results += _run_views(scene, output, views, options, plan, force=force)
    return results


def _run_views(
    scene: Path, output: Path, views: int, options: Options, plan: pipeline.Plan, *, force: bool
) -> Iterator[Result]:
    """One workspace's cells, a loss each."""
    for loss in options.losses:
        cell = Cell(scene.resolve().name, views, loss)
        path, settings = output / f"{cell.name}.json", _settings(cell, options, plan)
        found = None if force else _finished(path, settings)
        if found is None:
            console.note(cell.name)
            try:
                found = _run_cell(scene, output, cell, options, plan, settings, force=force)
            except UsageError:
                raise
            except DepthrfError as e:
                console.warn(f"{cell.name} has no scores: {e}")
                found = Result(cell, None, None, 0, [], 0.0, settings, str(e))
            write_json(path, found)
        else:
            console.note(f"{cell.name}: nothing to do")
        if found.psnr is not None:
            console.note(f"  {found.psnr:.2f} dB, SSIM {found.ssim:.3f} on {found.num_test} photos")
        yield found


def _run_cell(
    scene: Path,
    output: Path,
    cell: Cell,
    options: Options,
    plan: pipeline.Plan,
    settings: Mapping[str, Any],
    *,
    force: bool,
) -> Result:
    photos = _reduced(scene, output / "photos" / f"{cell.scene}-{options.size}", options.size)
    workspace = create_workspace(output / "workspaces" / f"{cell.scene}-{cell.views}-{options.size}", photos)
    ingest = replace(plan["ingest"], photos=photos, holdout=HOLDOUT, max_photos=cell.views, export_poses=True)
    train = replace(plan["train"], max_side=options.size, loss=replace(plan["train"].loss, depth=cell.loss))
    asked = plan | {"ingest": ingest, "train": train}
    with lock(workspace):
        pipeline.run_stages(workspace, asked, pipeline.select(None, "merge"))
        summary = pipeline.run_stage(workspace, "train", train, force=force)
        pipeline.run_stage(workspace, "evaluate", evaluate.Options(lpips="none", device=train.device), force=force)
        sources = _depth_sources(workspace.mono_meta.is_file(), workspace.stereo_depth.is_dir())
    scored = read_typed(workspace.evaluation, Evaluation)
    return Result(
        cell=cell,
        psnr=scored.mean.get("psnr"),
        ssim=scored.mean.get("ssim"),
        num_test=scored.num_views,
        depth_sources=sources,
        seconds=summary["seconds"],
        settings=settings,
    )


def _depth_sources(network: bool, stereo: bool) -> list[str]:
    return ["keypoints", *(["stereo"] if stereo else []), *(["network"] if network else [])]


def _settings(cell: Cell, options: Options, plan: pipeline.Plan) -> dict[str, Any]:
    stages = {name: identity(plan[name]) for name in pipeline.select(None, "train")}
    del stages["ingest"]["photos"]
    return {**asdict(cell), "size": options.size, "stages": stages}


def _finished(path: Path, settings: Mapping[str, Any]) -> Result | None:
    """The cell's result if it is there.

    Raises:
        UsageError: It is there with other settings.
    """
    if not path.is_file():
        return None
    found = read_typed(path, Result)
    if found.settings != settings:
        raise UsageError(f"{path} is the result of other settings. Give another folder with -o, or --force.")
    return found


def _reduced(scene: Path, folder: Path, size: int) -> Path:
    """The scene with its photos at ``size`` pixels on the longer side, made once."""
    import cv2

    from depthrf.io.photos.images import read_rgb, write_png

    if (folder / _DONE).is_file():
        return folder
    source = _photos(scene, size)
    fresh_dir(folder)
    shutil.copyfile(scene / "poses_bounds.npy", folder / "poses_bounds.npy")
    (folder / "images").mkdir()
    for path in console.track(source, "photos", total=len(source)):
        photo = read_rgb(path)
        height, width = photo.shape[:2]
        factor = size / max(height, width)
        if factor > 1.0:
            raise UsageError(f"{path} is {width}x{height}; --size {size} would enlarge it.")
        if factor == 1.0:
            shutil.copyfile(path, folder / "images" / path.name)
        else:
            smaller = (round(factor * width), round(factor * height))
            write_png(folder / "images" / f"{path.stem}.png", cv2.resize(photo, smaller, interpolation=cv2.INTER_AREA))
    write_json(folder / _DONE, {"source": str(source[0].parent)})
    return folder


def _photos(scene: Path, size: int) -> list[Path]:
    """The smallest version of the photos that is not smaller than ``size``, by name.

    Raises:
        UsageError: There is none.
    """
    from depthrf.io.photos.decoding import stored_size

    places = sorted(scene.glob("images_[0-9]*"), key=lambda p: (len(p.name), p.name), reverse=True)
    sizes = []
    for place in (*places, scene / "images"):
        photos = sorted(files_by_stem(place, *PICTURES).values(), key=lambda p: p.name)
        if photos:
            longest = max(stored_size(photos[0]))
            sizes.append(longest)
            if longest >= size:
                return photos
    largest = f"their longer side has {max(sizes)} pixels at most" if sizes else "there are none"
    raise UsageError(f"{scene} has no photos of {size} pixels in images_8, images_4 or images: {largest}.")
