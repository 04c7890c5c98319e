"""EELS spectrum images, made small in one of two ways: coarse blocks, or a bounded error everywhere."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.codec import eels_blocks, frame, parts, spectra
from esteemcore.codec.eels_bounded import EelsBoundedCodec
from esteemcore.codec.energy_blocks import Blocks, automatic_blocks, channel_blocks, energy_axis, rising_blocks
from esteemcore.codec.outliers import channel_noise, find_outliers

OUTLIERS = ("remove", "keep")
OUTLIER_SIGMA = 8.0
"""How far from its neighbours a voxel is an outlier, unless the caller says otherwise, in standard deviations."""


def encode_eels(
    si: ArrayLike,
    energy_ev: ArrayLike | None = None,
    blocks: Blocks | None = None,
    bound_sigma: float | None = None,
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    *,
    n_components: int = 30,
    smoothing: bool = True,
    outliers: str = "remove",
    outlier_sigma: float | None = OUTLIER_SIGMA,
) -> bytes:
    """Encode an EELS spectrum image, with a loss that the caller chose.

    Without `bound_sigma`, blocks of channels are sampled coarsely, as Jones et al. (2018) do; with it, every voxel is
    kept to within that part of its noise. `lossless.encode_lossless` keeps everything.

    Parameters
    ----------
    si : array_like, shape (y, x, energy) or (frame, y, x, energy)
        Floats or integers of up to 64 bits. Negative values, zeros, NaN and infinities are allowed.
    energy_ev : array_like, shape (energy,), optional
        Energy of each channel in eV, rising. When it is given, `blocks` are in eV, else in channels.
    blocks : sequence of (start, stop, factor), optional
        Blocks ``start <= channel < stop`` and the factor by which they are sampled more coarsely; rising, without
        overlap. Factor 1, and channels that no block covers, keep four significant figures of every voxel. Without
        blocks they are chosen from the mean spectrum: coarse where its logarithm is straight, fine at edges and on the
        zero-loss peak.
    bound_sigma : float, optional
        Largest error in units of ``sigma = sqrt(gain * max(value, 0) + readout_sigma**2)``, guaranteed for every voxel:
        the encoder compares, and stores exactly what would be further off. Not together with `blocks`.
    gain : float
        Counts per electron. With `bound_sigma` it defines sigma, else it weighs the principal components.
    readout_sigma : float
        Standard deviation of the readout noise, in the units of `si`.
    n_components : int
        Principal components that are kept in coarse blocks; 0 leaves the noise as it is. The paper keeps several tens.
    smoothing : bool
        Fit straight lines between the samples to all channels of a coarse block, instead of picking channels.
    outliers : {"remove", "keep"}
        Cosmic rays and X-rays in coarse blocks: replaced by the median of their neighbours, as in the paper, or kept
        exactly and put back when decoding. In blocks of factor 1 nothing is removed.
    outlier_sigma : float or None
        How far from its neighbours, in standard deviations of the channel, a voxel is an outlier; None: no voxel is.

    Returns
    -------
    bytes
        The block, which names itself; see `decode_eels`.

    Raises
    ------
    ParameterError
        If the array is no spectrum image, a block is empty or overlaps, or both `blocks` and `bound_sigma` are given.

    References
    ----------
    L. Jones et al., Microscopy 67, i98 (2018), https://doi.org/10.1093/jmicro/dfx125.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import codec
    >>> energy_ev = 100 + 0.5 * np.arange(512)
    >>> counts = np.random.default_rng(0).poisson(1e7 * energy_ev**-2.0, (16, 16, 512)).astype(np.float32)
    >>> block = codec.encode_eels(counts, energy_ev, blocks=[(100, 200, 40), (200, 220, 1), (220, 356, 40)])
    >>> counts.nbytes // len(block) > 20
    True
    >>> back = codec.decode_eels(codec.encode_eels(counts, bound_sigma=0.5))
    >>> bool((np.abs(back - counts) <= 0.5 * np.sqrt(counts)).all())
    True
    """
    array = spectra.checked(si)
    if array.ndim not in (3, 4):
        raise ParameterError(
            f"the spectrum image has shape {array.shape}; expected (y, x, energy) or (frame, y, x, energy)"
        )
    if energy_ev is not None:
        energy_axis(energy_ev, array.shape[-1])
    if bound_sigma is not None:
        if blocks is not None:
            raise ParameterError("blocks and bound_sigma are both given; choose coarse blocks or a bounded error")
        return EelsBoundedCodec(bound_sigma, gain, readout_sigma).encode(array)
    chosen = None if blocks is None else channel_blocks(blocks, array.shape[-1], energy_ev)
    coder = EelsBlocksCodec(chosen, n_components, smoothing, outliers, outlier_sigma, gain, readout_sigma)
    return coder.encode(array)


def decode_eels(data: bytes, *, max_values: int = spectra.MAX_VALUES) -> NDArray[Any]:
    """Decode a block that `encode_eels` made.

    Parameters
    ----------
    data : bytes
        One block.
    max_values : int
        Most voxels that are accepted: a bound on the memory that a damaged or hostile block can ask for.

    Returns
    -------
    ndarray
        Of the shape and dtype that were encoded.

    Raises
    ------
    FormatError
        If the block is damaged, of another kind, or larger than `max_values`.
    """
    name = frame.unpack(data).codec
    if name == EelsBlocksCodec.id:
        return EelsBlocksCodec().decode_up_to(data, max_values)
    if name != EelsBoundedCodec.id:
        raise FormatError(f"the block was made by the codec {name!r}; expected an EELS spectrum image")
    return EelsBoundedCodec().decode_up_to(data, max_values)


@dataclasses.dataclass(frozen=True)
class EelsBlocksCodec:
    """Coarse blocks of channels, see `encode_eels`; `blocks` are in channels here."""

    blocks: Blocks | None = None
    n_components: int = 30
    smoothing: bool = True
    outliers: str = "remove"
    outlier_sigma: float | None = OUTLIER_SIGMA
    gain: float = 1.0
    readout_sigma: float = 0.0

    id: ClassVar[str] = "esteem.eels-blocks"

    def __post_init__(self) -> None:
        checks.integer("n_components", self.n_components, minimum=0)
        checks.choice("outliers", self.outliers, OUTLIERS)
        checks.positive("gain", self.gain)
        checks.not_negative("readout_sigma", self.readout_sigma)
        if self.outlier_sigma is not None:
            checks.positive("outlier_sigma", self.outlier_sigma)
        if self.blocks is not None:
            rising_blocks(self.blocks)

    @property
    def config(self) -> dict[str, Any]:
        """Choices of the encoder."""
        choices = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.blocks is not None:
            choices["blocks"] = [list(block) for block in rising_blocks(self.blocks)]
        return choices

    def encode(self, data: ArrayLike, /) -> bytes:
        """Return the block of an array (..., energy); each spectrum image of a series is coded by itself."""
        array = spectra.checked(data)
        rows = spectra.as_rows(array)
        blocks = choose_blocks(rows) if self.blocks is None else channel_blocks(self.blocks, array.shape[-1])
        choices = eels_blocks.BlockChoices(
            blocks=blocks,
            n_components=self.n_components,
            smoothing=bool(self.smoothing),
            outlier_sigma=self.outlier_sigma,
            keep_outliers=self.outliers == "keep",
            gain=float(self.gain),
            readout_sigma=float(self.readout_sigma),
        )
        pieces = [piece for group in _groups(array.shape) for piece in eels_blocks.encode_rows(rows[group], choices)]
        config = {**self.config, "blocks": [list(b) for b in blocks]}
        return frame.pack(self.id, {**config, "shape": list(array.shape), "dtype": array.dtype.str}, parts.join(pieces))

    def decode(self, data: bytes, /) -> NDArray[Any]:
        """Return the array of a block, of the shape and dtype that were encoded."""
        return self.decode_up_to(data, spectra.MAX_VALUES)

    def decode_up_to(self, data: bytes, max_values: int) -> NDArray[Any]:
        """Return the array of a block that holds no more than `max_values` voxels."""
        block = frame.unpack(data, self.id)
        shape, dtype = spectra.stored(block.config, max_values)
        stored = block.config.get("blocks")
        try:
            if not isinstance(stored, list) or (channel_blocks(stored, shape[-1]) != [tuple(b) for b in stored]):
                raise ParameterError("they do not cover the spectrum")
        except (ParameterError, TypeError) as error:
            raise FormatError(f"the blocks of channels cannot be right: {error}") from None
        every = _groups(shape)
        pieces = parts.split(block.payload, eels_blocks.N_PARTS * len(every))
        smoothing = block.config.get("smoothing") is not False
        native, n = dtype.newbyteorder("="), eels_blocks.N_PARTS
        blocks = [(int(a), int(b), int(f)) for a, b, f in stored]
        with np.errstate(all="ignore"):  # numbers that no encoder wrote may overflow
            done = [
                eels_blocks.decode_rows(
                    pieces[n * i : n * i + n], (group.stop - group.start, shape[-1]), native, blocks, smoothing
                )
                for i, group in enumerate(every)
            ]
        return spectra.joined(done, shape, dtype)


def _groups(shape: tuple[int, ...]) -> list[slice]:
    """Return the pixels that are coded together: those of one spectrum image, fewer where it is large."""
    frames = shape[0] if len(shape) > 3 else 1
    pixels = math.prod(shape[1:-1]) if len(shape) > 3 else math.prod(shape[:-1])
    of_one = spectra.groups((pixels, shape[-1]), 2 * spectra.GROUP)
    return [slice(i * pixels + g.start, i * pixels + g.stop) for i in range(frames) for g in of_one]


def choose_blocks(rows: NDArray[Any]) -> list[tuple[int, int, int]]:
    """Return blocks in channels that suit the mean of some spectra, as `encode_eels` chooses them.

    What is no number and what are outliers are left out of the mean; see `energy_blocks.automatic_blocks`.

    Parameters
    ----------
    rows : ndarray, shape (pixels, channels)
        Spectra.

    Returns
    -------
    list of (int, int, int)
        First channel, channel after the last one, factor; they cover the spectrum.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore.codec.eels import choose_blocks
    >>> spectrum = 1e6 * np.arange(100, 612.0) ** -1.5
    >>> choose_blocks(np.random.default_rng(0).poisson(spectrum, (400, 512)))
    [(0, 512, 64)]
    """
    if not rows.size:
        return [(0, rows.shape[1], 1)] if rows.shape[1] else []
    x = rows[:: -(-rows.size // spectra.GROUP)].astype(np.float64)
    usable = np.abs(x) < eels_blocks.USABLE
    x[~usable] = 0
    n = np.maximum(usable.sum(axis=0), 1)
    x = np.where(usable, x, x.sum(axis=0) / n)
    spikes, replaced = find_outliers(x, OUTLIER_SIGMA)
    x[spikes] = replaced
    return automatic_blocks(x.mean(axis=0), channel_noise(x) / np.sqrt(n))


__all__ = ["EelsBlocksCodec", "EelsBoundedCodec", "choose_blocks", "decode_eels", "encode_eels"]
