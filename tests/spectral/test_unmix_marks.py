"""What unmixing reaches by default on the shared spectrum images of known truth, and on others."""

from __future__ import annotations

import numpy as np
import pytest
from known_spectra import matched, phases, regions

from esteemcore import spectral
from esteemcore.events import SparseSI


def quality(found, spectra, amounts, inside=None):
    """Return the mean angle in degrees, and the root mean square error of the abundances as shares of each pixel."""
    order, angle = matched(found.spectra, spectra)
    shares = np.clip(found.abundances.reshape(len(spectra), -1)[order], 0, None)
    shares, truth = (a / np.maximum(a.sum(axis=0), 1e-12) for a in (shares, amounts))
    keep = slice(None) if inside is None else inside.ravel()
    return angle.mean(), np.sqrt(np.mean((shares[:, keep] - truth[:, keep]) ** 2))


def shared_eels(folder):
    with np.load(folder / "spectral" / "eels_3phase.npz") as file:
        return file["Y"], file["W"].astype(float), file["H"].astype(float)


def shared_eds(folder, name):
    with np.load(folder / "spectral" / f"{name}.npz") as file:
        ny, nx, channels = (int(n) for n in file["shape"])
        counts = SparseSI(
            (ny, nx, channels), np.dtype(np.uint16), file["indptr"].astype(np.int64),
            file["indices"].astype(np.uint32), file["data"],
        )  # fmt: skip
        return counts, file["W"].astype(float), file["H"].astype(float), file["inside"].reshape(ny, nx)


def test_marks_on_energy_losses(shared_data) -> None:
    data, spectra, amounts = shared_eels(shared_data)
    result = spectral.unmix(data, 3)
    angle, error = quality(result, spectra, amounts)
    assert result.method == "spa"
    assert angle <= 0.4
    assert error <= 0.04  # 0.075 with the true spectra, were each pixel alone
    assert spectral.estimate_rank(data).n == 3


@pytest.mark.parametrize(
    ("name", "most_deg", "most_error"),
    [("eds_tip_5cpp", 4.8, 0.10), ("eds_tip_50cpp", 1.8, 0.10), ("eds_tip_1p5cpp", 8.0, 0.13)],
)
def test_marks_on_x_rays(shared_data, name, most_deg, most_error) -> None:
    counts, spectra, amounts, inside = shared_eds(shared_data, name)
    result = spectral.unmix(counts, 3, mask=inside)
    angle, error = quality(result, spectra, amounts, inside)
    assert result.method == "nmf"
    assert angle <= most_deg
    assert error <= most_error
    assert spectral.estimate_rank(counts).n == 3


@pytest.mark.parametrize("seed", range(3))
def test_energy_losses_of_other_phases_with_readout_noise(seed) -> None:
    """Spectra a few degrees apart, as in EELS, where each pixel alone tells its phase badly."""
    rng = np.random.default_rng(seed)
    spectra = phases(rng, 3, 300) + 2 * np.exp(-np.arange(300) / 90.0) / 90
    spectra /= spectra.sum(axis=1, keepdims=True)
    amounts = 1.5e4 * regions(rng, (40, 40), 3) * rng.uniform(0.7, 1.3, (40, 40, 1))
    data = np.round(rng.poisson(amounts @ spectra) + rng.normal(0, 4, (40, 40, 300)))
    truth = np.moveaxis(amounts, -1, 0).reshape(3, -1)
    angle, error = quality(spectral.unmix(data, 3), spectra, truth)
    known, least = quality(spectral.unmix(data, 3, known=spectra), spectra, truth)
    assert known == pytest.approx(0, abs=1e-3)
    assert angle < 1.5
    assert error < 1.5 * least
