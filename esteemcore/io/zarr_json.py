"""The ``zarr.json`` of groups and arrays, as the container writes and reads them."""

from __future__ import annotations

import dataclasses
import json
import math
import operator
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore._core.errors import FormatError
from esteemcore.io import durable
from esteemcore.io.chunk_codecs import ChunkCodec, from_zarr
from esteemcore.io.stored import Place

METADATA = "zarr.json"

_DATA_TYPES = {
    "bool": "?",
    **{f"{kind}{8 * size}": f"{kind[0]}{size}" for kind in ("int", "uint") for size in (1, 2, 4, 8)},
    **{f"float{8 * size}": f"f{size}" for size in (2, 4, 8)},
    **{f"complex{8 * size}": f"c{size}" for size in (8, 16)},
}


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
    codec: ChunkCodec | None = None,
) -> bytes:
    """Return the ``zarr.json`` of an array; ``fill`` None means -1, ``codec`` None zstd."""
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
            "codecs": (codec or ChunkCodec()).zarr,
            "dimension_names": list(names),
            "attributes": attributes or {},
            "storage_transformers": [],
        }
    )


def write_metadata(folder: Path, content: bytes) -> None:
    """Replace the ``zarr.json`` of a folder in one durable step."""
    durable.write_file(folder / METADATA, [content])
    durable.sync_folder(folder)


def read_metadata(folder: Place, node: str, label: str) -> dict[str, Any]:
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
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{label} cannot be opened: {path} is damaged ({error})") from error
    if not isinstance(content, dict) or content.get("zarr_format") != 3 or content.get("node_type") != node:
        raise FormatError(f"{label} cannot be opened: {path} does not describe a Zarr version 3 {node}")
    if not isinstance(content.get("attributes", {}), dict):
        raise FormatError(f"{label} cannot be opened: {path} is damaged (its attributes are no table)")
    return content


@dataclasses.dataclass(frozen=True, slots=True)
class ArrayMetadata:
    """What the ``zarr.json`` of a stored array says."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    codec: ChunkCodec
    attributes: dict[str, Any]

    @property
    def blocks(self) -> int:
        """Number of blocks that the array has."""
        return math.prod(-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True))


def read_array_metadata(folder: Place, label: str) -> ArrayMetadata:
    """Return what is known of a stored array.

    Raises
    ------
    FormatError
        If it is damaged, or written in another way than the container does.
    """
    content = read_metadata(folder, "array", label)
    try:
        shape = tuple(operator.index(n) for n in content["shape"])
        chunks = tuple(operator.index(n) for n in content["chunk_grid"]["configuration"]["chunk_shape"])
        dtype = np.dtype(_DATA_TYPES[content["data_type"]])
        codec = from_zarr(content["codecs"])
        separator = content["chunk_key_encoding"]["configuration"]["separator"]
        attributes = dict(content.get("attributes", {}))
    except FormatError as error:
        raise FormatError(f"{label} cannot be opened: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{label} cannot be opened: {folder / METADATA} lacks or spoils {error}") from error
    if separator != ".":
        raise FormatError(f"{label} cannot be opened: its keys have the separator {separator!r}; zarr.open may read it")
    if len(shape) != len(chunks) or not shape or min(shape) < 0 or min(chunks) < 1 or math.prod(shape) >= 2**60:
        raise FormatError(f"{label} cannot be opened: {folder / METADATA} gives shape {shape} and blocks {chunks}")
    return ArrayMetadata(shape, chunks, dtype, codec, attributes)
