"""Relative thickness from the zero loss: t / lambda by the log-ratio, with its standard error."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, record
from esteemcore.events import SparseSI
from esteemcore.spectral.windows import Window, channels_of, checked_spectra, digest_of, energy_axis


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RelativeThickness:
    """Thickness in units of the mean free path of inelastic scattering.

    Attributes
    ----------
    data : ndarray of float64, shape (...)
        t / lambda; NaN where no electron is in the zero loss, or the sum of all counts is not above zero.
    sigma : ndarray of float64, shape (...)
        Standard error of `data`.
    zero_loss : (float, float)
        The window that was taken for the zero loss, in eV.
    provenance : Provenance
    """

    data: NDArray[np.float64]
    sigma: NDArray[np.float64]
    zero_loss: Window
    provenance: Provenance


def relative_thickness(
    si: Any,
    energy_ev: ArrayLike,
    zero_loss: Window | None = None,
    *,
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> RelativeThickness:
    r"""Return t / lambda of each spectrum from the electrons that lost nothing.

    The number of inelastic events of an electron follows Poisson's law, so that [1]_

    .. math:: t / \lambda = \ln (I_t / I_0),

    with the counts :math:`I_0` of the zero loss and :math:`I_t` of all losses on the axis. The counts of the zero loss
    are part of both; with counts of a camera that has no readout noise the variance is
    :math:`g (1 / I_0 - 1 / I_t)`, by first order in the noise: use it where the zero loss holds 20 electrons or more.
    Losses beyond the axis are missing in :math:`I_t`, losses within the window are taken for elastic: both make
    t / lambda too small. Lambda is that of the collection angle.

    Parameters
    ----------
    si : array_like, lazy array or SparseSI, shape (..., energy)
        Spectra with the zero loss, without dark counts, aligned to each other (`align_energy`).
    energy_ev : array_like, shape (energy,)
        Energy loss of each channel in eV, rising.
    zero_loss : (float, float), optional
        The window of the zero loss. Default: the peak of the sum of all spectra and as far to both sides as the lowest
        channel within 15 eV above it.
    gain, readout_sigma : float
        Noise: variance = gain * counts + readout_sigma².
    progress, cancel
        Called with the fraction done; stops the work when set.

    Returns
    -------
    RelativeThickness

    Raises
    ------
    ParameterError
        If the values are not finite or the window makes no sense.
    CalibrationError
        If the energy axis does not fit, or the highest peak is nowhere near 0 eV.
    CancelledError
        If `cancel` was set.

    References
    ----------
    .. [1] R. F. Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed., ch. 5.1.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> energy = np.arange(-5.0, 60.0)
    >>> spectrum = np.where(energy == 0, 6000.0, 0.0) + np.where((energy > 10) & (energy <= 50), 100.0, 0.0)
    >>> found = spectral.relative_thickness(spectrum, energy, (-3, 4))
    >>> round(float(found.data), 4), round(float(found.sigma), 4)
    (0.5108, 0.0082)
    """
    data, shape = checked_spectra(si)
    axis = energy_axis(energy_ev, shape[-1])
    gain = checks.positive("gain", gain)
    readout = checks.not_negative("readout_sigma", readout_sigma)
    lines = 1 if isinstance(data, SparseSI) or len(shape) == 1 else shape[0]
    work = Progress(lines * (2 if zero_loss is None else 1), progress, cancel)
    work.step(0)
    window = _zero_loss(data, axis, work) if zero_loss is None else zero_loss
    inside = channels_of("the zero-loss window", window, axis)
    rest = np.setdiff1d(np.arange(shape[-1]), inside)
    if not len(rest):
        raise ParameterError("the zero-loss window holds all channels; expected losses beside it")
    elastic, lost = _sums(data, (inside, rest), work)
    total = elastic + lost
    known = (elastic > 0) & (total > 0)
    elastic, total = np.where(known, elastic, np.nan), np.where(known, total, np.nan)
    of_elastic = gain * elastic + len(inside) * readout**2
    of_lost = gain * np.maximum(lost, 0) + len(rest) * readout**2
    variance = (lost / (elastic * total)) ** 2 * of_elastic + of_lost / total**2
    parameters = {"energy_ev": axis, "zero_loss": zero_loss, "gain": gain, "readout_sigma": readout}
    return RelativeThickness(
        data=np.log(total / elastic),
        sigma=np.sqrt(variance),
        zero_loss=(float(window[0]), float(window[1])),
        provenance=record("spectral.relative_thickness", parameters, input_digest=digest_of(data)),
    )


def _zero_loss(data: Any, axis: NDArray[np.float64], work: Progress) -> Window:
    """Return the window around the highest peak of the sum of all spectra that ends before the losses rise."""
    summed = _sum_spectrum(data, len(axis), work)
    peak = int(summed.argmax())
    if abs(axis[peak]) > 5:
        raise CalibrationError(
            f"the highest peak is at {axis[peak]:g} eV; expected the zero loss within 5 eV of 0: calibrate the axis, "
            "align the spectra, or give zero_loss"
        )
    after = np.flatnonzero((axis > axis[peak]) & (axis <= axis[peak] + 15))
    if not len(after):
        raise CalibrationError(f"the axis ends at {axis[-1]:g} eV, within the zero loss; expected losses beside it")
    reach = float(axis[after[summed[after].argmin()]] - axis[peak])
    return float(axis[peak]) - reach, float(axis[peak]) + reach


def _rows(data: Any, work: Progress) -> Iterator[NDArray[np.float64]]:
    """Yield the parts of dense or lazy data that are in memory one after the other: rows of pixels."""
    for row in (data[k] for k in range(data.shape[0])) if len(data.shape) > 1 else (data[:],):
        yield np.asarray(row, np.float64)
        work.step()


def _sum_spectrum(data: Any, channels: int, work: Progress) -> NDArray[np.float64]:
    if isinstance(data, SparseSI):
        work.step()
        return np.bincount(data.channel, weights=data.count, minlength=channels)
    summed = np.zeros(channels)
    for row in _rows(data, work):
        summed += row.reshape(-1, channels).sum(axis=0)
    if not np.isfinite(summed).all():
        raise ParameterError("the spectra hold NaN or infinite values")
    return summed


def _sums(data: Any, parts: tuple[NDArray[np.int64], ...], work: Progress) -> list[NDArray[np.float64]]:
    """Return the counts in each part of the channels, shape (...)."""
    shape = tuple(data.shape)
    if isinstance(data, SparseSI):
        pixel = np.repeat(np.arange(len(data.offset) - 1), np.diff(data.offset))
        found = []
        for part in parts:
            weight = np.zeros(shape[-1])
            weight[part] = 1
            counts = np.bincount(pixel, weights=data.count * weight[data.channel], minlength=len(data.offset) - 1)
            found.append(counts.reshape(shape[:-1]))
        work.step()
        return found
    rows = [[row[..., part].sum(axis=-1) for part in parts] for row in _rows(data, work)]
    sums = [np.reshape([row[k] for row in rows], shape[:-1]) for k in range(len(parts))]
    if not all(np.isfinite(part).all() for part in sums):
        raise ParameterError("the spectra hold NaN or infinite values")
    return sums
