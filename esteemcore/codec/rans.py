"""Bytes with known statistics to almost their entropy: range asymmetric numeral system with static tables.

The symbols of each context have frequencies that add up to 4096; the tables are stored with the words. See J. Duda,
arXiv:1311.2540 (2013).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError
from esteemcore.codec import parts

TOTAL = 1 << 12
"""Sum of the frequencies of a context."""
LOW = 1 << 16
"""The state of the coder begins and ends here."""
PER_WORD = 16 * TOTAL
"""Symbols that one word can stand for at most, nearly: no symbol has a frequency above 4095 of 4096."""


def frequencies(counts: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Return frequencies that add up to 4096 for counts of 256 symbols; none that occurs has zero, none has all."""
    if not counts.any():
        return np.zeros(256, np.uint16)
    if np.count_nonzero(counts) == 1:
        counts = counts.copy()
        counts[int(counts.argmax()) ^ 1] = 1
    scaled = np.where(counts > 0, np.maximum(1, np.rint(counts * (TOTAL / counts.sum()))), 0).astype(np.int64)
    while (excess := int(scaled.sum()) - TOTAL) != 0:
        largest = int(scaled.argmax())
        scaled[largest] -= excess if excess < 0 else min(excess, max(1, int(scaled[largest]) // 2))
    return scaled.astype(np.uint16)


def encode(symbol: NDArray[np.uint8], context: NDArray[np.uint8]) -> bytes:
    """Return coded symbols.

    Parameters
    ----------
    symbol : ndarray of uint8, shape (n,)
        What to code.
    context : ndarray of uint8, shape (n,)
        Which statistics each symbol follows; the decoder must know it.
    """
    from esteemcore.codec import _rans_kernels

    n_contexts = int(context.max(initial=0)) + 1
    joint = context.astype(np.uint16)
    joint <<= 8
    joint |= symbol
    counts = np.bincount(joint, minlength=256 * n_contexts).reshape(n_contexts, 256)
    table = np.stack([frequencies(row) for row in counts])
    start = np.cumsum(table, axis=1, dtype=np.uint16) - table
    words = np.empty(symbol.size, np.uint16)
    state, at = _rans_kernels.encode_symbols(symbol, context, table, start, words)
    head = np.array([n_contexts, state], "<u4")
    return parts.join([head.tobytes(), parts.deflate(table.astype("<u2")), words[at:].astype("<u2").tobytes()])


def decode(data: bytes, context: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the symbols.

    Raises
    ------
    FormatError
        If the bytes are damaged or belong to other contexts.
    """
    from esteemcore.codec import _rans_kernels

    head, packed_table, packed_words = parts.split(data, 3)
    if len(head) != 8 or len(packed_words) % 2:
        raise FormatError("the head of the coded symbols has the wrong length; the block was changed")
    n_contexts, state = (int(n) for n in np.frombuffer(head, "<u4"))
    if not int(context.max(initial=0)) < n_contexts <= 256 or state < LOW:
        raise FormatError(f"the coded symbols have {n_contexts} contexts; the block was changed")
    table = parts.inflate(packed_table, (n_contexts, 256), "<u2").astype(np.uint16)
    total = table.sum(axis=1, dtype=np.int64)
    if not np.isin(total, (0, TOTAL)).all() or table.max() >= TOTAL or not total[np.unique(context)].all():
        raise FormatError("the frequencies of the coded symbols do not add up; the block was changed")
    start = np.cumsum(table, axis=1, dtype=np.uint16) - table
    lookup = np.zeros((n_contexts, TOTAL), np.uint8)
    for c in np.flatnonzero(total):
        lookup[c] = np.repeat(np.arange(256, dtype=np.uint8), table[c])
    words = np.frombuffer(packed_words, "<u2").astype(np.uint16)
    symbol = np.empty(context.size, np.uint8)
    end, read = _rans_kernels.decode_symbols(words, np.uint64(state), context, table, start, lookup, symbol)
    if end != LOW or read != words.size:
        raise FormatError("the coded symbols do not end where they should; the block was changed")
    return symbol


def check_count(n: int, data: bytes) -> None:
    """Raise `FormatError` if coded data are too short for n symbols, before memory is asked for."""
    if n > PER_WORD * (len(data) // 2 + 1):
        raise FormatError(f"{len(data)} bytes cannot hold {n} values; the block was changed")
