"""The live driver: raw data first, results as fast as they can follow."""

from __future__ import annotations

import atexit
import collections
import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from esteemcore._core import checks
from esteemcore._core.errors import CancelledError, ParameterError, ReducerError, StreamError
from esteemcore.stream.backlog import Backlog, Entry
from esteemcore.stream.chunk import Chunk
from esteemcore.stream.protocols import ChunkStore, Reducer
from esteemcore.stream.spec import Spec

RATE_S = 2.0
"""Time over which the rate of acquisition is measured, in s."""

Publish = Callable[[dict[str, Any], "LiveStatus"], None]


@dataclasses.dataclass(frozen=True, slots=True)
class LiveStatus:
    """Where a live run stands.

    Attributes
    ----------
    acquired, stored, reduced : int
        Frames taken over, given to the store, and contained in the results.
    lag_frames : int
        Frames acquired but not yet in the results.
    lag_s : float
        Age of the oldest of them, in s.
    frames_per_s : float
        Rate of acquisition over its last two seconds.
    memory_bytes : int
        Raw data held in memory.
    """

    acquired: int
    stored: int
    reduced: int
    lag_frames: int
    lag_s: float
    frames_per_s: float
    memory_bytes: int


class LiveRunner:
    """Feed an acquisition to reducers without ever making it wait.

    `put` takes a chunk over and returns at once. One thread gives the chunks to the store, another one to the
    reducers, each at its own pace. When the raw data in memory exceed ``memory_bytes``, chunks that are stored leave
    the memory and the reducers read them back later. Nothing is dropped: when the store cannot follow either, `put`
    takes the chunk and raises `StreamError`, so that the acquisition stops cleanly, and `finish` still stores all.

    Parameters
    ----------
    reducers : mapping of str to Reducer
        What to make, by name.
    spec : Spec
        What the chunks hold.
    store : ChunkStore or None
        Where the raw frames go. None keeps them in memory only, until they are reduced.
    memory_bytes : int
        Raw data that may wait in memory.
    publish : callable, optional
        Called with (results by name, `LiveStatus`) from the reducing thread.
    publish_interval_s : float
        Shortest time between two calls of ``publish``. Making results takes at most half of the reducing thread.

    Notes
    -----
    An error in a reducer does not stop the storing of raw data nor the other reducers; it is in `errors` at once and
    `finish` raises it as `ReducerError`, with the other results.
    """

    def __init__(
        self,
        reducers: Mapping[str, Reducer[Any, Any]],
        spec: Spec,
        *,
        store: ChunkStore | None,
        memory_bytes: int = 512 * 2**20,
        publish: Publish | None = None,
        publish_interval_s: float = 0.1,
    ) -> None:
        self._reducers = dict(reducers)
        if "publish" in self._reducers:
            raise ParameterError("a reducer cannot be called 'publish', under which errors of the display are kept")
        self._spec = spec
        self._store = store
        self._backlog = Backlog(checks.integer("memory_bytes", memory_bytes, minimum=1), storing=store is not None)
        self._publish = publish
        self._interval = checks.not_negative("publish_interval_s", publish_interval_s, "s")
        self._states = {name: reducer.init(spec) for name, reducer in self._reducers.items()}
        self._state_lock = threading.Lock()
        self._changed = threading.Condition()  # holds the backlog and the flags below
        self._puts: collections.deque[tuple[float, int]] = collections.deque()  # times, and frames so far
        self._closing = self._abandoned = self._finished = False
        self._unshown = False  # only the reducing thread knows
        self._store_error: BaseException | None = None
        self._overflow = ""
        self.errors: dict[str, BaseException] = {}
        self._threads = [
            threading.Thread(target=self._store_loop, name="esteem-store", daemon=True),
            threading.Thread(target=self._reduce_loop, name="esteem-reduce", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self.abort)

    # the acquiring side -----------------------------------------------------------------------------------------

    def put(self, chunk: Chunk, *, copy: bool = True) -> None:
        """Take a chunk over; never waits for the store or for a reducer.

        Parameters
        ----------
        chunk : Chunk
            The next frames, in visit order.
        copy : bool
            Copy the frames, so that the caller may use its buffer again (default).

        Raises
        ------
        ParameterError
            If the chunk does not fit the announced stream; it is not taken.
        StreamError
            If the acquisition must stop: the raw data cannot be stored (any more). This chunk is still taken, unless
            the run has ended.
        """
        chunk.check(self._spec)
        chunk = chunk.copy() if copy else chunk
        with self._changed:
            if self._closing:
                raise StreamError("this run has ended; start a new one for more frames")
            now = time.monotonic()
            self._backlog.add(chunk, now)
            self._puts.append((now, self._backlog.acquired))
            while len(self._puts) > 2 and self._puts[0][0] < now - RATE_S:
                self._puts.popleft()
            if not self._backlog.make_room():
                self._overflow = self._overflow or self._overflowing()
            self._changed.notify_all()
            if self._store_error is not None:
                raise self._storing_failed()
            if self._overflow:
                raise StreamError(self._overflow)

    def finish(self) -> dict[str, Any]:
        """Wait until every frame is stored and reduced, and return the results by name; safe to call again.

        Raises
        ------
        StreamError
            If raw frames could not be stored; `unsaved` still has them and ``error.results`` the results.
        CancelledError
            If the run was aborted.
        ReducerError
            If a reducer failed; ``error.results`` has the results of the others.
        """
        if threading.current_thread() in self._threads:
            raise StreamError("a run cannot wait for itself: call finish from another thread, or abort to stop it")
        self._end()
        self._finished = True
        results = self._results()
        if self._store_error is not None:
            raise self._storing_failed(results) from self._store_error
        if self._abandoned:
            status = self.status
            raise CancelledError(f"the run was stopped after {status.reduced} of {status.acquired} frames were reduced")
        if self.errors:
            error = next(iter(self.errors.values()))
            failed = ", ".join(repr(name) for name in self.errors)
            raise ReducerError(
                f"{failed} failed ({type(error).__name__}: {error}); the raw frames and the other results are whole",
                results,
            ) from error
        return results

    def abort(self) -> None:
        """Stop reducing, but store every frame that was taken over; safe to call again.

        It raises nothing, so that it can stand in a ``finally``: what could not be stored is in `unsaved`.
        """
        self._end(abandon=True)

    def _end(self, *, abandon: bool = False) -> None:
        with self._changed:
            if abandon and (not self._closing or self._backlog.oldest is not None):
                self._abandoned = True
                self._backlog.stop_reducing()
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        atexit.unregister(self.abort)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.abort()
            if self._store_error is not None:
                error.add_note(str(self._storing_failed()))
        elif not self._finished:
            with contextlib.suppress(CancelledError):
                self.finish()

    # the watching side ------------------------------------------------------------------------------------------

    @property
    def status(self) -> LiveStatus:
        """Where the run stands now."""
        with self._changed:
            backlog = self._backlog
            (since, before), (until, acquired) = (self._puts[0], self._puts[-1]) if self._puts else ((0.0, 0),) * 2
            return LiveStatus(
                acquired=backlog.acquired,
                stored=backlog.stored,
                reduced=backlog.reduced,
                lag_frames=backlog.acquired - backlog.reduced,
                lag_s=time.monotonic() - backlog.oldest.time if backlog.oldest is not None else 0.0,
                frames_per_s=(acquired - before) / (until - since) if until > since else 0.0,
                memory_bytes=backlog.memory,
            )

    @property
    def failed(self) -> bool:
        """True once raw frames cannot be stored any more, so that the next `put` raises."""
        with self._changed:
            return self._store_error is not None

    @property
    def unsaved(self) -> list[Chunk]:
        """Chunks that the store has not taken, in order: what to save elsewhere after it failed."""
        with self._changed:
            return self._backlog.unsaved

    def evaluate[T](self, name: str, function: Callable[[Any, Any], T]) -> T:
        """Call ``function(reducer, state)`` between two updates, e.g. to look at a state with another geometry.

        Parameters
        ----------
        name : str
            Name of the reducer.
        function : callable
            Must not change the state, nor call this run.

        Raises
        ------
        ReducerError
            If the reducer has failed, so that its state is not whole.
        """
        if name not in self._reducers:
            raise ParameterError(f"there is no reducer {name!r}; this run has {', '.join(self._reducers)}")
        with self._state_lock:
            if name in self.errors:
                error = self.errors[name]
                raise ReducerError(f"{name!r} failed ({type(error).__name__}: {error})") from error
            return function(self._reducers[name], self._states[name])

    # the threads ------------------------------------------------------------------------------------------------

    def _store_loop(self) -> None:
        store = self._store
        if store is None:
            return
        try:
            while (chunk := self._next_to_store()) is not None:
                store.append(chunk)
                del chunk  # it may leave the memory while this thread waits for the next one
                with self._changed:
                    self._backlog.mark_stored()
                    self._backlog.make_room()
        except BaseException as error:  # whatever ends this thread, nobody may think that all is stored
            self._note_store_error(error)
        try:
            store.flush()
        except BaseException as error:
            self._note_store_error(error)

    def _next_to_store(self) -> Chunk | None:
        """Wait for the next chunk to store; None when there will be no more."""
        with self._changed:
            while (entry := self._backlog.next_to_store()) is None and not self._closing:
                self._changed.wait()
            return entry.chunk if entry is not None else None

    def _note_store_error(self, error: BaseException) -> None:
        with self._changed:
            self._store_error = self._store_error or error

    def _reduce_loop(self) -> None:
        show_at = 0.0
        while True:
            with self._changed:
                while (entry := self._backlog.next_to_reduce()) is None and not self._closing:
                    wait_s = show_at - time.monotonic() if self._unshown else None
                    if wait_s is not None and wait_s <= 0:
                        break
                    self._changed.wait(wait_s)
                if entry is None and self._closing:
                    break
            if entry is not None:
                self._reduce(entry)
                with self._changed:
                    self._backlog.mark_reduced()
                self._unshown = self._publish is not None
            began = time.monotonic()
            if self._unshown and began >= show_at:
                self._show()
                show_at = began + max(self._interval, 2 * (time.monotonic() - began))
        if self._unshown and not self._abandoned:
            self._show()

    def _reduce(self, entry: Entry) -> None:
        """Give a chunk to every reducer that has not failed, from memory or read back from the store."""
        try:
            pieces = [entry.chunk] if entry.chunk is not None else self._read_back(entry)
        except BaseException as error:
            with self._state_lock:
                for name in self._reducers:
                    self.errors.setdefault(name, error)
            return
        with self._state_lock:
            for name, reducer in self._reducers.items():
                if name in self.errors:
                    continue
                try:
                    for piece in pieces:
                        reducer.update(self._states[name], piece)
                except BaseException as error:
                    self.errors[name] = error
        for piece in pieces:
            piece.forget_electrons()

    def _read_back(self, entry: Entry) -> list[Chunk]:
        first, stop = entry.first, entry.first + entry.frames
        pieces = list(self._store.read(first, stop)) if self._store is not None else []
        frames = sum(len(piece) for piece in pieces)
        if frames != entry.frames:
            raise StreamError(f"the store gave {frames} frames back for frames {first} to {stop}")
        return pieces

    def _results(self) -> dict[str, Any]:
        """Return the results of the reducers that have not failed."""
        results = {}
        with self._state_lock:
            for name, reducer in self._reducers.items():
                if name not in self.errors:
                    try:
                        results[name] = reducer.result(self._states[name])
                    except Exception as error:
                        self.errors[name] = error
        return results

    def _show(self) -> None:
        """Publish the results of the reducers that have not failed; a failing publisher is not called again."""
        self._unshown = False
        try:
            results = self._results()
            if self._publish is not None:
                self._publish(results, self.status)
        except BaseException as error:
            self.errors["publish"] = error
            self._publish = None

    # what is said when it cannot go on ---------------------------------------------------------------------------

    def _overflowing(self) -> str:
        if self._store is not None:
            waiting, advice = "the disk cannot follow", "use a faster disk, fewer frames per second or more memory"
        else:
            waiting, advice = (
                "the reducers cannot follow",
                "keep the raw frames in a file, use fewer reducers or more memory",
            )
        memory, limit = self._backlog.memory / 1e6, self._backlog.limit / 1e6
        return (
            f"{waiting}: {memory:,.1f} MB of raw frames wait in memory, {limit:,.1f} MB are allowed; stop the "
            f"acquisition, nothing acquired is lost; {advice}"
        )

    def _storing_failed(self, results: dict[str, Any] | None = None) -> StreamError:
        stored, acquired = self._backlog.stored, self._backlog.acquired
        if stored == acquired:
            what = (
                f"the raw file could not be completed ({self._store_error}); it took all {acquired} frames, but not "
                "all may be on the disk yet: remove the cause and close it again"
            )
        else:
            what = (
                f"raw frames cannot be stored ({self._store_error}); {stored} of {acquired} frames were taken by the "
                "file, the others are still in memory: save them elsewhere before this run is closed"
            )
        return StreamError(what, results)
