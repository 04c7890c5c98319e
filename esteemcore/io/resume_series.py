"""A series that is there already, closed or left by a process that died: what frames must be like to be appended."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.io import container, zarr_json
from esteemcore.io.choose_codec import Plan
from esteemcore.io.dataset import Axis, Dataset, ScanRecord
from esteemcore.io.read_container import load_container, read_root
from esteemcore.io.read_series import COLUMNS
from esteemcore.io.series_files import Layer
from esteemcore.io.stored import StoredBlocks


@dataclasses.dataclass(frozen=True, eq=False)
class FoundSeries:
    """A series on disk to which frames can be appended.

    Attributes
    ----------
    dataset : Dataset
        As it was read.
    layers : dict of str to Layer
        How a frame of each signal is stored, in the order of the container.
    capacity, rows : int
        Rows that all arrays of ``series/`` have, 0 if one is missing; and rows of a block of them, 0 if all are.
    created : str
    provenance : dict
        As they are in the attributes of the container.
    """

    dataset: Dataset
    layers: Mapping[str, Layer]
    capacity: int
    rows: int
    created: str
    provenance: Mapping[str, Any]

    def __len__(self) -> int:
        return 0 if self.dataset.series is None else len(self.dataset.series)


def find(path: Path) -> FoundSeries:
    """Open a series to append to it; changes nothing.

    Raises
    ------
    ParameterError
        If it is no series, or not stored frame by frame.
    FormatError
        If it is damaged where frames would be added.
    """
    if path.is_file():
        raise ParameterError(f"{path} is a file; frames are appended to the folder of a series, unpack it first")
    dataset, attributes = load_container(path), read_root(path)
    if dataset.series is None:
        raise ParameterError(f"{path} is no series of frames; write a new one, or append to another")
    damage = [note for note in dataset.notes if "cannot be read" in note]
    if damage:
        raise FormatError(f"{path} is damaged, so that nothing is appended: {damage[0]}; begin a new series")
    columns = []
    for name in (*COLUMNS, "counts"):
        folder = path / "series" / name
        if (folder / zarr_json.METADATA).exists():
            columns.append(zarr_json.read_array_metadata(folder, f"{path}: series/{name}"))
    rows = {column.chunks[0] for column in columns}
    if len(rows) > 1:
        raise ParameterError(f"{path} was not written frame by frame by Esteem; write a new series")
    return FoundSeries(
        dataset,
        {name: _layer(path, name, dataset) for name in dataset.signals},
        min(column.shape[0] for column in columns) if len(columns) > len(COLUMNS) else 0,
        max(rows, default=0),
        str(attributes.get("created")),
        dict(attributes.get("provenance") or {}),
    )


def agreed(
    found: FoundSeries,
    given: Mapping[str, Layer] | None,
    scan: ScanRecord | None,
    *,
    exact: Collection[str],
    axes: Collection[str],
) -> dict[str, Layer]:
    """Return how the frames are stored, where what was given agrees with what is there.

    Parameters
    ----------
    found : FoundSeries
    given : mapping of str to Layer or None
        What will come; None: what is there.
    scan : ScanRecord or None
        None: the one that is there.
    exact, axes : collection of str
        Signals whose codec, and whose axes, were asked for.

    Raises
    ------
    ParameterError
        If they differ.
    """
    path = found.dataset.path
    if scan is not None and not _same_scan(scan, found.dataset.scan):
        raise ParameterError(f"{path} was scanned in another way; give the same scan or none, or begin a new series")
    if given is None:
        return dict(found.layers)
    if set(given) != set(found.layers):
        raise ParameterError(
            f"{path} has frames of {', '.join(map(repr, found.layers))}, but {', '.join(map(repr, given))} shall be "
            "appended; give the same signals, or begin a new series"
        )
    made = {}
    for name, there in found.layers.items():
        new = given[name]
        pairs: list[tuple[str, Any, Any]] = [
            ("frames of shape", there.plan.shape[1:], new.plan.shape[1:]),
            ("dtype", there.plan.dtype, new.plan.dtype),
            ("kind", there.signal.kind, new.signal.kind),
        ]
        if name in exact:
            pairs.append(("codec", there.plan.codec.zarr, new.plan.codec.zarr))
        if name in axes:
            pairs.append(("axes", there.signal.axes[1:], new.signal.axes[1:]))
        for what, old, asked in pairs:
            if old != asked:
                raise ParameterError(
                    f"{path} has signal {name!r} with {what} {old}, but {asked} shall be appended; give the same, or "
                    "begin a new series"
                )
        metadata = {**new.signal.metadata, **there.signal.metadata}
        made[name] = dataclasses.replace(there, signal=dataclasses.replace(there.signal, metadata=metadata))
    return made


def _layer(path: Path, name: str, dataset: Dataset) -> Layer:
    signal = dataset.signals[name]
    data = signal.data
    if not isinstance(data, StoredBlocks) or signal.axes[0].name != "frame" or data.chunks[0] != 1:
        raise ParameterError(
            f"{path} has signal {name!r} in blocks of several frames, so that none can be appended; write a new series"
        )
    shape = (1, *data.shape[1:])
    one = type(data)(data.folder, data.label, data.unit, shape, data.chunks, data.dtype, codec=data.codec)
    signal = dataclasses.replace(signal, data=one, axes=(Axis("frame", 1), *signal.axes[1:]))
    return Layer(name, signal, Plan(data.codec, shape, data.chunks, data.dtype))


def _same_scan(a: ScanRecord, b: ScanRecord | None) -> bool:
    if b is None:
        return False
    for field in dataclasses.fields(ScanRecord):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
            if (
                one is None
                or other is None
                or not np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")
            ):
                return False
        elif container.plain(one) != container.plain(other):
            return False
    return True
