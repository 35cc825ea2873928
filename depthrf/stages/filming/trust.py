"""How far a camera path can be trusted: what the photos saw of each frame, and how near it comes to surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import Array, Camera, View
from depthrf.geometry.paths.timing import CameraPath
from depthrf.geometry.transforms import rotation_angle_deg
from depthrf.geometry.visibility import Look, SeenDepth, Share, VisibilityVolume, share_of
from depthrf.stages.filming.cameras import nearest_photos, with_fov

if TYPE_CHECKING:
    from depthrf.geometry.transforms import Similarity
    from depthrf.nerf.rays.batch import Bounds
    from depthrf.workspace import Workspace

_PHOTO_SIDE = 160  # pixels of the depth maps that the volume is made from
_LOOK_SIDE = 32  # pixels of the pictures that shares are counted on
_MOST_PHOTOS = 48  # more hardly see more
MOST_UNSEEN = 0.25  # share of a picture that no photo saw, above that of the photos' own viewpoints
GOOD_UNSEEN = 0.08  # the same, for a picture that hardly shows it
_MOST_CUT = 0.15  # share of a picture cut away by the near plane, above that of the nearest photos
_CLEAR_CELLS = 2.0
_MOST_TURN, _MOST_MOVE = 15.0, 0.15  # a frame: degrees, and share of the typical depth


@dataclass(frozen=True)
class Judgement:
    """What was found on a path. shares: of every frame. clearance: (N,) distance to the nearest surface, scene units.
    cut: (N,) share of each picture nearer than the near plane. faults: (N,) what is wrong with a frame; empty: nothing.
    """

    shares: list[Share]
    clearance: Array
    cut: Array
    faults: list[str]

    @property
    def trusted(self) -> bool:
        return not any(self.faults)

    def reason(self) -> str:
        """The commonest fault and the frames that have it."""
        bad = [index for index, fault in enumerate(self.faults) if fault]
        first = max({f: self.faults.count(f) for f in self.faults if f}.items(), key=lambda item: item[1])[0]
        return f"{len(bad)} of {len(self.faults)} frames cannot be trusted (frames {_ranges(bad)}): {first}"


@dataclass(frozen=True)
class Trust:
    """Judges paths. volume: what the photos saw. camera: a small one of the photos'. near, far: z-depths between which
    the model is rendered, scene units. depth: typical depth of the photos. least_clear: least distance to a surface,
    scene units. photos: their views, and what the volume says of their own pictures: own_unseen, own_cut (P,). These
    are never quite 0, at the photos' borders for instance, and are what is normal for pictures near them.
    """

    volume: VisibilityVolume
    camera: Camera
    near: float
    far: float
    depth: float
    least_clear: float
    photos: list[View]
    own_unseen: Array
    own_cut: Array

    @staticmethod
    def of(photos: Sequence[SeenDepth], normalised_from_scene: Similarity, bounds: Bounds, *, cells: int = 96) -> Trust:
        """From photos with depth, of which at least one has some."""
        photos = photos[:: -(-len(photos) // _MOST_PHOTOS)]
        volume = VisibilityVolume.of(photos, normalised_from_scene, cells)
        scale = normalised_from_scene.scale
        near, far = bounds.near / scale, bounds.far / scale
        views = [p.view.with_camera(p.view.camera.fitted(_LOOK_SIDE)) for p in photos]
        own = [volume.look(view, near, far) for view in views]
        clear = volume.clearance(np.stack([view.centre for view in views]))
        return Trust(
            volume,
            views[0].camera,
            near,
            far,
            depth=float(np.median(np.concatenate([p.depth[p.depth > 0] for p in photos]))),
            least_clear=min(_CLEAR_CELLS * 4.0 / cells / scale, 0.5 * float(clear.min())),
            photos=views,
            own_unseen=np.array([share_of(look.seen).none for look in own]),
            own_cut=np.array([look.cut for look in own]),
        )

    def judge(self, path: CameraPath, *, jumps: bool = True, most_unseen: float = MOST_UNSEEN) -> Judgement:
        """Judges every frame of a path.

        Args:
            path: The path.
            jumps: Large steps from frame to frame are faults.
            most_unseen: Share of a picture that no photo may have seen, above that of the nearest photos' own pictures.
        """
        clearance = self.volume.clearance(path.centres)
        known: dict[bytes, Look] = {}  # a picture that stands still is looked at once
        looks = []
        for index, pose in enumerate(path.cam_from_world):
            view = View("", _zoomed(self.camera, path, index), pose)
            key = pose.tobytes() + repr(view.camera).encode()
            known[key] = known.get(key) or self.volume.look(view, self.near, self.far)
            looks.append(known[key])
        shares = [share_of(look.seen) for look in looks]
        cut = np.array([look.cut for look in looks])
        faults = [""] * len(path)
        leaps = self._leaps(path) if jumps else np.zeros(len(path), bool)
        for index, (share, pose) in enumerate(zip(shares, path.cam_from_world, strict=True)):
            near = nearest_photos(View("", self.camera, pose), self.photos)[:2]
            if clearance[index] < self.least_clear:
                faults[index] = "the camera comes too close to a surface, or passes through it"
            elif share.none > self.own_unseen[near].max() + most_unseen:
                faults[index] = f"up to {max(s.none for s in shares):.0%} of the picture was seen by no photo"
            elif cut[index] > self.own_cut[near].max() + _MOST_CUT:
                faults[index] = "surfaces are nearer than the model reaches, and are cut open"
            elif leaps[index]:
                faults[index] = "the camera jumps"
        return Judgement(shares, clearance, cut, faults)

    def _leaps(self, path: CameraPath) -> NDArray[np.bool_]:
        """Which frames are far from the one before and much farther than is usual on this path, (N,)."""
        rotations = path.cam_from_world[:, :3, :3]
        turns = rotation_angle_deg(rotations[1:], rotations[:-1]) / _MOST_TURN
        moves = np.linalg.norm(np.diff(path.centres, axis=0), axis=1) / (_MOST_MOVE * self.depth)
        steps = np.maximum(turns, moves)
        return np.append(False, steps > max(1.0, 4.0 * float(np.median(steps))))


def load_trust(
    workspace: Workspace, views: Sequence[View], normalised_from_scene: Similarity, bounds: Bounds
) -> tuple[Trust | None, list[SeenDepth]]:
    """The judge of this workspace and the photos' depth it rests on; None where no photo has a depth prior."""
    photos = load_depths(workspace, views)
    return (Trust.of(photos, normalised_from_scene, bounds), photos) if photos else (None, [])


def load_depths(workspace: Workspace, views: Sequence[View]) -> list[SeenDepth]:
    """The photos' depth priors, small; empty where none has any depth."""
    from depthrf.io.depth.depth_maps import read_prior

    photos = []
    for view in sorted(views, key=lambda v: v.name):
        path = workspace.prior_depth / f"{view.stem}.npz"
        if path.is_file():
            photos.append(SeenDepth.of(view, read_prior(path)[0], _PHOTO_SIDE))
    return photos if any((p.depth > 0).any() for p in photos) else []


def _zoomed(camera: Camera, path: CameraPath, index: int) -> Camera:
    """The small camera with a frame's field of view."""
    return camera if path.fov is None else with_fov(camera, float(path.fov[index]))


def _ranges(indices: list[int]) -> str:
    """``3-8, 12`` of ascending numbers."""
    parts: list[list[int]] = []
    for index in indices:
        if parts and parts[-1][1] == index - 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    texts = [f"{a}-{b}" if b > a else str(a) for a, b in parts]
    return ", ".join(texts[:4]) + (", ..." if len(texts) > 4 else "")
