"""Downloads of these tests come from this machine."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEPTHRF_OFFLINE")
