"""The model: proposal rounds, the field on the last samples, volume rendering."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from depthrf.nerf import coord, render, stepfun
from depthrf.nerf.field import FIELDS, Samples
from depthrf.nerf.options import ModelOptions
from depthrf.nerf.proposal import PROPOSALS
from depthrf.nerf.rays import RayBatch
from depthrf.nerf.render import Level, ModelOutput

VISIBLE = 1e-3  # least weight whose colour is computed: less changes no 8-bit colour


class RadianceField(nn.Module):
    """Renders rays. ``num_photos`` sets the number of appearance embeddings."""

    def __init__(self, options: ModelOptions, *, num_photos: int) -> None:
        super().__init__()
        self.options = options
        self.field = FIELDS[options.field.kind](options.field)
        self.proposals = nn.ModuleList(PROPOSALS[options.field.kind](options))
        self.appearance = nn.Parameter(torch.zeros(num_photos, options.field.appearance))

    @property
    def grids(self) -> list[nn.Parameter]:
        """The tables (L, T, F) of all hash grids; none in the mlp field."""
        return [p for name, p in self.named_parameters() if name.endswith("encoding.table")]

    @property
    def num_rounds(self) -> int:
        """Rounds of sampling: the proposals and the field."""
        return len(self.proposals) + 1

    def forward(self, rays: RayBatch, jitter: Tensor | None = None) -> ModelOutput:
        """Renders R rays.

        Args:
            rays: ``camera_idx`` < 0 means a novel view, whose appearance is the zero vector.
            jitter: (R, num_rounds) in [-0.5, 0.5), moves the samples of each round (training); None: no jitter.
        """
        options = self.options
        num_rays = len(rays.origins)
        norm = rays.directions.detach().norm(dim=-1)  # turning a photo does not change it
        s = torch.linspace(0.0, 1.0, 2, device=norm.device).expand(num_rays, 2)
        weights = torch.ones((num_rays, 1), device=norm.device)
        levels: list[Level] = []

        counts = (*options.proposal.num_samples, options.num_samples)
        for index, (network, count) in enumerate(zip((*self.proposals, None), counts, strict=True)):
            padding = options.proposal.padding if levels else 0.0
            s = stepfun.resample(s, weights, count, padding, None if jitter is None else jitter[:, index])
            t = coord.t_from_s(s, rays.near, rays.far, options.spacing)
            samples = Samples(rays.origins, rays.directions, rays.radii, t)
            if network is not None:
                # What the photos show is in the field alone: proposals must not move the photos (losses.interlevel).
                density = network(samples.detached())
            else:
                density, features = self.field.density(samples)
            weights = render.weights_from_density(t, density, norm)
            levels.append(Level(s, t, weights))

        appearance = self.embedding(rays.camera_idx)
        if torch.is_grad_enabled():
            colors = self.field.color(features, rays.viewdirs, appearance)
        else:
            colors = self._visible_colors(weights, features, rays.viewdirs, appearance)
        rgb, accumulation = render.composite(levels[-1], colors, options.background)
        mean, median = render.depths(levels[-1])
        return ModelOutput(levels, rgb, accumulation, mean, median)

    def _visible_colors(self, weights: Tensor, features: Tensor, viewdirs: Tensor, appearance: Tensor) -> Tensor:
        """Colours (R, S, 3) where they count; most samples are empty or hidden and are left black (rendering only)."""
        visible = weights > VISIBLE
        visible[:, -1] = True
        ray = visible.nonzero()[:, 0]
        colors = torch.zeros((*weights.shape, 3), device=weights.device)
        colors[visible] = self.field.color(features[visible][:, None], viewdirs[ray], appearance[ray])[:, 0]
        return colors

    def embedding(self, camera_idx: Tensor) -> Tensor:
        """Appearance vectors (R, A); zero, the mean appearance, where ``camera_idx`` < 0."""
        known = (camera_idx >= 0).unsqueeze(-1)
        return torch.where(known, self.appearance[camera_idx.clamp_min(0)], torch.zeros_like(self.appearance[:1]))
