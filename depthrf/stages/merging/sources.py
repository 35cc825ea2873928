"""All that is known of one photo's depth, in scene units on its own grid, read from the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from depthrf.io.depth.reports import AlignedReport, MonoMeta, SensorUnit
from depthrf.io.depth.sensor_maps import SensorMaps
from depthrf.stages.depth_sources.stereo import load_stereo_prior
from depthrf.storage import read_typed
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import DepthPrior, SparseScene, View


@dataclass(frozen=True)
class PhotoDepth:
    """Depth and sigma (H, W) of one photo by source. mono_fitted_to: ``keypoints`` or ``sensor``; None without."""

    keypoints: DepthPrior
    mono: DepthPrior | None
    mono_fitted_to: str | None
    sensor: DepthPrior | None
    stereo: DepthPrior | None

    @property
    def disputed(self) -> NDArray[np.bool_] | None:
        """Where stereo and monocular depth disagree, (H, W); None without both, or with a sensor to decide."""
        from depthrf.depth.merging import disagreement

        if self.mono is None or self.stereo is None or self.sensor is not None:
            return None
        return disagreement(self.mono, self.stereo)


@dataclass(frozen=True)
class DepthSources:
    """Reads the sources of each photo.

    Attributes:
        scene: The undistorted photos with their keypoints.
        maps: The sensor's maps.
        metres: By stem, sensor depth (H, W) in metres.
        unit: Metres per scene unit, for the sensor's depth.
        max_keypoint_sigma: Keypoints less sure than this share of their depth are left out.
        seed: Of the robust fits.
    """

    workspace: Workspace
    scene: SparseScene
    maps: SensorMaps
    metres: Mapping[str, NDArray[np.float32]]
    unit: SensorUnit
    max_keypoint_sigma: float
    seed: int

    def of(self, view: View) -> PhotoDepth:
        """What there is for a photo.

        Raises:
            DepthrfError: A file is damaged.
        """
        sensor = self._sensor(view)
        mono, fitted_to = self._mono(view, sensor)
        stereo = load_stereo_prior(self.workspace, view.stem, view.camera)
        return PhotoDepth(self._keypoints(view), mono, fitted_to, sensor, stereo)

    def _keypoints(self, view: View) -> DepthPrior:
        from depthrf.depth.merging import keypoint_prior

        sparse, camera = self.scene.depths[view.name], view.camera
        return keypoint_prior(sparse, camera.width, camera.height, max_relative_sigma=self.max_keypoint_sigma)

    def _sensor(self, view: View) -> DepthPrior | None:
        import numpy as np

        from depthrf.depth.sensor import sensor_sigma
        from depthrf.geometry.camera import DepthPrior

        metres = self.metres.get(view.stem)
        if metres is None or self.unit.metres_per_unit is None or view.stem in self.unit.contradicting:
            return None
        unit = np.float32(self.unit.metres_per_unit)
        sigma = sensor_sigma(metres, view.camera.fx)
        doubt = self.maps.doubt(view)
        return DepthPrior(metres / unit, (sigma if doubt is None else sigma * doubt) / unit)

    def _mono(self, view: View, sensor: DepthPrior | None) -> tuple[DepthPrior | None, str | None]:
        """Monocular depth, and what it was fitted to last.

        A photo whose keypoints could not place it still has its raw prediction, which the sensor can.
        """
        import numpy as np

        from depthrf.depth.aligning.refit import refit_to_sensor
        from depthrf.geometry.camera import DepthPrior
        from depthrf.io.depth.depth_maps import read_map
        from depthrf.stages.align import sigma_path

        raw = self.workspace.mono_depth / f"{view.stem}.npy"
        aligned = self.workspace.aligned_depth / f"{view.stem}.npy"
        mono = None
        if aligned.is_file():
            mono = DepthPrior(read_map(aligned), read_map(sigma_path(self.workspace, view.stem)))
        if sensor is not None and (mono is not None or raw.is_file()):
            if mono is None:
                kind = read_typed(self.workspace.mono_meta, MonoMeta).kind
                prediction = read_map(raw)
            else:
                kind = read_typed(self.workspace.aligned_report, AlignedReport).kind_of(view.stem)
                prediction = np.where(mono.depth > 0, mono.depth, np.float32(np.nan))
                prediction = np.reciprocal(prediction) if kind == "inverse_depth" else prediction
            generator = np.random.default_rng(self.seed)
            refitted = refit_to_sensor(prediction, sensor, kind=kind, focal_px=view.camera.fx, generator=generator)
            if refitted is not None:
                return refitted, "sensor"
        return mono, "keypoints" if mono is not None else None
