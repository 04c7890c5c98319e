"""Layout of the container, version 1: which folders and files there are and what their metadata say.

The format is described in ``docs/reference/format.md``; change both together.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.io import blocks, durable
from esteemcore.io.dataset import Axis, ScanRecord, Signal

VERSION = 1
SUFFIXES = (".esteem", ".zarr")
METADATA = "zarr.json"

SCAN_ARRAYS: dict[str, tuple[np.dtype[Any], float | None, tuple[int, ...]]] = {
    "index": (np.dtype(np.int64), None, ()),
    "visit": (np.dtype(np.int64), 0, ()),
    "time_s": (np.dtype(np.float64), math.nan, ()),
    "position": (np.dtype(np.float64), math.nan, (2,)),
}
"""Arrays of the scan, one row per frame: dtype, value of blocks that need no file, further axes."""

_DATA_TYPES = {
    "bool": "?",
    **{f"{kind}{8 * size}": f"{kind[0]}{size}" for kind in ("int", "uint") for size in (1, 2, 4, 8)},
    **{f"float{8 * size}": f"f{size}" for size in (2, 4, 8)},
    **{f"complex{8 * size}": f"c{size}" for size in (8, 16)},
}
_NAME = re.compile(r"\w[\w .+-]*")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d) *", re.IGNORECASE)


def check_path(path: str | Path) -> Path:
    """Return the path of a container to be written."""
    try:
        target = Path(path)
    except TypeError:
        raise ParameterError(f"path is {path!r}; expected the name of a folder to make") from None
    if "\0" in str(target) or target.suffix.lower() not in SUFFIXES:
        raise ParameterError(f"{str(target)!r} is not a name for a container; end it in {' or '.join(SUFFIXES)}")
    return target.absolute()


def check_name(name: str) -> str:
    """Return the name of a signal if it can be the name of a folder."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name[-1] in " .":
        raise ParameterError(f"{name!r} cannot be the name of a signal; use letters, digits, space and . _ + -")
    if _DEVICE.fullmatch(name.partition(".")[0]):
        raise ParameterError(f"{name!r} cannot be the name of a signal: Windows keeps that name for a device")
    return name


def is_container(path: Path) -> bool:
    """Tell whether a folder is a container of any version."""
    try:
        attributes = json.loads((path / METADATA).read_text(encoding="utf-8")).get("attributes", {})
    except (OSError, ValueError, AttributeError):
        return False
    return isinstance(attributes, dict) and "esteem" in attributes


def make_room(path: Path, overwrite: bool) -> Path | None:
    """See that nothing is at ``path``; a container that may be overwritten is moved aside and its new place returned.

    Raises
    ------
    ParameterError
        If something is there that must stay.
    """
    if not path.exists():
        return None
    if not overwrite:
        raise ParameterError(f"{path} exists already; choose another name, or overwrite=True to replace it")
    if not (path.is_dir() and is_container(path)):
        raise ParameterError(f"{path} exists and is not a container of Esteem, so it is not replaced; remove it first")
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.replaced")
    path.rename(aside)
    return aside


def discard(path: Path | None) -> None:
    """Remove a folder as far as the system allows."""
    if path is not None:
        shutil.rmtree(path, ignore_errors=True)


def plain(value: Any) -> Any:
    """Reduce metadata to what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        return plain(value.tolist()) if value.size <= 4096 else f"array of shape {value.shape}, {value.dtype}"
    if isinstance(value, tuple | list | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return repr(value)


def json_bytes(value: dict[str, Any]) -> bytes:
    """Return strict JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode()


def group_metadata(attributes: dict[str, Any] | None = None) -> bytes:
    """Return the ``zarr.json`` of a group."""
    return json_bytes({"zarr_format": 3, "node_type": "group", "attributes": attributes or {}})


def array_metadata(
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
    names: tuple[str, ...],
    *,
    fill: float | None = None,
    attributes: dict[str, Any] | None = None,
) -> bytes:
    """Return the ``zarr.json`` of an array; ``fill`` None means -1."""
    value: Any = -1 if fill is None else "NaN" if math.isnan(fill) else int(fill)
    if dtype.kind == "b":
        value = bool(value)
    elif dtype.kind == "c":
        value = [float(value), 0.0]
    return json_bytes(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(shape),
            "data_type": dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": value,
            "codecs": blocks.CODECS,
            "dimension_names": list(names),
            "attributes": attributes or {},
            "storage_transformers": [],
        }
    )


def scan_array_metadata(name: str, n: int, block: int) -> bytes:
    """Return the ``zarr.json`` of one of the `SCAN_ARRAYS` with ``n`` rows in blocks of ``block``."""
    dtype, fill, more = SCAN_ARRAYS[name]
    names = ("frame", "row_column")[: 1 + len(more)]
    return array_metadata((n, *more), (block, *more), dtype, names, fill=fill)


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
) -> dict[str, Any]:
    """Return the attributes of the container."""
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
            "version": VERSION,
            "writer": f"Esteem {__version__}",
            "created": created,
            "closed": closed,
            "signals": list(signals),
            "scan": scan_entry,
            "geometry": plain(geometry),
            "metadata": plain(metadata),
            "provenance": plain(provenance),
        }
    }


def write_metadata(folder: Path, content: bytes) -> None:
    """Replace the ``zarr.json`` of a folder in one durable step."""
    durable.write_file(folder / METADATA, [content])
    durable.sync_folder(folder)


def read_metadata(folder: Path, node: str, label: str) -> dict[str, Any]:
    """Return the ``zarr.json`` of a group or array.

    Raises
    ------
    FormatError
        If it is absent or damaged.
    """
    path = folder / METADATA
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FormatError(f"{label} cannot be opened: {path} is missing") from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{label} cannot be opened: {path} is damaged ({error})") from error
    if not isinstance(content, dict) or content.get("zarr_format") != 3 or content.get("node_type") != node:
        raise FormatError(f"{label} cannot be opened: {path} does not describe a Zarr version 3 {node}")
    if not isinstance(content.get("attributes", {}), dict):
        raise FormatError(f"{label} cannot be opened: {path} is damaged (its attributes are no table)")
    return content


def read_array_metadata(
    folder: Path, label: str
) -> tuple[tuple[int, ...], tuple[int, ...], np.dtype[Any], dict[str, Any]]:
    """Return shape, block shape, dtype and attributes of a stored array.

    Raises
    ------
    FormatError
        If they are damaged, or written in another way than version 1 says.
    """
    content = read_metadata(folder, "array", label)
    try:
        shape = tuple(int(n) for n in content["shape"])
        chunks = tuple(int(n) for n in content["chunk_grid"]["configuration"]["chunk_shape"])
        dtype = np.dtype(_DATA_TYPES[content["data_type"]])
        codecs = [codec["name"] for codec in content["codecs"]]
        separator = content["chunk_key_encoding"]["configuration"]["separator"]
        attributes = dict(content.get("attributes", {}))
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{label} cannot be opened: {folder / METADATA} lacks or spoils {error}") from error
    if codecs != [codec["name"] for codec in blocks.CODECS] or separator != ".":
        raise FormatError(
            f"{label} is stored with codecs {', '.join(map(str, codecs))} and key separator {separator!r}; version 1 "
            "of the container stores data in another way; zarr.open may read it"
        )
    if len(shape) != len(chunks) or not shape or min(shape) < 0 or min(chunks) < 1:
        raise FormatError(f"{label} cannot be opened: {folder / METADATA} gives shape {shape} and blocks {chunks}")
    return shape, chunks, dtype, attributes


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
