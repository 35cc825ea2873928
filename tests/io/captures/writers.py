"""Small exports as the programs write them, from views whose cameras are known. Depth is half the photo's size."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from depthrf.geometry.camera import View

Array = NDArray[np.float64]
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # between OpenCV's and OpenGL's camera axes


@dataclass(frozen=True)
class Source:
    """One photo to export: its view, its file, depth in metres (H, W) and confidence (H, W) 0 to 2."""

    view: View
    photo: Path
    depth: Array | None = None
    confidence: NDArray[np.uint8] | None = None


Writer = Callable[[Path, Sequence[Source]], None]


def arkit(view: View) -> Array:
    """ARKit's ``camera.transform``: camera-to-world, x right, y up, z backward."""
    return view.world_from_cam @ _FLIP


def quaternion_xyzw(rotation: Array) -> Array:
    return np.asarray(Rotation.from_matrix(rotation).as_quat())


def millimetres(path: Path, depth: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(depth * 1000).astype(np.uint16)).save(path)


def grey(path: Path, values: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def copy(source: Source, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.photo.suffix == target.suffix:
        shutil.copyfile(source.photo, target)
    else:
        Image.open(source.photo).convert("RGB").save(target, quality=97)


def polycam(folder: Path, sources: Sequence[Source]) -> None:
    for index, source in enumerate(sources):
        stem, camera = str(1000 + 333 * index), source.view.camera
        frames = folder / "keyframes"
        copy(source, frames / "corrected_images" / f"{stem}.jpg")
        transform = arkit(source.view)
        content = {f"t_{i}{j}": transform[i, j] for i in range(3) for j in range(4)}
        content |= {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
        content |= {"width": camera.width, "height": camera.height, "blur_score": 100.0}
        (frames / "corrected_cameras").mkdir(exist_ok=True)
        (frames / "corrected_cameras" / f"{stem}.json").write_text(json.dumps(content))
        if source.depth is not None:
            millimetres(frames / "depth" / f"{stem}.png", source.depth)
        if source.confidence is not None:
            grey(frames / "confidence" / f"{stem}.png", np.array([0, 127, 255], np.uint8)[source.confidence])


def record3d(folder: Path, sources: Sequence[Source]) -> None:
    poses, coefficients = [], []
    for index, source in enumerate(sources):
        copy(source, folder / "EXR_RGBD" / "rgb" / f"{index}.jpg")
        transform, camera = arkit(source.view), source.view.camera
        poses.append([*quaternion_xyzw(transform[:3, :3]), *transform[:3, 3]])
        coefficients.append([camera.fx, camera.fy, camera.cx, camera.cy])
        if source.depth is not None:
            OpenEXR = pytest.importorskip("OpenEXR")
            path = folder / "EXR_RGBD" / "depth" / f"{index}.exr"
            path.parent.mkdir(exist_ok=True)
            header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
            with OpenEXR.File(header, {"R": source.depth.astype(np.float32)}) as file:
                file.write(str(path))
    camera = sources[0].view.camera
    metadata = {
        "w": camera.width,
        "h": camera.height,
        "K": camera.matrix.T.ravel().tolist(),
        "fps": 60,
        "poses": poses,
        "perFrameIntrinsicCoeffs": coefficients,
    }
    (folder / "EXR_RGBD" / "metadata.json").write_text(json.dumps(metadata))


def _stray(folder: Path, sources: Sequence[Source]) -> None:
    """Everything but the photos."""
    folder.mkdir(parents=True, exist_ok=True)
    half_turn_about_x = np.diag([1.0, -1.0, -1.0])
    with open(folder / "odometry.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["timestamp", " frame", " x", " y", " z", " qx", " qy", " qz", " qw"])
        for index, source in enumerate(sources):
            transform = arkit(source.view)
            rotation = quaternion_xyzw(transform[:3, :3] @ half_turn_about_x)
            writer.writerow([0.1 * index, f"{index:06d}", *transform[:3, 3], *rotation])
            if source.depth is not None:
                millimetres(folder / "depth" / f"{index:06d}.png", source.depth)
            if source.confidence is not None:
                grey(folder / "confidence" / f"{index:06d}.png", source.confidence)
    matrix = sources[0].view.camera.matrix
    (folder / "camera_matrix.csv").write_text("\n".join(", ".join(map(str, row)) for row in matrix.tolist()))


def stray_scanner(folder: Path, sources: Sequence[Source]) -> None:
    _stray(folder, sources)
    for index, source in enumerate(sources):
        copy(source, folder / "rgb" / f"{index:06d}.jpg")


def stray_scanner_video(folder: Path, sources: Sequence[Source]) -> None:
    from depthrf.io.encoding import write_video

    _stray(folder, sources)
    camera = sources[0].view.camera
    frames = [np.asarray(Image.open(s.photo).convert("RGB")) for s in sources]
    write_video(folder / "rgb.mp4", frames, 30.0, (camera.width, camera.height))


def scanner_app(folder: Path, sources: Sequence[Source]) -> None:
    for index, source in enumerate(sources):
        copy(source, folder / f"frame_{2 * index:05d}.jpg")
        transform = arkit(source.view).ravel().tolist()
        content = {"cameraPoseARFrame": transform, "intrinsics": source.view.camera.matrix.ravel().tolist()}
        (folder / f"frame_{2 * index:05d}.json").write_text(json.dumps(content))
        (folder / f"frame_{2 * index + 1:05d}.json").write_text(json.dumps(content))  # most frames have no photo
        if source.depth is not None:
            millimetres(folder / f"depth_{2 * index:05d}.png", source.depth)
        if source.confidence is not None:
            grey(folder / f"conf_{2 * index:05d}.png", source.confidence)


def scannet(folder: Path, sources: Sequence[Source]) -> None:
    for name in ("pose", "intrinsic"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    camera = sources[0].view.camera
    half = camera.resized(camera.width // 2, camera.height // 2)
    for name, c in (("color", camera), ("depth", half)):
        matrix = np.eye(4)
        matrix[:3, :3] = c.matrix
        matrix[:2, 2] -= 0.5  # the first pixel's centre is (0, 0) there
        np.savetxt(folder / "intrinsic" / f"intrinsic_{name}.txt", matrix, fmt="%.9f")
    for index, source in enumerate(sources):
        copy(source, folder / "color" / f"{index}.jpg")
        np.savetxt(folder / "pose" / f"{index}.txt", source.view.world_from_cam, fmt="%.9f")
        if source.depth is not None:
            millimetres(folder / "depth" / f"{index}.png", source.depth)


def llff(folder: Path, sources: Sequence[Source]) -> None:
    rows = []
    for source in sources:
        copy(source, folder / "images" / source.photo.name)
        camera, transform = source.view.camera, source.view.world_from_cam
        right, down, forward, position = transform[:3].T
        matrix = np.column_stack([down, right, -forward, position, [camera.height, camera.width, camera.fx]])
        rows.append([*matrix.ravel(), 0.5, 10.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))


def nerfstudio(folder: Path, sources: Sequence[Source]) -> None:
    camera = sources[0].view.camera
    frames = []
    for source in sources:
        copy(source, folder / "images" / source.photo.name)
        frame = {"file_path": f"./images/{source.photo.name}", "transform_matrix": arkit(source.view).tolist()}
        if source.depth is not None:
            frame["depth_file_path"] = f"./depth/{source.photo.stem}.png"
            millimetres(folder / "depth" / f"{source.photo.stem}.png", source.depth)
        frames.append(frame)
    content: dict[str, Any] = {
        "w": camera.width,
        "h": camera.height,
        "fl_x": camera.fx,
        "fl_y": camera.fy,
        "cx": camera.cx,
    }
    content |= {"cy": camera.cy, "frames": frames, "depth_unit_scale_factor": 0.001}
    (folder / "transforms.json").write_text(json.dumps(content))


def blender(folder: Path, sources: Sequence[Source]) -> None:
    for split, some in (("train", sources[:-1]), ("test", sources[-1:])):
        frames = []
        for index, source in enumerate(some):
            copy(source, folder / split / f"r_{index}.png")
            frames.append({"file_path": f"./{split}/r_{index}", "transform_matrix": arkit(source.view).tolist()})
        camera = sources[0].view.camera
        angle = 2 * np.arctan(0.5 * camera.width / camera.fx)
        (folder / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}))


def colmap(folder: Path, sources: Sequence[Source]) -> None:
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    camera = sources[0].view.camera
    (model / "cameras.txt").write_text(
        f"# cameras\n1 PINHOLE {camera.width} {camera.height} {camera.fx} {camera.fy} {camera.cx} {camera.cy}\n"
    )
    lines = ["# images"]
    for index, source in enumerate(sources):
        copy(source, folder / "images" / source.photo.name)
        pose = source.view.cam_from_world
        quaternion = np.roll(quaternion_xyzw(pose[:3, :3]), 1)
        values = " ".join(f"{v:.12g}" for v in [*quaternion, *pose[:3, 3]])
        lines += [f"{index + 1} {values} 1 {source.photo.name}", ""]
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    (model / "points3D.txt").write_text("# points\n")


WRITERS: dict[str, Writer] = {
    "Polycam export": polycam,
    "Record3D export": record3d,
    "Stray Scanner recording": stray_scanner,
    "3D Scanner App export": scanner_app,
    "ScanNet folder": scannet,
    "LLFF folder": llff,
    "folder with transforms.json": nerfstudio,
    "COLMAP project": colmap,
}
