"""Corrections to the training photos' poses, learned with the field.

As in nerfacto ("SO3xR3") and BARF, each photo has a rotation vector and a translation that start at zero. Both act in
the axes of the normalised scene: the rotation about the photo's centre, the translation on the centre, so they do not
interfere. Moving all photos together would leave every rendered photo unchanged. A loss on the corrections prevents
it, because novel views are not corrected.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from depthrf.nerf.rays.batch import RayBatch
from depthrf.nerf.rays.rotations import rotation_matrices


class PoseCorrections(nn.Module):
    """One rotation (radians) and translation (lengths of the normalised scene) for each of P photos."""

    def __init__(self, num_photos: int, *, device: torch.device) -> None:
        super().__init__()
        self.rotation = nn.Parameter(torch.zeros(num_photos, 3, device=device))
        self.translation = nn.Parameter(torch.zeros(num_photos, 3, device=device))

    def forward(self, rays: RayBatch) -> RayBatch:
        """The rays from their photos' corrected poses; rays of no photo (``camera_idx`` < 0) stay as they are.

        z-depth along a ray stays z-depth.
        """
        known, photo = (rays.camera_idx >= 0)[:, None], rays.camera_idx.clamp_min(0)
        rotation = rotation_matrices(torch.where(known, self.rotation[photo], 0.0))
        directions = (rotation @ rays.directions[..., None])[..., 0]
        viewdirs = (rotation @ rays.viewdirs[..., None])[..., 0]
        origins = rays.origins + torch.where(known, self.translation[photo], 0.0)
        return replace(rays, origins=origins, directions=directions, viewdirs=viewdirs)

    def squared(self) -> Tensor:
        """Squared angle plus squared length, mean over the photos."""
        return (self.rotation**2 + self.translation**2).sum(-1).mean()
