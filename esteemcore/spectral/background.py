"""Backgrounds under edges and lines: fitted in windows with the weights of the noise, and taken off."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, record
from esteemcore.spectral.background_fit import MODELS, Fit, Step, fit_background, least_mean, shrunk, steps_of
from esteemcore.spectral.windows import (
    Window,
    channels_of,
    checked_spectra,
    counts_in,
    digest_of,
    energy_axis,
    parts_of,
)


@dataclasses.dataclass(frozen=True, eq=False)
class BackgroundRemoved:
    """Spectra without their background.

    Attributes
    ----------
    signal : ndarray of float64, shape (..., energy)
        Counts less background, above the start of the (first) window; zero below.
    background : ndarray of float64, shape (..., energy)
        The fitted background, extrapolated; zero below the window.
    variance : ndarray of float64, shape (..., energy)
        Of `signal`, channel by channel: noise of the counts plus that of the fit or, in the window, less what the fit
        follows of it. Channels share the fit's part: for the variance of a sum over channels use `edge_map`.
    parameters : ndarray of float64, shape (..., p)
        Of the model, see `MODELS`. Power law: amplitude at the centre of the window and exponent r.
    provenance : Provenance
    """

    signal: NDArray[np.float64]
    background: NDArray[np.float64]
    variance: NDArray[np.float64]
    parameters: NDArray[np.float64]
    provenance: Provenance


@dataclasses.dataclass(frozen=True, eq=False)
class EdgeMap:
    """Counts of an edge or a line, place by place.

    Attributes
    ----------
    data : ndarray of float64, shape (...)
        Net counts in the signal window.
    variance : ndarray of float64, shape (...)
        Of `data`: of the counts that are expected and of the extrapolated background, its channels being correlated.
        Of a map with few counts its mean is true, and no place has none: n counts of a map with m on average have
        ``(n + 1) / (1 + 1 / m)``.
    background : ndarray of float64, shape (...)
        Counts of the background in the signal window.
    provenance : Provenance
    """

    data: NDArray[np.float64]
    variance: NDArray[np.float64]
    background: NDArray[np.float64]
    provenance: Provenance

    @property
    def sigma(self) -> NDArray[np.float64]:
        """Standard deviation of `data`, place by place."""
        sigma: NDArray[np.float64] = np.sqrt(self.variance)
        return sigma

    @property
    def snr(self) -> float:
        """Mean of the map over the root mean square of its standard deviation; it grows as the root of the dose."""
        noise = float(np.sqrt(np.nanmean(self.variance)))
        return float(np.nanmean(self.data)) / noise if noise > 0 else 0.0


def remove_background(
    si: Any,
    energy_ev: ArrayLike,
    window: Window | Sequence[Window],
    model: str = "power_law",
    *,
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> BackgroundRemoved:
    r"""Fit the background of each spectrum in a window and take it off.

    Fits maximise the likelihood of counts (weighted least squares with the variance of the fitted background, iterated
    [1]_), so empty channels count for what they are and no logarithm of noisy counts is taken. A power law
    :math:`A (E / E_0)^{-r}` is fitted with r between 0 and 12; ``"double_power_law"`` adds two power laws with the
    exponents of the 5th and 95th percentile of the image [2]_.

    Parameters
    ----------
    si : array_like, shape (..., energy), or SparseSI
        Spectra; one, an image or a series. Sparse data become dense here: for maps use `edge_map`.
    energy_ev : array_like, shape (energy,)
        Energy of each channel, rising; positive in the window of a power law.
    window : (float, float) or sequence of such pairs
        Where there is background only, in the unit of the axis.
    model : {"power_law", "double_power_law", "linear", "polynomial", "constant"}
        ``"linear"`` and ``"polynomial"`` (of second order) suit windows on both sides of EDS lines.
    gain, readout_sigma : float
        Noise: variance = gain * counts + readout_sigma², with the counts that are expected: where they are few, those
        of all spectra have a say.
    progress, cancel
        Called with the fraction done; stops the work when set.

    Returns
    -------
    BackgroundRemoved

    Raises
    ------
    ParameterError
        If a window or the model makes no sense, or values are not finite.
    CalibrationError
        If the energy axis does not fit.
    CancelledError
        If `cancel` was set.

    References
    ----------
    .. [1] P. McCullagh, J. A. Nelder, Generalized Linear Models, 2nd ed., 1989.
    .. [2] P. Cueva, R. Hovden, J. A. Mundy, H. L. Xin, D. A. Muller, Microsc. Microanal. 18 (2012) 667.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> energy = np.arange(400.0, 600.0)
    >>> counts = 1e4 * (energy / 400) ** -3.0
    >>> counts[energy >= 500] += 100
    >>> found = spectral.remove_background(counts, energy, (410, 490))
    >>> round(float(found.signal[150]), 3), round(float(found.parameters[1]), 3)
    (100.0, 3.0)
    """
    data, shape, axis, inside, noise = _checked(si, energy_ev, window, model, gain, readout_sigma)
    first, rows = int(inside[0]), math.prod(shape[:-1])
    parts = parts_of(rows, shape[-1])
    work = Progress(1 + steps_of(model, rows, len(inside)) + len(parts), progress, cancel)
    work.step()
    counts = counts_in(data, np.arange(shape[-1])).reshape(rows, -1)
    if not np.isfinite(counts).all():
        raise ParameterError("the spectra hold NaN or infinite values")
    fit = _fit(counts, axis, inside, model, noise, work.step)
    mean = np.maximum(counts.mean(axis=0), gain / counts.size)
    signal, background, variance = np.zeros((3, *counts.shape))
    for part in parts:
        work.step()
        values, spread = fit.at(axis[first:], part)
        background[part, first:], signal[part, first:] = values, counts[part, first:] - values
        variance[part] = gain * shrunk(counts[part], gain, np.maximum(background[part], mean)) + readout_sigma**2
        spread[:, inside - first] *= -1  # in the window the fit follows the noise, and takes it off
        variance[part, first:] = np.maximum(variance[part, first:] + spread, 0)
    work.finish()
    made = record(
        "spectral.remove_background",
        {"energy_ev": axis, "window": window, "model": model, **noise},
        input_digest=digest_of(data),
    )
    return BackgroundRemoved(
        signal.reshape(shape),
        background.reshape(shape),
        variance.reshape(shape),
        fit.parameters.reshape(*shape[:-1], -1),
        made,
    )


def edge_map(
    si: Any,
    energy_ev: ArrayLike,
    window: Window,
    background: Window | Sequence[Window] | None = None,
    model: str = "power_law",
    *,
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> EdgeMap:
    """Return the net counts of an edge (EELS) or a line (EDS) at each place, with their variance.

    Parameters
    ----------
    si : array_like, shape (..., energy), or SparseSI
        Spectra. Of sparse and lazy data only the windows become dense.
    energy_ev : array_like, shape (energy,)
        Energy of each channel; eV or keV, as the windows.
    window : (float, float)
        Where the signal is.
    background : (float, float) or sequence of such pairs, optional
        Where there is background only, beside the signal; nothing is taken off by default.
    model, gain, readout_sigma
        See `remove_background`.
    progress, cancel
        Called with the fraction done; stops the work when set.

    Returns
    -------
    EdgeMap

    Raises
    ------
    ParameterError, CalibrationError
        See `remove_background`.
    CancelledError
        If `cancel` was set.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> energy = np.linspace(0, 10, 101)
    >>> line = np.exp(-((energy - 5) ** 2) / 0.02)
    >>> found = spectral.edge_map(100 * line + 20, energy, (4.45, 5.55), [(3, 4.4), (5.6, 7)], "linear")
    >>> round(float(found.data)), round(float(found.background))
    (251, 220)
    """
    checks.choice("model", model, tuple(MODELS))
    parts = window if background is None else background
    name = "constant" if background is None else model
    which = "signal" if background is None else "background"
    data, shape, axis, inside, noise = _checked(si, energy_ev, parts, name, gain, readout_sigma, which)
    seen = channels_of("the signal window", window, axis)
    if background is not None and np.isin(seen, inside).any():
        raise ParameterError(
            f"the signal window {window} and the background window {background} share channels; the counts of the "
            "signal would be taken for background"
        )
    rows = math.prod(shape[:-1])
    work = Progress(2 + (0 if background is None else 1 + steps_of(model, rows, len(inside))), progress, cancel)
    work.step()
    counts = counts_in(data, seen)
    if not np.isfinite(counts).all():
        raise ParameterError("the spectra hold NaN or infinite values in the signal window")
    total = counts.sum(axis=-1)
    below, spread = np.zeros(shape[:-1]), np.zeros(shape[:-1])
    work.step()
    if background is not None:
        fit = _fit(data, axis, inside, model, noise, work.step)
        below, spread = (values.reshape(shape[:-1]) for values in fit.summed(axis[seen]))
    work.finish()
    variance = gain * shrunk(total, gain, least_mean(total, gain)) + len(seen) * readout_sigma**2 + spread
    parameters = {"energy_ev": axis, "window": window, "background": background, "model": model, **noise}
    made = record("spectral.edge_map", parameters, input_digest=digest_of(data))
    return EdgeMap(total - below, variance, below, made)


def _checked(
    si: Any, energy: ArrayLike, window: Any, model: str, gain: float, readout_sigma: float, which: str = "background"
) -> tuple[Any, tuple[int, ...], NDArray[np.float64], NDArray[np.int64], dict[str, float]]:
    data, shape = checked_spectra(si)
    axis = energy_axis(energy, shape[-1])
    checks.choice("model", model, tuple(MODELS))
    inside = channels_of(f"the {which} window", window, axis, MODELS[model])
    if "power" in model and axis[inside[0]] <= 0:
        raise ParameterError(f"the window of a power law begins at {axis[inside[0]]:g}; expected energies above zero")
    noise = {
        "gain": checks.positive("gain", gain),
        "readout_sigma": checks.not_negative("readout_sigma", readout_sigma),
    }
    return data, shape, axis, inside, noise


def _fit(
    data: Any,
    axis: NDArray[np.float64],
    inside: NDArray[np.int64],
    model: str,
    noise: dict[str, float],
    step: Step = lambda n: None,
) -> Fit:
    counts = counts_in(data, inside).reshape(-1, len(inside))
    if not np.isfinite(counts).all():
        raise ParameterError("the spectra hold NaN or infinite values in the background window")
    return fit_background(counts, axis[inside], model, step=step, **noise)
