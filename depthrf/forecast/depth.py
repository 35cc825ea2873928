"""What dense depth, its alignment and its merging will take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.forecast.cost import Cost
from depthrf.forecast.stopwatch import Trial, trial
from depthrf.forecast.work import Work

if TYPE_CHECKING:
    import torch

    from depthrf.stages.depth import Options
    from depthrf.stages.merge import Options as MergeOptions

_SMALLER = 2
"""Stereo is tried on photos that are smaller by this factor."""

_NEAR, _FAR = 1.0, 3.0
_ALIGNING = 0.5
"""Seconds of one core in which a map of 480 x 360 pixels is fitted to keypoints and stereo depth."""


def depth_cost(work: Work, options: Options, scratch: Path) -> Cost:
    """Stereo, and the network where its weights are here."""
    from depthrf.device import resolve

    parts, costs = [], []
    if wants_network(options):
        costs.append(_network_trial(work, options))
        parts.append(f"{options.network} with {options.tiles} × {options.tiles} tiles")
    if options.source in ("auto", "stereo"):
        costs.append(_stereo_trial(work, options, resolve(options.device), scratch))
        parts.append(f"stereo from {_neighbours(work, options)} photos each, at {options.stereo.max_side} pixels")
    seconds = work.num_photos * sum(c.seconds for c in costs)
    memory = max((c.memory_mb for c in costs if c.memory_mb is not None), default=None)
    return Cost(seconds, memory, " and ".join(parts) or "keypoints alone")


def wants_network(options: Options) -> bool:
    """Whether the network will run: it is asked for, and its weights are here."""
    from depthrf.io.weights import manifest

    wanted = options.mono_depth is None and options.network != "none" and options.source in ("auto", "network")
    return wanted and manifest.path(options.network).is_file()


def align_cost(work: Work, options: Options) -> Cost:
    """Fits of monocular depth; nothing where there is none."""
    if not wants_network(options) and options.mono_depth is None:
        return Cost(0.0, None, "no monocular depth")
    pixels = work.width * work.height / (480 * 360)
    return Cost(_ALIGNING * work.num_photos * pixels, None, "monocular depth fitted to the scene")


def merge_cost(work: Work, options: MergeOptions, depth: Options, scratch: Path) -> Cost:
    """Merging, writing and drawing of every photo's depth, and the filling of its holes."""
    import torch

    from depthrf.depth.completion import fill_holes, interpolate
    from depthrf.depth.merging import merge
    from depthrf.depth.stereo.fusion import enlarge
    from depthrf.geometry.camera import DepthPrior
    from depthrf.io.depth.depth_maps import read_prior, write_prior
    from depthrf.io.draw.depth_pictures import draw_prior
    from depthrf.io.photos.images import read_rgb, write_jpeg

    view, file = work.views(1, 0.0)[0], scratch / "prior.npz"
    camera, small = view.camera, view.camera.fitted(depth.stereo.max_side)
    fills = options.fill and depth.source in ("auto", "stereo") and not wants_network(depth)
    n, own, photo = work.num_photos, None, work.images / view.name
    with trial() as each:
        found = enlarge(*_half_empty(small.height, small.width), camera.height, camera.width)
        stereo, none = DepthPrior(*(x.numpy() for x in found)), torch.zeros(camera.height, camera.width).numpy()
        prior, source = merge(keypoints=DepthPrior(none, none), stereo=stereo)
        write_prior(file, prior, source)
        if fills:
            own = interpolate(view, read_prior(file)[0], read_rgb(photo))
            write_prior(file, *read_prior(file))
        read_prior(file)
        write_jpeg(scratch / "prior.jpg", draw_prior(photo, prior, source))
    seconds = n * each.seconds
    if own is not None:
        with trial() as pair:
            fill_holes(prior, own, [own, own])
        seconds += 0.5 * n * (n - 1) * pair.seconds
    return Cost(seconds, each.memory_mb, "holes are filled" if fills else "")


def _neighbours(work: Work, options: Options) -> int:
    return min(options.stereo.neighbours, work.num_photos - 1)


def _stereo_trial(work: Work, options: Options, device: torch.device, scratch: Path) -> Cost:
    """One photo, matched with shifted copies of itself; made smaller, with as many depths as there are at full size."""
    from dataclasses import replace

    import cv2
    import numpy as np
    import torch

    from depthrf.depth.stereo.matcher import estimate
    from depthrf.depth.stereo.matching import Photo
    from depthrf.depth.stereo.neighbours import DepthRange
    from depthrf.io.photos.images import read_rgb, write_jpeg

    stereo = options.stereo
    fine = work.camera.fitted(stereo.max_side).fitted(max(32, stereo.max_side // _SMALLER))
    coarse = fine.fitted(max(fine.width, fine.height) // 2)
    depths = replace(stereo, max_side=max(fine.width, fine.height))
    baseline = 2.0 * stereo.max_planes / (coarse.fx * (1.0 / _NEAR - 1.0 / _FAR))  # enough for all planes
    with trial() as handled:
        rgb = read_rgb(work.images / work.samples[0])
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255.0)
    photos = []
    for view in work.views(1 + _neighbours(work, options), baseline / 4.0):
        sizes = [
            (camera, cv2.resize(gray, (camera.width, camera.height), interpolation=cv2.INTER_AREA))
            for camera in (coarse, fine)
        ]
        photos.append([Photo(torch.as_tensor(g, device=device), view.with_camera(c)) for c, g in sizes])
    with trial() as matched:
        found, _ = estimate(photos[0], photos[1:], DepthRange(_NEAR, _FAR), depths)
        found.cpu()
    with trial() as written:
        write_jpeg(scratch / "picture.jpg", rgb)
    full = work.camera.fitted(stereo.max_side)
    scale = full.width * full.height / (fine.width * fine.height)
    return Cost(scale * matched.seconds + handled.seconds + written.seconds, _scaled(matched, scale), "")


def _network_trial(work: Work, options: Options) -> Cost:
    """The network on one photo."""
    import torch

    from depthrf.depth.networks.catalogue import build_network, find_network, predict
    from depthrf.device import resolve
    from depthrf.io.photos.images import read_rgb
    from depthrf.io.weights import manifest
    from depthrf.io.weights.checkpoints import load_state_dict

    device, chosen = resolve(options.device), find_network(options.network)
    path = manifest.verify(options.network).path
    with trial() as measured:
        model = build_network(chosen, load_state_dict(path), str(path)).to(device)
        pixels = torch.tensor(read_rgb(work.images / work.samples[0]), dtype=torch.float32).permute(2, 0, 1)[None]
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        predict(chosen, model, pixels.to(device) / 255.0, tiles=options.tiles, dtype=dtype).cpu()
    return Cost(measured.seconds, measured.memory_mb, "")


def _half_empty(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth and sigma (H, W) with squares of holes, as stereo leaves them."""
    import torch

    y, x = torch.meshgrid(torch.arange(height) // 24, torch.arange(width) // 24, indexing="ij")
    depth = torch.where((x + y) % 2 == 0, 2.0 + 0.01 * x, 0.0)
    return depth, 0.01 * depth


def _scaled(measured: Trial, scale: float) -> float | None:
    """The peak where the trial's own share of it is ``scale`` times as large, MB."""
    if measured.memory_mb is None:
        return None
    return measured.memory_mb + (scale - 1.0) * measured.grown_mb
