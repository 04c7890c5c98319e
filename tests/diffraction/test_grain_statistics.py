"""Grains: areas that add up, known ellipses, known angles between neighbours."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
from known_crystals import angle_deg, disks, library
from scipy.spatial.transform import Rotation

from esteemcore import diffraction, errors


def ellipse(a: float, b: float, angle: float, shape=(80, 90)) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    dy, dx = y - 40.3, x - 44.6
    c, s = np.cos(angle), np.sin(angle)
    return np.where(((dx * c + dy * s) / a) ** 2 + ((dy * c - dx * s) / b) ** 2 < 1, 0, -1)


@pytest.mark.parametrize("angle", [0.0, 0.6, 2.5])
def test_an_ellipse_is_measured(angle) -> None:
    found = diffraction.grain_statistics(ellipse(24, 12, angle), scan_step_nm=0.5)
    assert len(found) == 1
    assert abs(found.area_nm2[0] - np.pi * 24 * 12 * 0.25) < 3 * found.area_sigma_nm2[0]
    assert found.area_sigma_nm2[0] < 0.02 * found.area_nm2[0]
    assert found.diameter_nm[0] == pytest.approx(2 * np.sqrt(24 * 12) * 0.5, rel=0.02)
    assert found.aspect[0] == pytest.approx(2, rel=0.03)
    off = (found.angle_deg[0] - np.degrees(angle) + 90) % 180 - 90
    assert abs(off) < 1
    np.testing.assert_allclose(found.center[0], (40.3, 44.6), atol=0.1)
    assert not found.at_edge[0]
    assert np.isnan(found.rotations).all()


def test_areas_have_the_error_that_is_stated() -> None:
    """Disks of one size at random places on the raster."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :40]
    sizes, stated = [], []
    for cy, cx in rng.uniform(18, 22, (200, 2)):
        found = diffraction.grain_statistics(np.where(np.hypot(y - cy, x - cx) < 9.3, 3, -1))
        sizes.append(found.area_nm2[0])
        stated.append(found.area_sigma_nm2[0])
    assert np.mean(sizes) == pytest.approx(np.pi * 9.3**2, rel=0.005)
    assert np.std(sizes) < 2 * np.mean(stated)
    assert np.std(sizes) > 0.3 * np.mean(stated)


def test_pieces_and_boundaries_add_up() -> None:
    """Every position of a grain counts once; boundaries are those of the map."""
    labels = np.random.default_rng(1).integers(-1, 3, (12, 15))
    found = diffraction.grain_statistics(labels, least=1)
    assert found.area_nm2.sum() == (labels >= 0).sum()
    assert (np.diff(found.area_nm2) <= 0).all()
    np.testing.assert_array_equal(np.append(found.label, -1)[found.map], labels)
    sides = sum(
        ((a != b) & (a >= 0) & (b >= 0)).sum() for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1]))
    )
    assert found.boundary_nm.sum() == sides
    assert (found.neighbours[:, 0] < found.neighbours[:, 1]).all()
    fewer = diffraction.grain_statistics(labels, least=4)
    assert (fewer.area_nm2 >= 4).all()
    assert (fewer.map == -1).sum() > (found.map == -1).sum()
    empty = diffraction.grain_statistics(np.full((4, 4), -1))
    assert len(empty) == len(empty.neighbours) == 0


def test_the_angle_between_neighbours() -> None:
    """A grain and its twin, 60 degrees about [111], at a low dose, with half turns among the orientations."""
    rng = np.random.default_rng(3)
    parent = Rotation.from_euler("zyx", [15, 8, -20], degrees=True)
    partner = Rotation.from_rotvec(np.radians(60) / np.sqrt(3) * np.ones(3)) * parent
    labels = np.zeros((6, 10), int)
    labels[:, 6:] = 1
    wobble = Rotation.from_rotvec(np.radians(0.3) * rng.normal(size=(60, 3)))
    true = [(parent, partner)[g] * w for g, w in zip(labels.ravel(), wobble, strict=True)]
    found = diffraction.orientation(disks(true, rng=rng, electrons=1500), (6, 10), library(), 0.3)
    grains = diffraction.grain_statistics(labels, orientations=found)
    assert grains.neighbours.tolist() == [[0, 1]]
    assert grains.boundary_nm.tolist() == [6]
    assert abs(grains.misorientation_deg[0] - 60) < 1
    assert 0 < grains.misorientation_sigma_deg[0] < 0.5
    for g, expected in enumerate((parent, partner)):
        assert angle_deg(grains.rotations[g], expected) < 1
    assert (grains.sigma_deg < 0.3 * grains.spread_deg).all()
    other = diffraction.grain_statistics(labels)
    assert np.isnan(other.misorientation_deg).all()
    assert other.provenance != grains.provenance


def test_bad_parameters() -> None:
    for labels, message in (
        (np.zeros(4, int), "expected integers"), (np.zeros((2, 2)), "dtype float64"), ([[0], [0, 1]], "unequal lengths")
    ):  # fmt: skip
        with pytest.raises(errors.ParameterError, match=message):
            diffraction.grain_statistics(labels)
    with pytest.raises(errors.ParameterError, match="scan_step_nm is 0"):
        diffraction.grain_statistics([[0]], scan_step_nm=0)
    found = diffraction.orientation(disks(Rotation.random(2, random_state=1)), (1, 2), library(8.0), 0.3)
    with pytest.raises(errors.ParameterError, match="labels have shape"):
        diffraction.grain_statistics([[0]], orientations=found)


def test_examples() -> None:
    result = doctest.testmod(importlib.import_module("esteemcore.diffraction.grain_statistics"))
    assert result.attempted > 0
    assert result.failed == 0
