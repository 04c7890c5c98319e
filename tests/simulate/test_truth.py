from __future__ import annotations

import numpy as np
import pytest

from esteemcore import errors, optics, simulate


def grid(specimen: simulate.Specimen, shape: tuple[int, int]) -> np.ndarray:
    axes = (np.arange(n) * length / n for n, length in zip(shape, specimen.cell_nm, strict=True))
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def test_truth_on_the_grid_is_the_potential(crystal: simulate.Specimen) -> None:
    phase = simulate.phase_truth(crystal, 120, grid(crystal, crystal.projected.shape))
    expected = optics.interaction_parameter(120) * crystal.slices.sum(axis=0, dtype=float)
    np.testing.assert_allclose(phase.reshape(expected.shape), expected, atol=1e-12)


def test_truth_is_band_limited_and_periodic(crystal: simulate.Specimen) -> None:
    shape, limit_mrad = (64, 50), 30.0
    phase = simulate.phase_truth(crystal, 120, grid(crystal, shape), max_angle_mrad=limit_mrad).reshape(shape)
    k = np.meshgrid(*(np.fft.fftfreq(n, d / n) for n, d in zip(shape, crystal.cell_nm, strict=True)), indexing="ij")
    beyond = np.hypot(*k) * optics.wavelength_nm(120) * 1e3 > limit_mrad
    spectrum = np.abs(np.fft.fft2(phase))
    assert spectrum[beyond].max() < 1e-10 * spectrum.max() < spectrum[~beyond].max()
    places = np.array([[0.1, 0.2], [0.33, 0.07]])
    shifted = places + np.array(crystal.cell_nm) * (2, -3)
    np.testing.assert_allclose(
        simulate.phase_truth(crystal, 120, places, 30), simulate.phase_truth(crystal, 120, shifted, 30), atol=1e-12
    )


def test_phase_of_the_zeolite_is_that_of_a_weak_object() -> None:
    # yardstick: abTEM at 200 kV, 15 mrad, of another refinement of MFI (a = 2.011, b = 1.988, c = 1.337 nm), on
    # 128 x 128 positions 0.03 nm apart: 0.1671 rad standard deviation, 0.1277 rad mean
    positions = np.stack(np.meshgrid(*2 * (np.arange(128),), indexing="ij"), axis=-1).reshape(-1, 2)
    positions = 0.03 * positions + np.array([0.13, 0.21])
    phase = simulate.phase_truth(simulate.specimen("zeolite"), 200, positions, max_angle_mrad=30)
    assert phase.std() == pytest.approx(0.1671, rel=0.05)
    assert phase.mean() == pytest.approx(0.1277, rel=0.01)


def test_bright_field_is_the_sum_of_the_disk(patterns: simulate.Bank) -> None:
    positions = np.array([[3, 4], [10, 2]]) * patterns.spacing_nm
    window = patterns.max_angle_mrad
    everything = simulate.bright_field_image(patterns, positions, max_angle_mrad=window)
    assert (everything <= 1 - patterns.outside[[3, 10], [4, 2]] + 1e-6).all()
    disk = simulate.bright_field_image(patterns, positions)
    ring = simulate.bright_field_image(patterns, positions, max_angle_mrad=window, inner_angle_mrad=20)
    np.testing.assert_allclose(disk + ring, everything, atol=1e-6)
    half = simulate.bright_field_image(patterns, np.array([[3.5, 4.0]]) * patterns.spacing_nm)
    ends = simulate.bright_field_image(patterns, np.array([[3, 4], [4, 4]]) * patterns.spacing_nm)
    assert half[0] == pytest.approx(ends.mean(), abs=1e-6)
    with pytest.raises(errors.ParameterError, match="wider window"):
        simulate.bright_field_image(patterns, positions, max_angle_mrad=2 * window)


def test_dark_field_shows_heavy_atoms_and_conserves_their_scattering() -> None:
    oxide, beam = simulate.specimen("srtio3", thickness_nm=4), simulate.Beam(200, 20)
    cell = oxide.cell_nm[0]
    sr, ti, oxygen = simulate.haadf_image(oxide, beam, np.array([[0, 0], [0.5, 0.5], [0, 0.5]]) * cell)
    assert sr > ti > oxygen >= 0
    places = grid(oxide, (40, 40))
    sharp = simulate.haadf_image(oxide, beam, places)
    blurred = simulate.haadf_image(oxide, simulate.Beam(200, 20, {"C10": 8.0}), places)
    assert blurred.mean() == pytest.approx(sharp.mean(), rel=1e-9)
    assert blurred.std() < 0.7 * sharp.std()
    twice = simulate.haadf_image(simulate.specimen("srtio3", thickness_nm=8), beam, places)
    assert twice.mean() == pytest.approx(2 * sharp.mean(), rel=0.05)
    with pytest.raises(errors.ParameterError, match="lower inner_angle_mrad"):
        simulate.haadf_image(oxide, beam, places, inner_angle_mrad=200)


def test_counts_are_poisson() -> None:
    oxide, beam = simulate.specimen("srtio3", thickness_nm=4), simulate.Beam(200, 20)
    places = np.zeros((5000, 2))
    mean = 300 * simulate.haadf_image(oxide, beam, places[:1])[0]
    counts = simulate.haadf_image(oxide, beam, places, electrons=300, seed=4)
    np.testing.assert_array_equal(counts, simulate.haadf_image(oxide, beam, places, electrons=300, seed=4))
    assert counts.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / 5000))
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.1)
