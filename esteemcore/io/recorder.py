"""A series written by a thread of its own, so that the acquisition never waits for the disk."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from esteemcore._core import checks
from esteemcore._core.errors import StreamError
from esteemcore.events import SparseSI
from esteemcore.io.series import SeriesWriter


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
        Time, energy offset and tilt.
    nbytes : int
        Bytes in memory.
    """

    values: dict[str, Any]
    known: dict[str, Any]
    nbytes: int


class SeriesRecorder:
    """Write the frames of an acquisition without ever making it wait.

    `put` takes a frame over and returns at once; a thread gives the frames to the writer. When more wait than
    ``memory_bytes``, or the disk refuses, `put` still takes the frame, then raises `StreamError`, so that the
    acquisition stops cleanly with nothing lost (as `esteemcore.stream.LiveRunner` does).

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
        self._bytes = self._taken = self._stored = 0
        self._changed = threading.Condition()  # holds the four above and the flags below
        self._ending = False
        self._overflow = ""
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._loop, name="esteem-series", daemon=True)
        self._thread.start()

    @property
    def status(self) -> SeriesStatus:
        """Where it stands now."""
        with self._changed:
            return SeriesStatus(self._taken, self._stored, len(self._waiting), self._bytes)

    @property
    def unsaved(self) -> list[PendingFrame]:
        """Frames that the writer has not taken, in order: what to save elsewhere when the disk stays full."""
        with self._changed:
            return list(self._waiting)

    def put(
        self,
        frame: Mapping[str, Any],
        *,
        time_s: float | None = None,
        energy_offset_ev: float | None = None,
        tilt_deg: Sequence[float] | None = None,
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
            recording has ended.
        """
        known: dict[str, Any] = {"time_s": time_s, "energy_offset_ev": energy_offset_ev, "tilt_deg": tilt_deg}
        self.writer.row(**known)
        values = self.writer.check(frame)
        if copy:
            values = {name: _copied(value) for name, value in values.items()}
        pending = PendingFrame(values, known, sum(map(_nbytes, values.values())))
        with self._changed:
            if self._ending:
                raise StreamError("this recording has ended; start a new one for more frames")
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
            If the disk still refuses: the frames are in `unsaved`, and it can be called again.
        """
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join()
        with self._changed:
            self._error = None
        self._write_waiting()
        if self._error is not None:
            raise self._failed() from self._error
        self.writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.finish()
        except StreamError as failure:
            if error is None:
                raise
            error.add_note(str(failure))

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ending:
                    self._changed.wait()
                if not self._waiting:
                    return
            self._write_waiting()
            if self._error is not None:
                return

    def _write_waiting(self) -> None:
        """Give the waiting frames to the writer, the oldest first; each stays in memory until it is durable."""
        while True:
            with self._changed:
                if not self._waiting:
                    return
                pending = self._waiting[0]
            try:
                self.writer.append(pending.values, **pending.known)
            except BaseException as error:  # whatever it is, nobody may think that all is stored
                with self._changed:
                    self._error = error
                return
            with self._changed:
                self._waiting.popleft()
                self._bytes -= pending.nbytes
                self._stored += 1
                self._changed.notify_all()

    def _failed(self) -> StreamError:
        return StreamError(
            f"frames cannot be stored ({self._error}); {self._stored} of {self._taken} are on disk, the others wait in "
            "memory: remove the cause and call finish() again, or save .unsaved elsewhere"
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
