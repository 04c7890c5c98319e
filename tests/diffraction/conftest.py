"""What the tests of diffraction share: a folder for `known_disks`, grains, their frames and their disks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from esteemcore import diffraction, simulate

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def grains() -> simulate.Polycrystal:
    """Three grains and an amorphous area, on a detector without distortion."""
    return simulate.polycrystal((12, 12), (96, 96), radius_px=4.2, electrons=6000, seed=3)


@pytest.fixture(scope="session")
def frames(grains) -> np.ndarray:
    return grains.frames(seed=1)


@pytest.fixture(scope="session")
def table(frames, grains) -> diffraction.DiskTable:
    return diffraction.find_disks(frames, grains.radius_px)
