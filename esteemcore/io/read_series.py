"""What is known of each frame of a series, as it is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError
from esteemcore.io import zarr_json
from esteemcore.io.dataset import SeriesRecord
from esteemcore.io.rows import read_rows
from esteemcore.io.stored import Place, StoredArray
from esteemcore.io.zarr_json import ArrayMetadata

COLUMNS: dict[str, tuple[int, ...]] = {"time_s": (), "energy_offset_ev": (), "tilt_deg": (2,), "displacement_px": (2,)}
"""Arrays of ``series/`` beside ``counts``, float64, one row per frame: their further axes."""

FLOAT = np.dtype(np.float64)


def series_length(arrays: Mapping[str, ArrayMetadata]) -> int:
    """Return the number of frames that all signals of a series have: those that are committed."""
    lengths = [array.shape[0] for array in arrays.values() if _first_axis(array) == "frame"]
    return min(lengths, default=0)


def read_series(path: Place, arrays: Mapping[str, ArrayMetadata], notes: list[str]) -> SeriesRecord:
    """Read what is known of the frames of a series; what is lost becomes NaN and a note.

    Raises
    ------
    FormatError
        If it is damaged beyond reading.
    """
    from esteemcore.io.read_container import check_zipped

    n = series_length(arrays)
    names = [name for name in arrays if _first_axis(arrays[name]) == "frame"]
    columns: dict[str, NDArray[Any]] = {}
    for name, more in {**COLUMNS, "counts": (len(names),)}.items():
        folder, label = path / "series" / name, f"{path}: series/{name}"
        if not (folder / zarr_json.METADATA).exists():
            continue
        found = zarr_json.read_array_metadata(folder, label)
        check_zipped(path, label, found)
        if found.dtype != FLOAT or found.shape[1:] != more or found.shape[0] < n:
            raise FormatError(f"{label} has shape {found.shape} and dtype {found.dtype}; {n} frames need it")
        array = StoredArray(folder, f"series/{name}", "frames", (n, *more), found.chunks, FLOAT, math.nan)
        columns[name] = read_rows(array, math.nan, notes)
    counts = columns.pop("counts", np.full((n, len(names)), np.nan))
    known = {name: None if np.isnan(values).all() else values for name, values in columns.items()}
    return SeriesRecord(n, counts=dict(zip(names, counts.T, strict=True)), **known)


def _first_axis(array: ArrayMetadata) -> str:
    try:
        return str(array.attributes["esteem"]["axes"][0]["name"])
    except (KeyError, IndexError, TypeError):
        return ""
