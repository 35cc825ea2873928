"""Speed and agreement of the CPU renderers of two checkouts, measured side by side.

    python -m benchmarks.rendering WORKSPACE --before CHECKOUT [--max-side 384] [--rounds 3] [--json FILE]

Both render the same views of a trained workspace, in turns, each in processes of its own. Times are CPU time, all
threads together, so other work on the machine distorts them less; compiling is left out. The last line is the ratio of
the medians.
"""

from __future__ import annotations

import inspect
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve()


def render(workspace_path: str, max_side: str, out: str) -> None:
    """Renders two of the workspace's views and writes pictures and microseconds of CPU time per ray."""
    import torch

    from depthrf.io.poses.transforms_json import load_views
    from depthrf.io.trained_field import load_field
    from depthrf.nerf.normalise import normalise_view
    from depthrf.nerf.rendering.views import render_view

    workspace = Path(workspace_path)
    field = load_field(workspace / "nerf" / "checkpoint.pt", torch.device("cpu"))
    train, test = load_views(workspace / "transforms.json")
    views = [view.with_camera(view.camera.fitted(int(max_side))) for view in (*test, *train)[:2]]
    views = [normalise_view(view, field.normalised_from_scene) for view in views]
    small = views[0].with_camera(views[0].camera.fitted(32))
    # As films are rendered; an older checkout has no such argument.
    adaptive = {"adaptive": True} if "adaptive" in inspect.signature(render_view).parameters else {}
    render_view(field.model, small, field.bounds, **adaptive)  # compiles
    start = time.process_time()
    pictures = [render_view(field.model, view, field.bounds, **adaptive).rgb for view in views]
    seconds = time.process_time() - start
    rays = sum(picture.shape[0] * picture.shape[1] for picture in pictures)
    arrays: dict[str, Any] = {f"view_{index}": picture for index, picture in enumerate(pictures)}
    np.savez(out, microseconds=1e6 * seconds / rays, **arrays)


def measure(checkout: Path, workspace: Path, max_side: int) -> dict[str, np.ndarray]:
    """What :func:`render` of that checkout gives."""
    from benchmarks import checkouts  # here, because an older checkout, where this file runs too, may not have it

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.npz"
        checkouts.run_in(checkout, HERE, "render", workspace, max_side, out)
        return dict(np.load(out))


def psnr(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """PSNR in dB between the 8-bit pictures of two runs."""
    names = [name for name in a if name.startswith("view")]
    error = np.mean([((a[n].astype(float) - b[n].astype(float)) ** 2).mean() for n in names])
    return float(10.0 * np.log10(255.0**2 / max(float(error), 1e-9)))


def main() -> None:
    from benchmarks import checkouts  # here, because an older checkout, where this file runs too, may not have it

    asked = checkouts.parser_of(__doc__, max_side=384).parse_args()
    found = checkouts.in_turns(asked, lambda checkout: measure(checkout, asked.workspace.resolve(), asked.max_side))
    medians = {name: statistics.median(float(run["microseconds"]) for run in runs) for name, runs in found.items()}
    row: dict[str, Any] = {
        "workspace": asked.workspace.name,
        "max_side": asked.max_side,
        "rounds": asked.rounds,
        **{f"{name}_microseconds_per_ray": round(value, 1) for name, value in medians.items()},
        **{f"{name}_rays_per_second_and_core": round(1e6 / value) for name, value in medians.items()},
        "ratio": round(medians["before"] / medians["after"], 2),
        "psnr_between_db": round(psnr(found["before"][-1], found["after"][-1]), 1),
    }
    checkouts.tell(asked, row)


if __name__ == "__main__":
    main()
