"""The tilt between templates: which lie round each other, and that orientations become nearer by it."""

from __future__ import annotations

import numpy as np
import pytest
from known_crystals import CUBIC, angle_deg, disks, library
from scipy.spatial.transform import Rotation

from esteemcore import diffraction
from esteemcore.diffraction import _tilt_kernels as kernels
from esteemcore.diffraction import orientation_match, orientation_tilt

PIXEL = 0.3


@pytest.fixture(scope="module")
def gold() -> diffraction.TemplateLibrary:
    return library()


def rotation(quaternion: np.ndarray) -> Rotation:
    return Rotation.from_quat(np.roll(quaternion, -1, axis=-1))


def test_orientations_are_nearer_than_templates(gold) -> None:
    """Without noise, of those that are found: three times nearer than the templates are to each other."""
    true = Rotation.random(60, random_state=5)
    table = disks(true, electrons=1e5)
    off = []
    for refine in (False, True):
        found = diffraction.orientation(table, (6, 10), gold, PIXEL, refine=refine)
        off.append([angle_deg(q, r) for q, r in zip(found.rotations[..., 0, :].reshape(-1, 4), true, strict=True)])
    plain, refined = np.array(off)
    good = (plain < 3) & (refined < 3)
    assert good.mean() > 0.75
    assert np.median(refined[good]) < 0.6 * np.median(plain[good])
    assert np.median(refined[good]) < 0.45
    assert (refined < 3).sum() >= (plain < 3).sum() - 2


def test_templates_round_each_other_differ_by_a_tilt(gold) -> None:
    """Turned as it is said, each is the one in the middle with a tilt of one and a half steps at most, and no turn."""
    made = orientation_tilt.around(gold, True)
    assert np.degrees(made.step) == pytest.approx(2, rel=0.3)
    assert (made.counts == orientation_tilt.AROUND).mean() > 0.9
    half = Rotation.from_rotvec([0, np.pi, 0])
    for row in range(0, 2 * len(gold), 37):
        own = rotation(gold.rotations[row // 2]) * (half if row % 2 else Rotation.identity())
        assert made.number[row, 0] == row // 2
        for e in range(1, made.counts[row]):
            other = rotation(gold.rotations[made.number[row, e]]) * (
                half if made.mirror[row, e] else Rotation.identity()
            )
            turned = other * Rotation.from_rotvec([0, 0, -made.turn[row, e]])
            off = (own.inv() * CUBIC * turned).as_rotvec()
            off = off[np.linalg.norm(off, axis=1).argmin()]
            assert abs(off[2]) < 1e-6
            assert 1e-4 < np.linalg.norm(off) < 1.61 * made.step
    alone = orientation_tilt.around(gold, False)
    assert not alone.mirror.any()
    assert not alone.counts[1::2].any()


def test_without_neighbours_nothing_changes() -> None:
    """A library with few directions has no tilt to be found."""
    few = library(40.0)
    table = disks(Rotation.random(4, random_state=1))
    results = [diffraction.orientation(table, (2, 2), few, PIXEL, refine=r) for r in (False, True)]
    assert len(few) < orientation_tilt.LEAST
    np.testing.assert_allclose(results[0].correlation[..., 0], results[1].correlation[..., 0], atol=0.05)


def test_the_top_of_a_paraboloid() -> None:
    place = np.random.default_rng(0).uniform(-1, 1, (9, 2))
    x, y = place.T
    inverse = np.linalg.pinv(np.stack([np.ones(9), x, y, x * x, x * y, y * y], axis=1))
    bowl = 0.9 - (x - 0.3) ** 2 - 0.5 * (y + 0.2) ** 2 - 0.2 * (x - 0.3) * (y + 0.2)
    for top in (kernels.summit, kernels.summit.py_func):
        np.testing.assert_allclose(top(bowl, inverse, 1.0)[:2], (0.3, -0.2), atol=1e-12)
        assert top(bowl, inverse, 1.0)[2]
        assert not top(bowl, inverse, 0.3)[2]
        assert not top(-bowl, inverse, 1.0)[2]
        assert not top(x * y, inverse, 1.0)[2]


def test_a_tilt_turns_the_crystal_before() -> None:
    own = Rotation.random(random_state=2)
    quaternion = np.roll(own.as_quat(), 1)
    for tilt in (kernels.tilted, kernels.tilted.py_func):
        found = rotation(np.array(tilt(quaternion, 0.03, -0.05)))
        assert (found.inv() * own * Rotation.from_rotvec([0.03, -0.05, 0])).magnitude() < 1e-9
        np.testing.assert_allclose(tilt(quaternion, 0.0, 0.0), quaternion)


def test_compiled_loops_are_the_python_ones(gold) -> None:
    rng = np.random.default_rng(4)
    place = np.round(rng.normal(0, 0.1, (5, 20, 2)), 1)
    allowed = rng.random((5, 20)) < 0.8
    chosen = [np.full((5, 6), -1, np.int64) for _ in range(2)]
    kernels.first_of_each(place, allowed, 0.05, chosen[0])
    kernels.first_of_each.py_func(place, allowed, 0.05, chosen[1])
    np.testing.assert_array_equal(*chosen)
    for row, picked in enumerate(chosen[0]):
        kept = picked[picked >= 0]
        expected = {tuple(p) for p in (place[row][allowed[row]] + 0.0).round(1)}
        assert len({tuple(p) for p in (place[row][kept] + 0.0).round(1)}) == len(kept) == min(6, len(expected))
    prepared = orientation_match.prepare(gold, PIXEL, 2.0, 360, 0.5)
    made = orientation_tilt.around(gold, True)
    radius, azimuth, weight = rng.uniform(14, 50, 8), rng.uniform(-3, 3, 8), np.full(8, 8**-0.5)
    results = []
    for refine in (kernels.refine_tilts, kernels.refine_tilts.py_func):
        best, found = np.zeros((1, 2, 3)), np.array([[[30, 0, 0], [90, 1, 0]]])
        best[0, :, 1] = 0.3, -0.7
        quaternion = np.zeros((1, 2, 4))
        refine(
            np.array([0, 8]), radius, azimuth, weight, prepared.spots, prepared.templates, tuple(made), 2.0, best,
            quaternion, found,
        )  # fmt: skip
        results.append((best, found, quaternion))
    for compiled, plain in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, plain, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(results[0][2], axis=-1), 1)
