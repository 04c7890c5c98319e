"""What is known of each frame and of each visit, in the metadata of a data item and back, to the last bit."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import io
from esteemcore.errors import EsteemError

MOST_CHARACTERS = 8 * 2**20
"""Nion Swift writes all metadata of a data item whenever one word of them changes; longer columns stay in the file."""

DTYPES = {"index": "<i8", "visit": "<i8", "positions": "<f8", "time_s": "<f8"}
"""Columns of `esteemcore.io.ScanRecord`, one row per visit."""

PAIRS = ("tilt_deg", "displacement_px")
COLUMNS = ("time_s", "energy_offset_ev", *PAIRS)
"""Columns of `esteemcore.io.SeriesRecord`, one row per frame."""


def scan_entries(scan: io.ScanRecord) -> dict[str, Any]:
    """Return what is known of a scan, JSON-ready; columns that are too long are left out."""
    columns = _columns(scan)
    values = {field.name: getattr(scan, field.name) for field in dataclasses.fields(scan) if field.name not in DTYPES}
    return {name: value for name, value in values.items() if value is not None} | {
        name: column for name, column in columns.items() if len(column["zlib"]) <= MOST_CHARACTERS
    }


def left_out(scan: io.ScanRecord) -> list[str]:
    """Return the columns of a scan that are too long for Nion Swift."""
    return [name for name, column in _columns(scan).items() if len(column["zlib"]) > MOST_CHARACTERS]


@functools.lru_cache(maxsize=1)
def _columns(scan: io.ScanRecord) -> dict[str, dict[str, Any]]:
    """Return the columns, compressed once for all signals of a data set."""
    known = {name: getattr(scan, name) for name in DTYPES}
    return {name: _packed(np.asarray(column, DTYPES[name])) for name, column in known.items() if column is not None}


def scan_of(entries: Any) -> io.ScanRecord | None:
    """Return the scan that `scan_entries` described; None where that cannot be."""
    if not isinstance(entries, Mapping):
        return None
    known = {field.name for field in dataclasses.fields(io.ScanRecord)}
    try:
        values = {name: value for name, value in entries.items() if name in known}
        values |= {name: _unpacked(value, DTYPES[name]) for name, value in values.items() if name in DTYPES}
        values["shape"] = tuple(values["shape"])
        if isinstance(values.get("step_nm"), list):
            values["step_nm"] = tuple(values["step_nm"])
        return io.ScanRecord(**values)
    except (EsteemError, KeyError, TypeError, ValueError, binascii.Error, zlib.error):
        return None


def series_entries(series: io.SeriesRecord, signal: str) -> dict[str, Any]:
    """Return what is known of the frames of a series, JSON-ready, with the counts of one of its signals."""
    columns: dict[str, Any] = {name: getattr(series, name) for name in COLUMNS}
    columns["counts"] = series.counts.get(signal)
    known = {name: _listed(np.asarray(values)) for name, values in columns.items() if values is not None}
    return {"frames": series.frames, **known}


def series_of(entries: Any) -> tuple[io.SeriesRecord | None, NDArray[np.float64] | None]:
    """Return the series that `series_entries` described, without counts, and the counts; None where that cannot be."""
    if not isinstance(entries, Mapping):
        return None, None
    try:
        columns: dict[str, Any] = {
            n: np.array(entries[n], np.float64) for n in (*COLUMNS, "counts") if entries.get(n) is not None
        }
        counts = columns.pop("counts", None)
        series = io.SeriesRecord(entries["frames"], **columns)
        return series, counts if counts is not None and counts.shape == (len(series),) else None
    except (EsteemError, KeyError, TypeError, ValueError):
        return None, None


def _packed(column: NDArray[Any]) -> dict[str, Any]:
    return {"shape": list(column.shape), "zlib": base64.b64encode(zlib.compress(column.tobytes(), 1)).decode("ascii")}


def _unpacked(entry: Any, dtype: str) -> NDArray[Any]:
    data = zlib.decompress(base64.b64decode(entry["zlib"], validate=True))
    return np.frombuffer(data, dtype).reshape(entry["shape"]).astype(np.dtype(dtype).newbyteorder("="))


def _listed(values: NDArray[Any]) -> list[Any]:
    """Return a column as lists in which None stands for what is not known, since JSON has no NaN."""
    if values.ndim > 1:
        return [_listed(row) for row in values]
    return [value if math.isfinite(value) else None for value in values.tolist()]
