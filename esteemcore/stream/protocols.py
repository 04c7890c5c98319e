"""The shapes that every stream part has: sources bring chunks, reducers and trackers make something of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from esteemcore.stream.chunk import Chunk
from esteemcore.stream.spec import Spec


@runtime_checkable
class Source(Protocol):
    """Where chunks come from again and again: picklable, so that it can be sent to where the work is done."""

    @property
    def spec(self) -> Spec:
        """What the chunks hold."""
        ...

    def __len__(self) -> int:
        """Return the number of frames, in visit order."""
        ...

    def chunks(self, start: int = 0, stop: int | None = None, size: int = 1024) -> Iterator[Chunk]:
        """Yield frames ``start`` to ``stop`` of the visit order."""
        ...


class ChunkStore(Protocol):
    """Where raw chunks are kept as they come, e.g. `esteemcore.io.Writer`; used from two threads at once."""

    def append(self, chunk: Chunk) -> None:
        """Keep a chunk behind the ones before it."""
        ...

    def read(self, start: int, stop: int) -> Iterator[Chunk]:
        """Yield frames ``start`` to ``stop``, counted in the order of appending."""
        ...

    def flush(self) -> None:
        """Make everything appended so far durable."""
        ...


class Reducer[State, Result](Protocol):
    """Makes one result of many chunks, whatever their order and size.

    Laws: the order and the size of chunks, and the order of merges, do not matter; ``init`` is the identity of
    ``merge``; ``result`` changes nothing; ``load(spec, dump(state))`` equals ``state``. They hold exactly for integer
    data, and to rounding for real numbers.
    """

    def init(self, spec: Spec) -> State:
        """Return the state before the first chunk."""
        ...

    def update(self, state: State, chunk: Chunk) -> None:
        """Add a chunk to the state, in place; one thread at a time."""
        ...

    def merge(self, state: State, other: State) -> State:
        """Return the state of the frames of both; neither is changed."""
        ...

    def result(self, state: State) -> Result:
        """Return the result of what has come so far."""
        ...

    def dump(self, state: State) -> dict[str, NDArray[Any]]:
        """Return the state as named arrays."""
        ...

    def load(self, spec: Spec, dump: Mapping[str, NDArray[Any]]) -> State:
        """Return the state that `dump` wrote."""
        ...


class Tracker[Result](Protocol):
    """Follows what changes with time, so it needs chunks in the order of visits and cannot be merged."""

    def update(self, chunk: Chunk) -> Result:
        """Take the next chunk and return what is known now."""
        ...
