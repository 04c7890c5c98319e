"""The result of unmixing: spectra and maps in one normalisation, whatever the method, with what they leave over."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.provenance import Provenance
from esteemcore.lowrank.operators import column_squares, row_squares, times, transposed_times
from esteemcore.spectral.methods.problem import Factors, Problem


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Uncertainty:
    """Standard deviations of spectra and abundances, in their units.

    Attributes
    ----------
    spectra : ndarray, shape (n, energy), or None
        None where the method has none.
    abundances : ndarray, shape (n, y, x), or None
        NaN where the mask is False; None where the method has none.
    """

    spectra: NDArray[np.float64] | None
    abundances: NDArray[np.float64] | None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Unmixing:
    """Spectra of components, how much of each is in each pixel, and what they do not explain.

    The product of spectra and abundances is the model of the data. It leaves scale, sign and order open; these are
    fixed so: the magnitudes of a spectrum sum to 1 and its largest entry is positive, so that abundances are counts
    (the units of the data, summed over energy); known spectra come first as they were given, then the others by falling
    total magnitude of the abundance. With ``sum_to_one`` the abundances of a pixel sum to 1 and the spectra keep their
    scale.

    Attributes
    ----------
    spectra : ndarray of float64, shape (n, energy)
    abundances : ndarray of float64, shape (n, y, x)
        NaN where the mask is False.
    uncertainty : Uncertainty
    residual : ndarray of float64, shape (y, x)
        Root mean square over energy of what the model leaves of each pixel, in units of its noise (1: noise alone) or,
        with ``noise="gaussian"``, of the data. NaN where the mask is False.
    residual_spectrum : ndarray of float64, shape (energy,)
        The same by channel, over the pixels: peaks are lines or edges that no component has.
    method : str
        The method, also where it was chosen from the data.
    noise : str
        The model of the noise: ``"poisson"``, ``"gaussian"`` or ``"estimated"``.
    smoothing_px : float
        What the abundances were smoothed by.
    notes : tuple of str
        What to know about this result, in words: why the method was chosen, what did not converge or agree.
    mask : ndarray of bool, shape (y, x)
        The pixels that took part.
    provenance : Provenance
    """

    spectra: NDArray[np.float64]
    abundances: NDArray[np.float64]
    uncertainty: Uncertainty
    residual: NDArray[np.float64]
    residual_spectrum: NDArray[np.float64]
    method: str
    noise: str
    smoothing_px: float
    notes: tuple[str, ...]
    mask: NDArray[np.bool_]
    provenance: Provenance

    def reconstruct(self, channels: slice | ArrayLike = slice(None)) -> NDArray[np.float64]:
        """Return the model of the spectrum image, or of some channels of it.

        Parameters
        ----------
        channels : slice or array_like of integers, optional
            Which channels; all by default.

        Returns
        -------
        ndarray, shape (y, x, channels)
            NaN where the mask is False.
        """
        if not isinstance(channels, slice):
            channels = checks.flat_indices("channels", channels, self.spectra.shape[1])
        data: NDArray[np.float64] = np.moveaxis(self.abundances, 0, -1) @ self.spectra[:, channels]
        return data


def normalised(factors: Factors, *, n_known: int, sum_to_one: bool) -> Factors:
    """Return the same model with the scale, the signs and the order that `Unmixing` promises."""
    spectra, amounts = factors.spectra, factors.abundances
    scale = np.ones(len(spectra))
    if not sum_to_one:
        size = np.abs(spectra).sum(axis=1)
        peak = spectra[np.arange(len(spectra)), np.abs(spectra).argmax(axis=1)]
        scale = np.where(size > 0, np.where(peak < 0, -size, size), 1)
    total = np.abs(amounts * scale).sum(axis=0)
    order = np.concatenate([np.arange(n_known), n_known + np.argsort(-total[n_known:], kind="stable")]).astype(np.int64)
    sigma, spread = factors.sigma_spectra, factors.sigma_abundances
    return Factors(
        spectra=(spectra / scale[:, None])[order],
        abundances=(amounts * scale)[:, order],
        sigma_spectra=None if sigma is None else (sigma / np.abs(scale)[:, None])[order],
        sigma_abundances=None if spread is None else (spread * np.abs(scale))[:, order],
        notes=factors.notes,
        doubted=factors.doubted,
    )


def residuals(problem: Problem, factors: Factors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the root mean square of what is left over that of the noise, by row and by channel.

    Of counts the variance is that of the model, which holds for one event as for thousands. The squares are expanded,
    so that sparse and lazy data are never made dense.
    """
    matrix, spectra, amounts = problem.matrix, factors.spectra, factors.abundances
    weights = problem.channel_weights**2
    weighted = spectra * weights
    by_row = row_squares(matrix, weights) - 2 * (times(matrix, weighted.T) * amounts).sum(axis=1)
    by_row += ((amounts @ (weighted @ spectra.T)) * amounts).sum(axis=1)
    by_channel = column_squares(matrix) - 2 * (transposed_times(matrix, amounts) * spectra.T).sum(axis=1)
    by_channel += (((amounts.T @ amounts) @ spectra) * spectra).sum(axis=0)
    if problem.noise == "poisson":
        dark = problem.readout_sigma**2
        row_noise = problem.gain * amounts @ weighted.sum(axis=1) + dark * weights.sum()
        channel_noise = problem.gain * amounts.sum(axis=0) @ spectra + dark * len(amounts)
    else:
        row_noise = len(weights) / problem.row_weights**2
        channel_noise = (1 / problem.row_weights**2).sum() / weights
    return _root_ratio(by_row, row_noise), _root_ratio(by_channel, channel_noise)


def _root_ratio(squares: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root of a ratio, where next to no noise is expected too."""
    least = 1e-3 * max(float(noise.mean()), 1e-300)
    return np.sqrt(np.maximum(squares, 0) / np.maximum(noise, least))
