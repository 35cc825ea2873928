"""Stereo depth of all photos, written to the workspace."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.device import require_memory, resolve
from depthrf.io.depth.reports import StereoReport
from depthrf.options import to_dict
from depthrf.storage import fingerprint, fresh_dir, read_json, write_json
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import torch

    from depthrf.depth.stereo.fusion import DepthMap
    from depthrf.depth.stereo.matching import Photo
    from depthrf.depth.stereo.options import StereoOptions
    from depthrf.geometry.camera import Camera, DepthPrior, SparseScene

# With this many other photos or fewer, one that agrees is enough: a second often does not see the surface.
_ONE_IS_ENOUGH = 12
# Memory of matching one photo, for each of its pixels; measured from 240 to 960 pixels with 128 planes.
_BYTES_PER_PIXEL = 3400


def matches_dir(workspace: Workspace) -> Path:
    """``<stem>.npz`` before the photos are checked against each other; ``meta.json`` says what each rests on."""
    return workspace.stereo_depth / "matches"


def estimate_all(workspace: Workspace, options: StereoOptions, device: str) -> int:
    """Writes ``depth/stereo/<stem>.npz`` for each training photo; returns how many have any depth.

    Matches of an earlier, interrupted run with the same options and photos are kept.

    Raises:
        DepthrfError: A photo cannot be read, or matching does not fit into memory.
    """
    import torch

    from depthrf.depth.stereo.fusion import DepthMap
    from depthrf.depth.stereo.neighbours import choose_neighbours
    from depthrf.io.depth.depth_maps import read_prior
    from depthrf.io.poses.colmap import load_scene

    scene, target = load_scene(workspace.undistorted_sparse), resolve(device)
    if target.type == "cpu":
        _check_memory(scene, options.max_side)
    ranked = choose_neighbours(scene, max(options.neighbours, options.checks))
    _match_all(workspace, scene, [others[: options.neighbours] for others in ranked], options, target)
    maps = []
    for view in scene.views:
        prior, _ = read_prior(matches_dir(workspace) / f"{view.stem}.npz")
        depth = torch.as_tensor(prior.depth, device=target)
        sigma = torch.as_tensor(prior.sigma, device=target)
        maps.append(DepthMap(view.with_camera(view.camera.fitted(options.max_side)), depth, sigma))
    fused = fuse_all(maps, [others[: options.checks] for others in ranked], _keypoint_sigma(scene))
    return _write_all(workspace, scene, fused)


def _check_memory(scene: SparseScene, max_side: int) -> None:
    cameras = [view.camera.fitted(max_side) for view in scene.views]
    side = max(max(camera.width, camera.height) for camera in cameras)
    needed = _BYTES_PER_PIXEL * max(camera.width * camera.height for camera in cameras)
    advice = f"Use a smaller size: --set depth.stereo.max_side={max(64, side // 2)}"
    require_memory(needed, f"Stereo depth at {side} pixels", advice)


def load_stereo_prior(workspace: Workspace, stem: str, camera: Camera) -> DepthPrior | None:
    """A photo's stereo depth at the size of ``camera``; None where it has none.

    Raises:
        DepthrfError: The file is damaged.
    """
    import torch

    from depthrf.depth.stereo.fusion import enlarge
    from depthrf.geometry.camera import DepthPrior
    from depthrf.io.depth.depth_maps import read_prior

    path = workspace.stereo_depth / f"{stem}.npz"
    if not path.is_file():
        return None
    prior, _ = read_prior(path)
    depth, sigma = enlarge(torch.as_tensor(prior.depth), torch.as_tensor(prior.sigma), camera.height, camera.width)
    return DepthPrior(depth.numpy(), sigma.numpy())


def _match_all(
    workspace: Workspace,
    scene: SparseScene,
    neighbours: list[list[int]],
    options: StereoOptions,
    target: torch.device,
) -> None:
    """Fills ``matches_dir`` with the maps that are not there or rest on something else."""
    from depthrf.depth.stereo.matcher import estimate

    folder = matches_dir(workspace)
    photos = [workspace.undistorted_images / view.name for view in scene.views]
    keys = _keys(workspace, scene, neighbours, options)
    meta = folder / "meta.json"
    made = read_json(meta) if meta.is_file() else {}
    made = {s: k for s, k in made.items() if keys.get(s) == k and (folder / f"{s}.npz").is_file()}
    if not made:
        fresh_dir(folder)
    write_json(meta, made)
    bounds, loaded = _bounds(scene), _Photos(scene, photos, options.max_side, target)
    todo = [i for i, view in enumerate(scene.views) if view.stem not in made]
    for i in console.track(todo, "depth by stereo"):
        view, found = scene.views[i], bounds[i]
        own = loaded[i]
        if found is None or not neighbours[i]:
            depth = sigma = own[1].gray.new_zeros(own[1].gray.shape)
        else:
            depth, sigma = estimate(own, [loaded[j] for j in neighbours[i]], found, options)
        _write(folder / f"{view.stem}.npz", depth, sigma)
        made[view.stem] = keys[view.stem]
        write_json(meta, dict(sorted(made.items())))


def _keys(
    workspace: Workspace, scene: SparseScene, neighbours: list[list[int]], options: StereoOptions
) -> dict[str, str]:
    """By stem, a hash of all that a photo's matches rest on."""
    prints = [fingerprint(workspace.undistorted_images / view.name) for view in scene.views]
    common = [to_dict(options), fingerprint(workspace.undistorted_sparse)]
    return {
        view.stem: hashlib.blake2b(repr((common, prints[i], [prints[j] for j in neighbours[i]])).encode()).hexdigest()
        for i, view in enumerate(scene.views)
    }


def keep_matches(workspace: Workspace, options: StereoOptions, stems: Collection[str]) -> None:
    """Lets the matches of these photos stand although the model has grown since they were made.

    Poses and photos are the same as then. Only their choice of neighbours might be another now.
    """
    from depthrf.depth.stereo.neighbours import choose_neighbours
    from depthrf.io.poses.colmap import load_scene

    meta = matches_dir(workspace) / "meta.json"
    if not meta.is_file():
        return
    scene = load_scene(workspace.undistorted_sparse)
    ranked = choose_neighbours(scene, max(options.neighbours, options.checks))
    keys = _keys(workspace, scene, [others[: options.neighbours] for others in ranked], options)
    made = read_json(meta)
    write_json(meta, made | {stem: keys[stem] for stem in stems if stem in made and stem in keys})


def _bounds(scene: SparseScene) -> list[Any]:
    """The depth range of each photo; None where no photo has keypoints enough."""
    import numpy as np

    from depthrf.depth.stereo.neighbours import depth_range
    from depthrf.geometry.camera import SparseDepths

    fields = ("xy", "depth", "error_px", "track_length", "sigma")
    every = SparseDepths(*(np.concatenate([getattr(d, f) for d in scene.depths.values()]) for f in fields))
    fallback = depth_range(every, None)
    return [depth_range(scene.depths[view.name], fallback) for view in scene.views]


class _Photos:
    """Photos at half and at full matching size, read when first asked for and kept: grey, 0.9 MB each at 480 px."""

    def __init__(self, scene: SparseScene, paths: list[Path], max_side: int, device: torch.device) -> None:
        self._scene, self._paths, self._max_side, self._device = scene, paths, max_side, device
        self._loaded: dict[int, list[Photo]] = {}

    def __getitem__(self, index: int) -> list[Photo]:
        import cv2
        import numpy as np
        import torch

        from depthrf.depth.stereo.matching import Photo
        from depthrf.io.photos.images import read_rgb

        if index not in self._loaded:
            view = self._scene.views[index]
            gray = cv2.cvtColor(read_rgb(self._paths[index]), cv2.COLOR_RGB2GRAY).astype(np.float32) / 255.0
            fine, photos = view.camera.fitted(self._max_side), []
            for camera in (fine.fitted(max(fine.width, fine.height) // 2), fine):
                small = cv2.resize(gray, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
                photos.append(Photo(torch.as_tensor(small, device=self._device), view.with_camera(camera)))
            self._loaded[index] = photos
        return self._loaded[index]


def _keypoint_sigma(scene: SparseScene) -> float:
    """Median relative standard deviation of the keypoints' depth; 0 without keypoints."""
    import numpy as np

    relative = np.concatenate([sparse.sigma / sparse.depth for sparse in scene.depths.values()])
    return float(np.median(relative)) if len(relative) else 0.0


def fuse_all(maps: list[DepthMap], neighbours: list[list[int]], relative_sigma: float) -> list[DepthMap]:
    """Each map with what enough of its neighbours agree on; ``relative_sigma`` is that of the keypoints' depth."""
    import torch

    from depthrf.depth.stereo.fusion import DepthMap, fuse, remove_specks, tolerance_of

    tolerance = tolerance_of(relative_sigma)
    min_agree = 1 if len(maps) - 1 <= _ONE_IS_ENOUGH else 2
    fused = []
    for own, others in zip(maps, neighbours, strict=True):
        checked = fuse(own, [maps[j] for j in others], tolerance, min_agree=min_agree)
        depth = remove_specks(checked.depth)
        fused.append(DepthMap(own.view, depth, torch.where(depth > 0, checked.sigma, 0.0)))
    return fused


def _write_all(workspace: Workspace, scene: SparseScene, fused: list[DepthMap]) -> int:
    """Writes the maps with sigma calibrated to the keypoints, and the report; returns how many are not empty."""
    import torch

    from depthrf.depth.stereo.fusion import calibration
    from depthrf.io.draw.depth_pictures import draw_stereo
    from depthrf.io.photos.images import write_jpeg

    known = [_at_keypoints(scene, m) for m in fused]
    depth = torch.cat([at_keypoints[0] for at_keypoints in known])
    sigma = torch.cat([at_keypoints[1] for at_keypoints in known])
    reference = torch.cat([at_keypoints[2] for at_keypoints in known])
    factor = calibration(depth - reference, sigma)
    overlays = fresh_dir(workspace.stereo_depth / "overlays")
    for view, m in zip(scene.views, fused, strict=True):
        prior = _write(workspace.stereo_depth / f"{view.stem}.npz", m.depth, m.sigma * factor)
        write_jpeg(overlays / f"{view.stem}.jpg", draw_stereo(workspace.undistorted_images / view.name, prior))
    coverage = {v.stem: float((m.depth > 0).float().mean()) for v, m in zip(scene.views, fused, strict=True)}
    ratio = float((depth / reference).median()) if len(depth) else None
    write_json(workspace.stereo_report, StereoReport(len(depth), ratio, factor, coverage))
    kept = {view.stem for view in scene.views}
    for file in workspace.stereo_depth.glob("*.npz"):
        if file.stem not in kept:
            file.unlink()
    return sum(share > 0 for share in coverage.values())


def _at_keypoints(scene: SparseScene, m: DepthMap) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depth, the standard deviation of its difference to the keypoints, and theirs, where there are both; (K,) each."""
    import torch

    from depthrf.geometry.camera import containing_pixels

    sparse = scene.depths[m.view.name]
    height, width = m.depth.shape
    original = next(view for view in scene.views if view.name == m.view.name).camera
    # Keypoints in a pixel's neighbour still see the same surface; those that reproject badly prove nothing.
    row, column = containing_pixels(sparse.xy * (width / original.width, height / original.height))
    good = (sparse.error_px <= 2.0) & (sparse.sigma <= 0.05 * sparse.depth)
    good &= (column >= 0) & (column < width) & (row >= 0) & (row < height)
    device = m.depth.device
    index = torch.as_tensor(row[good] * width + column[good], device=device)
    depth, sigma = m.depth.ravel()[index], m.sigma.ravel()[index]
    reference = torch.as_tensor(sparse.depth[good], dtype=depth.dtype, device=device)
    noise = torch.as_tensor(sparse.sigma[good], dtype=depth.dtype, device=device)
    both = depth > 0
    return depth[both], torch.hypot(sigma, noise)[both], reference[both]


def _write(path: Path, depth: torch.Tensor, sigma: torch.Tensor) -> DepthPrior:
    import numpy as np

    from depthrf.depth.merging import Source
    from depthrf.geometry.camera import DepthPrior
    from depthrf.io.depth.depth_maps import write_prior

    prior = DepthPrior(depth.cpu().numpy(), sigma.cpu().numpy())
    source = np.where(prior.depth > 0, Source.STEREO, Source.NONE).astype(np.uint8)
    write_prior(path, prior, source)
    return prior
