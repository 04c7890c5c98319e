from __future__ import annotations

import numpy as np
import pytest

from esteemcore import simulate


def smooth_specimen(n_slices: int = 3, strength: float = 20.0, seed: int = 0) -> simulate.Specimen:
    """A small cell with a random potential that is smooth on its grid, with no symmetry at all."""
    shape, cell = (20, 16), (0.62, 0.5)
    k = [np.fft.fftfreq(n, length / n) for n, length in zip(shape, cell, strict=True)]
    low = np.exp(-(np.hypot(k[0][:, None], k[1]) ** 2) / 2 / 5.0**2)
    white = np.random.default_rng(seed).standard_normal((n_slices, *shape))
    slices = np.fft.ifft2(np.fft.fft2(white) * low).real
    return simulate.Specimen("random", "random", strength * slices / slices.std(), cell, 0.4)


@pytest.fixture(scope="session")
def crystal() -> simulate.Specimen:
    return smooth_specimen()


@pytest.fixture(scope="session")
def patterns(crystal: simulate.Specimen) -> simulate.Bank:
    return simulate.bank(crystal, simulate.Beam(80, 20, {"C10": -8.0}), extent_nm=1.2, spacing_nm=0.02)
