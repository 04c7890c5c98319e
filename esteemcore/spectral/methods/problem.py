"""What every unmixing method gets and gives: the frame of `esteemcore.spectral.unmix`.

A method is one file here with one function ``Problem -> Factors``, entered in `esteemcore.spectral.methods.METHODS`
with what it accepts. The door, `unmix`, has checked all arguments; it normalises, orders, masks and judges what comes
back. So a method

- takes its spectra from `Problem.matrix` (dense float64, compressed rows or `RowBlocks`; rows are the pixels of the
  mask), through `esteemcore.lowrank.operators` (``times``, ``transposed_times``, ``sums``) where it takes every kind;
- takes randomness from `Problem.rng`, so that the same seed gives the same result;
- keeps `Problem.known` as the first of its spectra, unchanged but for a factor, if it says ``known=True``;
- smooths abundances by `Problem.smooth`, which knows the mask and does nothing where smoothing is off;
- counts its steps by `Problem.steps`, which reports progress and stops when the user cancels, and ends with its
  ``finish`` where there were fewer steps than foreseen;
- returns spectra and abundances of any scale and order, whose product is the data, with standard deviations of the same
  scale where it has any.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.progress import Progress, ProgressFunction


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """The spectra that are to be unmixed and what is known of them.

    Attributes
    ----------
    matrix : ndarray of float64, scipy.sparse.csr_array or RowBlocks, shape (rows, energy)
        The spectra of the pixels where `mask` is True, in image order. Finite; not all zero.
    mask : ndarray of bool, shape (y, x)
        The pixels that take part.
    n : int
        Number of components, the known ones included.
    noise : str
        ``"poisson"``: counts, variance ``gain * mean + readout_sigma**2``; ``"gaussian"``: the same everywhere;
        ``"estimated"``: a variance by pixel and by channel, from what `n` components and a few more leave.
    gain, readout_sigma : float
        Of the counts, in the units of the data.
    row_weights, channel_weights : ndarray, shapes (rows,) and (energy,)
        ``row_weights[:, None] * matrix * channel_weights`` has noise of equal variance, 1 unless `noise` is
        ``"gaussian"``.
    seed : int
    smoothing_px : float
        Standard deviation of the Gaussian that abundances are smoothed by; 0: not at all.
    known : ndarray, shape (k, energy), or None
        Spectra that are given, of any scale.
    sum_to_one : bool
        The abundances of a pixel are shares of a whole; a spectrum then is that of a full pixel, in units of the data.
    unimodal : bool
        Spectra have one maximum each.
    restarts : int or None
        Independent starts, for methods that have any; None: the method's default.
    precision : float
        Relative rounding error of the data as they were given: of float32 more than of float64.
    """

    matrix: Any
    mask: NDArray[np.bool_]
    n: int
    noise: str
    gain: float
    readout_sigma: float
    row_weights: NDArray[np.float64]
    channel_weights: NDArray[np.float64]
    seed: int = 0
    smoothing_px: float = 0.0
    known: NDArray[np.float64] | None = None
    sum_to_one: bool = False
    unimodal: bool = False
    restarts: int | None = None
    precision: float = float(np.finfo(np.float64).eps)
    progress: ProgressFunction | None = None
    cancel: threading.Event | None = None

    def rng(self, *stream: int) -> np.random.Generator:
        """Return the generator of this seed; further integers give independent ones, one per restart say."""
        return np.random.default_rng((self.seed, *stream))

    def steps(self, total: int) -> Progress:
        """Return the counter of a method's steps: it reports progress, and raises when asked to stop."""
        return Progress(total, self.progress, self.cancel)

    def quiet(self) -> Problem:
        """Return the same problem without its progress, for a method that is a step of another one."""
        return dataclasses.replace(self, progress=None)

    def smooth(self, values: NDArray[np.float64], width_px: float | None = None) -> NDArray[np.float64]:
        """Return values (rows, ...) smoothed over the image by `smoothing_px` or another width.

        Pixels outside the mask neither give nor take: each pixel gets the mean of its neighbours inside, weighted by
        the Gaussian. A constant stays what it is.
        """
        width = self.smoothing_px if width_px is None else width_px
        if width == 0:
            return values
        from scipy.ndimage import gaussian_filter

        flat = values.reshape(len(values), -1)
        smoothed = np.empty_like(flat)
        share = gaussian_filter(self.mask.astype(np.float64), width, mode="constant")[self.mask]
        plane = np.zeros(self.mask.shape)
        for k in range(flat.shape[1]):
            plane[self.mask] = flat[:, k]
            smoothed[:, k] = gaussian_filter(plane, width, mode="constant")[self.mask] / share
        return smoothed.reshape(values.shape)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """What a method found: ``abundances @ spectra`` is its model of `Problem.matrix`.

    Attributes
    ----------
    spectra : ndarray, shape (n, energy)
        Any scale, any order, but known ones first.
    abundances : ndarray, shape (rows, n)
    sigma_spectra, sigma_abundances : ndarray or None, shapes as above
        Standard deviations, where the method has any.
    notes : tuple of str
        What the user should know, in words: not converged, restarts that disagree.
    doubted : bool
        Whether the data speak against what the method takes for granted, such as pixels that are pure; a note says so.
    """

    spectra: NDArray[np.float64]
    abundances: NDArray[np.float64]
    sigma_spectra: NDArray[np.float64] | None = None
    sigma_abundances: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    doubted: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Method:
    """An unmixing method and what it can be asked for.

    Attributes
    ----------
    solve : callable
        ``Problem -> Factors``.
    known : bool
        Holds given spectra fixed.
    sum_to_one : bool
        Can make the abundances of a pixel sum to 1.
    unimodal : bool
        Can make each spectrum have one maximum.
    lazy : bool
        Takes `RowBlocks`; other methods refuse lazy images.
    """

    solve: Callable[[Problem], Factors]
    known: bool = True
    sum_to_one: bool = True
    unimodal: bool = False
    lazy: bool = True
