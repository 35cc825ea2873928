"""check: will these photos do? A look at small copies, in seconds, without a workspace and without writing anything."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.stages.ingesting.fates import tell_companions
from depthrf.stages.ingesting.material import Material, look
from depthrf.stages.ingesting.options import Options
from depthrf.stages.ingesting.panoramas import cut_panoramas

if TYPE_CHECKING:
    from rich.table import Table

    from depthrf.io.photos.folder import Rejected, UsablePhoto
    from depthrf.sfm.preflight.foresight import MeasuredPhoto, Pairs, PhotoVerdict, SetVerdict
    from depthrf.sfm.preflight.quick_match import QuickPair

_SIDE = 800  # pixels
_KEYPOINTS = 3000
_FEW_PHOTOS = 12  # that networks match in seconds, where SIFT finds too little
_MANY_PHOTOS, _KEYPOINTS_OF_MANY = 24, 2000  # time grows with the square of both
_ALL_PAIRS = 1000  # beyond, pairs are chosen


@dataclass(frozen=True)
class Checked:
    """The verdict on a folder of photos, and its files that are not used."""

    report: SetVerdict
    rejected: tuple[Rejected, ...]
    seconds: float


def run(source: Path, options: Options | None = None) -> Checked:
    """Looks at the photos of a folder or export, or at frames of a video, and prints what it finds.

    Args:
        source: The folder, video or export with poses.
        options: As ``ingest`` takes them; None for the defaults.

    Raises:
        UsageError: Photos or masks do not exist or are of another kind.
        DepthrfError: A video cannot be decoded, or a mask does not fit its photo.
    """
    from depthrf.io.photos.clip import check_source

    start = time.monotonic()
    check_source(source)
    with tempfile.TemporaryDirectory(prefix="depthrf-check-") as scratch:
        found = _photos(source, options or Options(), Path(scratch))
        report = _check(found.material, found.photos, options.masks if options else None)
    return Checked(report, tuple(found.rejected), round(time.monotonic() - start, 1))


@dataclass(frozen=True)
class _Found:
    """What ``ingest`` would use; a video's frames lie in the scratch folder."""

    material: Material
    photos: list[UsablePhoto]
    rejected: list[Rejected]


def _photos(source: Path, options: Options, scratch: Path) -> _Found:
    from depthrf.io.photos.clip import take_frames
    from depthrf.io.photos.folder import copy_photos, examine_photos

    if not source.is_dir():
        return _Found(Material(source, []), take_frames(source, scratch, options.frames)[0], [])
    material = look(source, options)
    tell_companions(material.entries)
    capture = material.capture
    if capture is not None:
        console.note(f"{capture.kind} found: {len(capture.shots)} photos with poses")
        for remark in capture.remarks:
            console.warn(f"{capture.kind}: {remark}")
        if capture.shots[0].frame is not None:
            return _Found(material, take_frames(capture.shots[0].photo, scratch, options.frames)[0], [])
    cuts = options.panorama == "cut" and capture is None
    good, rejected = examine_photos(material.photos, panoramas=cuts, preferred=material.referred)
    if cuts:
        panoramas, gone = copy_photos([photo for photo in good if photo.info.is_panorama], scratch)
        views = [replace(view, path=scratch / view.name) for view in cut_panoramas(panoramas, scratch)]
        good = [photo for photo in good if not photo.info.is_panorama] + views
        rejected += gone
    return _Found(material, good, [*rejected, *material.left_out])


def _check(material: Material, good: list[UsablePhoto], given_masks: Path | None) -> SetVerdict:
    import cv2

    from depthrf.io.companions import find_masks
    from depthrf.io.photos.folder import in_threads
    from depthrf.sfm.judging.diagnose import MIN_PHOTOS
    from depthrf.sfm.preflight.foresight import RED, judge

    masks = find_masks(material.folder, [photo.path for photo in good], given_masks, material.masks).by_photo
    count = _KEYPOINTS if len(good) <= _MANY_PHOTOS else _KEYPOINTS_OF_MANY
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the photos are the parallel work
    try:
        seen = in_threads("looking at photos", lambda photo: _look(photo, masks.get(photo.path), count), good)
        pairs = _match(seen)
    finally:
        cv2.setNumThreads(threads)
    report = judge(seen, pairs)
    if report.verdict == RED and MIN_PHOTOS <= len(good) <= _FEW_PHOTOS:
        report = _with_networks(good, seen, masks) or report
    _print(report)
    return report


def _with_networks(
    good: Sequence[UsablePhoto], seen: Sequence[MeasuredPhoto], masks: Mapping[Path, Path]
) -> SetVerdict | None:
    """The verdict with matches by XFeat and LighterGlue, which the sfm stage tries next; None without their weights."""
    from depthrf.io.masks import read_upright_mask
    from depthrf.io.photos.folder import in_threads
    from depthrf.io.photos.images import read_rgb
    from depthrf.io.weights.learned_features import installed
    from depthrf.sfm.preflight.foresight import judge

    weights = installed("auto")
    if weights is None:
        return None
    from depthrf.device import single_threaded
    from depthrf.sfm.preflight.learned_match import LearnedMatch

    networks = LearnedMatch(weights)

    def look(item: tuple[UsablePhoto, MeasuredPhoto]) -> MeasuredPhoto:
        photo, before = item
        mask = masks.get(photo.path)
        rgb = read_rgb(photo.path, photo.info.white)
        used = read_upright_mask(photo, mask) if mask else None
        return replace(before, keypoints=networks.find_keypoints(rgb, before.keypoints, used))

    with single_threaded():
        again = in_threads("looking closer", look, list(zip(good, seen, strict=True)))
        couples = list(combinations(again, 2))
        found = in_threads(
            "matching pairs by networks", lambda c: networks.match(c[0].keypoints, c[1].keypoints), couples
        )
    return judge(again, {(a.name, b.name): pair for (a, b), pair in zip(couples, found, strict=True)})


def facts(checked: Checked) -> dict[str, Any]:
    """Everything that was found, for scripts: verdict, advice, problems, photos, links, groups, files not used."""
    report = {f.name: getattr(checked.report, f.name) for f in fields(checked.report)}
    return {**report, "rejected": checked.rejected, "seconds": checked.seconds}


def _look(photo: UsablePhoto, mask: Path | None, count: int) -> MeasuredPhoto:
    import cv2

    from depthrf.io.masks import nearest, read_upright_mask
    from depthrf.io.naming import shown
    from depthrf.io.photos.images import read_rgb
    from depthrf.sfm.preflight.foresight import MeasuredPhoto
    from depthrf.sfm.preflight.photo_quality import measure_quality
    from depthrf.sfm.preflight.quick_match import find_keypoints

    info = photo.info
    scale = min(1.0, _SIDE / max(info.width, info.height))
    size = (max(1, round(info.width * scale)), max(1, round(info.height * scale)))
    rgb = cv2.resize(read_rgb(photo.path, photo.info.white), size, interpolation=cv2.INTER_AREA)
    focal = info.focal_px * scale if info.focal_px else None
    used = nearest(read_upright_mask(photo, mask), *size) if mask else None
    keypoints = find_keypoints(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), count, focal_px=focal, used=used)
    name, quality = shown(photo.path.name), measure_quality(rgb)
    return MeasuredPhoto(name, info.width, info.height, info.focal_px, info.camera_name, quality, keypoints)


def _match(seen: Sequence[MeasuredPhoto]) -> Pairs:
    """All pairs of few photos. Of many, those that promise most, and all of photos that these leave unconnected."""
    from depthrf.io.photos.folder import in_threads
    from depthrf.sfm.pairing import choice
    from depthrf.sfm.preflight.quick_match import MIN_MATCHES, likeness_of, match_pair
    from depthrf.sfm.recipes import Pairing

    pairing, names = Pairing(all_pairs=_ALL_PAIRS), [photo.name for photo in seen]
    pairs: dict[choice.Pair, QuickPair] = {}

    def match(chosen: set[choice.Pair]) -> None:
        missing = sorted(chosen - pairs.keys())
        found = in_threads("matching pairs", lambda p: match_pair(seen[p[0]].keypoints, seen[p[1]].keypoints), missing)
        pairs.update(zip(missing, found, strict=True))

    if pairing.matches_all(len(seen)):
        match(choice.all_of(len(seen)))
    else:
        from depthrf.sfm.judging import diagnose

        match(choice.promising(likeness_of([photo.keypoints for photo in seen]), names, pairing))
        links = [diagnose.Link(names[a], names[b], p.num_matches, p.flat) for (a, b), p in pairs.items()]
        _, *others = diagnose.groups(names, [link for link in links if link.num_matches >= MIN_MATCHES])
        match(choice.with_others((names.index(name) for group in others for name in group), len(seen)))
    return {(names[a], names[b]): pairs[a, b] for a, b in sorted(pairs)}


def _print(report: SetVerdict) -> None:
    if report.photos:
        console.console().print(_table(report.photos))
    for problem in report.problems[1:]:
        console.note(f"  {problem.what} {problem.advice}")
    if report.weakest_link is not None:
        link = report.weakest_link
        console.note(f"  weakest link: {link.first} and {link.second}, {link.num_matches} matches")
    if report.enough is not None:
        console.note(
            f"  {report.enough} of the {len(report.photos)} photos, at equal steps, overlap well too: "
            f"--max-photos {report.enough} saves most of the time"
        )


def _table(photos: Sequence[PhotoVerdict]) -> Table:
    """One row a photo; what is the same for all of them stands in the title."""
    from rich.table import Table

    cells = {
        "photo": [p.name for p in photos],
        "pixels": [f"{p.width}×{p.height}" for p in photos],
        "camera": [p.camera or "-" for p in photos],
        "focal px": [f"{p.focal_px:.0f}" if p.focal_px else "-" for p in photos],
        "blur px": [_number(p.blur_px, ".1f") for p in photos],
        "stops": [_number(p.stops, "+.1f") for p in photos],
        "links": [str(p.num_links) for p in photos],
        "best with": [p.best or "-" for p in photos],
        "matches": [str(p.matches) for p in photos],
        "angle": [_number(p.angle_deg, ".0f", "°") for p in photos],
        "remarks": [", ".join(p.remarks) for p in photos],
    }
    same = [name for name in ("pixels", "camera", "focal px") if len(set(cells[name])) == 1]
    common = [f"{name} {cells[name][0]}" for name in same if cells[name][0] != "-"]
    unknown = "" if any(p.focal_px for p in photos) else "no focal length in EXIF"
    title = "; ".join(filter(None, [f"{len(photos)} photos", *common, unknown]))
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False, header_style="bold")
    for name in (n for n in cells if n not in same):
        words = name in ("photo", "camera", "best with", "remarks")
        width = max(map(len, cells[name])) if words and name != "remarks" else None
        style = "yellow" if name == "remarks" else ""
        table.add_column(name, justify="left" if words else "right", style=style, min_width=width)
    for row in zip(*(column for name, column in cells.items() if name not in same), strict=True):
        table.add_row(*map(console.cell, row))
    return table


def _number(value: float, form: str, unit: str = "") -> str:
    return "-" if value != value else f"{value:{form}}{unit}"
