"""Probes with a pattern: the profile is learnt, and disks that have it are placed by it."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from known_disks import compare, pure

from esteemcore import diffraction, errors, simulate
from esteemcore.diffraction import probe as module

VACUUM = simulate.Polycrystal(
    (1, 1), (17, 17), 5.0, np.eye(2), (1, 0), np.zeros((1, 2)), np.zeros((1, 1), int), np.ones((1, 1, 1)),
    np.zeros((1, 1, 4)), np.zeros(1, int), np.full(1, 8.0), np.full(1, 8.0), np.ones(1), np.zeros((1, 3)),
    np.zeros((1, 1)), True,
)  # fmt: skip
"""One disk with rings and one electron, in the middle of a small frame."""


@pytest.fixture(scope="module")
def rings() -> tuple[simulate.Polycrystal, np.ndarray]:
    made = simulate.polycrystal(
        (8, 8),
        (96, 96),
        radius_px=5,
        electrons=6000,
        grains=2,
        amorphous=0,
        spacing_px=20,
        film=0.02,
        bullseye=True,
        seed=3,
    )
    return made, made.frames(seed=1)


def test_the_profile_of_a_bullseye_is_learnt(rings) -> None:
    """The rings of the simulated aperture, blurred by the pixels: bright, dark, bright, dark, with a mean of 1."""
    _, frames = rings
    learnt = diffraction.learn_probe(frames, diffraction.find_disks(frames, 5, passes=1), 5)
    r = np.hypot(*np.mgrid[-8:9, -8:9])
    true = VACUUM.expected(0) * np.pi * 25
    found = np.interp(r, learnt.r_px, learnt.profile)
    true *= (found[r < 5] * true[r < 5]).sum() / (true[r < 5] ** 2).sum()
    assert np.sqrt(np.mean((found - true)[r < 6] ** 2)) < 0.2
    assert learnt.patterned
    area = 2 * np.pi * (learnt.r_px * learnt.profile).sum() / 20
    assert area == pytest.approx(np.pi * 25, rel=1e-6)


def test_disks_with_rings_are_placed_by_their_rings(rings) -> None:
    """The second pass halves the error at least, and intensities stay those of the disks."""
    made, frames = rings
    once = compare(made, diffraction.find_disks(frames, 5, passes=1), pure(made))
    table = diffraction.find_disks(frames, 5)
    twice = compare(made, table, pure(made))
    assert twice.rms < 0.5 * once.rms
    assert twice.recall >= 0.99
    beam = np.zeros(64)
    np.maximum.at(beam, table.frame, table.intensity)
    near = np.arange(96)
    single = pure(made)
    true = [made.disk(i, near[:, None], near[None]).sum() for i in np.searchsorted(made.frame, single)]
    assert np.mean(beam[single] / true) == pytest.approx(1, abs=0.02)


def test_the_probe_in_vacuum_serves_as_well(rings, rng) -> None:
    made, frames = rings
    vacuum = rng.poisson(np.pad(VACUUM.expected(0), 12) * 1e5)[None, None]
    probe = diffraction.learn_probe(vacuum, diffraction.find_disks(vacuum, 5, passes=1), 5)
    single = pure(made)
    plain = compare(made, diffraction.find_disks(frames, 5, passes=1), single)
    known = compare(made, diffraction.find_disks(frames, 5, passes=1, probe=probe), single)
    assert known.rms < 0.6 * plain.rms


def test_flat_disks_have_no_pattern(frames, table, grains) -> None:
    learnt = diffraction.learn_probe(frames, table, 4.2)
    assert not learnt.patterned
    inside = learnt.profile[learnt.r_px < 2.5]
    np.testing.assert_allclose(inside, inside.mean(), rtol=0.15)


def test_what_cannot_be_right_is_told(frames, table) -> None:
    with pytest.raises(errors.CalibrationError, match="electrons; 20000 are"):
        diffraction.learn_probe(frames[:1, :1], table.select(table.frame == 0), 4.2)
    with pytest.raises(errors.ParameterError, match="take one that Disks has made"):
        diffraction.learn_probe(frames, diffraction.DiskTable(*(np.zeros(0, int),) * 6), 4.2)
    with pytest.raises(errors.ParameterError, match=r"learnt for a radius of 4\.2 px, but radius_px is 5 px"):
        diffraction.Disks(5.0, probe=diffraction.learn_probe(frames, table, 4.2))


def test_examples() -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
