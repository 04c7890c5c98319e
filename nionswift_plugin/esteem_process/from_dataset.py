"""From a data set to what becomes data items, read block by block."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nion.data import Calibration, DataAndMetadata
from numpy.typing import NDArray

from esteemcore import io
from esteemcore.cli.frames4d import ScanFrames
from esteemcore.errors import EsteemError, FormatError
from esteemcore.events import SparseSI
from esteemcore.io import event_sums
from nionswift_plugin.esteem_process import descriptors, frame_columns
from nionswift_plugin.esteem_process.to_dataset import RECORD
from nionswift_plugin.esteem_scan import binding

EVENTS_BYTES = 2 * 2**30
"""Events whose dense array is larger are imported as a map and a spectrum."""

FRAMES_BYTES = 4 * 2**30
"""One-bit frames whose array of bytes is larger are not imported."""

PART_BYTES = 64 * 2**20
"""Data in memory at a time."""

Part = tuple[tuple[slice, ...], NDArray[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What becomes one data item.

    Attributes
    ----------
    title, caption : str
    xdata : DataAndMetadata
        All but the values: they are zeros that need no memory.
    parts : callable
        Returns the values, part by part, each with the slices where it belongs.
    """

    title: str
    caption: str
    xdata: DataAndMetadata.DataAndMetadata
    parts: Callable[[], Iterator[Part]]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(self.xdata.data_dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.xdata.data_shape) * int(self.dtype.itemsize)


def find(dataset: io.Dataset) -> tuple[list[Found], list[str]]:
    """Return what a data set becomes in Nion Swift, and in words what it does not."""
    found: list[Found] = []
    notes = list(dataset.notes)
    for column in [] if dataset.scan is None else frame_columns.left_out(dataset.scan):
        notes.append(f"the scan's {column} is too long for the metadata of Nion Swift; it is only in the file")
    for name, signal in dataset.signals.items():
        try:
            if signal.kind == "packed":
                found.append(_packed(dataset, name, signal, notes))
            elif signal.kind == "events":
                found += _events(dataset, name, signal, notes)
            else:
                found.append(_dense(dataset, name, signal))
        except EsteemError as error:
            notes.append(f"{name!r} is not imported: {error}")
    return found, notes


def _dense(dataset: io.Dataset, name: str, signal: io.Signal) -> Found:
    axes = signal.axes
    scan = None if RECORD in signal.metadata else dataset.scan
    if signal.in_visit_order and scan is not None and scan.index is None and math.prod(scan.shape) == axes[0].size:
        axes = (*_scan_axes(scan), *axes[1:])
    shape = tuple(axis.size for axis in axes)
    if not all(shape):
        raise FormatError("it holds no values")
    dtype = _shown_dtype(shape, np.dtype(signal.data.dtype))

    def parts() -> Iterator[Part]:
        row = math.prod(signal.data.shape[1:]) * dtype.itemsize
        step = max(PART_BYTES // max(row, 1), 1)
        if shape != tuple(signal.data.shape):  # frames in raster order: whole lines
            step = max(step // shape[1], 1) * shape[1]
        for start in range(0, signal.data.shape[0], step):
            values = np.asarray(signal.data[start : start + step]).astype(dtype, copy=False)
            if shape != tuple(signal.data.shape):
                start, values = start // shape[1], values.reshape(-1, *shape[1:])
            yield (slice(start, start + len(values)),), values

    return _make(dataset, name, signal, axes, dtype, parts)


def _scan_axes(scan: io.ScanRecord) -> Iterator[io.Axis]:
    steps = np.broadcast_to(1.0 if scan.step_nm is None else scan.step_nm, 2).tolist()
    unit = "" if scan.step_nm is None else "nm"
    return (io.Axis(axis, n, step, unit=unit) for axis, n, step in zip(("y", "x"), scan.shape, steps, strict=True))


def _packed(dataset: io.Dataset, name: str, signal: io.Signal, notes: list[str]) -> Found:
    """Return one-bit frames, each in its place of the scan whatever the order in which they were taken."""
    frames = ScanFrames(dataset, name)
    dtype = _shown_dtype(frames.shape, frames.dtype)
    needed = math.prod(frames.shape) * dtype.itemsize
    if needed > FRAMES_BYTES:
        raise FormatError(
            f"its one-bit frames would take {needed / 1e9:,.1f} GB as an array, more than the "
            f"{FRAMES_BYTES / 1e9:,.1f} GB that are unpacked; open it in the panel Live 4D-STEM"
        )
    if frames.dtype != signal.data.dtype:
        notes.append(f"{name!r} has several frames at some positions of the scan; they are added up")
    axes = signal.axes
    if signal.in_visit_order:
        axes = (*_scan_axes(dataset.scan or io.ScanRecord(frames.shape[:2])), *axes[1:])

    def parts() -> Iterator[Part]:
        rows = max(PART_BYTES // max(math.prod(frames.shape[1:]) * dtype.itemsize, 1), 1)
        for start in range(0, frames.shape[0], rows):
            block = frames[start : start + rows, :]
            yield (slice(start, start + len(block)),), block.astype(dtype, copy=False)

    return _make(dataset, name, signal, axes, dtype, parts)


def _events(dataset: io.Dataset, name: str, signal: io.Signal, notes: list[str]) -> list[Found]:
    data = signal.data
    if not isinstance(data, SparseSI | io.StoredEvents):
        raise FormatError("it is a table of events in detector frames; open it in a script, with esteemcore.io.load")
    shape = tuple(data.shape)
    dtype = _shown_dtype(shape, np.dtype(data.dtype))
    if math.prod(shape) * dtype.itemsize <= EVENTS_BYTES:

        def parts() -> Iterator[Part]:
            for region, tile in event_sums.tiles(data):
                yield region, tile.to_dense().astype(dtype, copy=False)

        return [_make(dataset, name, signal, signal.axes, dtype, parts)]
    notes.append(
        f"{name!r} would take {math.prod(shape) * dtype.itemsize / 1e9:,.1f} GB as an array, more than the "
        f"{EVENTS_BYTES / 1e9:,.1f} GB that are unpacked; its map and its spectrum, added up, are imported instead"
    )

    def images() -> Iterator[Part]:
        for region, tile in event_sums.tiles(data):
            yield region, event_sums.maps(tile)

    def spectra() -> Iterator[Part]:
        total = np.zeros(shape[-1])
        for _, tile in event_sums.tiles(data):
            total += event_sums.spectra(tile)
            yield (slice(0, shape[-1]),), total

    return [
        _make(dataset, f"{name} (map)", signal, signal.axes[:-1], np.dtype(np.float64), images),
        _make(dataset, f"{name} (spectrum)", signal, signal.axes[-1:], np.dtype(np.float64), spectra),
    ]


def _make(
    dataset: io.Dataset,
    name: str,
    signal: io.Signal,
    axes: tuple[io.Axis, ...],
    dtype: np.dtype[Any],
    parts: Callable[[], Iterator[Part]],
) -> Found:
    shape = tuple(axis.size for axis in axes)
    record = signal.metadata.get(RECORD)
    record = record if isinstance(record, Mapping) and axes == signal.axes else {}
    descriptor = _recorded_descriptor(record, len(shape)) or descriptors.descriptor_for(axes)
    offset, scale, units = _recorded_intensity(record)
    xdata = DataAndMetadata.new_data_and_metadata(
        np.broadcast_to(np.zeros((), dtype), shape),
        intensity_calibration=Calibration.Calibration(offset, scale, units),
        dimensional_calibrations=[descriptors.calibration_of(axis) for axis in axes],
        metadata=_metadata(dataset, name, signal, record),
        timestamp=_timestamp(record),
        data_descriptor=descriptor,
        timezone=_text(record.get("timezone")) or None,
        timezone_offset=_text(record.get("timezone_offset")) or None,
    )
    title = _text(record.get("title")) or (name if len(dataset.signals) > 1 else f"{name} ({_stem(dataset)})")
    return Found(title, _text(record.get("caption")), xdata, parts)


def _shown_dtype(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which Nion Swift shows values; it takes bytes in threes and fours for colours."""
    if dtype.kind == "b":
        dtype = np.dtype(np.uint8)
    if dtype == np.uint8 and shape[-1] in (3, 4) and len(shape) > 1:
        return np.dtype(np.uint16)
    return np.dtype(np.float32) if dtype == np.float16 else dtype.newbyteorder("=")


def _metadata(dataset: io.Dataset, name: str, signal: io.Signal, record: Mapping[str, Any]) -> dict[str, Any]:
    own = record.get("metadata")
    metadata: dict[str, Any] = dict(own) if isinstance(own, Mapping) else {}
    instrument = dataset.metadata.get("instrument")
    if instrument is not None:
        metadata.setdefault("instrument", instrument)
    about: dict[str, Any] = {"file": dataset.path, "format": dataset.format, "signal": name}
    about |= {key: value for key, value in dataset.metadata.items() if key != "instrument"}
    about |= {key: value for key, value in signal.metadata.items() if key != RECORD}
    about["of_signal"] = [key for key in signal.metadata if key != RECORD]
    about["of_data_set"] = [k for k in dataset.metadata if k != "instrument" and k not in about["of_signal"]]
    if any(axis.values is not None for axis in signal.axes):
        about["coordinates"] = {axis.name: list(axis.values) for axis in signal.axes if axis.values is not None}
    if dataset.scan is not None:
        about["scan"] = frame_columns.scan_entries(dataset.scan)
    if dataset.series is not None and signal.axes[0].name == "frame":
        about["series"] = frame_columns.series_entries(dataset.series, name)
    if dataset.geometry:
        about["geometry"] = {key: value for key, value in dataset.geometry.items() if value is not None}
    before = metadata.get(binding.KEY)
    metadata[binding.KEY] = {**(before if isinstance(before, Mapping) else {}), "container": about}
    return metadata


def _recorded_descriptor(record: Mapping[str, Any], n_axes: int) -> DataAndMetadata.DataDescriptor | None:
    try:
        made = DataAndMetadata.DataDescriptor(
            bool(record["is_sequence"]), int(record["collection_dimension_count"]), int(record["datum_dimension_count"])
        )
    except (KeyError, TypeError, ValueError, AssertionError):
        return None
    fits = made.expected_dimension_count == n_axes and made.datum_dimension_count in (1, 2)
    return made if fits and made.collection_dimension_count in (0, 1, 2) else None


def _recorded_intensity(record: Mapping[str, Any]) -> tuple[float, float, str]:
    try:
        offset, scale, units = record["intensity"]
        return float(offset), float(scale), str(units)
    except (KeyError, TypeError, ValueError):
        return 0.0, 1.0, ""


def _timestamp(record: Mapping[str, Any]) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(record["created"])
    except (KeyError, TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _stem(dataset: io.Dataset) -> str:
    return Path(dataset.path).name.split(".esteem")[0].split(".zarr")[0] if dataset.path else "container"
