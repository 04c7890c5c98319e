"""The ellipse of the direct beams, learnt on the way from the first pass to the second."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import diffraction, simulate
from esteemcore.diffraction.beam_ellipse import ellipse_of_beams
from esteemcore.simulate.polycrystal import distortion

VALID = np.ones((64, 64), bool)


def first_pass(ellipse, electrons=6000.0, **changes):
    made = simulate.polycrystal(
        (8, 8), (64, 64), radius_px=4.2, grains=1, amorphous=0, ellipse=ellipse, electrons=electrons, seed=5, **changes
    )
    frames = made.frames()
    return made, frames, diffraction.find_disks(frames, 4.2, passes=1, threads=1)


def known(matrix):
    """Return a distortion as the two shears that make it."""
    return np.array([matrix[0, 0] - matrix[1, 1], 2 * matrix[0, 1]]) / np.trace(matrix)


@pytest.mark.parametrize("ellipse", [(1.06, 30.0), (1.1, 120.0)])
def test_the_ellipse_of_the_beams(ellipse) -> None:
    """Within 0.012, which is 0.03 px at the edge of these disks; theirs is a gradient of 0.6."""
    _, frames, table = first_pass(ellipse)
    found = ellipse_of_beams(frames, table, 4.2, VALID)
    assert found is not None
    assert np.linalg.det(found) == pytest.approx(1)
    np.testing.assert_allclose(known(found), known(distortion(*ellipse)), atol=0.012)
    half = VALID.copy()
    half[:, 34:] = False  # a part of each beam is enough
    seen = ellipse_of_beams(np.where(half, frames, 60000), table, 4.2, half)
    assert seen is not None
    np.testing.assert_allclose(known(seen), known(distortion(*ellipse)), atol=0.035)


def test_round_beams_and_few_electrons_show_none() -> None:
    _, frames, table = first_pass((1.0, 0.0))
    assert ellipse_of_beams(frames, table, 4.2, VALID) is None
    _, frames, table = first_pass((1.03, 0.0), electrons=40.0)
    assert ellipse_of_beams(frames, table, 4.2, VALID) is None
    nothing = diffraction.find_disks(np.zeros((8, 8, 64, 64), int), 4.2, passes=1)
    assert ellipse_of_beams(np.zeros((8, 8, 64, 64), int), nothing, 4.2, VALID) is None


def test_the_second_pass_fits_ellipses() -> None:
    """Places are nearer to those with the true ellipse given than to those of round disks."""
    made, frames, _ = first_pass((1.12, 60.0))
    itself, given, round_ = (
        diffraction.find_disks(frames, 4.2, threads=1, **changes)
        for changes in ({}, {"distortion": made.matrix}, {"distortion": np.eye(2)})
    )

    def off(table):
        place, mine = (
            np.stack([t.frame * 1000.0, t.y, t.x], 1) for t in (table, itself.select(itself.intensity > 150))
        )
        return np.sqrt(np.mean(np.minimum(((mine[:, None] - place) ** 2).sum(-1).min(axis=1), 1)))

    assert off(given) < 0.6 * off(round_)
