"""The energies of a series: frames laid on each other along the energy axis before they are summed, channels binned."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import spectral
from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.events import SparseSI


@dataclasses.dataclass(frozen=True)
class EnergySettings:
    """How the spectra of a series are laid on each other along the energy axis.

    Parameters
    ----------
    window : (float, float), optional
        Where the feature lies, in eV; in channels where the energy axis is not known. Default: around the highest peak.
    feature : {"peak", "edge"}
        See `esteemcore.spectral.align_energy`.
    model : {"pixel", "plane", "frame"}
        Whether each spectrum, the plane of each frame, or each frame is moved.
    pool_px : int
        So many pixels along both sides are measured together.
    at_ev : float, optional
        Where the highest point of the feature is to lie.
    """

    window: tuple[float, float] | None = None
    feature: str = "peak"
    model: str = "pixel"
    pool_px: int = 1
    at_ev: float | None = None


class EnergyAligner:
    """Lay the spectra of one frame after the other on those of the first.

    Parameters
    ----------
    settings : EnergySettings
    energy_ev : ndarray of float64, shape (energy,), or None
        Energy of each channel.
    cancel : threading.Event, optional
        When set, the next frame stops with `CancelledError`.
    """

    def __init__(
        self, settings: EnergySettings, energy_ev: NDArray[np.float64] | None, cancel: threading.Event | None = None
    ) -> None:
        self._settings, self._energy_ev, self._cancel = settings, energy_ev, cancel
        self._reference: NDArray[np.float64] | None = None

    def align(self, spectra: Any, offset_channels: float) -> spectral.EnergyAlignment:
        """Return the spectra of a frame, moved, from what is known of its offset in channels.

        Raises
        ------
        ParameterError
            If the feature is not found in it.
        """
        chosen = self._settings
        found = spectral.align_energy(
            spectra,
            self._energy_ev,
            chosen.window,
            feature=chosen.feature,
            model=chosen.model,
            pool_px=chosen.pool_px,
            at_ev=chosen.at_ev if self._reference is None else None,
            reference=self._reference,
            offset_channels=offset_channels,
            cancel=self._cancel,
        )
        if self._reference is None:
            self._reference = mean_spectrum(found.data)
        return found


def mean_spectrum(spectra: Any) -> NDArray[np.float64]:
    """Return the mean spectrum of a frame, dense or sparse."""
    pixels = spectra.shape[0] * spectra.shape[1]
    if isinstance(spectra, SparseSI):
        total = np.bincount(spectra.channel, spectra.count, spectra.shape[2])
    else:
        total = spectra.sum(axis=(0, 1), dtype=np.float64)
    mean: NDArray[np.float64] = total / pixels
    return mean


def checked_bins(bin_channels: int, channels: int | None) -> int:
    """Return how many channels are added up, a divisor of their number."""
    n = checks.integer("bin_channels", bin_channels, minimum=1)
    if n > 1 and channels is None:
        raise ParameterError("bin_channels is for spectra, but there are images only")
    if channels is not None and channels % n:
        raise ParameterError(f"bin_channels is {n}; expected a divisor of the {channels} channels")
    return n


def binned(spectra: Any, n: int) -> Any:
    """Return spectra (y, x, energy) with n neighbouring channels added up."""
    if n == 1:
        return spectra
    channels = spectra.shape[2] // n
    if not isinstance(spectra, SparseSI):
        kind = np.int64 if spectra.dtype.kind in "biu" else np.float64
        return spectra.reshape(*spectra.shape[:2], channels, n).sum(axis=3, dtype=kind)
    pixel = np.repeat(np.arange(len(spectra.offset) - 1), np.diff(spectra.offset))
    place = pixel * channels + spectra.channel // n
    first = np.flatnonzero(np.diff(place, prepend=-1))
    count = np.add.reduceat(spectra.count.astype(np.int64), first) if first.size else np.zeros(0, np.int64)
    place, count = place[first][count != 0], count[count != 0]
    offset = np.searchsorted(place, np.arange(len(spectra.offset)) * channels)
    return SparseSI(
        (*spectra.shape[:2], channels), np.dtype(np.int64), offset, (place % channels).astype(np.uint32), count
    )
