"""Focal lengths that the user gives, in pixels or as a field of view."""

from __future__ import annotations

import math

from depthrf.errors import UsageError


def given_focals(
    sizes: set[tuple[int, int]], focal_px: float | None, fov: float | None
) -> dict[tuple[int, int], float]:
    """The user's focal length in pixels, by photo size; empty where none is given.

    Args:
        sizes: (width, height) of the upright photos.
        focal_px: Focal length in pixels, positive.
        fov: Horizontal field of view in degrees, above 0 and below 180.

    Raises:
        UsageError: Both are given, or one value cannot hold for all sizes.
    """
    if focal_px is None and fov is None:
        return {}
    if focal_px is not None and fov is not None:
        raise UsageError("Give either --focal-px or --fov, not both.")
    if focal_px is not None:
        if len({tuple(sorted(size)) for size in sizes}) > 1:
            found = ", ".join(f"{w}x{h}" for w, h in sorted(sizes))
            raise UsageError(
                f"--focal-px is in pixels of one photo size, but the photos are {found}. Give --fov instead."
            )
        return dict.fromkeys(sizes, focal_px)
    assert fov is not None
    if len({w > h for w, h in sizes}) > 1:
        raise UsageError(
            "--fov is horizontal, which differs between the landscape and the portrait photos of this folder. Give "
            "--focal-px instead."
        )
    return {(w, h): 0.5 * w / math.tan(math.radians(0.5 * fov)) for w, h in sizes}
