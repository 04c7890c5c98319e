"""Damage: every electron is counted once, the law of the harm is integrated exactly, atoms are lost and mixed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from esteemcore import simulate
from esteemcore.errors import ParameterError
from esteemcore.simulate import _damage_kernels

TOUGH = simulate.Damage(excited_dose=math.inf)


def test_every_electron_is_counted_once() -> None:
    rng = np.random.default_rng(0)
    suffered = simulate.DamageMap(TOUGH, cell_nm=0.5)
    places, electrons = rng.uniform(-30, 30, (500, 2)), rng.uniform(0, 1e4, 500)
    suffered.expose(places, electrons, 1e-3, np.arange(500) * 1e-3)
    centers = (np.argwhere(np.ones((140, 140))) - 70) * 0.5
    assert suffered.harm(centers).sum() * 5**2 == pytest.approx(electrons.sum())
    assert suffered.harm([[500.0, 0.0]]) == 0


def by_integration(damage: simulate.Damage, dwells: list[tuple[float, float]], rate: float) -> float:
    """Return the harm of dwells (start, end) in s at a dose rate in e/Å²/s, by solving the equations."""

    def slope(_: float, state: np.ndarray, on: float) -> list[float]:
        harm_per_dose = 1 + state[0] / damage.excited_dose
        return [on * rate - state[0] / damage.recovery_s, on * rate * harm_per_dose]

    state, before = np.zeros(2), 0.0
    for start, end in dwells:
        for until, on in ((start, 0.0), (end, 1.0)):
            if until > before:
                found = integrate.solve_ivp(slope, (before, until), state, args=(on,), rtol=1e-9, atol=1e-9)
                state, before = found.y[:, -1], until
    return float(state[1])


@pytest.mark.parametrize("dwells", [[(0.0, 0.02)], [(0.0, 1e-4)], [(k * 2e-3, k * 2e-3 + 1e-3) for k in range(5)]])
def test_the_harm_of_dwells_is_the_integral_of_the_law(dwells: list[tuple[float, float]]) -> None:
    damage = simulate.Damage(recovery_s=1e-3, excited_dose=2e3)
    rate, suffered = 1e6, simulate.DamageMap(damage, cell_nm=0.5)
    for start, end in dwells:
        suffered.expose([[1.0, 2.0]], rate * (end - start) * 25, end - start, start)
    assert suffered.harm([[1.0, 2.0]])[0] == pytest.approx(by_integration(damage, dwells, rate), rel=1e-6)


def test_many_short_visits_harm_less_than_a_long_one() -> None:
    damage = simulate.Damage(recovery_s=1e-3, excited_dose=1e4)
    dose, place = 1e5, [[0.0, 0.0]]
    slow, fast = (simulate.DamageMap(damage, cell_nm=0.5) for _ in range(2))
    slow.expose(place, dose * 25, 0.1)
    fast.expose(place * 1000, dose * 25 / 1000, 1e-6, np.arange(1000) * 0.1)
    recent = dose / 0.1 * damage.recovery_s  # what one dwell holds excited, when it is much longer than the recovery
    assert slow.harm(place)[0] == pytest.approx(dose * (1 + 0.99 * recent / 1e4), rel=1e-3)
    assert fast.harm(place)[0] == pytest.approx(dose * (1 + dose / 1000 / 2 / 1e4), rel=1e-3)
    assert slow.harm(place)[0] > 1.08 * fast.harm(place)[0]


def in_python(cells, weights, dose, dwell_s, start_s, recovery_s, excited_dose, harm, recent, last_s, seen):
    """Do what the kernel does, a cell at a time."""
    for k, j in np.ndindex(cells.shape):
        i, weight = cells[k, j], weights[k, j]
        rate = dose[k] * weight / dwell_s
        excited = recent[i] * np.exp(-max(start_s[k] - last_s[i], 0) / recovery_s)
        times = np.linspace(0, dwell_s, 2001)
        course = excited * np.exp(-times / recovery_s) + rate * recovery_s * (1 - np.exp(-times / recovery_s))
        added = rate * dwell_s + rate / excited_dose * np.trapezoid(course, times)
        seen[k] += weight * (harm[i] + added / 2)
        if weight:
            harm[i], recent[i], last_s[i] = harm[i] + added, course[-1], start_s[k] + dwell_s


def test_the_kernel_agrees_with_python() -> None:
    rng = np.random.default_rng(1)
    cells, weights = rng.integers(0, 6, (20, 4)), rng.dirichlet(np.ones(4), 20)
    weights[3] = [1, 0, 0, 0]
    dose, starts = rng.uniform(0, 1e4, 20), np.arange(20) * 1.5e-3
    found = []
    for run in (_damage_kernels.expose, in_python):
        state = [np.zeros(6), np.zeros(6), np.zeros(6), np.zeros(20)]
        run(cells, weights, dose, 1e-3, starts, 2e-3, 1e3, *state)
        found.append(np.concatenate(state))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 59))
def test_results_do_not_depend_on_the_cuts(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    places, starts = rng.uniform(-20, 20, (60, 2)), np.arange(60) * 1e-4
    whole, parts = (simulate.DamageMap(simulate.Damage()) for _ in range(2))
    seen = whole.expose(places, 1e6, 1e-4, starts)
    again = [parts.expose(places[part], 1e6, 1e-4, starts[part]) for part in (slice(None, cut), slice(cut, None))]
    np.testing.assert_array_equal(np.concatenate(again), seen)
    np.testing.assert_array_equal(parts.harm(places), whole.harm(places))


def test_below_the_critical_dose_nothing_changes_at_all() -> None:
    specimen = simulate.composition("oxide_interface")
    places = np.random.default_rng(2).uniform(-1, 1, (50, 2))
    damage = simulate.Damage(critical_dose=1e6)
    extent = damage.extent(np.linspace(0, 1e6, 50))
    changed, whole = damage.content(specimen, places, extent), specimen.at(places)
    assert np.array_equal(changed.atoms, whole.atoms)
    assert np.array_equal(changed.thickness_nm, whole.thickness_nm)


def test_volatile_elements_go_and_the_specimen_thins_by_their_mass() -> None:
    specimen = simulate.composition("zeolite")
    damage = simulate.Damage(volatile={"O": 0.6}, mixing_nm=0.0)
    before, after = specimen.at([[0.0, 0.0]]), damage.content(specimen, [[0.0, 0.0]], 0.5)
    assert after.element("O") == pytest.approx(0.7 * before.element("O"))
    assert after.element("Si") == pytest.approx(before.element("Si"))
    oxygen = 2 * 15.999 / (28.085 + 2 * 15.999)
    assert after.thickness_nm == pytest.approx((1 - 0.3 * oxygen) * before.thickness_nm)


def test_mixing_moves_atoms_and_loses_none() -> None:
    specimen = simulate.composition("oxide_interface")
    damage = simulate.Damage(volatile={}, mixing_nm=0.4)
    rows, columns = np.arange(-8, 8, 0.05), np.arange(8) * 0.3905 / 8
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    before, after = specimen.at(places), damage.content(specimen, places, 1.0)
    for name in ("La", "Sr", "O"):
        profiles = [found.element(name).reshape(len(rows), -1).mean(axis=1) for found in (before, after)]
        assert profiles[1].sum() == pytest.approx(profiles[0].sum(), rel=2e-3)
    lanthanum = [found.element("La").reshape(len(rows), -1).mean(axis=1) for found in (before, after)]
    spread = [np.abs(np.gradient(np.convolve(p, np.ones(16) / 16, "same"), rows))[40:-40].max() for p in lanthanum]
    assert spread[1] < 0.8 * spread[0]


def test_impossible_damage_is_refused() -> None:
    with pytest.raises(ParameterError, match="critical_dose"):
        simulate.Damage(critical_dose=-1)
    with pytest.raises(ParameterError, match="volatile element"):
        simulate.Damage(volatile={"Xx": 0.5})
    with pytest.raises(ParameterError, match="0 to 1"):
        simulate.Damage(volatile={"O": 1.5})
    suffered = simulate.DamageMap(simulate.Damage())
    with pytest.raises(ParameterError, match="zero or more"):
        suffered.expose([[0, 0]], -1.0, 1e-3)
    with pytest.raises(ParameterError, match="dwell_s"):
        suffered.expose([[0, 0]], 1.0, 0.0)
