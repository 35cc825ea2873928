"""The feature database by learned features: XFeat keypoints, LighterGlue matches. Runs in the child process.

A database is built beside its final name and takes it when it is complete; an interrupted one is completed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.features import import_photos, verification_options
from depthrf.sfm.jobs import CameraGroup, LearnedWeights, Reporter
from depthrf.sfm.learned.keypoints import NUM_VALUES, Extractor, Keypoints
from depthrf.sfm.learned.matching import PROBABLE, Matcher, nearest
from depthrf.sfm.learned.partners import Pair, promising
from depthrf.sfm.recipes import LearnedFeatures
from depthrf.storage import fingerprint

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
Value = TypeVar("Value")

_LIKENESS_FEATURES = 1024
"""Keypoints of a photo whose nearest neighbours tell how alike two photos are."""


@dataclass(frozen=True)
class Networks:
    """The weights, what to find with them, and on how many threads (0: on every core)."""

    weights: LearnedWeights
    features: LearnedFeatures
    threads: int

    def versions(self) -> list[str]:
        """What decides the keypoints and matches beside the features: weights, libraries and device."""
        files = [fingerprint(file) for file in (self.weights.xfeat, self.weights.lighterglue)]
        libraries = [f"{name} {version(name)}" for name in ("kornia", "torch")]
        return [*files, *libraries, _device(self.weights.device).type, str(PROBABLE)]


def build_learned_database(
    path: Path,
    images: Path,
    groups: Sequence[CameraGroup],
    networks: Networks,
    *,
    masks: Path | None = None,
    seed: int,
    report: Reporter,
) -> None:
    """Finds keypoints of all photos of ``groups``, where ``masks`` are not 0, and matches the pairs that promise most.

    Args:
        path: The database; one that is there is complete.
        images: Folder of the photos.
        groups: Their cameras.
        networks: What finds and matches keypoints.
        masks: Folder with ``<name>.png`` of every photo.
        seed: Of the pairs' verification.
        report: Told of the progress.
    """
    if path.exists():
        return
    names = sorted(name for group in groups for name in group.names)
    part = path.with_name(f"{path.name}.part")
    import_photos(part, images, groups, names)
    masked = {name: masks / f"{name}.png" for name in names} if masks is not None else {}
    find_keypoints(part, {name: images / name for name in names}, networks, masks=masked, report=report)
    match_pairs(part, combinations(names, 2), networks, seed=seed, report=report)
    part.replace(path)


def find_keypoints(
    database: Path,
    photos: Mapping[str, Path],
    networks: Networks,
    *,
    masks: Mapping[str, Path],
    report: Reporter,
) -> None:
    """Writes keypoints and descriptors of the photos that have none yet."""
    features = networks.features
    with pycolmap.Database.open(database) as opened:
        ids = {i.name: i.image_id for i in opened.read_all_images()}
        missing = [name for name in sorted(photos) if not opened.exists_descriptors(ids[name])]
        if not missing:
            return
        extract = Extractor(
            networks.weights.xfeat,
            _device(networks.weights.device),
            min_size=features.min_image_size,
            max_size=features.max_image_size,
            count=features.max_features,
        )

        def look(name: str) -> Keypoints:
            with Image.open(photos[name]) as photo:
                rgb = np.asarray(photo.convert("RGB"))
            if name not in masks:
                return extract(rgb)
            with Image.open(masks[name]) as mask:
                return extract(rgb, np.asarray(mask.convert("L")))

        found = _each(look, missing, networks)
        for name, keypoints in zip(missing, _told(found, "Finding keypoints", len(missing), report), strict=True):
            if not opened.exists_keypoints(ids[name]):
                opened.write_keypoints(ids[name], keypoints.xy)
            opened.write_descriptors(ids[name], _as_bytes(keypoints.descriptors))


def match_pairs(
    database: Path,
    pairs: Iterable[Pair],
    networks: Networks,
    *,
    seed: int,
    report: Reporter,
) -> None:
    """Matches pairs of photos by name, only the most promising ones of many, and verifies them.

    Args:
        database: With keypoints and descriptors of all photos.
        pairs: Which ones; those matched already are left as they are.
        networks: What matches, and of how many pairs.
        seed: Of the verification.
        report: Told of the progress.
    """
    pairs = sorted(pairs)
    with pycolmap.Database.open(database) as opened:
        photos = {i.name: i for i in opened.read_all_images()}
        keypoints = {name: _read(opened, photos[name]) for name in sorted({n for pair in pairs for n in pair})}
        if len(pairs) > networks.features.all_pairs:
            pairs = _promising(pairs, keypoints, networks, report)
        ids = {name: photo.image_id for name, photo in photos.items()}
        missing = [(a, b) for a, b in pairs if not opened.exists_two_view_geometry(ids[a], ids[b])]
        if not missing:
            return
        match = Matcher(networks.weights.lighterglue, _device(networks.weights.device))
        cameras = {name: opened.read_camera(photos[name].camera_id) for name in keypoints}
        options = verification_options(seed)

        def verified(pair: Pair) -> tuple[Any, Any]:
            matches, probability = match(*(keypoints[name] for name in pair))
            views = [x for name in pair for x in (cameras[name], keypoints[name].xy.astype(np.float64))]
            return _verified(views, matches.astype(np.uint32), probability, options)

        found = _each(verified, missing, networks)
        told = _told(found, "Matching pairs", len(missing), report)
        for (a, b), (matches, geometry) in zip(missing, told, strict=True):
            if not opened.exists_matches(ids[a], ids[b]):
                opened.write_matches(ids[a], ids[b], matches)
            opened.write_two_view_geometry(ids[a], ids[b], geometry)


def _verified(
    views: Sequence[Any], matches: NDArray[np.uint32], probability: NDArray[np.float32], options: Any
) -> tuple[NDArray[np.uint32], pycolmap.TwoViewGeometry]:
    """The matches (M, 2) of a pair and the geometry that explains them; neither where the probable ones have none.

    Between photos of different things the network finds some dozens of improbable matches, along edges say, which one
    geometry explains by chance.
    """
    geometry = pycolmap.estimate_two_view_geometry(*views, matches[probability > PROBABLE], options)
    if len(geometry.inlier_matches) < options.min_num_inliers:
        return matches[:0], pycolmap.TwoViewGeometry()
    return matches, pycolmap.estimate_two_view_geometry(*views, matches, options)


def _promising(
    pairs: Sequence[Pair], keypoints: Mapping[str, Keypoints], networks: Networks, report: Reporter
) -> list[Pair]:
    counts = _each(lambda p: len(nearest(keypoints[p[0]], keypoints[p[1]], _LIKENESS_FEATURES)), pairs, networks)
    told = _told(counts, "Comparing photos", len(pairs), report)
    return promising(dict(zip(pairs, told, strict=True)), networks.features.partners)


def _as_bytes(descriptors: NDArray[np.float32]) -> pycolmap.FeatureDescriptors:
    """pycolmap stores bytes: four for each of the 64 values."""
    data = np.frombuffer(np.ascontiguousarray(descriptors).tobytes(), np.uint8).reshape(
        len(descriptors), 4 * NUM_VALUES
    )
    return pycolmap.FeatureDescriptors(pycolmap.FeatureExtractorType.UNDEFINED, data)


def _read(database: pycolmap.Database, image: pycolmap.Image) -> Keypoints:
    camera = database.read_camera(image.camera_id)
    xy = np.asarray(database.read_keypoints(image.image_id), dtype=np.float32)[:, :2]
    data = np.ascontiguousarray(database.read_descriptors(image.image_id).data)
    return Keypoints(xy, data.view(np.float32).reshape(len(xy), NUM_VALUES), (camera.width, camera.height))


def _each(work: Callable[[Item], Value], items: Sequence[Item], networks: Networks) -> Iterator[Value]:
    """Results in order. On a CPU several items at once with one thread each: faster than the reverse, and the same
    with any number of threads.
    """
    from depthrf.device import single_threaded

    workers = (networks.threads or os.cpu_count() or 1) if _device(networks.weights.device).type == "cpu" else 1
    with single_threaded(), ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, items)


def _told(values: Iterable[Value], what: str, total: int, report: Reporter) -> Iterator[Value]:
    report(what, 0, total)
    for done, value in enumerate(values, 1):
        yield value
        report(what, done, total)


def _device(name: str) -> torch.device:
    from depthrf.device import resolve

    return resolve(name)
