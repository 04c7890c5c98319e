"""Raw frames to disk as they come: what is committed survives a crash, a full disk and a pulled plug."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError, StreamError
from esteemcore.io import container, durable
from esteemcore.io.chunk_codecs import BINARY, LOSSLESS, ZSTD, ChunkCodec, chunk_codec
from esteemcore.io.dataset import ScanRecord
from esteemcore.io.frame_files import FrameFiles
from esteemcore.io.framelist import FrameList
from esteemcore.io.writing import OpenContainer
from esteemcore.stream import Chunk, Spec

BLOCK_BYTES = 8 * 2**20
"""Raw bytes of a block when the user gives no number of frames: few enough to lose little, enough to sync seldom."""


class Writer(OpenContainer):
    """A container that takes raw frames in visit order, from an acquisition that may end at any moment.

    Frames are gathered into blocks. A full block is compressed, written under a temporary name, made durable, renamed,
    and only then counted: the length of the frames array, replaced in one step, is what is committed. Readers see
    whole frames only, whenever the process dies. It is a `esteemcore.stream.ChunkStore`: one thread may append while
    another one reads back.

    Parameters
    ----------
    path : str or Path
        Folder to make, ``*.esteem`` or ``*.zarr``.
    spec : Spec
        What will come.
    scan : ScanRecord, optional
        Step, dwell and flyback times of the scan; its order comes with the chunks.
    geometry : mapping or dataclass, optional
        What is known of `esteemcore.fourd.Geometry`.
    metadata : mapping, optional
        Instrument, specimen, people, ...
    name : str
        Name of the signal.
    block : int, optional
        Frames in a block. Default: as many as make 8 MB.
    codec : str, mapping or codec
        ``"zstd"`` (default, the fastest), ``"esteem.lossless"``, or ``"esteem.binary-frames"`` for packed frames, in
        which files are a third to a half smaller. Nothing is lost in any of them.
    commit_every_s : float
        A block that fills slowly is committed part-filled by the first append after this time in s.
    overwrite : bool
        Replace a container that is there already.

    Raises
    ------
    ParameterError
        If the name cannot be used.
    StreamError
        If the disk refuses.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from esteemcore import io, stream
    >>> spec = stream.Spec((8, 8), (16, 16), np.uint8)
    >>> path = tempfile.mkdtemp() + "/scan.esteem"
    >>> with io.Writer(path, spec) as writer:
    ...     writer.append(stream.Chunk([5, 3], np.ones((2, 16, 16), np.uint8)))
    >>> io.load(path).scan.index
    array([5, 3])
    """

    _files: FrameFiles

    def __init__(
        self,
        path: str | Path,
        spec: Spec,
        *,
        scan: ScanRecord | None = None,
        geometry: Any = None,
        metadata: Mapping[str, Any] | None = None,
        name: str = "frames",
        block: int | None = None,
        codec: Any = ZSTD,
        commit_every_s: float = 5.0,
        overwrite: bool = False,
    ) -> None:
        super().__init__()
        self.path = container.check_path(path)
        self.spec = spec
        if scan is not None and scan.shape != spec.scan_shape:
            raise ParameterError(f"the scan has shape {scan.shape}, but the stream announced {spec.scan_shape}")
        dtype = spec.dtype.newbyteorder("=")
        if block is None:
            frame_bytes = math.prod(spec.stored_shape) * dtype.itemsize
            block = min(max(BLOCK_BYTES // frame_bytes, 1), 4096)
        self.block = checks.integer("block", block, minimum=1)
        if metadata is not None and not isinstance(metadata, Mapping):
            raise ParameterError(f"metadata are {metadata!r}; expected entries by name")
        self._every = checks.not_negative("commit_every_s", commit_every_s, "s")
        self._files = FrameFiles(
            self.path,
            container.check_name(name),
            spec,
            self.block,
            scan or ScanRecord(spec.scan_shape),
            container.geometry_entries(geometry),
            metadata or {},
            self._codec_of(codec, spec),
        )
        self._current, self._other = (FrameList.empty(self.block, spec.stored_shape, dtype) for _ in range(2))
        self._fill = self._first = 0  # frames in the current block, and before it
        self._last_commit = time.monotonic()
        self._state = threading.Lock()  # the current block, the two numbers above and how many are committed
        self._files.create(overwrite)

    @staticmethod
    def _codec_of(codec: Any, spec: Spec) -> ChunkCodec:
        """Return the codec of the frames, checked."""
        found = chunk_codec(codec)
        if found.name not in (ZSTD, LOSSLESS, BINARY) or (found.name == BINARY and not spec.packed):
            kind = "packed" if spec.packed else "dense"
            raise ParameterError(
                f"frames that come are stored with {ZSTD!r} or {LOSSLESS!r}, packed ones also with {BINARY!r}, not "
                f"{kind} ones with {found.name!r}; give another codec to io.save afterwards"
            )
        return found

    # what is asked -----------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Number of frames that are taken but still in memory."""
        with self._state:
            return self._first + self._fill - self._committed

    def read(self, start: int, stop: int) -> Iterator[Chunk]:
        """Yield frames in the order in which they were appended, committed or not.

        Parameters
        ----------
        start, stop : int
            First frame, and the one after the last.
        """
        with self._state:
            total = self._first + self._fill
        if not 0 <= start <= stop <= total:
            raise ParameterError(f"frames {start} to {stop} are asked for, but there are {total}")
        while start < stop:
            number, inside = divmod(start, self.block)
            count = min(stop - start, self.block - inside)
            yield from self._part(number, slice(inside, inside + count)).chunks(self.spec.scan_shape[1])
            start += count

    # what is told ------------------------------------------------------------------------------------------------

    def append(self, chunk: Chunk) -> None:
        """Take frames over; all full blocks are durable when it returns.

        Raises
        ------
        ParameterError
            If the chunk does not fit what was announced; it is not taken.
        StreamError
            If the disk is full or refuses. The chunk is not taken, what was committed and what is pending stay whole,
            and the same chunk can be appended again once there is room.
        """
        chunk.check(self.spec)
        frames = self._frames_of(chunk)
        with self._busy:
            self._check_open()
            if self._every <= time.monotonic() - self._last_commit:
                self._commit_rest()
            n, done = len(chunk), 0
            new = FrameList.of_chunk(chunk, frames)
            first, current, fill = self._first, self._current, self._fill
            try:
                while fill + (n - done) >= self.block:
                    take = self.block - fill
                    current.put(fill, new.part(slice(done, done + take)))
                    self._files.write_block(first // self.block, current)
                    first, done, fill, current = first + self.block, done + take, 0, self._other
                if done:
                    self._commit(first)
            except OSError as error:
                raise self._failure(error) from error
            current.put(fill, new.part(slice(done, n)))
            with self._state:
                if current is self._other:
                    self._current, self._other = self._other, self._current
                self._first, self._fill = first, fill + n - done
                self._committed = max(self._committed, first)

    def flush(self) -> None:
        """Commit all frames that were appended, a part-filled block too.

        Raises
        ------
        StreamError
            If the disk is full or refuses; nothing is lost, and it can be called again.
        """
        with self._busy:
            self._check_open()
            self._commit_rest()

    # frames ------------------------------------------------------------------------------------------------------

    def _frames_of(self, chunk: Chunk) -> NDArray[Any]:
        """Return the frames of a chunk; events become packed bits."""
        if chunk.frames is not None:
            return chunk.frames
        events = chunk.events
        if events is None or not self.spec.packed:
            raise ParameterError(
                f"this file stores frames of {self.spec.dtype}, but the chunk holds events; write them to a packed "
                "one-bit file, or turn them into frames first (EventTable.to_frames)"
            )
        if events.count.size and events.count.max() > 1:
            raise ParameterError(
                f"a pixel has {events.count.max()} electrons, which one bit cannot hold; write counting frames instead"
            )
        packed = np.zeros((len(events), *self.spec.stored_shape), np.uint8)
        frame = np.repeat(np.arange(len(events)), np.diff(events.offset))
        row, column = np.divmod(events.pixel, np.uint32(self.spec.frame_shape[1]))
        np.bitwise_or.at(packed, (frame, row, column >> 3), np.left_shift(1, column & 7).astype(np.uint8))
        return packed

    def _part(self, number: int, part: slice) -> FrameList:
        """Return frames of a block: a copy of the memory, or from the file, which never changes once it is full."""
        with self._state:
            if number * self.block >= self._first:
                return self._current.part(part).copy()
        return self._files.read_block(number).part(part)

    def _commit(self, n: int) -> None:
        self._files.commit(n)
        self._last_commit = time.monotonic()

    def _commit_rest(self) -> None:
        """Commit the block in memory as far as it is filled."""
        total = self._first + self._fill
        if total == self._committed:
            self._last_commit = time.monotonic()
            return
        try:
            self._current.clear(self._fill)
            self._files.write_block(self._first // self.block, self._current)
            self._commit(total)
        except OSError as error:
            raise self._failure(error) from error
        with self._state:
            self._committed = total

    def _failure(self, error: OSError) -> StreamError:
        waiting = f", {self.pending:,} more wait in memory" if self.pending else ""
        return StreamError(
            f"{durable.reason(error)}: {self._committed:,} frames are safe in {self.path}{waiting}; "
            "free space and try again, or choose another folder"
        )
