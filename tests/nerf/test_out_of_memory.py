from __future__ import annotations

import pytest
import torch

from depthrf.nerf.out_of_memory import with_fewer_rays


def test_rays_are_halved_until_memory_suffices() -> None:
    tried = []

    def work(rays: int) -> str:
        tried.append(rays)
        if rays > 60:
            raise torch.OutOfMemoryError
        return f"{rays} rays"

    assert with_fewer_rays(work, 401) == ("51 rays", 51)
    assert tried == [401, 201, 101, 51]


def test_a_few_rays_that_do_not_fit_are_an_error() -> None:
    def work(rays: int) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        with_fewer_rays(work, 1000)


def test_other_errors_are_not_retried() -> None:
    tried = []

    def work(rays: int) -> None:
        tried.append(rays)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 (the one raised above)
        with_fewer_rays(work, 1000)
    assert tried == [1000]
