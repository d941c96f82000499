"""Where the validation data lives: beside the checkout, never inside it."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("ROOFWRIGHT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
ORACLES = SHARED / "oracles"
TRUTH = SHARED / "truth"
needs_oracles = pytest.mark.skipif(not ORACLES.is_dir(), reason="the oracle data is not beside the checkout")
needs_truth = pytest.mark.skipif(not TRUTH.is_dir(), reason="the measurements are not beside the checkout")
