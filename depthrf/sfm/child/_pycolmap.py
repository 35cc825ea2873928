"""The one place that imports pycolmap.

zlib must come first. pycolmap's extension exports its own deflate, crc32 and png symbols, and a libz that is loaded
after it binds to them. Writing a PNG or a compressed npz then aborts or hangs.
"""

import zlib  # noqa: F401

import pycolmap

__all__ = ["pycolmap"]
