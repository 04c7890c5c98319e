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


@pytest.fixture(scope="session")
def bent() -> tuple[simulate.Polycrystal, np.ndarray]:
    """Bent grains of uneven thickness and two amorphous phases, an elliptical detector, and 6 px of descan."""
    truth = simulate.polycrystal(
        (20, 20),
        (80, 80),
        electrons=3000,
        grains=4,
        amorphous=2,
        descan_px=6.0,
        waves=0.8,
        ellipse=(1.05, 30.0),
        seed=2,
    )
    return truth, truth.frames(seed=1)
