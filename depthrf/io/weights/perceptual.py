"""LPIPS with its published weights, where they are in the weights cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthrf.errors import DepthrfError
from depthrf.io.weights import manifest as weights

if TYPE_CHECKING:
    import torch

    from depthrf.nerf.scores.lpips import Lpips

FILES = {"alex": ("alexnet", "lpips-alex"), "vgg": ("vgg16", "lpips-vgg")}
"""Names in the manifest of each network's features and linear layers."""


def missing(network: str) -> list[str]:
    """Names of the weights that ``network`` needs and that are not here."""
    return [name for name in FILES[network] if not weights.path(name).is_file()]


def load_lpips(network: str, device: torch.device) -> Lpips | None:
    """The metric on ``device``; None where some of its weights are not here.

    Raises:
        DepthrfError: A file is damaged or holds something else.
    """
    from depthrf.io.weights.checkpoints import load_state_dict
    from depthrf.nerf.scores.lpips import Lpips

    if missing(network):
        return None
    files = [weights.verify(name).path for name in FILES[network]]
    try:
        return Lpips(network, *(load_state_dict(file) for file in files)).to(device)
    except (KeyError, RuntimeError) as e:
        raise DepthrfError(
            f"{' and '.join(map(str, files))} do not fit the LPIPS network {network!r} ({str(e).splitlines()[0]}). "
            "Remove them and fetch them again."
        ) from e
