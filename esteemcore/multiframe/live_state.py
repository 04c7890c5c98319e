"""What a running series looks like: one snapshot that never changes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from esteemcore.multiframe.maps import MeasuredMap


@dataclasses.dataclass(frozen=True)
class ComponentCount:
    """How many components the spectra hold at one dose.

    Attributes
    ----------
    dose : float
        Dose of the summed frames in e/Å².
    frames : int
        Frames that were summed.
    n : int or None
        Components above noise, the mean spectrum included; None where it cannot be told.
    reason : str
        How it was found, or why it cannot be told.
    at_least : int
        Components that are surely above noise, also where their number cannot be told; 0 if none is.
    """

    dose: float
    frames: int
    n: int | None
    reason: str
    at_least: int = 0

    @property
    def sure(self) -> int:
        """How many are surely there: their number, or the least that it can be."""
        return self.at_least if self.n is None else self.n

    @property
    def words(self) -> str:
        """The number in words, as in "at least 4 components above noise"."""
        if self.n is None and not self.at_least:
            return "components: not to be told"
        return f"{'at least ' if self.n is None else ''}{self.sure} component{'s' * (self.sure != 1)} above noise"


@dataclasses.dataclass(frozen=True, eq=False)
class FormingComponents:
    """The components that are surely there at one dose.

    Attributes
    ----------
    dose : float
        Dose of the summed frames in e/Å².
    frames : int
        Frames that were summed.
    spectra : ndarray of float64, shape (n, energy)
        Magnitudes of each sum to 1; in the same order from look to look, new ones last.
    abundances : ndarray of float64, shape (n, y, x)
        Mean counts of a frame in a pixel; NaN where none was.
    pixels : int
        Pixels of a frame along one side of one of the maps.
    """

    dose: float
    frames: int
    spectra: NDArray[np.float64]
    abundances: NDArray[np.float64]
    pixels: int


@dataclasses.dataclass(frozen=True, eq=False)
class LiveState:
    """A snapshot of `LiveSeries`. Arrays are copies and read-only; doses in e/Å².

    Attributes
    ----------
    frames, accepted : int
        Frames that came, and those that are in the sums.
    reasons : tuple of str
        Of each frame: why it is not in the sums, empty if it is.
    dose, summed_dose : float
        Dose of all frames that came, and of those that are in the sums.
    drift_nm : ndarray of float64, shape (n, 2)
        Where each frame would lie if the scan had stayed, as seen from the first one, along the rows and columns of the
        region; NaN for frames whose place is not sure. It is the drift of the specimen whether it was compensated or
        not.
    quality : ndarray of float64, shape (n,)
        See `esteemcore.register.Placement`.
    mean : ndarray of float32, shape (y, x)
        Mean image of the accepted frames, corrected; NaN where there is none.
    maps : dict of str to MeasuredMap
        Of the sum, as of the last look.
    snr : dict of str to ndarray of float64, shape (m, 2)
        Rows (summed dose, SNR), one for each look, by the names of the maps.
    components : tuple of ComponentCount
        One for each look.
    seconds : ndarray of float64, shape (n,)
        What the analysis of each frame took, in s.
    forming : FormingComponents or None
        Of the last look that was sure of two or more, if they were asked for.
    counts : float
        Counts of the spectra that are in the sum.
    enough : str
        Why the series has enough, in words; empty if it has not.
    error : str
        Why the analysis ended before the series, if it did.
    """

    frames: int
    accepted: int
    reasons: tuple[str, ...]
    dose: float
    summed_dose: float
    drift_nm: NDArray[np.float64]
    quality: NDArray[np.float64]
    mean: NDArray[np.float32]
    maps: dict[str, MeasuredMap]
    snr: dict[str, NDArray[np.float64]]
    components: tuple[ComponentCount, ...]
    seconds: NDArray[np.float64]
    forming: FormingComponents | None = None
    counts: float = 0.0
    enough: str = ""
    error: str = ""

    @property
    def distance_nm(self) -> NDArray[np.float64]:
        """How far each frame has drifted from the first one, in nm, shape (n,); NaN where its place is not sure."""
        distance: NDArray[np.float64] = np.hypot(*self.drift_nm.T)
        return distance

    @property
    def summary(self) -> str:
        """Where the series stands, in one line."""
        words = [f"{self.accepted} of {self.frames} frames in the sum", f"{self.dose:.3g} e/Å²"]
        words += [f"SNR {name} {found.snr:.2g}" for name, found in self.maps.items() if math.isfinite(found.snr)]
        if self.components:
            words.append(self.components[-1].words.removesuffix(" above noise"))
        placed = self.distance_nm[np.isfinite(self.distance_nm)]
        if placed.size:
            words.append(f"drift {placed[-1]:.3g} nm")
        if self.error:
            words.append(f"analysis ended: {self.error}")
        return ", ".join(words)
