"""What a codec leaves of spectra, tried in memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import codec
from esteemcore._core import checks
from esteemcore._core.errors import ParameterError

METHODS = ("lossless", "events", "eels-bounded", "eels-blocks")
MOST_BYTES, MOST_VOXELS = 2 * 2**30, 2**29
"""Largest data that are tried, in bytes and in voxels: the result is as large again, the residual 4 bytes a voxel."""

TILE_BYTES = 16 * 2**20
"""Spectra that are encoded together, as in a container; coarse blocks take a whole spectrum image."""


@dataclasses.dataclass(frozen=True)
class Choices:
    """How spectra are encoded.

    Attributes
    ----------
    method : str
        One of `METHODS`.
    bound_sigma : float
        Largest error of ``"eels-bounded"``, in units of the noise.
    gain, readout_sigma : float
        Counts per electron; readout noise in counts.
    n_components : int
        Principal components that ``"eels-blocks"`` keeps.
    """

    method: str = "lossless"
    bound_sigma: float = 0.5
    gain: float = 1.0
    readout_sigma: float = 0.0
    n_components: int = 30

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ParameterError(f"there is no method {self.method!r}; there are {', '.join(METHODS)}")
        if not self.gain > 0 or not self.readout_sigma >= 0:
            raise ParameterError(f"gain is {self.gain} and readout noise {self.readout_sigma}; expected > 0 and >= 0")


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """What was left, and what it cost.

    Attributes
    ----------
    decoded : ndarray
        Shape and dtype of what was given.
    residual : ndarray of float32
        Decoded minus given, in units of the noise: ``sqrt(gain max(given, gain) + readout_sigma²)``, so that a value
        below one electron has the noise of one. Zero where NaN and infinities came back as they were, infinite where
        they, or finite values, did not.
    raw_bytes, stored_bytes : int
    largest_sigma, rms_sigma : float
        Of the residual.
    """

    decoded: NDArray[Any]
    residual: NDArray[np.float32]
    raw_bytes: int
    stored_bytes: int
    largest_sigma: float
    rms_sigma: float

    @property
    def ratio(self) -> float:
        """Raw bytes per stored byte."""
        return self.raw_bytes / max(self.stored_bytes, 1)

    @property
    def is_exact(self) -> bool:
        """Whether nothing was lost."""
        return self.largest_sigma == 0

    def describe(self) -> str:
        """Return the figures in a few words."""
        loss = "exact" if self.is_exact else f"error up to {self.largest_sigma:.3g} σ, RMS {self.rms_sigma:.3g} σ"
        return f"{self.ratio:,.1f} times smaller, {loss}"


def run(data: Any, choices: Choices, step: Callable[[float], None]) -> Trial:
    """Encode and decode spectra.

    Parameters
    ----------
    data : array_like, shape ((frame,) (y,) x, energy)
        Array, or what is read when it is sliced.
    choices : Choices
    step : callable
        Called with the fraction done; may raise to stop.

    Raises
    ------
    EsteemError
        If the data are too large, no spectra, or hold values that the codec cannot.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore.codec import trial
    >>> counts = np.random.default_rng(0).poisson(30, (8, 8, 64)).astype(np.float32)
    >>> tried = trial.run(counts, trial.Choices("eels-bounded", bound_sigma=1.0), lambda done: None)
    >>> tried.ratio > 5, tried.largest_sigma <= 1
    (True, True)
    """
    voxels, dtype = math.prod(data.shape), np.dtype(data.dtype)
    if not voxels or not data.shape or dtype.kind not in "iuf":
        raise ParameterError(f"the data have shape {data.shape} and dtype {dtype}; expected some spectra (..., energy)")
    if voxels * dtype.itemsize > MOST_BYTES or voxels > MOST_VOXELS:
        raise ParameterError(
            f"the data have {voxels:,} voxels, {voxels * dtype.itemsize / 1e9:,.1f} GB, and the preview takes up to "
            f"{MOST_VOXELS:,} voxels, {MOST_BYTES / 1e9:,.1f} GB; select a part of them or compress them to a "
            "container, which takes any size"
        )
    given = checks.array("data", data)
    images = given.reshape(-1, *((1,) * max(3 - given.ndim, 0)), *given.shape[-3:])
    rows = images.shape[1]
    if choices.method != "eels-blocks":
        rows = min(max(TILE_BYTES // max(images[0, 0].nbytes, 1), 1), rows)
    decoded, residual = np.empty_like(images), np.empty(images.shape, np.float32)
    stored, squares, largest = 0, 0.0, 0.0
    places = [(f, y) for f in range(len(images)) for y in range(0, images.shape[1], rows)]
    for done, (f, y) in enumerate(places):
        part = images[f, y : y + rows]
        block = _encode(part, choices)
        step((done + 0.5) / len(places))
        stored += len(block)
        decoded[f, y : y + rows] = _decode(block)
        for row, given_row, decoded_row in zip(range(y, y + rows), part, decoded[f, y : y + rows], strict=False):
            error = _in_sigmas(given_row, decoded_row, choices)
            residual[f, row] = error
            squares += float(np.square(error).sum())
            largest = max(largest, float(np.abs(error).max(initial=0)))
        step((done + 1) / len(places))
    rms = (squares / max(given.size, 1)) ** 0.5
    return Trial(decoded.reshape(given.shape), residual.reshape(given.shape), given.nbytes, stored, largest, rms)


def _encode(part: NDArray[Any], choices: Choices) -> bytes:
    if choices.method == "lossless":
        return codec.encode_lossless(part)
    gain, readout = choices.gain, choices.readout_sigma
    if choices.method == "eels-bounded":
        return codec.encode_eels(part, bound_sigma=choices.bound_sigma, gain=gain, readout_sigma=readout)
    if choices.method == "eels-blocks":
        return codec.encode_eels(part, n_components=choices.n_components, gain=gain, readout_sigma=readout)
    with np.errstate(invalid="ignore"):  # what is no number is found by the comparison
        counts = part if part.dtype.kind in "iu" else part.astype(np.int64)
    if not np.array_equal(counts, part):
        raise ParameterError("the values are no whole counts, which the method 'events' needs; choose another")
    return codec.encode_events(counts)


def _decode(block: bytes) -> NDArray[Any]:
    values = codec.decode(block)
    return np.asarray(values.to_dense() if hasattr(values, "to_dense") else values)


def _in_sigmas(given: NDArray[Any], decoded: NDArray[Any], choices: Choices) -> NDArray[np.float64]:
    """Return decoded minus given in units of the noise; infinite where one is no number that the other is."""
    x, y = given.astype(np.float64), decoded.astype(np.float64)
    noise = np.sqrt(choices.gain * np.maximum(np.where(np.isfinite(x), x, 0), choices.gain) + choices.readout_sigma**2)
    with np.errstate(invalid="ignore"):
        error = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, (y - x) / noise)
    error[np.isnan(error)] = np.inf
    return error
