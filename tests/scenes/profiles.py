"""ICC profiles made by hand, as phones, cameras and scanners embed them (ICC.1:2010, version 2 and 4 tags)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

# Display P3 and Adobe RGB: primaries in XYZ, adapted to D50, as their published profiles hold them.
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
_D50 = (0.9642, 1.0, 0.8249)


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def srgb_curve() -> bytes:
    return b"para\0\0\0\0\0\x03\0\0" + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256)) + b"\0\0"


def rgb_profile(name: str, primaries: Sequence[Sequence[float]], curve: bytes) -> bytes:
    tags = {
        key: b"XYZ \0\0\0\0" + _fixed(*xyz) for key, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)
    }
    return _profile(name, b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def grey_profile(name: str, curve: bytes) -> bytes:
    return _profile(name, b"GRAY", {b"kTRC": curve})


def _profile(name: str, space: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = name.encode("ascii") + b"\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_D50),
        **tags,
    }
    directory, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for key, data in tags.items():
        directory += key + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = bytearray(128)
    head[0:4] = struct.pack(">I", start + len(body))
    head[8:12] = b"\x02\x40\0\0" if b"para" not in body else b"\x04\0\0\0"
    head[12:24] = b"mntr" + space + b"XYZ "
    head[36:40] = b"acsp"
    head[68:80] = _fixed(*_D50)
    return bytes(head) + directory + body
