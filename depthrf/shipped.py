"""Data files that come with the program: presets and the manifest of the weights."""

from __future__ import annotations

from pathlib import Path


def shipped(name: str) -> Path:
    """A file or folder by its path in the repository: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / name
    return installed if installed.exists() else package.parent / name
