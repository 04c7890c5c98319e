"""Orientations: known ones are found, whatever the turn, and what is told of them is right."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import threading

import numpy as np
import pytest
from known_crystals import CUBIC, angle_deg, disks, library, pattern, quaternions, reflections
from scipy.spatial.transform import Rotation

from esteemcore import diffraction, errors
from esteemcore.diffraction import _orientation_kernels as kernels
from esteemcore.diffraction import orientation_match

PIXEL = 0.3


@pytest.fixture(scope="module")
def gold() -> diffraction.TemplateLibrary:
    return library()


@pytest.fixture(scope="module")
def rotations() -> Rotation:
    return Rotation.random(48, random_state=3)


@pytest.fixture(scope="module")
def found(gold, rotations) -> diffraction.Orientations:
    return diffraction.orientation(disks(rotations, rng=np.random.default_rng(0)), (6, 8), gold, PIXEL, threads=2)


def test_random_crystals_are_found(found, rotations) -> None:
    """Nearly all are among the best three, most are the first; the rest are those that two orientations explain."""
    off = np.array(
        [[angle_deg(q, r) for q in each] for each, r in zip(found.rotations.reshape(48, 3, 4), rotations, strict=True)]
    )
    first = off[:, 0] < 3.0
    assert first.mean() > 0.7
    assert (off.min(axis=1) < 3.0).mean() > 0.95
    assert np.median(off[first, 0]) < 1.0
    confidence = found.confidence.ravel()
    assert confidence[first].mean() > 2 * confidence[~first].mean()
    assert (np.diff(found.correlation, axis=-1) <= 0).all()
    assert found.correlation.max() <= 1
    assert (
        found.disks.ravel().tolist() == (np.bincount(disks(rotations, rng=np.random.default_rng(0)).frame) - 1).tolist()
    )


def test_templates_find_themselves(gold) -> None:
    """The pattern of a template has correlation one with it, at every turn and mirrored, and the angle is exact."""
    chosen = np.arange(3, len(gold), 41)
    own = [Rotation.from_quat(np.roll(gold.rotations[t], -1)) for t in chosen]
    half = Rotation.from_rotvec([0, np.pi, 0])
    turns = [Rotation.from_rotvec([0, 0, -a]) for a in np.linspace(0, 5, len(chosen))]
    for change in (
        [r * t for r, t in zip(own, turns, strict=True)],
        [r * half * t for r, t in zip(own, turns, strict=True)],
    ):
        table = disks(change, electrons=1e9)
        result = diffraction.orientation(table, (1, len(chosen)), gold, PIXEL, refine=False, azimuth_steps=360)
        np.testing.assert_allclose(result.correlation[0, :, 0], 1, atol=1e-3)
        assert max(angle_deg(q, r) for q, r in zip(result.rotations[0, :, 0], change, strict=True)) < 0.05
        refined = diffraction.orientation(table, (1, len(chosen)), gold, PIXEL)
        np.testing.assert_allclose(refined.correlation[0, :, 0], 1, atol=1e-3)
        assert max(angle_deg(q, r) for q, r in zip(refined.rotations[0, :, 0], change, strict=True)) < 0.5


def test_turning_the_pattern_turns_the_crystal(gold) -> None:
    """What a mirrored and turned pattern shows is what the turned crystal scatters."""
    start = Rotation.from_euler("xyz", [20, -13, 40], degrees=True)
    spots, intensity = pattern(start)
    for mirrored in (False, True):
        for angle in (0.0, 0.7, -2.5):
            crystal = Rotation.from_quat(np.roll(kernels.turned.py_func(quaternions(start), mirrored, angle), -1))
            y, x = spots.T * [[-1 if mirrored else 1], [1]]
            c, s = np.cos(angle), np.sin(angle)
            expected = np.stack([s * x + c * y, c * x - s * y], axis=1)
            there, bright = pattern(crystal)
            distance = np.linalg.norm(expected[:, None] - there[None], axis=-1)
            assert distance.min(axis=1).max() < 1e-9
            np.testing.assert_allclose(bright[distance.argmin(axis=1)], intensity, rtol=1e-9)


def test_nothing_is_missed(rotations) -> None:
    """The best of the bounded search is the best of an exhaustive one, written plainly."""
    gold = library(6.0)
    table = disks(rotations[:2], rng=np.random.default_rng(1))
    result = diffraction.orientation(table, (1, 2), gold, PIXEL)
    radius = np.hypot(*gold.vectors.T) / PIXEL
    azimuth = np.arctan2(*gold.vectors.T)
    turns = np.arange(360) * np.pi / 180
    for k in range(2):
        mine = (table.frame == k) & (table.intensity < 20000)
        place = np.stack([table.y[mine] - 64, table.x[mine] - 63], axis=1).astype(float)
        weight = np.sqrt(table.intensity[mine]) / np.sqrt(table.intensity[mine].sum())
        best = 0.0
        for t in range(len(gold)):
            own = slice(*gold.offset[t : t + 2])
            share = np.sqrt(gold.intensity[own] / gold.intensity[own].sum())
            for sign in (1, -1):
                at = sign * azimuth[own][:, None] + turns
                spot = radius[own][:, None, None] * np.stack([np.sin(at), np.cos(at)], axis=-1)
                near = 1 - ((spot[:, :, None] - place) ** 2).sum(axis=-1) / 2.0**2
                best = max(best, (share[:, None, None] * np.maximum(near, 0) * weight).sum(axis=(0, 2)).max())
        assert best - 2e-3 < result.correlation[0, k, 0] < best + 0.02


def test_bounds_hold(gold, rotations) -> None:
    """No template exceeds its bound, also when disks crowd."""
    rng = np.random.default_rng(5)
    prepared = orientation_match.prepare(gold, PIXEL, 2.0, 360, 0.5)
    ring, s_ring, s_step, s_weight = prepared.spots[:4]
    for crowd in (0, 30):
        table = disks(rotations[:1], rng=rng)
        place = np.stack([table.y - 64, table.x - 63], axis=1)[1:].astype(float)
        place = np.concatenate([place, place[rng.integers(0, len(place), crowd)] + rng.normal(0, 0.5, (crowd, 2))])
        radius, azimuth = np.hypot(*place.T), np.arctan2(*place.T)
        weight = np.full(len(place), len(place) ** -0.5)
        bounds = np.empty(len(gold), np.int32)
        kernels.bound_scores(radius, azimuth, weight, ring, 2.0, prepared.groups, bounds)
        room = len(place) * len(ring)
        entries = [np.empty(len(ring) + 1, np.int64)] + [np.empty(room, np.int64) for _ in range(3)]
        entries.append(np.empty(room * 400, np.int32))
        kernels.spread_disks(radius, azimuth * 180 / np.pi, weight, ring, 2.0, 360, *entries)
        turns = np.empty(720, np.int32)
        peaks = np.zeros(len(gold))
        for t in range(0, len(gold), 4):
            for sign in (1, -1):
                kernels.count_votes(gold.offset[t : t + 2], s_ring, s_step, s_weight, sign, tuple(entries), 360, turns)
                assert turns[:360].max() <= bounds[t]
            peaks[t] = turns[:360].max()
        assert (peaks > 0.5 * bounds).any()


def test_compiled_loops_are_the_python_ones(gold, rotations) -> None:
    prepared = orientation_match.prepare(gold, PIXEL, 2.0, 360, 0.5)
    rng = np.random.default_rng(2)
    radius, azimuth, weight = rng.uniform(10, 50, 9), rng.uniform(-3, 3, 9), np.full(9, 1 / 3)
    results = []
    for spread, count in (
        (kernels.spread_disks, kernels.count_votes), (kernels.spread_disks.py_func, kernels.count_votes.py_func)
    ):  # fmt: skip
        ring, s_ring, s_step, s_weight = prepared.spots[:4]
        room = 9 * len(ring)
        entries = [np.zeros(len(ring) + 1, np.int64)] + [np.zeros(room, np.int64) for _ in range(3)]
        entries.append(np.zeros(room * 100, np.int32))
        spread(radius, azimuth * 180 / np.pi, weight, ring, 2.0, 360, *entries)
        turns = np.zeros(720, np.int32)
        count(gold.offset[7:9], s_ring, s_step, s_weight, -1, tuple(entries), 360, turns)
        results.append((*entries, turns[:360]))
    for compiled, plain in zip(*results, strict=True):
        np.testing.assert_array_equal(compiled, plain)


def test_symmetry_makes_orientations_equal(rotations) -> None:
    group = quaternions(CUBIC)
    for k in range(0, 20, 5):
        a, b = quaternions(rotations[k]), quaternions(rotations[k + 1])
        equal = quaternions(CUBIC[7] * rotations[k])
        assert kernels.cos_half(a, equal, group) == pytest.approx(1)
        angle = np.degrees(2 * np.arccos(kernels.cos_half.py_func(a, b, group)))
        assert angle == pytest.approx(angle_deg(a, rotations[k + 1]), abs=1e-6)
        assert angle < 62.81  # the largest there is between cubic crystals


def test_the_phase_is_found(rotations) -> None:
    """Two crystals whose lattices differ by 6 %."""
    crystals = [reflections(), reflections(np.diag([1.06, 1.06, 1.06]))]
    both = library(4.0, crystals, ("gold", "smaller"))
    some = rotations[:12]
    for number, crystal in enumerate(crystals):
        result = diffraction.orientation(disks(some, crystal=crystal), (3, 4), both, PIXEL, tolerance_px=1.5)
        assert (result.phase[..., 0] == number).mean() > 0.9
    assert both.names == ("gold", "smaller")


def test_grains_on_top_of_each_other_are_both_found(gold) -> None:
    a, b = Rotation.from_euler("xyz", [3, 5, 10], degrees=True), Rotation.from_euler("xyz", [40, 12, 80], degrees=True)
    first, second = disks([a]), disks([b], electrons=2500)
    joined = {
        name: np.concatenate([getattr(first, name), getattr(second, name)[1:]])
        for name in ("frame", "y", "x", "intensity", "sigma_px", "score")
    }
    result = diffraction.orientation(diffraction.DiskTable(**joined), (1, 1), gold, PIXEL, n_best=4)
    off = [[angle_deg(q, r) for q in result.rotations[0, 0]] for r in (a, b)]
    assert min(off[0]) < 2.5
    assert min(off[1]) < 2.5
    assert result.correlation[0, 0, 0] < 0.9


def test_center_distortion_rotation_and_flip(gold) -> None:
    """A distorted, shifted, turned and transposed detector shows the same crystals once it is told so."""
    some = Rotation.random(6, random_state=1)
    table = disks(some)
    plain = diffraction.orientation(table, (2, 3), gold, PIXEL)
    place = np.stack([table.y, table.x], axis=1).astype(float) - [64, 63]
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    matrix = np.array([[1.06, 0.02], [0.02, 0.97]])
    seen = (place @ turn.T)[:, ::-1] @ matrix.T + [50, 70]
    hidden = dataclasses.replace(table, y=seen[:, 0], x=seen[:, 1]).select(table.intensity < 20000)
    result = diffraction.orientation(
        hidden, (2, 3), gold, PIXEL, center=(50, 70), distortion=matrix, rotation_deg=np.degrees(0.4), flip=True
    )
    np.testing.assert_allclose(result.correlation[..., 0], plain.correlation[..., 0], atol=1e-3)
    for q, p in zip(result.rotations[..., 0, :].reshape(-1, 4), plain.rotations[..., 0, :].reshape(-1, 4), strict=True):
        assert angle_deg(q, Rotation.from_quat(np.roll(p, -1))) < 0.1


def test_threads_change_nothing(gold, rotations, found) -> None:
    table = disks(rotations, rng=np.random.default_rng(0))
    again = diffraction.orientation(table, (6, 8), gold, PIXEL, threads=1)
    np.testing.assert_array_equal(again.rotations, found.rotations)
    np.testing.assert_array_equal(again.correlation, found.correlation)
    assert again.provenance == found.provenance
    fewer = diffraction.orientation(table, (6, 8), gold, PIXEL, n_best=2)
    np.testing.assert_array_equal(fewer.rotations[..., 0, :], found.rotations[..., 0, :])


def test_positions_without_a_crystal(gold) -> None:
    table = disks(Rotation.random(4, random_state=2))
    few = table.select((table.frame != 2) | (table.intensity > 20000))
    result = diffraction.orientation(few, (2, 3), gold, PIXEL)
    missing = np.isnan(result.confidence).ravel()
    assert missing.nonzero()[0].tolist() == [2, 4, 5]
    assert np.isnan(result.rotations.reshape(6, 3, 4)[missing]).all()
    assert (result.phase.reshape(6, 3)[missing] == -1).all()
    assert any("3 of 6 positions" in note for note in result.notes)


def test_what_does_not_look_like_the_templates_is_told(gold, rotations) -> None:
    rng = np.random.default_rng(0)
    n = 160
    chaos = diffraction.DiskTable(
        np.repeat(np.arange(8), n // 8), *rng.uniform(20, 108, (2, n)), rng.uniform(50, 60, n), np.ones(n), np.ones(n)
    )
    result = diffraction.orientation(chaos, (2, 4), gold, PIXEL, center=(64, 64))
    assert any("correlation of only" in note for note in result.notes)
    with pytest.raises(errors.ParameterError, match="pixel_per_nm 30 right"):
        diffraction.orientation(disks(rotations[:2]), (1, 2), gold, 30.0)
    result = diffraction.orientation(disks(rotations[:2]), (1, 2), gold, 0.27)
    assert result.notes
    told = dataclasses.replace(disks(rotations[:2]), notes=("hot pixels", *result.notes))
    assert diffraction.orientation(told, (1, 2), gold, 0.27).notes == ("hot pixels", *result.notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pixel_per_nm": 0}, "pixel_per_nm is 0"),
        ({"n_best": 1}, "n_best is 1"),
        ({"tolerance_px": -1}, "tolerance_px"),
        ({"least_disks": 1}, "least_disks is 1"),
        ({"center": [1, 2, 3]}, "center has shape"),
        ({"library": "gold"}, "expected a TemplateLibrary"),
        ({"scan_shape": (1, 1)}, "scan has positions 0 to 0"),
        ({"tolerance_px": 9}, "tolerance_px is 9, but the innermost spots of the templates are 14.*px from the beam"),
        ({"tolerance_px": 0.01}, "more than 7200 steps"),
        ({"azimuth_steps": 90}, "azimuth_steps is 90: the outermost spots would move by 3.6 px"),
        ({"distortion": np.zeros((2, 2))}, "distortion stretches by 0 to 0"),
        ({"distortion": np.eye(3)}, r"distortion has shape \(3, 3\)"),
        ({"rotation_deg": np.nan}, "rotation_deg is nan"),
        ({"threads": 0}, "threads is 0"),
        ({"disks": "gold"}, "disks is a str; expected a DiskTable"),
    ],
)
def test_bad_parameters(gold, rotations, arguments, message) -> None:
    given = {"disks": disks(rotations[:2]), "scan_shape": (1, 2), "library": gold, "pixel_per_nm": PIXEL} | arguments
    with pytest.raises(errors.ParameterError, match=message):
        diffraction.orientation(**given)


def test_a_reflection_brighter_than_the_beam(gold, rotations, found) -> None:
    """The beam of the others tells where it is; without any beam there is an error, or a word in the notes."""
    table = disks(rotations, rng=np.random.default_rng(0))
    bright = table.intensity.copy()
    odd = np.flatnonzero((table.frame % 7 == 3) & (np.diff(table.frame, prepend=-1) > 0))
    bright[odd + 2] = 4e4
    result = diffraction.orientation(dataclasses.replace(table, intensity=bright), (6, 8), gold, PIXEL, gamma=1e-3)
    plain = diffraction.orientation(table, (6, 8), gold, PIXEL, gamma=1e-3)
    np.testing.assert_array_equal(result.disks, plain.disks)
    np.testing.assert_allclose(result.correlation[..., 0], plain.correlation[..., 0], atol=0.02)
    assert any(f"at {len(odd)} positions a reflection is the brightest" in note for note in result.notes)
    assert not any("reflection" in note for note in found.notes)
    hidden = table.select(table.intensity < 20000)
    with pytest.raises(errors.CalibrationError, match="Give its place as center"):
        diffraction.orientation(hidden, (6, 8), gold, PIXEL)
    one = hidden.select(hidden.frame == 5)
    same = dataclasses.replace(one, frame=np.zeros(len(one), int), intensity=np.linspace(60, 50, len(one)))
    assert any("give its place as center" in n for n in diffraction.orientation(same, (1, 1), gold, PIXEL).notes)


def test_crowded_disks_add_nothing(gold, rotations) -> None:
    """The same disks several times, and the largest tolerance: correlations of one at most, and lower than before."""
    table = disks(rotations[:6])
    one = np.tile(np.arange(len(table)), 40)
    plain = diffraction.orientation(table, (2, 3), gold, PIXEL, tolerance_px=7)
    crowd = diffraction.orientation(table.select(one), (2, 3), gold, PIXEL, tolerance_px=7)
    assert plain.correlation.max() <= 1
    assert (crowd.correlation[..., 0] < 0.5 * plain.correlation[..., 0]).all()
    several = dataclasses.replace(table, visits=np.full((2, 3), 2, np.uint32))
    with pytest.raises(errors.ParameterError, match="several frames at a position"):
        diffraction.orientation(several, (2, 3), gold, PIXEL)


def test_provenance_tells_inputs_apart(gold, rotations, found) -> None:
    table = disks(rotations, rng=np.random.default_rng(0))
    assert gold.digest() != dataclasses.replace(gold, symmetries=()).digest()
    assert gold.digest() != dataclasses.replace(gold, names=("silver",)).digest()
    for changes in ({"distortion": np.diag([1.01, 1])}, {"refine": False}, {"center": (64, 63.1)}):
        assert diffraction.orientation(table, (6, 8), gold, PIXEL, **changes).provenance != found.provenance
    brighter = dataclasses.replace(table, intensity=table.intensity * 1.1)
    assert diffraction.orientation(brighter, (6, 8), gold, PIXEL).provenance != found.provenance


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rotations": [[2, 0, 0, 0]]}, "one unit quaternion"),
        ({"offset": [0, 3]}, "offset tells of 3 spots"),
        ({"offset": [1, 2]}, "offset must rise from 0"),
        ({"vectors": [[0, 0], [1, 1]]}, "leave the direct beam out"),
        ({"intensity": [-1, 1]}, "not negative"),
        ({"phase": [1]}, "one of the numbers 0 to 0"),
        ({"symmetries": (np.eye(3),)}, "must hold quaternions"),
    ],
)
def test_libraries_that_are_none(changes, message) -> None:
    parts = {"offset": [0, 2], "vectors": [[0, 1], [1, 1]], "intensity": [1, 1], "rotations": [[1, 0, 0, 0]]}
    assert len(diffraction.TemplateLibrary(**parts)) == 1
    with pytest.raises(errors.ParameterError, match=message):
        diffraction.TemplateLibrary(**(parts | changes))


def test_it_can_be_cancelled_and_reports_progress(gold, rotations) -> None:
    steps = []
    table = disks(rotations[:2])
    diffraction.orientation(table, (20, 20), gold, PIXEL, progress=steps.append, threads=1)
    assert steps[-1] == 1
    assert steps == sorted(steps)
    stop = threading.Event()
    stop.set()
    for threads in (1, 2):
        with pytest.raises(errors.CancelledError):
            diffraction.orientation(table, (20, 20), gold, PIXEL, cancel=stop, threads=threads)


def test_examples() -> None:
    result = doctest.testmod(importlib.import_module("esteemcore.diffraction.orientation_map"))
    assert result.attempted > 0
    assert result.failed == 0
