"""Sensor depth with holes and a monocular prediction, merged, against the sensor pixels that were held back.

    python -m benchmarks.merging WORKSPACE [--kind depth|inverse_depth] [--seed N] [--json FILE]

WORKSPACE is the result of these two commands on the kitchen frames of the evaluation data:

    depthrf ingest DATA/kitchen/images -o WORKSPACE --sensor-depth DATA/kitchen/depth
    depthrf sfm WORKSPACE --poses DATA/kitchen/transforms.json

and is left as it is. From each photo's sensor depth, random rectangles over about half of the photo are removed, and
half of the remaining pixels at random. The rest goes through ``align`` and ``merge``, with the whole depth disguised as
a monocular prediction (``disguise.py``). The merged depth is compared with what was removed, single pixels and
rectangles apart. Beside it stand the prediction with one scale and shift fitted to the remaining sensor depth, and with
those fitted to all of the true depth, which no plain fit can beat.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.disguise import disguise
from depthrf.depth.aligning.fits import fit_affine
from depthrf.io.depth.depth_maps import read_map, read_prior, read_sensor_depth, write_map
from depthrf.io.photos.images import write_png
from depthrf.io.poses.colmap import load_scene
from depthrf.stages import align, merge
from depthrf.storage import read_json, write_json
from depthrf.workspace import Workspace

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Errors:
    """Of the pixels that were removed.

    median, p90: error in metres. coverage: share with merged depth. within_1_sigma, within_2_sigma: shares of errors
    below one and two sigma (0.68 and 0.95 for a Gaussian); None without sigma.
    """

    median: float
    p90: float
    coverage: float
    within_1_sigma: float | None
    within_2_sigma: float | None


def removed_rectangles(shape: tuple[int, int], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Rectangles of a tenth to half of each side until ``share`` of the photo is covered, (H, W)."""
    removed = np.zeros(shape, dtype=bool)
    while removed.mean() < share:
        height = int(shape[0] * rng.uniform(0.1, 0.5))
        width = int(shape[1] * rng.uniform(0.1, 0.5))
        top = int(rng.integers(-height // 2, shape[0] - height // 2))
        left = int(rng.integers(-width // 2, shape[1] - width // 2))
        removed[max(top, 0) : top + height, max(left, 0) : left + width] = True
    return removed


def measure(error: Array, sigma: Array, has: NDArray[np.bool_]) -> Errors:
    absolute = np.abs(error[has])
    share = absolute / sigma[has]
    told = not np.isnan(share).any()
    return Errors(
        median=float(np.percentile(absolute, 50)),
        p90=float(np.percentile(absolute, 90)),
        coverage=float(has.mean()),
        within_1_sigma=float((share < 1).mean()) if told else None,
        within_2_sigma=float((share < 2).mean()) if told else None,
    )


def prepare(source: Workspace, root: Path, kind: str, seed: int) -> tuple[Workspace, dict[str, Any]]:
    """A copy of the workspace with holes in its sensor depth and a prediction; and per photo what was taken away."""
    for part in ("sfm/sparse", "undistorted", "records"):
        shutil.copytree(source.root / part, root / part)
    workspace = Workspace(root)
    taken = {}
    for i, view in enumerate(load_scene(source.undistorted_sparse).views):
        rng = np.random.default_rng([seed, i])
        truth = read_sensor_depth(source.sensor_depth / f"{view.stem}.png")
        region = removed_rectangles(truth.shape, 0.5, rng)
        held_back = (truth > 0) & ~region & (rng.random(truth.shape) < 0.5)
        kept = np.where(region | held_back, 0.0, truth)
        write_png(workspace.sensor_depth / f"{view.stem}.png", np.rint(1000.0 * kept).astype(np.uint16))
        write_map(workspace.mono_depth / f"{view.stem}.npy", disguise(truth.astype(np.float64), kind, rng))
        taken[view.stem] = (truth, held_back, region & (truth > 0))
    write_json(workspace.mono_meta, {"network": "disguised sensor", "kind": kind})
    return workspace, taken


def score(workspace: Workspace, taken: dict[str, Any]) -> dict[str, Errors]:
    """Errors inside the coverage and in the removed regions, over the pixels of all photos."""
    errors: dict[str, list[tuple[Array, Array, NDArray[np.bool_]]]] = {}
    kind = read_json(workspace.mono_meta)["kind"]
    for stem, (truth, held_back, region) in taken.items():
        prior, _ = read_prior(workspace.prior_depth / f"{stem}.npz")
        rest = (truth > 0) & ~held_back & ~region
        prediction = read_map(workspace.mono_depth / f"{stem}.npy").astype(np.float64)
        nothing = np.full_like(prior.sigma, np.nan)
        for method, depth, sigma in (
            ("composite", prior.depth, prior.sigma),
            ("plain fit", plain_fit(prediction, truth, rest, kind), nothing),
            ("oracle fit", plain_fit(prediction, truth, truth > 0, kind), nothing),
        ):
            for name, where in (("inside", held_back), ("removed", region)):
                of_photo = (depth[where] - truth[where], sigma[where], depth[where] > 0)
                errors.setdefault(f"{method}, {name}", []).append(of_photo)
    result = {}
    for name, photos in errors.items():
        error, spread, has = zip(*photos, strict=True)
        result[name] = measure(np.concatenate(error), np.concatenate(spread), np.concatenate(has))
    return result


def plain_fit(prediction: Array, truth: Array, where: NDArray[np.bool_], kind: str) -> Array:
    """Depth by one robust scale and shift, fitted to some of the pixels."""
    chosen = np.flatnonzero(where)
    chosen = chosen[:: max(1, len(chosen) // 4000)]
    depth, x = truth.ravel()[chosen].astype(np.float64), prediction.ravel()[chosen]
    return fit_affine(x, depth, 0.01 * depth, kind=kind, generator=np.random.default_rng(0)).apply(prediction)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--kind", choices=("depth", "inverse_depth"), action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for kind in arguments.kind or ("depth", "inverse_depth"):
        with tempfile.TemporaryDirectory() as folder:
            workspace, taken = prepare(Workspace(arguments.workspace), Path(folder), kind, arguments.seed)
            align.run(workspace, align.Options())
            merge.run(workspace, merge.Options())
            rows += [{"kind": kind, "method": k, **asdict(e)} for k, e in score(workspace, taken).items()]
    print(f"{'kind':14}{'method':21}{'median':>8}{'p90':>8}{'covered':>9}{'< 1 sigma':>11}{'< 2 sigma':>11}")
    for row in rows:
        shares = (row["within_1_sigma"], row["within_2_sigma"])
        within = "".join(f"{'-' if v is None else f'{v:.1%}':>11}" for v in shares)
        print(f"{row['kind']:14}{row['method']:21}{row['median']:8.4f}{row['p90']:8.4f}{row['coverage']:9.1%}{within}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
