"""Spectra of light over wavelength, energy or wavenumber: axes, the Jacobian, and the variance."""

from __future__ import annotations

import dataclasses
import math
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, record
from esteemcore.events import SparseSI
from esteemcore.spectral.windows import checked_spectra, digest_of, parts_of

UNITS = ("nm", "eV", "cm^-1")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ConvertedSpectra:
    """Spectra of light over another axis.

    Attributes
    ----------
    data : ndarray of float64, shape (..., n)
        Counts per unit of the new axis: ``data * np.diff(edges)`` are the counts of the channels.
    variance : ndarray of float64, shape (..., n)
        Of `data`.
    axis : ndarray of float64, shape (n,)
        Middle of each channel, rising.
    edges : ndarray of float64, shape (n + 1,)
        Where the channels begin and end.
    unit : str
        Of the axis: ``"nm"``, ``"eV"`` or ``"cm^-1"``.
    provenance : Provenance
    """

    data: NDArray[np.float64]
    variance: NDArray[np.float64]
    axis: NDArray[np.float64]
    edges: NDArray[np.float64]
    unit: str
    provenance: Provenance


def convert_axis(
    si: Any,
    axis: ArrayLike,
    unit: str,
    to: str,
    *,
    variance: ArrayLike | None = None,
    evenly: bool = False,
    refractive_index: float = 1.0,
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> ConvertedSpectra:
    r"""Return spectra of light over wavelength, photon energy or wavenumber instead of another one of them.

    A channel keeps its photons, but not its width: :math:`E = hc / (n \lambda)`, so that

    .. math:: I(E) = I(\lambda) \left| \frac{d\lambda}{dE} \right| = I(\lambda) \frac{n \lambda^2}{hc},
       \qquad \mathrm{var}\, I(E) = \mathrm{var}\, I(\lambda) \left| \frac{d\lambda}{dE} \right|^2 .

    Without the Jacobian the place, width and height of bands are wrong [1]_; a constant background is no constant any
    more, take it off before. The edges of channels are converted, not their middles, so that counts are conserved to
    the last digit.

    Parameters
    ----------
    si : array_like or SparseSI, shape (..., channels)
        Counts per channel. Sparse data become dense.
    axis : array_like, shape (channels,)
        Middle of each channel in `unit`, above zero, rising or falling, in even steps or not.
    unit, to : {"nm", "eV", "cm^-1"}
        What the axis is of, and what it shall be of.
    variance : array_like, shape (..., channels), optional
        Of the counts. Default: ``gain * counts + readout_sigma**2``.
    evenly : bool
        Lay the counts into as many channels of equal width, by their overlap. Neighbours then share noise, and
        `variance` is that of each channel alone.
    refractive_index : float
        Of the medium in which wavelengths were measured: 1 for vacuum wavelengths, 1.00028 for those in air.
    gain, readout_sigma : float
        Noise of the counts where no variance is given.
    progress, cancel
        Called with the fraction done; stops the work when set.

    Returns
    -------
    ConvertedSpectra

    Raises
    ------
    ParameterError
        If a unit is unknown or the values are not finite.
    CalibrationError
        If the axis does not fit or is not above zero.
    CancelledError
        If `cancel` was set.

    References
    ----------
    .. [1] J. Mooney, P. Kambhampati, J. Phys. Chem. Lett. 4, 3316 (2013).

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> wavelength = np.arange(400.0, 800.0)
    >>> found = spectral.convert_axis(np.ones(400), wavelength, "nm", "eV")
    >>> found.axis[[0, -1]].round(3).tolist(), round(float((found.data * np.diff(found.edges)).sum()), 6)
    ([1.552, 3.1], 400.0)
    """
    checks.choice("unit", unit, UNITS)
    checks.choice("to", to, UNITS)
    data, shape = checked_spectra(si)
    channels, rows = shape[-1], math.prod(shape[:-1])
    counts = np.asarray(data.to_dense() if isinstance(data, SparseSI) else data).reshape(rows, channels)
    edges = _edges(axis, channels)
    index = checks.positive("refractive_index", refractive_index)
    readout, gain = checks.not_negative("readout_sigma", readout_sigma), checks.positive("gain", gain)
    known = None if variance is None else np.asarray(variance)
    if known is not None:
        if known.shape != shape:
            raise ParameterError(f"variance has shape {known.shape}; expected that of the spectra, {shape}")
        known = known.reshape(rows, channels)
    middle = _converted(np.asarray(axis, np.float64), unit, to, index)
    edges = _converted(edges, unit, to, index)
    falls = edges[0] > edges[-1]
    if falls:
        edges, middle = edges[::-1], middle[::-1]
    share = None
    if evenly:
        even = np.linspace(edges[0], edges[-1], len(edges))
        share = _overlap(edges, even)
        edges, middle = even, (even[1:] + even[:-1]) / 2
    width = np.diff(edges)
    density, spread = np.empty((2, rows, channels))
    parts = parts_of(rows, channels)
    work = Progress(len(parts), progress, cancel)
    work.step(0)
    for part in parts:
        some = counts[part].astype(np.float64)
        noise = gain * np.maximum(some, 0) + readout**2 if known is None else known[part].astype(np.float64)
        if not (np.isfinite(some).all() and np.isfinite(noise).all() and (noise >= 0).all()):
            raise ParameterError("the spectra hold NaN or infinite values, or the variance does or falls below zero")
        if falls:
            some, noise = some[:, ::-1], noise[:, ::-1]
        if share is not None:
            some, noise = some @ share, noise @ share**2
        density[part], spread[part] = some / width, noise / width**2
        work.step()
    parameters = {
        "axis": np.asarray(axis), "unit": unit, "to": to, "variance": variance is not None, "evenly": evenly,
        "refractive_index": index, "gain": gain, "readout_sigma": readout,
    }  # fmt: skip
    return ConvertedSpectra(
        density.reshape(shape),
        spread.reshape(shape),
        middle,
        edges,
        to,
        record("spectral.convert_axis", parameters, input_digest=digest_of(data)),
    )


def _edges(axis: ArrayLike, channels: int) -> NDArray[np.float64]:
    """Return where channels begin and end: in the middle between their middles."""
    middle = np.asarray(axis, np.float64)
    if middle.shape != (channels,) or channels < 2:
        raise CalibrationError(
            f"the axis has shape {middle.shape}, but the spectra have {channels} channels; give the middle of each, "
            "two at least"
        )
    steps = np.diff(middle)
    if not np.isfinite(middle).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise CalibrationError("the axis must be finite and rise or fall from channel to channel")
    between = (middle[1:] + middle[:-1]) / 2
    edges = np.concatenate([[middle[0] - steps[0] / 2], between, [middle[-1] + steps[-1] / 2]])
    if edges.min() <= 0:
        raise CalibrationError(
            f"the channels begin at {edges.min():g}; wavelengths, energies and wavenumbers of light are above zero"
        )
    return edges


def _converted(values: NDArray[np.float64], unit: str, to: str, index: float) -> NDArray[np.float64]:
    """Return values in another unit; nm are those in the medium, the others those of the vacuum."""
    from scipy.constants import c, e, h

    if unit == to:
        return values.copy()
    per_nm, per_cm = h * c / e * 1e9 / index, h * c / e * 100
    ev = per_nm / values if unit == "nm" else values * per_cm if unit == "cm^-1" else values
    made: NDArray[np.float64] = per_nm / ev if to == "nm" else ev / per_cm if to == "cm^-1" else ev
    return made


def _overlap(old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return which part of each old channel lies in each new one, shape (old, new)."""
    inside = np.minimum(old[1:, None], new[None, 1:]) - np.maximum(old[:-1, None], new[None, :-1])
    share = np.maximum(inside, 0) / np.diff(old)[:, None]
    found: NDArray[np.float64] = share / share.sum(axis=1, keepdims=True)
    return found
