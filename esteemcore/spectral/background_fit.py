"""Fits of backgrounds to many spectra at once, by maximum likelihood of their noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

MODELS = {"power_law": 3, "double_power_law": 3, "linear": 3, "polynomial": 4, "constant": 1}
"""Names of models and how many channels each needs at least."""

ROUNDS, LINEAR_ROUNDS = 12, 3
"""Steps of a fit at most, of a power law and of what is linear in its parameters."""

STEEPEST = 12.0
"""Largest exponent of a power law."""

Step = Callable[[], None]
Basis = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """Backgrounds of n spectra.

    Attributes
    ----------
    parameters : ndarray, shape (n, p)
    covariance : ndarray, shape (n, p, p)
    curve : callable
        Of energies (k,): values (n, k) and their derivatives by the parameters (n, k, p).
    """

    parameters: NDArray[np.float64]
    covariance: NDArray[np.float64]
    curve: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]

    def at(self, energy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return values (n, k) and derivatives (n, k, p) at energies."""
        return self.curve(energy)


def steps_of(model: str) -> int:
    """Return how many steps a fit takes at most."""
    return {"power_law": ROUNDS, "double_power_law": ROUNDS + LINEAR_ROUNDS}.get(model, LINEAR_ROUNDS)


def fit_background(
    counts: NDArray[np.float64],
    energy: NDArray[np.float64],
    model: str,
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    step: Step = lambda: None,
) -> Fit:
    """Fit a model of `MODELS` to spectra (n, k); `step` is called after each step."""
    floor = readout_sigma**2
    if model == "power_law":
        return _power_law(counts, energy, gain, floor, step)
    center, half = (energy[0] + energy[-1]) / 2, max((energy[-1] - energy[0]) / 2, 1e-12)
    if model == "double_power_law":
        exponents = _power_law(counts, energy, gain, floor, step).parameters[:, 1]
        low, high = np.percentile(exponents, [5, 95])
        low, high = (low, high) if high - low > 0.2 else (max(low - 0.1, 0.0), max(low - 0.1, 0.0) + 0.2)

        def powers(at: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.stack([(at / center) ** -low, (at / center) ** -high], axis=1)

        return _linear(counts, energy, powers, gain, floor, step)
    order = {"constant": 0, "linear": 1, "polynomial": 2}[model]

    def polynomial(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([((at - center) / half) ** n for n in range(order + 1)], axis=1)

    return _linear(counts, energy, polynomial, gain, floor, step)


def _linear(
    counts: NDArray[np.float64], energy: NDArray[np.float64], basis: Basis, gain: float, floor: float, step: Step
) -> Fit:
    """Weighted least squares; the weights are those of the fitted curve, which is noisy itself only a little."""
    design = basis(energy)
    fitted = np.linalg.lstsq(design, counts.T, rcond=None)[0].T
    least = _least(counts, gain)
    covariance = np.empty((0, 0, 0))
    for _ in range(LINEAR_ROUNDS):
        step()
        weight = 1 / (gain * np.maximum(fitted @ design.T, least) + floor)
        normal = np.einsum("nk,ki,kj->nij", weight, design, design)
        covariance = np.linalg.inv(normal)
        fitted = np.einsum("nij,kj,nk,nk->ni", covariance, design, weight, counts, optimize=True)

    def curve(at: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = basis(at)
        return fitted @ rows.T, np.broadcast_to(rows, (len(fitted), *rows.shape))

    return Fit(fitted, covariance, curve)


def _power_law(counts: NDArray[np.float64], energy: NDArray[np.float64], gain: float, floor: float, step: Step) -> Fit:
    """Fisher scoring of A and r with the logarithm as link; a spectrum without counts has A = 0."""
    center = float(np.exp(np.log(energy).mean()))
    x = -np.log(energy / center)
    mean = counts.mean(axis=0)
    some = mean > 0
    start = np.polyfit(x[some], np.log(mean[some]), 1)[0] if some.sum() > 2 else 3.0
    level = counts.mean(axis=1)
    empty = level <= 0
    slope = np.full(len(counts), np.clip(start, 0, STEEPEST))
    log_a = np.log(np.where(empty, 1.0, level) / np.mean(np.exp(np.clip(start, 0, STEEPEST) * x)))
    for _ in range(ROUNDS):
        step()
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
            break
    amplitude = np.where(empty, 0.0, np.exp(np.clip(log_a, -50, 50)))
    shape = np.exp(slope[:, None] * x)
    counted = shrunk(counts.sum(axis=1), gain) / shape.sum(axis=1)  # an amplitude that is not zero
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

    def curve(at: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        lever = -np.log(at / center)
        rising = np.exp(slope[:, None] * lever)
        values = amplitude[:, None] * rising
        return values, np.stack([rising, values * lever], axis=2)

    return Fit(np.stack([amplitude, slope], axis=1), covariance, curve)


def shrunk(counts: NDArray[np.float64], gain: float, mean: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return what the numbers of counts are expected to be on average, above zero, for variances of counts.

    The mean of Poisson's law after n counts, if such means follow an exponential law of mean m before: (n + 1) / (1 +
    1 / m). It is m on average, n where counts are many, and not zero where there happens to be none.

    Parameters
    ----------
    counts : ndarray, any shape
        Values, `gain` for each count.
    gain : float
    mean : array_like, optional
        m, in the units of `counts`. Default: the mean of all places, of one count among them at least.
    """
    number = np.maximum(counts, 0) / gain
    m = np.maximum(number.mean() if mean is None else np.asarray(mean) / gain, 1 / max(number.size, 1))
    expected: NDArray[np.float64] = gain * (number + 1) / (1 + 1 / m)
    return expected


def _least(counts: NDArray[np.float64], gain: float) -> NDArray[np.float64]:
    """Return the mean per channel below which a fitted value is not believed when weights are made, shape (n, 1)."""
    least: NDArray[np.float64] = 0.1 * shrunk(counts.sum(axis=1, keepdims=True), gain) / counts.shape[1]
    return least
