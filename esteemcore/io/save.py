"""Write whole data sets to the container."""

from __future__ import annotations

import datetime
import itertools
import math
import threading
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore._core import provenance
from esteemcore._core.errors import ParameterError, StreamError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore.io import blocks, container, durable
from esteemcore.io.dataset import Dataset, ScanRecord, Signal
from esteemcore.io.stored import block_name

_BLOCK_BYTES = 4 * 2**20


def save(
    path: str | Path,
    dataset: Dataset,
    *,
    overwrite: bool = False,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> None:
    """Write a data set to a container, one block in memory at a time; it appears under its name when it is whole.

    Parameters
    ----------
    path : str or Path
        Folder to make, ``*.esteem`` or ``*.zarr``.
    dataset : Dataset
        Dense and packed signals, lazy or not.
    overwrite : bool
        Replace a container that is there already.
    progress : callable, optional
        Called with the fraction done.
    cancel : threading.Event, optional
        When set, the work stops with `CancelledError` and nothing is left behind.

    Raises
    ------
    ParameterError
        If the name cannot be used or a signal cannot be stored.
    StreamError
        If the disk is full or refuses; nothing is left behind.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from esteemcore import io
    >>> image = io.Signal(np.eye(4), (io.Axis("y", 4, 0.1, unit="nm"), io.Axis("x", 4, 0.1, unit="nm")))
    >>> path = tempfile.mkdtemp() + "/image.esteem"
    >>> io.save(path, io.Dataset({"adf": image}))
    >>> io.load(path).signals["adf"].data[1, 1]
    np.float64(1.0)
    """
    target = container.check_path(path)
    if target.exists() and not overwrite:
        container.make_room(target, overwrite)
    for name, signal in dataset.signals.items():
        _check(name, signal, dataset.scan)
    steps = Progress(sum(_block_count(s) for s in dataset.signals.values()), progress, cancel)
    made = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{durable.TEMPORARY}")
    aside = None
    try:
        for folder in (made, made / "signals", made / "scan"):
            folder.mkdir(parents=True)
        for folder in (made / "signals", made / "scan"):
            container.write_metadata(folder, container.group_metadata())
        for name, signal in dataset.signals.items():
            _write_signal(made / "signals" / name, signal, steps)
        if dataset.scan is not None:
            _write_scan(made / "scan", dataset.scan)
        container.write_metadata(made, container.group_metadata(_attributes(dataset)))
        durable.sync_folder(made / "signals")
        aside = container.make_room(target, overwrite)
        made.rename(target)
        durable.sync_folder(target.parent)
    except OSError as error:
        if aside is not None and not target.exists():
            aside.rename(target)
        raise StreamError(f"{target} cannot be written: {durable.reason(error)}; nothing was changed") from error
    finally:
        container.discard(made)
    container.discard(aside)


def _check(name: str, signal: Signal, scan: ScanRecord | None) -> None:
    container.check_name(name)
    if signal.kind == "events":
        raise ParameterError(f"signal {name!r} is a table of events, which version 1 of the container cannot hold")
    dtype = np.dtype(signal.data.dtype)
    if dtype.kind not in "biufc" or dtype.itemsize > (16 if dtype.kind == "c" else 8):
        raise ParameterError(f"signal {name!r} has dtype {dtype}; expected numbers or booleans")
    if scan is not None and signal.in_visit_order:
        for column in ("index", "visit", "time_s", "positions"):
            values = getattr(scan, column)
            if values is not None and len(values) != signal.axes[0].size:
                raise ParameterError(
                    f"signal {name!r} has {signal.axes[0].size} frames, but the scan's {column} has {len(values)} "
                    "rows; expected one for each frame"
                )


def block_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the shape of blocks of about 4 MB: the last axes whole, the first ones cut."""
    room = max(_BLOCK_BYTES // itemsize, 1)
    chunks = []
    for size in reversed(shape):
        chunks.append(max(min(size, room), 1))
        room = max(room // max(size, 1), 1)
    return tuple(reversed(chunks))


def _block_count(signal: Signal) -> int:
    shape = tuple(signal.data.shape)
    chunks = block_shape(shape, np.dtype(signal.data.dtype).itemsize)
    return math.prod(-(-s // c) for s, c in zip(shape, chunks, strict=True))


def _write_signal(folder: Path, signal: Signal, steps: Progress) -> None:
    folder.mkdir()
    shape = tuple(signal.data.shape)
    dtype = np.dtype(signal.data.dtype).newbyteorder("=")
    chunks = block_shape(shape, dtype.itemsize)
    content = container.array_metadata(
        shape, chunks, dtype, container.dimension_names(signal), attributes=container.signal_attributes(signal), fill=0
    )
    for place in itertools.product(*(range(-(-s // c)) for s, c in zip(shape, chunks, strict=True))):
        steps.step(0)
        cut = tuple(slice(b * c, min((b + 1) * c, s)) for b, c, s in zip(place, chunks, shape, strict=True))
        part = np.asarray(signal.data[cut])
        block = np.zeros(chunks, dtype)
        block[tuple(slice(n) for n in part.shape)] = part
        durable.write_file(folder / block_name(place), blocks.encode(block))
        steps.step()
    container.write_metadata(folder, content)


def _write_scan(folder: Path, scan: ScanRecord) -> None:
    columns: dict[str, Any] = {
        "index": scan.index,
        "visit": scan.visit,
        "time_s": scan.time_s,
        "position": scan.positions,
    }
    for name, given in columns.items():
        if given is None:
            continue
        dtype, _, more = container.SCAN_ARRAYS[name]
        values = np.asarray(given, dtype)
        n = len(values)
        if values.shape != (n, *more):
            raise ParameterError(f"scan.{name} has shape {values.shape}; expected {('n', *more)}")
        block = max(n, 1)
        (folder / name).mkdir()
        if n:
            path = folder / name / block_name((0,) * values.ndim)
            durable.write_file(path, blocks.encode(values))
        container.write_metadata(folder / name, container.scan_array_metadata(name, n, block))


def _attributes(dataset: Dataset) -> dict[str, Any]:
    metadata = {key: value for key, value in dataset.metadata.items() if key not in ("created", "provenance")}
    history = {"of": dataset.path, "format": dataset.format, "before": dataset.metadata.get("provenance")}
    return container.root_attributes(
        signals=tuple(dataset.signals),
        closed=True,
        created=str(
            dataset.metadata.get("created") or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        ),
        scan=dataset.scan,
        stored_order=dataset.scan is not None and dataset.scan.index is not None,
        geometry=container.geometry_entries(dataset.geometry),
        metadata=metadata,
        provenance={**provenance.record("io.save", {"signals": list(dataset.signals)}).as_dict(), **history},
    )
