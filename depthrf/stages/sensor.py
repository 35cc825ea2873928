"""Sensor depth of a workspace's photos on their undistorted pixel grids, as merge and evaluate read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.errors import DepthrfError
from depthrf.workspace import Workspace, read_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import View
    from depthrf.geometry.lens import Lens
    from depthrf.io.colmap import ColmapModel
    from depthrf.io.depth_maps import SensorMap

MAX_DEPTH_M = 10.0
_NEAR_M = 0.1
_MEDIUM_DOUBT = 2.0  # times the standard deviation where the sensor itself is only half sure


@dataclass(frozen=True)
class SensorMaps:
    """Sensor maps with the ``model`` whose lenses the photos were taken with; None where ``sfm`` found none."""

    workspace: Workspace
    model: ColmapModel | None

    def metres(self, view: View, max_depth: float) -> NDArray[np.float32] | None:
        """Cleaned depth (H, W) in metres, 0 = missing; None where the photo has none.

        Raises:
            DepthrfError: The file is damaged, of the wrong type or of another shape than the photo.
        """
        from depthrf.depth.merging import clean_sensor_depth, to_undistorted
        from depthrf.io.depth_maps import read_sensor

        sensor = read_sensor(self.workspace, view.stem)
        if sensor is None:
            return None
        lens = self._lens(view, sensor)
        focal_px = lens.focal * sensor.metres.shape[1] / lens.width
        clean = clean_sensor_depth(sensor.metres, focal_px, near=_NEAR_M, far=max_depth)
        return to_undistorted(clean, view.camera, lens)

    def doubt(self, view: View) -> NDArray[np.float32] | None:
        """Factor (H, W) on the sensor's standard deviation; None where the sensor is sure everywhere."""
        import numpy as np

        from depthrf.depth.merging import to_undistorted
        from depthrf.io.depth_maps import read_sensor
        from depthrf.io.sensor_depth import MEDIUM

        sensor = read_sensor(self.workspace, view.stem)
        if sensor is None or sensor.confidence is None:
            return None
        doubt = np.where(sensor.confidence == MEDIUM, np.float32(_MEDIUM_DOUBT), np.float32(1.0))
        return np.maximum(to_undistorted(doubt, view.camera, self._lens(view, sensor)), 1.0)

    def _lens(self, view: View, sensor: SensorMap) -> Lens:
        """The lens whose field of view the sensor's map covers: the depth camera's own, or the photo's."""
        from depthrf.geometry.lens import Lens

        camera = sensor.camera or view.camera
        pinhole = Lens("PINHOLE", camera.width, camera.height, (camera.fx, camera.fy, camera.cx, camera.cy))
        if sensor.camera is not None:
            return pinhole
        lens = pinhole if self.model is None else self.model.lens_of(view)
        _check_shape(self.workspace.sensor_depth / f"{view.stem}.png", sensor.metres.shape, lens)
        return lens


def open_sensor_maps(workspace: Workspace) -> SensorMaps:
    """The sensor depth that ``ingest`` kept, with the lenses that ``sfm`` found."""
    from depthrf.io.colmap import is_model, read_model

    folder = workspace.sfm / "sparse" / "0"
    return SensorMaps(workspace, read_model(folder) if is_model(folder) else None)


def metres_per_unit(workspace: Workspace) -> float | None:
    """The scale that ``merge`` found; None where it is not known or merge has not run."""
    from depthrf.stages.merge import report_path

    path = report_path(workspace)
    found = read_json(path).get("metres_per_unit") if path.is_file() else None
    return None if found is None else float(found)


def load_sensor_depth(workspace: Workspace, view: View) -> NDArray[np.float32] | None:
    """Sensor depth of any view, train or test, on its undistorted pixel grid.

    Args:
        workspace: Where ``merge`` has run, which gives the scale.
        view: The undistorted view.

    Returns:
        (H, W) scene units, 0 = missing; None where the photo has no sensor depth or the scale is not known.

    Raises:
        DepthrfError: The file is damaged or of the wrong type.
    """
    import numpy as np

    unit = metres_per_unit(workspace)
    if unit is None:
        return None
    metres = open_sensor_maps(workspace).metres(view, MAX_DEPTH_M)
    return None if metres is None else metres / np.float32(unit)


def _check_shape(path: Path, shape: tuple[int, ...], lens: Lens) -> None:
    height, width = shape
    # Half a pixel of rounding on either side is the most that an honest resize leaves.
    if abs(width * lens.height - height * lens.width) > max(lens.width, lens.height):
        raise DepthrfError(
            f"The depth map {path} is {width}x{height}, its photo {lens.width}x{lens.height}: another shape. "
            "Expected depth that covers the same view as the photo, at any resolution."
        )
