"""The meter of components: more dose shows more of them, and drift, bins and energy steps add none."""

from __future__ import annotations

import numpy as np
import pytest
from known_spectra import rates

from esteemcore import spectral
from esteemcore.errors import ParameterError
from esteemcore.events import SparseSI


def moved(rate, shift, rng, margin=8):
    """Counts of a specimen that lies at another place: sample (i, j) was taken at (i + dy, j + dx)."""
    dy, dx = shift
    part = rate[margin + dy : rate.shape[0] - margin + dy, margin + dx : rate.shape[1] - margin + dx]
    return rng.poisson(part)


def test_components_rise_with_the_dose_and_never_beyond_the_truth(rng) -> None:
    rate = rates(rng, 0.4, 3, (64, 64))
    meter = spectral.ComponentMeter((48, 48), 200)
    found = []
    for frame in range(40):
        shift = rng.integers(-6, 7, 2)
        meter.add(moved(rate, shift, rng), shift)
        if frame in (0, 3, 12, 39):
            found.append(meter.rank().n)
    told = [n for n in found if n is not None]
    assert told == sorted(told)
    assert found[-1] == 3
    assert found[0] in (0, 1, None)


@pytest.mark.parametrize("pixels", [1, 2])
def test_one_component_stays_one_under_drift(rng, pixels) -> None:
    rate = rates(rng, 3.0, 1, (64, 64))
    meter = spectral.ComponentMeter((48, 48), 200, pixels)
    for _ in range(20):
        shift = rng.integers(-6, 7, 2)
        meter.add(moved(rate, shift, rng), shift + rng.uniform(-0.4, 0.4, 2))
    assert meter.rank().n == 1


def test_events_and_arrays_give_the_same_sums(rng) -> None:
    counts = rng.poisson(0.1, (7, 9, 600))
    dense, sparse = spectral.ComponentMeter((7, 9), 600, 2), spectral.ComponentMeter((7, 9), 600, 2)
    for shift, energy in (((0, 0), 0), ((2, -3), 5), ((-1.4, 4), -11)):
        dense.add(counts, shift, energy)
        sparse.add(SparseSI.from_dense(counts), shift, energy)
    np.testing.assert_array_equal(dense._sum, sparse._sum)
    np.testing.assert_array_equal(dense._visits, sparse._visits)
    assert dense.bins == (2, 3)


def test_counts_inside_are_kept_and_lie_where_the_shift_says(rng) -> None:
    frame = np.zeros((8, 8, 4))
    frame[2, 3, 1] = 5
    meter = spectral.ComponentMeter((8, 8), 4)
    meter.add(frame, (1.2, -2.4), energy_shift_channels=1.6)
    assert meter._sum[3, 1, 3] == 5
    assert meter._sum.sum() == 5
    meter.add(frame, (-3, 0))
    assert meter._sum.sum() == 5  # it fell off


def test_an_energy_drift_that_is_known_adds_no_component(rng) -> None:
    rate = rates(rng, 3.0, 2, (48, 48))
    known = spectral.ComponentMeter((48, 48), 200)
    for step in range(8):
        counts = rng.poisson(np.roll(rate, 3 * step, axis=2) * (np.arange(200) >= 3 * step))
        known.add(counts, energy_shift_channels=-3 * step)
    assert known.rank().n == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.rank(), "no frame"),
        (lambda m: m.add(np.ones((4, 4, 3))), r"expected \(4, 4, 5\)"),
        (lambda m: m.add(np.full((4, 4, 5), np.nan)), "NaN"),
        (lambda m: m.add(np.ones((4, 4, 5)), (np.nan, 0)), "finite"),
        (lambda m: m.add(np.ones((4, 4, 5)), 3.0), "two finite numbers"),
        (lambda m: spectral.ComponentMeter((4, 4), 0), "channels"),
        (lambda m: spectral.ComponentMeter((4, 4), 5, 0), "pixels"),
    ],
)
def test_bad_arguments_are_refused(call, message) -> None:
    with pytest.raises(ParameterError, match=message):
        call(spectral.ComponentMeter((4, 4), 5))
