"""The files of a container that grows: in which order they must appear, so that it is whole at any moment."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore._core import provenance
from esteemcore._core.errors import StreamError
from esteemcore.io import blocks, container, durable, zarr_json
from esteemcore.io.chunk_codecs import ChunkCodec
from esteemcore.io.dataset import Axis, ScanRecord, Signal
from esteemcore.io.framelist import FrameList
from esteemcore.io.stored import StoredArray, block_name
from esteemcore.stream import Spec


class FrameFiles:
    """A container on disk while `Writer` fills it; every method raises OSError when the disk refuses.

    Parameters
    ----------
    path : Path
        Folder to make.
    name : str
        Name of the signal.
    spec : Spec
        What the frames are.
    block : int
        Frames in a block.
    scan : ScanRecord
        Step and times of the scan.
    geometry, metadata : mapping
        For the attributes.
    codec : ChunkCodec
        How blocks of frames become bytes.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        spec: Spec,
        block: int,
        scan: ScanRecord,
        geometry: Mapping[str, Any],
        metadata: Mapping[str, Any],
        codec: ChunkCodec,
    ) -> None:
        self._codec = codec
        self.path, self.name, self.spec, self.block, self.scan = path, name, spec, block, scan
        self.geometry, self.metadata = dict(geometry), dict(metadata)
        self.dtype = spec.dtype.newbyteorder("=")
        self._created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._provenance = provenance.record("io.Writer", {"spec": str(spec), "block": block}).as_dict()
        self._frames_dir, self._scan_dir = path / "signals" / name, path / "scan"
        self._capacity = self._blocks(spec.positions)  # rows of the scan arrays: never fewer than frames
        self._has_position = False
        shape = (block, *spec.stored_shape)
        label = f"signal {name!r}"
        self._frames = StoredArray(self._frames_dir, label, "frames", shape, shape, self.dtype, codec=codec)
        self._columns = [
            StoredArray(self._scan_dir / key, f"scan/{key}", "frames", (block, *more), (block, *more), kind, fill)
            for key, (kind, fill, more) in container.SCAN_ARRAYS.items()
        ]

    def create(self, overwrite: bool) -> None:
        """Make the empty container.

        Raises
        ------
        ParameterError
            If something is there that must stay.
        StreamError
            If the disk refuses; what was there is there again.
        """
        try:
            aside = container.make_room(self.path, overwrite)
        except OSError as error:
            raise StreamError(f"{self.path} cannot be replaced: {durable.reason(error)}") from error
        try:
            durable.make_folder(self.path)  # fails if another process was faster: its folder must stay
        except OSError as error:
            self._put_back(aside)
            raise StreamError(f"{self.path} cannot be made: {durable.reason(error)}; choose another folder") from error
        try:
            for folder in (self._frames_dir.parent, self._scan_dir):
                durable.make_folder(folder)
                zarr_json.write_metadata(folder, zarr_json.group_metadata())
            for name in ("index", "visit", "time_s"):
                durable.make_folder(self._scan_dir / name)
            durable.make_folder(self._frames_dir)
            self._write_columns()
            self._write_length(0)
            self.write_root(closed=False)
        except OSError as error:
            container.discard(self.path)
            self._put_back(aside)
            raise StreamError(f"{self.path} cannot be made: {durable.reason(error)}; choose another folder") from error
        container.discard(aside)

    def _put_back(self, aside: Path | None) -> None:
        """Give a container that was moved aside its name again, unless there is another one by now."""
        if aside is not None and not self.path.exists():
            aside.rename(self.path)

    def write_root(self, *, closed: bool) -> None:
        """Replace the attributes of the container."""
        attributes = container.root_attributes(
            signals=(self.name,),
            closed=closed,
            created=self._created,
            scan=self.scan,
            stored_order=True,
            geometry=self.geometry,
            metadata=self.metadata,
            provenance=self._provenance,
            version=1 if self._codec.codec is None else 2,
        )
        zarr_json.write_metadata(self.path, zarr_json.group_metadata(attributes))

    def write_block(self, number: int, block: FrameList) -> None:
        """Put the files of one block in place: what is known about the frames first, the frames last."""
        if not self._has_position and np.isfinite(block.position).any():
            folder = self._scan_dir / "position"
            durable.make_folder(folder, exist_ok=True)
            content = container.scan_array_metadata("position", self._capacity, self.block)
            zarr_json.write_metadata(folder, content)
            self._has_position = True
        for name in self._column_names():
            values = getattr(block, name)
            path = self._scan_dir / name / block_name((number, 0)[: values.ndim])
            if not container.is_fill(name, values) or path.exists():
                durable.write_file(path, blocks.encode(values))
                durable.sync_folder(path.parent)
        durable.write_file(self._frames_dir / block_name((number, 0, 0)), self._codec.encode(block.frames))

    def commit(self, n: int) -> None:
        """Count ``n`` frames as written, once all their blocks are in place."""
        durable.sync_folder(self._frames_dir)
        if n > self._capacity:
            before = self._capacity
            self._capacity = self._blocks(max(n, 2 * before))
            try:
                self._write_columns()
            except OSError:
                self._capacity = before
                raise
        self._write_length(n)

    def finish(self, n: int) -> None:
        """Cut the scan arrays to the ``n`` frames and mark the container as closed."""
        self._capacity = n
        try:
            self._write_columns()
            self.write_root(closed=True)
        except OSError:
            self._capacity = 0  # so that the next commit writes it again
            raise

    def read_block(self, number: int) -> FrameList:
        """Return a full block."""
        frames = self._frames.block((number, 0, 0)).astype(self.spec.dtype, copy=False)
        return FrameList(frames, *(column.block((number, 0)[: column.ndim]) for column in self._columns))

    def _blocks(self, n: int) -> int:
        """Return ``n`` rounded up to whole blocks."""
        return -(-n // self.block) * self.block

    def _column_names(self) -> list[str]:
        return [name for name in container.SCAN_ARRAYS if name != "position" or self._has_position]

    def _write_columns(self) -> None:
        for name in self._column_names():
            content = container.scan_array_metadata(name, self._capacity, self.block)
            zarr_json.write_metadata(self._scan_dir / name, content)

    def _write_length(self, n: int) -> None:
        """Replace the metadata of the frames: this is the commit."""
        (ky, kx), stored = self.spec.frame_shape, self.spec.stored_shape
        data = StoredArray(self._frames_dir, "", "", (n, *stored), (self.block, *stored), self.dtype)
        axes = (Axis("frame", n), Axis("ky", ky), Axis("kx", kx))
        signal = Signal(data, axes, "packed" if self.spec.packed else "dense", (ky, kx))
        content = zarr_json.array_metadata(
            data.shape,
            data.chunks,
            self.dtype,
            container.dimension_names(signal),
            fill=0,
            attributes=container.signal_attributes(signal),
            codec=self._codec,
        )
        zarr_json.write_metadata(self._frames_dir, content)
