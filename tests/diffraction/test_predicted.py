"""Faint disks on the lattices of the others: which lattices a frame has, and what is found at their points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from esteemcore import diffraction, simulate, stream
from esteemcore.diffraction import _lattice_kernels as kernels

RADIUS = 4.5
BEAM = np.array([48.0, 47.0])
SQUARE = np.array([[20.0, 3.0], [-3.0, 20.0]])
SIXFOLD = np.array([[6.0, 23.0], [-16.9, 16.7]])


def points(basis, reach=2):
    index = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    return index @ basis + BEAM


def lattices_of(place, sigma=0.2):
    guess, rows = np.zeros((len(place), 3)), np.full((len(place), 12), sigma, np.float32)
    guess[:, :2] = place  # as parts of larger arrays, for which the loops are compiled anyway
    return kernels.find_lattices(guess[:, :2], rows[:, 3], BEAM, 0.1, 1.6 * RADIUS)


def soft(dy, dx):
    s = np.clip(0.5 - (np.hypot(dy, dx) - RADIUS) / 2, 0, 1)
    return s**2 * (3 - 2 * s)


def same_lattice(found, true):
    index = true @ np.linalg.inv(found)
    return np.abs(index - np.round(index)).max() < 0.05 and abs(abs(np.linalg.det(np.round(index))) - 1) < 1e-9


def test_two_lattices_are_told_from_each_other() -> None:
    """Of each some points are missing, and some disks belong to neither."""
    rng, right = np.random.default_rng(1), 0
    for _ in range(20):
        place = np.concatenate([rng.permutation(points(basis))[:16] for basis in (SQUARE, SIXFOLD)])
        place = np.concatenate([place + rng.normal(0, 0.25, place.shape), rng.uniform(0, 96, (3, 2))])
        _, bases = lattices_of(rng.permutation(place))
        right += sum(any(same_lattice(found, true) for found in bases) for true in (SQUARE, SIXFOLD))
    assert right >= 36


def test_a_lattice_whose_shortest_vectors_are_missing() -> None:
    """The points (h, k) with h + k odd are the centres of the others; a few of them are enough."""
    index = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1], [2, 0], [0, 2], [-2, 0], [2, 1], [-1, 2], [1, 2], [-2, -1]])
    _, bases = lattices_of(index @ SQUARE + BEAM)
    assert same_lattice(bases[0], SQUARE)


def test_places_anywhere_are_no_lattice() -> None:
    rng = np.random.default_rng(2)
    assert sum(len(lattices_of(rng.uniform(0, 96, (14, 2)))[0]) for _ in range(100)) <= 10


def test_gain_and_nearest_point_against_numpy() -> None:
    rng = np.random.default_rng(3)
    place, free = rng.uniform(0, 96, (30, 2)), rng.random(30) < 0.7
    place[:12] = points(SQUARE)[:12] + rng.normal(0, 0.6, (12, 2))
    index = np.round((place - BEAM) @ np.linalg.inv(SQUARE))
    nearest = index @ SQUARE + BEAM
    for (y, x), point, (h, k) in zip(place, nearest, index, strict=True):
        np.testing.assert_allclose(kernels.nearest_point(y, x, BEAM, SQUARE), (*point, h, k), atol=1e-9)
    off = ((place - nearest) ** 2).sum(axis=1) / kernels.OFF_PX**2
    on = free & (off < 1) & index.any(axis=1)
    chance = np.pi * kernels.OFF_PX**2 / np.linalg.det(SQUARE)
    gain = ((1 - off[on] / 2).sum() - 2) * -np.log(chance)
    assert kernels.lattice_gain(place, free, BEAM, SQUARE) == pytest.approx(gain)


@pytest.fixture(scope="module")
def faint():
    """Frames of two lattices, of one a disk of 20 electrons at one point, none at another: tables without and with."""
    place = np.concatenate([points(SQUARE), points(SIXFOLD, 1)])
    heights = np.full(len(place), 2.5)
    heights[12], heights[2], heights[22], heights[29] = 20, 0.32, 0, 0
    y, x = np.mgrid[:96, :96]
    mean = 0.3 + sum(a * soft(y - row, x - column) for a, (row, column) in zip(heights, place, strict=True))
    frames = np.random.default_rng(4).poisson(mean, (1, 60, 96, 96)).astype(np.uint16)
    tables = [diffraction.find_disks(frames, RADIUS, overlapping=more, threads=1) for more in (False, True)]
    return frames, place, tables


def share_with(table, place, frames=60):
    near = np.hypot(table.y - place[0], table.x - place[1]) < 2.5
    return len(np.unique(table.frame[near])) / frames


def test_a_faint_disk_on_the_lattice_is_found(faint) -> None:
    _, place, (alone, known) = faint
    assert share_with(known, place[2]) > share_with(alone, place[2]) + 0.2


def test_where_the_lattice_has_no_disk_none_is_found(faint) -> None:
    """The test at a known place is one of 2.8 standard deviations: of places without a disk it takes less than 1 %."""
    _, place, (_, known) = faint
    assert share_with(known, place[22]) < 0.08


def test_chunks_do_not_matter_to_lattices(faint) -> None:
    frames, _, (_, known) = faint
    spec = stream.Spec((1, 60), (96, 96), np.uint16)
    first = diffraction.find_disks(frames, RADIUS, passes=1, threads=1)
    structure = diffraction.learn_structure(first, (96, 96), RADIUS)
    reducer = diffraction.Disks(RADIUS, distortion=np.eye(2), structure=structure, found=first, overlapping=True)
    tables = [
        stream.run({"disks": reducer}, spec, stream.chunks(frames, order=order, size=size))["disks"]
        for order, size in ((np.arange(60), 60), (np.arange(60)[::-1], 7))
    ]
    for name in ("frame", "y", "x", "sigma_px", "score"):
        np.testing.assert_array_equal(getattr(tables[0], name), getattr(tables[1], name))
    assert len(tables[0]) == pytest.approx(len(known), rel=0.05)


def test_one_disk_stays_one_row() -> None:
    """Where two lattices have points near each other the second fit would be one of what the first has found."""
    made = simulate.polycrystal(
        (5, 6), (96, 96), radius_px=RADIUS, spacing_px=20, electrons=8000, overlap=0.4, amorphous=0, grains=3, seed=5
    )
    table = diffraction.find_disks(made.frames(), RADIUS, overlapping=True, threads=1)
    place = np.stack([1e3 * table.frame, table.y, table.x], axis=1)
    distance, _ = cKDTree(place).query(place, k=2)
    assert distance[:, 1].min() > 0.4 * RADIUS - 0.01


def test_grains_on_top_of_each_other() -> None:
    """More of the disks are found, and nearer to where they are."""
    made = simulate.polycrystal(
        (4, 4), (96, 96), radius_px=RADIUS, spacing_px=20, electrons=8000, overlap=0.4, amorphous=0, grains=3, seed=3
    )
    whole = ((np.stack([made.y, made.x]) > RADIUS) & (np.stack([made.y, made.x]) < 95 - RADIUS)).all(axis=0)
    counts = whole & (made.electrons > 60)
    missed, false, error = [], [], []
    for more in (False, True):
        table = diffraction.find_disks(made.frames(), RADIUS, overlapping=more, threads=1)
        true = np.stack([1e3 * made.frame, made.y, made.x], axis=1)
        found = np.stack([1e3 * table.frame, table.y, table.x], axis=1)
        missed.append((cKDTree(found).query(true[counts])[0] > 1.5).mean())
        distance = cKDTree(true).query(found)[0]
        false.append((distance > 2.5).mean())
        error.append(np.sqrt(np.mean(distance[distance < 2.5] ** 2)))
    assert missed[1] < 0.5 * missed[0]
    assert false[1] < false[0] + 0.01
    assert error[1] < 0.95 * error[0]
