"""Corrections to the training photos' poses, learned with the field.

As in nerfacto ("SO3xR3") and BARF each photo has a rotation vector and a translation that start at zero. They act in
the axes of the normalised scene: a photo's rays turn about its centre, and the centre moves, so that neither does the
other's work. Moving all photos together changes nothing the photos show; a pull to zero keeps the scene where it is,
and with it the novel views, which are not corrected.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from depthrf.nerf.rays import RayBatch
from depthrf.nerf.rotations import rotation_matrices


class PoseCorrections(nn.Module):
    """One rotation (radians) and translation (lengths of the normalised scene) for each of P photos."""

    def __init__(self, num_photos: int, *, device: torch.device) -> None:
        super().__init__()
        self.rotation = nn.Parameter(torch.zeros(num_photos, 3, device=device))
        self.translation = nn.Parameter(torch.zeros(num_photos, 3, device=device))

    def forward(self, rays: RayBatch) -> RayBatch:
        """The rays as their corrected photos see them, those of no photo (``camera_idx`` < 0) as they are.

        z-depth along a ray stays z-depth.
        """
        known, photo = (rays.camera_idx >= 0)[:, None], rays.camera_idx.clamp_min(0)
        rotation = rotation_matrices(torch.where(known, self.rotation[photo], 0.0))
        directions, viewdirs = ((rotation @ d[..., None])[..., 0] for d in (rays.directions, rays.viewdirs))
        origins = rays.origins + torch.where(known, self.translation[photo], 0.0)
        return replace(rays, origins=origins, directions=directions, viewdirs=viewdirs)

    def squared(self) -> Tensor:
        """Mean over the photos of squared angle and length."""
        return (self.rotation**2 + self.translation**2).sum(-1).mean()
