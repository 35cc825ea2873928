"""Leave-one-out: for sets too small to set photos aside, every photo is scored with a field that never saw it.

SfM's poses and the networks' depth are shared; everything that a photo could have told about depth is not. Each fold
is a workspace of its own without that photo: its keypoints are taken out of the model and the points it saw are
triangulated from the others, then depth alignment, merging (with the scene's scale) and a short training run there by
the same stages as ever. What a fold scored is kept, so that an interrupted evaluation goes on.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.evaluation import ViewScores
from depthrf.io.depth.reports import read_mono_meta
from depthrf.options import build, identity
from depthrf.records import read_record
from depthrf.stages.scoring.held_out import HeldOut, keypoint_depth
from depthrf.stages.scoring.views import score_view
from depthrf.stages.training.exposures import read_exposures
from depthrf.storage import fresh_dir, link_or_copy, read_json, read_typed, write_json
from depthrf.workspace import Workspace, fingerprints

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import View
    from depthrf.nerf.scores.lpips import Lpips

_MIN_VIEWS = 3
_USUAL_VIEWS = 9
_STAGES = ("depth", "align", "merge", "train")
_LEAST_STEPS = 200


@dataclasses.dataclass(frozen=True)
class _Fold:
    """``<stem>.json``: the scores of the photo that a fold left out, and where its reference depth comes from."""

    scores: ViewScores
    depth_reference: str


def run(
    workspace: Workspace, lpips: Lpips | None, *, steps: int | None, device: str, scoring: Sequence[Path] = ()
) -> tuple[HeldOut, list[ViewScores]]:
    """One row of scores for every training photo.

    Args:
        workspace: With a trained field.
        lpips: The metric; None to do without.
        steps: Of each training run; None for a quarter of the field's.
        device: Where to compute.
        scoring: Files beside the workspace's that decide the scores: the weights of LPIPS.

    Raises:
        DepthrfError: The model holds fewer than three photos.
    """
    from depthrf.io.poses.colmap import load_scene

    scene = load_scene(workspace.undistorted_sparse)
    if len(scene.views) < _MIN_VIEWS:
        raise DepthrfError(
            f"Leave-one-out needs at least {_MIN_VIEWS} placed photos; the model has {len(scene.views)}."
        )
    if len(scene.views) > _USUAL_VIEWS:
        console.warn(
            f"--leave-one-out trains {len(scene.views)} fields; with more than {_USUAL_VIEWS} photos --holdout every:8 "
            "of `depthrf reconstruct` costs one"
        )
    options = _stage_options(workspace, steps, device)
    key = _key(workspace, options, lpips.network if lpips else None, scoring)
    folder = workspace.evaluation_dir / "leave_one_out"
    if not (folder / "key.json").is_file() or read_json(folder / "key.json").get("key") != key:
        fresh_dir(folder)
        write_json(folder / "key.json", {"key": key})
    depth: dict[str, NDArray[np.float32]] = {}
    scores, sensor = [], False
    for index, view in enumerate(scene.views):
        done = folder / f"{view.stem}.json"
        if not done.is_file():
            console.note(f"without {view.name} ({index + 1} of {len(scene.views)})")
            keypoints = keypoint_depth(view, scene.depths[view.name])
            write_json(done, _fold(workspace, folder / view.stem, view, options, keypoints, lpips))
            shutil.rmtree(folder / view.stem)
        shutil.copyfile(done.with_suffix(".png"), workspace.evaluation_dir / f"{view.stem}.png")
        scored = read_typed(done, _Fold)
        sensor = sensor or scored.depth_reference == "sensor"
        scores.append(scored.scores)
    reference = "sensor" if sensor else "sfm_keypoints"
    images, masks = workspace.undistorted_images, workspace.undistorted_masks
    return HeldOut("leave_one_out", scene.views, images, masks, depth, reference), scores


def _stage_options(workspace: Workspace, steps: int | None, device: str) -> dict[str, Any]:
    """The options that each stage last ran with here; training is shortened."""
    found = {}
    for stage in _STAGES:
        record = workspace.record(stage)
        ran = read_record(record)
        found[stage] = build(_module(stage).Options, ran.options if ran else {}, str(record))
    if not workspace.mono_meta.is_file():  # as the field was trained, though weights came since
        found["depth"] = dataclasses.replace(found["depth"], network="none")
    train = found["train"]
    short = steps if steps is not None else max(_LEAST_STEPS, train.optimiser.steps // 4)
    warmup = min(train.optimiser.warmup_steps, short // 4)
    optimiser = dataclasses.replace(train.optimiser, steps=short, warmup_steps=warmup)
    return found | {"train": dataclasses.replace(train, optimiser=optimiser, device=device)}


def _key(workspace: Workspace, options: dict[str, Any], lpips: str | None, scoring: Sequence[Path]) -> str:
    """All that decides what a fold scores: what its stages read and are asked for, and how it is scored."""
    read = {path for stage in _STAGES for path in _module(stage).inputs(workspace, options[stage])}
    decides = [{k: identity(o) for k, o in options.items()}, lpips, fingerprints(workspace, sorted({*read, *scoring}))]
    return json.dumps(decides, sort_keys=True)


def _module(stage: str) -> Any:
    return importlib.import_module(f"depthrf.stages.{stage}")


def _fold(
    workspace: Workspace,
    folder: Path,
    view: View,
    options: dict[str, Any],
    keypoints: NDArray[np.float32],
    lpips: Lpips | None,
) -> _Fold:
    """Trains without ``view`` and scores it; its own sensor depth or keypoints are the reference only."""
    from depthrf.device import resolve
    from depthrf.io.depth.sensor_maps import load_sensor_depth
    from depthrf.io.poses.transforms_json import load_views
    from depthrf.io.trained_field import load_field

    fold = _fold_workspace(workspace, folder, view)
    for stage in _STAGES:
        _module(stage).run(fold, options[stage])
    reference = load_sensor_depth(workspace, view)
    scores = score_view(
        load_field(fold.checkpoint, resolve(options["train"].device)),
        view,
        workspace.undistorted_images / view.name,
        workspace.evaluation_dir / "leave_one_out" / f"{view.stem}.png",
        masks=workspace.undistorted_masks,
        gain=read_exposures(fold).gain_at(view, load_views(fold.transforms)[0]),
        reference=keypoints if reference is None else reference,
        lpips=lpips,
    )
    return _Fold(scores, "sfm_keypoints" if reference is None else "sensor")


def _fold_workspace(workspace: Workspace, folder: Path, view: View) -> Workspace:
    """What training without ``view`` may read. A fold that was interrupted keeps its training so far."""
    from depthrf.io.poses.colmap import load_scene, read_model
    from depthrf.io.poses.colmap_text import without_photo, write_model
    from depthrf.io.poses.transforms_json import write_transforms

    fold = Workspace(folder)
    if fold.transforms.is_file():
        return fold
    model = without_photo(read_model(workspace.undistorted_sparse), view.name)
    write_model(fold.undistorted_sparse, model)
    views = load_scene(fold.undistorted_sparse).views
    for other in views:
        _share(workspace.undistorted_images / other.name, fold.undistorted_images / other.name)
        _share(workspace.undistorted_masks / f"{other.name}.png", fold.undistorted_masks / f"{other.name}.png")
        _share(workspace.sensor_depth / f"{other.stem}.png", fold.sensor_depth / f"{other.stem}.png")
        _share(workspace.sensor_confidence / f"{other.stem}.png", fold.sensor_confidence / f"{other.stem}.png")
    _share(workspace.sensor_cameras, fold.sensor_cameras)
    lenses = workspace.sfm_model
    for path in lenses.iterdir() if lenses.is_dir() else ():
        _share(path, fold.sfm_model / path.name)
    _share(workspace.pose_origin, fold.pose_origin)
    _share_network_depth(workspace, fold, {other.stem for other in views})
    write_transforms(fold.transforms, views, image_folder=fold.relative(fold.undistorted_images))
    return fold


def _share_network_depth(workspace: Workspace, fold: Workspace, stems: set[str]) -> None:
    """A network's depth of a photo comes from that photo alone; other depth has to be made again without the photo."""
    meta = read_mono_meta(workspace.mono_meta)
    if meta is None or meta.weights is None:
        return
    for stem in stems:
        _share(workspace.mono_depth / f"{stem}.npy", fold.mono_depth / f"{stem}.npy")
    _share(workspace.mono_meta, fold.mono_meta)


def _share(source: Path, target: Path) -> None:
    """Nothing where there is no source."""
    if source.is_file() and not target.exists():
        link_or_copy(source, target)
