from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from esteemcore import errors, optics, simulate
from esteemcore.simulate.bank import MAX_BYTES, WINDOW, _sampling
from esteemcore.simulate.multislice import band_limit_per_nm, scattering_matrix


def direct_multislice(
    specimen: simulate.Specimen, beam: simulate.Beam, position_nm: np.ndarray, tiles: tuple[int, int]
) -> np.ndarray:
    """One probe through the whole supercell in double precision; intensity on the supercell's reciprocal grid."""
    slices = np.tile(specimen.slices.astype(float), (1, *tiles))
    lengths = [t * c for t, c in zip(tiles, specimen.cell_nm, strict=True)]
    k = np.meshgrid(*(np.fft.fftfreq(n, d / n) for n, d in zip(slices.shape[1:], lengths, strict=True)), indexing="ij")
    k2 = k[0] ** 2 + k[1] ** 2
    inside = np.sqrt(k2) <= band_limit_per_nm(specimen)
    edge = 1 / np.sqrt(lengths[0] * lengths[1])
    wave = beam.amplitude(k[0], k[1], edge) * np.exp(-2j * np.pi * (k[0] * position_nm[0] + k[1] * position_nm[1]))
    wave /= np.sqrt(np.sum(np.abs(wave) ** 2))
    propagator = inside * np.exp(-1j * np.pi * beam.wavelength_nm * specimen.slice_thickness_nm * k2)
    for potential in slices:
        phase = np.exp(1j * optics.interaction_parameter(beam.energy_kev) * potential)
        phase = np.fft.ifft2(np.fft.fft2(phase) * inside)
        wave = np.fft.fft2(np.fft.ifft2(wave) * phase) * propagator
    return np.abs(wave) ** 2


def test_equals_a_direct_multislice_of_the_supercell(patterns: simulate.Bank) -> None:
    specimen, tiles = patterns.specimen, (2, 3)
    assert patterns.step_per_nm == pytest.approx((1 / (2 * 0.62), 1 / (3 * 0.5)))
    for y, x in ((0, 0), (5, 11), (17, 3)):
        direct = direct_multislice(specimen, patterns.beam, np.array([y, x]) * patterns.spacing_nm, tiles)
        expected = direct[tuple((patterns.waves % direct.shape).T)]
        np.testing.assert_allclose(patterns.intensity[y, x], expected, atol=2e-6 * expected.max(), rtol=2e-5)
        assert patterns.outside[y, x] == pytest.approx(1 - expected.sum(), abs=2e-6)


def test_every_pattern_sums_to_one_with_the_outside(patterns: simulate.Bank) -> None:
    total = patterns.intensity.sum(axis=-1, dtype=float) + patterns.outside
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert 0 < patterns.outside.mean() < 0.5
    radius = np.hypot(*(patterns.waves * patterns.step_mrad).T)
    assert radius.max() <= patterns.max_angle_mrad == pytest.approx(27)


def test_multislice_without_band_limit_keeps_every_electron(crystal: simulate.Specimen) -> None:
    everything = min(n / c / 2 for n, c in zip(crystal.slices.shape[1:], crystal.cell_nm, strict=True))
    matrix = scattering_matrix(crystal, 80, 4.0, 3 * everything, (1, 2), band_limit=None)
    for block in matrix.blocks:
        # beams beyond the grid fold back: take each grid point once
        _, once = np.unique(block.outgoing // (1, 2) % crystal.slices.shape[1:], axis=0, return_index=True)
        assert len(once) == crystal.slices[0].size
        gram = block.matrix[:, once] @ block.matrix[:, once].conj().T
        np.testing.assert_allclose(gram, np.eye(len(gram)), atol=3e-6)


def test_vacuum_is_the_bare_aperture() -> None:
    beam = simulate.Beam(200, 10, {"C10": 30.0, "C30": 1e4})
    empty = simulate.bank(simulate.specimen("vacuum"), beam)
    assert np.ptp(empty.intensity, axis=(0, 1)).max() < 1e-7
    inside = empty.intensity[0, 0] > 1e-12
    radius = np.hypot(*(empty.waves * empty.step_mrad).T)
    assert radius[inside].max() < 10 + empty.step_mrad[0]
    assert empty.intensity[0, 0][radius < 10 - empty.step_mrad[0]].std() < 1e-7
    area = 1 / empty.intensity[0, 0].max() * np.prod(empty.step_mrad)
    assert area == pytest.approx(np.pi * 10**2, rel=0.01)
    assert empty.outside.max() < 1e-5


def test_weak_phase_limit() -> None:
    # first order of a thin specimen with one Fourier component: disks at -q and +q interfere with the direct one
    size, strength, cell = 32, 1e-2, (0.5, 0.5)
    turns = np.arange(size) / size
    beam = simulate.Beam(100, 15)
    sigma = optics.interaction_parameter(100)
    potential = np.broadcast_to(strength / sigma * np.cos(2 * np.pi * turns)[:, None], (size, size))
    weak = simulate.Specimen("weak", "cosine", potential[None], cell, 1e-6)
    patterns = simulate.bank(weak, beam, extent_nm=2.0, spacing_nm=0.02)
    k = patterns.waves * patterns.step_per_nm
    edge = float(np.sqrt(np.prod(patterns.step_per_nm)))
    aperture, lower, upper = (beam.amplitude(k[:, 0] + shift, k[:, 1], edge) for shift in (0, -2.0, 2.0))
    norm = patterns.intensity[0, 0].sum() / np.sum(np.abs(aperture) ** 2)
    for y in (3, 8, 20):
        place = 2 * np.pi * y * patterns.spacing_nm[0] / 0.5
        scattered = 0.5j * strength * (lower * np.exp(1j * place) + upper * np.exp(-1j * place))
        expected = norm * (np.abs(aperture) ** 2 + 2 * (np.conj(aperture) * scattered).real)
        change = expected - norm * np.abs(aperture) ** 2
        np.testing.assert_allclose(patterns.intensity[y, 4], expected, atol=0.02 * np.abs(change).max() + 1e-9)
    assert np.abs(change).max() > 0.5 * norm * strength


def test_centre_of_mass_is_the_gradient_of_the_phase(crystal: simulate.Specimen) -> None:
    # Ehrenfest: for one thin slice the mean k is the mean of grad(phase) / 2 pi over the probe, with a positive sign
    thin = simulate.Specimen("thin", "", crystal.slices[:1] / 40, crystal.cell_nm, 1e-6)
    beam = simulate.Beam(80, 25)
    patterns = simulate.bank(thin, beam, max_angle_mrad=44, extent_nm=4.0, spacing_nm=0.02)
    assert patterns.outside.max() < 1e-3
    mass = patterns.intensity.astype(float) @ (patterns.waves * patterns.step_per_nm)
    shape, cell = patterns.outside.shape, thin.cell_nm
    axes = [np.arange(n) * length / n for n, length in zip(shape, cell, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    spectrum = np.fft.fft2(simulate.phase_truth(thin, 80, places).reshape(shape))
    k = np.meshgrid(*(np.fft.fftfreq(n, d / n) for n, d in zip(shape, cell, strict=True)), indexing="ij")
    # round aperture in focus: the transfer of an incoherent image is the overlap of two disks
    half = np.clip(np.hypot(*k) / (2 * beam.radius_per_nm), 0, 1)
    overlap = 2 / np.pi * (np.arccos(half) - half * np.sqrt(1 - half**2))
    for axis in (0, 1):
        gradient = np.fft.ifft2(1j * k[axis] * spectrum * overlap).real
        assert np.abs(mass[..., axis] - gradient).max() < 0.03 * np.abs(gradient).max()


def test_the_default_sampling_suits_probe_and_memory() -> None:
    for name, energy, angle in (("zeolite", 200, 15), ("zeolite", 300, 25), ("graphene", 60, 35), ("srtio3", 200, 25)):
        beam, specimen = simulate.Beam(energy, angle), simulate.specimen(name)
        tiles, grid = _sampling(specimen, beam, WINDOW * angle, None, None)
        spacing = max(length / n for length, n in zip(specimen.cell_nm, grid, strict=True))
        assert spacing < 0.15 / beam.radius_per_nm + 1e-9
        extent = [t * length for t, length in zip(tiles, specimen.cell_nm, strict=True)]
        cells = np.pi * (WINDOW * beam.radius_per_nm) ** 2 * np.prod(extent)
        assert 4 * cells * np.prod(grid) < 1.15 * MAX_BYTES
        assert min(extent) > 0.9


def test_defocus_is_free_flight_before_the_specimen(crystal: simulate.Specimen) -> None:
    beam = simulate.Beam(80, 20)
    focused = scattering_matrix(crystal, 80, beam.radius_per_nm, beam.radius_per_nm, (1, 1))
    thick = simulate.Specimen(
        "raised",
        "",
        np.concatenate([np.zeros((5, 20, 16)), crystal.slices]),
        crystal.cell_nm,
        crystal.slice_thickness_nm,
    )
    raised = scattering_matrix(thick, 80, beam.radius_per_nm, beam.radius_per_nm, (1, 1))
    incoming = focused.blocks[0].incoming * focused.step_per_nm
    # five empty slices of 0.4 nm delay by pi lambda k^2 dz, which is chi of C10 = 2 nm
    chi = optics.aberration_phase(incoming[:, 0], incoming[:, 1], beam.wavelength_nm, {"C10": 2.0})
    np.testing.assert_allclose(
        raised.blocks[0].matrix, np.exp(-1j * chi)[:, None] * focused.blocks[0].matrix, atol=1e-5
    )


def test_a_change_of_aberrations_only_recombines_and_results_are_kept(monkeypatch) -> None:
    specimen = simulate.specimen("srtio3", thickness_nm=12)
    calls: list[float] = []
    first = simulate.bank(specimen, simulate.Beam(200, 12.5), progress=calls.append)
    assert calls == sorted(calls)
    assert calls[-1] == 1
    assert simulate.bank(specimen, simulate.Beam(200, 12.5)) is first
    module = sys.modules["esteemcore.simulate.bank"]
    monkeypatch.setattr(module, "scattering_matrix", lambda *args, **options: pytest.fail("the slices again"))
    changed = simulate.bank(specimen, simulate.Beam(200, 12.5, {"C10": -5.0}))
    assert not np.allclose(changed.intensity, first.intensity)
    assert changed.provenance.parameters["aberrations"] == {"C10": -5.0}


def test_cancel() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.CancelledError):
        simulate.bank(simulate.specimen("srtio3"), simulate.Beam(200, 11.25), cancel=cancel)


@pytest.mark.parametrize(
    ("beam", "options", "words"),
    [
        (simulate.Beam(200, 90), {}, "lower semiangle_mrad or max_angle_mrad"),
        (simulate.Beam(200, 15), {"max_angle_mrad": float("nan")}, "finite"),
        (simulate.Beam(200, 15), {"max_angle_mrad": 0.0}, "more than zero"),
        (simulate.Beam(200, 15), {"spacing_nm": 0.2}, "positions 0.2"),
        (simulate.Beam(200, 15), {"spacing_nm": 1e-4}, "memory"),
    ],
)
def test_errors_of_the_bank(beam: simulate.Beam, options: dict[str, float], words: str) -> None:
    with pytest.raises(errors.ParameterError, match=words):
        simulate.bank(simulate.specimen("srtio3"), beam, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((200e3, 15), "keV, not eV"), ((200, 0.015), "0.5 to 100 mrad"), ((200, 15, {"defocus": 1.0}), "Krivanek")],
)
def test_errors_of_the_beam(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(errors.ParameterError, match=words):
        simulate.Beam(*arguments)  # type: ignore[arg-type]


def test_a_narrow_beam_shows_the_reflections_of_the_lattice() -> None:
    beam = simulate.Beam(200, 2.0)
    found = simulate.bank(simulate.specimen("srtio3"), beam)
    assert found.max_angle_mrad == 20
    assert found.step_mrad[0] <= beam.semiangle_mrad / 3 * 1.001  # a disk has three samples along its radius
    angle = np.hypot(*(found.waves * found.step_mrad).T)
    pattern = found.intensity.mean(axis=(0, 1), dtype=np.float64)
    reflection = beam.wavelength_nm / 0.3905 * 1e3  # of the cubic cell, 6.4 mrad
    near = np.abs(angle - reflection) < beam.semiangle_mrad
    between = (angle > 1.2 * beam.semiangle_mrad) & (angle < reflection - 1.2 * beam.semiangle_mrad)
    assert pattern[near].sum() > 0.02
    assert pattern[between].sum() < 1e-4
    np.testing.assert_allclose(found.intensity.sum(axis=-1) + found.outside, 1, atol=1e-5)
