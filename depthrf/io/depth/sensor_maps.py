"""Sensor depth of a workspace's photos on their undistorted pixel grids, as merge and evaluate read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from depthrf.io.depth.reports import read_prior_report
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.depth.sensor import SensorRange
    from depthrf.geometry.camera import View
    from depthrf.geometry.lens import Lens
    from depthrf.io.depth.depth_maps import SensorMap
    from depthrf.io.poses.colmap import ColmapModel

MAX_DEPTH_M = 10.0
MIN_DEPTH_M = 0.1
# Factor on the standard deviation where the sensor gives medium confidence.
_MEDIUM_DOUBT = 2.0


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
        from depthrf.depth.resampling import to_undistorted
        from depthrf.depth.sensor import clean_sensor_depth
        from depthrf.io.depth.depth_maps import read_sensor

        sensor = read_sensor(self.workspace, view.stem)
        if sensor is None:
            return None
        lens = self._lens(view, sensor)
        focal_px = lens.focal * sensor.metres.shape[1] / lens.width
        clean = clean_sensor_depth(sensor.metres, focal_px, near=MIN_DEPTH_M, far=max_depth)
        return to_undistorted(clean, view.camera, lens)

    def range_of(self, views: Sequence[View], max_depth: float) -> SensorRange | None:
        """How much of all photos' sensor depth lies within what is used; None where there is none."""
        from depthrf.depth.sensor import sensor_range
        from depthrf.io.depth.depth_maps import read_sensor

        maps = (read_sensor(self.workspace, view.stem) for view in views)
        return sensor_range((sensor.metres for sensor in maps if sensor is not None), near=MIN_DEPTH_M, far=max_depth)

    def doubt(self, view: View) -> NDArray[np.float32] | None:
        """Factor (H, W) on the sensor's standard deviation; None where its confidence is high everywhere."""
        import numpy as np

        from depthrf.depth.resampling import to_undistorted
        from depthrf.io.depth.depth_maps import read_sensor
        from depthrf.io.depth.sensor_depth import MEDIUM

        sensor = read_sensor(self.workspace, view.stem)
        if sensor is None or sensor.confidence is None:
            return None
        doubt = np.where(sensor.confidence == MEDIUM, np.float32(_MEDIUM_DOUBT), np.float32(1.0))
        return np.maximum(to_undistorted(doubt, view.camera, self._lens(view, sensor)), 1.0)

    def _lens(self, view: View, sensor: SensorMap) -> Lens:
        """The lens whose field of view the sensor's map covers: the depth camera's own, or the photo's."""
        from depthrf.geometry.lens import Lens
        from depthrf.io.depth.raw_maps import check_proportions

        camera = sensor.camera or view.camera
        pinhole = Lens("PINHOLE", camera.width, camera.height, (camera.fx, camera.fy, camera.cx, camera.cy))
        if sensor.camera is not None:
            return pinhole
        lens = pinhole if self.model is None else self.model.lens_of(view)
        path = self.workspace.sensor_depth / f"{view.stem}.png"
        check_proportions(path, sensor.metres.shape, lens, "depth that covers the same view, at any resolution.")
        return lens


class MetresByStem(Mapping[str, "NDArray[np.float32]"]):
    """Sensor depth (H, W) in metres of the photos that have some, by stem.

    Each is read when it is asked for: those of 300 photos of 12 megapixels would take 14 GB at once.
    """

    def __init__(self, maps: SensorMaps, views: Sequence[View], max_depth: float) -> None:
        self._maps, self._max_depth = maps, max_depth
        folder = maps.workspace.sensor_depth
        self._views = {view.stem: view for view in views if (folder / f"{view.stem}.png").is_file()}

    def __getitem__(self, stem: str) -> NDArray[np.float32]:
        found = self._maps.metres(self._views[stem], self._max_depth)
        assert found is not None
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __contains__(self, stem: object) -> bool:
        return stem in self._views


def open_sensor_maps(workspace: Workspace) -> SensorMaps:
    """The sensor depth that ``ingest`` kept, with the lenses that ``sfm`` found."""
    from depthrf.io.poses.colmap import is_model, read_model

    folder = workspace.sfm_model
    return SensorMaps(workspace, read_model(folder) if is_model(folder) else None)


def load_sensor_depth(workspace: Workspace, view: View) -> NDArray[np.float32] | None:
    """Sensor depth of any view, train or test, on its undistorted pixel grid.

    Args:
        workspace: Where ``merge`` has run, which finds the sensor's unit.
        view: The undistorted view.

    Returns:
        (H, W) scene units, 0 = missing; None where the photo has no sensor depth or its unit in the scene is not known.

    Raises:
        DepthrfError: The file is damaged or of the wrong type.
    """
    import numpy as np

    report = read_prior_report(workspace.prior_report)
    unit = None if report is None else report.sensor.metres_per_unit
    if unit is None:
        return None
    metres = open_sensor_maps(workspace).metres(view, MAX_DEPTH_M)
    return None if metres is None else metres / np.float32(unit)
