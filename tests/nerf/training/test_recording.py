from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from depthrf.nerf import hashgrid
from depthrf.nerf.hashgrid import reference
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import LossOptions, ModelOptions, OptimiserOptions, PixelOptions, UnseenOptions
from depthrf.nerf.rays.pixel_store import PixelStore
from depthrf.nerf.training.loop import Trainer
from depthrf.nerf.training.memory import training_memory
from tests.scenes.wall import BOUNDS, MLP, SMALL, wall_pixels, wall_views


@pytest.mark.gpu
@pytest.mark.parametrize("options", [SMALL, MLP, replace(SMALL, rays_across=2)], ids=["hash", "mlp", "split"])
@pytest.mark.parametrize("triton", [True, False])
def test_recorded_steps_equal_unrecorded_ones(
    options: ModelOptions, triton: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step in chunks is never recorded and has the same gradient and average; an early restore records anew, and so
    do steps whose pixels are split, the last six here where the model has several rays a pixel."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if not triton:
        monkeypatch.setattr(hashgrid, "implementation", lambda device_type: reference.encode)
    store = PixelStore(wall_views(), *wall_pixels(), bounds=BOUNDS, device=torch.device("cuda"))
    found = []
    pixels = PixelOptions(contrast_share=0.3)
    optimiser = OptimiserOptions(steps=20, batch_rays=256, pixels=pixels, average=0.5, split_pixels=0.5)
    losses = LossOptions(unseen=UnseenOptions(share=0.25))
    whole = 256 * options.rays_across**2
    for chunk in (whole, 128):
        torch.manual_seed(0)
        model = RadianceField(options, num_photos=3).cuda()
        t = Trainer(model, optimiser, losses, seed=0)
        assert training_memory(t, store).per_ray
        t.chunk_rays = chunk
        steps = [float(t.advance(store).losses["photometric"]) for _ in range(8)]
        t.restore(copy.deepcopy(t.state()))
        steps += [float(t.advance(store).losses["photometric"]) for _ in range(8)]
        assert (t._recorded is not None) == (chunk == whole)
        found.append([*steps, *(float(p.square().mean()) for p in t.eval_model.parameters() if p.ndim > 1)])
    np.testing.assert_allclose(*found, rtol=0.02)


@pytest.mark.gpu
@pytest.mark.parametrize("options", [SMALL, MLP, replace(SMALL, rays_across=2)], ids=["hash", "mlp", "split"])
@pytest.mark.parametrize("losses", [LossOptions(), LossOptions(unseen=UnseenOptions(share=0.25))])
def test_no_step_makes_the_host_wait(options: ModelOptions, losses: LossOptions) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    store = PixelStore(wall_views(), *wall_pixels(), bounds=BOUNDS, device=torch.device("cuda"))
    torch.manual_seed(0)
    model = RadianceField(options, num_photos=3).cuda()
    pixels = PixelOptions(contrast_share=0.3, jitter=1.0)
    optimiser = OptimiserOptions(steps=9, batch_rays=256, pixels=pixels, pose_rate=1e-3, average=0.1, split_pixels=1.0)
    t = Trainer(model, optimiser, losses, seed=0)
    t.advance(store)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(6):  # some as they are, the others recorded
            t.advance(store)
    finally:
        torch.cuda.set_sync_debug_mode("default")
