"""Monocular depth by a pretrained network.

Maps of an earlier, interrupted run with the same network, weights and photo are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.device import resolve
from depthrf.io.depth.reports import MonoMeta, read_mono_meta
from depthrf.io.weights import manifest as weights_cache
from depthrf.stages.depth_sources.mono_files import write_mono_map
from depthrf.storage import fingerprint, write_json
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import torch


def predict_all(
    workspace: Workspace, names: Sequence[str], *, network: str, tiles: int, precision: str, batch: int, device: str
) -> None:
    """Writes the map of each photo that has none from the same network, weights and photo yet.

    Args:
        workspace: Where the undistorted photos are.
        names: Their file names.
        network, tiles, precision, batch, device: As the depth stage's options have them.

    Raises:
        DepthrfError: The weights are damaged or of another network, or a photo cannot be read.
    """
    from depthrf.depth.networks.catalogue import build_network, find_network, predict
    from depthrf.io.weights.checkpoints import load_state_dict

    chosen, target = find_network(network), resolve(device)
    verified = weights_cache.verify(network)
    meta = MonoMeta(chosen.name, chosen.kind, verified.sha256, tiles, precision)
    made = _made_before(workspace, meta)
    photos = [workspace.undistorted_images / name for name in names]
    prints = {photo.stem: fingerprint(photo) for photo in photos}
    todo = [photo for photo in photos if made.get(photo.stem) != prints[photo.stem]]
    _remove_stale(workspace, keep={stem for stem, p in prints.items() if made.get(stem) == p})
    write_json(workspace.mono_meta, replace(meta, photos=made))
    if not todo:
        return
    model = build_network(chosen, load_state_dict(verified.path), str(verified.path)).to(target)
    dtype = _dtype(precision, target)
    at_once = batch or (8 if target.type == "cuda" else 1)
    with console.progress() as display:
        task = display.add_task(f"depth by {chosen.name}", total=len(todo), info="")
        for paths, images in _batches(todo, at_once):
            depth = predict(chosen, model, images.to(target), tiles=tiles, dtype=dtype).cpu().numpy()
            for photo, values in zip(paths, depth, strict=True):
                write_mono_map(workspace, photo.name, values, chosen.kind)
                made[photo.stem] = prints[photo.stem]
            write_json(workspace.mono_meta, replace(meta, photos=made))
            display.advance(task, len(paths))


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    import torch

    if precision == "auto":  # three bits more than bfloat16; what overflows is computed again
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


def _made_before(workspace: Workspace, meta: MonoMeta) -> dict[str, str]:
    """Photo fingerprints by stem, of the maps that are there and that were made as ``meta`` says."""
    found = read_mono_meta(workspace.mono_meta)
    if found is None or replace(found, photos={}) != meta:
        return {}
    return {stem: made for stem, made in found.photos.items() if (workspace.mono_depth / f"{stem}.npy").is_file()}


def _remove_stale(workspace: Workspace, keep: set[str]) -> None:
    if workspace.mono_depth.is_dir():
        for file in workspace.mono_depth.rglob("*.*"):
            if file.suffix in (".npy", ".jpg") and file.stem not in keep:
                file.unlink()


def _read_photo(path: Path) -> torch.Tensor:
    """(3, H, W) RGB in [0, 1]."""
    import torch

    from depthrf.io.photos.images import read_rgb

    return torch.tensor(read_rgb(path), dtype=torch.float32).permute(2, 0, 1) / 255.0
