"""The weights of XFeat and LighterGlue, fetched when structure from motion first needs them."""

from __future__ import annotations

from functools import partial

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.io.weights import manifest as weights
from depthrf.sfm.jobs import FindWeights, LearnedWeights

NAMES = ("xfeat", "lighterglue")
"""In the manifest."""


def finder(device: str, *, offline: bool) -> FindWeights:
    """What :func:`depthrf.sfm.worker.run_job` calls if the photos need these networks.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        offline: Use files that are here; fetch none.
    """
    return partial(_find, device, offline)


def installed(device: str) -> LearnedWeights | None:
    """The files, checked, where they are here.

    Raises:
        DepthrfError: One is damaged.
    """
    if not all(weights.path(name).is_file() for name in NAMES):
        return None
    xfeat, lighterglue = (weights.verify(name).path for name in NAMES)
    return LearnedWeights(xfeat, lighterglue, device)


def _find(device: str, offline: bool) -> LearnedWeights | None:
    """The files, checked; None where they cannot be had, and the user is told why."""
    present = [weights.path(name).is_file() for name in NAMES]
    if not all(present) and (offline or weights.is_offline()):
        console.warn(
            "Photos far apart are matched with SIFT alone: the networks that do better are not here, and nothing may "
            f"be downloaded. To get them: {' && '.join(f'depthrf weights fetch {n}' for n in NAMES)}"
        )
        return None
    try:
        files = [weights.verify(n).path if here else weights.fetch(n) for n, here in zip(NAMES, present, strict=True)]
    except (DepthrfError, OSError) as e:
        console.warn(f"Photos far apart are matched with SIFT alone: the networks that do better cannot be had. {e}")
        return None
    return LearnedWeights(files[0], files[1], device)
