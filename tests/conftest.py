"""Shared fixtures. Tests of real data skip where the data is absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthrf import process
from tests.evaluation_data import DATA

process.tune()  # as the command line does


@pytest.fixture(scope="session")
def evaluation_data() -> Path:
    """The folder of real photos and depth (not part of the project)."""
    if not (DATA / "fox").is_dir():
        pytest.skip("no evaluation data: set DEPTHRF_DATA")
    return DATA
