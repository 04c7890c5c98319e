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


def round_disks(radius, apart, electrons, *, square=False, faint=0.5, scan=(4, 4), size=64):
    """Return frames of sharp round disks, the beam at the same place in all, in a row or a square at this distance."""
    y, x = np.mgrid[:size, :size] - size / 2 + 0.2
    rate = np.full((size, size), 0.02)
    for h in range(-3, 4):
        for k in range(-3, 4) if square else (0,):
            far = np.hypot(y - apart * k, x - apart * h) - radius
            rate += faint ** (abs(h) + abs(k)) * np.clip(0.5 - far / 1.2, 0, 1)
    return np.random.default_rng(1).poisson(rate / rate.sum() * electrons, (*scan, size, size)).astype(np.uint16)


def ratio(table):
    """Return the axes of the ellipses that were fitted, long over short."""
    stretch = np.linalg.svd(np.array(table.provenance.as_dict()["parameters"]["distortion"]), compute_uv=False)
    return stretch[0] / stretch[1]


@pytest.mark.parametrize("ellipse", [(1.06, 30.0), (1.1, 120.0)])
def test_the_ellipse_of_the_beams(ellipse) -> None:
    """Within 0.012, which is 0.03 px at the edge of these disks; theirs is a gradient of 0.6."""
    _, frames, table = first_pass(ellipse)
    found = ellipse_of_beams(frames, table, 4.2, VALID)
    assert found is not None
    assert np.linalg.det(found) == pytest.approx(1)
    np.testing.assert_allclose(known(found), known(distortion(*ellipse)), atol=0.012)
    if ellipse[0] < 1.1:
        return
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


@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("radii", [1.9, 2.0, 2.1, 2.2, 2.6])
def test_round_disks_that_touch_are_no_ellipse(radii, square) -> None:
    frames = round_disks(5.0, radii * 5, 20000, square=square)
    table = diffraction.find_disks(frames, 5.0, threads=1)
    assert ratio(table) == 1
    assert not any("ellipse" in note for note in table.notes)


@pytest.mark.parametrize(("radius", "apart", "faint"), [(3.5, 1.9, 0.05), (3.5, 2.2, 0.2), (3.0, 2.5, 0.05)])
def test_faint_neighbours_and_edges_on_pixels_are_no_ellipse(radius, apart, faint) -> None:
    """The first is brighter than a twentieth of the beam and never found; the last is so sharp that pixels show."""
    frames = round_disks(radius, apart * radius, 20000, faint=faint, scan=(6, 6))
    table = diffraction.find_disks(frames, radius, passes=1, threads=1)
    assert ellipse_of_beams(frames, table, radius, VALID) is None


def test_a_wrong_radius_and_a_bullseye_are_no_ellipse() -> None:
    _, frames, _ = first_pass((1.0, 0.0))
    for wrong in (0.9, 1.1, 1.15):
        assert ratio(diffraction.find_disks(frames, 4.2 * wrong, threads=1)) < 1.01
    _, frames, _ = first_pass((1.0, 0.0), bullseye=True)
    assert ratio(diffraction.find_disks(frames, 4.2, threads=1)) == 1


def test_a_small_ellipse_is_found_and_told() -> None:
    _, frames, _ = first_pass((1.03, 20.0))
    table = diffraction.find_disks(frames, 4.2, threads=1)
    assert 1.02 < ratio(table) < 1.035
    (note,) = (note for note in table.notes if "ellipse" in note)
    assert f"ratio {ratio(table):.3f}" in note
    assert abs(float(note.split("axis at ")[1].split()[0]) - 20) < 12
    given = diffraction.find_disks(frames, 4.2, threads=1, distortion=np.eye(2))
    assert not any("ellipse" in note for note in given.notes)


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
