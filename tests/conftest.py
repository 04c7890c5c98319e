"""What all tests share: where the development data are, and how slow machines are treated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile(
    "esteem", deadline=None, max_examples=30, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("esteem")

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # processes that compile the same function into one cache can leave it an index that names the other's code
    os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).resolve().parents[1] / ".pytest_cache" / f"numba-{worker}")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Leave out fsync, which takes most of the time; `tests/io/test_durable.py` has a disk of its own for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with simulated sets of known truth and real files, beside the checkout; not part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the development data are not at {SHARED_DATA}")
    return SHARED_DATA
