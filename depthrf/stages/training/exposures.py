"""``nerf/exposure.json``: each training photo's exposure relative to their mean, and what follows for other views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from depthrf.storage import read_typed
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import View


@dataclass(frozen=True)
class PhotoExposure:
    """The gain of a photo's red, green and blue over the mean of all photos."""

    name: str
    gain: tuple[float, float, float]


@dataclass(frozen=True)
class Exposures:
    """One entry a training photo."""

    photos: tuple[PhotoExposure, ...]

    @property
    def range(self) -> float:
        """Largest over smallest gain of all photos."""
        import numpy as np

        from depthrf.nerf.exposure import exposure_range

        return exposure_range(np.array([photo.gain for photo in self.photos]).reshape(-1, 3))

    def continued(self, names: Sequence[str], gains: NDArray[np.float64]) -> NDArray[np.float64]:
        """New ``gains`` (P, 3) of the photos ``names``, times the factor that keeps those of the photos known here.

        Further photos change the mean of all, but a field that is trained on has been brought to the earlier one.
        """
        import numpy as np

        known = {photo.name: photo.gain for photo in self.photos}
        both = [index for index, name in enumerate(names) if name in known]
        if not both:
            return gains
        before = np.log([known[names[index]] for index in both])
        return np.asarray(gains * np.exp((before - np.log(gains[both])).mean(0)))

    def gain_at(self, view: View, photos: Sequence[View]) -> NDArray[np.float64]:
        """The gain (3,) of a view among the training ``photos``, as of a camera that sets its exposure itself."""
        import numpy as np

        from depthrf.nerf.exposure import gain_at

        gains = {photo.name: photo.gain for photo in self.photos}
        known = [photo for photo in photos if photo.name in gains]
        return gain_at(view, known, np.array([gains[photo.name] for photo in known]).reshape(-1, 3))


def read_exposures(workspace: Workspace) -> Exposures:
    """As training has found them; none where it has not run since they are kept."""
    return read_typed(workspace.exposure, Exposures) if workspace.exposure.is_file() else Exposures(())
