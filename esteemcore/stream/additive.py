"""Reducers whose state is a set of sums: what all of them share."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.stream.chunk import Chunk
from esteemcore.stream.spec import Spec


@dataclasses.dataclass
class Sums:
    """State of an additive reducer: named sums, every one of which starts at zero.

    Attributes
    ----------
    spec : Spec
        The stream that is summed.
    arrays : dict of ndarray
        The sums; ``arrays["visits"]`` (uint32, one per scan position) is in all of them.
    """

    spec: Spec
    arrays: dict[str, NDArray[Any]]

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the sum of that name."""
        return self.arrays[name]


class AdditiveReducer(abc.ABC):
    """Base of reducers that only add: gives ``init``, ``merge``, ``dump`` and ``load``; children add and conclude.

    Children write ``zeros(spec)`` (the arrays beside the visits), ``add(state, chunk)`` and ``result(state)``.
    """

    @abc.abstractmethod
    def zeros(self, spec: Spec) -> dict[str, NDArray[Any]]:
        """Return the sums before the first chunk."""

    @abc.abstractmethod
    def add(self, state: Sums, chunk: Chunk) -> None:
        """Add the frames of a checked chunk; its visits are counted already."""

    def init(self, spec: Spec) -> Sums:
        """Return the state before the first chunk."""
        return Sums(spec, {"visits": np.zeros(spec.positions, np.uint32), **self.zeros(spec)})

    def update(self, state: Sums, chunk: Chunk) -> None:
        """Add a chunk to the state, in place."""
        chunk.check(state.spec)
        np.add.at(state["visits"], chunk.index, np.uint32(1))
        self.add(state, chunk)

    def merge(self, state: Sums, other: Sums) -> Sums:
        """Return the state of the frames of both."""
        if state.spec != other.spec:
            raise ParameterError(f"states of different streams cannot be merged: {state.spec} and {other.spec}")
        return Sums(state.spec, {name: add_widening(state[name], other[name]) for name in state.arrays})

    def dump(self, state: Sums) -> dict[str, NDArray[Any]]:
        """Return the state as named arrays."""
        return {name: array.copy() for name, array in state.arrays.items()}

    def load(self, spec: Spec, dump: Mapping[str, NDArray[Any]]) -> Sums:
        """Return the state that `dump` wrote."""
        fresh = self.init(spec)
        for name, expected in fresh.arrays.items():
            if name not in dump or np.shape(dump[name]) != expected.shape:
                raise ParameterError(
                    f"the dumped state has {name!r} of shape {np.shape(dump[name]) if name in dump else None}; "
                    f"this reducer and stream need {expected.shape}"
                )
        return Sums(spec, {name: np.array(dump[name]) for name in fresh.arrays})


def add_widening(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return ``a + b`` in a dtype that holds it: unsigned integers widen before they overflow."""
    dtype = np.result_type(a, b)
    if dtype.kind == "u" and dtype.itemsize < 8 and a.size:
        top = int(a.max()) + int(b.max())
        while top > np.iinfo(dtype).max:
            dtype = np.dtype(f"u{2 * dtype.itemsize}")
    total: NDArray[Any] = np.add(a, b, dtype=dtype)
    return total
