"""The running sum of a series: one frame with its displacement field after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import digest, record
from esteemcore.events import SparseSI
from esteemcore.register.accumulate_frames import frame_kind, make_ready
from esteemcore.register.accumulate_result import Accumulated
from esteemcore.register.accumulate_sums import LARGEST_UPSAMPLE, Sums, drop_size, variance_kind


class Accumulator:
    """Sum frames on the common grid while they come in.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the frames, and of the common grid.
    channels : int, optional
        Energy channels; None for images.
    upsample : int
        Fine pixels along one side of a pixel, 1 to 8.
    variance : bool or {"counting", "between"}
        What variance is kept, see `accumulate`. True: by the dtype of the first frame.
    drop_px : float
        Side of the square that a sample is spread over, ``1 / upsample`` to 1 px, see `accumulate`.
    dtype : {"float32", "float64"}, optional
        Of the sums. Default: float32 if the first frame is a `esteemcore.events.SparseSI`, else float64.

    Raises
    ------
    ParameterError
        If a parameter is out of its range, or the memory for the sums is not there.

    See Also
    --------
    accumulate : The same for a whole series; it explains footprint, variance and precision.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import register
    >>> running = register.Accumulator((4, 5), channels=3)
    >>> frame = np.ones((4, 5, 3), np.uint16)
    >>> for shift in (0.0, 0.5):
    ...     _ = running.add(frame, np.full((4, 2), (0.0, shift)))
    >>> result = running.result()
    >>> result.data[2, :, 0].tolist()
    [1.5, 2.0, 2.0, 2.0, 2.0]
    >>> result.counts, result.outside
    (120.0, 6.0)
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: int | None = None,
        upsample: int = 1,
        variance: bool | str = True,
        *,
        drop_px: float = 1.0,
        dtype: DTypeLike | None = None,
    ) -> None:
        self._shape = checks.shape_2d("shape", shape)
        self._channels = None if channels is None else checks.integer("channels", channels, minimum=1)
        self._upsample = checks.integer("upsample", upsample, minimum=1, maximum=LARGEST_UPSAMPLE)
        self._variance = variance
        variance_kind(variance, np.dtype(np.uint8))
        self._drop = drop_size(drop_px, self._upsample)
        self._dtype = None if dtype is None else _float_dtype(dtype)
        self._sums: Sums | None = None
        self._reached = np.zeros(self._channels or 1)
        self._frames = 0
        self._counts = self._outside = 0.0

    @property
    def frames(self) -> int:
        """Frames summed so far."""
        return self._frames

    def add(
        self,
        frame: Any,
        field: ArrayLike,
        *,
        mask: ArrayLike | None = None,
        energy_shift_channels: float = 0.0,
    ) -> Self:
        """Add one frame.

        Parameters
        ----------
        frame : array_like (y, x[, energy]) or SparseSI
            Counts, finite wherever measured. Dense frames may be lazy (sliced row by row).
        field : array_like, shape (y, 2) or (y, x, 2)
            Total displacement (dy, dx) in px, per line or per pixel: sample (i, j) was taken at (i + dy, j + dx).
        mask : array_like of bool, shape (y, x), optional
            True where the frame was measured. Default: everywhere.
        energy_shift_channels : float
            A count of channel c belongs to channel c + shift of the sum.

        Returns
        -------
        Accumulator
            This accumulator.

        Raises
        ------
        ParameterError
            If shapes do not fit, or a displacement or a count at a measured position is not finite. Nothing is added
            then, unless it is a count of a dense frame that is not finite.
        """
        self._add(frame, field, mask, energy_shift_channels, f"frame {self._frames}")
        return self

    def _add(self, frame: Any, field: ArrayLike, mask: ArrayLike | None, energy_shift: float, name: str) -> None:
        positions = sample_positions(field, self._shape, name)
        if mask is not None:
            positions[~checks.boolean_mask(f"mask of {name}", mask, self._shape)] = np.nan
        shift = checks.finite(f"energy shift of {name}", energy_shift, "channels")
        events = isinstance(frame, SparseSI)
        dtype = self._dtype or np.dtype(np.float32 if events else np.float64)
        if self._sums is not None:
            dtype = self._sums.data.dtype
        ready = make_ready(frame, name, self._shape, self._channels, dtype, shift)
        if self._sums is None:
            kind = variance_kind(self._variance, frame_kind(frame)[1])
            self._sums = self._empty(dtype, kind)
        if not events and self._sums.kind == "between" and dtype != np.float64:
            raise ParameterError(
                "variance between dense samples is the difference of large sums, which float32 cannot hold; "
                "give dtype='float64', or variance='counting' where the values are counts"
            )
        counts, outside = self._sums.add(ready, self._sums.starts(positions))
        self._counts += counts
        self._outside += outside
        self._reached += _reached(self._channels or 1, shift)
        self._frames += 1

    def _empty(self, dtype: np.dtype[Any], kind: str) -> Sums:
        return Sums(self._shape, self._channels or 1, self._upsample, self._drop, dtype, kind)

    def result(self, channels: slice = slice(None)) -> Accumulated:
        """Return the sum of all frames so far, as a copy that later frames do not change.

        Parameters
        ----------
        channels : slice
            Of the spectra, for a look at a part of them.
        """
        return self._result(copy=True, common_region=None, provenance=None, channels=channels)

    def _result(
        self,
        copy: bool,
        common_region: NDArray[np.bool_] | None,
        provenance: dict[str, Any] | None,
        channels: slice = slice(None),
    ) -> Accumulated:
        sums = self._sums
        if sums is None:
            kind = self._variance if isinstance(self._variance, str) else "counting" if self._variance else ""
            sums = self._empty(self._dtype or np.dtype(np.float64), kind)
        data, variance = sums.finish(copy, channels)
        image = self._channels is None
        parameters: dict[str, Any] = {
            "shape": self._shape,
            "channels": self._channels,
            "upsample": self._upsample,
            "variance": sums.kind,
            "drop_px": self._drop,
            "dtype": str(data.dtype),
            "frames": self._frames,
            "counts": self._counts,
            "outside": self._outside,
        }
        function = "register.Accumulator" if provenance is None else "register.accumulate"
        spectrum = data.sum(axis=(0, 1), dtype=np.float64)
        reached = self._reached / self._frames if self._frames else np.ones_like(self._reached)
        return Accumulated(
            data=data[..., 0] if image else data,
            variance=None if variance is None else variance[..., 0] if image else variance,
            variance_kind=sums.kind,
            coverage=sums.coverage.copy(),
            channel_coverage=None if image else reached[channels],
            common_region=common_region,
            upsample=self._upsample,
            drop_px=self._drop,
            frames=self._frames,
            counts=self._counts,
            outside=self._outside,
            provenance=record(
                function, {**parameters, **(provenance or {})}, input_digest=digest(sums.coverage, spectrum)
            ),
        )

    def dump(self) -> dict[str, NDArray[Any]]:
        """Return the running sums as arrays by name, for `load`; they are copies."""
        tallies = np.array([self._frames, self._counts, self._outside])
        if self._sums is None:
            return {"tallies": tallies, "reached": self._reached.copy()}
        return {
            "tallies": tallies,
            "reached": self._reached.copy(),
            "kind": np.array(self._sums.kind),
            "data": self._sums.data.copy(),
            "moment": self._sums.moment.copy(),
            "coverage": self._sums.coverage.copy(),
            "squares": self._sums.squares.copy(),
        }

    def load(self, dump: Mapping[str, NDArray[Any]]) -> Self:
        """Go on from what `dump` gave of an accumulator of the same parameters; what is here is forgotten.

        Raises
        ------
        ParameterError
            If the arrays are not those of such an accumulator.
        """
        try:
            tallies, reached = np.array(dump["tallies"], np.float64), np.array(dump["reached"], np.float64)
            sums = None
            if "data" in dump:
                sums = self._empty(_float_dtype(dump["data"].dtype), str(dump["kind"]))
                for name in ("data", "moment", "coverage", "squares"):
                    target = getattr(sums, name)
                    if dump[name].shape != target.shape:
                        raise ParameterError(
                            f"{name} of the dump has shape {dump[name].shape}; expected {target.shape}"
                        )
                    target[...] = dump[name]
        except KeyError as error:
            raise ParameterError(f"the dump has no array named {error}; expected what dump() returns") from None
        if tallies.shape != (3,) or reached.shape != self._reached.shape:
            raise ParameterError("the dump is of an accumulator with another number of channels")
        self._frames, self._counts, self._outside = int(tallies[0]), float(tallies[1]), float(tallies[2])
        self._reached, self._sums = reached, sums
        return self


def sample_positions(field: ArrayLike, shape: tuple[int, int], name: str) -> NDArray[np.float64]:
    """Return where the samples of a frame were taken, (y, x, 2) in px of the common grid, from its displacement."""
    given = np.asarray(field)
    if given.shape not in ((shape[0], 2), (*shape, 2)) or given.dtype.kind not in "iuf":
        raise ParameterError(
            f"the field of {name} has shape {given.shape} and dtype {given.dtype}; expected numbers (dy, dx) of shape "
            f"{(shape[0], 2)}, one per line, or {(*shape, 2)}, one per pixel"
        )
    if not np.isfinite(given).all():
        raise ParameterError(
            f"the field of {name} holds displacements that are not finite; leave that frame out, or give a mask of "
            "what was measured and any number where it was not"
        )
    rows, columns = np.indices(shape, np.float64)
    positions: NDArray[np.float64] = np.stack([rows, columns], axis=-1)
    positions += given[:, None, :] if given.ndim == 2 else given
    return positions


def _reached(channels: int, shift: float) -> NDArray[np.float64]:
    """Return which part of a frame's spectrum could fall on each channel: 1, less where it was shifted off."""
    channel = np.arange(channels, dtype=np.float64)
    part: NDArray[np.float64] = np.clip(np.minimum(channel - shift + 1, channels - channel + shift), 0, 1)
    return part


def _float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = np.dtype(np.void)
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ParameterError(f"dtype is {dtype!r}; expected 'float32' or 'float64'")
    return kind
