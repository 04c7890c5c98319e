"""Disks that lie partly on each other: told apart where the counts say so, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special

from esteemcore import diffraction, errors, events, stream
from esteemcore.diffraction import look

RADIUS = 4.5


def soft(dy, dx, radius=RADIUS, edge=look.EDGE_PX):
    s = np.clip(0.5 - (np.hypot(dy, dx) - radius) / edge, 0, 1)
    return s**2 * (3 - 2 * s)


def rates(disks, shape=(40, 40), background=0.1):
    """Return a frame with disks (row, column, height)."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return background + sum(height * soft(y - row, x - column) for row, column, height in disks)


def found(frames, **changes):
    return diffraction.find_disks(frames[None], RADIUS, center=(20, 4), threads=1, **changes)


def told_apart(frames, order=None, size=1024):
    """Look beside each disk of a first pass; nothing is learnt in between, from blends that are the same everywhere."""
    first = found(frames, passes=1)
    reducer = diffraction.Disks(RADIUS, center=(20, 4), found=first, overlapping=True, threads=1)
    spec = stream.Spec((1, len(frames)), frames.shape[1:], np.uint16)
    return stream.run({"disks": reducer}, spec, stream.chunks(frames[None], order=order, size=size))["disks"]


@pytest.fixture(scope="module")
def pairs():
    """Frames of two disks of some 200 electrons, 5 px apart, and what is found in them."""
    frames = np.random.default_rng(1).poisson(rates([(20, 22, 3.0), (23, 26, 3.0)]), (60, 40, 40)).astype(np.uint16)
    return frames, told_apart(frames)


def test_two_are_found_where_there_are_two(pairs) -> None:
    frames, table = pairs
    assert len(found(frames)) < 1.2 * len(frames)
    assert np.mean(np.bincount(table.frame, minlength=len(frames)) == 2) > 0.95


def test_the_places_of_pairs_are_as_sure_as_they_say(pairs) -> None:
    """The spread of normalised errors is 1, although each disk hides a part of the other."""
    _, table = pairs
    table = table.select(np.bincount(table.frame)[table.frame] == 2)
    place = np.stack([table.y, table.x], 1).astype(float)
    error = np.stack([place - [20, 22], place - [23, 26]])
    nearest = error[np.argmin((error**2).sum(2), axis=0), np.arange(len(place))]
    normalised = nearest / table.sigma_px[:, None]
    assert 0.8 < np.sqrt(np.mean(normalised**2)) < 1.25
    assert np.abs(nearest.mean(axis=0)).max() < 0.15


def test_one_stays_one() -> None:
    frames = np.random.default_rng(2).poisson(rates([(20, 22, 4.0)]), (100, 40, 40)).astype(np.uint16)
    assert len(found(frames, overlapping=True)) <= len(found(frames)) + 2


def test_a_gradient_is_no_second_disk() -> None:
    y, x = np.mgrid[:40, :40]
    mean = 0.1 + 4 * soft(y - 20, x - 22) * (1 + 0.5 * (x - 22) / RADIUS)
    frames = np.random.default_rng(3).poisson(mean, (60, 40, 40)).astype(np.uint16)
    assert len(found(frames, overlapping=True)) <= len(found(frames)) + 3


def test_the_likelihood_of_a_pair_and_its_slopes() -> None:
    """Against logarithms of Poisson probabilities and differences of them."""
    from esteemcore.diffraction import _pair_kernels as kernels

    y, x = (a.ravel() for a in np.mgrid[-9:10, -9:14])
    rng = np.random.default_rng(4)
    p = np.array([0.4, 0.03, 3.0, 0.3, -0.4, 0.3, -0.2, 2.0, 0.2, 0.1, 1.2, 4.6])
    turn, outward = np.array([[1.02, 0.01], [0.01, 0.97]]), np.array([0.6, 0.8])
    prior, sd = rng.normal(0, 0.1, (2, 3)), np.full((2, 3), 0.3)
    counts = rng.poisson(1.0, y.size)
    window = np.stack([y, x, counts, np.full(y.size, 0.05)]).astype(np.float32)
    anchor = np.array([[0.1, 0.2, 4.0], [1.5, 4.0, 0.0]])
    known = np.zeros((0, 2)), np.zeros((0, 3)), np.zeros((0, 3))
    seen = look.make_look(np.ones((40, 40), bool), RADIUS, 4.0, np.linalg.inv(turn), np.full(2, np.nan), known)
    memory = {"prior": prior, "prior_sd": sd, "anchor": anchor, "window": window, "outward": outward}
    pair = kernels.make_pair(seen)._replace(**memory)

    def model(p):
        rate = 0.05 + p[0] * (1 + p[1] * (outward @ [y, x]) / 4) ** 4
        for height, a, b, row, column in p[2:].reshape(2, 5):
            u, v = turn @ [y - row, x - column]
            rate = rate + (height + (a * u + b * v) / RADIUS) * soft(u, v)
        tilts = [
            (d[1 + i] - prior[k, i] * d[0]) / (sd[k, i] * d[0])
            for k, d in enumerate(p[2:].reshape(2, 5))
            for i in (0, 1)
        ]
        usual = np.sum(np.square([(p[1] - prior[0, 2]) / sd[0, 2], *tilts])) / 2
        off = np.sum(anchor[:, 2:] * (p[2:].reshape(2, 5)[:, 3:] - anchor[:, :2]) ** 2) / 2
        return np.sum(special.xlogy(counts, rate) - rate) - usual - off

    normal, gradient = np.empty((12, 12)), np.empty(12)
    value = kernels._evidence(pair, y.size, p, 2, seen, normal, gradient)
    assert value == pytest.approx(model(p), rel=1e-5)
    slopes = optimize.approx_fprime(p, model, 1e-6)
    free = [0, 1, 3, 4, 5, 6, 8, 9, 10, 11]  # the prior of tilts is taken as one of fixed width while heights change
    np.testing.assert_allclose(gradient[free], slopes[free], rtol=2e-3, atol=2e-2)
    vector = gradient.copy()
    assert kernels.solved(normal.copy(), 12, vector)
    np.testing.assert_allclose(vector, np.linalg.solve(normal, gradient), rtol=1e-8)


def test_what_a_disk_adds_to_a_sum() -> None:
    y, x = np.mgrid[-20:20:0.1, -20:20:0.1]
    table = look.overlaps(RADIUS)
    for distance in (0.0, 3.0, 7.0):
        inside = np.hypot(y, x - distance) < RADIUS + look.INNER_MARGIN_PX
        assert table[round(distance * look.OVERLAP_PER_PX)] == pytest.approx(soft(y, x)[inside].sum() * 0.01, rel=0.02)
    assert table[-1] == 0


def test_what_needs_a_first_pass_says_so() -> None:
    frames = np.zeros((1, 1, 40, 40), np.uint16)
    with pytest.raises(errors.ParameterError, match="second pass"):
        diffraction.find_disks(frames, RADIUS, passes=1, overlapping=True)
    with pytest.raises(errors.ParameterError, match="first pass"):
        diffraction.Disks(RADIUS, overlapping=True)


def test_chunks_do_not_matter(pairs) -> None:
    frames, table = pairs
    again = told_apart(frames, order=np.arange(60)[::-1], size=7)
    np.testing.assert_array_equal(again.y, table.y)


def test_events_give_the_same_disks(pairs) -> None:
    """Also where a part of the detector does not count."""
    frames, _ = pairs
    mask = np.ones((40, 40), bool)
    mask[18:20, 20:22] = False
    first = found(frames, passes=1, mask=mask)
    reducer = diffraction.Disks(RADIUS, center=(20, 4), mask=mask, found=first, overlapping=True, threads=1)
    spec = stream.Spec((1, 60), (40, 40), np.uint16)
    dense = stream.Chunk(np.arange(60), frames)
    sparse = stream.Chunk(np.arange(60), events=events.events_from_frames(frames))
    (number, rows, _), (same, others, _) = reducer.rows(spec, dense), reducer.rows(spec, sparse)
    assert len(rows) > len(first) + 20
    np.testing.assert_array_equal(same, number)
    np.testing.assert_array_equal(others, rows)
