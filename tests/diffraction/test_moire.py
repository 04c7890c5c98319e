"""Strain from fringes: known deformations of lattices and of moirés, errors that are right, no maps without fringes."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
from scipy.special import erf

from esteemcore import diffraction, errors
from esteemcore.diffraction import moire_fringes

NAMES = ("exx", "eyy", "exy", "rotation")


def lattice(spacing, turn=0.1):
    """Two reciprocal vectors (row, column) in cycles per px."""
    c, s = np.cos(turn), np.sin(turn)
    return np.array([[c, s], [-s, c]]) / spacing


def fringes(vectors, shape=(120, 140), displacement=(0.0, 0.0), level=100.0, height=30.0):
    """The image of a lattice whose points at (row, column) were displaced to where they are."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    wave = [np.cos(2 * np.pi * (g[0] * (y - displacement[0]) + g[1] * (x - displacement[1]))) for g in vectors]
    return level + height * (wave[0] + wave[1])


def fin(shape, width=80.0, strain=0.012, edge=20.0):
    """Displacement along x (y, x) of a strained fin in the middle of an unstrained image, and its exx."""
    t = np.arange(shape[1]) - shape[1] / 2
    profile = 0.5 * strain * (erf((t + width / 2) / edge) - erf((t - width / 2) / edge))
    fine = np.linspace(t[0], t[-1], 20001)
    integral = np.cumsum(0.5 * strain * (erf((fine + width / 2) / edge) - erf((fine - width / 2) / edge)))
    u = np.interp(t, fine, integral * (fine[1] - fine[0]))
    return np.broadcast_to(u, shape), np.broadcast_to(1 / (1 - profile) - 1, shape)


def left(shape):
    """The quarter of an image that is not strained."""
    return np.broadcast_to(np.arange(shape[1]) < shape[1] // 4, shape)


@pytest.mark.parametrize(("component", "gradient"), [
    ("exx", [[0, 0], [0, 0.02]]), ("eyy", [[-0.015, 0], [0, 0]]), ("exy", [[0, 0.01], [0.01, 0]]),
    ("rotation", [[0, 0.03], [-0.03, 0]]),
])  # fmt: skip
def test_each_component_alone(component, gradient) -> None:
    """Half of an image is deformed, with F = 1 + gradient in (row, column); the other half is the reference."""
    f = np.eye(2) + np.array(gradient)
    if component == "rotation":
        f /= np.sqrt(np.linalg.det(f))
    y, x = np.mgrid[:120, :160].astype(float)
    from_middle = np.stack([y - 60, np.maximum(x - 80, 0)], axis=-1)
    at = np.where((x > 80)[..., None], from_middle @ (np.eye(2) - np.linalg.inv(f)).T, 0)
    image = fringes(lattice(5.0), (120, 160), (at[..., 0], at[..., 1]))
    found = diffraction.moire_strain(image, reference=x < 60, smoothing_px=8)
    angle = np.arctan2(f[0, 1] - f[1, 0], np.trace(f))
    size = {"exx": 0.02, "eyy": -0.015, "exy": 0.01, "rotation": angle}[component]
    for name in NAMES:
        expected = size if name == component else 0.0
        np.testing.assert_allclose(getattr(found, name)[40:80, 115:140], expected, atol=2e-4, err_msg=name)
        np.testing.assert_allclose(getattr(found, name)[40:80, 20:50], 0, atol=2e-4, err_msg=name)


LATTICE, MOIRE = lattice(6.0), lattice(1.09, 0.02)


@pytest.mark.parametrize(
    ("vectors", "level", "height"), [(LATTICE, 400, 120), (MOIRE, 20, 8)], ids=["lattice", "moire"]
)
def test_a_strained_fin_to_a_part_in_a_thousand(vectors, level, height) -> None:
    """A lattice that is resolved, and the fringes of 12 px that a step of the scan of 0.92 spacings makes of one.

    Without noise every pixel, transitions included; with it the root mean square, and as sure as it says.
    """
    shape = (150, 270)
    u, true = fin(shape)
    alias = np.rint(vectors)
    given = {"vectors": vectors - alias, "alias": alias, "reference": left(shape), "smoothing_px": 11}
    clean = fringes(vectors, shape, (0, u), level, height)
    exact = diffraction.moire_strain(clean, **given)
    there = np.isfinite(exact.exx)
    assert there.mean() > 0.7
    assert np.abs(exact.exx - true)[there].max() < 1e-3
    assert max(np.abs(getattr(exact, name)[there]).max() for name in NAMES[1:]) < 1e-3
    np.testing.assert_allclose(exact.lattice, vectors, atol=1e-3)
    np.testing.assert_allclose(exact.fringes, vectors - alias, atol=1e-3)
    noisy = diffraction.moire_strain(np.random.default_rng(0).poisson(clean), **given)
    assert np.sqrt(((noisy.exx - true)[there] ** 2).mean()) < 1e-3
    for i, name in enumerate(NAMES[1:], start=1):
        rms = np.sqrt((getattr(noisy, name)[there] ** 2).mean())
        assert rms == pytest.approx(noisy.component_sigma[there, i].mean(), rel=0.4)
        assert rms < 1e-3


def test_errors_are_those_of_the_noise() -> None:
    """At places that share no noise; and a quarter of them with a window of twice the width."""
    image = np.random.default_rng(2).poisson(fringes(lattice(5.0), (220, 220), level=50, height=20))
    found = diffraction.moire_strain(image, lattice(5.0), smoothing_px=5)
    apart = np.s_[16:210:18, 16:210:18]
    for i, name in enumerate(NAMES):
        assert np.std(getattr(found, name)[apart]) == pytest.approx(
            found.component_sigma[apart][..., i].mean(), rel=0.2
        )
    np.testing.assert_allclose(found.sigma, np.sqrt((found.component_sigma[..., :3] ** 2).mean(axis=-1)))
    wide = diffraction.moire_strain(image, lattice(5.0), smoothing_px=10)
    assert np.nanmean(wide.sigma) == pytest.approx(np.nanmean(found.sigma) / 4, rel=0.2)


def test_a_smooth_wave_is_fitted_up_to_the_edge() -> None:
    """The local fit against weighted least squares of the demodulated image, written plainly."""
    image = fringes(lattice(5.0), (40, 44))
    valid = np.ones(image.shape, bool)
    valid[:, 30:] = False
    vector = lattice(5.0)[1] + [0.004, -0.006]
    made = moire_fringes.make_window(np.where(valid, image, 0), valid, 4.0)
    amplitude, frequency = moire_fringes.local_wave(image, made, vector)
    y, x = np.mgrid[:40, :44].astype(float)
    for row, column in ((20, 15), (1, 29), (39, 3)):
        window = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 4.0**2)) * valid
        assert made.weight[row, column] == pytest.approx(window.sum() / (2 * np.pi * 16), abs=1e-3)
    row, column = 20, 15
    level = np.array(
        [
            [
                (np.exp(-((y - i) ** 2 + (x - j) ** 2) / 32) * valid * image).sum()
                / (np.exp(-((y - i) ** 2 + (x - j) ** 2) / 32) * valid).sum()
                for j in range(44)
            ]
            for i in range(40)
        ]
    )
    z = (image - level) * np.exp(-2j * np.pi * (vector[0] * y + vector[1] * x))
    root = np.sqrt(np.exp(-((y - row) ** 2 + (x - column) ** 2) / 32) * valid).ravel()
    design = np.stack([np.ones(z.size), (y - row).ravel(), (x - column).ravel()], axis=1) * root[:, None]
    a, b, c = np.linalg.lstsq(design, z.ravel() * root, rcond=None)[0]
    assert amplitude[row, column] == pytest.approx(a, rel=1e-3)
    np.testing.assert_allclose(frequency[row, column], vector + np.imag([b / a, c / a]) / (2 * np.pi), atol=1e-5)


def test_only_the_crystal_gets_a_map() -> None:
    """Outside of the mask and where the fringes end there is no strain."""
    shape = (120, 160)
    image = fringes(lattice(5.0), shape)
    image[:, 100:] = 100 + np.random.default_rng(3).normal(0, 3, (120, 60))
    found = diffraction.moire_strain(image, lattice(5.0), smoothing_px=8, reference=left(shape))
    assert np.isnan(found.exx[:, 125:]).all()
    assert np.abs(found.exx[15:105, 15:80]).max() < 2e-3
    mask = np.zeros(shape, bool)
    mask[:, :100] = True
    image[~mask] = np.nan
    masked = diffraction.moire_strain(image, mask=mask, smoothing_px=8)
    assert np.isnan(masked.exx[:, 100:]).all()
    assert np.abs(masked.exx[20:100, 15:85]).max() < 5e-4
    assert masked.notes == ()


def test_no_map_without_fringes() -> None:
    rng = np.random.default_rng(4)
    noise = rng.poisson(np.full((80, 80), 50.0))
    with pytest.raises(errors.CalibrationError, match="0 of the two sets"):
        diffraction.moire_strain(noise)
    one = rng.poisson(50 + 20 * np.cos(2 * np.pi * np.arange(80) / 6) + np.zeros((80, 80)))
    with pytest.raises(errors.CalibrationError, match="1 of the two sets"):
        diffraction.moire_strain(one)
    image = fringes(lattice(5.0), (80, 80))
    corner = np.zeros((80, 80), bool)
    corner[:3, :3] = True
    with pytest.raises(errors.CalibrationError, match="no pixel of the reference"):
        diffraction.moire_strain(image, reference=corner)
    vectors = [[0.2, 0.1], [-0.4, 0.3]]
    with pytest.raises(errors.CalibrationError, match="check the alias"):
        diffraction.moire_strain(fringes(vectors, (80, 80)), vectors, alias=[[0, 0], [1, 0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vectors": [[0.2, 0]]}, "vectors have shape"),
        ({"vectors": [[0.2, 0], [0.9, 0.1]]}, "0.5 at most"),
        ({"vectors": [[0.2, 0.1], [0.4, 0.2]]}, "in a line"),
        ({"alias": [[0.5, 0], [0, 0]]}, "whole cycles per px"),
        ({"alias": [[1, 0], [0, 0]]}, "give vectors with the alias"),
        ({"smoothing_px": 30}, "does not fit an image"),
        ({"reference": np.zeros((80, 80), bool)}, "no pixel in common"),
        ({"reference": np.ones((80, 70), bool)}, r"reference has shape \(80, 70\)"),
        ({"image": np.ones((4, 4))}, "16 pixels at least"),
        ({"image": np.full((80, 80), np.inf), "mask": np.ones((80, 80), bool)}, "not finite"),
    ],
)
def test_bad_parameters(arguments, message) -> None:
    given = {"image": fringes(lattice(5.0), (80, 80))} | arguments
    with pytest.raises(errors.ParameterError, match=message):
        diffraction.moire_strain(**given)


def test_examples() -> None:
    result = doctest.testmod(importlib.import_module("esteemcore.diffraction.moire"))
    assert result.attempted > 0
    assert result.failed == 0
