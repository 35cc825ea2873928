"""Dense prediction transformers (Ranftl, Bochkovskiy and Koltun 2021): two backbones, one convolutional decoder.

* :class:`DptHybrid`: ViT-B/16 on a ResNet-50 stem. Omnidata's depth network and MiDaS v3 share it.
* :class:`DepthAnythingV2`: DINOv2 ViT-S/14 (Yang et al. 2024).

The transformers are timm's; everything around them is here. Parameter names are those of the published checkpoints, so
that their state dicts load as they are. Both take normalised images (B, 3, H, W) and give (B, H, W), never negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthrf.errors import UsageError

try:
    import timm
except (ImportError, RuntimeError) as e:  # RuntimeError: of a torchvision that was built for another torch
    raise UsageError(
        f"The depth networks need timm, which cannot be loaded here: {e}. Install the torchvision that fits this "
        "torch, or use --depth-source stereo."
    ) from e


def _full_precision(x: Tensor) -> torch.autocast:
    """For the layers that make the depth itself: eight bits of mantissa would show in it as steps."""
    return torch.autocast(x.device.type, enabled=False)


class ResidualConvUnit(nn.Module):
    """x + conv(relu(conv(relu(x)))), (B, C, h, w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(F.relu(self.conv1(F.relu(x))))
        return x + y


class FusionBlock(nn.Module):
    """Adds a skip feature to the coarser path and resizes the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.resConfUnit1 = ResidualConvUnit(width)
        self.resConfUnit2 = ResidualConvUnit(width)
        self.out_conv = nn.Conv2d(width, width, 1)

    def forward(self, skip: Tensor, coarse: Tensor | None, size: tuple[int, int]) -> Tensor:
        """(B, C, h, w), (B, C, h, w) -> (B, C, *size). The coarsest level has no second input and no skip unit."""
        x = skip if coarse is None else coarse + self.resConfUnit1(skip)
        x = F.interpolate(self.resConfUnit2(x), size=size, mode="bilinear", align_corners=True)
        fused: Tensor = self.out_conv(x)
        return fused


class Scratch(nn.Module):
    """The decoder: its trunk makes four feature maps, finest first, one map at twice the finest resolution."""

    def __init__(self, in_widths: Sequence[int], width: int, **heads: nn.Module) -> None:
        super().__init__()
        for name, head in heads.items():
            self.add_module(name, head)
        for level, channels in enumerate(in_widths, start=1):
            self.add_module(f"layer{level}_rn", nn.Conv2d(channels, width, 3, padding=1, bias=False))
            self.add_module(f"refinenet{level}", FusionBlock(width))

    def fuse(self, features: Sequence[Tensor]) -> Tensor:
        skips = [self.get_submodule(f"layer{i}_rn")(x) for i, x in enumerate(features, start=1)]
        x: Tensor | None = None
        for i in range(len(skips), 0, -1):
            height, width = skips[i - 1].shape[-2:]
            size = skips[i - 2].shape[-2:] if i > 1 else (2 * height, 2 * width)
            x = self.get_submodule(f"refinenet{i}")(skips[i - 1], x, size)
        assert x is not None
        return x


class _ProjectReadout(nn.Module):
    """Mixes the class token into every patch token: (B, 1 + N, C) -> (B, N, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())

    def forward(self, tokens: Tensor) -> Tensor:
        readout = tokens[:, :1].expand_as(tokens[:, 1:])
        mixed: Tensor = self.project(torch.cat([tokens[:, 1:], readout], dim=-1))
        return mixed


class _Tokens2Map(nn.Module):
    """Stands where the published network transposes and unflattens; the caller knows the grid's shape."""

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, N, C) -> (B, C, *grid)."""
        return tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)


class _Reassemble(nn.ModuleList):
    """Tokens to a feature map; indices as published: 0 readout, 1 and 2 reshape, 3 project, 4 halve."""

    def __init__(self, width: int, halve: bool) -> None:
        steps = [_ProjectReadout(width), nn.Identity(), _Tokens2Map(), nn.Conv2d(width, width, 1)]
        if halve:
            steps.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
        super().__init__(steps)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        x: Tensor = self[2](self[0](tokens), grid)
        for step in list(self)[3:]:
            x = step(x)
        return x


class _HybridEncoder(nn.Module):
    """The ViT with its ResNet stem, and what turns its tokens into maps."""

    def __init__(self) -> None:
        super().__init__()
        self.model: Any = timm.create_model("vit_base_r50_s16_384", pretrained=False)
        self.act_postprocess3 = _Reassemble(768, halve=False)
        self.act_postprocess4 = _Reassemble(768, halve=True)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps of stride 4, 8 (ResNet stages 1 and 2), 16 and 32 (transformer blocks 9 and 12)."""
        vit, resnet = self.model, self.model.patch_embed.backbone
        x = resnet.stem(image)
        fine = x = resnet.stages[0](x)
        middle = x = resnet.stages[1](x)
        x = vit.patch_embed.proj(resnet.stages[2](x))
        grid = (x.shape[-2], x.shape[-1])
        tokens = torch.cat([vit.cls_token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + resized_pos_embed(vit.pos_embed, grid, mode="bilinear")
        outputs = _run_blocks(vit.blocks, tokens, (8, 11))
        return [fine, middle, self.act_postprocess3(outputs[0], grid), self.act_postprocess4(outputs[1], grid)]


class DptHybrid(nn.Module):
    """DPT-hybrid. Image sides must be multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained = _HybridEncoder()
        output_conv = nn.Sequential(
            nn.Conv2d(256, 128, 3, padding=1),
            nn.UpsamplingBilinear2d(scale_factor=2),  # align_corners=True
            nn.Conv2d(128, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 1, 1),
            nn.ReLU(),
        )
        self.scratch = Scratch((256, 512, 768, 768), 256, output_conv=output_conv)

    def forward(self, image: Tensor) -> Tensor:
        fused = self.scratch.fuse(self.pretrained(image))
        with _full_precision(fused):
            depth: Tensor = self.scratch.get_submodule("output_conv")(fused.float())
        return depth[:, 0]


class _DepthAnythingHead(nn.Module):
    def __init__(self, in_width: int, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.projects = nn.ModuleList(nn.Conv2d(in_width, w, 1) for w in widths)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(widths[0], widths[0], 4, stride=4),
                nn.ConvTranspose2d(widths[1], widths[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(widths[3], widths[3], 3, stride=2, padding=1),
            ]
        )
        self.scratch = Scratch(
            widths,
            width,
            output_conv1=nn.Conv2d(width, width // 2, 3, padding=1),
            output_conv2=nn.Sequential(
                nn.Conv2d(width // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1), nn.ReLU()
            ),
        )

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        layers = zip(maps, self.projects, self.resize_layers, strict=True)
        fused = self.scratch.fuse([resize(project(m)) for m, project, resize in layers])
        with _full_precision(fused):
            x = self.scratch.get_submodule("output_conv1")(fused.float())
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
            depth: Tensor = self.scratch.get_submodule("output_conv2")(x)
        return depth[:, 0]


class DepthAnythingV2(nn.Module):
    """Depth Anything V2 small. Image sides must be multiples of 14."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained: Any = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0)
        # Used only in DINOv2's training, but published with it.
        self.pretrained.mask_token = nn.Parameter(torch.zeros(1, 384))
        self.depth_head = _DepthAnythingHead(384, (48, 96, 192, 384), width=64)

    def forward(self, image: Tensor) -> Tensor:
        vit, size = self.pretrained, (image.shape[-2], image.shape[-1])
        x = vit.patch_embed.proj(image)
        grid = (x.shape[-2], x.shape[-1])
        tokens = torch.cat([vit.cls_token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + resized_pos_embed(vit.pos_embed, grid, mode="bicubic", offset=0.1)
        outputs = _run_blocks(vit.blocks, tokens, (2, 5, 8, 11))
        maps = [vit.norm(t)[:, 1:].transpose(1, 2).reshape(len(t), -1, *grid) for t in outputs]
        depth: Tensor = self.depth_head(maps, size)
        return depth


def resized_pos_embed(pos_embed: Tensor, grid: tuple[int, int], *, mode: str, offset: float = 0.0) -> Tensor:
    """Position embeddings of a square grid for another one; the class token's stays.

    Args:
        pos_embed: (1, 1 + n * n, C).
        grid: (rows, columns).
        mode: Interpolation, as the network was trained with.
        offset: DINOv2 resizes by (rows + 0.1) / n instead of rows / n; this is its 0.1.

    Returns:
        (1, 1 + rows * columns, C).
    """
    side = round((pos_embed.shape[1] - 1) ** 0.5)
    if grid == (side, side):
        return pos_embed
    token, square = pos_embed[:, :1], pos_embed[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
    if offset:
        scale = ((grid[0] + offset) / side, (grid[1] + offset) / side)
        resized = F.interpolate(square, scale_factor=scale, mode=mode, align_corners=False)
    else:
        resized = F.interpolate(square, size=grid, mode=mode, align_corners=False)
    return torch.cat([token, resized.flatten(2).transpose(1, 2)], dim=1)


def _run_blocks(blocks: nn.Module, tokens: Tensor, keep: Sequence[int]) -> list[Tensor]:
    kept = []
    for i, block in enumerate(blocks.children()):
        tokens = block(tokens)
        if i in keep:
            kept.append(tokens)
    return kept
