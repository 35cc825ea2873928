"""The clean aperture of an MP4 or MOV video: the part of its frames that is meant to be seen (ISO 14496-12, 12.1.4).

ffmpeg applies it from version 7.1 on; older ones show the border that recorders leave.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from depthrf.io.files import open_regular

_MOST_INDEX = 256 * 2**20  # bytes of a moov box
_VISUAL_ENTRY = 86  # bytes of a video's sample entry before the boxes in it


@dataclass(frozen=True)
class CleanAperture:
    """Size of the part, and how far its centre lies right of and below the frame's, in stored pixels."""

    width: float
    height: float
    right: float
    down: float


def read_clean_aperture(path: Path) -> CleanAperture | None:
    """The clean aperture of the first video track; None where the file tells none."""
    with contextlib.suppress(OSError, struct.error, ZeroDivisionError):
        return _of_index(_index(path))
    return None


def _index(path: Path) -> bytes:
    """The content of the moov box, empty where there is none."""
    with open_regular(path) as file:
        while len(head := file.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            header = 8
            if size == 1:
                size, header = struct.unpack(">Q", file.read(8))[0], 16
            if kind == b"moov":
                return file.read(size - header) if header <= size <= _MOST_INDEX else b""
            if size < header:
                break
            file.seek(size - header, 1)
    return b""


def _of_index(moov: bytes) -> CleanAperture | None:
    for track in _boxes(moov, b"trak"):
        for media in _boxes(track, b"mdia"):
            handler = next(_boxes(media, b"hdlr"), b"")
            if handler[8:12] != b"vide":
                continue
            for table in _descend(media, (b"minf", b"stbl", b"stsd")):
                for entry in _boxes(table[8:], None):
                    for box in _boxes(entry[_VISUAL_ENTRY - 8 :], b"clap"):
                        values = struct.unpack(">IIIIiIiI", box[:32])
                        numbers = [values[i] / values[i + 1] for i in range(0, 8, 2)]
                        return CleanAperture(*numbers)
    return None


def _descend(data: bytes, kinds: tuple[bytes, ...]) -> Iterator[bytes]:
    if not kinds:
        yield data
        return
    for box in _boxes(data, kinds[0]):
        yield from _descend(box, kinds[1:])


def _boxes(data: bytes, kind: bytes | None) -> Iterator[bytes]:
    """Contents of the boxes of a kind, or of all, that follow each other in ``data``."""
    at = 0
    while at + 8 <= len(data):
        size, found = struct.unpack_from(">I4s", data, at)
        if size < 8:
            return
        if kind is None or found == kind:
            yield data[at + 8 : at + size]
        at += size
