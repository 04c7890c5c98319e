"""One displacement per frame: correlation with a running mean, the place predicted from the drift so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from esteemcore.register import _splat_kernels as kernels
from esteemcore.register.drift import Clock, Drift
from esteemcore.register.grid import Image, gaussian_taps
from esteemcore.register.period import Periods

Spectrum = NDArray[np.complex64]

SMOOTH_PX = 1.2
"""Blur of the frames before they are correlated, in px."""
LOOSE_PX = 6.0
"""How far a frame may lie from where the drift so far puts it, one standard deviation in px,"""
LOOSE_PERIODS = 0.5
"""and in periods of the strongest wave: on a lattice the next cell must be much less likely than this one."""
MEMORY = 0.9
"""How much the running mean keeps with every frame."""


class Correlator:
    """Fourier transforms of frames of one shape, and the correlation of two of them.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a frame.

    Attributes
    ----------
    frequency_y, frequency_x : ndarray
        Frequencies of a half spectrum in 1/px, as a column and as a row.
    band : ndarray of float32
        The filter, real.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        rows, columns = (np.sqrt(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2) for n in shape)
        self._window: Image = (rows[:, None] * columns).astype(np.float32)
        self.frequency_y = fft.fftfreq(shape[0])[:, None]
        self.frequency_x = fft.rfftfreq(shape[1])[None]
        square = self.frequency_y**2 + self.frequency_x**2
        high_pass = 1 - np.exp(-0.5 * square / 0.004**2)
        self.band: Image = (np.exp(-2 * np.pi**2 * SMOOTH_PX**2 * square) * high_pass).astype(np.float32)
        self._taps = gaussian_taps(SMOOTH_PX)
        self.periods = Periods(self.frequency_y, self.frequency_x, self.band)
        self.delay_y = fft.fftfreq(shape[0], 1 / shape[0])[:, None]
        self.delay_x = fft.fftfreq(shape[1], 1 / shape[1])[None]

    def transform(self, frame: Image, mask: Image | None) -> Spectrum:
        """Return the spectrum of a frame, windowed, without its mean and filtered; scaled to a norm of 1.

        Samples that were not measured (mask 0) are filled from their neighbours by normalised convolution.
        """
        if mask is None:
            centred = frame - frame.mean(dtype=np.float64).astype(np.float32)
        else:
            mean = np.float32((frame * mask).sum(dtype=np.float64) / max(mask.sum(dtype=np.float64), 1.0))
            centred = (frame - mean) * mask
            total, weights = np.empty_like(frame), np.empty_like(frame)
            kernels.blur(centred, self._taps, total)
            kernels.blur(mask, self._taps, weights)
            filled = total / np.maximum(weights, 0.02)
            centred = np.where(mask > 0, centred, filled)
        spectrum: Spectrum = fft.rfft2(centred * self._window) * self.band
        return spectrum / np.float32(max(self._norm(spectrum), 1e-30))

    def _norm(self, spectrum: Spectrum) -> float:
        """Return the Euclidean norm of the image that belongs to a half spectrum."""
        power = np.abs(spectrum) ** 2
        twice = 2 * power.sum(dtype=np.float64) - power[:, 0].sum(dtype=np.float64)
        if self.shape[1] % 2 == 0:
            twice -= power[:, -1].sum(dtype=np.float64)
        return float(np.sqrt(twice / (self.shape[0] * self.shape[1])))

    def moved(self, spectrum: Spectrum, displacement: NDArray[np.float64]) -> Spectrum:
        """Return the spectrum of an image moved by (dy, dx) px."""
        y = np.exp(-2j * np.pi * self.frequency_y * displacement[0]).astype(np.complex64)
        x = np.exp(-2j * np.pi * self.frequency_x * displacement[1]).astype(np.complex64)
        result: Spectrum = spectrum * y * x
        return result

    def peak(
        self,
        reference: Spectrum,
        frame: Spectrum,
        expected: NDArray[np.float64],
        loose_px: float,
    ) -> tuple[NDArray[np.float64], float]:
        """Return the displacement of a frame against a reference, and the correlation coefficient there.

        The correlation in units of its own scatter plays the log likelihood, a Gaussian around `expected` of width
        `loose_px` the prior.
        """
        correlation = fft.irfft2(reference * np.conj(frame), self.shape)
        ny, nx = self.shape
        y = (self.delay_y - expected[0] + ny / 2) % ny - ny / 2
        x = (self.delay_x - expected[1] + nx / 2) % nx - nx / 2
        score = correlation / max(float(correlation.std()), 1e-30)
        score -= (0.5 / loose_px**2 * y**2).astype(np.float32)
        score -= (0.5 / loose_px**2 * x**2).astype(np.float32)
        i, j = np.unravel_index(int(np.argmax(score)), score.shape)
        dy = _vertex(correlation[i - 1, j], correlation[i, j], correlation[(i + 1) % ny, j])
        dx = _vertex(correlation[i, j - 1], correlation[i, j], correlation[i, (j + 1) % nx])
        place = np.array([y[i, 0] + expected[0] + dy, x[0, j] + expected[1] + dx])
        norm = max(self._norm(reference) * self._norm(frame), 1e-30)
        return place, float(correlation[i, j]) / norm

    def peak_near(
        self, reference: Spectrum, frame: Spectrum, expected: NDArray[np.float64], within_px: float
    ) -> NDArray[np.float64]:
        """Return the displacement of a frame against a reference, the best one within a circle around ``expected``.

        The correlation is computed there only, by a sum of waves.
        """
        middle = np.round(expected)
        reach = np.arange(-math.ceil(within_px) - 1, math.ceil(within_px) + 2)
        y, x = middle[0] + reach, middle[1] + reach
        twice = np.where((self.frequency_x[0] == 0) | (self.frequency_x[0] == 0.5), 1.0, 2.0)
        waves_y = np.exp(2j * np.pi * y[:, None] * self.frequency_y.T).astype(np.complex64)
        waves_x = (twice[:, None] * np.exp(2j * np.pi * self.frequency_x.T * x)).astype(np.complex64)
        correlation = (waves_y @ (reference * np.conj(frame)) @ waves_x).real
        inside = np.hypot(y[1:-1, None] - expected[0], x[1:-1] - expected[1]) < within_px
        i, j = np.unravel_index(int(np.argmax(np.where(inside, correlation[1:-1, 1:-1], -np.inf))), inside.shape)
        dy = _vertex(correlation[i, j + 1], correlation[i + 1, j + 1], correlation[i + 2, j + 1])
        dx = _vertex(correlation[i + 1, j], correlation[i + 1, j + 1], correlation[i + 1, j + 2])
        return np.array([y[i + 1] + dy, x[j + 1] + dx])


def _vertex(before: float, here: float, after: float) -> float:
    """Return where the parabola through three equidistant values has its maximum, within half a step."""
    bend = float(before) - 2 * float(here) + float(after)
    return 0.0 if bend >= 0 else min(max(0.5 * (float(before) - float(after)) / bend, -0.5), 0.5)


class Chain:
    """Place frames one after the other: correlation with a decaying mean of the placed ones, constant velocity.

    A frame that resembles the mean far less than the others do is put where the drift leads and teaches nothing.
    """

    def __init__(self, correlator: Correlator, clock: Clock | None = None) -> None:
        self.correlator = correlator
        self.mean: Spectrum | None = None
        self.drift = Drift(clock or Clock(), correlator.shape)
        self.likeness: list[float] = []
        self.loose_px = LOOSE_PX
        self._placed = 0

    def add(self, spectrum: Spectrum) -> tuple[NDArray[np.float64], float]:
        """Place the frame that the clock was told of, and learn from it.

        Return its displacement and its correlation with the mean.
        """
        if self.mean is None:
            self.mean, self._placed = spectrum.copy(), 1
            self._look()
            return self.drift.place, 1.0
        expected, loose_px = self.drift.expected(), math.hypot(self.loose_px, self.drift.unknown_px())
        place, like = self.correlator.peak(self.mean, spectrum, expected, loose_px)
        usual = float(np.median(self.likeness)) if self.likeness else 0.0
        if like < 0.5 * usual and len(self.likeness) > 1:
            self.drift.pass_by()
            return expected, like
        self.likeness.append(like)
        self.drift.learn(place)
        self.mean = MEMORY * self.mean + self.correlator.moved(spectrum, place)
        self._placed += 1
        if self._placed & (self._placed - 1) == 0:  # 2, 4, 8, ...: waves stand out more and more
            self._look()
        return place, like

    def _look(self) -> None:
        """Learn from the mean how far a frame may lie from where it is expected."""
        if self.mean is not None:
            self.loose_px = min(LOOSE_PX, LOOSE_PERIODS * self.correlator.periods.strongest(self.mean))


def place_frames(
    correlator: Correlator, spectra: Sequence[Spectrum | None], scan: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return displacements (n, 2) of frames, each refined against the mean of the others; None: no such frame.

    ``scan`` (n, 2) is by how much the scan was moved on purpose, in px.
    """
    n = len(spectra)
    places = np.zeros((n, 2))
    chain = Chain(correlator)
    for k, spectrum in enumerate(spectra):
        if scan is not None and k:
            chain.drift.place = chain.drift.place + scan[k] - scan[k - 1]
        if spectrum is not None:
            places[k] = chain.add(spectrum)[0]
        else:
            chain.drift.pass_by()
            places[k] = chain.drift.place
    transforms = {k: s for k, s in enumerate(spectra) if s is not None}
    for _ in range(2):
        if len(transforms) < 2:
            break
        before, total = places.copy(), np.zeros_like(next(iter(transforms.values())))
        for k, spectrum in transforms.items():
            total += correlator.moved(spectrum, before[k])
        for k, spectrum in transforms.items():
            others = total - correlator.moved(spectrum, before[k])
            places[k] = correlator.peak_near(others, spectrum, places[k], within_px=3.0)
    return places
