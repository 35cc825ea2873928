"""Where the evaluation data lies: real photos, depth and lego, no part of the project."""

from __future__ import annotations

import os
from pathlib import Path

DATA = Path(os.environ.get("DEPTHRF_DATA", Path(__file__).parents[2] / "shared" / "data"))
