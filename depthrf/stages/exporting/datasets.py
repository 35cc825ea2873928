"""Photos, poses and depth as data sets of other programs: COLMAP, nerfstudio, and plain depth maps."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.io.depth.depth_maps import read_prior, write_map, write_sensor_depth
from depthrf.io.depth.raw_maps import write_exr
from depthrf.io.poses.colmap import read_model
from depthrf.io.poses.colmap_binary import write_binary_model
from depthrf.io.poses.transforms_json import load_views, write_transforms
from depthrf.stages.exporting.target import Exported, Target, in_unit
from depthrf.storage import fresh_dir, read_json, write_json

_MOST_MILLIMETRES = 65535


def write_colmap(target: Target) -> Exported:
    """Writes ``colmap/images`` and ``colmap/sparse/0``: undistorted photos and their PINHOLE model with its points."""
    folder = fresh_dir(target.folder / "colmap")
    model = read_model(target.workspace.undistorted_sparse)
    images = {
        key: replace(image, cam_from_world=in_unit(image.cam_from_world, target.unit))
        for key, image in model.images.items()
    }
    write_binary_model(folder / "sparse" / "0", replace(model, images=images, xyz=target.unit * model.xyz))
    _copy_photos(target, [view.name for view in target.views], folder / "images")
    return Exported(folder.name, len(images), "photos")


def write_nerfstudio(target: Target) -> Exported:
    """Writes ``nerfstudio/``: transforms.json with photos, 16-bit depth and, where there are any, masks.

    nerfstudio reads depth as integers times ``depth_unit_scale_factor``; the default, 0.001, is kept where the unit is
    the metre, and elsewhere the file states the one that the maps were written with.
    """
    folder = fresh_dir(target.folder / "nerfstudio")
    train, test = load_views(target.workspace.transforms)
    views = [replace(v, cam_from_world=in_unit(v.cam_from_world, target.unit)) for v in (*train, *test)]
    write_transforms(folder / "transforms.json", views, image_folder="images", test_names={view.name for view in test})
    _copy_photos(target, [view.name for view in views], folder / "images")
    count = _depth_maps(target, folder / "depths", millimetres=True)
    content = read_json(folder / "transforms.json")
    for frame in content["frames"]:
        name = Path(frame["file_path"]).name
        if (folder / "depths" / f"{Path(name).stem}.png").is_file():
            frame["depth_file_path"] = f"depths/{Path(name).stem}.png"
        mask = target.workspace.undistorted_masks / f"{name}.png"
        if mask.is_file():
            (folder / "masks").mkdir(exist_ok=True)
            shutil.copyfile(mask, folder / "masks" / f"{name}.png")
            frame["mask_path"] = f"masks/{name}.png"
    content["depth_unit_scale_factor"] = 0.001
    write_json(folder / "transforms.json", content)
    return Exported(folder.name, len(views), f"photos, {count} with depth")


def write_depth(target: Target) -> Exported:
    """Writes ``depth/<photo>.npy`` and ``.exr``, float32, and, in metres, ``.png``, 16-bit millimetres; 0 = unknown.

    Raises:
        DepthrfError: A depth in metres does not fit 16-bit millimetres.
    """
    count = _depth_maps(target, fresh_dir(target.folder / "depth"), millimetres=target.units == "metres", floats=True)
    return Exported("depth", count, "depth maps")


def _depth_maps(target: Target, folder: Path, *, millimetres: bool, floats: bool = False) -> int:
    for view in console.track(target.views, "writing depth"):
        prior, _ = read_prior(target.workspace.prior_depth / f"{view.stem}.npz")
        sure = (prior.depth > 0) & (prior.sigma <= target.max_sigma * prior.depth)
        depth = np.where(sure, np.float32(target.unit) * prior.depth, np.float32(0.0))
        if floats:
            write_map(folder / f"{view.stem}.npy", depth)
            write_exr(folder / f"{view.stem}.exr", depth)
        if millimetres:
            if 1000.0 * float(depth.max()) > _MOST_MILLIMETRES:
                raise DepthrfError(
                    f"The depth of {view.name} reaches {depth.max():.4g}, and 16-bit depth maps end at 65.535. "
                    "Export npy files instead: --what depth --units scene"
                )
            write_sensor_depth(folder / f"{view.stem}.png", depth)
    return len(target.views)


def write_cameras(target: Target) -> Exported:
    """Writes ``cameras.json``: size, intrinsics and ``cam_from_world`` (OpenCV axes) of every undistorted photo."""
    train, test = load_views(target.workspace.transforms)
    rows = []
    for view in (*train, *test):
        pose = in_unit(view.cam_from_world, target.unit)
        rows.append({"name": view.name, "camera": view.camera, "cam_from_world": pose})
    content = {"units": target.units, "axes": "OpenCV: x right, y down, z forward", "photos": rows}
    write_json(target.folder / "cameras.json", content)
    return Exported("cameras.json", len(rows), "cameras")


def _copy_photos(target: Target, names: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(target.workspace.undistorted_images / name, folder / name)
