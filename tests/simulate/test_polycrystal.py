"""Simulated grains: electrons are conserved, disks lie where the truth says, and strain moves them as it should."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

from esteemcore import simulate

polycrystals = importlib.import_module("esteemcore.simulate.polycrystal")


@pytest.fixture(scope="module")
def made() -> simulate.Polycrystal:
    return simulate.polycrystal((4, 6), (96, 96), grains=2, amorphous=2, ellipse=(1.08, 30.0), descan_px=4.0, seed=2)


def test_electrons_are_conserved(made) -> None:
    """Each frame holds its electrons, less those of disks that the detector does not hold; every share adds up."""
    np.testing.assert_allclose(made.member.sum(axis=0), 1)
    for position in (0, 13, 23):
        on_it = made.electrons[made.frame == position].sum() + made.diffuse[position].sum()
        assert 4500 < on_it <= 5000 * (1 + 1e-9)
        assert made.expected(position).sum() == pytest.approx(on_it, rel=0.04)  # soft edges, disks cut by the border


def test_a_disk_lies_at_its_place_with_its_electrons(made) -> None:
    rows, columns = np.arange(-20, 120)[:, None], np.arange(-20, 120)[None, :]
    for i in (0, 5, 17):
        flat = made.disk(i, rows, columns)
        tilt = made.inside[i, :2] @ np.ones(2)
        assert flat.sum() == pytest.approx(made.electrons[i], rel=0.04)
        middle = np.array([(rows * flat).sum(), (columns * flat).sum()]) / flat.sum()
        assert np.hypot(*(middle - (made.y[i], made.x[i]))) < 0.35 * made.radius_px * (abs(tilt) + 0.3)


def test_the_detector_stretches_circles() -> None:
    matrix = polycrystals.distortion(1.08, 30.0)
    assert np.linalg.det(matrix) == pytest.approx(1)
    along = np.array([np.sin(np.deg2rad(30)), np.cos(np.deg2rad(30))])  # (row, column)
    np.testing.assert_allclose(matrix @ along, 1.08**0.5 * along)


def test_reciprocal_vectors_shrink_where_the_crystal_is_stretched() -> None:
    def stretched(u, v):
        return np.stack([0.05 * (u > 0), 0 * u, 0 * u, 0 * u], axis=-1)

    made = simulate.polycrystal((1, 2), (96, 96), strain=stretched, descan_px=0.0, seed=1)
    left, right = (np.flatnonzero(made.frame == i) for i in (0, 1))
    n = min(len(left), 9)
    dx = (made.x[right[:n]] - made.x[right[0]])[1:] / (made.x[left[:n]] - made.x[left[0]])[1:]
    np.testing.assert_allclose(dx, 1 / 1.05)
    np.testing.assert_allclose(made.y[right[:n]], made.y[left[:n]])


def test_counts_have_poisson_noise_and_a_seed(made) -> None:
    first, again, other = made.frames(3), made.frames(3), made.frames(4)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    expected = np.array([made.expected(i) for i in range(24)]).reshape(first.shape)
    assert ((first - expected) ** 2).sum() / expected.sum() == pytest.approx(1, abs=0.02)


def test_examples() -> None:
    result = doctest.testmod(polycrystals)
    assert result.attempted > 0
    assert result.failed == 0
