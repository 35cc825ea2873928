"""Dense depth of every undistorted training photo: by a pretrained network, from maps that the user has, or by stereo
where neither is to be had.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.depth.stereo_options import StereoOptions
from depthrf.device import CHOICES as DEVICES
from depthrf.device import resolve
from depthrf.errors import UsageError
from depthrf.io import weights as weights_cache
from depthrf.options import option
from depthrf.stages import stereo_depth
from depthrf.workspace import Workspace, fingerprint, fresh_dir, read_json, remove, write_json

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

REQUIRES = ("sfm",)

_MAX_TILES = 8


@dataclass(frozen=True)
class Options:
    source: str = option(
        "auto",
        "where dense depth comes from; auto: the network if its weights are there, else stereo from the posed photos",
        choices=("auto", "network", "stereo", "none"),
    )
    network: str = option(
        "omnidata",
        "monocular depth network, used when its weights are there",
        choices=("omnidata", "midas", "depth-anything-v2-small", "none"),
    )
    tiles: int = option(
        1,
        "also predict TILES x TILES overlapping parts of each photo, for finer detail; 1 = off",
        least=1,
        most=_MAX_TILES,
    )
    mono_depth: Path | None = option(
        None,
        "folder of monocular depth maps to use instead: <photo>.npy, .png (16-bit) or .exr, of the photos as taken",
    )
    mono_kind: str = option(
        "unknown",
        "what these maps hold; metric is in metres, in millimetres when PNG",
        choices=("depth", "inverse-depth", "metric", "unknown"),
    )
    precision: str = option(
        "auto",
        "the network's arithmetic; auto: float16 on a GPU, float32 without",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    batch: int = option(0, "photos of one size predicted together; 0: 8 on a GPU, 1 without", least=0, identity=False)
    device: str = option("auto", "where to run the network", choices=DEVICES, identity=False)
    stereo: StereoOptions = option(StereoOptions, "dense depth from the posed photos themselves")


@dataclass(frozen=True)
class Summary:
    """network: None when there is no monocular depth, ``precomputed`` for the user's maps; ``reason`` says why.
    num_stereo: photos with stereo depth.
    """

    network: str | None
    num_photos: int
    num_maps: int
    reason: str = ""
    device: str = "cpu"
    num_stereo: int = 0


def meta_path(workspace: Workspace) -> Path:
    """Network, kind of output, fingerprint of the weights, and of each photo when its map was made."""
    return workspace.mono_depth / "meta.json"


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    paths = [workspace.undistorted_images, workspace.undistorted_sparse]
    if options.mono_depth is not None:
        return [*paths, workspace.sfm / "sparse" / "0", options.mono_depth]
    return [*paths, weights_cache.path(options.network)] if _wants_network(options) else paths


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.mono_depth, workspace.stereo_depth]


def run(workspace: Workspace, options: Options) -> Summary:
    """Writes ``depth/mono/<stem>.npy`` with a picture and ``depth/mono/meta.json``, or ``depth/stereo/<stem>.npz``.

    Maps of an earlier, interrupted run with the same network, weights and photo are kept.

    Raises:
        UsageError: An option has no meaning, or the folder of maps does not fit the photos.
        DepthrfError: The weights are damaged or of another network, or a photo cannot be read.
    """
    from depthrf.io.colmap import read_model

    names = sorted(image.name for image in read_model(workspace.undistorted_sparse).images.values())
    if options.mono_depth is not None:
        if options.source in ("stereo", "none"):
            raise UsageError(
                f"mono_depth gives monocular depth and source asks for {options.source}: choose one of them."
            )
        remove(workspace.stereo_depth)
        return _import_all(workspace, options.mono_depth, options.mono_kind.replace("-", "_"))
    reason = _reason_to_skip(workspace, options)
    stereo = options.source == "stereo" or (options.source == "auto" and bool(reason))
    if not stereo:
        remove(workspace.stereo_depth)
    if reason:
        fresh_dir(workspace.mono_depth)
        num_stereo = stereo_depth.estimate_all(workspace, options.stereo, options.device) if stereo else 0
        return Summary(None, len(names), 0, reason, str(resolve(options.device)), num_stereo)
    return _predict_all(workspace, options, names)


# The user's maps


def _import_all(workspace: Workspace, folder: Path, kind: str) -> Summary:
    """Brings the user's maps, which are of the photos as taken, onto the undistorted photos' grids."""
    from depthrf.depth.merging import to_undistorted
    from depthrf.io.colmap import load_scene, read_model
    from depthrf.io.depth_maps import write_map
    from depthrf.io.mono_maps import find_maps, read_mono_map

    views = load_scene(workspace.undistorted_sparse).views
    model = read_model(workspace.sfm / "sparse" / "0")
    files = find_maps(folder, [view.name for view in views])
    fresh_dir(workspace.mono_depth)
    for view in console.track([v for v in views if v.name in files], "reading depth maps"):
        lens = model.lens_of(view)
        values = read_mono_map(files[view.name], kind, lens)
        values = to_undistorted(values, view.camera, lens, smooth=True)
        write_map(workspace.mono_depth / f"{view.stem}.npy", values)
        _write_overlay(workspace, view.name, values, kind)
    write_json(meta_path(workspace), {"network": "precomputed", "kind": kind, "photos": sorted(files)})
    return Summary("precomputed", len(views), len(files))


# The network


def _wants_network(options: Options) -> bool:
    return options.network != "none" and options.source in ("auto", "network")


def _reason_to_skip(workspace: Workspace, options: Options) -> str:
    if not _wants_network(options):
        return "not wanted"
    file = weights_cache.path(options.network)
    if file.is_file():
        return ""
    entry = weights_cache.find(options.network)
    others = "SfM keypoints and sensor depth" if workspace.sensor_depth.is_dir() else "SfM keypoints"
    if options.source == "auto":
        others = f"stereo depth from the posed photos, {others}"
    console.note(
        f"no monocular depth: weights of {entry.title} not found in {file.parent}; "
        f"`depthrf weights fetch {entry.name}` downloads them (licence: {entry.licence}). Going on with {others}."
    )
    return f"no weights at {file}"


def _predict_all(workspace: Workspace, options: Options, names: list[str]) -> Summary:
    from depthrf.depth.networks import build_network, find_network, predict
    from depthrf.io.checkpoints import load_state_dict
    from depthrf.io.depth_maps import write_map

    network, device = find_network(options.network), resolve(options.device)
    verified = weights_cache.verify(options.network)
    meta: dict[str, Any] = {
        "network": network.name,
        "kind": network.kind,
        "weights": verified.sha256,
        "tiles": options.tiles,
        "precision": options.precision,
    }
    made = _made_before(workspace, meta)
    photos = {name: workspace.undistorted_images / name for name in names}
    prints = {Path(name).stem: fingerprint(photo) for name, photo in photos.items()}
    todo = [name for name in names if made.get(Path(name).stem) != prints[Path(name).stem]]
    _remove_stale(workspace, keep={stem for stem, p in prints.items() if made.get(stem) == p})
    write_json(meta_path(workspace), {**meta, "photos": made})
    if todo:
        model = build_network(network, load_state_dict(verified.path), str(verified.path)).to(device)
        dtype = _dtype(options.precision, device)
        at_once = options.batch or (8 if device.type == "cuda" else 1)
        with console.progress() as display:
            task = display.add_task(f"depth by {network.name}", total=len(todo), info="")
            for batch, images in _batches([photos[name] for name in todo], at_once):
                depth = predict(network, model, images.to(device), tiles=options.tiles, dtype=dtype).cpu().numpy()
                for photo, values in zip(batch, depth, strict=True):
                    write_map(workspace.mono_depth / f"{photo.stem}.npy", values)
                    _write_overlay(workspace, photo.name, values, network.kind)
                    made[photo.stem] = prints[photo.stem]
                write_json(meta_path(workspace), {**meta, "photos": made})
                display.advance(task, len(batch))
    return Summary(network.name, len(names), len(names), device=str(device))


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    import torch

    if precision == "auto":  # float16 has three bits more than bfloat16, and what overflows is computed again
        return torch.float16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


def _batches(photos: list[Path], at_once: int) -> Iterator[tuple[list[Path], torch.Tensor]]:
    """Photos that follow one another and have one size, at most ``at_once``, with their pixels (B, 3, H, W)."""
    import torch

    paths: list[Path] = []
    images: list[torch.Tensor] = []
    for path in photos:
        image = _read_photo(path)
        if images and (len(images) == at_once or image.shape != images[0].shape):
            yield paths, torch.stack(images)
            paths, images = [], []
        paths.append(path)
        images.append(image)
    yield paths, torch.stack(images)


def _made_before(workspace: Workspace, meta: dict[str, Any]) -> dict[str, str]:
    """Photo fingerprints by stem, of the maps that are there and that were made as ``meta`` says."""
    if not meta_path(workspace).is_file():
        return {}
    found = read_json(meta_path(workspace))
    if any(found.get(key) != value for key, value in meta.items()):
        return {}
    photos = found.get("photos") or {}
    return {stem: made for stem, made in photos.items() if (workspace.mono_depth / f"{stem}.npy").is_file()}


def _remove_stale(workspace: Workspace, keep: set[str]) -> None:
    if workspace.mono_depth.is_dir():
        for file in workspace.mono_depth.rglob("*.*"):
            if file.suffix in (".npy", ".jpg") and file.stem not in keep:
                file.unlink()


def _read_photo(path: Path) -> torch.Tensor:
    """(3, H, W) RGB in [0, 1]."""
    import torch

    from depthrf.io.images import read_rgb

    return torch.tensor(read_rgb(path), dtype=torch.float32).permute(2, 0, 1) / 255.0


def _write_overlay(workspace: Workspace, name: str, values: NDArray[np.float32], kind: str) -> None:
    """``depth/mono/overlays/<stem>.jpg``."""
    from depthrf.io.depth_pictures import draw_prediction
    from depthrf.io.images import write_jpeg

    picture = draw_prediction(workspace.undistorted_images / name, values, kind)
    write_jpeg(workspace.mono_depth / "overlays" / f"{Path(name).stem}.jpg", picture)
