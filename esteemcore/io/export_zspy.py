"""Files of HyperSpy in Zarr (version 2), part by part.

RosettaSciIO's own writer needs Zarr-Python 2; this one writes the same layout with Zarr-Python 3.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore.io.export_blocks import file_chunks
from esteemcore.io.export_hyperspy import entry_of
from esteemcore.io.export_signal import ExportedSignal

_FORMAT = "3.3"
_PARTS = {".zgroup", ".zattrs", ".zmetadata", "Experiments"}
"""What is in such a folder."""


def write_zspy(path: Path, signal: ExportedSignal) -> None:
    """Write a folder that HyperSpy opens."""
    import zarr

    from esteemcore import __version__

    root = zarr.open_group(path, mode="w", zarr_format=2)
    root.attrs.update({"file_format": "ZSpy", "file_format_version": _FORMAT, "writer": f"Esteem {__version__}"})
    group = root.create_group("Experiments").create_group(signal.title)
    entry = entry_of(signal, None)
    group.attrs.update(entry["package_info"])
    for number, axis in enumerate(entry["axes"]):
        _write(group.create_group(f"axis-{number}"), axis)
    for name in ("metadata", "original_metadata", "learning_results", "attributes"):
        _write(group.create_group(name), entry[name])
    array = _array(group, "data", signal.shape, signal.dtype, file_chunks(signal.view))
    places = itertools.product(*(range(-(-s // c)) for s, c in zip(signal.shape, signal.view.chunks, strict=True)))
    for place in places:
        sizes = zip(place, signal.view.chunks, signal.shape, strict=True)
        part = tuple(slice(b * c, min((b + 1) * c, s)) for b, c, s in sizes)
        array[part] = signal[part]


def is_ours(path: Path) -> bool:
    """Tell whether a folder was written by `write_zspy`, and nothing was put into it since."""
    try:
        attributes = json.loads((path / ".zattrs").read_text(encoding="utf-8"))
        names = {entry.name for entry in path.iterdir()}
    except (OSError, ValueError, RecursionError):
        return False
    known = isinstance(attributes, dict) and str(attributes.get("writer", "")).startswith("Esteem ")
    return known and names <= _PARTS and not path.is_symlink()


def _write(group: Any, entries: Mapping[str, Any]) -> None:
    """Write entries as HyperSpy looks for them: groups, arrays and attributes."""
    attributes = {}
    for key, value in entries.items():
        if isinstance(value, Mapping):
            _write(group.create_group(key), value)
        elif isinstance(value, np.ndarray):
            _array(group, key, value.shape, value.dtype, value.shape)[...] = value
        elif isinstance(value, list) and not value:
            attributes[f"_list_empty_{key}"] = "_None_"
        else:
            attributes[key] = "_None_" if value is None else value
    group.attrs.update(attributes)


def _array(group: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...]) -> Any:
    from numcodecs import Blosc

    compressor = Blosc(cname="zstd", clevel=1, shuffle=Blosc.SHUFFLE)
    chunks = tuple(max(c, 1) for c in chunks)
    return group.create_array(name, shape=shape, dtype=dtype, chunks=chunks, compressors=compressor)
