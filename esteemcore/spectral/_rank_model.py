"""Whether data are counts, in which unit, or what their noise is instead."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.lowrank.operators import is_sparse, sums
from esteemcore.spectral._rank_counts import without_components
from esteemcore.spectral._rank_tests import dispersion, singular_values

TOLERANCE = (0.8, 1.25)
"""Whole numbers are counts if a few components leave as much of them as of permuted counts, within these factors."""

COMPONENTS = 12
"""Components that are taken off for that."""

ROUNDED = 1.3
"""Whole numbers of which components leave no more than this factor of the variance of rounding were calculated."""

CALCULATED = (
    "the values are whole numbers that scatter by no more than rounding does: they were simulated, denoised or made "
    "smaller and then rounded; take the data as they were measured"
)

LARGEST = 1e100
"""Squares of larger values are no numbers any more."""


class NoiseModel(NamedTuple):
    """Name of the model, what one count is in the units of the data, and why the model cannot be right, if so."""

    name: str
    unit: float
    doubt: str = ""


def noise_model(
    matrix: Any,
    noise: str,
    sigma: float | None = None,
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    channels: int = 1,
) -> NoiseModel:
    """Return the model of the noise: ``"poisson"``, ``"gaussian"`` (given sigma) or ``"estimated"``.

    Counts have a variance that is their mean; values of a gain g have one of g times the mean. So whole numbers of
    which the scatter is not that of counts are counts times their greatest common divisor, if that makes it fit. Whole
    numbers that scatter by no more than rounding makes were calculated: what rounding leaves of smooth values, where
    they are small, looks like many components. An entry is the sum of `channels` of them.
    """
    _, _, lowest = sums(matrix)  # refuses NaN
    values = matrix.data if is_sparse(matrix) else matrix
    largest = max(float(values.max(initial=0)), -float(values.min(initial=0)))
    if largest > LARGEST:
        raise ParameterError(f"the data hold values up to {largest:g}; expected less than {LARGEST:g}")
    if noise == "gaussian":
        return NoiseModel("estimated" if sigma is None else "gaussian", 1.0)
    if readout_sigma > 0:
        return NoiseModel("estimated", 1.0)
    whole = lowest >= 0 and _whole(values, gain)
    if noise == "poisson" and not whole:
        what = f"values down to {lowest:g}" if lowest < 0 else "fractions" if gain == 1 else f"no multiples of {gain:g}"
        raise ParameterError(f"the data hold {what}, which counts cannot be; use noise='gaussian' or 'auto'")
    if not whole:
        return NoiseModel("estimated", 1.0)
    found = scatter(matrix, gain)
    if is_of_counts(found):
        return NoiseModel("poisson", gain)
    if noise == "poisson":
        return NoiseModel(
            "poisson",
            gain,
            f"the noise is not that of counts but has {found:.3g} times their variance; give gain and readout_sigma, "
            "or noise='gaussian'",
        )
    unit = float(np.gcd.reduce(np.rint(values[values > 0] if not is_sparse(matrix) else values).astype(np.int64)))
    if gain == 1 and unit > 1 and is_of_counts(scatter(matrix, unit)):
        return NoiseModel("poisson", unit)
    if found < TOLERANCE[0] and _left(matrix) < ROUNDED * channels / 12:
        return NoiseModel("estimated", 1.0, CALCULATED)
    return NoiseModel("estimated", 1.0)


def in_counts(matrix: Any, unit: float) -> Any:
    """Return values as whole counts of a unit."""
    if unit == 1:
        return matrix
    counts = matrix / unit
    if is_sparse(counts):
        counts.data = np.rint(counts.data)
        return counts
    return np.rint(counts)


def _whole(values: NDArray[Any], gain: float) -> bool:
    """Return whether values are whole counts times the gain; whole numbers may have been rounded after that."""
    counts = values / gain if gain != 1 else values
    off = np.abs(counts - np.rint(counts)).max(initial=0)
    rounded = gain > 1 and bool((values == np.rint(values)).all())
    return bool(off <= (0.5 / gain if rounded else 0.0) + (1e-6 if gain != 1 else 0.0))


def scatter(matrix: Any, unit: float = 1.0) -> float:
    """Return the variance over the mean, of counts 1; of a matrix that is too small to tell, 1 as well.

    The first components of few events take much of their noise, so it is compared with that of permuted events.
    """
    if min(matrix.shape) < 4 or not matrix.sum():
        return 1.0
    counts = in_counts(matrix, unit)
    expected = dispersion(without_components(counts, np.random.default_rng(0)), COMPONENTS)
    return dispersion(counts, COMPONENTS) / expected if expected > 0 else 1.0


def _left(matrix: Any) -> float:
    """Return the variance of an entry that a few components leave."""
    n, m = matrix.shape
    k = min(COMPONENTS, min(n, m) // 4)
    squares = singular_values(matrix)[k:] ** 2
    return float(squares.sum()) / float((n - k) * (m - k))


def is_of_counts(scatter: float) -> bool:
    """Return whether values that scatter so are counts."""
    return TOLERANCE[0] < scatter < TOLERANCE[1]
