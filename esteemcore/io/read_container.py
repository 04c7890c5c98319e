"""Open a container: everything but the frames is read, the frames stay on disk."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError
from esteemcore.io import blocks, container, zarr_json
from esteemcore.io.chunk_codecs import EVENTS
from esteemcore.io.dataset import Dataset, ScanRecord, SeriesRecord, Signal
from esteemcore.io.read_series import read_series
from esteemcore.io.rows import check_rows, read_rows
from esteemcore.io.stored import Place, StoredArray, StoredBlocks
from esteemcore.io.stored_events import StoredEvents
from esteemcore.io.zarr_json import ArrayMetadata
from esteemcore.io.zipped import ZippedPath, is_packed


def load_container(path: Place) -> Dataset:
    """Open a container.

    Parameters
    ----------
    path : Path or ZippedPath
        Its folder, or the zip that it was packed into.

    Raises
    ------
    FormatError
        If it is no container, of a newer version, or damaged beyond opening. A damaged block is no reason: reading
        its frames raises, and the notes tell of positions that are lost.
    """
    attributes = read_root(path)
    notes: list[str] = []
    arrays: dict[str, ArrayMetadata] = {}
    try:
        names = [container.check_name(str(name)) for name in attributes["signals"]]
        closed, entry = bool(attributes["closed"]), attributes["scan"]
        geometry, metadata = _tuples(dict(attributes["geometry"])), dict(attributes["metadata"])
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path} is damaged: its {zarr_json.METADATA} lacks or spoils {error}") from error
    for name in names:
        label = f"{path}: signal {name!r}"
        arrays[name] = zarr_json.read_array_metadata(path / "signals" / name, label)
        check_zipped(path, label, arrays[name])
        check_rows(path / "signals" / name, label, arrays[name])
    series = None if attributes.get("series") is None else read_series(path, arrays, notes)
    signals = {name: _signal(path, name, array, series) for name, array in arrays.items()}
    counts = [len(s.data) for s in signals.values() if s.in_visit_order and series is None]
    n = max(counts) if counts else None
    if not closed:
        safe = len(series) if series is not None else n
        frames = "" if safe is None else f"; {safe:,} frames are safe"
        notes.append(f"it was not closed: it is being written, or the writing process was killed{frames}")
    scan = None if entry is None else _scan(path, entry, n, notes)
    metadata = {**metadata, "created": attributes.get("created"), "provenance": attributes.get("provenance")}
    return Dataset(
        signals=signals,
        scan=scan,
        geometry=geometry,
        metadata=metadata,
        path=str(path),
        series=series,
        format=f"Esteem container, version {attributes['version']}{'' if closed else ', not closed'}",
        notes=tuple(notes),
    )


def verify(path: str | Path, progress: Callable[[float], None] | None = None) -> list[str]:
    """Read every block of a container, decode it and say which ones are damaged.

    Parameters
    ----------
    path : str or Path
        The container, a folder or packed into a zip.
    progress : callable, optional
        Called with the fraction done.

    Returns
    -------
    list of str
        One line for each damage; empty when all is well.

    Raises
    ------
    FormatError
        If it cannot be opened at all.
    """
    dataset = load_container(place_of(container.given_path(path)))
    found = [note for note in dataset.notes if "cannot be read" in note]
    arrays = [s.data for s in dataset.signals.values() if isinstance(s.data, StoredBlocks)]
    places = [(array, place) for array in arrays for place in array.places()]
    for done, (array, place) in enumerate(places, 1):
        try:
            array.block(place)
        except FormatError as error:
            found.append(str(error))
        if progress is not None:
            progress(done / len(places))
    return found


def place_of(path: Path) -> Place:
    """Return the folder of a container, or the root of the zip that it was packed into."""
    return ZippedPath(path) if path.is_file() and is_packed(path) else path


def check_zipped(path: Place, label: str, array: ArrayMetadata) -> None:
    """See that an array in a zip has its blocks, and is not larger than they can be, before memory is asked for."""
    if not isinstance(path, ZippedPath):
        return
    if array.blocks > len(path.entries):
        raise FormatError(f"{label} cannot be opened: it has {array.blocks} blocks, but files are missing in the zip")
    values = math.prod(array.shape) * array.dtype.itemsize
    pixels = math.prod(array.chunks[:-1]) if array.codec.name == EVENTS else 0
    if pixels > 2**28 or (array.codec.codec is None and values > blocks.EXPANSION * sum(path.sizes().values())):
        raise FormatError(f"{label} cannot be opened: the zip is too small for an array of shape {array.shape}")


def read_root(path: Place) -> dict[str, Any]:
    """Return the attributes of a container, of a version that is known.

    Raises
    ------
    FormatError
        If it is none, damaged, or newer.
    """
    if not (path / zarr_json.METADATA).exists():
        what = "zip" if isinstance(path, ZippedPath) else "folder"
        raise FormatError(f"{path} is a {what}, but not a container of Esteem: it has no {zarr_json.METADATA}")
    content = zarr_json.read_metadata(path, "group", str(path))
    attributes = content.get("attributes", {}).get("esteem")
    if not isinstance(attributes, dict):
        raise FormatError(f"{path} is a Zarr group, but was not written by Esteem; open it with zarr.open")
    version = attributes.get("version")
    if type(version) is not int or not 1 <= version <= container.VERSION:
        newer = isinstance(version, int) and version > container.VERSION
        raise FormatError(
            f"{path} is a container of version {json.dumps(version)}; this Esteem reads 1 to {container.VERSION}"
            f"{': install a newer Esteem' if newer else ''}"
        )
    return attributes


def _signal(path: Place, name: str, array: ArrayMetadata, series: SeriesRecord | None) -> Signal:
    folder, label = path / "signals" / name, f"{path}: signal {name!r}"
    try:
        entry = array.attributes["esteem"]
        axes = container.axes_from_json(entry["axes"])
        kind = str(entry["kind"])
        frame_shape = None if entry["frame_shape"] is None else tuple(entry["frame_shape"])
        unit = "frames" if axes[0].name == "frame" else f"{axes[0].name} pixels"
        shape = array.shape
        if series is not None and axes[0].name == "frame":
            shape = (len(series), *shape[1:])
            axes = (dataclasses.replace(axes[0], size=len(series)), *axes[1:])
        stored: type[StoredBlocks] = StoredEvents if kind == "events" else StoredArray
        if kind == "events" and array.codec.name != EVENTS:
            raise FormatError(f"{label} is damaged: events are stored with {array.codec.name!r} instead of {EVENTS!r}")
        data = stored(folder, label, unit, shape, array.chunks, array.dtype, codec=array.codec)
        return Signal(data, axes, kind, frame_shape, dict(entry["metadata"]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FormatError(f"{label} is damaged: its {zarr_json.METADATA} lacks or spoils {error}") from error


def _scan(path: Place, entry: Any, n_frames: int | None, notes: list[str]) -> ScanRecord:
    """Read the scan; positions that are lost become -1 and a note."""
    if not isinstance(entry, dict):
        raise FormatError(f"{path} is damaged: its scan is {entry!r}")
    columns: dict[str, NDArray[Any] | None] = {}
    for name, (dtype, fill, more) in container.SCAN_ARRAYS.items():
        folder = path / "scan" / name
        lost = name == "index" and entry.get("order") == "stored"
        if not folder.is_dir() or (name == "position" and not (folder / zarr_json.METADATA).exists()):
            columns[name] = np.full(n_frames or 0, -1, np.int64) if lost else None
            if lost:
                notes.append(f"scan/index: frames 0 to {(n_frames or 1) - 1:,} cannot be read: {folder} is missing")
            continue
        found = zarr_json.read_array_metadata(folder, f"{path}: scan/{name}")
        check_zipped(path, f"{path}: scan/{name}", found)
        shape, chunks, stored_dtype = found.shape, found.chunks, found.dtype
        n = shape[0] if n_frames is None else n_frames
        if n_frames is None:
            check_rows(folder, f"{path}: scan/{name}", found)
        if stored_dtype != dtype or shape[1:] != more or shape[0] < n:
            raise FormatError(f"{path}: scan/{name} has shape {shape} and dtype {stored_dtype}; {n} frames need it")
        array = StoredArray(folder, f"scan/{name}", "frames", (n, *more), chunks, dtype, fill)
        columns[name] = read_rows(array, -1 if fill is None else fill, notes)
    visit, time_s = columns["visit"], columns["time_s"]
    try:
        entries = _tuples({k: entry[k] for k in ("dwell_s", "flyback_s", "step_nm", "rotation_deg")})
        return ScanRecord(
            tuple(entry["shape"]),
            index=columns["index"],
            visit=visit if visit is not None and visit.any() else None,
            positions=columns["position"],
            time_s=None if time_s is None or np.isnan(time_s).all() else time_s,
            **entries,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path} is damaged: its scan lacks or spoils {error}") from error


def _tuples(entries: dict[str, Any]) -> dict[str, Any]:
    """Return the entries with tuples for the lists that JSON made of them."""
    made: dict[str, Any] = {}
    for key, value in entries.items():
        if isinstance(value, dict):
            made[key] = _tuples(value)
        else:
            made[key] = tuple(value) if isinstance(value, list) else value
    return made
