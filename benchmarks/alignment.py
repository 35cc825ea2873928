"""Alignment of monocular depth to keypoints, measured on real sensor depth made to look like a network's output.

    python -m benchmarks.alignment [--photos N] [-o FILE.json]

kitchen-18 (needs the evaluation data, $DEPTHRF_DATA or ../shared/data). Per number of keypoints and share of outliers:
AbsRel and delta1 of ours, least squares, median ratio, RANSAC alone and the oracle, which is scale and shift fitted by
least squares to the dense truth in the network's own space. A pixel without depth counts as an error of 100 %. Also
the choice of an unknown kind, the calibration of sigma, and photos with few keypoints among others with many.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.disguise import Array, Photo, disguise, draw_keypoints, load_kitchen
from depthrf.depth.aligning.fits import KINDS, search_affine
from depthrf.depth.aligning.joint import align_photos
from depthrf.depth.aligning.photo import Anchors, align_photo
from depthrf.geometry.camera import SparseDepths
from tests.evaluation_data import DATA

NUMBERS, OUTLIERS = (10, 30, 100, 300, 1000), (0.05, 0.1, 0.2, 0.3, 0.5)
METHODS = ("ours", "least squares", "median ratio", "ransac", "oracle")


@dataclass(frozen=True)
class Case:
    """One disguised photo with keypoints."""

    photo: Photo
    prediction: Array
    sparse: SparseDepths
    kind: str
    seed: int

    @property
    def x(self) -> Array:
        column, row = np.floor(self.sparse.xy).astype(np.int64).T
        return np.asarray(self.prediction[row, column])

    @property
    def y(self) -> Array:
        return self.sparse.depth if self.kind == "depth" else 1.0 / self.sparse.depth

    def depth(self, scale: float, shift: float) -> Array:
        y = scale * self.prediction + shift
        positive = y > 1e-9
        return np.where(positive, y if self.kind == "depth" else 1.0 / np.where(positive, y, 1.0), 0.0)


def ours(case: Case) -> Array | None:
    generator = np.random.default_rng(case.seed)
    found = align_photo(case.prediction, Anchors.of_keypoints(case.sparse), kind=case.kind, generator=generator)
    return found.depth(case.prediction).depth.astype(np.float64) if found.accepted else None


def least_squares(case: Case) -> Array:
    return case.depth(*np.polyfit(case.x, case.y, 1))


def median_ratio(case: Case) -> Array:
    return case.depth(float(np.median(case.y / case.x)), 0.0)


def ransac(case: Case) -> Array | None:
    starts = search_affine(case.x, case.y, 0.05 * case.y, np.random.default_rng(case.seed))
    return case.depth(*starts[0]) if starts else None


def oracle(case: Case) -> Array:
    known = case.photo.depth > 0
    truth = case.photo.depth[known]
    return case.depth(*np.polyfit(case.prediction[known], truth if case.kind == "depth" else 1.0 / truth, 1))


FITS: dict[str, Callable[[Case], Array | None]] = dict(
    zip(METHODS, (ours, least_squares, median_ratio, ransac, oracle), strict=True)
)


def scores(depth: Array | None, truth: Array) -> tuple[float, float]:
    """AbsRel and delta1 where the truth is known; nan for a refused photo."""
    if depth is None:
        return np.nan, np.nan
    known = truth > 0
    found, true = depth[known], truth[known]
    ratio = np.maximum(found / true, true / np.maximum(found, 1e-9))
    return float(np.mean(np.abs(found - true) / true)), float(np.mean(ratio < 1.25))


def make_case(photo: Photo, index: int, kind: str, number: int, outliers: float) -> Case:
    """The same disguise and keypoints whenever the arguments are the same."""
    prediction = disguise(photo.depth, kind, np.random.default_rng([index, KINDS.index(kind)]))
    rng = np.random.default_rng([index, KINDS.index(kind), number, round(100 * outliers)])
    return Case(photo, prediction, draw_keypoints(photo, number, outliers, rng), kind, index)


def table(photos: Sequence[Photo]) -> list[dict[str, Any]]:
    """One row a kind, number and outlier share: mean scores over the photos that ours accepts."""
    rows = []
    for kind in KINDS:
        for number in NUMBERS:
            for share in OUTLIERS:
                rows.append(cell(photos, kind, number, share))
                print(line(rows[-1]), flush=True)
    return rows


def cell(photos: Sequence[Photo], kind: str, number: int, share: float) -> dict[str, Any]:
    cases = [make_case(photo, i, kind, number, share) for i, photo in enumerate(photos)]
    found = np.array([[scores(FITS[m](c), c.photo.depth) for m in METHODS] for c in cases])  # (photos, methods, 2)
    accepted = np.isfinite(found[:, 0, 0])
    mean = np.nanmean(found[accepted], axis=0) if accepted.any() else np.full((len(METHODS), 2), np.nan)
    worse = found[accepted, 0, 0] > found[accepted, METHODS.index("least squares"), 0]
    return {
        "kind": kind,
        "keypoints": number,
        "outliers": share,
        "accepted": float(accepted.mean()),
        "worse_than_least_squares": float(worse.mean()) if accepted.any() else None,
        "abs_rel": dict(zip(METHODS, mean[:, 0].tolist(), strict=True)),
        "delta1": dict(zip(METHODS, mean[:, 1].tolist(), strict=True)),
    }


def line(row: dict[str, Any]) -> str:
    head = f"{row['kind']:13} {row['keypoints']:5} {row['outliers']:4.0%} {row['accepted']:5.0%}"
    worse = "   - " if row["worse_than_least_squares"] is None else f"{row['worse_than_least_squares']:4.0%} "
    return head + "".join(f"  {row['abs_rel'][m]:.4f}/{row['delta1'][m]:.3f}" for m in METHODS) + f"  {worse}"


def verdict(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The worst cells of what is wanted: ours over the oracle's AbsRel, and over that of least squares."""
    fair = [r for r in rows if r["keypoints"] >= 30 and r["outliers"] <= 0.3]
    over = {name: [r["abs_rel"]["ours"] / r["abs_rel"][name] for r in rows] for name in ("oracle", "least squares")}
    return {
        "worst_over_oracle_30_keypoints_30_percent": max(r["abs_rel"]["ours"] / r["abs_rel"]["oracle"] for r in fair),
        "worst_over_least_squares": float(np.nanmax(over["least squares"])),
    }


def unknown_kind(photos: Sequence[Photo]) -> list[dict[str, Any]]:
    """Whether the kind is found, from all photos together and from each alone, with 30 % outliers."""
    rows = []
    for kind in KINDS:
        for number in (30, 100):
            cases = [make_case(p, i, kind, number, 0.3) for i, p in enumerate(photos)]

            def choose(some: Sequence[Case]) -> str:
                keypoints = [Anchors.of_keypoints(c.sparse) for c in some]
                views = [c.photo.view for c in some]
                generator = np.random.default_rng(0)
                return align_photos([c.prediction for c in some], keypoints, views, kind=None, generator=generator)[
                    0
                ].kind

            alone = float(np.mean([choose([c]) == kind for c in cases]))
            rows.append({"kind": kind, "keypoints": number, "together": choose(cases) == kind, "share_alone": alone})
            print(rows[-1], flush=True)
    return rows


def calibration(photos: Sequence[Photo]) -> list[dict[str, Any]]:
    """Share of true errors within one and two standard deviations, keypoints with 20 % outliers."""
    from depthrf.depth.edges import edge_sigma

    rows = []
    for kind in KINDS:
        for number in (30, 100, 300, 1000):
            shares = []
            for i, photo in enumerate(photos):
                case = make_case(photo, i, kind, number, 0.2)
                anchors = Anchors.of_keypoints(case.sparse)
                found = align_photo(case.prediction, anchors, kind=kind, generator=np.random.default_rng(i))
                prior = found.depth(case.prediction)
                sigma = np.hypot(prior.sigma, edge_sigma(prior.depth, photo.view.camera.fx))
                both = (prior.depth > 0) & (photo.depth > 0)
                error = np.abs(prior.depth - photo.depth)[both] / sigma[both]
                shares.append((np.mean(error <= 1), np.mean(error <= 2)))
            one, two = np.mean(shares, axis=0)
            rows.append({"kind": kind, "keypoints": number, "within_1": float(one), "within_2": float(two)})
            print(rows[-1], flush=True)
    return rows


def joint(photos: Sequence[Photo]) -> list[dict[str, Any]]:
    """Every third photo has few keypoints, the others 150; AbsRel alone and with the joint pass, 20 % outliers."""
    rows = []
    for kind in KINDS:
        for few in (5, 10, 15):
            cases = [make_case(p, i, kind, few if i % 3 == 1 else 150, 0.2) for i, p in enumerate(photos)]
            predictions, views = [c.prediction for c in cases], [c.photo.view for c in cases]
            keypoints = [Anchors.of_keypoints(c.sparse) for c in cases]
            generator = np.random.default_rng(0)
            together = align_photos(predictions, keypoints, views, kind=kind, generator=generator)
            alone = [ours(c) for c in cases]
            tied: list[Array | None] = []
            for fit, prediction in zip(together, predictions, strict=True):
                tied.append(fit.depth(prediction).depth.astype(np.float64) if fit.accepted else None)
            at = [i for i in range(len(cases)) if i % 3 == 1]
            row: dict[str, Any] = {"kind": kind, "few": few}
            for name, depths in (("alone", alone), ("joint", tied)):
                values = [scores(depths[i], photos[i].depth)[0] for i in at]
                row[name] = [round(v, 4) if np.isfinite(v) else None for v in values]
            row["oracle"] = float(np.mean([scores(oracle(cases[i]), photos[i].depth)[0] for i in at]))
            rows.append(row)
            print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=9, help="how many of the 18, at equal steps")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    every = load_kitchen(DATA / "kitchen")
    photos = [every[i] for i in np.linspace(0, len(every) - 1, arguments.photos).round().astype(int)]
    print(
        "kind          keyp. outl. accepted; AbsRel/delta1 of", ", ".join(METHODS), "; share worse than least squares"
    )
    rows = table(photos)
    found = {"table": rows, "verdict": verdict(rows)}
    print(found["verdict"])
    found |= {"joint": joint(photos), "unknown_kind": unknown_kind(photos), "calibration": calibration(photos)}
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
