"""Size of a pixel: known rings, errors that are right, a crystal end to end, and refusals where nothing fits."""

from __future__ import annotations

import dataclasses
import doctest
import importlib

import numpy as np
import pytest
from known_crystals import disks as gold_disks
from scipy.spatial.transform import Rotation

from esteemcore import diffraction, errors, optics, simulate

GOLD = 0.408 / np.sqrt([3, 4, 8, 11, 12, 16, 19, 20, 24])
NONE = np.eye(2)


def distortion(ratio: float, angle_deg: float) -> np.ndarray:
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    turn = np.array([[s, c], [c, -s]])
    return turn @ np.diag([ratio**0.5, ratio**-0.5]) @ turn.T


def seen(q, rng, noise=0.1, matrix=NONE, stray=0, positions=1) -> diffraction.DiskTable:
    """The disks of reflections q (row, column) in px, in every position, with the direct beam and false ones."""
    frame, place, bright = [], [], []
    for k in range(positions):
        at = q @ matrix.T + rng.normal(0, noise, q.shape)
        place.append(64 + np.concatenate([[[0.0, 0.0]], at, rng.uniform(-60, 60, (stray, 2))]))
        frame.append(np.full(len(place[-1]), k))
        bright.append(np.append(1e4, np.full(len(place[-1]) - 1, 100.0)))
    frame, place, bright = np.concatenate(frame), np.concatenate(place), np.concatenate(bright)
    one = np.ones(len(frame))
    return diffraction.DiskTable(frame, place[:, 0], place[:, 1], bright, noise * one, 9 * one)


def powder(rng, per_nm: float, n: int = 50) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.stack([np.sin(angle), np.cos(angle)], axis=1) / GOLD[rng.integers(0, len(GOLD), n), None] / per_nm


def square(per_nm: float, turn: float = 0.4, reach: float = 10.0) -> np.ndarray:
    """Gold along [001]."""
    h, k = np.mgrid[-6:7:2, -6:7:2].reshape(2, -1)
    q = np.stack([h * np.cos(turn) - k * np.sin(turn), h * np.sin(turn) + k * np.cos(turn)], axis=1) / 0.408
    length = np.hypot(*q.T)
    return q[(length > 0) & (length < reach)] / per_nm


def test_no_bias_and_errors_that_are_right() -> None:
    """Powders under ellipses, a fifth of the disks false: two standard errors hold the truth 19 times in 20."""
    off, ratio_off = [], []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        per_nm, ellipse = rng.uniform(0.18, 0.3), (rng.uniform(1, 1.06), rng.uniform(0, 180))
        found = diffraction.pixel_size(
            seen(powder(rng, per_nm), rng, matrix=distortion(*ellipse), stray=10), (1, 1), GOLD
        )
        off.append((found.per_nm - per_nm) / found.per_nm_sigma)
        ratio_off.append((found.ratio - ellipse[0]) / found.ratio_sigma)
        assert found.per_nm_sigma < 0.002 * per_nm
        assert found.per_nm == pytest.approx(per_nm, rel=5e-3)
        assert np.isclose(np.linalg.det(found.matrix), 1)
    assert abs(np.mean(off)) < 3 / np.sqrt(24)
    assert 0.6 < np.std(off) < 1.5
    assert np.mean(np.abs(off) < 2) > 0.8
    assert np.sqrt(np.mean(np.square(ratio_off))) < 1.5


def test_an_ellipse_is_told_with_its_direction() -> None:
    rng = np.random.default_rng(3)
    true = distortion(1.05, 25.0)
    table = seen(powder(rng, 0.25), rng, matrix=true)
    found = diffraction.pixel_size(table, (1, 1), GOLD)
    assert found.ratio == pytest.approx(1.05, abs=3e-3)
    assert found.angle_deg == pytest.approx(25, abs=2)
    np.testing.assert_allclose(found.matrix, true, atol=3e-3)
    given = diffraction.pixel_size(table, (1, 1), GOLD, distortion=true)
    assert given.ratio == pytest.approx(1.05)
    assert given.angle_deg == pytest.approx(25)
    assert given.ratio_sigma == 0
    assert abs(given.per_nm - found.per_nm) < 2 * found.per_nm_sigma


def test_more_positions_make_it_surer() -> None:
    """Counting errors average out; positions of one grain show the same reflections, each of which counts once."""
    q = powder(np.random.default_rng(1), 0.25)
    one = diffraction.pixel_size(seen(q, np.random.default_rng(2), 0.2), (1, 1), GOLD)
    many = diffraction.pixel_size(seen(q, np.random.default_rng(2), 0.2, positions=36), (6, 6), GOLD)
    assert many.per_nm_sigma < 0.4 * one.per_nm_sigma
    assert many.reflections.sum() <= 50
    assert abs(many.per_nm - 0.25) < 3 * many.per_nm_sigma


def test_a_powder_of_grains_that_are_seen_once() -> None:
    """Every position another grain: no reflection comes again, and each disk counts. Disks anywhere are refused."""
    off = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        per_nm, frame = rng.uniform(0.2, 0.28), np.repeat(np.arange(36), 9)
        place = powder(rng, per_nm, 36 * 9)
        place[::9] = 0  # the direct beam
        table = seen(place, rng)
        table = diffraction.DiskTable(
            frame,
            *(getattr(table, name)[1:] for name in ("y", "x")),
            np.where(np.arange(324) % 9, 100.0, 1e4),
            np.full(324, 0.1),
            np.full(324, 9.0),
        )
        found = diffraction.pixel_size(table, (6, 6), GOLD)
        assert found.reflections.sum() > 0.95 * 36 * 8
        assert any("as a powder" in note for note in found.notes)
        off.append((found.per_nm - per_nm) / found.per_nm_sigma)
        assert found.per_nm_sigma < 5e-4 * per_nm
    assert 0.3 < np.sqrt(np.mean(np.square(off))) < 2
    for seed in range(5):
        place = np.random.default_rng(seed).uniform(4, 124, (2, 324))
        anywhere = dataclasses.replace(table, y=place[0], x=place[1])
        with pytest.raises(errors.CalibrationError):
            diffraction.pixel_size(anywhere, (6, 6), GOLD, center=(64, 64))


def test_units_scale() -> None:
    """Planes twice as far apart make pixels half as large, and nothing else."""
    table = seen(powder(np.random.default_rng(5), 0.25), np.random.default_rng(6))
    found = diffraction.pixel_size(table, (1, 1), GOLD, beam_energy_kev=200)
    other = diffraction.pixel_size(table, (1, 1), 2 * GOLD)
    assert other.per_nm == pytest.approx(found.per_nm / 2, rel=1e-6)
    assert other.ratio == pytest.approx(found.ratio, rel=1e-6)
    assert found.mrad == pytest.approx(1e3 * optics.wavelength_nm(200) * found.per_nm)
    assert found.mrad_sigma / found.mrad == pytest.approx(found.per_nm_sigma / found.per_nm)
    with pytest.raises(errors.ParameterError, match="beam energy is not known"):
        _ = other.mrad


def test_one_crystal_will_do() -> None:
    rng = np.random.default_rng(0)
    found = diffraction.pixel_size(seen(square(0.25), rng, 0.05), (1, 1), GOLD, rough_per_nm=0.27)
    assert abs(found.per_nm - 0.25) < 3 * found.per_nm_sigma
    assert found.reflections.tolist()[:3] == [0, 4, 4]
    assert any("one lattice" in note for note in found.notes)
    sure = diffraction.pixel_size(seen(square(0.25), rng, 0.05), (1, 1), GOLD, distortion=NONE)
    assert not any("one lattice" in note for note in sure.notes)
    assert sure.per_nm_sigma < found.per_nm_sigma


def test_grains_of_gold_at_any_orientation() -> None:
    """Patterns of another kind of simulation; reflections off the Ewald sphere lie nearer to the beam."""
    grains = Rotation.concatenate([Rotation.random(30, random_state=4)] * 3)
    table = gold_disks(grains, 0.3, np.random.default_rng(1), 6000.0)
    found = diffraction.pixel_size(table, (9, 10), GOLD)
    assert 0.3 <= found.per_nm < 0.3015
    assert found.explained > 0.9
    np.testing.assert_allclose(found.spacings_nm, GOLD)


def test_from_frames_to_the_size() -> None:
    """A simulated crystal whose planes are known, on an elliptical detector, disks found in counts."""
    truth = simulate.polycrystal(
        (5, 5), (96, 96), radius_px=4.0, grains=1, amorphous=0, electrons=8000, ellipse=(1.04, 50), seed=4
    )
    place = np.stack([truth.y, truth.x], axis=1) - truth.center[truth.frame]
    length = np.hypot(*(place @ np.linalg.inv(truth.matrix).T).T)
    planes = 1 / (0.2 * np.unique(length[length > 1].round(6)))
    table = diffraction.find_disks(truth.frames(seed=2), truth.radius_px)
    found = diffraction.pixel_size(table, (5, 5), planes, distortion=truth.matrix)
    assert abs(found.per_nm - 0.2) < 3 * found.per_nm_sigma
    assert found.per_nm_sigma < 1e-3 * 0.2
    free = diffraction.pixel_size(table, (5, 5), planes, rough_per_nm=0.21)
    assert abs(free.ratio - 1.04) < 3 * free.ratio_sigma
    assert abs(free.per_nm - 0.2) < 3 * free.per_nm_sigma


def test_planes_of_a_crystal() -> None:
    """Those that the atoms forbid are no rings: 200 and 222 of silicon, mixed indices of gold."""
    pytest.importorskip("diffsims")
    from diffpy.structure import Atom, Lattice, Structure
    from orix.crystal_map import Phase

    from esteemcore.diffraction.spacings import checked_spacings

    gold = Phase("Au", 225, structure=Structure([Atom("Au", [0, 0, 0])], Lattice(4.08, 4.08, 4.08, 90, 90, 90)))
    expected = [s for s in range(1, 49) if any(_odd_or_even(s))]
    np.testing.assert_allclose(checked_spacings(gold), 0.408 / np.sqrt(expected), rtol=1e-6)
    silicon = Phase("Si", 227, structure=Structure([Atom("Si", [0, 0, 0])], Lattice(5.43, 5.43, 5.43, 90, 90, 90)))
    found = (0.543 / checked_spacings(silicon)) ** 2
    np.testing.assert_allclose(found[:6], [3, 8, 11, 16, 19, 24], rtol=1e-6)
    table = seen(powder(np.random.default_rng(5), 0.25), np.random.default_rng(6))
    assert diffraction.pixel_size(table, (1, 1), gold).per_nm == pytest.approx(0.25, rel=2e-3)


def _odd_or_even(square_of_length: int):
    """Yield the indices of a length that are all odd or all even."""
    for h in range(8):
        for k in range(8):
            for m in range(8):
                if h * h + k * k + m * m == square_of_length and h % 2 == k % 2 == m % 2:
                    yield h, k, m


def test_where_nothing_fits_there_is_no_size() -> None:
    rng = np.random.default_rng(0)
    for seed in range(5):
        places = np.random.default_rng(seed).uniform(-50, 50, (40, 2))
        with pytest.raises(errors.CalibrationError, match=r"do not lie on rings|equally well|% of the ref"):
            diffraction.pixel_size(seen(places, rng), (1, 1), GOLD)
    row = np.array([[0, 10.0], [0, -10.0], [0, 20.0], [0, -20.0], [0, 40.0], [0, -40.0]])
    with pytest.raises(errors.CalibrationError, match="equally well"):  # every second plane of a row
        diffraction.pixel_size(seen(row, rng, 0.02), (1, 1), 0.4 / 2.0 ** np.arange(7), distortion=NONE)
    with pytest.raises(errors.CalibrationError, match="hardly any disk"):
        diffraction.pixel_size(seen(np.zeros((0, 2)), rng), (1, 1), GOLD)
    with pytest.raises(errors.CalibrationError, match=r"about 0\.1 1/nm"):
        diffraction.pixel_size(seen(powder(rng, 0.2), rng), (1, 1), GOLD, rough_per_nm=0.1)


def along(zone, per_nm: float, rng, noise: float = 0.1, reach_px: float = 42.0) -> diffraction.DiskTable:
    """All reflections of gold along a zone."""
    h = np.mgrid[-8:9, -8:9, -8:9].reshape(3, -1).T
    h = h[(h % 2 == h[:, :1] % 2).all(axis=1) & (h != 0).any(axis=1) & (h @ zone == 0)]
    first = np.cross(zone, [0.3, 0.5, 0.8])
    second = np.cross(first, zone)
    axes = np.stack([first / np.linalg.norm(first), second / np.linalg.norm(second)], axis=1)
    q = h @ axes / 0.408 / per_nm
    return seen(q[np.hypot(*q.T) < reach_px], rng, noise)


@pytest.mark.parametrize("matrix", [None, NONE])
def test_gold_along_111_is_two_sizes(matrix) -> None:
    """220 and 422 are 200 and 222 at a size smaller by the root of two; the number of equivalent ones tells nothing."""
    rings = 0.408 / np.sqrt([3, 4, 8, 11, 12, 16, 19, 20, 24, 27, 32])
    for seed in range(2):
        table = along([1, 1, 1], 0.3, np.random.default_rng(seed))
        with pytest.raises(errors.CalibrationError, match=r"0\.21\d* and 0\.(3|2[89])\d* 1/nm per px explain"):
            diffraction.pixel_size(table, (1, 1), rings, distortion=matrix)
    sure = diffraction.pixel_size(table, (1, 1), rings, distortion=NONE, rough_per_nm=0.28)
    assert abs(sure.per_nm - 0.3) < 4 * sure.per_nm_sigma
    other = diffraction.pixel_size(along([0, 1, 1], 0.3, np.random.default_rng(0)), (1, 1), rings, distortion=matrix)
    assert abs(other.per_nm - 0.3) < 4 * other.per_nm_sigma  # four lengths and more that fit no other size


def test_one_crystal_whose_spacings_end_too_early() -> None:
    """At the true size most of its reflections lie beyond them, so that a wrong one is likelier."""
    table = along([1, 1, 1], 0.2, np.random.default_rng(0), 0.02, 80.0)
    found = diffraction.pixel_size(table, (1, 1), 0.408 / np.sqrt([3, 4, 8, 11, 12, 16]), distortion=NONE)
    assert found.per_nm == pytest.approx(0.2 / 2**0.5, rel=5e-3)
    assert any("give more spacings, or rough_per_nm" in note for note in found.notes)


FCC, BCC, DIAMOND = (
    [3, 4, 8, 11, 12, 16, 19, 20, 24],
    [2, 4, 6, 8, 10, 12, 14, 16, 18, 20],
    [3, 8, 11, 16, 19, 24, 27, 32],
)
SIMPLE = [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14]


@pytest.mark.parametrize(
    ("real", "given"), [(SIMPLE, FCC), (BCC, FCC), (DIAMOND, FCC), (BCC, DIAMOND), (SIMPLE, DIAMOND)]
)
def test_another_crystal_is_refused(real, given) -> None:
    """Its rings are among those given, at a wrong size, and rings between them are empty."""
    rng = np.random.default_rng(1)
    angle = rng.uniform(0, 2 * np.pi, 60)
    length = np.sqrt(np.array(real))[rng.integers(0, len(real), 60)] / 0.4 / 0.2
    table = seen(length[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1), rng)
    spacings = 0.3 / np.sqrt(given)
    with pytest.raises(errors.CalibrationError, match="rings are empty among") as refused:
        diffraction.pixel_size(table, (1, 1), spacings)
    size = float(str(refused.value).split("size, ")[1].split()[0])
    notes = diffraction.pixel_size(table, (1, 1), spacings, rough_per_nm=size).notes
    assert any("rings are empty among" in note for note in notes)


def test_empty_rings_of_a_large_cell_are_an_accident() -> None:
    """Of thousands of spacings, hundreds of reflections can lie on some only."""
    rings = np.geomspace(1 / GOLD[0], 1 / GOLD[-1], 3000)
    scale = importlib.import_module("esteemcore.diffraction.ring_scale").Scale
    rng = np.random.default_rng(0)
    ring, angle = rng.integers(0, len(rings), 400), rng.uniform(0, 2 * np.pi, 400)
    spots = rings[ring, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1) / 0.2
    one = scale(0.2, 1e-4, 0.04 * np.eye(2), 1e-3, ring, 0.1, 1.0, 50.0, len(rings), 1.0)
    assert importlib.import_module("esteemcore.diffraction.pixel_size")._empty(one, spots, 0) is None


def test_few_spacings_and_angstrom_are_told() -> None:
    table = seen(powder(np.random.default_rng(5), 0.25), np.random.default_rng(6))
    assert diffraction.pixel_size(table, (1, 1), GOLD).notes == ()
    few = diffraction.pixel_size(table, (1, 1), GOLD[:4], rough_per_nm=0.25)
    assert any("more reflections lie beyond" in note for note in few.notes)
    assert few.per_nm == pytest.approx(0.25, rel=2e-3)
    angstrom = diffraction.pixel_size(table, (1, 1), 10 * GOLD)
    assert any("not in Å" in note for note in angstrom.notes)


@pytest.mark.parametrize(
    ("spacings", "message"),
    [([], "a row of positive"), ([0.2, -0.1], "a row of positive"), ([[0.2]], "a row of positive"), (["a"], "a row of"),
     ([np.nan], "a row of positive"), ([235.5], "spacings are in nm")],
)  # fmt: skip
def test_bad_spacings(spacings, message) -> None:
    table = seen(powder(np.random.default_rng(5), 0.25), np.random.default_rng(6))
    with pytest.raises(errors.ParameterError, match=message):
        diffraction.pixel_size(table, (1, 1), spacings)


def test_bad_parameters() -> None:
    table = seen(powder(np.random.default_rng(5), 0.25), np.random.default_rng(6))
    with pytest.raises(errors.ParameterError, match="rough_per_nm is -1"):
        diffraction.pixel_size(table, (1, 1), GOLD, rough_per_nm=-1)
    with pytest.raises(errors.ParameterError, match="distortion has shape"):
        diffraction.pixel_size(table, (1, 1), GOLD, distortion=[1.0])
    with pytest.raises(errors.ParameterError, match="no disks"):
        diffraction.pixel_size(table.select(np.zeros(len(table), bool)), (1, 1), GOLD)


def test_examples() -> None:
    result = doctest.testmod(importlib.import_module("esteemcore.diffraction.pixel_size"))
    assert result.attempted > 0
    assert result.failed == 0
