"""EDS events: Poisson's statistics, lines where they belong, atoms counted, and nothing that depends on the calls."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import simulate
from esteemcore.errors import ParameterError

DETECTOR = simulate.EdsDetector()


def window(energy_kev, low, high):
    return (energy_kev > low) & (energy_kev < high)


def test_events_have_the_mean_and_variance_of_poisson() -> None:
    specimen = simulate.composition("zeolite")
    content = specimen.at(np.zeros((5000, 2)))
    sampler = simulate.EdsSampler(specimen, DETECTOR, seed=2)
    expected = sampler.expected(content[:1], 1e7)[0]
    dense = sampler.events(content, 1e7).to_dense()[0]
    assert dense.sum() == pytest.approx(5000 * expected.sum(), abs=5 * np.sqrt(5000 * expected.sum()))
    assert dense.sum(axis=1).var() == pytest.approx(expected.sum(), rel=0.1)
    chi2 = ((dense.sum(axis=0) - 5000 * expected) ** 2 / np.maximum(5000 * expected, 1e-9))[5000 * expected > 5]
    assert chi2.mean() == pytest.approx(1, abs=5 * np.sqrt(2 / len(chi2)))


def test_lines_lie_at_their_energy_with_the_resolution_of_the_detector() -> None:
    specimen = simulate.composition("needle")
    lines = simulate.EdsSampler(specimen, DETECTOR, bremsstrahlung=False)
    nickel = lines.cross_sections_nm2[lines.elements.index("Ni")]
    energy, near = DETECTOR.energy_kev, window(DETECTOR.energy_kev, 7.0, 7.9)
    mean = (energy * nickel)[near].sum() / nickel[near].sum()
    sigma = np.sqrt(((energy - mean) ** 2 * nickel)[near].sum() / nickel[near].sum())
    assert mean == pytest.approx(7.474, abs=0.002)
    assert sigma * 2.3548 * 1e3 == pytest.approx(DETECTOR.fwhm_ev(7.474), rel=0.02)
    assert DETECTOR.fwhm_ev(5.895) == pytest.approx(126, abs=1)


def test_the_yield_of_a_line_is_cross_section_times_fluorescence() -> None:
    shell = simulate.SHELLS["Ni"][0]
    barn = 1e-10  # nm²
    assert shell.ionisation_nm2(200) / barn == pytest.approx(280, rel=0.25)  # K shell of Ni, order of measured values
    assert shell.ionisation_nm2(8.0) == 0
    specimen = simulate.composition("needle")
    sampler = simulate.EdsSampler(specimen, DETECTOR, bremsstrahlung=False)
    made = sampler.cross_sections_nm2[sampler.elements.index("Ni")]
    k_lines = made[window(DETECTOR.energy_kev, 6.5, 9.5)].sum()
    assert k_lines == pytest.approx(shell.ionisation_nm2(200) * shell.fluorescence_yield, rel=1e-3)


def test_bremsstrahlung_falls_as_one_over_the_energy_and_rises_with_the_square_of_the_number() -> None:
    specimen = simulate.composition("needle")
    with_it = simulate.EdsSampler(specimen, DETECTOR).cross_sections_nm2
    without = simulate.EdsSampler(specimen, DETECTOR, bremsstrahlung=False).cross_sections_nm2
    rest, energy = with_it - without, DETECTOR.energy_kev
    assert not rest[:, energy < DETECTOR.lowest_kev].any()
    ratio = rest[0, energy.searchsorted(2.0)] / rest[0, energy.searchsorted(8.0)]
    assert 4 < ratio < 6.5  # 1/k times a slow logarithm
    nickel, silicon = (rest[0 if e == "Ni" else 2, 500] for e in ("Ni", "Si"))
    assert nickel / silicon == pytest.approx((28 / 14) ** 2)


def test_counts_are_linear_in_electrons_atoms_and_solid_angle() -> None:
    specimen = simulate.composition("zeolite", thickness_nm=2)
    double = simulate.composition("zeolite", thickness_nm=4)
    sampler = simulate.EdsSampler(specimen, DETECTOR)
    one = sampler.expected(specimen.at([[0, 0]]), 1e6)
    np.testing.assert_allclose(sampler.expected(specimen.at([[0, 0]]), 2e6), 2 * one)
    np.testing.assert_allclose(sampler.expected(double.at([[0, 0]]), 1e6), 2 * one)
    half = simulate.EdsSampler(specimen, simulate.EdsDetector(solid_angle_sr=0.45))
    np.testing.assert_allclose(half.expected(specimen.at([[0, 0]]), 1e6), one / 2)


def test_events_do_not_depend_on_how_they_are_asked_for() -> None:
    specimen = simulate.composition("needle")
    content = specimen.maps((16, 16), 4.0)
    whole = simulate.EdsSampler(specimen, DETECTOR, seed=1).events(content, 1e6, (16, 16)).to_dense()
    parts = simulate.EdsSampler(specimen, DETECTOR, seed=1)
    cut = [parts.events(content[n : n + 64], 1e6, (4, 16)).to_dense() for n in range(0, 256, 64)]
    np.testing.assert_array_equal(np.concatenate(cut), whole)


def test_a_map_of_nickel_shows_the_layers_of_nickel() -> None:
    specimen = simulate.composition("needle")
    content = specimen.maps((32, 32), 2.5)
    events = simulate.EdsSampler(specimen, DETECTOR, seed=4).events(content, 1e9, (32, 32)).to_dense()
    seen = events[..., window(DETECTOR.energy_kev, 7.3, 7.65)].sum(axis=-1).ravel()
    assert np.corrcoef(seen, content.element("Ni"))[0, 1] > 0.98


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, c: s.events(c, 1e6, (2, 2)), "2, 2"),
        (lambda s, c: s.expected(c, -1), "electrons"),
        (lambda s, c: s.events(c, 1e14), "65,535"),
        (lambda s, c: s.expected(simulate.composition("needle").at([[0, 0]]), 1), "specimen"),
        (lambda s, c: simulate.EdsDetector(solid_angle_sr=20), "sphere"),
        (lambda s, c: simulate.EdsDetector(kev_per_channel=0), "kev_per_channel"),
    ],
)
def test_bad_arguments_are_refused(call, message) -> None:
    specimen = simulate.composition("zeolite")
    with pytest.raises(ParameterError, match=message):
        call(simulate.EdsSampler(specimen, DETECTOR), specimen.at([[0, 0]]))
