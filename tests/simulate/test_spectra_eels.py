"""EELS spectra: electrons are conserved, scattering is Poisson's, edges count atoms, the camera adds its own."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import simulate
from esteemcore.errors import ParameterError

LOW = simulate.EelsCamera(channels=2048, ev_per_channel=0.5, offset_ev=-20.0)
CORE = simulate.EelsCamera(channels=512, ev_per_channel=1.0, offset_ev=430.0)


def film(name="Si", thickness_nm=50.0):
    """Content of an even film."""
    phase = simulate.PHASES[name]
    density = np.array([list(phase.atoms_per_nm3.values())])
    return (phase,), simulate.Content(
        (phase,), np.array([[thickness_nm]]), tuple((name, e) for e in phase.elements), density * thickness_nm
    )


def test_no_electron_is_lost() -> None:
    phases, content = film()
    wide = simulate.EelsCamera(channels=4096, ev_per_channel=1.0, offset_ev=-50.0)
    found = simulate.EelsSampler(phases, wide).expected(content, 1e6)
    assert found.sum() == pytest.approx(1e6, rel=2e-3)


@pytest.mark.parametrize("thickness", [20.0, 100.0, 300.0])
def test_relative_thickness_is_the_logarithm_of_the_zero_loss(thickness) -> None:
    phases, content = film(thickness_nm=thickness)
    sampler = simulate.EelsSampler(phases, LOW, zero_loss=simulate.ZeroLoss(0.8, 0.0))
    zero = sampler.expected(content, 1e6)[0, LOW.energy_ev < 3].sum() / 1e6
    assert -np.log(zero) == pytest.approx(thickness / sampler.mean_free_path_nm[0], rel=0.03)


def test_fourier_log_deconvolution_finds_single_scattering_again() -> None:
    phases, content = film(thickness_nm=250.0)
    sampler = simulate.EelsSampler(phases, LOW, background=(0.0, 2.0))
    bare = np.zeros_like(content.atoms)  # plasmons only
    mean = 250.0 / sampler.mean_free_path_nm[0]

    def transform(thickness_nm):
        thickness = np.array([[thickness_nm]])
        found = sampler.expected(simulate.Content(phases, thickness, content.components, bare), 1.0)[0]
        return np.fft.fft(found), found

    (zero, peak), (thick, _), (_, thin) = transform(0.0), transform(250.0), transform(0.01)
    few = np.abs(zero) > 0.05  # where the zero loss says something
    single = np.fft.ifft(np.where(few, np.log(thick / np.where(few, zero, 1)), 0)).real
    start = int(np.argmax(peak))
    expected = (thin - peak)[start + 10 : start + 100] / (0.01 / sampler.mean_free_path_nm[0])
    assert single[10:100].sum() == pytest.approx(mean * expected.sum(), rel=0.02)
    assert np.corrcoef(single[10:100], expected)[0, 1] > 0.95  # the thin film is blurred by the zero loss
    assert mean > 1.5


def test_an_edge_counts_atoms() -> None:
    phases = (simulate.PHASES["SrTiO3"],)
    components = tuple(("SrTiO3", e) for e in phases[0].elements)
    sampler = simulate.EelsSampler(phases, CORE, background=(0.0, 2.0))

    def counts(titanium):
        content = simulate.Content(phases, np.zeros((1, 1)), components, np.array([[0.0, titanium, 0.0]]))
        return sampler.expected(content, 1.0)[0]

    empty, one, two = counts(0), counts(500), counts(1000)
    np.testing.assert_allclose(two - empty, 2 * (one - empty), rtol=2e-3, atol=1e-12)
    edge = simulate.edges_of("SrTiO3", "Ti")[0]
    fine = np.arange(430, 942, 0.05)
    expected = 500 * np.trapezoid(edge.cross_section(fine, 200, 30), fine)
    assert (one - empty).sum() == pytest.approx(expected, rel=0.02)
    assert np.argmax(one - empty) + 430 == pytest.approx(460, abs=3)


def test_the_oscillator_strength_of_an_edge_is_that_of_its_parts() -> None:
    edge = simulate.edges_of("SrTiO3", "Ti")[0]
    fine = np.geomspace(300, 1e6, 400_000)
    total = np.trapezoid(edge.oscillators(fine), fine)
    assert total == pytest.approx(edge.strength + sum(line[2] for line in edge.lines), rel=0.01)


def test_drift_moves_the_spectrum_and_keeps_it() -> None:
    phases, content = film(thickness_nm=30.0)
    sampler = simulate.EelsSampler(phases, LOW, zero_loss=simulate.ZeroLoss(2.0, 0.0))
    many = simulate.Content(
        phases, np.repeat(content.thickness_nm, 4, 0), content.components, np.repeat(content.atoms, 4, 0)
    )
    moved = sampler.expected(many, 1.0, offset_ev=[0.0, 2.0, 0.3, -7.75])
    center = (moved * (np.abs(LOW.energy_ev) < 12) * LOW.energy_ev).sum(axis=1)
    peaks = LOW.energy_ev[moved.argmax(axis=1)]
    np.testing.assert_allclose(peaks, [0, 2, 0.3, -7.75], atol=0.5)
    np.testing.assert_allclose(moved[1, 4:], moved[0, :-4], atol=1e-12)
    assert center[2] > center[0]
    np.testing.assert_allclose(moved.sum(axis=1), moved[0].sum(), rtol=1e-3)


def test_shot_noise_gain_dark_and_readout_add_as_they_should() -> None:
    phases, content = film()
    n = 4000
    many = simulate.Content(
        phases, np.repeat(content.thickness_nm, n, 0), content.components, np.repeat(content.atoms, n, 0)
    )
    gains = np.linspace(0.8, 1.2, 64)
    camera = simulate.EelsCamera(64, 1.0, -20.0, gain=8.0, dark=50.0, readout_sigma=3.0, gain_map=gains)
    sampler = simulate.EelsSampler(phases, camera, seed=3)
    mean = sampler.expected(many[:1], 3e4)[0]
    found = sampler.spectra(many, 3e4)
    scatter = np.sqrt(8**2 * gains**2 * mean + 9)
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - (50 + 8 * gains * mean)), 5 * scatter / np.sqrt(n))
    np.testing.assert_allclose(found.var(axis=0) / scatter**2, 1, atol=0.15)


def test_spectra_do_not_depend_on_how_they_are_asked_for() -> None:
    specimen = simulate.composition("oxide_interface")
    content = specimen.maps((8, 8), 0.1)
    whole = simulate.EelsSampler(specimen, CORE, seed=5).spectra(content, 1e4)
    parts = simulate.EelsSampler(specimen, CORE, seed=5)
    cut = np.concatenate([parts.spectra(content[:20], 1e4), parts.spectra(content[20:], 1e4)])
    np.testing.assert_array_equal(cut, whole)
    assert not np.array_equal(simulate.EelsSampler(specimen, CORE, seed=6).spectra(content, 1e4), whole)


def test_electrons_count_linearly() -> None:
    phases, content = film()
    sampler = simulate.EelsSampler(phases, CORE)
    np.testing.assert_allclose(sampler.expected(content, 3e5), 3 * sampler.expected(content, 1e5))
    assert not sampler.expected(content, 0).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, c: s.expected(c, -1), "zero or more"),
        (lambda s, c: s.expected(c, np.nan), "finite"),
        (lambda s, c: s.expected(c, [1, 2]), "one per place"),
        (lambda s, c: s.expected(c, 1, offset_ev=200), "eighth of the camera"),
        (lambda s, c: s.expected(simulate.composition("needle").at([[0, 0]]), 1), "this sampler's specimen"),
        (lambda s, c: simulate.EelsCamera(channels=0), "channels"),
        (lambda s, c: simulate.EelsCamera(channels=4, gain_map=[1, 1]), "gain_map"),
        (lambda s, c: simulate.ZeroLoss(fwhm_ev=0), "fwhm_ev"),
        (lambda s, c: simulate.EelsSampler((simulate.PHASES["Si"],), CORE, background=(1.5, 2)), "background"),
    ],
)
def test_bad_arguments_are_refused(call, message) -> None:
    phases, content = film()
    with pytest.raises(ParameterError, match=message):
        call(simulate.EelsSampler(phases, CORE), content)
