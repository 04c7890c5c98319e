"""Neighbours settle half turns about the beam, and nothing that the disks of a position decide."""

from __future__ import annotations

import dataclasses
import doctest
import importlib

import numpy as np
import pytest
from known_crystals import CUBIC, angle_deg, disks, library, quaternions
from scipy.spatial.transform import Rotation

from esteemcore import diffraction, errors
from esteemcore.diffraction import _settle_kernels as kernels

PIXEL = 0.3
TRUE = tuple(Rotation.random(2, random_state=0))


@pytest.fixture(scope="module")
def gold() -> diffraction.TemplateLibrary:
    return library()


def scan(which: np.ndarray, electrons: float = 1500.0) -> diffraction.DiskTable:
    """Disks of a scan of two grains, bent a little."""
    rng = np.random.default_rng(7)
    bend = Rotation.from_rotvec(np.radians(0.5) * rng.normal(size=(which.size, 3)))
    return disks([TRUE[g] * b for g, b in zip(which.ravel(), bend, strict=True)], rng=rng, electrons=electrons)


def right(found: diffraction.Orientations, which: np.ndarray) -> np.ndarray:
    first = found.rotations[..., 0, :].reshape(-1, 4)
    off = [angle_deg(q, TRUE[g]) for q, g in zip(first, which.ravel(), strict=True)]
    return (np.array(off) < 12).reshape(which.shape)


def test_half_turns_are_settled(gold) -> None:
    """Most of what is wrong before is right after it; what was right stays, the lone position in a grain too."""
    which = np.zeros((8, 12), int)
    which[:, 7:] = 1
    which[4, 3] = 1
    found = diffraction.orientation(scan(which), which.shape, gold, PIXEL)
    settled = diffraction.settle_orientations(found)
    before, after = right(found, which), right(settled, which)
    assert 0.5 < before.mean() < 0.95
    assert int((~after).sum()) < 0.3 * int((~before).sum())
    assert (after | ~before).mean() > 0.97
    assert after[4, 3] == before[4, 3]
    assert any("the neighbours chose another" in note for note in settled.notes)
    assert (settled.confidence >= 0).all()
    same = ~(settled.rotations[..., 0, :] != found.rotations[..., 0, :]).any(axis=-1)
    np.testing.assert_array_equal(settled.confidence[same], found.confidence[same])
    assert not same.all()
    np.testing.assert_allclose(np.sort(settled.correlation, axis=-1), np.sort(found.correlation, axis=-1))
    assert settled.provenance.parameters["orientations"]["function"] == "diffraction.orientation"


def test_what_is_sure_is_not_changed(gold) -> None:
    """Without tolerance nothing changes, and positions without an orientation get none."""
    which = np.zeros((4, 4), int)
    table = scan(which)
    found = diffraction.orientation(table.select(table.frame != 5), which.shape, gold, PIXEL)
    kept = diffraction.settle_orientations(found, unsure=0)
    np.testing.assert_array_equal(kept.rotations, found.rotations)
    assert kept.notes == found.notes
    settled = diffraction.settle_orientations(found)
    assert (settled.phase[1, 1] == -1).all()
    assert np.isnan(settled.rotations[1, 1]).all()


def test_the_compiled_loop_is_the_python_one() -> None:
    """And both are what the definition says, written plainly."""
    rng = np.random.default_rng(0)
    few = Rotation.random(4, random_state=1)
    pick = rng.integers(0, 4, (3, 4, 2))
    quaternion = np.array([quaternions(few[k] * Rotation.from_rotvec(0.01 * rng.normal(size=3))) for k in pick.ravel()])
    quaternion, correlation = quaternion.reshape(3, 4, 2, 4), -np.sort(-rng.random((3, 4, 2)), axis=-1)
    phase = np.where(rng.random((3, 4, 2)) < 0.9, 0, -1)
    group = quaternions(CUBIC)
    out = [np.empty((3, 4, 2)) for _ in range(2)]
    for work, made in zip((kernels.support, kernels.support.py_func), out, strict=True):
        work(quaternion, correlation, phase, group, np.array([0, 24]), np.cos(np.radians(2.5)), 1, made)
    np.testing.assert_allclose(out[0], out[1])
    for y, x, i in np.ndindex(3, 4, 2):
        total = 0.0
        for v, u in np.ndindex(3, 4):
            if max(abs(v - y), abs(u - x)) <= 1 and phase[y, x, i] == 0:
                like = [correlation[v, u, j] for j in (0, 1) if phase[v, u, j] == 0 and pick[v, u, j] == pick[y, x, i]]
                total += max(like, default=0.0)
        assert out[0][y, x, i] == pytest.approx(total)


def test_bad_parameters(gold) -> None:
    found = diffraction.orientation(disks(TRUE), (1, 2), gold, PIXEL)
    for given, message in (({"reach": 0}, "reach is 0"), ({"unsure": 1}, "unsure is 1"), ({"near_deg": 0}, "near_deg")):
        with pytest.raises(errors.ParameterError, match=message):
            diffraction.settle_orientations(found, **given)
    with pytest.raises(errors.ParameterError, match="expected those of orientation"):
        diffraction.settle_orientations("gold")
    assert dataclasses.is_dataclass(diffraction.settle_orientations(found))


def test_examples() -> None:
    result = doctest.testmod(importlib.import_module("esteemcore.diffraction.orientation_settle"))
    assert result.attempted > 0
    assert result.failed == 0
