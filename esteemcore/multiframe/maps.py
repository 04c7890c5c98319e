"""Maps of elements in a running or finished sum, with their noise and one figure for how good they are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore import register, spectral
from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError

MODELS = ("power_law", "double_power_law", "linear", "polynomial", "constant", "none")
"""Backgrounds under an edge or a line."""

Window = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class ElementMap:
    """What to map.

    Parameters
    ----------
    name : str
        Of the map: letters, digits, ``_ . + -``.
    window_ev : (float, float)
        Where the signal is, in eV.
    background_ev : (float, float) or sequence of such pairs, optional
        Where there is background only. Default: nothing is taken off.
    model : {"power_law", "double_power_law", "linear", "polynomial", "constant", "none"}
        Of the background, see `esteemcore.spectral.remove_background`; ``"none"`` where there is no ``background_ev``.

    Raises
    ------
    ParameterError
        If a window does not rise, or name and model make no sense.

    Examples
    --------
    >>> from esteemcore import multiframe
    >>> multiframe.ElementMap("Ti", (455, 475), (380, 450)).model
    'power_law'
    >>> multiframe.ElementMap("Zn", (8500, 8750)).model
    'none'
    """

    name: str
    window_ev: Window
    background_ev: Window | tuple[Window, ...] | None = None
    model: str = "power_law"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or not _is_plain(self.name):
            raise ParameterError(f"the name of a map is {self.name!r}; expected letters, digits, '_', '.', '+' or '-'")
        object.__setattr__(self, "window_ev", _window(f"window_ev of {self.name}", self.window_ev))
        checks.choice(f"model of {self.name}", self.model, MODELS)
        if self.background_ev is None:
            object.__setattr__(self, "model", "none")
            return
        if self.model == "none":
            raise ParameterError(f"the map {self.name} has a background window but the model 'none'; leave out one")
        object.__setattr__(self, "background_ev", _windows(f"background_ev of {self.name}", self.background_ev))


@dataclasses.dataclass(frozen=True, eq=False)
class MeasuredMap:
    """An element in a sum.

    Attributes
    ----------
    element : ElementMap
    data : ndarray of float32, shape (y, x)
        Net counts in the window, summed over the frames.
    sigma : ndarray of float32, shape (y, x)
        Standard deviation of `data`: counts, and background that was extrapolated; NaN where it cannot be told.
    snr : float
        Mean net counts of a pixel over the root mean square of its standard deviation, as if each sample lay in one
        pixel only: it grows as the root of the dose. NaN where there is no noise estimate yet. See `measure_maps`.
    """

    element: ElementMap
    data: NDArray[np.float32]
    sigma: NDArray[np.float32]
    snr: float


def measure_maps(
    maps: Iterable[ElementMap],
    total: register.Accumulated,
    energy_ev: ArrayLike,
    region: ArrayLike | None = None,
    sharing: float | None = None,
) -> dict[str, MeasuredMap]:
    r"""Measure maps in a sum of spectrum images.

    Parameters
    ----------
    maps : iterable of ElementMap
        With different names.
    total : Accumulated
        Of spectrum images, with or without variance.
    energy_ev : array_like, shape (energy,)
        Energy of each channel.
    region : array_like of bool, shape (y, x), optional
        Where `MeasuredMap.snr` is taken. Default: the region that all frames cover, or that half of them cover where
        the sum does not know it.
    sharing : float, optional
        Share of the noise that is left in a pixel because samples are shared by several: sum w² / sum w of the weights
        w. Default: from the sum where its variance is that of counts, else 1.

    Returns
    -------
    dict of str to MeasuredMap

    Raises
    ------
    ParameterError
        If a window lies off the axis, names repeat, or the sum is of images.
    CalibrationError
        If the energy axis does not fit.

    Notes
    -----
    The variance of a pixel is that of the sum, summed over the window, plus that of the extrapolated background,
    propagated from its fit. The ratio of variance to counts in the window serves as gain: it need not be known. Without
    a variance the sum is taken as Poisson counts.

    Sub-pixel shifts share each count among neighbours. Pixels then look less noisy than their counts allow, but
    neighbours have the same noise, and nothing is gained. So
    :math:`\mathrm{SNR} = \langle n \rangle / \sqrt{\langle \sigma^2 \rangle / s}` with the share s that is left,
    which makes ten aligned frames comparable with one: n counts have an SNR of :math:`\sqrt{n}`. On a grid that is U
    times finer a pixel has :math:`1 / U^2` of the counts.

    References
    ----------
    L. Jones et al., Microscopy 67, i98 (2018), doi:10.1093/jmicro/dfx125.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import multiframe, register
    >>> running = register.Accumulator((8, 8), channels=20)
    >>> for seed in range(4):
    ...     frame = np.random.default_rng(seed).poisson(25.0, (8, 8, 20))
    ...     _ = running.add(frame, np.zeros((8, 2)))
    >>> line = multiframe.ElementMap("Zn", (8.0, 12.0))
    >>> found = multiframe.measure_maps([line], running.result(), np.arange(20.0))["Zn"]
    >>> bool(abs(found.snr - np.sqrt(4 * 100)) < 0.5)
    True
    """
    wanted = checked_maps(maps)
    if total.data.ndim != 3:
        raise ParameterError(f"the sum has shape {total.data.shape}; maps need spectra (y, x, energy)")
    axis = np.asarray(energy_ev, np.float64)
    inside = _region(total, region)
    return {element.name: _measured(element, total, axis, inside, sharing) for element in wanted}


def checked_maps(maps: Iterable[ElementMap]) -> tuple[ElementMap, ...]:
    """Return maps whose names differ."""
    wanted = tuple(maps)
    for element in wanted:
        if not isinstance(element, ElementMap):
            raise ParameterError(f"maps hold {element!r}; expected ElementMap(name, window_ev, ...)")
    names = [element.name for element in wanted]
    if len(set(names)) != len(names):
        raise ParameterError(f"several maps have the same name: {', '.join(names)}; give each its own")
    return wanted


def check_windows(maps: Sequence[ElementMap], energy_ev: NDArray[np.float64] | None) -> None:
    """Refuse windows off the energy axis before the work begins."""
    if not maps:
        return
    if energy_ev is None:
        raise CalibrationError("maps need the energy of each channel; give energy_ev, (offset, dispersion) in eV")
    for element in maps:
        background = element.background_ev or ()
        spectral.edge_map(
            np.ones((1, energy_ev.size)), energy_ev, element.window_ev, background or None, _model(element)
        )


def _measured(
    element: ElementMap,
    total: register.Accumulated,
    axis: NDArray[np.float64],
    inside: NDArray[np.bool_],
    sharing: float | None,
) -> MeasuredMap:
    window = (axis >= element.window_ev[0]) & (axis < element.window_ev[1])
    counts, noise = total.data, total.variance
    gain, own = 1.0, None
    seen = slice(*_ends(window))
    if noise is not None and window.any():
        own = noise[..., seen].sum(axis=-1, dtype=np.float64)
        among, events = own[inside], counts[..., seen].sum(axis=-1, dtype=np.float64)[inside]
        known = np.isfinite(among)
        if known.any() and float(events[known].sum()) > 0:
            gain = max(float(among[known].sum()) / float(events[known].sum()), 1e-12)
    found = spectral.edge_map(
        counts, axis, element.window_ev, element.background_ev, _model(element), gain=gain
    )  # fmt: skip
    variance = found.variance
    if own is not None:
        both = gain * np.maximum(found.data + found.background, found.background)
        variance = own + np.maximum(variance - both, 0.0)
    variance = np.where(total.coverage > 0, variance, np.nan)
    data = np.where(total.coverage > 0, found.data, np.nan)
    known = inside & np.isfinite(variance)
    mean_noise = float(variance[known].mean()) if known.any() else 0.0
    if sharing is None:
        sharing = gain if total.variance_kind == "counting" else 1.0
    snr = float(data[known].mean()) / math.sqrt(mean_noise / sharing) if mean_noise > 0 else math.nan
    return MeasuredMap(element, data.astype(np.float32), np.sqrt(variance).astype(np.float32), snr)


def _ends(window: NDArray[np.bool_]) -> tuple[int, int]:
    channels = np.flatnonzero(window)
    return (int(channels[0]), int(channels[-1]) + 1) if channels.size else (0, 0)


def _model(element: ElementMap) -> str:
    return "constant" if element.model == "none" else element.model


def _region(total: register.Accumulated, region: ArrayLike | None) -> NDArray[np.bool_]:
    """Return where the figure of a map is taken; everywhere if nowhere else."""
    if region is not None:
        inside = checks.boolean_mask("region", region, total.coverage.shape)
    elif total.common_region is not None:
        inside = total.common_region
    else:
        inside = total.coverage > 0.5 * max(total.frames, 1) / total.upsample**2
    return inside if inside.any() else total.coverage > 0


def _is_plain(name: str) -> bool:
    return all(letter.isalnum() or letter in "_.+-" for letter in name)


def _window(name: str, value: Any) -> Window:
    try:
        start, stop = value
    except (TypeError, ValueError):
        raise ParameterError(f"{name} is {value!r}; expected (start, stop) in eV") from None
    low, high = checks.finite(f"start of {name}", start, "eV"), checks.finite(f"stop of {name}", stop, "eV")
    if low >= high:
        raise ParameterError(f"{name} is {low:g} to {high:g} eV; expected a stop above the start")
    return low, high


def _windows(name: str, value: Any) -> Window | tuple[Window, ...]:
    if np.ndim(value) == 1:
        return _window(name, value)
    try:
        several = tuple(_window(name, pair) for pair in value)
    except TypeError:
        several = ()
    if not several:
        raise ParameterError(f"{name} is {value!r}; expected (start, stop) in eV, or several such pairs")
    return several
