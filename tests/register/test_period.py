"""The strongest wave of an image, and the nearest cells of a lattice."""

import numpy as np
import pytest
import series as make

from esteemcore.register import hops
from esteemcore.register.grid import Grid
from esteemcore.register.rigid import LOOSE_PERIODS, LOOSE_PX, Chain, Correlator

SHAPE = (96, 80)


@pytest.mark.parametrize(("period", "angle_deg"), [(3.5, 10.0), (5.0, 60.0), (12.0, 130.0)])
def test_the_period_of_a_wave_is_found_in_a_single_noisy_frame(period, angle_deg) -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    along = y * np.sin(np.deg2rad(angle_deg)) + x * np.cos(np.deg2rad(angle_deg))
    counts = np.random.default_rng(0).poisson(1 + 0.6 * np.cos(2 * np.pi * along / period)).astype(np.float32)
    correlator = Correlator(SHAPE)
    spectrum = correlator.transform(counts, None)
    assert correlator.periods.strongest(spectrum) == pytest.approx(period, rel=0.1)
    chain = Chain(correlator)
    chain.add(spectrum)
    assert chain.loose_px == pytest.approx(min(LOOSE_PX, LOOSE_PERIODS * period), rel=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_period(seed) -> None:
    noise = np.random.default_rng(seed).poisson(2.0, SHAPE).astype(np.float32)
    correlator = Correlator(SHAPE)
    spectrum = correlator.transform(noise, None)
    assert correlator.periods.strongest(spectrum) == np.inf
    chain = Chain(correlator)
    chain.add(spectrum)
    assert chain.loose_px == LOOSE_PX


@pytest.mark.parametrize("spacing", [5.0, 6.5, 11.0])
def test_the_nearest_cells_of_a_lattice_are_possible_hops(spacing) -> None:
    shape = (96, 96)
    scene = make.lattice(shape, spacing, vacancies=0.0, boundary=False, width=max(0.17 * spacing, 1.0), centred=False)
    image = make.sample(scene, np.zeros((1, 96, 2)), shape, None)[0].astype(np.float32)
    grid = Grid(shape, 8)
    grid.add(image, np.ones(shape, np.float32), np.zeros((96, 2)))
    corrected = hops.Corrected(grid, min((spacing / 9) ** 1.5, 1.0))
    found = hops.possible_hops(corrected, corrected.seen(*corrected.of_sums(grid.total, grid.weights), 0.5), 32)
    angle = np.deg2rad(7.0)
    cell = spacing * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for vector in (*cell, *-cell):
        assert np.hypot(*(found[:8] - vector).T).min() < 0.3
