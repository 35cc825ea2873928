"""The model: proposal rounds place samples along each ray, the field is evaluated there, and a pixel is composited."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from depthrf.nerf.fields.field import FIELDS, Samples
from depthrf.nerf.fields.proposal import PROPOSALS
from depthrf.nerf.options import ModelOptions
from depthrf.nerf.rays import compositing, coord, stepfun
from depthrf.nerf.rays.batch import RayBatch
from depthrf.nerf.rays.compositing import Level, ModelOutput

COLOR_STEP = 1e-3
"""Share of a ray's light for which rendering computes one colour (:func:`compositing.color_weights`)."""


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
        """The tables (L, T, F) of all hash grids; empty for the mlp field."""
        return [p for name, p in self.named_parameters() if name.endswith("encoding.table")]

    @property
    def num_rounds(self) -> int:
        """Number of sampling rounds: one per proposal, and the field's."""
        return len(self.proposals) + 1

    def forward(self, rays: RayBatch, jitter: Tensor | None = None) -> ModelOutput:
        """Renders R rays.

        Args:
            rays: ``camera_idx`` < 0 means a novel view, which is given the zero appearance vector.
            jitter: (R, num_rounds) in [-0.5, 0.5): shifts the samples of each round (training). None: no shift.
        """
        options = self.options
        num_rays = len(rays.origins)
        norm = rays.directions.detach().norm(dim=-1)  # pose corrections rotate rays, which leaves their length alone
        # Start with a single interval from near (s = 0) to far (s = 1) that holds all of the weight.
        s = torch.linspace(0.0, 1.0, 2, device=norm.device).expand(num_rays, 2)
        weights = torch.ones((num_rays, 1), device=norm.device)
        levels: list[Level] = []

        # Each proposal network samples the ray and leaves a histogram of weights. The field comes last.
        counts = (*options.proposal.num_samples, options.num_samples)
        for index, (network, count) in enumerate(zip((*self.proposals, None), counts, strict=True)):
            # Draw new intervals where the previous round found weight. The first round spreads them evenly in s.
            # Padding keeps a few samples everywhere else, in case the proposal is wrong.
            padding = options.proposal.padding if levels else 0.0
            s = stepfun.resample(s, weights, count, padding, None if jitter is None else jitter[:, index])
            # From the sampling coordinate s to z-depth t, in which volume rendering is done.
            t = coord.t_from_s(s, rays.near, rays.far, options.spacing)
            samples = Samples(rays.origins, rays.directions, rays.radii, t)
            if network is not None:
                # Only the field may move the photos' poses: proposals learn from the field, not from the photos.
                density = network(samples.detached())
            else:
                density, features = self.field.density(samples)
            # Alpha compositing weights of the intervals, from which the next round draws.
            weights = compositing.weights_from_density(t, density, norm)
            levels.append(Level(s, t, weights))

        # Colours are needed in the last round only. Rendering computes only those that carry light.
        appearance = self.embedding(rays.camera_idx)
        if torch.is_grad_enabled():
            colors = self.field.color(features, rays.viewdirs, appearance)
        else:
            weights = compositing.color_weights(weights, COLOR_STEP)
            colors = self._needed_colors(weights, features, rays.viewdirs, appearance)
        rgb, accumulation = compositing.composite(weights, colors, options.background)
        mean, median = compositing.depths(levels[-1])
        return ModelOutput(levels, rgb, accumulation, mean, median)

    def _needed_colors(self, weights: Tensor, features: Tensor, viewdirs: Tensor, appearance: Tensor) -> Tensor:
        """Colours (R, S, 3) of the samples with weight and of the last sample; black elsewhere."""
        needed = weights > 0
        needed[:, -1] = True
        ray = needed.nonzero()[:, 0]
        colors = torch.zeros((*weights.shape, 3), device=weights.device)
        colors[needed] = self.field.color(features[needed][:, None], viewdirs[ray], appearance[ray])[:, 0]
        return colors

    def embedding(self, camera_idx: Tensor) -> Tensor:
        """Appearance vectors (R, A); zero, the mean appearance, where ``camera_idx`` < 0."""
        known = (camera_idx >= 0).unsqueeze(-1)
        return torch.where(known, self.appearance[camera_idx.clamp_min(0)], torch.zeros_like(self.appearance[:1]))
