"""Layout of the container, versions 1 and 2: which folders and files there are and what their metadata say.

The format is described in ``docs/reference/format.md``; change both together.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.io import zarr_json
from esteemcore.io.chunk_codecs import ChunkCodec
from esteemcore.io.credits import with_checked_credits
from esteemcore.io.dataset import Axis, ScanRecord, Signal
from esteemcore.io.stored import Place

VERSION = 2
"""Newest version that is read. Written is the lowest one that holds the content: see `version_for`."""

SUFFIXES = (".esteem", ".zarr")

LONGEST_NAME = 220
"""Bytes of the name of a container: file systems take 255, and temporary names beside it are longer."""

OCCUPIED = "{} exists already; choose another name, or overwrite=True (in a shell --overwrite) to replace it"

DEEPEST = 100
"""Levels of tables and lists that metadata may have; what lies deeper becomes text."""

SCAN_ARRAYS: dict[str, tuple[np.dtype[Any], float | None, tuple[int, ...]]] = {
    "index": (np.dtype(np.int64), None, ()),
    "visit": (np.dtype(np.int64), 0, ()),
    "time_s": (np.dtype(np.float64), math.nan, ()),
    "position": (np.dtype(np.float64), math.nan, (2,)),
}
"""Arrays of the scan, one row per frame: dtype, value of blocks that need no file, further axes."""

_NAME = re.compile(r"\w[\w .+-]*")
_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d) *", re.IGNORECASE)


def given_path(path: str | Path) -> Path:
    """Return what was given as a path."""
    try:
        return Path(path)
    except TypeError:
        raise ParameterError(f"path is {path!r}; expected the name of a file or folder") from None


def check_path(path: str | Path) -> Path:
    """Return the path of a container to be written; a new one has a name that every system can open.

    Raises
    ------
    ParameterError
        If no container can have that name or be in that place.
    """
    target = given_path(path)
    if "\0" in str(target) or target.suffix.lower() not in SUFFIXES:
        raise ParameterError(f"{str(target)!r} is not a name for a container; end it in {' or '.join(SUFFIXES)}")
    if len(os.fsencode(target.name)) > LONGEST_NAME:
        raise ParameterError(
            f"{target.name[:40]!r}... is too long a name for a container; use up to {LONGEST_NAME} bytes"
        )
    if target.is_symlink() and not target.exists():
        raise ParameterError(f"{target} is a link to a place that does not exist; remove it, or choose another name")
    if not target.exists():
        check_portable(target.name)
    for folder in target.absolute().parents:
        if folder.suffix.lower() in SUFFIXES and is_container(folder):
            raise ParameterError(f"{target} lies inside of the container {folder}; choose a place beside it")
    return target.absolute()


def check_portable(name: str) -> None:
    """Refuse names of files that Windows cannot open, so that what is mailed can be read.

    Raises
    ------
    ParameterError
        If it is the name of a device or has a character that Windows forbids.
    """
    forbidden = _FORBIDDEN.search(name)
    if forbidden:
        raise ParameterError(
            f"{name!r} cannot be opened on Windows, where no name has {forbidden[0]!r}; choose another name"
        )
    if _DEVICE.fullmatch(name.partition(".")[0]):
        raise ParameterError(
            f"{name!r} cannot be opened on Windows, which keeps that name for a device; choose another name"
        )


def check_name(name: str) -> str:
    """Return the name of a signal if it can be the name of a folder."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name[-1] in " .":
        raise ParameterError(f"{name!r} cannot be the name of a signal; use letters, digits, space and . _ + -")
    if _DEVICE.fullmatch(name.partition(".")[0]):
        raise ParameterError(f"{name!r} cannot be the name of a signal: Windows keeps that name for a device")
    return name


def version_for(signals: Iterable[tuple[Signal, ChunkCodec]], *, series: bool = False) -> int:
    """Return the lowest version whose readers read these signals right."""
    new = series or any(signal.kind == "events" or codec.codec is not None for signal, codec in signals)
    return 2 if new else 1


def is_container(path: Place) -> bool:
    """Tell whether a folder is a container of any version."""
    try:
        attributes = json.loads((path / zarr_json.METADATA).read_text(encoding="utf-8")).get("attributes", {})
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
    return isinstance(attributes, dict) and "esteem" in attributes


def check_room(path: Path, overwrite: bool) -> None:
    """See that nothing is at ``path``, or a container that may be overwritten.

    Raises
    ------
    ParameterError
        If something is there that must stay.
    """
    if not path.exists():
        return
    if not overwrite:
        raise ParameterError(OCCUPIED.format(path))
    if not (path.is_dir() and is_container(path)):
        raise ParameterError(f"{path} exists and is not a container of Esteem, so it is not replaced; remove it first")


def make_room(path: Path, overwrite: bool) -> Path | None:
    """See that nothing is at ``path``; a container that may be overwritten is moved aside and its new place returned.

    Raises
    ------
    ParameterError
        If something is there that must stay.
    """
    check_room(path, overwrite)
    if not path.exists():
        return None
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.replaced")
    path.rename(aside)
    return aside


def discard(path: Path | None) -> None:
    """Remove a folder as far as the system allows."""
    if path is not None:
        shutil.rmtree(path, ignore_errors=True)


def plain(value: Any, depth: int = 0) -> Any:
    """Reduce metadata to what JSON can hold."""
    if depth > DEEPEST:
        return _text(repr(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), depth + 1) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_text(str(key)): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, np.generic):
        return plain(value.item(), depth + 1)
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), depth) if value.size <= 4096 else f"array of shape {value.shape}, {value.dtype}"
    if isinstance(value, tuple | list | set | frozenset):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return _text(repr(value))


def _text(value: str) -> str:
    """Return text as UTF-8 can hold it: names of files may have bytes that are none, which Python keeps as halves."""
    return value.encode("utf-8", "backslashreplace").decode()


def scan_array_metadata(name: str, n: int, block: int) -> bytes:
    """Return the ``zarr.json`` of one of the `SCAN_ARRAYS` with ``n`` rows in blocks of ``block``."""
    dtype, fill, more = SCAN_ARRAYS[name]
    names = ("frame", "row_column")[: 1 + len(more)]
    return zarr_json.array_metadata((n, *more), (block, *more), dtype, names, fill=fill)


def column_metadata(shape: tuple[int, ...], block: int) -> bytes:
    """Return the ``zarr.json`` of an array of ``series/``: float64, one row per frame."""
    return zarr_json.array_metadata(
        shape, (block, *shape[1:]), np.dtype(np.float64), ("frame", "entry")[: len(shape)], fill=math.nan
    )


def is_fill(name: str, values: NDArray[Any]) -> bool:
    """Tell whether a block of one of the `SCAN_ARRAYS` needs no file."""
    fill = SCAN_ARRAYS[name][1]
    if fill is None:
        return False
    return bool(np.isnan(values).all()) if math.isnan(fill) else not values.any()


def geometry_entries(geometry: Any) -> dict[str, Any]:
    """Return what is known of a geometry, given as a mapping or a dataclass, ready for JSON."""
    entries = plain(geometry or {})
    if not isinstance(entries, dict):
        raise ParameterError(f"geometry is {geometry!r}; expected a mapping or a fourd.Geometry")
    return {name: value for name, value in entries.items() if value is not None}


def signal_attributes(signal: Signal) -> dict[str, Any]:
    """Return what the container notes about a signal, beside its array."""
    axes = []
    for axis in signal.axes:
        entry: dict[str, Any] = {
            "name": axis.name,
            "size": axis.size,
            "scale": float(axis.scale),
            "offset": float(axis.offset),
            "unit": axis.unit,
        }
        axes.append(entry if axis.values is None else {**entry, "values": list(axis.values)})
    return {
        "esteem": {
            "kind": signal.kind,
            "frame_shape": None if signal.frame_shape is None else list(signal.frame_shape),
            "axes": plain(axes),
            "metadata": plain(signal.metadata),
        }
    }


def dimension_names(signal: Signal) -> tuple[str, ...]:
    """Return the dimension names of the stored array: bytes of a row have another name than its pixels."""
    names = tuple(axis.name for axis in signal.axes)
    return (*names[:-1], f"{names[-1]}_byte") if signal.kind == "packed" else names


def root_attributes(
    *,
    signals: tuple[str, ...],
    closed: bool,
    created: str,
    scan: ScanRecord | None,
    stored_order: bool,
    geometry: Mapping[str, Any],
    metadata: Mapping[str, Any],
    provenance: dict[str, Any],
    series: bool = False,
    version: int = 1,
) -> dict[str, Any]:
    """Return the attributes of the container; those that are given by the user, checked."""
    from esteemcore import __version__

    scan_entry = None
    if scan is not None:
        scan_entry = {
            "shape": list(scan.shape),
            "order": "stored" if stored_order else "raster",
            **{name: plain(getattr(scan, name)) for name in ("dwell_s", "flyback_s", "step_nm", "rotation_deg")},
        }
    return {
        "esteem": {
            "version": version,
            "writer": f"Esteem {__version__}",
            "created": created,
            "closed": closed,
            "signals": list(signals),
            "scan": scan_entry,
            **({"series": {}} if series else {}),
            "geometry": plain(geometry),
            "metadata": plain(with_checked_credits(metadata)),
            "provenance": plain(provenance),
        }
    }


def axes_from_json(entries: Any) -> tuple[Axis, ...]:
    """Return the axes that `signal_attributes` noted; raises KeyError, TypeError or ParameterError on damage."""
    return tuple(
        Axis(
            str(e["name"]),
            e["size"],
            float(e["scale"]),
            float(e["offset"]),
            str(e["unit"]),
            None if e.get("values") is None else tuple(e["values"]),
        )
        for e in entries
    )
