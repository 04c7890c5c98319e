"""A series written by a thread of its own, so that the acquisition never waits for the disk."""

from __future__ import annotations

import atexit
import collections
import dataclasses
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from esteemcore._core import checks
from esteemcore._core.errors import StreamError
from esteemcore.events import SparseSI
from esteemcore.io.series import SeriesWriter
from esteemcore.io.writing import EndsWith

_at_work: weakref.WeakSet[SeriesRecorder] = weakref.WeakSet()
"""Recorders whose frames are not all on disk."""


@atexit.register
def _finish_all() -> None:
    """Write what waits when Python ends, which would end the threads that write."""
    for recorder in list(_at_work):
        try:
            recorder.finish()
        except StreamError as error:
            sys.stderr.write(f"{error}\n")


@dataclasses.dataclass(frozen=True, slots=True)
class SeriesStatus:
    """Where a recorder stands.

    Attributes
    ----------
    taken, stored : int
        Frames taken over, and durable on disk.
    pending_frames, pending_bytes : int
        Frames that wait in memory, the one that is being written included, and their size.
    """

    taken: int
    stored: int
    pending_frames: int
    pending_bytes: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PendingFrame:
    """A frame on its way: what `SeriesWriter.append` takes.

    Attributes
    ----------
    values : dict
        One frame of every signal.
    known : dict
        Time, energy offset, tilt and displacement.
    nbytes : int
        Bytes in memory.
    """

    values: dict[str, Any]
    known: dict[str, Any]
    nbytes: int


class SeriesRecorder(EndsWith):
    """Write the frames of an acquisition without ever making it wait.

    `put` takes a frame over and returns at once; a thread gives the frames to the writer. When more wait than
    ``memory_bytes``, or the disk refuses, `put` still takes the frame, then raises `StreamError`, so that the
    acquisition stops cleanly with nothing lost (as `esteemcore.stream.LiveRunner` does). If it goes on nevertheless,
    frames are refused as soon as twice ``memory_bytes`` would wait. A frame that the writer cannot store though the
    disk is well is set aside; those after it are stored.

    All methods may be called from any thread. Ctrl-C ends the waiting in `finish`, not the writing: call it again.
    When Python ends, what still waits is written.

    Parameters
    ----------
    writer : SeriesWriter
        Where the frames go; closed by `finish`.
    memory_bytes : int
        Frames that may wait in memory.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from esteemcore import io
    >>> path = tempfile.mkdtemp() + "/series.esteem"
    >>> writer = io.SeriesWriter(path, {"adf": io.SeriesSignal((8, 8), np.float32)})
    >>> with io.SeriesRecorder(writer) as recorder:
    ...     for i in range(3):
    ...         recorder.put({"adf": np.full((8, 8), i, np.float32)}, time_s=0.1 * i)
    >>> recorder.status.stored
    3
    """

    def __init__(self, writer: SeriesWriter, *, memory_bytes: int = 512 * 2**20) -> None:
        self.writer = writer
        self._limit = checks.integer("memory_bytes", memory_bytes, minimum=1)
        self._waiting: collections.deque[PendingFrame] = collections.deque()
        self._aside: list[PendingFrame] = []
        self._bytes = self._taken = self._stored = 0
        self._changed = threading.Condition()  # holds the five above and the flags below
        self._ending = self._full = False
        self._overflow = ""
        self._error: BaseException | None = None
        self._finishing = threading.Lock()  # one thread at a time waits for the end
        self._thread = threading.Thread(target=self._loop, name="esteem-series", daemon=True)
        self._thread.start()
        _at_work.add(self)

    @property
    def status(self) -> SeriesStatus:
        """Where it stands now."""
        with self._changed:
            return SeriesStatus(self._taken, self._stored, len(self._waiting) + len(self._aside), self._bytes)

    @property
    def unsaved(self) -> list[PendingFrame]:
        """Frames that the writer has not taken, in order: what to save elsewhere when the disk stays full."""
        with self._changed:
            return [*self._aside, *self._waiting]

    def put(
        self,
        frame: Mapping[str, Any],
        *,
        time_s: float | None = None,
        energy_offset_ev: float | None = None,
        tilt_deg: Sequence[float] | None = None,
        displacement_px: Sequence[float] | None = None,
        copy: bool = True,
    ) -> None:
        """Take a frame over; never waits for the disk. For the parameters see `SeriesWriter.append`.

        Parameters
        ----------
        copy : bool
            Copy the values, so that the caller may use its buffers again (default).

        Raises
        ------
        ParameterError
            If the frame does not fit what was announced; it is not taken.
        StreamError
            If the acquisition must stop: the disk cannot follow or refuses. This frame is still taken, unless the
            recording has ended or twice the memory that is allowed would be filled.
        """
        known: dict[str, Any] = {
            "time_s": time_s,
            "energy_offset_ev": energy_offset_ev,
            "tilt_deg": tilt_deg,
            "displacement_px": displacement_px,
        }
        self.writer.row(**known)
        values = self.writer.check(frame)
        if copy:
            values = {name: _copied(value) for name, value in values.items()}
        pending = PendingFrame(values, known, sum(map(_nbytes, values.values())))
        with self._changed:
            if self._ending:
                raise StreamError("this recording has ended; start a new one for more frames")
            self._full = self._full or (bool(self._bytes) and self._bytes + pending.nbytes > 2 * self._limit)
            if self._full:  # from now on: no later frame without this one
                raise StreamError(
                    f"this frame is not taken: {self._bytes / 1e6:,.1f} MB wait in memory and the acquisition was not "
                    "stopped when it should have been; stop it and call finish()"
                ) from self._error
            self._waiting.append(pending)
            self._bytes += pending.nbytes
            self._taken += 1
            if self._bytes > self._limit and not self._overflow:
                self._overflow = (
                    f"the disk cannot follow: {self._bytes / 1e6:,.1f} MB of frames wait in memory, "
                    f"{self._limit / 1e6:,.1f} MB are allowed; stop the acquisition, nothing acquired is lost; use a "
                    "faster disk, fewer frames per second or more memory"
                )
            self._changed.notify_all()
            if self._error is not None:
                raise self._failed() from self._error
            if self._overflow:
                raise StreamError(self._overflow)

    def finish(self) -> None:
        """Wait until every frame is on disk and close the file; frames that failed are tried once more.

        Raises
        ------
        StreamError
            If the disk still refuses, or a frame cannot be stored: they are in `unsaved`, and it can be called again.
        """
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        with self._finishing:
            self._thread.join()
            with self._changed:
                again, self._error = bool(self._waiting or self._aside), None
                self._waiting.extendleft(reversed(self._aside))
                self._aside.clear()
            if again:  # not in this thread, which Ctrl-C may interrupt between the disk and the counting
                self._thread = threading.Thread(target=self._write_waiting, name="esteem-series", daemon=True)
                self._thread.start()
                self._thread.join()
            if self._error is not None:
                raise self._failed() from self._error
            self.writer.close()
            _at_work.discard(self)

    def _end(self) -> None:
        self.finish()

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ending:
                    self._changed.wait()
                if not self._waiting:
                    return
            if not self._write_waiting():
                return

    def _write_waiting(self) -> bool:
        """Give the waiting frames to the writer, the oldest first; each stays in memory until it is durable.

        Returns
        -------
        bool
            False if the disk refuses.
        """
        while True:
            with self._changed:
                if not self._waiting:
                    return True
                pending = self._waiting[0]
            error: BaseException | None = None
            try:
                self.writer.append(pending.values, **pending.known)
            except BaseException as failure:  # whatever it is, nobody may think that all is stored
                error = failure
            with self._changed:
                if error is not None:
                    self._error = error
                    if not self._is_of_the_frame(error):
                        return False
                    self._aside.append(self._waiting.popleft())
                    continue
                self._waiting.popleft()
                self._bytes -= pending.nbytes
                self._stored += 1
                self._changed.notify_all()

    def _is_of_the_frame(self, error: BaseException) -> bool:
        """Tell whether the frame is to blame, and not the disk, the memory or a closed file."""
        kinds = (OSError, MemoryError)
        blameless = isinstance(error, kinds) or isinstance(error.__cause__, kinds) or self.writer.closed
        return isinstance(error, Exception) and not blameless

    def _failed(self) -> StreamError:
        aside = f" ({len(self._aside)} of them for what is in them)" if self._aside else ""
        return StreamError(
            f"frames cannot be stored ({self._error}); {self._stored} of {self._taken} are on disk, the others{aside} "
            "wait in memory: remove the cause and call finish() again, or save .unsaved elsewhere"
        )


def _copied(value: Any) -> Any:
    """Return values that share no memory with what was given."""
    if isinstance(value, SparseSI):
        return dataclasses.replace(
            value, offset=value.offset.copy(), channel=value.channel.copy(), count=value.count.copy()
        )
    return np.array(value)


def _nbytes(value: Any) -> int:
    if isinstance(value, SparseSI):
        return value.offset.nbytes + value.channel.nbytes + value.count.nbytes
    return int(value.nbytes)
