"""Compiled loops of the range asymmetric numeral system: symbols to 16-bit words and back."""

from __future__ import annotations

import numpy as np
from numba import njit

BITS = 12
"""Frequencies of a context add up to ``2**BITS``."""
LOW = 1 << 16
"""The state is in ``[LOW, LOW * 2**16)`` between two symbols."""


@njit(cache=True, nogil=True)
def encode_symbols(symbol, context, frequency, start, words):
    """Write words (from the end of ``words`` backwards) and return (state, first place used).

    Symbols are taken from last to first, so that `decode_symbols` gives them from first to last. At most one word is
    written per symbol; ``frequency`` and ``start`` are (contexts, 256).
    """
    state = np.uint64(LOW)
    at = words.shape[0]
    for i in range(symbol.shape[0] - 1, -1, -1):
        f = np.uint64(frequency[context[i], symbol[i]])
        if state >= f << np.uint64(32 - BITS):
            at -= 1
            words[at] = np.uint16(state & np.uint64(0xFFFF))
            state >>= np.uint64(16)
        state = ((state // f) << np.uint64(BITS)) + state % f + np.uint64(start[context[i], symbol[i]])
    return state, at


@njit(cache=True, nogil=True)
def decode_symbols(words, state, context, frequency, start, lookup, symbol):
    """Write the symbols and return (state, words read); (0, -1) when the words end too early.

    ``lookup`` (contexts, 2**BITS) is the symbol at each place of the cumulated frequencies.
    """
    x = np.uint64(state)
    mask = np.uint64((1 << BITS) - 1)
    at = 0
    for i in range(symbol.shape[0]):
        c = context[i]
        place = x & mask
        s = lookup[c, np.int64(place)]
        symbol[i] = s
        x = np.uint64(frequency[c, s]) * (x >> np.uint64(BITS)) + place - np.uint64(start[c, s])
        if x < np.uint64(LOW):
            if at >= words.shape[0]:
                return np.uint64(0), -1
            x = (x << np.uint64(16)) | np.uint64(words[at])
            at += 1
    return x, at
