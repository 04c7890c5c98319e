"""The raw chunks of a live run that the store or the reducers still need, and the memory that they take."""

from __future__ import annotations

import collections
import dataclasses

from esteemcore.stream.chunk import Chunk


@dataclasses.dataclass(slots=True, eq=False)
class Entry:
    """A chunk on its way.

    Attributes
    ----------
    first, frames : int
        Number of its first frame in the order of acquisition, and number of frames.
    nbytes : int
        Bytes that the chunk takes while it is in memory.
    time : float
        When it was taken over, in s.
    chunk : Chunk or None
        None once it has left the memory.
    stored : bool
        True when no store needs it (any more).
    wanted : bool
        True as long as the reducers need it.
    """

    first: int
    frames: int
    nbytes: int
    time: float
    chunk: Chunk | None
    stored: bool
    wanted: bool = True


class Backlog:
    """Chunks between the acquisition, the store and the reducers; the caller holds a lock around every call.

    A chunk leaves the memory as soon as it is stored and no longer wanted; when room is needed, as soon as it is
    stored.

    Parameters
    ----------
    limit : int
        Bytes that may wait in memory.
    storing : bool
        Whether there is a store.

    Attributes
    ----------
    acquired, stored, reduced : int
        Frames that were added, given to the store, and given to the reducers.
    memory : int
        Bytes in memory.
    """

    def __init__(self, limit: int, *, storing: bool) -> None:
        self.limit = limit
        self.acquired = self.stored = self.reduced = self.memory = 0
        self._storing = storing
        self._to_store: collections.deque[Entry] = collections.deque()
        self._to_reduce: collections.deque[Entry] = collections.deque()
        self._reducing: Entry | None = None

    def add(self, chunk: Chunk, time: float) -> None:
        """Take a chunk over, at a time in s."""
        entry = Entry(self.acquired, len(chunk), chunk.nbytes, time, chunk, stored=not self._storing)
        self.acquired += entry.frames
        self.memory += entry.nbytes
        if self._storing:
            self._to_store.append(entry)
        self._to_reduce.append(entry)

    def next_to_store(self) -> Entry | None:
        """Return the oldest chunk that is not stored; it stays in the queue until `mark_stored`."""
        return self._to_store[0] if self._to_store else None

    def mark_stored(self) -> None:
        """Note that the oldest chunk that was not stored is stored now."""
        entry = self._to_store.popleft()
        entry.stored = True
        self.stored += entry.frames
        self._release_if_done(entry)

    def next_to_reduce(self) -> Entry | None:
        """Take the oldest chunk that is not reduced; its chunk, if in memory, stays there until `mark_reduced`."""
        self._reducing = self._to_reduce.popleft() if self._to_reduce else None
        return self._reducing

    def mark_reduced(self) -> None:
        """Note that the chunk that `next_to_reduce` took is reduced now."""
        entry, self._reducing = self._reducing, None
        if entry is not None:
            self.reduced += entry.frames
            entry.wanted = False
            self._release_if_done(entry)

    def stop_reducing(self) -> None:
        """Note that no reducer wants the waiting chunks."""
        while self._to_reduce:
            entry = self._to_reduce.popleft()
            entry.wanted = False
            self._release_if_done(entry)

    def make_room(self) -> bool:
        """Take stored chunks out of the memory, newest first, because the reducers want the oldest next.

        Returns
        -------
        bool
            False if more than `limit` remains, because it is not stored yet or cannot be.
        """
        if self.memory > self.limit and self._storing:
            for entry in reversed(self._to_reduce):
                if entry.stored:
                    self._release(entry)
                if self.memory <= self.limit:
                    break
        return self.memory <= self.limit

    @property
    def oldest(self) -> Entry | None:
        """The oldest chunk that is not in the results."""
        return self._reducing or (self._to_reduce[0] if self._to_reduce else None)

    @property
    def unsaved(self) -> list[Chunk]:
        """Chunks that the store has not taken, in order; they are always in memory."""
        return [entry.chunk for entry in self._to_store if entry.chunk is not None]

    def _release_if_done(self, entry: Entry) -> None:
        if entry.stored and not entry.wanted:
            self._release(entry)

    def _release(self, entry: Entry) -> None:
        if entry.chunk is not None:
            entry.chunk = None
            self.memory -= entry.nbytes
