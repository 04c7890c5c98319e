"""Strain: known deformations, pure rotations, errors that are right, and no maps where there is no crystal."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

from esteemcore import diffraction, errors, simulate
from esteemcore.diffraction import lattice

NAMES = ("exx", "eyy", "exy", "rotation")


def ideal(deformation, scan=(3, 4), spacing=14.0, turn=0.3, noise=0.0, rng=None, hexagonal=False):
    """Disks of a crystal; ``deformation`` returns the gradient (x, y) of the displacement at a position."""
    angle = np.pi / 3 if hexagonal else np.pi / 2
    basis = spacing * np.array([[np.cos(turn), np.sin(turn)], [np.cos(turn + angle), np.sin(turn + angle)]])  # (x, y)
    index = np.array([(h, k) for h in range(-2, 3) for k in range(-2, 3)])
    frame, place, bright = [], [], []
    for position in range(scan[0] * scan[1]):
        gradient = np.eye(2) + deformation(*divmod(position, scan[1]))
        q = index @ basis @ np.linalg.inv(gradient)
        place.append(q[:, ::-1] + [60 + 0.2 * position, 61])
        frame.append(np.full(len(q), position))
        bright.append(np.where((index == 0).all(axis=1), 5000, 100))
    place = np.concatenate(place)
    sigma = np.full(len(place), max(noise, 1e-3))
    if noise:
        place = place + rng.normal(0, noise, place.shape)
    return diffraction.DiskTable(
        np.concatenate(frame), place[:, 0], place[:, 1], np.concatenate(bright), sigma, np.full(len(place), 20.0)
    )


@pytest.mark.parametrize("hexagonal", [False, True])
@pytest.mark.parametrize(("component", "gradient"), [
    ("exx", [[0.02, 0], [0, 0]]), ("eyy", [[0, 0], [0, -0.015]]), ("exy", [[0, 0.01], [0.01, 0]]),
    ("rotation", [[np.cos(0.05) - 1, -np.sin(0.05)], [np.sin(0.05), np.cos(0.05) - 1]]),
])  # fmt: skip
def test_each_component_alone(component, gradient, hexagonal) -> None:
    """Stretching along x moves the disks inwards along x; a rotation from x to y is no strain at all."""
    table = ideal(lambda y, x: np.array(gradient) * (y > 0), hexagonal=hexagonal)
    reference = np.zeros((3, 4), bool)
    reference[0] = True
    found = diffraction.strain(table, (3, 4), reference=reference)
    size = 0.05 if component == "rotation" else np.abs(gradient).max() * np.sign(np.sum(gradient))
    for name in NAMES:
        expected = np.where(reference, 0, size if name == component else 0)
        np.testing.assert_allclose(getattr(found, name), expected, atol=2e-5)
    np.testing.assert_allclose(found.center[..., 1], 61, atol=1e-3)
    np.testing.assert_allclose(found.center[..., 0], 60 + 0.2 * np.arange(12).reshape(3, 4), atol=1e-3)
    assert (found.disks == 25).all()


def test_it_is_relative_to_the_mean_of_the_reference() -> None:
    table = ideal(lambda y, x: np.diag([0.01 * x, 0.004]), scan=(4, 5))
    everywhere = diffraction.strain(table, (4, 5))
    np.testing.assert_allclose(everywhere.exx.mean(), 0, atol=2e-5)
    np.testing.assert_allclose(everywhere.exx[0], 0.01 * (np.arange(5) - 2), atol=5e-4)
    np.testing.assert_allclose(everywhere.eyy, 0, atol=2e-5)
    left = np.zeros((4, 5), bool)
    left[:, 0] = True
    np.testing.assert_allclose(diffraction.strain(table, (4, 5), reference=left).exx[2], 0.01 * np.arange(5), atol=2e-5)


def test_errors_are_those_of_the_places(rng) -> None:
    table = ideal(lambda y, x: np.zeros((2, 2)), scan=(20, 20), noise=0.15, rng=rng)
    found = diffraction.strain(table, (20, 20))
    for i, name in enumerate(NAMES):
        assert np.std(getattr(found, name)) == pytest.approx(found.component_sigma[..., i].mean(), rel=0.12)
    understated = diffraction.DiskTable(table.frame, table.y, table.x, table.intensity, table.sigma_px / 3, table.score)
    noticed = diffraction.strain(understated, (20, 20))
    assert noticed.sigma.mean() == pytest.approx(found.sigma.mean(), rel=0.1)
    assert any("as far from their lattices" in note for note in noticed.notes)


def test_the_mean_of_the_reference_is_the_plain_one(rng) -> None:
    """A strained part of the reference counts as much as the rest, however small it is."""
    for columns in (1, 4, 8):
        table = ideal(lambda y, x, n=columns: np.diag([0.02 * (x < n), 0]), scan=(4, 20), noise=0.02, rng=rng)
        found = diffraction.strain(table, (4, 20))
        assert abs(found.exx.mean()) < 2e-4  # the mean over deformations is not that over strains, by 1e-4
        assert found.exx[:, columns:].mean() == pytest.approx(-0.02 * columns / 20, abs=3e-4)


def moved(table, by):
    """The same disks, each moved by as many px."""
    return diffraction.DiskTable(
        table.frame, table.y + by[0], table.x + by[1], table.intensity, table.sigma_px, table.score
    )


def test_errors_are_larger_where_disks_lie_off(rng) -> None:
    table = ideal(lambda y, x: np.zeros((2, 2)), scan=(20, 20), noise=0.1, rng=rng)
    off = (table.frame % 20 >= 15) * rng.normal(0, 0.5, (2, len(table)))
    found = diffraction.strain(moved(table, off), (20, 20))
    for part in (np.s_[:, :15], np.s_[:, 15:]):
        assert np.std(found.exx[part]) == pytest.approx(found.component_sigma[part][..., 0].mean(), rel=0.2)
    assert any(note.startswith("at 100 positions") for note in found.notes)


def test_errors_of_few_disks_are_right(rng) -> None:
    table = ideal(lambda y, x: np.zeros((2, 2)), scan=(20, 20), noise=0.1, rng=rng)
    few = diffraction.strain(table.select(np.isin(np.arange(len(table)) % 25, [6, 7, 12, 13, 18])), (20, 20))
    pulls = few.exx / few.component_sigma[..., 0]
    assert 0.8 < np.sqrt((pulls**2).mean()) < 1.2


@pytest.mark.parametrize("n", [1, 16])
def test_the_error_of_the_reference_is_in_all_others(rng, n) -> None:
    table = ideal(lambda y, x: np.zeros((2, 2)), scan=(20, 20), noise=0.15, rng=rng)
    reference = (np.arange(400) < n).reshape(20, 20)
    pulls = []
    for _ in range(12):
        noisy = diffraction.strain(moved(table, rng.normal(0, 0.1, (2, len(table)))), (20, 20), reference=reference)
        pulls.append(noisy.exx[5:].mean() / np.sqrt((noisy.component_sigma[5:, :, 0] ** 2).mean()))
        others = noisy.component_sigma[5:, :, 0].mean()
    everywhere = diffraction.strain(moved(table, rng.normal(0, 0.1, (2, len(table)))), (20, 20))
    assert others / everywhere.component_sigma[..., 0].mean() == pytest.approx(np.sqrt(1 + 1 / n), rel=0.12)
    if n == 1:
        assert noisy.sigma[0, 0] < 0.02 * others  # relative to itself it is nothing, surely
        assert 0.35 < np.std(pulls) < 1.1  # of two equal errors one is common to all positions: 0.71


def both(one, other, of_other, positions_across):
    """Disks of one crystal, of the other where the column is large."""
    right = [table.frame % positions_across >= of_other for table in (one, other)]
    one, other = one.select(~right[0]), other.select(right[1])
    names = ("frame", "y", "x", "intensity", "sigma_px", "score")
    return diffraction.DiskTable(*(np.concatenate([getattr(one, name), getattr(other, name)]) for name in names))


@pytest.mark.parametrize("turn", [0.35, 0.6, np.arctan2(4, 3)])
def test_another_crystal_has_no_strain(rng, turn) -> None:
    """Not even one that shares a lattice of coincidences, as squares turned by arctan 4/3 do."""
    one, other = (
        ideal(lambda y, x: np.zeros((2, 2)), scan=(10, 10), noise=0.05, rng=rng, turn=t) for t in (0.1, 0.1 + turn)
    )
    reference = np.zeros((10, 10), bool)
    reference[:, :5] = True
    found = diffraction.strain(both(one, other, 5, 10), (10, 10), reference=reference)
    assert np.isfinite(found.exx[:, :5]).all()
    for values in (found.exx, found.rotation, found.sigma, found.center[..., 0]):
        assert np.isnan(values[:, 5:]).all()
    assert any(note.startswith("50 of 100 positions show another crystal") for note in found.notes)


def test_grains_beside_the_reference_have_no_strain() -> None:
    truth = simulate.polycrystal(
        (8, 8), (112, 112), radius_px=4.2, spacing_px=15, electrons=15000, grains=3, amorphous=1, seed=5
    )
    table = diffraction.find_disks(truth.frames(2), 4.2, passes=1)
    member = truth.member.reshape(4, 8, 8)
    for grain in range(3):
        if (member[grain] > 0.99).sum() < 6:
            continue
        found = diffraction.strain(table, (8, 8), reference=truth.label == grain)
        assert np.isfinite(found.exx[member[grain] > 0.99]).all()
        assert np.isnan(found.exx[member[grain] < 0.01]).all()
        assert any("show another crystal" in note for note in found.notes)


def test_an_overlapping_grain_is_told(rng) -> None:
    table = ideal(lambda y, x: np.zeros((2, 2)), scan=(6, 6), noise=0.05, rng=rng)
    over = ideal(lambda y, x: np.zeros((2, 2)), scan=(6, 6), noise=0.05, rng=rng, turn=0.75)
    over = over.select((over.frame == 8) & np.isin(np.arange(len(over)) % 25, [1, 3, 6, 9, 15, 16, 17, 19]))
    names = ("frame", "y", "x", "intensity", "sigma_px", "score")
    mixed = diffraction.DiskTable(*(np.concatenate([getattr(table, name), getattr(over, name)]) for name in names))
    found = diffraction.strain(mixed, (6, 6))
    assert abs(found.exx[1, 2]) < 4 * found.component_sigma[1, 2, 0]
    assert any(note.startswith("at 1 positions 15 to 40 % of the disks") for note in found.notes)


def test_false_disks_do_not_matter(rng) -> None:
    table = ideal(lambda y, x: np.diag([0.01 * (x > 1), 0]), scan=(8, 8), noise=0.05, rng=rng)
    n = 130
    place = rng.uniform(20, 100, (2, n))
    columns = [
        np.concatenate([getattr(table, name), extra])
        for name, extra in (
            ("frame", rng.integers(0, 64, n)), ("y", place[0]), ("x", place[1]), ("intensity", np.full(n, 300.0)),
            ("sigma_px", np.full(n, 0.05)), ("score", np.full(n, 9.0)),
        )
    ]  # fmt: skip
    clean, dirty = (diffraction.strain(t, (8, 8)) for t in (table, diffraction.DiskTable(*columns)))
    np.testing.assert_allclose(dirty.exx, clean.exx, atol=1.5e-3)
    assert np.abs(dirty.exx - clean.exx).mean() < 2e-4


def test_no_map_without_a_crystal(rng) -> None:
    table = ideal(lambda y, x: np.zeros((2, 2)), scan=(4, 4))
    index = np.arange(len(table)) % 25
    in_line = (table.frame == 5) & ~np.isin(index, [2, 7, 12, 17, 22])
    few = diffraction.strain(table.select(~in_line & ~((table.frame == 2) & (index != 12) & (index != 3))), (4, 4))
    missing = np.isnan(few.exx).ravel()
    assert missing.nonzero()[0].tolist() == [2, 5]
    assert np.isnan(few.sigma).ravel()[missing].all()
    assert any("2 of 16 positions" in note for note in few.notes)
    chaos = diffraction.DiskTable(
        rng.integers(0, 16, 400), *rng.uniform(10, 110, (2, 400)), np.ones(400), np.full(400, 0.1), np.full(400, 9.0)
    )
    with pytest.raises(errors.CalibrationError, match="of the reference"):
        diffraction.strain(chaos, (4, 4))
    row = table.select(np.isin(index, [2, 7, 12, 17, 22]))
    with pytest.raises(errors.CalibrationError, match="in a line"):
        diffraction.strain(row, (4, 4))


def test_another_disk_than_the_beam_may_be_the_brightest() -> None:
    table = ideal(lambda y, x: np.zeros((2, 2)), scan=(5, 5))
    intensity = table.intensity.copy()
    intensity[7 * 25 + 3] = 9000
    swapped = diffraction.DiskTable(table.frame, table.y, table.x, intensity, table.sigma_px, table.score)
    np.testing.assert_allclose(diffraction.strain(swapped, (5, 5)).center[1, 2], [61.4, 61], atol=1e-3)
    hidden = table.select(table.intensity < 1000)
    center = np.stack([60 + 0.2 * np.arange(25), np.full(25, 61.0)], axis=1) + 1.0
    found = diffraction.strain(hidden, (5, 5), center=center)
    np.testing.assert_allclose(found.center.reshape(-1, 2), center - 1, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reference": np.zeros((3, 4), bool)}, "False everywhere"),
        ({"reference": np.ones((4, 3), bool)}, r"reference has shape \(4, 3\)"),
        ({"least_disks": 3}, "least_disks is 3"),
        ({"center": [1, 2, 3]}, "center has shape"),
        ({"center": "here"}, "center is 'here'"),
        ({"distortion": np.zeros((2, 2))}, "distortion stretches by 0 to 0"),
        ({"distortion": np.full((2, 2), np.nan)}, "distortion has shape"),
        ({"distortion": np.eye(3)}, r"distortion has shape \(3, 3\)"),
        ({"distortion": 3}, r"distortion has shape \(\)"),
    ],
)
def test_bad_parameters(arguments, message) -> None:
    table = ideal(lambda y, x: np.zeros((2, 2)))
    with pytest.raises(errors.ParameterError, match=message):
        diffraction.strain(table, (3, 4), **arguments)
    with pytest.raises(errors.ParameterError, match="positions 0 to 11, but"):
        diffraction.strain(table, (3, 3))


def test_the_shortest_basis_of_a_lattice() -> None:
    basis = lattice._reduced(np.array([[10.0, 0.0], [31.0, 9.0]]))
    np.testing.assert_allclose(sorted(np.hypot(*basis.T)), sorted((np.hypot(1, 9), 10)))


def test_from_frames_to_strain() -> None:
    """A strained crystal on a distorted detector: what the counts allow, and as sure as it says."""

    def bend(u, v):
        return np.stack([0.02 * u, -0.015 * v, 0.006 * u, 0.01 * v], -1)

    truth = simulate.polycrystal(
        (10, 10), (112, 112), radius_px=4.2, spacing_px=15, electrons=15000, strain=bend, ellipse=(1.04, 30), seed=5
    )
    table = diffraction.find_disks(truth.frames(2), 4.2, distortion=truth.matrix)
    found = diffraction.strain(table, (10, 10), distortion=truth.matrix)
    for i, name in enumerate(NAMES):
        off = getattr(found, name) - (truth.strain[..., i] - truth.strain[..., i].mean())
        off -= off.mean()  # the mean over deformations is not that over strains
        assert np.sqrt((off**2).mean()) < 1.4 * found.component_sigma[..., i].mean()
    assert found.sigma.max() < 16e-4


def test_the_mark_on_the_shared_crystal(shared_data) -> None:
    folder = shared_data / "diffraction"
    with np.load(folder / "strain_a.npz") as z:
        data = z["data"][::4, ::2]
    with np.load(folder / "strain_a_truth.npz") as z:
        true = z["strain"][::4, ::2].astype(float)
    found = diffraction.strain(diffraction.find_disks(data, 5.0761), data.shape[:2])
    for i, name in enumerate(NAMES):
        off = getattr(found, name) - true[..., i]
        assert np.sqrt(((off - off.mean()) ** 2).mean()) <= 16e-4, name


def test_examples() -> None:
    result = doctest.testmod(importlib.import_module("esteemcore.diffraction.strain_maps"))
    assert result.attempted > 0
    assert result.failed == 0
