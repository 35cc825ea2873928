"""Dense depth of every undistorted training photo: by a network, or by stereo where its weights are missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.depth.stereo_options import StereoOptions
from depthrf.device import CHOICES as DEVICES
from depthrf.device import resolve
from depthrf.io import weights as weights_cache
from depthrf.options import option
from depthrf.stages import stereo_depth
from depthrf.workspace import Workspace, fingerprint, fresh_dir, read_json, write_json

if TYPE_CHECKING:
    import torch

REQUIRES = ("sfm",)


@dataclass(frozen=True)
class Options:
    source: str = option(
        "auto",
        "where dense depth comes from; auto: the network if its weights are there, else stereo from the posed photos",
        choices=("auto", "network", "stereo", "none"),
    )
    network: str = option(
        "omnidata",
        "Monocular depth network, used when its weights are there.",
        choices=("omnidata", "midas", "depth-anything-v2-small", "none"),
    )
    device: str = option("auto", "Where to run it.", choices=DEVICES, identity=False)
    stereo: StereoOptions = option(StereoOptions, "dense depth from the posed photos themselves")


@dataclass(frozen=True)
class Summary:
    """network: None when there is no monocular depth; ``reason`` says why. num_stereo: photos with stereo depth."""

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
    return [*paths, weights_cache.path(options.network)] if _wants_network(options) else paths


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.mono_depth, workspace.stereo_depth]


def run(workspace: Workspace, options: Options) -> Summary:
    """Writes ``depth/mono/<stem>.npy`` and ``depth/mono/meta.json``, or ``depth/stereo/<stem>.npz``.

    Maps of an earlier, interrupted run with the same network, weights and photo are kept.

    Raises:
        DepthrfError: The weights are damaged or of another network, or a photo cannot be read.
    """
    from depthrf.io.colmap import read_model

    names = sorted(image.name for image in read_model(workspace.undistorted_sparse).images.values())
    reason = _reason_to_skip(workspace, options)
    stereo = options.source == "stereo" or (options.source == "auto" and bool(reason))
    if not stereo:
        stereo_depth.remove(workspace)
    if reason:
        fresh_dir(workspace.mono_depth)
        num_stereo = stereo_depth.estimate_all(workspace, options.stereo, options.device) if stereo else 0
        return Summary(None, len(names), 0, reason, str(resolve(options.device)), num_stereo)
    return _predict_all(workspace, options, names)


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
    made = _made_before(workspace, network.name, verified.sha256)
    photos = {name: workspace.undistorted_images / name for name in names}
    prints = {Path(name).stem: fingerprint(photo) for name, photo in photos.items()}
    todo = [name for name in names if made.get(Path(name).stem) != prints[Path(name).stem]]
    meta: dict[str, Any] = {"network": network.name, "kind": network.kind, "weights": verified.sha256}
    _remove_stale(workspace, keep={stem for stem, p in prints.items() if made.get(stem) == p})
    write_json(meta_path(workspace), {**meta, "photos": made})
    if todo:
        model = build_network(network, load_state_dict(verified.path), str(verified.path)).to(device)
        for name in console.track(todo, f"depth by {network.name}"):
            stem = Path(name).stem
            depth = predict(network, model, _read_photo(photos[name]).to(device))
            write_map(workspace.mono_depth / f"{stem}.npy", depth.cpu().numpy())
            made[stem] = prints[stem]
            write_json(meta_path(workspace), {**meta, "photos": made})
    return Summary(network.name, len(names), len(names), device=str(device))


def _made_before(workspace: Workspace, network: str, sha256: str) -> dict[str, str]:
    """Photo fingerprints by stem, of the maps that are there and that this network and these weights made."""
    if not meta_path(workspace).is_file():
        return {}
    meta = read_json(meta_path(workspace))
    if (meta.get("network"), meta.get("weights")) != (network, sha256):
        return {}
    photos = meta.get("photos") or {}
    return {stem: made for stem, made in photos.items() if (workspace.mono_depth / f"{stem}.npy").is_file()}


def _remove_stale(workspace: Workspace, keep: set[str]) -> None:
    if workspace.mono_depth.is_dir():
        for file in workspace.mono_depth.glob("*.npy"):
            if file.stem not in keep:
                file.unlink()


def _read_photo(path: Path) -> torch.Tensor:
    """(3, H, W) RGB in [0, 1]."""
    import torch

    from depthrf.io.images import read_rgb

    return torch.tensor(read_rgb(path), dtype=torch.float32).permute(2, 0, 1) / 255.0
