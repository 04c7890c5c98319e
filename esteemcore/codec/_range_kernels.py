"""Adaptive binary range coder in whole numbers, and whole numbers of any size coded with it.

The coder keeps an interval ``[low, high]`` of 32 bits and splits it in proportion to the probability of a one; equal
leading bytes are final and leave. Probabilities have 16 bits; each context counts how often it was used and learns with
the rate 1/(n + 1.6), so that the first values are learnt fast and later ones are averaged over ``2**8`` uses.

A model is an int64 array (contexts, 2): probability of a one, times 65536, and number of uses.
"""

from __future__ import annotations

import numpy as np
from numba import njit

USES = 255
"""Uses of a context after which it learns no slower."""

RATE = np.array([int(65536 / (n + 1.6)) for n in range(USES + 1)], np.int64)
"""Learning rate after n uses, times 65536."""

LOWEST, HIGHEST = 24, 65536 - 24
"""Bounds of a probability, times 65536: nothing is ever impossible."""

NUMBER = 64 + 64 * 8
"""Contexts that a model needs for one kind of whole numbers: see `put_number`."""


@njit(cache=True, nogil=True)
def new_model(contexts):
    """Return a model that knows nothing."""
    model = np.empty((contexts, 2), np.int64)
    model[:, 0] = 32768
    model[:, 1] = 0
    return model


@njit(cache=True, nogil=True)
def put_bit(low, high, at, out, model, context, bit):
    """Code one bit; returns the new interval and place. ``out`` needs 4 bytes more than are written."""
    p = model[context, 0]
    uses = model[context, 1]
    width = high - low
    middle = low + (width >> 16) * p + (((width & 65535) * p) >> 16)
    if bit:
        high = middle
        p += ((65536 - p) * RATE[uses]) >> 16
    else:
        low = middle + 1
        p -= (p * RATE[uses]) >> 16
    model[context, 0] = min(max(p, LOWEST), HIGHEST)
    model[context, 1] = min(uses + 1, USES)
    while (low ^ high) < 16777216:
        out[at] = high >> 24
        at += 1
        low = (low & 16777215) << 8
        high = ((high & 16777215) << 8) | 255
    return low, high, at


@njit(cache=True, nogil=True)
def get_bit(low, high, code, at, data, model, context):
    """Decode one bit; returns bit, interval, code and place. Beyond the end of ``data`` come zeros."""
    p = model[context, 0]
    uses = model[context, 1]
    width = high - low
    middle = low + (width >> 16) * p + (((width & 65535) * p) >> 16)
    bit = np.int64(code <= middle)
    if bit:
        high = middle
        p += ((65536 - p) * RATE[uses]) >> 16
    else:
        low = middle + 1
        p -= (p * RATE[uses]) >> 16
    model[context, 0] = min(max(p, LOWEST), HIGHEST)
    model[context, 1] = min(uses + 1, USES)
    while (low ^ high) < 16777216:
        low = (low & 16777215) << 8
        high = ((high & 16777215) << 8) | 255
        code = (code & 16777215) << 8
        if at < data.size:
            code |= np.int64(data[at])
        at += 1
    return bit, low, high, code, at


@njit(cache=True, nogil=True)
def start(data):
    """Return interval, code and place with which decoding begins."""
    code = np.int64(0)
    for i in range(4):
        code <<= 8
        if i < data.size:
            code |= np.int64(data[i])
    return np.int64(0), np.int64(4294967295), code, np.int64(4)


@njit(cache=True, nogil=True)
def finish(low, high, at, out):
    """Write what is needed to end in the interval when zeros follow; returns the place after the last byte."""
    if low > 0:
        out[at] = (low >> 24) + 1
        at += 1
    return at


@njit(cache=True, nogil=True)
def put_number(low, high, at, out, model, near, value):
    """Code a whole number of up to 62 bits: its length in unary given ``near`` (0 to 7), its bits after the first.

    The length and the two bits after the first one are learnt; the others are taken as they come.
    Model: 64 contexts for the upper bits, 8 x 64 for the length (`NUMBER`).
    """
    length = 0
    while (value >> length) > 0:
        length += 1
    for i in range(length):
        low, high, at = put_bit(low, high, at, out, model, 64 + 64 * near + i, 1)
    low, high, at = put_bit(low, high, at, out, model, 64 + 64 * near + length, 0)
    for i in range(length - 2, -1, -1):
        bit = (value >> i) & 1
        if i >= length - 3 and length < 16:
            context = 4 * length + (0 if i == length - 2 else 1 + (value >> (i + 1) & 1))
            low, high, at = put_bit(low, high, at, out, model, context, bit)
        else:
            low, high, at = put_even(low, high, at, out, bit)
    return low, high, at


@njit(cache=True, nogil=True)
def get_number(low, high, code, at, data, model, near):
    """Decode what `put_number` coded; -1 in place of the value when it is no number of up to 62 bits."""
    length = 0
    while True:
        bit, low, high, code, at = get_bit(low, high, code, at, data, model, 64 + 64 * near + length)
        if bit == 0:
            break
        length += 1
        if length > 62:
            return np.int64(-1), low, high, code, at
    value = np.int64(length > 0)
    for i in range(length - 2, -1, -1):
        if i >= length - 3 and length < 16:
            context = 4 * length + (0 if i == length - 2 else 1 + (value & 1))
            bit, low, high, code, at = get_bit(low, high, code, at, data, model, context)
        else:
            bit, low, high, code, at = get_even(low, high, code, at, data)
        value = (value << 1) | bit
    return value, low, high, code, at


@njit(cache=True, nogil=True)
def put_even(low, high, at, out, bit):
    """Code one bit that is one half of the time, without a model."""
    middle = low + ((high - low) >> 1)
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) < 16777216:
        out[at] = high >> 24
        at += 1
        low = (low & 16777215) << 8
        high = ((high & 16777215) << 8) | 255
    return low, high, at


@njit(cache=True, nogil=True)
def get_even(low, high, code, at, data):
    """Decode what `put_even` coded."""
    middle = low + ((high - low) >> 1)
    bit = np.int64(code <= middle)
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) < 16777216:
        low = (low & 16777215) << 8
        high = ((high & 16777215) << 8) | 255
        code = (code & 16777215) << 8
        if at < data.size:
            code |= np.int64(data[at])
        at += 1
    return bit, low, high, code, at


@njit(cache=True, nogil=True)
def put_table(table, out):
    """Code a table of whole numbers (rows, columns) row by row, each column with a model of its own.

    A number is coded given the length of the one above it. Returns the number of bytes; ``out`` needs 20 per number.
    """
    rows, columns = table.shape
    models = np.empty((columns, NUMBER, 2), np.int64)
    models[:, :, 0] = 32768
    models[:, :, 1] = 0
    near = np.zeros(columns, np.int64)
    low, high, at = np.int64(0), np.int64(4294967295), np.int64(0)
    for r in range(rows):
        for c in range(columns):
            low, high, at = put_number(low, high, at, out, models[c], near[c], table[r, c])
            near[c] = nearness(table[r, c])
    return finish(low, high, at, out)


@njit(cache=True, nogil=True)
def get_table(data, table):
    """Decode what `put_table` coded into ``table``; returns False when it is damaged."""
    rows, columns = table.shape
    models = np.empty((columns, NUMBER, 2), np.int64)
    models[:, :, 0] = 32768
    models[:, :, 1] = 0
    near = np.zeros(columns, np.int64)
    low, high, code, at = start(data)
    for r in range(rows):
        for c in range(columns):
            value, low, high, code, at = get_number(low, high, code, at, data, models[c], near[c])
            if value < 0 or at > data.size + 8:
                return False
            table[r, c] = value
            near[c] = nearness(value)
    return True


@njit(cache=True, nogil=True)
def nearness(value):
    """Return the class of a number under which the next one is learnt: 0 for 0, one more for each factor of four."""
    near = np.int64(0)
    while value > 0 and near < 7:
        value >>= 2
        near += 1
    return near
