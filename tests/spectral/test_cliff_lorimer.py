"""Cliff-Lorimer: known compositions, and errors that are those of repeated measurements."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from esteemcore import spectral
from esteemcore._core.provenance import record
from esteemcore.errors import ParameterError

TRUTH = np.array([0.5, 0.3, 0.2])
K = {"Ni": 1.47, "Cr": 1.17, "Si": 0.9}
MASSES = {"Ni": 58.693, "Cr": 51.996, "Si": 28.085}


def lines(counts, variance=None):
    """Return counts (3, ...) as maps of Ni, Cr and Si."""
    variance = counts if variance is None else variance
    made = record("spectral.edge_map", {})
    return {e: spectral.EdgeMap(c, v, 0 * c, made) for e, c, v in zip(K, counts, variance, strict=True)}


def expected(total):
    """Return the counts of the lines whose mass fractions are TRUTH."""
    weights = TRUTH / list(K.values())
    return total * weights / weights.sum()


def test_a_composition_comes_back_from_its_counts() -> None:
    found = spectral.cliff_lorimer(lines(np.multiply.outer(expected(1000.0), np.ones((2, 3)))), K)
    assert (found.elements, found.unit, found.sigma_k) == (tuple(K), "mass", None)
    np.testing.assert_allclose(found.fractions, np.multiply.outer(TRUTH, np.ones((2, 3))), rtol=1e-12)


def test_two_elements_follow_the_ratio_of_the_paper() -> None:
    pair = {e: m for e, m in lines(np.array([300.0, 100.0, 1.0])).items() if e != "Si"}
    found = spectral.cliff_lorimer(pair, {"Ni": 1.47, "Cr": 1.17})
    assert found.fractions[0] / found.fractions[1] == pytest.approx(1.47 / 1.17 * 3)
    # C = R / (1 + R) with (sigma_R / R)^2 = 1/300 + 1/100
    assert found.sigma[0] == pytest.approx(found.fractions.prod() * np.sqrt(1 / 300 + 1 / 100))
    assert found.sigma[1] == pytest.approx(found.sigma[0])


def test_atoms_are_counted_with_their_masses() -> None:
    found = spectral.cliff_lorimer(lines(expected(500.0)), K, atomic_masses=MASSES)
    atoms = TRUTH / list(MASSES.values())
    assert found.unit == "atomic"
    np.testing.assert_allclose(found.fractions, atoms / atoms.sum(), rtol=1e-12)


def test_standard_errors_are_those_of_repeated_counts_over_background() -> None:
    rng = np.random.default_rng(0)
    background = 60.0
    seen = rng.poisson((expected(900.0) + background)[:, None], (3, 20000))
    found = spectral.cliff_lorimer(lines(seen - background, seen.astype(float)), K)
    np.testing.assert_allclose(found.fractions.mean(axis=1), TRUTH, atol=0.003)
    np.testing.assert_allclose(found.fractions.std(axis=1), found.sigma.mean(axis=1), rtol=0.03)
    np.testing.assert_allclose(found.fractions.sum(axis=0), 1, rtol=1e-12)


def test_errors_of_k_factors_are_those_of_other_k_factors() -> None:
    rng = np.random.default_rng(1)
    errors = {"Ni": 0.05, "Cr": 0.03}
    found = spectral.cliff_lorimer(lines(expected(1e4)), K, k_sigma=errors)
    drawn = [
        spectral.cliff_lorimer(lines(expected(1e4)), {e: k + errors.get(e, 0) * rng.normal() for e, k in K.items()})
        for _ in range(4000)
    ]
    np.testing.assert_allclose(np.std([d.fractions for d in drawn], axis=0), found.sigma_k, rtol=0.05)


def test_nothing_is_said_where_nothing_was_counted() -> None:
    found = spectral.cliff_lorimer(lines(np.array([[10.0, 0], [5, 0], [2, 0]])), K)
    assert np.isfinite(found.fractions[:, 0]).all()
    assert np.isnan(found.fractions[:, 1]).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k_factors": {"Ni": 1.0}}, "'Cr' is missing"),
        ({"k_factors": {**K, "Cr": 0.0}}, r"k_factors\['Cr'\]"),
        ({"k_factors": {**K, "Fe": 1.0}}, "no lines of 'Fe'"),
        ({"k_sigma": {"Ni": -1.0}}, "k_sigma"),
        ({"atomic_masses": {"Ni": 58.7}}, "atomic_masses names Ni; 'Cr' is missing"),
        ({"lines": {"Ni": lines(expected(9.0))["Ni"]}}, "two elements"),
        ({"lines": {**lines(expected(9.0)), "Si": lines(np.ones((3, 4)))["Si"]}}, "same places"),
    ],
)
def test_wrong_input_is_told(change, words) -> None:
    with pytest.raises(ParameterError, match=words):
        spectral.cliff_lorimer(**{"lines": lines(expected(9.0)), "k_factors": K, **change})


def test_few_counts_have_large_errors_and_never_none() -> None:
    """Lines of 3 and 1 counts: many places have no count of one of them, which does not make the composition sure."""
    rng = np.random.default_rng(2)
    energy = np.arange(0.0, 10.0, 0.05)
    counts = rng.poisson(0.3 * (abs(energy - 5.4) < 0.25) + 0.1 * (abs(energy - 7.5) < 0.25), (60, 60, 200))
    maps = {"Cr": spectral.edge_map(counts, energy, (5.1, 5.7)), "Ni": spectral.edge_map(counts, energy, (7.2, 7.8))}
    found = spectral.cliff_lorimer(maps, {"Cr": 1.0, "Ni": 1.0})
    some = np.isfinite(found.fractions[0])
    assert np.isin(found.fractions[0][some], (0, 1)).mean() > 0.1
    assert found.sigma[:, some].min() > 0.02
    off = (found.fractions[0] - 0.75)[some]
    assert np.mean(np.abs(off) < 2 * found.sigma[0][some]) > 0.85


@pytest.mark.parametrize(
    ("change", "k", "message"),
    [
        (lambda maps: maps, [1.47, 1.17, 0.9], "k_factors is a list; expected a number by element"),
        (lambda maps: {e: m.data for e, m in maps.items()}, K, "the map of Ni is a ndarray; expected an EdgeMap"),
        (
            lambda maps: maps | {"Cr": dataclasses.replace(maps["Cr"], variance=np.ones(3))},
            K,
            "variance of Cr has shape",
        ),
        (lambda maps: maps | {"Si": dataclasses.replace(maps["Si"], variance=-maps["Si"].data)}, K, "falls to -"),
    ],
)
def test_what_are_no_maps_is_refused_in_words(change, k, message) -> None:
    with pytest.raises(ParameterError, match=message):
        spectral.cliff_lorimer(change(lines(np.multiply.outer(expected(10.0), np.ones((2, 2))))), k)
