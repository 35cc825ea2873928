"""Reads a workspace into the facts of its report; what a stage has not written yet is left empty."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthrf.evaluation import Evaluation, read_evaluation
from depthrf.io.depth.reports import read_mono_meta, read_prior_report
from depthrf.io.depth.scale import read_scale
from depthrf.io.photos.table import read_photos
from depthrf.records import read_record
from depthrf.report.advice import advice_of, verdict_of
from depthrf.report.facts import PairMatches, PhotoFacts, Report, Sample, SourceFile, StageCost, UsedWeights, ViewScore
from depthrf.report.grading import graded
from depthrf.storage import read_json
from depthrf.workspace import Workspace

_RECORDED_BESIDE_LOSSES = {"step", "seconds", "rays_per_second", "psnr"}
_PLAIN_NAMES = {"photos", "images", "train", "input", "rgb"}
_COLMAP_MAX_IMAGES = 2147483647
"""Pairs are numbered ``first * this + second`` in COLMAP's database (``scene/database.h``)."""


def gather(workspace: Workspace, stage_order: tuple[str, ...], redo: str) -> Report:
    """The facts of a workspace.

    Args:
        workspace: Where at least ``ingest`` has run.
        stage_order: Names of the stages in the order in which they run.
        redo: The command that makes the same result again.

    Raises:
        DepthrfError: A file of the workspace is damaged.
    """
    ledger = _json(workspace.sfm / "ledger.json")
    evaluation = read_evaluation(workspace.evaluation)
    files = _files(workspace)
    dropped = {str(row["name"]): str(row["reason"]) for row in ledger.get("dropped", [])}
    photos = tuple(_photos(workspace, ledger))
    pairs = tuple(_pairs(workspace, ledger, {photo.name for photo in photos} | dropped.keys()))
    views = tuple(
        ViewScore(view.name, view.psnr, view.ssim, view.lpips, view.depth_abs_rel)
        for view in (evaluation.views if evaluation else ())
    )
    mean = {name: value for name, value in (evaluation.mean if evaluation else {}).items() if value is not None}
    costs = tuple(_costs(workspace, stage_order))
    finished = workspace.video.is_file()
    rejected = sum(file.fate == "rejected" for file in files)
    return Report(
        scene=_scene_name(Path(str(_json(workspace.manifest).get("photos", workspace.root)))),
        verdict=verdict_of(photos, dropped, mean, finished=finished),
        advice=advice_of(photos, dropped, pairs, mean, rejected=rejected, scored=bool(views)),
        warnings=tuple(map(str, ledger.get("warnings", []))),
        noticed=tuple(_noticed(workspace)),
        files=files,
        photos=photos,
        pairs=pairs,
        training=tuple(_training(workspace)),
        split=evaluation.split if evaluation else None,
        mean=mean,
        views=views,
        trust=tuple(_trust(workspace)),
        scale=read_scale(workspace),
        stages=costs,
        weights=tuple(_weights(workspace, evaluation)),
        versions=_versions(workspace, stage_order),
        redo=redo,
        dropped=dropped,
    )


def _scene_name(photos: Path) -> str:
    """The photo folder's name, after that of the folder around it where it says nothing itself."""
    return f"{photos.parent.name}/{photos.name}" if photos.name.lower() in _PLAIN_NAMES else photos.stem


def _json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _files(workspace: Workspace) -> tuple[SourceFile, ...]:
    rows = read_photos(workspace.photos) if workspace.photos.is_file() else ()
    return tuple(SourceFile(row.source, row.status, row.reason, row.name) for row in rows)


def _photos(workspace: Workspace, ledger: dict[str, Any]) -> list[PhotoFacts]:
    """The photos that train, in the order of their names."""
    from depthrf.io.poses.colmap import is_model, load_scene

    if not is_model(workspace.undistorted_sparse):
        return []
    scene = load_scene(workspace.undistorted_sparse)
    agreement = ledger.get("selfcheck", {}).get("photos", {})
    by_stem = {Path(name).stem: row for name, row in agreement.items()}
    prior = read_prior_report(workspace.prior_report)
    merged = prior.photos if prior is not None else {}
    found = []
    for view in sorted(scene.views, key=lambda v: v.name):
        sparse = scene.depths[view.name]
        error, sigma = _prior_figures(workspace.prior_depth / f"{view.stem}.npz", sparse.xy, sparse.depth)
        facts = PhotoFacts(
            name=view.name,
            grade="good",
            problems=(),
            num_points=len(sparse.depth),
            reprojection_px=_median(sparse.error_px),
            consistency=by_stem.get(view.stem, {}).get("consistency"),
            coverage={k: v for k, v in merged[view.stem].coverage.items() if v > 0} if view.stem in merged else {},
            prior_error=error,
            sigma=sigma,
        )
        found.append(graded(facts))
    return found


def _prior_figures(
    path: Path, xy: NDArray[np.float64], depth: NDArray[np.float64]
) -> tuple[float | None, float | None]:
    """Median relative error of a prior at the keypoints, and its median relative sigma."""
    from depthrf.geometry.camera import containing_pixels
    from depthrf.io.depth.depth_maps import read_prior

    if not path.is_file():
        return None, None
    prior, _ = read_prior(path)
    known = prior.depth > 0
    height, width = prior.depth.shape
    row, column = containing_pixels(xy)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    at_keypoints = prior.depth[row[inside], column[inside]]
    measured, truth = at_keypoints[at_keypoints > 0], depth[inside][at_keypoints > 0]
    return _median(np.abs(measured - truth) / truth), _median(prior.sigma[known] / prior.depth[known])


def _median(values: NDArray[Any]) -> float | None:
    return float(np.median(values)) if len(values) else None


def _pairs(workspace: Workspace, ledger: dict[str, Any], names: set[str]) -> list[PairMatches]:
    """The verified matches in the database that the model rests on."""
    database = workspace.sfm / str(ledger.get("database") or "none")
    if not database.is_file():
        return []
    # Undistorted photos may have another ending than the originals, which the database names.
    by_stem = {Path(name).stem: name for name in names}
    try:
        connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
        try:
            images = dict(connection.execute("select image_id, name from images").fetchall())
            rows = connection.execute("select pair_id, rows from two_view_geometries where rows > 0").fetchall()
        finally:
            connection.close()
    except sqlite3.Error:
        return []
    found = []
    for pair_id, count in rows:
        first_id, second_id = divmod(pair_id, _COLMAP_MAX_IMAGES)
        if first_id in images and second_id in images:
            first, second = str(images[first_id]), str(images[second_id])
            first, second = by_stem.get(Path(first).stem, first), by_stem.get(Path(second).stem, second)
            found.append(PairMatches(first, second, int(count)))
    return sorted(found, key=lambda p: (p.first, p.second))


def _noticed(workspace: Workspace) -> list[str]:
    """What training recognised in the photos, from its record."""
    summary = _json(workspace.record("train")).get("summary") or {}
    background, exposure = str(summary.get("background", "last")), float(summary.get("exposure_range", 1.0))
    found = []
    if background != "last":
        found.append(f"an object before a plain background ({background}), which is taken for empty space")
    if exposure > 1.0:
        found.append(
            f"exposure that differs by a factor of {exposure:.2f} between the photos, as automatic exposure makes it; "
            "the film has their mean. Lock exposure and white balance if you take them again."
        )
    return found


def _training(workspace: Workspace) -> list[Sample]:
    from depthrf.plot.curves import read_metrics

    if not workspace.metrics.is_file() or not workspace.metrics.stat().st_size:
        return []
    rows = read_metrics(workspace.metrics)
    return [
        Sample(
            int(row["step"]),
            row["seconds"],
            row["psnr"],
            {k: v for k, v in row.items() if k not in _RECORDED_BESIDE_LOSSES and math.isfinite(v)},
        )
        for row in rows
    ]


def _trust(workspace: Workspace) -> list[tuple[float, float, float]]:
    frames = _json(workspace.render / "path.json").get("frames", [])
    shares = [frame["trust"] for frame in frames if "trust" in frame]
    return [(float(share["two"]), float(share["one"]), float(share["none"])) for share in shares]


def _costs(workspace: Workspace, order: tuple[str, ...]) -> list[StageCost]:
    found = []
    for stage in (*order, "evaluate", "export"):
        record = read_record(workspace.record(stage))
        if record is not None:
            found.append(StageCost(stage, record.seconds, record.device, record.finished, record.peak_memory_mb))
    return found


def _weights(workspace: Workspace, evaluation: Evaluation | None) -> list[UsedWeights]:
    from depthrf.io.weights import manifest

    known = manifest.manifest()
    meta = read_mono_meta(workspace.mono_meta)
    used = [*([meta.network] if meta is not None else []), *_perceptual(evaluation)]
    return [
        UsedWeights(known[name].title, f"{known[name].licence}. {known[name].terms}", known[name].paper)
        for name in used
        if name in known
    ]


def _perceptual(evaluation: Evaluation | None) -> list[str]:
    from depthrf.io.weights.perceptual import FILES

    network = evaluation.lpips_network if evaluation else None
    return list(FILES.get(network or "", ()))


def _versions(workspace: Workspace, order: tuple[str, ...]) -> dict[str, str]:
    for stage in reversed(order):
        record = read_record(workspace.record(stage))
        if record is not None and record.versions:
            return dict(record.versions)
    return {}
