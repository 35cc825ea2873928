"""The demo's room, built once for all tests that photograph it: painting and lighting it takes most of their time."""

from __future__ import annotations

from functools import cache

from depthrf.demo.room import RoomScene, room_scene


@cache
def demo_room() -> RoomScene:
    return room_scene(0)
