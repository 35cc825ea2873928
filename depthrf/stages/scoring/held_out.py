"""Which views are scored, and how it is made sure that nothing has been learned from them.

Held out are, in this order: the photos of a further folder; the photos that ``ingest`` set aside (``--holdout``); the
views of ``test_filenames`` in given poses, which ``--holdout`` chooses too where the photo folder brings poses. Photos
without a given pose are registered to the finished model, which they do not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.evaluation import Unplaced
from depthrf.storage import fingerprint, fresh_dir, remove
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import SparseDepths, View


@dataclass(frozen=True)
class HeldOut:
    """Views to score, with the folders of their undistorted photos and masks and reference depths (H, W) by name."""

    split: str
    views: list[View]
    images: Path
    masks: Path
    depth: dict[str, NDArray[np.float32]]
    depth_reference: str | None
    not_registered: tuple[Unplaced, ...] = ()


def find(workspace: Workspace, photos: Path | None, device: str = "auto") -> HeldOut:
    """The views to score (see above). ``device`` runs the networks that match photos, where they are needed.

    Raises:
        DepthrfError: There are none.
    """
    if photos is not None:
        return _registered(workspace, photos, "photos", device)
    if workspace.held_out.is_dir():
        return _registered(workspace, workspace.held_out, "holdout", device)
    return _test_views(workspace)


def _test_views(workspace: Workspace) -> HeldOut:
    from depthrf.io.depth.sensor_maps import load_sensor_depth
    from depthrf.io.poses.transforms_json import load_views

    _, views = load_views(workspace.transforms)
    if not views:
        raise DepthrfError(
            "No held-out views to score: all photos were trained on. Score every photo with fields trained on the "
            "others (--leave-one-out), give further photos of the scene (--photos DIR), or reconstruct again with some "
            "photos held out (--holdout every:8, or poses with test_filenames)."
        )
    depth = {v.name: d for v in views if (d := load_sensor_depth(workspace, v)) is not None}
    images, masks = workspace.undistorted_images, workspace.undistorted_masks
    return HeldOut("test_filenames", views, images, masks, depth, "sensor" if depth else None)


def _registered(workspace: Workspace, folder: Path, split: str, device: str) -> HeldOut:
    """Photos placed in the finished model; reference depth is the sensor's, else their keypoints on its points."""
    from depthrf.io.depth.sensor_maps import load_sensor_depth
    from depthrf.io.masks import undistort_masks
    from depthrf.io.poses.transforms_json import load_views
    from depthrf.io.weights.learned_features import finder
    from depthrf.sfm.registration import register_photos
    from depthrf.stages.ingest import collect

    taken, masks = (workspace.evaluation_dir / name for name in ("masks", "undistorted_masks"))
    for earlier in (taken, masks):
        remove(earlier)
    collected = collect(folder, fresh_dir(workspace.evaluation_dir / "photos"), taken)
    scored = {view.name for view in load_views(workspace.transforms)[1]}  # test photos with given poses
    trained = {fingerprint(p) for p in workspace.images.iterdir() if p.name not in scored}
    paths = [p for p in collected if fingerprint(p) not in trained]
    if known := len(collected) - len(paths):
        console.warn(f"{known} of the photos in {folder} were trained on; they are not scored")
    if not paths:
        trained_on = ", all of them trained on" if collected else ""
        raise DepthrfError(f"{folder} holds no photo to score: {len(collected)} usable{trained_on}.")
    undistorted = fresh_dir(workspace.evaluation_dir / "undistorted")
    weights = finder(device, offline=False)
    with console.stepwise() as progress:
        found = register_photos(workspace.sfm, paths, undistorted, progress=progress, find_weights=weights)
    for photo in found.failed:
        console.warn(f"{photo.name} is not scored: {photo.reason}")
    if not found.views:
        raise DepthrfError(f"None of the {len(paths)} photos in {folder} could be placed in the model.")
    if taken.is_dir():
        undistort_masks(taken, workspace.sfm_model, found.views, masks)
    failed = tuple(Unplaced(photo.name, photo.reason) for photo in found.failed)
    if split == "holdout":
        depth = {v.name: d for v in found.views if (d := load_sensor_depth(workspace, v)) is not None}
        if depth:
            return HeldOut(split, found.views, undistorted, masks, depth, "sensor", failed)
    depth = {view.name: keypoint_depth(view, found.depths[view.name]) for view in found.views}
    return HeldOut(split, found.views, undistorted, masks, depth, "sfm_keypoints", failed)


def keypoint_depth(view: View, keypoints: SparseDepths) -> NDArray[np.float32]:
    """Depth map (H, W) of the keypoints' pixels, 0 elsewhere."""
    import numpy as np

    from depthrf.geometry.camera import containing_pixels

    depth = np.zeros((view.camera.height, view.camera.width), dtype=np.float32)
    rows, cols = containing_pixels(keypoints.xy)
    inside = (cols >= 0) & (cols < view.camera.width) & (rows >= 0) & (rows < view.camera.height)
    depth[rows[inside], cols[inside]] = keypoints.depth[inside]
    return depth
