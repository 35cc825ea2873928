"""A small whole file of every format that depthrf reads, with what reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from depthrf.geometry.camera import Camera, View
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import look_at
from tests.io.captures.writers import WRITERS, Source

_CAMERA = Camera(96, 64, 81.0, 81.0, 48.0, 32.0)
_LENS = Lens("PINHOLE", 96, 64, (81.0, 81.0, 48.0, 32.0))
_UP = np.array([0.1, -1.0, 0.0])
_PARSED = {".json", ".csv", ".txt", ".npy", ".bin"}


@dataclass(frozen=True)
class Target:
    """A file, its whole content, and what reads it."""

    name: str
    file: Path
    content: bytes
    read: Callable[[], object]


def make_targets(folder: Path) -> list[Target]:
    """Writes all files below a new folder."""
    folder.mkdir(parents=True)
    makers = (_captures, _pictures, _arrays, _weights, _camera_paths, _presets, _workspace_files, _videos)
    return [target for maker in makers for target in maker(folder)]


def _target(name: str, file: Path, *readers: Callable[[], object]) -> Iterator[Target]:
    for reader in readers:
        yield Target(name, file, file.read_bytes(), reader)


def _views() -> list[View]:
    views = []
    for index in range(4):
        angle = 0.3 * (index - 1.5)
        centre = 4.0 * np.array([np.sin(angle), -0.2 * angle, -np.cos(angle)])
        views.append(View(f"p{index}.jpg", _CAMERA, look_at(centre, np.zeros(3), _UP)))
    return views


def _pixels() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)


def _captures(folder: Path) -> Iterator[Target]:
    from depthrf.io.captures.poses import read_poses
    from depthrf.io.captures.registry import find_capture

    sources = []
    for view in _views():
        photo = folder / "photos" / view.name
        photo.parent.mkdir(exist_ok=True)
        Image.fromarray(_pixels()).save(photo)
        depth = np.random.default_rng(1).uniform(0.5, 5, (32, 48))
        sources.append(Source(view, photo, depth, np.full((32, 48), 2, np.uint8)))
    for kind, write in WRITERS.items():
        place = folder / kind.replace(" ", "_")
        place.mkdir()
        write(place, sources)
    binary = folder / "COLMAP_binary"
    shutil.copytree(folder / "COLMAP_project", binary)
    _make_binary(binary / "sparse" / "0")
    for place in [folder / kind.replace(" ", "_") for kind in WRITERS] + [binary]:
        for file in sorted(path for path in place.rglob("*") if path.suffix in _PARSED):
            name = f"{place.name}/{file.name}"
            yield from _target(name, file, lambda p=place: find_capture(p), lambda p=place: read_poses(p, {}))  # type: ignore[misc]
            if file.name == "transforms.json":
                yield from _target(f"poses from {name}", file, lambda f=file: read_poses(f, {"p0": (96, 64)}))  # type: ignore[misc]


def _make_binary(model: Path) -> None:
    from depthrf.sfm.child._pycolmap import pycolmap

    reconstruction = pycolmap.Reconstruction(model)
    for path in model.iterdir():
        path.unlink()
    reconstruction.write_binary(model)


def _pictures(folder: Path) -> Iterator[Target]:
    import pillow_heif

    from depthrf.io.masks import read_mask
    from depthrf.io.photos.images import inspect_photo, read_rgb
    from tests.scenes import profiles

    pillow_heif.register_heif_opener()
    picture, place = Image.fromarray(_pixels()), folder / "pictures"
    place.mkdir()
    for ending in ("jpg", "png", "tif", "webp", "heic", "bmp", "gif", "ppm", "avif"):
        picture.save(place / f"plain.{ending}")
    profile = profiles.rgb_profile("Display P3", profiles.P3, profiles.srgb_curve())
    picture.save(place / "profile.jpg", icc_profile=profile)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    picture.save(place / "exif.jpg", exif=exif)
    Image.fromarray(_pixels()[..., 0].astype(np.uint16) * 16).save(place / "deep.tif")
    picture.save(place / "lzw.tif", compression="tiff_lzw")
    for file in sorted(place.iterdir()):
        readers = (inspect_photo, read_rgb, *([read_mask] if file.suffix in (".png", ".jpg", ".bmp") else []))
        yield from _target(f"photo {file.name}", file, *(lambda r=r, f=file: r(f) for r in readers))


def _arrays(folder: Path) -> Iterator[Target]:
    import OpenEXR

    from depthrf.geometry.camera import DepthPrior
    from depthrf.io.depth.depth_maps import read_map, read_prior, write_prior
    from depthrf.io.depth.mono_maps import read_mono_map
    from depthrf.io.depth.numpy_files import read_npz
    from depthrf.io.depth.raw_maps import read_raw_map
    from depthrf.io.depth.sensor_depth import read_depth_camera, read_depth_file

    place = folder / "arrays"
    place.mkdir()
    depth = np.random.default_rng(2).uniform(0.5, 5, (32, 48)).astype(np.float32)
    np.save(place / "depth.npy", depth)
    np.savez(place / "plain.npz", depth=depth)
    np.savez_compressed(place / "packed.npz", depth=depth)
    Image.fromarray((depth * 1000).astype(np.uint16)).save(place / "depth.png")
    OpenEXR.File({"type": OpenEXR.scanlineimage}, {"Z": depth}).write(str(place / "depth.exr"))
    for file in sorted(place.glob("depth.*")):
        yield from _target(
            f"depth {file.name}",
            file,
            lambda f=file: read_raw_map(f),  # type: ignore[misc]
            lambda f=file: read_depth_file(f, 0.001),  # type: ignore[misc]
            lambda f=file: read_mono_map(f, "metric", _LENS),  # type: ignore[misc]
        )
    for name in ("plain", "packed"):
        file = place / f"{name}.npz"
        yield from _target(f"npz {name}", file, lambda f=file: read_npz(f, ["depth"]))  # type: ignore[misc]
    yield from _target("own map", place / "depth.npy", lambda: read_map(place / "depth.npy"))
    prior = place / "prior.npz"
    write_prior(prior, DepthPrior(depth, 0.1 * depth), np.ones((32, 48), np.uint8))
    yield from _target("own prior", prior, lambda: read_prior(prior))
    camera = place / "camera.json"
    camera.write_text(json.dumps({"w": 48, "h": 32, "fl_x": 40.0, "fl_y": 40.0, "cx": 24.0, "cy": 16.0}))
    yield from _target("depth camera", camera, lambda: read_depth_camera(camera, 48, 32))


def _weights(folder: Path) -> Iterator[Target]:
    import torch

    from depthrf.io.trained_field import load_field
    from depthrf.io.weights.checkpoints import load_state_dict

    place = folder / "weights"
    place.mkdir()
    content = {"state_dict": {"model.a": torch.arange(6.0).reshape(2, 3)}, "epoch": 3, "sets": {1, 2}, "t": (1, (2, 3))}
    for name, zipped in (("zip", True), ("plain", False)):
        file = place / f"{name}.pt"
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        yield from _target(f"weights {name}", file, lambda f=file: load_state_dict(f))  # type: ignore[misc]
    checkpoint = place / "checkpoint.pt"
    _write_checkpoint(checkpoint)
    yield from _target("own checkpoint", checkpoint, lambda: load_field(checkpoint, torch.device("cpu")))


def _write_checkpoint(path: Path) -> None:
    from depthrf.geometry.transforms import Similarity
    from depthrf.io import trained_field
    from depthrf.nerf import options
    from depthrf.nerf.model import RadianceField
    from depthrf.nerf.rays.batch import Bounds
    from depthrf.nerf.training.loop import Trainer

    grid, small = (
        options.GridOptions(levels=2, log2_size=6, finest=32),
        options.ProposalGridOptions(levels=2, log2_size=6),
    )
    proposal = options.ProposalOptions(num_samples=(8,), grid=small, width=8)
    field = options.FieldOptions(grid=grid, width=8)
    model = RadianceField(options.ModelOptions(field=field, proposal=proposal, num_samples=8), num_photos=3)
    trainer = Trainer(model, options.OptimiserOptions(steps=5, batch_rays=64), options.LossOptions(), seed=0)
    frame = trained_field.TrainedField(model, Similarity(2.0, np.eye(3), np.zeros(3)), Bounds(0.1, 9.0), 48)
    trained_field.save(path, trainer, frame, key="key", seconds=1.0)


def _camera_paths(folder: Path) -> Iterator[Target]:
    from depthrf.io.camera_paths.path_file import FilmPlan
    from depthrf.io.camera_paths.registry import WRITERS as PATH_WRITERS
    from depthrf.io.camera_paths.registry import read_path_file

    views = _views()
    poses = np.stack([view.cam_from_world for view in views])
    film = FilmPlan(poses, np.linspace(60, 30, len(views)), (96, 64), 24.0)
    for kind, write in PATH_WRITERS.items():
        path = folder / f"path_{kind}" if kind == "colmap" else folder / f"path_{kind}.json"
        write(path, film)
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            yield from _target(f"camera path {kind}", file, lambda p=path: read_path_file(p, views))  # type: ignore[misc]
    keyframes = folder / "path_keyframes.json"
    place = {"position": [0, 0, 1], "look_at": [1.0, 2, 3], "fov": 50}
    keyframes.write_text(json.dumps({"fps": 24, "loop": True, "keyframes": [{"photo": "p0.jpg"}, place]}))
    yield from _target("camera path by keyframes", keyframes, lambda: read_path_file(keyframes, views))


def _presets(folder: Path) -> Iterator[Target]:
    from depthrf import pipeline
    from depthrf.shipped import shipped

    for shipped_file in sorted(shipped("pipelines").glob("*.toml")):
        file = folder / shipped_file.name
        shutil.copyfile(shipped_file, file)
        yield from _target(
            f"preset {file.name}",
            file,
            lambda f=file: pipeline.make_plan(pipeline.load_pipeline(str(f)), str(f)),  # type: ignore[misc]
        )


def _workspace_files(folder: Path) -> Iterator[Target]:
    from depthrf import pipeline
    from depthrf.io.depth.reports import PriorReport, SensorUnit, read_mono_meta, read_prior_report
    from depthrf.io.photos.table import PhotoEntry, read_photos, write_photos
    from depthrf.io.poses.transforms_json import load_views, write_transforms
    from depthrf.plot.curves import draw, read_metrics
    from depthrf.records import Record, read_record
    from depthrf.storage import write_json
    from depthrf.workspace import create_workspace, open_workspace

    workspace = create_workspace(folder / "workspace", folder)
    root = workspace.root
    pipeline.save_plan(workspace, pipeline.make_plan(pipeline.load_pipeline("cpu"), "cpu"))
    plan = lambda: pipeline.make_plan(pipeline.saved_tables(workspace), "the workspace")  # noqa: E731
    yield from _target("workspace.json", workspace.manifest, lambda: open_workspace(root), plan)
    write_json(root / "record.json", Record("sfm", {"a": 1}, inputs={"x": "absent"}, outputs={"y": "absent"}))
    yield from _target("record", root / "record.json", lambda: read_record(root / "record.json"))
    write_photos(workspace.photos, [PhotoEntry("a.jpg", "a.jpg", "used", None, 96, 64, 81.0, "key")])
    yield from _target("photos.json", workspace.photos, lambda: read_photos(workspace.photos))
    write_json(root / "prior.json", PriorReport(SensorUnit(1.0, "keypoints against the sensor")))
    yield from _target("prior report", root / "prior.json", lambda: read_prior_report(root / "prior.json"))
    (root / "mono.json").write_text(json.dumps({"network": "x", "kind": "metric", "tiles": 1, "photos": {"a": "b"}}))
    yield from _target("maps' report", root / "mono.json", lambda: read_mono_meta(root / "mono.json"))
    write_transforms(workspace.transforms, _views(), image_folder="images")
    yield from _target("own transforms.json", workspace.transforms, lambda: load_views(workspace.transforms))
    rows = [{"step": n, "seconds": 0.1 * n, "rays_per_second": 9, "psnr": 12.0, "loss": 1.0 / n} for n in range(1, 5)]
    metrics = root / "nerf" / "metrics.jsonl"
    metrics.parent.mkdir()
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    yield from _target("metrics", metrics, lambda: read_metrics(metrics), lambda: draw({"a": read_metrics(metrics)}))


def _videos(folder: Path) -> Iterator[Target]:
    from depthrf.io.clean_aperture import read_clean_aperture
    from depthrf.io.encoding import Encoding, write_video
    from depthrf.io.photos.clip import check_source

    video = folder / "clip.mp4"
    write_video(video, iter([_pixels()] * 3), 24.0, (96, 64), Encoding("h264", 30, {}))
    yield from _target("index of a video", video, lambda: read_clean_aperture(video))
    yield from _target("video", video, lambda: check_source(video))
