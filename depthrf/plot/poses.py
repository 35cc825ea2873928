"""Camera frusta with their photos, as a PNG and as one HTML file that needs neither server nor network."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthrf.plot.scene import Frustum, PoseScene
from depthrf.storage import atomic_open, atomic_path

TRAIN, HELD_OUT = "#2b6cb0", "#dd6b20"
_PATCHES = 20  # a photo is drawn as this many patches per side


def write_png(path: Path, scene: PoseScene) -> None:
    """The cameras from the side and from above."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7), dpi=100)
    with mpl.rc_context({"axes.titlesize": 11}):
        for column, (title, elevation) in enumerate((("from the side", 22.0), ("from above", 89.0))):
            axes = figure.add_subplot(1, 2, column + 1, projection="3d", computed_zorder=False)
            _draw(axes, scene)
            axes.view_init(elev=elevation, azim=-60.0)
            axes.set_title(title)
    held_out = sum(f.held_out for f in scene.frusta)
    text = f"{len(scene.frusta) - held_out} cameras" + (f", {held_out} held out (orange)" if held_out else "")
    figure.suptitle(text, fontsize=12)
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _draw(axes: Any, scene: PoseScene) -> None:
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    points = scene.points
    if len(points):
        axes.scatter(*points.T, s=1.5, c=scene.colors / 255.0, linewidths=0, depthshade=False)
    for frustum in scene.frusta:
        if frustum.photo is not None:
            _draw_photo(axes, frustum)
    lines = [(line, HELD_OUT if f.held_out else TRAIN) for f in scene.frusta for line in _edges(f)]
    axes.add_collection3d(Line3DCollection([e for e, _ in lines], colors=[c for _, c in lines], linewidths=0.9))
    everything = np.concatenate([points, *(np.vstack([f.centre, f.corners]) for f in scene.frusta)])
    x, y, z = 0.5 * (everything.max(0) + everything.min(0))
    half = 0.5 * float(np.ptp(everything, axis=0).max())
    axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half), zlim=(z - half, z + half))
    axes.set_box_aspect((1, 1, 1), zoom=1.45)
    axes.set_axis_off()


def _edges(frustum: Frustum) -> list[NDArray[np.float64]]:
    closed = np.vstack([frustum.corners, frustum.corners[:1]])
    return [closed, *(np.stack([frustum.centre, corner]) for corner in frustum.corners)]


def _draw_photo(axes: Any, frustum: Frustum) -> None:
    import cv2

    assert frustum.photo is not None
    patches = cv2.resize(frustum.photo, (_PATCHES, _PATCHES), interpolation=cv2.INTER_AREA) / 255.0
    u, v = np.meshgrid(*[np.linspace(0.0, 1.0, _PATCHES + 1)] * 2)
    top_left, top_right, _, bottom_left = frustum.corners
    surface = top_left + u[..., None] * (top_right - top_left) + v[..., None] * (bottom_left - top_left)
    axes.plot_surface(*np.moveaxis(surface, -1, 0), facecolors=patches, shade=False, rcount=99, ccount=99, linewidth=0)


def write_html(path: Path, scene: PoseScene, title: str) -> None:
    """A self-contained page: dragging rotates, the wheel zooms, pointing at a camera shows its photo."""
    template = Path(__file__).with_name("poses.html").read_text(encoding="utf-8")
    page = template.replace("__SCRIPT__", script()).replace("__DATA__", scene_json(scene, title))
    with atomic_open(path) as handle:
        handle.write(page)


def script() -> str:
    """The JavaScript that draws what :func:`scene_json` holds: ``showCameras(canvas, shown, scene)``."""
    return Path(__file__).with_name("poses.js").read_text(encoding="utf-8")


def scene_json(scene: PoseScene, title: str) -> str:
    """The scene as a JavaScript value, safe inside a script element."""
    cameras = [
        {
            "name": f.name,
            "centre": _rounded(f.centre),
            "corners": _rounded(f.corners),
            "heldOut": f.held_out,
            "photo": None if f.photo is None else _data_url(f.photo),
        }
        for f in scene.frusta
    ]
    points = {"xyz": _rounded(scene.points), "rgb": scene.colors.tolist()}
    data = json.dumps({"title": title, "cameras": cameras, "points": points}, separators=(",", ":"))
    # A name that contains "</" could end the script element early, and "<!--" change how the rest of it is read.
    return data.replace("<", "\\u003c")


def _rounded(values: NDArray[np.float64]) -> Any:
    return np.round(values, 5).tolist()


def _data_url(photo: NDArray[np.uint8]) -> str:
    import cv2

    _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(photo[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
