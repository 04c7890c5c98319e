"""Any array, bit by bit: bit planes compressed with zstd, along the axis that suits the data.

The bits of neighbouring values are sorted by their place (as the bitshuffle filter does), so that signs, exponents and
leading digits, which hardly change, lie together and the noise, which cannot be compressed, lies apart. What is a
neighbour is decided by the order of the axes: for spectra it pays to put all pixels of one channel beside each other.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.codec import frame, parts

ID = "esteem.lossless"
CHUNK = 1 << 20
"""Values whose bits are sorted together: a plane of 128 kB is one block of zstd, with statistics of its own."""
TRIAL = 1 << 16
"""Values that the order of the axes is tried with."""
MAX_BYTES = 1 << 32
"""Most bytes that a block may hold unless the caller says otherwise."""


def encode_lossless(data: ArrayLike, *, level: int = 3) -> bytes:
    """Encode an array without any loss.

    Parameters
    ----------
    data : array_like
        Any shape, any dtype but Python objects; every bit comes back, those of NaN and -0.0 too.
    level : int
        Level of zstd, 1 to 19; higher ones take more time and gain little on noise.

    Returns
    -------
    bytes
        The block, which names itself; see `decode_lossless`.

    Raises
    ------
    ParameterError
        If the array holds Python objects.

    References
    ----------
    K. Masui et al., Astronomy and Computing 12, 181 (2015), https://doi.org/10.1016/j.ascom.2015.07.002 (bitshuffle).

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import codec
    >>> image = np.array([[0.0, -0.0], [np.nan, 1.5]], np.float32)
    >>> codec.decode_lossless(codec.encode_lossless(image)).tobytes() == image.tobytes()
    True
    """
    array = checks.array("data", data)
    checks.integer("level", level, minimum=1, maximum=19)
    if array.dtype.hasobject:
        raise ParameterError(f"the array has dtype {array.dtype}; expected values, not Python objects")
    order = _best_order(array, level)
    descr = np.lib.format.dtype_to_descr(array.dtype)
    config = {"dtype": descr, "level": int(level), "order": list(order), "shape": list(array.shape)}
    payload = parts.join(_compress(array, order, level)) if array.nbytes else b""
    return frame.pack(ID, config, payload)


def decode_lossless(data: bytes, *, max_bytes: int = MAX_BYTES) -> NDArray[Any]:
    """Decode a block that `encode_lossless` made.

    Parameters
    ----------
    data : bytes
        One block.
    max_bytes : int
        Most bytes that the array may have: a bound on the memory that a damaged or hostile block can ask for.

    Returns
    -------
    ndarray
        Of the shape, dtype and bytes that were encoded, in C order.

    Raises
    ------
    FormatError
        If the block is damaged, of another kind, or larger than `max_bytes`.
    """
    block = frame.unpack(data, ID)
    shape = frame.whole_numbers(block.config, "shape", maximum=2**40)
    order = frame.whole_numbers(block.config, "order", length=len(shape))
    dtype = _stored_dtype(block.config.get("dtype"))
    if len(shape) > 32 or sorted(order) != list(range(len(shape))):
        raise FormatError(f"the head of the block has shape {list(shape)} and axes {list(order)}; it cannot be right")
    n = math.prod(shape)
    least = math.prod(max(size, 1) for size in shape)  # NumPy refuses some shapes of no values, too
    if dtype.subdtype is not None or least * max(dtype.itemsize, 1) > max_bytes:
        raise FormatError(
            f"the block says that it holds {n} values of {dtype}; accepted are {max_bytes} bytes (max_bytes)"
        )
    if not n * dtype.itemsize:
        return np.zeros(shape, dtype)
    if n * dtype.itemsize > parts.EXPANSION * len(block.payload):
        raise FormatError(f"{len(block.payload)} bytes cannot hold {n} values of {dtype}; the block was changed")
    from esteemcore.codec import _bit_kernels

    pieces = parts.split(block.payload, -(-n // CHUNK))
    values = np.empty((n, dtype.itemsize), np.uint8)
    for start, piece in zip(range(0, n, CHUNK), pieces, strict=True):
        count = min(CHUNK, n - start)
        planes = parts.inflate(piece, (8 * dtype.itemsize, -(-count // 8)), "u1")
        padded = np.empty((8 * planes.shape[1], dtype.itemsize), np.uint8)
        _bit_kernels.from_planes(planes, padded)
        values[start : start + count] = padded[:count]
    array = values.reshape(-1).view(dtype).reshape([shape[axis] for axis in order])
    return np.ascontiguousarray(array.transpose(np.argsort(order))).reshape(shape)


@dataclasses.dataclass(frozen=True, slots=True)
class LosslessCodec:
    """`encode_lossless` and `decode_lossless` as a codec.

    Attributes
    ----------
    level : int
        Level of zstd.
    id : str
        ``"esteem.lossless"``.
    """

    level: int = 3

    id: ClassVar[str] = ID

    @property
    def config(self) -> dict[str, Any]:
        """Choices of the encoder."""
        return {"level": self.level}

    def encode(self, data: ArrayLike, /) -> bytes:
        """Return the block of an array."""
        return encode_lossless(data, level=self.level)

    def decode(self, data: bytes, /) -> NDArray[Any]:
        """Return the array of a block."""
        return decode_lossless(data)


def _compress(array: NDArray[Any], order: tuple[int, ...], level: int) -> list[bytes]:
    """Return the compressed bit planes of each chunk of an array whose axes are taken in an order."""
    from esteemcore.codec import _bit_kernels

    flat = np.ascontiguousarray(array.transpose(order)).reshape(-1).view(np.uint8).reshape(array.size, -1)
    pieces = []
    for start in range(0, len(flat), CHUNK):
        values = flat[start : start + CHUNK]
        if len(values) % 8:
            values = np.concatenate([values, np.zeros((-len(values) % 8, values.shape[1]), np.uint8)])
        planes = np.empty((8 * values.shape[1], len(values) // 8), np.uint8)
        _bit_kernels.to_planes(values, planes)
        pieces.append(parts.deflate(planes, level))
    return pieces


def _best_order(array: NDArray[Any], level: int) -> tuple[int, ...]:
    """Return the order of the axes under which the middle of an array becomes smallest."""
    axes = tuple(range(array.ndim))
    orders = list(dict.fromkeys([axes, axes[-1:] + axes[:-1], axes[1:] + axes[:1]]))
    if len(orders) == 1 or not array.nbytes:
        return axes
    kept = list(array.shape)
    while math.prod(kept) > TRIAL:
        longest = max(axes, key=lambda axis: kept[axis])
        kept[longest] = (kept[longest] + 1) // 2
    middle = tuple(slice((n - k) // 2, (n - k) // 2 + k) for n, k in zip(array.shape, kept, strict=True))
    return min(orders, key=lambda order: len(_compress(array[middle], order, level)[0]))


def _stored_dtype(descr: Any) -> np.dtype[Any]:
    """Return the dtype that `numpy.lib.format.dtype_to_descr` described, as JSON has it."""
    try:
        dtype = np.lib.format.descr_to_dtype(_fields(descr, 8))
    except Exception as error:  # numpy raises whatever it meets
        raise FormatError(f"the head of the block has the dtype {descr!r}, which numpy does not know") from error
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise FormatError(f"the head of the block has the dtype {descr!r}; expected values")
    return dtype


def _fields(descr: Any, depth: int) -> Any:
    """Return the lists of fields of a structured dtype as the tuples that numpy wants."""
    if isinstance(descr, str):
        return descr
    if not depth or not isinstance(descr, list) or len(descr) > 1000:
        raise FormatError("the dtype of the block is nested too deeply")
    fields = []
    for name, kind, *shape in descr:
        label = tuple(map(str, name)) if isinstance(name, list) else str(name)
        fields.append((label, _fields(kind, depth - 1), *(tuple(map(int, s)) for s in shape)))
    return fields
