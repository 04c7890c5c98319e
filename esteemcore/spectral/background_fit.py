"""Fits of backgrounds to many spectra at once, by maximum likelihood of their noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore.spectral.windows import parts_of

MODELS = {"power_law": 3, "double_power_law": 3, "linear": 3, "polynomial": 4, "constant": 1}
"""Names of models and how many channels each needs at least."""

ROUNDS, LINEAR_ROUNDS = 12, 3
"""Steps of a fit at most, of a power law and of what is linear in its parameters."""

STEEPEST = 12.0
"""Largest exponent of a power law."""

Step = Callable[[int], None]
Basis = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """Backgrounds of n spectra.

    Attributes
    ----------
    parameters : ndarray, shape (n, p)
    covariance : ndarray, shape (n, p, p)
    curve : callable
        Of parameters (r, p) and energies (k,): values (r, k) and their derivatives by the parameters (r, k, p).
    """

    parameters: NDArray[np.float64]
    covariance: NDArray[np.float64]
    curve: Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]

    def at(self, energy: NDArray[np.float64], rows: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return values (r, k) of some of the backgrounds, and their variances."""
        values, slopes = self.curve(self.parameters[rows], energy)
        return values, np.einsum("nki,nij,nkj->nk", slopes, self.covariance[rows], slopes)

    def summed(self, energy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sums (n,) of the backgrounds over energies, and their variances."""
        total, variance = np.empty((2, len(self.parameters)))
        for rows in parts_of(len(total), len(energy)):
            values, slopes = self.curve(self.parameters[rows], energy)
            total[rows], slope = values.sum(axis=1), slopes.sum(axis=1)
            variance[rows] = np.einsum("ni,nij,nj->n", slope, self.covariance[rows], slope)
        return total, variance


class _Noise(NamedTuple):
    """Counts have the variance ``gain * mean + floor``; ``typical`` is the mean of their sums over the window."""

    gain: float
    floor: float
    typical: float


def steps_of(model: str, rows: int, channels: int) -> int:
    """Return how many steps a fit takes."""
    rounds = {"power_law": ROUNDS, "double_power_law": ROUNDS + LINEAR_ROUNDS}.get(model, LINEAR_ROUNDS)
    return rounds * len(parts_of(rows, channels))


def fit_background(
    counts: NDArray[np.float64],
    energy: NDArray[np.float64],
    model: str,
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    step: Step = lambda n: None,
) -> Fit:
    """Fit a model of `MODELS` to spectra (n, k), some at a time; `step` is called with the steps that were taken."""
    noise = _Noise(gain, readout_sigma**2, least_mean(counts.sum(axis=1), gain))
    if model == "power_law":
        return _power_law(counts, energy, noise, step)
    center, half = (energy[0] + energy[-1]) / 2, max((energy[-1] - energy[0]) / 2, 1e-12)
    if model == "double_power_law":
        exponents = _power_law(counts, energy, noise, step).parameters[:, 1]
        low, high = np.percentile(exponents, [5, 95])
        low, high = (low, high) if high - low > 0.2 else (max(low - 0.1, 0.0), max(low - 0.1, 0.0) + 0.2)

        def powers(at: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.stack([(at / center) ** -low, (at / center) ** -high], axis=1)

        return _linear(counts, energy, powers, noise, step)
    order = {"constant": 0, "linear": 1, "polynomial": 2}[model]

    def polynomial(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([((at - center) / half) ** n for n in range(order + 1)], axis=1)

    return _linear(counts, energy, polynomial, noise, step)


def _linear(counts: NDArray[np.float64], energy: NDArray[np.float64], basis: Basis, noise: _Noise, step: Step) -> Fit:
    """Weighted least squares; the weights are those of the fitted curve, which is noisy itself only a little."""
    design = basis(energy)
    products = np.einsum("ki,kj->kij", design, design).reshape(len(design), -1)
    parts = []
    for rows in parts_of(*counts.shape):
        some = counts[rows]
        fitted = np.linalg.lstsq(design, some.T, rcond=None)[0].T
        least = 0.1 * shrunk(some.sum(axis=1, keepdims=True), noise.gain, noise.typical) / some.shape[1]
        covariance = np.empty((0, 0, 0))
        for _ in range(LINEAR_ROUNDS):
            step(1)
            weight = 1 / (noise.gain * np.maximum(fitted @ design.T, least) + noise.floor)
            covariance = np.linalg.inv((weight @ products).reshape(len(some), design.shape[1], -1))
            fitted = np.einsum("nij,nj->ni", covariance, (weight * some) @ design)
        parts.append((fitted, covariance))

    def curve(
        parameters: NDArray[np.float64], at: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = basis(at)
        return parameters @ rows.T, np.broadcast_to(rows, (len(parameters), *rows.shape))

    return _joined(parts, curve)


def _power_law(counts: NDArray[np.float64], energy: NDArray[np.float64], noise: _Noise, step: Step) -> Fit:
    """Fisher scoring of A and r, from the exponent of the mean."""
    center = float(np.exp(np.log(energy).mean()))
    x = -np.log(energy / center)
    mean = counts.mean(axis=0)
    some = mean > 0
    start = float(np.polyfit(x[some], np.log(mean[some]), 1)[0]) if some.sum() > 2 else 3.0
    start = min(max(start, 0.0), STEEPEST)
    parts = [_power_laws(counts[rows], x, start, noise, step) for rows in parts_of(*counts.shape)]

    def curve(
        parameters: NDArray[np.float64], at: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        amplitude, slope = parameters.T
        lever = -np.log(at / center)
        rising = np.exp(slope[:, None] * lever)
        values = amplitude[:, None] * rising
        return values, np.stack([rising, values * lever], axis=2)

    return _joined(parts, curve)


def _power_laws(
    counts: NDArray[np.float64], x: NDArray[np.float64], start: float, noise: _Noise, step: Step
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return A and r of ``A exp(r x)`` (n, 2), with the logarithm as link, and their covariance (n, 2, 2).

    A spectrum without counts has A = 0.
    """
    gain, floor, typical = noise
    level = counts.mean(axis=1)
    empty = level <= 0
    slope = np.full(len(counts), start)
    log_a = np.log(np.where(empty, 1.0, level) / np.mean(np.exp(start * x)))
    for done in range(1, ROUNDS + 1):
        step(1)
        value = np.exp(np.clip(log_a[:, None] + slope[:, None] * x, -50, 50))
        weight = value**2 / (gain * value + floor)
        score = (counts - value) * weight / value
        aa, ab, bb = weight.sum(1), weight @ x, weight @ x**2
        det = np.maximum(aa * bb - ab**2, 1e-12 * aa * bb + 1e-300)
        ga, gb = score.sum(1), score @ x
        step_a, step_b = (bb * ga - ab * gb) / det, (aa * gb - ab * ga) / det
        log_a += np.clip(step_a, -1, 1)
        before = slope
        slope = np.clip(slope + np.clip(step_b, -2, 2), 0, STEEPEST)
        if max(np.abs(step_a[~empty]).max(initial=0), np.abs(slope - before)[~empty].max(initial=0)) < 1e-8:
            if done < ROUNDS:
                step(ROUNDS - done)
            break
    amplitude = np.where(empty, 0.0, np.exp(np.clip(log_a, -50, 50)))
    shape = np.exp(slope[:, None] * x)
    counted = shrunk(counts.sum(axis=1), gain, typical) / shape.sum(axis=1)  # an amplitude that is not zero
    value = counted[:, None] * shape
    weight = 1 / (gain * value + floor)
    d_r = value * x
    normal = np.empty((len(counts), 2, 2))
    normal[:, 0, 0] = (weight * shape**2).sum(1)
    normal[:, 0, 1] = normal[:, 1, 0] = (weight * shape * d_r).sum(1)
    normal[:, 1, 1] = (weight * d_r**2).sum(1)
    fixed = (slope <= 0) | (slope >= STEEPEST)  # an exponent at the end of its range is none that was fitted
    normal[fixed, 0, 1] = normal[fixed, 1, 0] = 0
    covariance = np.linalg.inv(normal)
    covariance[fixed, 1, 1] = 0
    return np.stack([amplitude, slope], axis=1), covariance


def _joined(
    parts: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    curve: Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> Fit:
    return Fit(np.concatenate([fitted for fitted, _ in parts]), np.concatenate([spread for _, spread in parts]), curve)


def shrunk(counts: NDArray[np.float64], gain: float, mean: ArrayLike) -> NDArray[np.float64]:
    """Return what the numbers of counts are expected to be on average, above zero, for variances of counts.

    The mean of Poisson's law after n counts, if such means follow an exponential law of mean m before: (n + 1) / (1 +
    1 / m). It is m on average, n where counts are many, and not zero where there happens to be none.

    Parameters
    ----------
    counts : ndarray, any shape
        Values, `gain` for each count.
    gain : float
    mean : array_like
        m, in the units of `counts`, above zero; see `least_mean`.
    """
    expected: NDArray[np.float64] = gain * (np.maximum(counts, 0) / gain + 1) / (1 + gain / np.asarray(mean))
    return expected


def least_mean(counts: NDArray[np.float64], gain: float) -> float:
    """Return the mean of values of all places, of one count among them at least."""
    return max(float(np.maximum(counts, 0).mean()), gain / counts.size)
