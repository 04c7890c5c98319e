"""The files of a series that grows frame by frame: the order in which they must appear, so that it is always whole."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import provenance
from esteemcore._core.errors import StreamError
from esteemcore.events import SparseSI
from esteemcore.io import blocks, choose_codec, container, durable, zarr_json
from esteemcore.io.choose_codec import LossCheck, Plan
from esteemcore.io.dataset import Axis, ScanRecord, Signal
from esteemcore.io.read_series import COLUMNS
from esteemcore.io.save import write_scan
from esteemcore.io.stored import StoredArray, block_name
from esteemcore.io.stored_events import StoredEvents

if TYPE_CHECKING:
    from esteemcore.io.resume_series import FoundSeries

ROWS = 256
"""Frames in a block of the arrays of ``series/``, which are replaced with each frame."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """One signal of the series: what it is, and how a frame of it is stored."""

    name: str
    signal: Signal
    plan: Plan

    def blocks(self, number: int, values: NDArray[Any] | SparseSI) -> Iterator[tuple[tuple[int, ...], Any]]:
        """Yield the places and values of the blocks of one frame."""
        if isinstance(values, SparseSI):
            for place, tile in choose_codec.frame_blocks(values, self.plan):
                yield (number, *place), tile
            return
        one = dataclasses.replace(self.plan, shape=(1, *self.plan.shape[1:]))
        for place in one.places():
            yield (number, *place[1:]), choose_codec.dense_block(values[None], one, place)


class SeriesFiles:
    """A container on disk while `SeriesWriter` fills it; methods raise OSError when the disk refuses.

    Parameters
    ----------
    path : Path
        Folder to make.
    layers : list of Layer
        The signals, with no frames yet.
    scan : ScanRecord or None
        Where the beam goes within a frame, and its times.
    geometry, metadata : mapping
        For the attributes.
    """

    def __init__(
        self,
        path: Path,
        layers: list[Layer],
        scan: ScanRecord | None,
        geometry: Mapping[str, Any],
        metadata: Mapping[str, Any],
    ) -> None:
        self.path, self.layers, self.scan = path, layers, scan
        self.geometry, self.metadata = dict(geometry), dict(metadata)
        self._created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        signals = {layer.name: {"shape": layer.plan.shape, "codec": layer.plan.codec.name} for layer in layers}
        self._provenance = provenance.record("io.SeriesWriter", {"signals": signals}).as_dict()
        self._losses = {x.name: LossCheck(x.name, x.plan.codec) for x in layers if x.plan.codec.lossy}
        self._begin_columns(ROWS)
        self._earlier: dict[str, list[Any]] = {}  # what was lost in frames that were there before
        self._first = 0  # the first frame that is written here

    def create(self, overwrite: bool) -> None:
        """Make the empty container; it appears under its name when it is whole.

        Raises
        ------
        ParameterError
            If something is there that must stay, or the metadata cannot be right.
        StreamError
            If the disk refuses; what was there is there again.
        """
        root = self._root(closed=False)
        target, aside, placed = self.path, None, False
        if target.exists() and not overwrite:
            container.make_room(target, overwrite)
        self.path = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{durable.TEMPORARY}")
        try:
            self._make(root)
            aside = container.make_room(target, overwrite)
            self.path.rename(target)  # fails if another process was faster: its folder must stay
            placed = True
            durable.sync_folder(target.parent)
        except OSError as error:
            if placed:
                container.discard(target)
            if aside is not None and not target.exists():
                aside.rename(target)
            raise StreamError(f"{target} cannot be made: {durable.reason(error)}; choose another folder") from error
        finally:
            container.discard(self.path)
            self.path = target
        container.discard(aside)

    def _make(self, root: bytes) -> None:
        durable.make_folder(self.path)
        for name in ("signals", "scan", "series"):
            durable.make_folder(self.path / name)
            zarr_json.write_metadata(self.path / name, zarr_json.group_metadata())
        if self.scan is not None:
            write_scan(self.path / "scan", self.scan)
        for name in self._columns:
            durable.make_folder(self.path / "series" / name)
        self._write_column_lengths()
        for layer in self.layers:
            durable.make_folder(self._folder(layer))
            self._write_length(layer, 0)
        zarr_json.write_metadata(self.path, root)

    def resume(self, found: FoundSeries) -> None:
        """Open what is there for more frames; until one comes, only the attributes of the container change."""
        self._first = n = len(found)
        self.geometry = {**found.dataset.geometry, **self.geometry}
        kept = {key: value for key, value in found.dataset.metadata.items() if key not in ("created", "provenance")}
        self.metadata = {**kept, **self.metadata}
        made = {**self._provenance, "first_frame": n}
        before = found.provenance
        self._created, self._provenance = found.created, {**before, "appended": [*before.get("appended", []), made]}
        for layer in self.layers:
            losses = layer.signal.metadata.get("loss")
            self._earlier[layer.name] = losses if isinstance(losses, list) else []
        self._begin_columns(found.rows or ROWS)
        self._capacity, series = found.capacity, found.dataset.series
        start = n - n % self._rows
        for name, column in self._columns.items():
            values = None if series is None else getattr(series, name, None)
            if name == "counts" and series is not None:
                values = np.stack([series.counts[layer.name] for layer in self.layers], axis=1)
            if values is not None:
                column[: n - start] = values[start:]
        root = self._root(closed=False)  # checked before anything is changed
        for name in self._columns:
            durable.make_folder(self.path / "series" / name, exist_ok=True)
        zarr_json.write_metadata(self.path, root)

    def write_frame(self, number: int, values: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Put the blocks of one frame in place, then what is known of it, then count it."""
        losses = {name: copy.copy(loss) for name, loss in self._losses.items()}
        for layer in self.layers:
            folder = self._folder(layer)
            for place, block in layer.blocks(number, values[layer.name]):
                pieces = layer.plan.codec.encode(block)
                if layer.name in losses and not isinstance(block, SparseSI):
                    losses[layer.name].add(block, b"".join(pieces))
                durable.write_file(folder / block_name(place), pieces)
            durable.sync_folder(folder)
        before, self._losses = self._losses, losses
        try:
            self._write_row(number, row)
            self.commit(number + 1)
        except OSError:
            self._losses = before  # this frame is not stored, or not yet
            raise

    def commit(self, n: int) -> None:
        """Count ``n`` frames as written: a frame that one signal lacks is none."""
        for layer in self.layers:
            self._write_length(layer, n)

    def finish(self, n: int) -> None:
        """Bring all arrays to the length of ``n`` frames and mark the container as closed."""
        self.commit(n)
        self._capacity = n  # also if this fails: the next frame makes the columns longer again
        self._write_column_lengths()
        self.write_root(closed=True)

    def write_root(self, *, closed: bool) -> None:
        """Replace the attributes of the container."""
        zarr_json.write_metadata(self.path, self._root(closed=closed))

    def _root(self, *, closed: bool) -> bytes:
        attributes = container.root_attributes(
            signals=tuple(layer.name for layer in self.layers),
            closed=closed,
            created=self._created,
            scan=self.scan,
            stored_order=self.scan is not None and self.scan.index is not None,
            series=True,
            version=2,
            geometry=self.geometry,
            metadata=self.metadata,
            provenance=self._provenance,
        )
        return zarr_json.group_metadata(attributes)

    def _folder(self, layer: Layer) -> Path:
        return self.path / "signals" / layer.name

    def _begin_columns(self, rows: int) -> None:
        more = {**COLUMNS, "counts": (len(self.layers),)}
        self._columns = {name: np.full((rows, *shape), np.nan) for name, shape in more.items()}
        self._rows = self._capacity = rows  # of a block, and of the arrays of series/: never fewer than frames

    def _write_row(self, number: int, row: Mapping[str, Any]) -> None:
        """Write what is known of a frame to the arrays of ``series/``."""
        block, inside = divmod(number, self._rows)
        if number >= self._capacity:
            before, self._capacity = self._capacity, max(2 * self._capacity, (block + 1) * self._rows)
            try:
                self._write_column_lengths()
            except OSError:
                self._capacity = before
                raise
        for name, column in self._columns.items():
            column[inside:] = np.nan
            if row.get(name) is not None:
                column[inside] = row[name]
            folder = self.path / "series" / name
            path = folder / block_name((block, 0)[: column.ndim])
            if not np.isnan(column).all() or path.exists():
                durable.write_file(path, blocks.encode(column))
                durable.sync_folder(folder)

    def _write_column_lengths(self) -> None:
        for name, column in self._columns.items():
            content = container.column_metadata((self._capacity, *column.shape[1:]), self._rows)
            zarr_json.write_metadata(self.path / "series" / name, content)

    def _write_length(self, layer: Layer, n: int) -> None:
        """Replace the metadata of a signal: with all signals, this is the commit."""
        plan = dataclasses.replace(layer.plan, shape=(n, *layer.plan.shape[1:]))
        stored = StoredEvents if layer.signal.kind == "events" else StoredArray
        data = stored(self._folder(layer), layer.name, "frames", plan.shape, plan.chunks, plan.dtype)
        metadata = layer.signal.metadata
        earlier = self._earlier.get(layer.name, [])
        if layer.name in self._losses and (n > self._first or not earlier):
            metadata = {**metadata, "loss": [*earlier, self._losses[layer.name].record()]}
        axes = (Axis("frame", n), *layer.signal.axes[1:])
        signal = Signal(data, axes, layer.signal.kind, layer.signal.frame_shape, metadata)
        content = zarr_json.array_metadata(
            plan.shape,
            plan.chunks,
            plan.dtype,
            container.dimension_names(signal),
            attributes=container.signal_attributes(signal),
            fill=0,
            codec=plan.codec,
        )
        zarr_json.write_metadata(self._folder(layer), content)
