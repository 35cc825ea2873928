from __future__ import annotations

import pytest
import torch

from depthrf.nerf.rays.batch import RayBatch
from depthrf.nerf.rays.compositing import ModelOutput
from depthrf.nerf.training.memory import Memory, training_memory
from tests.scenes.wall import SMALL, trainer, wall_store


def test_memory_estimate_is_near_what_is_kept() -> None:
    """Against the bytes that a whole batch's graph keeps, counted without the estimate's own probe."""
    t, store = trainer(SMALL, 6), wall_store()
    memory = training_memory(t, store)
    assert memory.optimiser == (2 + t.threads.count) * sum(4 * p.numel() for p in t.model.parameters())
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        output = t.model(store.sample(512, t.generator), torch.zeros(512, 2))
    assert output.rgb.requires_grad
    assert memory.per_ray * 512 == pytest.approx(2 * sum(kept.values()), rel=0.1)


def test_rays_are_halved_until_they_fit() -> None:
    memory = Memory(optimiser=1000, per_ray=10)
    assert memory.fitting_rays(4096, 1000 + 10 * 4096) == 4096
    assert memory.fitting_rays(4096, 1000 + 10 * 1500) == 1024
    assert memory.fitting_rays(4096, 900) == 0


def test_estimating_memory_leaves_no_graph_behind() -> None:
    """Its nodes would tie later steps to the stream they were made on, which no recording survives."""
    t = trainer(SMALL, 6)
    forward, marked = t.model.forward, []

    def marking(rays: RayBatch, jitter: torch.Tensor) -> ModelOutput:
        output = forward(rays, jitter)
        nodes = [output.rgb.grad_fn]
        while nodes:
            node = nodes.pop()
            if node.name().endswith("AccumulateGrad"):
                node.metadata["marked"] = True
                marked.append(node.name())
            nodes += [following for following, _ in node.next_functions if following is not None]
        return output

    t.model.forward = marking  # type: ignore[method-assign]
    training_memory(t, wall_store())
    assert marked
    for parameter in t.model.parameters():
        (node, _) = parameter.view_as(parameter).grad_fn.next_functions[0]
        assert "marked" not in node.metadata
