"""Will these photos do? A verdict from small copies of them, before any long work. Pure.

``red``: structure from motion will fail or lose most photos. ``amber``: it will probably work, but lose some or need
more. ``green``: nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from depthrf.sfm.judging import diagnose
from depthrf.sfm.judging.diagnose import Link
from depthrf.sfm.preflight.photo_quality import Quality
from depthrf.sfm.preflight.quick_match import MIN_MATCHES, QuickKeypoints, QuickPair, shared_focal, viewing_angle_deg
from depthrf.sfm.preflight.thinning import enough
from depthrf.sfm.preflight.tied import largest_tied_group

GREEN, AMBER, RED = "green", "amber", "red"

_WEAK_LINK = 30  # matches; the sfm stage sometimes needs more than one attempt below
_FEW_PHOTOS = 5
_SAME_VIEW = 0.004  # median shift of matches, share of the longer side
_BLURRED_PX, _BLURRED_FACTOR = 1.8, 2.0  # of the small copy; of the set's median
_UNUSABLE_SHARE = 0.5  # of the pixels too dark or too bright
_EXPOSURE_STOPS = 1.3

_OVERLAP_ADVICE = "Neighbouring photos should show at least half of the same scene, in focus and with visible texture."

Pairs = Mapping[tuple[str, str], QuickPair]


@dataclass(frozen=True)
class MeasuredPhoto:
    """What was measured of one photo. camera: its EXIF camera, empty where unknown."""

    name: str
    width: int
    height: int
    focal_px: float | None
    camera: str
    quality: Quality
    keypoints: QuickKeypoints


@dataclass(frozen=True)
class PhotoVerdict:
    """One photo's row of the table.

    best: The photo with which it has most matches. matches: How many. angle_deg: Rough angle between the two photos'
    views; nan without parallax. stops: Brightness relative to the set's median. remarks: What is wrong with it.
    """

    name: str
    width: int
    height: int
    focal_px: float | None
    camera: str
    blur_px: float
    dark: float
    bright: float
    stops: float
    num_keypoints: int
    num_links: int
    best: str | None
    matches: int
    angle_deg: float
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the set. what: A sentence that says it. advice: One that says what to do."""

    level: str
    what: str
    advice: str
    photos: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetVerdict:
    """The verdict on a set of photos.

    summary, advice: The worst problem. groups: Connected photos, the largest group first. weakest_link: The link whose
    loss would split the largest group. enough: So many photos at equal steps would do; None where all are needed.
    """

    verdict: str
    summary: str
    advice: str
    problems: tuple[Problem, ...]
    photos: tuple[PhotoVerdict, ...]
    links: tuple[Link, ...]
    groups: tuple[tuple[str, ...], ...]
    weakest_link: Link | None
    duplicates: tuple[tuple[str, str], ...]
    enough: int | None


def judge(photos: Sequence[MeasuredPhoto], pairs: Pairs, min_share: float = 0.5) -> SetVerdict:
    """The verdict on a set.

    Args:
        photos: The usable photos, in the order of their names.
        pairs: Those of them that were matched, by names in that order.
        min_share: Smallest share of the photos with which the sfm stage goes on.
    """
    names = [p.name for p in photos]
    links = [Link(a, b, p.num_matches, p.flat) for (a, b), p in pairs.items() if p.num_matches >= MIN_MATCHES]
    duplicates = tuple(k for k, p in pairs.items() if p.num_matches >= 2 * MIN_MATCHES and p.shift < _SAME_VIEW)
    groups = diagnose.groups(names, links)
    weakest = diagnose.weakest_link(groups[0], links) if groups else None
    remarks, angles = _remarks(photos, duplicates), _angles(photos, pairs, links)
    middle = float(np.median([p.quality.brightness for p in photos] or [0.0]))
    rows = tuple(_row(p, middle, links, angles.get(p.name, float("nan")), remarks[p.name]) for p in photos)
    retake = _photo_problems(rows)
    spoilt = {name for problem in retake for name in problem.photos}
    graph = _graph_problems(names, links, pairs, duplicates, min_share)
    consequences = [f for f in graph if f.level == AMBER and spoilt & set(f.photos)]
    problems = [
        *_count_problems(names, duplicates),
        *(f for f in graph if f not in consequences),
        *retake,
        *consequences,
        *_duplicate_problems(duplicates),
    ]
    problems.sort(key=lambda f: f.level != RED)
    verdict = RED if any(f.level == RED for f in problems) else AMBER if problems else GREEN
    summary = problems[0].what if problems else "The photos overlap well."
    advice = problems[0].advice if problems else "Go ahead."
    return SetVerdict(
        verdict,
        summary,
        advice,
        tuple(problems),
        rows,
        tuple(links),
        tuple(tuple(g) for g in groups),
        weakest,
        duplicates,
        enough(names, links),
    )


def _row(
    photo: MeasuredPhoto, middle: float, links: Sequence[Link], angle_deg: float, remarks: list[str]
) -> PhotoVerdict:
    near = diagnose.neighbours(photo.name, links)
    best, matches = near[0] if near else (None, 0)
    return PhotoVerdict(
        name=photo.name,
        width=photo.width,
        height=photo.height,
        focal_px=photo.focal_px,
        camera=photo.camera,
        blur_px=photo.quality.blur_px,
        dark=photo.quality.dark,
        bright=photo.quality.bright,
        stops=photo.quality.brightness - middle,
        num_keypoints=len(photo.keypoints.xy),
        num_links=len(near),
        best=best,
        matches=matches,
        angle_deg=angle_deg,
        remarks=(*remarks, *([] if near else ["shares no view"])),
    )


def _angles(photos: Sequence[MeasuredPhoto], pairs: Pairs, links: Sequence[Link]) -> dict[str, float]:
    """Of each photo the viewing angle of the pair with its best neighbour."""
    keypoints = {p.name: p.keypoints for p in photos}
    focal = shared_focal((p, keypoints[a], keypoints[b]) for (a, b), p in pairs.items())
    angles = {}
    for name in keypoints:
        if near := diagnose.neighbours(name, links):
            key = (name, near[0][0]) if (name, near[0][0]) in pairs else (near[0][0], name)
            angles[name] = viewing_angle_deg(pairs[key], keypoints[key[0]], keypoints[key[1]], focal)
    return angles


def _remarks(photos: Sequence[MeasuredPhoto], duplicates: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    blurs = [p.quality.blur_px for p in photos if p.quality.blur_px == p.quality.blur_px]
    usual = float(np.median(blurs)) if blurs else 0.0
    middle = float(np.median([p.quality.brightness for p in photos] or [0.0]))
    remarks: dict[str, list[str]] = {p.name: [] for p in photos}
    for photo in photos:
        quality, mine = photo.quality, remarks[photo.name]
        if quality.blur_px > max(_BLURRED_PX, _BLURRED_FACTOR * usual):
            mine.append("blurred")
        stops = quality.brightness - middle
        if quality.bright > _UNUSABLE_SHARE or stops > _EXPOSURE_STOPS:
            mine.append("too bright")
        elif quality.dark > _UNUSABLE_SHARE or stops < -_EXPOSURE_STOPS:
            mine.append("too dark")
    for first, second in duplicates:
        remarks[second].append(f"same view as {first}")
    return remarks


def _count_problems(names: Sequence[str], duplicates: Sequence[tuple[str, str]]) -> list[Problem]:
    num_views = len(names) - len({second for _, second in duplicates})
    found = f"Only {num_views} {'photos' if num_views == len(names) else 'different views'}."
    if num_views < diagnose.MIN_PHOTOS:
        what = diagnose.too_few(num_views) if num_views == len(names) else found
        return [Problem(RED, what, "Walk around the scene and take 10 or more photos, a small step apart.")]
    if num_views < _FEW_PHOTOS:
        return [Problem(AMBER, found, "Take some more: 10 are much better.")]
    return []


def _graph_problems(
    names: Sequence[str], links: Sequence[Link], pairs: Pairs, duplicates: Sequence[tuple[str, str]], min_share: float
) -> list[Problem]:
    if len(names) < 2:
        return []
    if not links:
        return [Problem(RED, "No two photos share enough detail.", _OVERLAP_ADVICE, tuple(names))]
    moved = [link for link in links if (link.first, link.second) not in duplicates]
    turned = [link for link in moved if pairs[link.first, link.second].turned]
    if moved and len(turned) == len(moved):
        return [Problem(RED, "The camera only turned on one spot, so nothing shows depth.", diagnose.PARALLAX_ADVICE)]
    problems = []
    parts = diagnose.groups(names, links)
    if len(parts) > 1:
        problems.append(_split(names, parts, min_share))
    elif tied := _untied(names, links, pairs, min_share):
        problems.append(tied)
    elif moved and all(link.flat for link in moved):
        problems.append(Problem(AMBER, "All matches lie on one flat surface.", diagnose.PARALLAX_ADVICE))
    spun = [n for n in names if _only_turned(n, moved, turned)]
    if spun:
        what = f"{_listed(spun)} {_was(spun)} taken from the same spot as the neighbours."
        problems.append(Problem(AMBER, what, diagnose.PARALLAX_ADVICE, tuple(spun)))
    weakest = diagnose.weakest_link(parts[0], links)
    if weakest is not None and weakest.num_matches < _WEAK_LINK and len(parts[0]) > 2:
        first, second = sorted((weakest.first, weakest.second))
        what = f"Only {weakest.num_matches} matches between {first} and {second} hold the photos together."
        advice = f"Take a photo between {first} and {second}."
        problems.append(Problem(AMBER, what, advice, (first, second)))
    return problems


def _untied(names: Sequence[str], links: Sequence[Link], pairs: Pairs, min_share: float) -> Problem | None:
    """What is wrong with photos that overlap in pairs, where too few of them share details three at a time."""
    tied = largest_tied_group(pairs)
    if len(tied) >= _fewest(names, min_share) or len(names) < diagnose.MIN_PHOTOS:
        return None
    weakest = diagnose.weakest_link(names, links)
    assert weakest is not None
    first, second = sorted((weakest.first, weakest.second))
    what = "Hardly any detail shows in three photos, so nothing tells how far apart they were taken."
    return Problem(RED, what, f"Take photos between {first} and {second}.", (first, second))


def _fewest(names: Sequence[str], min_share: float) -> int:
    """Photos that the sfm stage has to place to go on."""
    return max(diagnose.MIN_PHOTOS, round(min_share * len(names)))


def _only_turned(name: str, moved: Sequence[Link], turned: Sequence[Link]) -> bool:
    mine = [link for link in moved if name in (link.first, link.second)]
    return bool(mine) and all(link in turned for link in mine)


def _split(names: Sequence[str], parts: Sequence[Sequence[str]], min_share: float) -> Problem:
    largest = parts[0]
    alone = [part[0] for part in parts[1:] if len(part) == 1]
    enough = len(largest) >= _fewest(names, min_share)
    if len(alone) == len(parts) - 1:
        what = f"{_listed(alone)} {'shares' if len(alone) == 1 else 'share'} no view with the other photos."
    else:
        what = f"The photos fall into {len(parts)} groups that share no view."
    first, second = diagnose.bridge(names, largest, [n for part in parts[1:] for n in part])
    photos = tuple(n for part in parts[1:] for n in part)
    return Problem(AMBER if enough else RED, what, f"Take photos between {first} and {second}.", photos)


def _photo_problems(rows: Sequence[PhotoVerdict]) -> list[Problem]:
    problems = []
    for remark, what in (("blurred", "blurred"), ("too dark", "far darker"), ("too bright", "far brighter")):
        names = [row.name for row in rows if remark in row.remarks]
        if names:
            than = "" if remark == "blurred" else " than the others"
            advice = f"Take {_listed(names)} again{'' if remark == 'blurred' else ' with the exposure locked'}."
            problems.append(Problem(AMBER, f"{_listed(names)} {_is(names)} {what}{than}.", advice, tuple(names)))
    return problems


def _duplicate_problems(duplicates: Sequence[tuple[str, str]]) -> list[Problem]:
    if not duplicates:
        return []
    spare = sorted({second for _, second in duplicates})
    first, second = duplicates[0]
    what = f"{second} shows the same view as {first}{f' (and {len(spare) - 1} more do so)' if spare[1:] else ''}."
    return [Problem(AMBER, what, f"Leave out {_listed(spare)}.", tuple(spare))]


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    if len(names) <= 4:
        return f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{', '.join(names[:3])} and {len(names) - 3} more"


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _was(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"
