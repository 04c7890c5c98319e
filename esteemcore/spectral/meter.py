"""How many components stand above the noise, while frames of a series come in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.events import SparseSI
from esteemcore.spectral.binned_sums import BinnedSum
from esteemcore.spectral.meter_components import components_of
from esteemcore.spectral.online import OnlineComponents
from esteemcore.spectral.rank import Rank, estimate_rank

MOST_CHANNELS = 256
"""Channels are binned to no more than this."""

LEAST_SIDE = 48
"""Pixels are binned 2 x 2 where the image keeps so many along its shorter side."""

BLOCKS = 1024
"""Blocks in which every channel is kept, about."""


class ComponentMeter:
    """Sum frames into bins and tell how many components the sum holds.

    Each frame is placed by whole pixels, so that every count stays a count and the noise of bins stays independent:
    sums that were interpolated have correlated noise, in which components would be found that are not there. The jitter
    of lines is left in; it is smaller than a bin.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a frame.
    channels : int
        Energy channels of a frame.
    pixels : int, optional
        Side of the bins in pixels. Default: 2 for images of at least 96 pixels, else 1.
    keep_channels : bool
        Keep a second sum, of every channel and about `BLOCKS` blocks of bins, from which `components` has its spectra.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> rng = np.random.default_rng(0)
    >>> rate = 0.1 * rng.dirichlet([0.3, 0.3], size=(40, 40)) @ rng.gamma(0.5, size=(2, 60))
    >>> meter = spectral.ComponentMeter((40, 40), 60)
    >>> for frame in range(10):
    ...     meter.add(rng.poisson(rate))
    >>> meter.rank().n
    2

    With ``keep_channels=True`` the components themselves form:

    >>> meter = spectral.ComponentMeter((40, 40), 60, keep_channels=True)
    >>> meter.add(rng.poisson(10 * rate))
    >>> forming = meter.components(2)
    >>> forming.spectra.shape, forming.abundances.shape
    ((2, 60), (2, 40, 40))
    """

    def __init__(
        self, shape: Sequence[int], channels: int, pixels: int | None = None, *, keep_channels: bool = False
    ) -> None:
        self.shape = checks.shape_2d("shape", shape)
        self.channels = checks.integer("channels", channels, minimum=1)
        if pixels is None:
            pixels = 2 if min(self.shape) >= 2 * LEAST_SIDE else 1
        self.bins = checks.integer("pixels", pixels, minimum=1), math.ceil(self.channels / MOST_CHANNELS)
        self.frames = 0
        self._coarse = BinnedSum(self.shape, self.channels, *self.bins)
        self._fine: BinnedSum | None = None
        if keep_channels:
            side = max(1, math.ceil(math.sqrt(self._coarse.visits.size / BLOCKS)))
            self._fine = BinnedSum(self.shape, self.channels, side * self.bins[0], 1)

    def add(self, frame: Any, shift: ArrayLike = (0.0, 0.0), energy_shift_channels: float = 0.0) -> None:
        """Add a frame.

        Parameters
        ----------
        frame : array_like (y, x, energy) or SparseSI
            Counts.
        shift : (float, float)
            Mean displacement (dy, dx) of the frame in px; rounded to whole ones.
        energy_shift_channels : float
            A count of channel c belongs to channel c + shift; rounded to whole ones.

        Raises
        ------
        ParameterError
            If the shape differs or a value is not finite.
        """
        expected = (*self.shape, self.channels)
        given = tuple(frame.shape) if isinstance(frame, SparseSI) else np.shape(frame)
        if given != expected:
            raise ParameterError(f"the frame has shape {given}; expected {expected}")
        moved = np.asarray(shift, np.float64)
        if moved.shape != (2,) or not np.isfinite(moved).all():
            raise ParameterError(f"shift is {shift!r}; expected two finite numbers (dy, dx) in px")
        energy = round(checks.finite("energy_shift_channels", energy_shift_channels))
        pixels = round(float(moved[0])), round(float(moved[1]))
        values = frame if isinstance(frame, SparseSI) else np.asarray(frame)
        self._coarse.add(values, pixels, energy)
        if self._fine is not None:
            self._fine.add(values, pixels, energy)
        self.frames += 1

    def rank(self, max_components: int = 12, seed: int = 0) -> Rank:
        """Return how many components stand above the noise of all frames so far, see `estimate_rank`.

        Bins that some frames missed are left out.
        """
        if not self.frames:
            raise ParameterError("no frame was added yet")
        visits = self._coarse.visits
        whole = visits >= 0.999 * visits.max()
        return estimate_rank(self._coarse.total, mask=whole, max_components=max_components, seed=seed)

    def components(self, n_components: int, like: ArrayLike | None = None, seed: int = 0) -> OnlineComponents:
        """Return spectra and maps of the components of all frames so far.

        The maps are those of `unmix` in the bins, by the method that suits the counts. Given the maps, each channel of
        the spectra is found in a second sum that keeps every channel of larger blocks: the most likely one of counts
        that are few, that of the least squares otherwise.

        Parameters
        ----------
        n_components : int
        like : array_like, shape (k, energy), optional
            Spectra of an earlier look: those that are most like them come first, in the same order. Default: by falling
            amounts.
        seed : int

        Returns
        -------
        OnlineComponents
            Magnitudes of a spectrum sum to 1. Abundances, shape (n, y, x), are the mean counts of a frame in a pixel of
            the bin, `bins` says how large it is.

        Raises
        ------
        ParameterError
            If the meter was not told to keep the channels, or `like` has other channels.
        """
        if self._fine is None:
            raise ParameterError("the meter keeps no spectra of every channel; make it with keep_channels=True")
        n = checks.integer("n_components", n_components, minimum=1)
        before = None if like is None else np.asarray(like, np.float64)
        if before is not None and (before.ndim != 2 or before.shape[1] != self.channels):
            raise ParameterError(f"like has shape {before.shape}; expected (k, {self.channels}), one spectrum per row")
        return components_of(self._coarse, self._fine, n, before, seed)
