"""Sums of counts that tell of one factor what all counts do: all where groups are alike, nearly all elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from known_spectra import phases, rates, regions

from esteemcore.spectral.methods._nmf_kernels import stepped
from esteemcore.spectral.methods._poisson_factors import maximise
from esteemcore.spectral.methods._sieve import Sieve
from esteemcore.spectral.methods._starts import POOLS, blocks_of
from esteemcore.spectral.methods._two_sums import MOST_GROUPS, SummedRows, groups_of, two_sums
from esteemcore.spectral.methods._two_sums_kernels import regressed, summed_rows


def flat_start(counts, spectra):
    """Return equal amounts, and spectra (energy, n) that are mixed by a third."""
    total = np.asarray(counts.sum(axis=1)).reshape(-1, 1)
    lines = (2 * spectra + spectra.mean(axis=0)).T / 3
    return np.repeat(total / len(spectra) + 0.1, len(spectra), axis=1), lines / lines.sum(axis=0)


def test_sums_over_groups_of_rows_are_those_of_numpy(rng) -> None:
    counts = rng.poisson(0.4, (40, 30)).astype(float)
    rows, group = scipy.sparse.csr_array(counts), rng.integers(0, 6, 40)
    out = np.full((6, 30), np.nan)
    summed_rows(rows.indptr, rows.indices, rows.data, group, out)
    np.testing.assert_array_equal(out, (np.arange(6)[:, None] == group) @ counts)


def test_steps_of_amounts_are_those_of_numpy(rng) -> None:
    counts = rng.poisson(1.5, (20, 30)).astype(float)
    rows, group = scipy.sparse.csr_array(counts), rng.integers(0, 7, 30)
    design, amounts = rng.random((3, 8)), rng.random((20, 3)) * 10
    design[:, 7] = 0  # a group without channels
    amounts[2, 1] = 0
    expected, summed = amounts.copy(), counts @ (group[:, None] == np.arange(8))
    for _ in range(4):
        part = expected * ((summed / (expected @ design + 1e-100)) @ design.T)
        taken = np.maximum(part - 0.5, np.minimum(part, 0.01))
        size = expected * design.sum(axis=1)
        stepped(expected, np.divide(taken, size, out=np.zeros_like(size), where=size > 0), 1.8, expected)
    regressed(rows.indptr, rows.indices, rows.data, group, design, amounts, 0.5, 0.01, 4, 1.8)
    np.testing.assert_allclose(amounts, expected)


def test_groups_hold_rows_of_the_same_shares_whatever_their_size(rng) -> None:
    shares = rng.dirichlet([0.3] * 3, 300)
    group, number = groups_of(shares)
    assert set(group) == set(range(number))
    np.testing.assert_array_equal(groups_of(shares * rng.uniform(0.1, 50, (300, 1)))[0], group)
    means = np.stack([shares[group == g].mean(axis=0) for g in range(number)])
    assert np.abs(np.sqrt(shares) - np.sqrt(means[group])).max() < 0.25
    assert groups_of(np.ones((5, 1)))[1] == 1


@pytest.mark.parametrize("n", [4, 6, 12, 24])
def test_groups_of_many_components_are_not_too_many(rng, n) -> None:
    values = rng.dirichlet([0.2] * n, 3000)
    group, number = groups_of(values)
    assert n <= number <= MOST_GROUPS
    assert group.max() + 1 == number
    if n == 24:  # more kinds of shares than can be told apart: by the largest one
        np.testing.assert_array_equal(group, values.argmax(axis=1))


def test_amounts_from_groups_of_channels_alike_are_those_of_all_channels(rng) -> None:
    """Each spectrum has three levels: sums over channels of one level are sufficient."""
    levels = np.repeat(np.array([[6.0, 2, 1], [1, 5, 2], [1, 1, 7]]), 10, axis=1)
    spectra = levels / levels.sum(axis=1, keepdims=True)
    counts = scipy.sparse.csr_array(rng.poisson(60 * rng.dirichlet([0.5] * 3, 50) @ spectra).astype(float))
    start, lines = flat_start(counts, spectra)[0], spectra.T
    one, group = Sieve(np.ones((5, 10), bool), fixed=3), np.repeat(np.arange(3), 10)
    every = maximise(counts, start, lines, one, iterations=4000, tolerance=1e-9).abundances
    amounts = start.copy()
    cells = (counts.indptr, counts.indices, counts.data)
    design = np.ascontiguousarray(spectra.reshape(3, 3, 10).sum(axis=2))
    regressed(*cells, group, design, amounts, 0.0, 0.0, 4000, 1.8)
    np.testing.assert_allclose(amounts, every, atol=0.05)


def test_spectra_from_groups_of_pixels_alike_are_those_of_all_pixels(rng) -> None:
    shares = np.array([[1.0, 0], [0, 1], [0.5, 0.5]])[rng.integers(0, 3, 400)]
    spectra = phases(rng, 2, 40)
    amounts = 30 * shares
    counts = scipy.sparse.csr_array(rng.poisson(amounts @ spectra).astype(float))
    none = Sieve(np.ones((20, 20), bool))
    found = SummedRows(counts, amounts).spectra(np.full((40, 2), 1 / 40), none, 400)
    slope = (counts.toarray() / np.maximum(amounts @ found.T, 1e-300)).T @ amounts - amounts.sum(axis=0)
    # at the maximum of the likelihood of all counts no spectrum can rise, and those above zero do not want to
    assert slope.max() < 1e-3 * amounts.sum(axis=0).min()
    assert np.abs(slope * found).max() < 1e-3


@pytest.mark.parametrize("width", [0.0, 1.5])
def test_two_rounds_come_about_as_far_as_twenty_steps(rng, width) -> None:
    spectra, shares = phases(rng, 3, 120), regions(rng, (30, 30), 3)
    counts = scipy.sparse.csr_array(rng.poisson(40 * shares.reshape(-1, 3) @ spectra).astype(float))
    sieve = Sieve(np.ones((30, 30), bool), channels=width)
    start = flat_start(counts, spectra)
    steps = maximise(counts, *start, sieve, iterations=20, tolerance=0, prior=0.5).likelihood
    found = two_sums(counts, *start, sieve, rounds=2, prior=0.5)
    reached = maximise(counts, *found, sieve, iterations=0, tolerance=0, prior=0.5).likelihood[0]
    assert reached - steps[0] > 0.85 * (steps[-1] - steps[0])
    np.testing.assert_allclose(sieve.of_spectra(found[1]).sum(axis=0), 1)


def test_rounds_end_when_spectra_have_settled(rng) -> None:
    counts = scipy.sparse.csr_array(rng.poisson(rates(rng, 30, shape=(12, 12), channels=60)).reshape(144, 60) * 1.0)
    start, one = flat_start(counts, phases(rng, 3, 60)), Sieve(np.ones((12, 12), bool))
    taken: list[float] = []
    for settled_deg in (90.0, 4.0, 0.0):
        two_sums(counts, *start, one, rounds=9, step=lambda d=settled_deg: taken.append(d), settled_deg=settled_deg)
    assert taken.count(90.0) == 1 < taken.count(4.0) < taken.count(0.0) == 9


def test_known_spectra_are_held_by_rounds(rng) -> None:
    counts = scipy.sparse.csr_array(rng.poisson(rates(rng, 30, shape=(12, 12), channels=60)).reshape(144, 60) * 1.0)
    start = flat_start(counts, phases(rng, 3, 60))
    _, lines = two_sums(counts, *start, Sieve(np.ones((12, 12), bool), channels=1.0, fixed=2), rounds=2)
    np.testing.assert_allclose(lines[:, :2], start[1][:, :2])
    assert np.abs(lines[:, 2] - start[1][:, 2]).max() > 1e-4


@pytest.mark.parametrize("pooled", [False, True])
def test_blocks_hold_all_counts(rng, pooled) -> None:
    mask = np.ones((50, 44), bool)
    mask[:9, 30:] = False
    spectra = rng.gamma(0.05, size=400) + 1e-3
    counts = rng.poisson(4 * spectra / spectra.sum(), (50, 44, 400))[mask].astype(float)
    blocks = blocks_of(scipy.sparse.csr_array(counts), mask, 2, pooled=pooled)
    number, pools = len(set(blocks.label)), int(blocks.pool.max()) + 1
    assert blocks.mask.sum() == number < len(counts) / 3
    assert pools <= POOLS if pooled else pools == 400
    by_hand = (np.arange(number)[:, None] == blocks.label) @ counts @ (blocks.pool[:, None] == np.arange(pools))
    np.testing.assert_array_equal(blocks.counts.toarray(), by_hand)
    assert (np.diff(blocks.pool) >= 0).all()
    if pooled:  # channels of many counts stay by themselves
        most = counts.sum(axis=0) > 2 * counts.sum() / POOLS
        assert (np.bincount(blocks.pool)[blocks.pool[most]] <= 2).all()
