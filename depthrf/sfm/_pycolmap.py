"""The one place that imports pycolmap.

zlib must come first: pycolmap's extension exports its own deflate, crc32 and png symbols, and a libz loaded after it
binds to them, so that writing a PNG or a compressed npz later aborts or hangs.
"""

import zlib  # noqa: F401

import pycolmap

__all__ = ["pycolmap"]
