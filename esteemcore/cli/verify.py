"""Decode every value of a container that was just written and compare it with what it was made of."""

from __future__ import annotations

import math

from tqdm import tqdm

from esteemcore import io
from esteemcore.io.compare import Difference, compare


def verify_copy(original: io.Dataset, copy: io.Dataset) -> dict[str, Difference]:
    """Return how far each signal of a copy is from the original, with a bar on stderr.

    Raises
    ------
    FormatError
        If a block cannot be read.
    """
    total = sum(math.prod(map(int, signal.data.shape)) for signal in original.signals.values())
    with tqdm(total=total, unit=" values", desc="comparing", unit_scale=True, leave=False) as bar:
        return {
            name: compare(signal, copy.signals[name], name, bar.update) for name, signal in original.signals.items()
        }
