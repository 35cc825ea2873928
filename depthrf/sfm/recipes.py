"""Settings of feature extraction, matching and mapping, and the ladder in which they are tried.

Plain data; :mod:`depthrf.sfm.child` turns it into pycolmap options. From a small set of photos, one run of the mapper
with its defaults often places only some. Which ones depends on thresholds and seed. Runs cost seconds, so several are
tried, and the best model that passes the self-check is kept.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pairing:
    """Which pairs of photos are matched by SIFT (:mod:`depthrf.sfm.pairing.choice`).

    all_pairs: Up to this many pairs, all are matched.
    nearest, growth: Else each photo is matched with this many that are most like it, and then with ever fewer of the
        others: each one's rank is ``growth`` times that of the one before.
    steps: And with this many next to it in a numbered series.
    through_a_third, least_shared: And with up to this many more with which it shares at least ``least_shared``
        keypoints of a third photo.
    """

    all_pairs: int = 300
    nearest: int = 8
    growth: float = 1.5
    steps: int = 2
    through_a_third: int = 3
    least_shared: int = 40

    def matches_all(self, num_photos: int) -> bool:
        return num_photos * (num_photos - 1) // 2 <= self.all_pairs


@dataclass(frozen=True)
class Features:
    """SIFT extraction and matching.

    affine: Estimate affine shapes: more points and better poses than plain SIFT for 1.4 times its time. (Pooling
        descriptors over domain sizes on top doubled the time and brought nothing.)
    peak_threshold: Lower finds weaker keypoints.
    guided: Match a second time along the epipolar lines of the first; time and memory grow with max_features².
    """

    name: str
    max_image_size: int = 1600
    affine: bool = True
    max_features: int = 8192
    peak_threshold: float = 0.02 / 3
    guided: bool = False
    pairing: Pairing = Pairing()


def extraction_bytes(side: int) -> float:
    """Memory that one thread of SIFT extraction takes for a photo whose longer side has ``side`` pixels."""
    return 0.65e9 * (side / 1600) ** 2


@dataclass(frozen=True)
class LearnedFeatures:
    """XFeat keypoints matched by LighterGlue (:mod:`depthrf.sfm.learned`).

    min_image_size, max_image_size: Bounds of the longer side, pixels, at which photos are looked at.
    max_features: Most keypoints of a photo; time to match a pair grows with its square.
    all_pairs: Up to this many pairs, all are matched, at about a second each.
    partners: Where there are more pairs, each photo is matched with this many others, those most like it.
    """

    name: str
    min_image_size: int
    max_image_size: int
    max_features: int = 2048
    all_pairs: int = 50
    partners: int = 10


@dataclass(frozen=True)
class Mapper:
    """Thresholds of one mapper; ``kind`` is ``incremental`` or ``global`` (GLOMAP, which has none of the others).

    retriangulate: Whether the global mapper triangulates once more and adjusts all; of hundreds of photos that takes
        most of its time, and the final triangulation does it as well.
    """

    name: str
    kind: str = "incremental"
    init_min_tri_angle: float = 16.0
    init_max_forward_motion: float = 0.95
    init_min_num_inliers: int = 100
    abs_pose_min_num_inliers: int = 30
    retriangulate: bool = True


@dataclass(frozen=True)
class Rung:
    """One step of the ladder: tried while a smaller share than ``below`` of the photos is trusted.

    thorough: Photos that are not trusted yet are matched with all others.
    substitute: Tried only where the networks of the learned features cannot be had; they do better in less time.
    """

    features: Features | LearnedFeatures
    below: float
    thorough: bool = False
    substitute: bool = False


@dataclass(frozen=True)
class Trust:
    """When a photo of a model is trusted (:mod:`depthrf.sfm.judging.selfcheck`).

    min_consistency: Least share of its verified matches that agree with the model. They lie within ``max_error_px`` of
        its epipolar lines. If their rays meet at ``min_angle_deg`` or more, they meet in front of both cameras.
    min_parallax_deg: Least median angle between the rays of its matches with the photo where that is largest.
    min_ties, max_scale_change: When two pairs of photos have one scale (:mod:`depthrf.sfm.judging.scale_ties`).
    min_points: Fewest 3D points it sees.
    min_focal, max_focal: Bounds of the focal length in units of the longer image side.
    max_distortion: Bound of the absolute distortion parameters.
    """

    min_consistency: float = 0.55
    max_error_px: float = 4.0
    min_angle_deg: float = 1.0
    min_parallax_deg: float = 0.7
    min_ties: int = 6
    max_scale_change: float = 0.15
    min_points: int = 20
    min_focal: float = 0.3
    max_focal: float = 4.0
    max_distortion: float = 1.0


@dataclass(frozen=True)
class Densify:
    """Filters of the final triangulation, which also keeps points that only two photos see."""

    min_angle_deg: float = 1.5
    min_angle_two_views_deg: float = 2.0
    max_error_px: float = 4.0
    max_error_two_views_px: float = 2.0


INCREMENTAL = (
    Mapper("D"),
    Mapper("R4", "incremental", 4.0, 1.0, 50, 15),
    Mapper("R8", "incremental", 8.0, 0.95, 50, 15),
    Mapper("R16", "incremental", 16.0, 0.95, 50, 15),
)
GLOBAL = Mapper("GLOMAP", "global")
GLOBAL_OF_MANY = Mapper("GLOMAP-many", "global", retriangulate=False)
EXTEND = Mapper("X", "incremental", 4.0, 1.0, 50, 15)
"""Goes on from another run's model with new matches; its first two thresholds play no part."""

MANY_PHOTOS = 30
"""Above this a mapper run costs tens of seconds, and one seed has to do."""

GLOBAL_FIRST = 100
"""Above this many photos the global mapper is tried first. Its time grows about with their number, that of the
incremental one with its power of 1.9.
"""

NEARLY_ALL = 0.9
"""Further seeds are not worth their time once more than this share of the photos is trusted; nor are further mappers
where photos are many, for whom :data:`EXTEND` is tried instead.
"""

HUNDREDS = 60
"""Above this many photos, features of another kind cost more minutes than one missing photo is worth."""

MOST = 0.95
"""Of hundreds of photos; features of another kind are tried while a smaller share is trusted."""

FEW_PAIRS = 200
"""Up to this many pairs guided matching costs about a minute, so it is worth trying for a single missing photo."""

COLMAP_IMAGE_SIZE = 3200
"""Longer side, pixels, at which COLMAP finds keypoints by default."""


LEAST_LEARNED_SIZE = 768
"""Longer side, pixels, to which smaller photos are enlarged for learned keypoints."""


def ladder(num_photos: int, max_image_size: int) -> tuple[Rung, ...]:
    """The rungs for a set of photos. The last has COLMAP's own features, so that no photo it places is missed.

    Where the first matches chosen pairs only, it is tried a second time with all pairs of the photos that are missing.
    """
    learned = LearnedFeatures("learned", min(LEAST_LEARNED_SIZE, max_image_size), max_image_size)
    affordable = num_photos * (num_photos - 1) // 2 <= FEW_PAIRS
    affine, affine_guided = for_given_poses(max_image_size)
    another_kind = 1.0 if num_photos <= HUNDREDS else MOST
    last = Features("plain", max(max_image_size, COLMAP_IMAGE_SIZE), False)
    rungs = (
        Rung(affine, below=1.0),
        Rung(affine, below=1.0, thorough=True),
        Rung(learned, below=another_kind),
        Rung(affine_guided, below=1.0 if affordable else 0.8, substitute=True),
        Rung(Features("plain-guided", max_image_size, False, 4096, 0.002, True), below=0.8, substitute=True),
        Rung(last, below=another_kind, thorough=True),
    )
    return rungs if not affine.pairing.matches_all(num_photos) else tuple(r for r in rungs if r != rungs[1])


def for_given_poses(max_image_size: int) -> tuple[Features, Features]:
    """What is tried in turn where poses are given: many precise keypoints count there, and SIFT has most."""
    return (
        Features("affine", max_image_size),
        Features("affine-guided", max_image_size, True, 4096, 0.002, True),
    )


def features_named(name: str, max_image_size: int) -> Features | LearnedFeatures:
    """The features of one of the ladder's rungs."""
    return next(rung.features for rung in ladder(0, max_image_size) if rung.features.name == name)


def mapper_runs(num_photos: int, seed: int) -> list[tuple[Mapper, int]]:
    """Mapper settings and seeds, in the order in which they are tried: every mapper with ``seed`` first."""
    if num_photos > GLOBAL_FIRST:
        return [(mapper, seed) for mapper in (GLOBAL_OF_MANY, *INCREMENTAL)]
    more = range(seed + 1, seed + 3) if num_photos <= MANY_PHOTOS else ()
    return [(mapper, seed) for mapper in (*INCREMENTAL, GLOBAL)] + [(mapper, s) for s in more for mapper in INCREMENTAL]
