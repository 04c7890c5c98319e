"""Spectrum images sampled coarsely where only the background is wanted: the scheme of Jones et al.

The energy axis is cut into blocks, each with a down-sampling factor. Blocks of factor 1 keep every voxel to four
significant figures. In the others, as in the paper: outliers are removed, the noise is reduced by principal components,
the spectra are smoothed to the distance of the samples, sampled, and stored as logarithms rounded to 0.001, which is
four significant figures for logarithms from 1 to 10. Three things differ from it:

- The logarithm is ``u = asinh(x / (2 floor))``: ``ln(x / floor)`` where x is large, a straight line through zero where
  it is not, odd for negative values. Nothing has to be cut off.
- The mean spectrum m is kept at all channels, and what is interpolated is how far a pixel is from it, relative to
  ``g = sqrt(m^2 + 4 floor^2)``: ``x = m + g * interpolated((sample - sampled m) / sampled g)``. Curved backgrounds and
  fine structure that all pixels have in common stay, thickness scales them, and only differences between pixels are
  sampled coarsely. The paper interpolates the logarithm itself, which follows a power law as well, but makes noisy
  samples too low on average (a geometric mean is below the arithmetic one: 3 % in blocks of factor 2 here).
- Smoothing is the least-squares fit of straight lines between the samples, which keeps the sum of each block, where a
  sliding mean would mix in what lies beyond its ends.

References
----------
L. Jones et al., "Managing dose-, damage- and data-rates in multi-frame spectrum-imaging", Microscopy 67, i98 (2018),
https://doi.org/10.1093/jmicro/dfx125.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import lowrank
from esteemcore._core.errors import FormatError
from esteemcore.codec import apart, figures, integers, parts
from esteemcore.codec.energy_blocks import interpolation, nodes_of, sample
from esteemcore.codec.outliers import channel_noise, find_outliers

STEP = 0.001
"""Rounding of the logarithms."""
USABLE = 1e12
"""Values of coarse blocks beyond this are no counts: like NaN and infinities, they are stored apart, exactly."""
FLOOR = 0.25
"""Where the logarithm turns into a straight line, in parts of the least noise of a voxel."""
MEAN_STEP = 0.00025
"""Rounding of the logarithms of the mean spectrum."""


@dataclasses.dataclass(frozen=True, slots=True)
class BlockChoices:
    """How the coarse blocks of one spectrum image are made.

    Attributes
    ----------
    blocks : list of (int, int, int)
        First channel, channel after the last one, factor; they cover the spectrum.
    n_components : int
        Principal components that are kept; 0 for no noise reduction.
    smoothing : bool
        Fit the samples to all channels; without, the sampled channels are taken as they are.
    outlier_sigma : float or None
        Voxels further than this from the median of their neighbours are outliers; None: there are none.
    keep_outliers : bool
        Store outliers of coarse blocks apart and put them back when decoding.
    gain, readout_sigma : float
        Noise, for the weights of the principal components.
    """

    blocks: list[tuple[int, int, int]]
    n_components: int
    smoothing: bool
    outlier_sigma: float | None
    keep_outliers: bool
    gain: float
    readout_sigma: float


def channels_of(blocks: list[tuple[int, int, int]], fine: bool) -> NDArray[np.int64]:
    """Return the channels of all blocks of factor 1 (fine) or above."""
    chosen = [np.arange(start, stop) for start, stop, factor in blocks if (factor == 1) == fine]
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)


N_PARTS = 8


def encode_rows(rows: NDArray[Any], choices: BlockChoices) -> list[bytes]:
    """Return the parts of spectra of native byte order, shape (pixels, channels).

    Parts: matrix of the fine channels, voxels apart (2), floor of the logarithm, mean logarithm, matrix of the samples,
    voxels of the coarse channels apart (2).
    """
    fine, coarse = channels_of(choices.blocks, True), channels_of(choices.blocks, False)
    of_fine, of_coarse = [b"", b"", b""], [b"", b"", b""]
    if fine.size:
        of_fine = _encode_fine(np.ascontiguousarray(rows[:, fine]))
    exact = np.zeros(rows.shape, np.bool_)
    if coarse.size:
        x = rows.astype(np.float32 if rows.dtype.itemsize <= 4 else np.float64)
        finite = np.abs(x) < USABLE
        if not finite.all():
            filling = np.where(finite, x, 0).sum(axis=0) / np.maximum(finite.sum(axis=0), 1)
            x = np.where(finite, x, filling.astype(x.dtype))
        if choices.outlier_sigma is not None:
            spikes, replaced = find_outliers(x, choices.outlier_sigma)
            x[spikes] = replaced
            if choices.keep_outliers:
                exact |= spikes
        exact |= ~finite
        exact[:, fine] = False
        of_coarse = _encode_coarse(x, coarse, choices)
    return [*of_fine, *of_coarse, *apart.pack(rows, np.flatnonzero(exact.reshape(-1)))]


def decode_rows(
    pieces: list[bytes],
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    blocks: list[tuple[int, int, int]],
    smoothing: bool,
) -> NDArray[Any]:
    """Return spectra of native byte order, shape (pixels, channels)."""
    fine, coarse = channels_of(blocks, True), channels_of(blocks, False)
    exactly, roughly = np.empty((shape[0], 0), dtype), np.empty((shape[0], 0), dtype)
    if fine.size:
        values = figures.from_figures(integers.decode(pieces[0], (shape[0], len(fine))))
        exactly = _as_dtype(values, dtype)
        apart.restore(pieces[1:3], exactly)
    if coarse.size:
        roughly = _as_dtype(_decode_coarse(pieces[3:6], shape[0], len(coarse), dtype, blocks, smoothing), dtype)
    rows = np.empty(shape, dtype)
    rows[:, fine] = exactly
    rows[:, coarse] = roughly
    apart.restore(pieces[6:8], rows)
    return rows


def _as_dtype(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values in a dtype; whole numbers are rounded, and cut off at the ends of the dtype."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    limits = np.iinfo(dtype)
    rounded = np.rint(values)
    inside = np.clip(rounded, float(limits.min), np.nextafter(float(limits.max) + 1, 0)).astype(dtype)
    inside[rounded >= limits.max] = limits.max
    return inside


def _encode_fine(values: NDArray[Any]) -> list[bytes]:
    """Return matrix and voxels apart of the channels that keep four significant figures."""
    x = values.astype(np.float64)
    number, numbered = figures.to_figures(x)
    if values.dtype.kind in "iu":
        numbered &= np.abs(x) < 2.0**53  # beyond, a float64 is not the whole number
    places = np.flatnonzero(~numbered.reshape(-1))
    number.reshape(-1)[places] = 0
    rounded = values.copy()
    rounded.reshape(-1)[places] = [_four_figures(value) for value in values.reshape(-1)[places]]
    return [integers.encode(number), *apart.pack(rounded, places)]


def _four_figures(value: Any) -> Any:
    """Return a value that has no number, to four significant figures by way of text; itself where they are infinite."""
    if isinstance(value, np.integer):
        text = f"{int(value)}"
        digits = len(text.lstrip("-")) - 4
        limits = np.iinfo(value.dtype)
        return min(max(int(round(int(value), -digits)), int(limits.min)), int(limits.max))
    rounded = float(f"{float(value):.3e}")
    return rounded if abs(rounded) <= float(np.finfo(value.dtype).max) else value


def _encode_coarse(x: NDArray[Any], coarse: NDArray[np.int64], choices: BlockChoices) -> list[bytes]:
    """Return floor, mean logarithm and matrix of the samples."""
    noise = channel_noise(x)[coarse]
    floor = FLOOR * float(noise[noise > 0].min(initial=np.inf))
    if not np.isfinite(floor):
        floor = max(float(np.abs(x).max()) * 1e-6, float(np.finfo(np.float32).tiny))
    mean = x.mean(axis=0, dtype=np.float64)
    whole_mean = np.zeros(len(mean), np.int64)
    whole_mean[coarse] = np.rint(np.arcsinh(mean[coarse] / (2 * floor)) / MEAN_STEP)
    mean = 2 * floor * np.sinh(whole_mean * MEAN_STEP)
    n = min(choices.n_components, min(x.shape) // 2)
    components = None
    if n > 0:
        components = lowrank.pca(x, n, noise="poisson", gain=choices.gain, readout_sigma=choices.readout_sigma)
    samples = []
    for start, stop, factor in choices.blocks:
        if factor == 1:
            continue
        if components is None:
            sampled = sample(x[:, start:stop], factor, choices.smoothing)
        else:
            sampled = components.scores @ sample(components.loadings[:, start:stop], factor, choices.smoothing)
        of_mean = sample(mean[None, start:stop], factor, choices.smoothing)
        samples.append(np.arcsinh(sampled / (2 * floor)) - np.arcsinh(of_mean / (2 * floor)))
    matrix = np.clip(np.rint(np.concatenate(samples, axis=1) / STEP), -integers.LARGEST + 1, integers.LARGEST - 1)
    steps = np.diff(whole_mean[coarse], prepend=np.int64(0)).astype("<i4")
    return [np.float64(floor).astype("<f8").tobytes(), parts.deflate(steps), integers.encode(matrix.astype(np.int32))]


def _decode_coarse(
    pieces: list[bytes],
    pixels: int,
    channels: int,
    dtype: np.dtype[Any],
    blocks: list[tuple[int, int, int]],
    smoothing: bool,
) -> NDArray[Any]:
    """Return the channels of the coarse blocks, shape (pixels, channels)."""
    stored, of_mean, matrix = pieces
    floor = float(np.frombuffer(stored, "<f8")[0]) if len(stored) == 8 else -1.0
    if not 0 < floor < np.inf:
        raise FormatError(f"the floor of the logarithm is {floor}; the block was changed")
    work = np.dtype(np.float32 if dtype.itemsize <= 4 else np.float64)
    whole_mean = np.cumsum(parts.inflate(of_mean, (channels,), "<i4"), dtype=np.int64)
    lengths = [(stop - start, factor) for start, stop, factor in blocks if factor > 1]
    counts = [len(nodes_of(*one)) for one in lengths]
    samples = integers.decode(matrix, (pixels, sum(counts)))
    values = np.empty((pixels, channels), work)
    at, channel = 0, 0
    with np.errstate(over="ignore", invalid="ignore"):
        mean = 2 * floor * np.sinh(whole_mean * MEAN_STEP)
        slope = np.hypot(mean, 2 * floor)
        for (length, factor), n in zip(lengths, counts, strict=True):
            here = slice(channel, channel + length)
            middle = sample(mean[None, here], factor, smoothing)
            sampled = 2 * floor * np.sinh(samples[:, at : at + n] * STEP + np.arcsinh(middle / (2 * floor)))
            relative = (sampled - middle) / np.hypot(middle, 2 * floor)
            lines = interpolation(length, factor).astype(work) @ relative.astype(work).T
            lines *= slope[here, None].astype(work)
            lines += mean[here, None].astype(work)
            values[:, here] = lines.T
            at, channel = at + n, channel + length
    return np.nan_to_num(values, copy=False)
