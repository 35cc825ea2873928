"""Radiance fields: density and colour of the samples along rays.

A field has ``density(samples) -> (density, features)`` with density (R, S) and features (R, S, G), and
``color(features, viewdirs, appearance) -> (R, S, 3)``; viewdirs (R, 3) are unit vectors, appearance (R, A). Under
autocast the linear layers run in its type; densities and colours are float32 always.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from depthrf.errors import UsageError
from depthrf.nerf import hashgrid
from depthrf.nerf.fields import encoding
from depthrf.nerf.hashgrid.contract import resolutions
from depthrf.nerf.options import FieldOptions, GridOptions
from depthrf.nerf.rays import coord


@dataclass(frozen=True)
class Samples:
    """Intervals along rays: origins, directions (R, 3), radii (R,), edges t (R, S+1)."""

    origins: Tensor
    directions: Tensor
    radii: Tensor
    t: Tensor

    def detached(self) -> Samples:
        """The same samples without a gradient to the rays."""
        return Samples(self.origins.detach(), self.directions.detach(), self.radii, self.t)

    def points(self) -> Tensor:
        """Interval midpoints, (R, S, 3)."""
        mid = 0.5 * (self.t[:, 1:] + self.t[:, :-1])
        return self.origins[:, None, :] + mid[..., None] * self.directions[:, None, :]

    def deviations(self) -> Tensor:
        """Standard deviation of the cone across the ray at the midpoints (mip-NeRF eq. 8, thin slice), (R, S)."""
        # A pixel's footprint grows with z-depth rather than distance, so the norm of the directions does not enter.
        return 0.25 * self.radii[:, None] * (self.t[:, 1:] + self.t[:, :-1])


class HashEncoding(nn.Module):
    """Hash grid over all of contracted space.

    With ``antialias`` a level fades out where the ray's cone is wider than its cells, because the mean of its features
    over the cone approaches zero (Zip-NeRF, section 3.1: erf(1 / sqrt(8 deviation^2 cells^2))).
    """

    cells: Tensor

    def __init__(self, options: GridOptions, *, antialias: bool) -> None:
        super().__init__()
        self.antialias = antialias
        self.resolutions = resolutions(options.levels, options.coarsest, options.finest)
        self.table = nn.Parameter(torch.empty(options.levels, 2**options.log2_size, options.features))
        self.num_features = options.levels * options.features
        nn.init.uniform_(self.table, -1e-4, 1e-4)
        self.register_buffer("cells", torch.tensor(self.resolutions), persistent=False)

    def forward(self, samples: Samples) -> Tensor:
        """Features at the midpoints, (R, S, L * F)."""
        points = samples.points()
        u = coord.grid_coordinates(points).reshape(-1, 3)
        encode = hashgrid.implementation(u.device.type)
        encoded = encode(u, self.table, self.resolutions)
        if self.antialias:
            faded = encoded.view(len(u), len(self.resolutions), -1) * self.fade(samples, points).view(len(u), -1, 1)
            encoded = faded.flatten(1)
        return encoded.view(*points.shape[:-1], self.num_features)

    def fade(self, samples: Samples, points: Tensor) -> Tensor:
        """Factor on each level at the samples' midpoints ``points`` (R, S, 3), as (R, S, L)."""
        deviations = samples.deviations() * coord.grid_scale(points)
        return torch.erf(8.0**-0.5 / (deviations[..., None] * self.cells))


class TruncExp(torch.autograd.Function):
    """exp with a bounded gradient, so that a single dense sample cannot derail the optimiser (instant-ngp)."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.exp(x.clamp_max(15.0))

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grads[0] * torch.exp(x.clamp(-15.0, 11.0))


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers of the given widths with ReLU between them."""
    layers: list[nn.Module] = []
    for width_in, width_out in itertools.pairwise(widths):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def xavier(module: nn.Module) -> None:
    """Sets all linear layers in ``module`` to Xavier's uniform weights and zero biases (Glorot and Bengio 2010).

    PyTorch's default weights are so small that after eight layers only the biases are left, the same everywhere. The
    network then learns the most common colour, a white background, and takes long to learn anything else.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def grid_mlp(*widths: int) -> nn.Sequential:
    """As :func:`mlp`, but without biases in the hidden layers, as in instant-ngp.

    Features of a hash grid start near zero. Biases alone would then decide which units are active, everywhere in space
    at once, and the first steps could switch all of them off for good, leaving an empty scene.
    """
    layers = mlp(*widths)
    for layer in layers[:-1]:
        if isinstance(layer, nn.Linear):
            layer.register_parameter("bias", None)
    return layers


def through(x: Tensor, weights: Sequence[Tensor], bias: Tensor | None = None, shared: Tensor | None = None) -> Tensor:
    """Linear layers with ReLU between them, in float32 on a CPU in one kernel.

    Args:
        x: (R, S, I).
        weights: (O, I) of each layer.
        bias: (O,) of the last layer.
        shared: (R, W), added to the first layer's output before its ReLU.

    Returns:
        (R, S, O).
    """
    if x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu"):
        from depthrf.nerf.kernels import mlp  # here, for numba takes a while to load

        if max(max(weight.shape) for weight in weights) <= mlp.MOST_CHANNELS:
            return mlp.mlp(x.reshape(-1, x.shape[-1]), weights, bias, shared).view(*x.shape[:-1], -1)
    for index, weight in enumerate(weights):
        last = index == len(weights) - 1
        x = nn.functional.linear(x, weight, bias if last else None)
        if index == 0 and shared is not None:
            x = x + shared[:, None]
        if not last:
            x = torch.relu(x)
    return x


def parameters_of(layers: nn.Sequential) -> tuple[list[Tensor], Tensor | None]:
    """Weights of all linear layers and the bias of the last."""
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    return [layer.weight for layer in linear], linear[-1].bias


def wide_sigmoid(x: Tensor, margin: float) -> Tensor:
    """A sigmoid from ``-margin`` to ``1 + margin``, in float32."""
    return torch.sigmoid(x.float()) * (1.0 + 2.0 * margin) - margin


RGB_MARGIN = 0.05
"""How far the hash field's colours extend beyond black and white.

If more than half of all pixels are pure white, the photometric loss, which seeks the median, first turns all of space
white. A sigmoid that ended at white would have no gradient left to recover from that.
"""


class HashField(nn.Module):
    """Hash grid and two small MLPs (instant-ngp, nerfacto)."""

    def __init__(self, options: FieldOptions) -> None:
        super().__init__()
        if not 0 <= options.view_degree <= encoding.MOST_HARMONICS:
            most = encoding.MOST_HARMONICS
            raise UsageError(f"view_degree of the hash field should be from 0 to {most}; found {options.view_degree}")
        self.options = options
        self.encoding = HashEncoding(options.grid, antialias=options.antialias)
        self.density_mlp = grid_mlp(self.encoding.num_features, options.width, 1 + options.geometry_features)
        directions = (options.view_degree + 1) ** 2 - 1
        width_in = options.geometry_features + directions + options.appearance
        self.color_in = nn.Linear(width_in, options.width, bias=False)
        self.color_mlp = nn.Sequential(nn.ReLU(), *grid_mlp(options.width, options.width, 3))

    def density(self, samples: Samples) -> tuple[Tensor, Tensor]:
        raw = through(self.encoding(samples), *parameters_of(self.density_mlp)).float()
        density: Tensor = TruncExp.apply(raw[..., 0] + self.options.density_bias)
        return density, raw[..., 1:]

    def color(self, features: Tensor, viewdirs: Tensor, appearance: Tensor) -> Tensor:
        # The first layer is linear, so the inputs shared by a ray's samples are multiplied once per ray.
        constants = torch.cat([encoding.spherical_harmonics(viewdirs, self.options.view_degree), appearance], dim=-1)
        weight, split = self.color_in.weight, features.shape[-1]
        per_ray = nn.functional.linear(constants, weight[:, split:])
        further, bias = parameters_of(self.color_mlp)
        return wide_sigmoid(through(features, [weight[:, :split], *further], bias, per_ray), RGB_MARGIN)


def integrated_features(samples: Samples, degree: int) -> Tensor:
    """Integrated positional encoding of the contracted conical frustums (mip-NeRF 360, section 2)."""
    origins, directions = samples.origins, samples.directions
    mean, along, across = encoding.frustum_gaussians(origins, directions, samples.radii, samples.t)
    return encoding.integrated_encoding(*coord.contract_gaussian(mean, directions, along, across), degree)


class MlpField(nn.Module):
    """The published network: integrated positional encoding and an 8-layer MLP with a skip."""

    degree = 16
    appearance_degree = 4
    rgb_padding = 0.001

    def __init__(self, options: FieldOptions) -> None:
        super().__init__()
        self.options = options
        width, features = options.width, 6 * self.degree
        self.skip = options.depth // 2
        inputs = [features] + [width] * (options.depth - 1)
        inputs[self.skip] += features
        self.trunk = nn.ModuleList(nn.Linear(w, width) for w in inputs)
        self.density_head = nn.Linear(width, 1)
        self.bottleneck = nn.Linear(width, width)
        directions = 3 * (1 + 2 * options.view_degree) if options.view_degree else 0
        appearance = options.appearance * (1 + 2 * self.appearance_degree)
        self.color_mlp = mlp(width + directions + appearance, width // 2, 3)
        xavier(self)

    def density(self, samples: Samples) -> tuple[Tensor, Tensor]:
        encoded = integrated_features(samples, self.degree)
        x = encoded
        for index, layer in enumerate(self.trunk):
            x = torch.relu(layer(torch.cat([x, encoded], dim=-1) if index == self.skip else x))
        density = nn.functional.softplus(self.density_head(x)[..., 0].float() + self.options.density_bias)
        return density, x

    def color(self, features: Tensor, viewdirs: Tensor, appearance: Tensor) -> Tensor:
        parts = [self.bottleneck(features)]
        num_samples = features.shape[1]
        if self.options.view_degree:
            encoded = encoding.positional_encoding(viewdirs, self.options.view_degree)
            parts.append(encoded[:, None].expand(-1, num_samples, -1))
        if self.options.appearance:
            encoded = encoding.positional_encoding(appearance, self.appearance_degree)
            parts.append(encoded[:, None].expand(-1, num_samples, -1))
        return wide_sigmoid(self.color_mlp(torch.cat(parts, dim=-1)), self.rgb_padding)


FIELDS: dict[str, Callable[[FieldOptions], HashField | MlpField]] = {"hash": HashField, "mlp": MlpField}
