"""The feature database by SIFT: keypoints of all photos, matches of the pairs that promise most. Runs in the child."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.features import extraction_options, import_photos, matching_options, read_pairs
from depthrf.sfm.jobs import CameraGroup, Reporter
from depthrf.sfm.pairing import choice
from depthrf.sfm.pairing.choice import Pair
from depthrf.sfm.pairing.likeness import likeness, sampled
from depthrf.sfm.recipes import Features

_WHAT = "Matching pairs"


def build_database(
    path: Path,
    images: Path,
    groups: Sequence[CameraGroup],
    features: Features,
    *,
    masks: Path | None = None,
    thorough: Collection[str] = (),
    basis: Path | None = None,
    seed: int,
    threads: int,
    report: Reporter,
) -> None:
    """Extracts features of all photos of ``groups``, where ``masks`` are not 0, and matches pairs.

    Args:
        path: The database; what it holds already is kept.
        images: Folder of the photos.
        groups: Their cameras.
        features: Settings, which also tell how pairs are chosen.
        masks: Folder with ``<name>.png`` of every photo.
        thorough: Photos that are matched with all others.
        basis: A finished database of the same photos and features to start from.
        seed: Of the verification and of the choice of pairs.
        threads: 0: on every core.
        report: Told of the progress.
    """
    names = sorted(name for group in groups for name in group.names)
    if basis is not None and not path.exists():
        part = path.with_name(f"{path.name}.part")
        shutil.copyfile(basis, part)
        part.replace(path)
    import_photos(path, images, groups, names)
    reader = pycolmap.ImageReaderOptions()
    if masks is not None:
        reader.mask_path = masks
    with report.watch(path, "keypoints", "Finding keypoints", len(names)):
        pycolmap.extract_features(
            path,
            images,
            image_names=names,
            reader_options=reader,
            extraction_options=extraction_options(features, threads),
        )
    if features.pairing.matches_all(len(names)):
        matching, verification = matching_options(features, seed, threads)
        with report.watch(path, "two_view_geometries", _WHAT, len(choice.all_of(len(names)))):
            pycolmap.match_exhaustive(path, matching_options=matching, verification_options=verification)
        return
    _Choosing(path, names, features, seed, threads, report).match(thorough)


class _Choosing:
    """Matches chosen pairs of the photos ``names``, which a pair tells by their numbers, in a database."""

    def __init__(
        self, database: Path, names: Sequence[str], features: Features, seed: int, threads: int, report: Reporter
    ) -> None:
        self._database, self._names, self._features = database, names, features
        self._seed, self._threads, self._report = seed, threads, report

    def match(self, thorough: Collection[str]) -> None:
        pairing = self._features.pairing
        alike = self._likeness()
        pairs = choice.promising(alike, self._names, pairing)
        self._match(pairs, len(pairs))
        index = {name: i for i, name in enumerate(self._names)}
        found = {(index[p.first], index[p.second]): p.matches for p in read_pairs(self._database)}
        found = {pair: found[pair] for pair in sorted(found.keys() & pairs)}  # the same if interrupted and completed
        more = choice.through_a_third(
            found, pairs, alike, least=pairing.least_shared, most=pairing.through_a_third
        ) | choice.with_others((index[name] for name in thorough), len(self._names))
        self._match(more - pairs, len(more | pairs))

    def _likeness(self) -> NDArray[np.float64]:
        with pycolmap.Database.open(self._database) as opened:
            ids = {i.name: i.image_id for i in opened.read_all_images()}
            descriptors = [
                sampled(np.asarray(opened.read_descriptors(ids[name]).data), (self._seed, i))
                for i, name in enumerate(self._names)
            ]
        return likeness(descriptors, self._seed)

    def _match(self, pairs: Collection[Pair], total: int) -> None:
        """Matches ``pairs``, of ``total`` that the database then holds."""
        if not pairs:
            return
        matching, verification = matching_options(self._features, self._seed, self._threads)
        with TemporaryDirectory() as folder, _plain_names(self._database, self._names) as plain:
            listed = Path(folder) / "pairs.txt"
            listed.write_text("".join(f"{plain[a]} {plain[b]}\n" for a, b in sorted(pairs)), encoding="utf-8")
            options = pycolmap.ImportedPairingOptions()
            options.match_list_path = listed
            with self._report.watch(self._database, "two_view_geometries", _WHAT, total):
                pycolmap.match_image_pairs(
                    self._database,
                    matching_options=matching,
                    pairing_options=options,
                    verification_options=verification,
                )


@contextlib.contextmanager
def _plain_names(database: Path, names: Sequence[str]) -> Iterator[list[str]]:
    """The names under which a list of pairs can tell the photos; COLMAP ends a name at a space, and skips after ``#``.

    Photos with other names are called by numbers inside the block. If the process is killed there, they are not found
    under their names, and the database is made anew.
    """
    if not any("#" in name or len(name.split()) != 1 for name in names):
        yield list(names)
        return
    plain = {name: f"{i}" for i, name in enumerate(names)}
    _rename(database, plain)
    try:
        yield list(plain.values())
    finally:
        _rename(database, {new: old for old, new in plain.items()})


def _rename(database: Path, names: dict[str, str]) -> None:
    with pycolmap.Database.open(database) as opened:
        for image in opened.read_all_images():
            image.name = names[image.name]
            opened.update_image(image)
