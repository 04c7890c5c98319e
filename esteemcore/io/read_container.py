"""Open a container: everything but the frames is read, the frames stay on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError
from esteemcore.io import container
from esteemcore.io.dataset import Dataset, ScanRecord, Signal
from esteemcore.io.stored import StoredArray


def load_container(path: Path) -> Dataset:
    """Open a container.

    Parameters
    ----------
    path : Path
        Its folder.

    Raises
    ------
    FormatError
        If it is no container, of a newer version, or damaged beyond opening. A damaged block is no reason: reading
        its frames raises, and the notes tell of positions that are lost.
    """
    attributes = _root(path)
    notes: list[str] = []
    signals = {}
    try:
        names = [container.check_name(str(name)) for name in attributes["signals"]]
        closed, entry = bool(attributes["closed"]), attributes["scan"]
        geometry, metadata = _tuples(dict(attributes["geometry"])), dict(attributes["metadata"])
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path} is damaged: its {container.METADATA} lacks or spoils {error}") from error
    for name in names:
        signals[name] = _signal(path, name)
    counts = [len(s.data) for s in signals.values() if s.in_visit_order]
    n = max(counts) if counts else None
    if not closed:
        frames = "" if n is None else f"; {n:,} frames are safe"
        notes.append(f"it was not closed: it is being written, or the writing process was killed{frames}")
    scan = None if entry is None else _scan(path, entry, n, notes)
    metadata = {**metadata, "created": attributes.get("created"), "provenance": attributes.get("provenance")}
    return Dataset(
        signals=signals,
        scan=scan,
        geometry=geometry,
        metadata=metadata,
        path=str(path),
        format=f"Esteem container, version {attributes['version']}{'' if closed else ', not closed'}",
        notes=tuple(notes),
    )


def verify(path: str | Path, progress: Callable[[float], None] | None = None) -> list[str]:
    """Read every block of a container and say which ones are damaged.

    Parameters
    ----------
    path : str or Path
        The container.
    progress : callable, optional
        Called with the fraction done.

    Returns
    -------
    list of str
        One line for each damage; empty when all is well.
    """
    dataset = load_container(Path(path))
    found = [note for note in dataset.notes if "cannot be read" in note]
    arrays = [s.data for s in dataset.signals.values() if isinstance(s.data, StoredArray)]
    places = [(array, place) for array in arrays for place in array.places()]
    for done, (array, place) in enumerate(places, 1):
        try:
            array.block(place)
        except FormatError as error:
            found.append(str(error))
        if progress is not None:
            progress(done / len(places))
    return found


def _root(path: Path) -> dict[str, Any]:
    if not (path / container.METADATA).exists():
        raise FormatError(f"{path} is a folder, but not a container of Esteem: it has no {container.METADATA}")
    content = container.read_metadata(path, "group", str(path))
    attributes = content.get("attributes", {}).get("esteem")
    if not isinstance(attributes, dict):
        raise FormatError(f"{path} is a Zarr group, but was not written by Esteem; open it with zarr.open")
    version = attributes.get("version")
    if version != container.VERSION:
        newer = isinstance(version, int) and version > container.VERSION
        raise FormatError(
            f"{path} is a container of version {json.dumps(version)}; this Esteem reads version {container.VERSION}"
            f"{': install a newer Esteem' if newer else ''}"
        )
    return attributes


def _signal(path: Path, name: str) -> Signal:
    folder, label = path / "signals" / name, f"{path}: signal {name!r}"
    shape, chunks, dtype, attributes = container.read_array_metadata(folder, label)
    try:
        entry = attributes["esteem"]
        axes = container.axes_from_json(entry["axes"])
        kind = str(entry["kind"])
        frame_shape = None if entry["frame_shape"] is None else tuple(entry["frame_shape"])
        unit = "frames" if axes[0].name == "frame" else f"{axes[0].name} pixels"
        data = StoredArray(folder, label, unit, shape, chunks, dtype)
        return Signal(data, axes, kind, frame_shape, dict(entry["metadata"]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FormatError(f"{label} is damaged: its {container.METADATA} lacks or spoils {error}") from error


def _scan(path: Path, entry: Any, n_frames: int | None, notes: list[str]) -> ScanRecord:
    """Read the scan; positions that are lost become -1 and a note."""
    if not isinstance(entry, dict):
        raise FormatError(f"{path} is damaged: its scan is {entry!r}")
    columns: dict[str, NDArray[Any] | None] = {}
    for name, (dtype, fill, more) in container.SCAN_ARRAYS.items():
        folder = path / "scan" / name
        lost = name == "index" and entry.get("order") == "stored"
        if not folder.is_dir() or (name == "position" and not (folder / container.METADATA).exists()):
            columns[name] = np.full(n_frames or 0, -1, np.int64) if lost else None
            if lost:
                notes.append(f"scan/index: frames 0 to {(n_frames or 1) - 1:,} cannot be read: {folder} is missing")
            continue
        shape, chunks, stored_dtype, _ = container.read_array_metadata(folder, f"{path}: scan/{name}")
        n = shape[0] if n_frames is None else n_frames
        if stored_dtype != dtype or shape[1:] != more or shape[0] < n:
            raise FormatError(f"{path}: scan/{name} has shape {shape} and dtype {stored_dtype}; {n} frames need it")
        array = StoredArray(folder, f"scan/{name}", "frames", (n, *more), chunks, dtype, fill)
        values = np.full((n, *more), -1 if fill is None else fill, dtype)
        for place in array.places():
            start = place[0] * chunks[0]
            try:
                values[start : start + chunks[0]] = array.block(place)[: n - start]
            except FormatError as error:
                notes.append(str(error))
        columns[name] = values
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
