"""Running sums on a fine grid: counts, their second moment, and the weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.register import _accumulate_kernels as kernels
from esteemcore.register.accumulate_frames import DenseFrame, EventFrame, Frame

LARGEST_UPSAMPLE = 8
KINDS = ("counting", "between")
ROWS_AT_A_TIME = 16


def variance_kind(variance: Any, dtype: np.dtype[Any]) -> str:
    """Return which variance is meant: of counts where the data are whole numbers, else between samples."""
    if isinstance(variance, (bool, np.bool_)):
        if not variance:
            return ""
        return "counting" if dtype.kind in "biu" else "between"
    return checks.choice("variance", variance, KINDS)


def drop_size(drop_px: Any, upsample: int) -> float:
    """Return the side of a sample's square in px, checked."""
    drop = checks.positive("drop_px", drop_px, "px")
    if not 1 / upsample - 1e-12 <= drop <= 1:
        raise ParameterError(
            f"drop_px is {drop:g} px; expected 1 / upsample = {1 / upsample:g} (one fine pixel) to 1 (the whole pixel)"
        )
    return drop


class Sums:
    """Counts, second moment and weights of the samples that fell on a grid.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the grid in px of the frames.
    channels : int
        Energy channels, 1 for images.
    upsample : int
        Fine pixels along a side of a pixel.
    drop_px : float
        Side of the square that a sample is spread over, px.
    dtype : dtype
        float32 or float64.
    kind : {"counting", "between", ""}
        Which variance is kept.
    """

    def __init__(
        self, shape: tuple[int, int], channels: int, upsample: int, drop_px: float, dtype: np.dtype[Any], kind: str
    ) -> None:
        self.upsample, self.kind, self.extent = upsample, kind, drop_px * upsample
        fine = (shape[0] * upsample, shape[1] * upsample)
        try:
            self.data = np.zeros((*fine, channels), dtype)
            self.moment = np.zeros((*fine, channels) if kind else (0, 0, 0), dtype)
        except (MemoryError, ValueError) as error:
            size = math.prod(fine) * channels * dtype.itemsize * (2 if kind else 1) / 1e9
            raise ParameterError(
                f"the sum of {fine[0]} x {fine[1]} x {channels} takes {size:.1f} GB, which is not there; take a "
                "smaller upsample, fewer channels, dtype float32 or variance=False"
            ) from error
        self.coverage, self.squares = np.zeros(fine), np.zeros(fine)
        taps = upsample + 2
        self._shares = np.empty(taps), np.empty(taps)

    def starts(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where the squares of samples begin, in fine pixels; positions in px, pixel centres at integers."""
        return self.upsample * (positions + 0.5) - self.extent / 2

    def add(self, frame: Frame, start: NDArray[np.float64], corner: tuple[int, int] = (0, 0)) -> tuple[float, float]:
        """Add the part of a frame that begins at ``corner``; NaN starts are positions that were not measured.

        Returns
        -------
        counts, outside : float
            Sum of the counts at measured positions, and what of it fell beside the grid or off the energy axis.
        """
        rows, columns = start.shape[:2]
        if not (rows and columns):
            return 0.0, 0.0
        measured = ~np.isnan(start).any(axis=-1)
        if isinstance(frame, EventFrame):
            inside = self._weigh(start)
            window = np.s_[corner[0] : corner[0] + rows, corner[1] : corner[1] + columns]
            value = frame.value
            second = frame.squares if self.kind == "between" else frame.poisson
            kernels.add_events(
                frame.offset,
                frame.channel,
                value,
                second,
                start,
                corner,
                frame.shape[1],
                self.extent,
                *self._shares,
                self.data,
                self.moment,
                self.kind == "counting",
            )
            counts = float(frame.counts[window][measured].sum())
            return counts, max(counts - float((frame.kept[window] * inside)[measured].sum()), 0.0)
        return self._add_dense(frame, start, corner, measured)

    def _add_dense(
        self, frame: DenseFrame, start: NDArray[np.float64], corner: tuple[int, int], measured: NDArray[np.bool_]
    ) -> tuple[float, float]:
        rows, columns = start.shape[:2]
        counts = kept = 0.0
        window = slice(corner[0], corner[0] + rows), slice(corner[1], corner[1] + columns)
        for lines, raw, spectra in frame.slabs(self.data.dtype, *window):
            here, valid = start[lines], measured[lines]
            total = raw.sum(axis=-1, dtype=np.float64)
            if not np.isfinite(total[valid]).all():
                raise ParameterError(
                    f"{frame.name} holds values that are not finite at measured positions; name the measured ones by "
                    "a mask"
                )
            if self.kind == "between":
                second = spectra * spectra
            elif self.kind and spectra is not raw:
                second = frame.shifted(raw, squared=True)
            else:
                second = spectra
            inside = self._weigh(here)
            kernels.add_spectra(
                spectra, second, here, self.extent, *self._shares, self.data, self.moment, self.kind == "counting"
            )
            counts += float(total[valid].sum())
            shifted = total if spectra is raw else spectra.sum(axis=-1, dtype=np.float64)
            kept += float((shifted[valid] * inside[valid]).sum())
        return counts, counts - kept

    def _weigh(self, start: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add the weights of samples to the coverage; return which part of each lies on the grid."""
        inside = np.zeros(start.shape[:2])
        kernels.add_coverage(start, self.extent, *self._shares, self.coverage, self.squares, inside)
        return inside

    def finish(self, copy: bool, channels: slice = slice(None)) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return the sum and its variance; without ``copy`` the sums are given away and must not be used again."""
        data = self.data[..., channels].copy() if copy else self.data
        if not self.kind:
            return data, None
        variance = self.moment[..., channels].copy() if copy else self.moment
        if self.kind == "between":
            for low in range(0, len(data), ROWS_AT_A_TIME):
                part = slice(low, low + ROWS_AT_A_TIME)
                _between(data[part], variance[part], self.coverage[part], self.squares[part])
        return data, variance


def _between(
    data: NDArray[Any], variance: NDArray[Any], coverage: NDArray[np.float64], squares: NDArray[np.float64]
) -> None:
    """Turn sums of ``w n²`` into the variance of ``sum w n``, in place.

    With W = sum w and W2 = sum w², the variance of one sample is (sum w n² - (sum w n)² / W) / (W - W2 / W), which is
    unbiased for independent samples of one mean and variance; that of their weighted sum is W2 times as large.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        free = coverage - squares / coverage
        factor = np.where(free > 1e-9 * coverage, squares / free, np.nan)[..., None]
        spread = np.maximum(variance - data.astype(np.float64) ** 2 / coverage[..., None], 0)
        variance[...] = spread * factor
