"""Lines of elements as spectra: where they are, how wide, and as known components of EDS."""

from __future__ import annotations

import builtins
import dataclasses
import doctest
import importlib

import numpy as np
import pytest

from esteemcore import simulate, spectral
from esteemcore.errors import DependencyError, ParameterError

AXIS = 0.005 + 0.01 * np.arange(1024)


@pytest.fixture
def table() -> None:
    pytest.importorskip("xraydb", reason="X-ray lines need the extra eds")


@pytest.mark.usefixtures("table")
def test_lines_lie_where_they_are_known_to_lie_with_the_width_of_the_detector() -> None:
    found = spectral.element_lines(["Mn", "Si", "O"], AXIS, fwhm_ev=127)
    assert found.names == ("Mn K", "Mn L", "Si K", "O K")
    np.testing.assert_allclose(found.spectra.sum(axis=1), 1)
    np.testing.assert_allclose(found.main_kev[[0, 2, 3]], [5.899, 1.740, 0.525], atol=0.002)
    peak = AXIS[found.spectra.argmax(axis=1)]
    np.testing.assert_allclose(peak[[0, 2, 3]], found.main_kev[[0, 2, 3]], atol=0.011)
    alpha = found.spectra[0][(AXIS > 5.6) & (AXIS < 6.2)]
    above = (alpha > alpha.max() / 2).sum() * 10
    assert above == pytest.approx(127, abs=15)  # the doublet of K alpha adds little
    # K beta is an eighth of all K lines
    assert found.spectra[0][AXIS > 6.3].sum() == pytest.approx(0.12, abs=0.02)


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("name", ["Ni", "Cr", "Si"])
def test_they_are_those_of_the_simulated_detector(name) -> None:
    """Another table (of the simulation), without bremsstrahlung."""
    specimen = simulate.composition("needle")
    detector = simulate.EdsDetector()
    sampler = simulate.EdsSampler(specimen, detector, bremsstrahlung=False)
    content = specimen.maps((1, 1), pixel_nm=1.0)
    own = np.array([element == name for _, element in content.components])
    spectrum = sampler.expected(dataclasses.replace(content, atoms=1.0 * own[None]), 1.0)[0]
    found = spectral.element_lines([name], detector.energy_kev, fwhm_ev=detector.fwhm_ev(5.895), families="K")
    high = detector.energy_kev > (1.2 if name == "Si" else 3)
    cosine = spectrum[high] @ found.spectra[0][high]
    cosine /= np.linalg.norm(spectrum[high]) * np.linalg.norm(found.spectra[0][high])
    assert np.degrees(np.arccos(cosine)) < 6


@pytest.mark.usefixtures("table")
def test_maps_of_elements_with_a_free_component_for_the_rest() -> None:
    """Lines held fixed, bremsstrahlung and what the table does not know left to one free spectrum."""
    specimen = simulate.composition("needle")
    detector = simulate.EdsDetector()
    sampler = simulate.EdsSampler(specimen, detector, seed=2)
    content = specimen.maps((32, 32), pixel_nm=2.5)
    matter = content.thickness_nm.sum(axis=1) > 1
    counts = sampler.events(content, 100 / sampler.expected(content, 1.0).sum(axis=1)[matter].mean(), (32, 32))
    lines = spectral.element_lines(["Ni", "Cr", "Si"], detector.energy_kev, fwhm_ev=detector.fwhm_ev(5.895))
    assert lines.names == ("Ni K", "Ni L", "Cr K", "Cr L", "Si K")
    found = spectral.unmix(counts, 6, method="nmf", known=lines.spectra, mask=matter.reshape(32, 32), smoothing_px=1)
    np.testing.assert_allclose(found.spectra[:5], lines.spectra, rtol=1e-9, atol=1e-15)
    for k, element in ((0, "Ni"), (2, "Cr"), (4, "Si")):
        truth = content.element(element)[matter]
        assert np.corrcoef(found.abundances[k].ravel()[matter], truth)[0, 1] > 0.9, element


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("elements", "axis", "options", "message"),
    [
        (["Xx"], AXIS, {}, "'Xx' is no element"),
        (["Fe", "Fe"], AXIS, {}, "each once"),
        ([], AXIS, {}, "each once"),
        (["Fe"], AXIS[::-1], {}, "rise in even steps"),
        (["Fe"], AXIS**2, {}, "rise in even steps"),
        (["Fe"], AXIS[:1], {}, "two channels at least"),
        (["Fe"], AXIS + 100, {}, "energy_kev is in keV"),
        (["Fe"], 1e3 * AXIS, {}, "is the axis in eV"),
        (["Fe"], np.arange(4.0, 150.0), {}, "is the axis in eV"),
        ("CO", AXIS, {}, "a list of symbols"),
        (["Fe"], AXIS, {"families": ("K", "L", "K")}, "each once"),
        (["Fe"], AXIS, {"fwhm_ev": 0.13}, "60 to 300 eV"),
        (["Fe"], AXIS, {"families": ("N",)}, "family"),
    ],
)
def test_what_has_no_lines_is_refused_in_words(elements, axis, options, message) -> None:
    with pytest.raises(ParameterError, match=message):
        spectral.element_lines(elements, axis, **options)


def test_without_the_table_the_error_names_the_extra(monkeypatch) -> None:
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "xraydb":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyError, match=r"nionswift-esteem\[eds\]"):
        spectral.element_lines(["Fe"], AXIS)


@pytest.mark.usefixtures("table")
def test_the_example_of_the_docstring_runs() -> None:
    result = doctest.testmod(importlib.import_module("esteemcore.spectral.element_lines"))
    assert result.attempted > 0
    assert result.failed == 0
