"""Write whole data sets to the container."""

from __future__ import annotations

import dataclasses
import datetime
import threading
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore._core import provenance
from esteemcore._core.errors import ParameterError, StreamError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore.events import SparseSI
from esteemcore.io import blocks, container, durable, zarr_json
from esteemcore.io.choose_codec import LossCheck, Plan, dense_block, event_blocks, plan
from esteemcore.io.dataset import Dataset, ScanRecord, SeriesRecord, Signal, check_dataset
from esteemcore.io.read_series import COLUMNS
from esteemcore.io.stored import block_name


def save(
    path: str | Path,
    dataset: Dataset,
    *,
    codec: Mapping[str, Any] | None = None,
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
        Dense and packed signals, lazy or not, and events.
    codec : mapping of str to (str, mapping or codec), optional
        Codecs for signals, by name: ``"zstd"``, the id of one of Esteem's codecs, or a mapping with ``"name"`` and
        parameters, e.g. ``{"eels": {"name": "esteem.eels-bounded", "bound_sigma": 0.5}}``. Only codecs that are named
        here may lose anything; the largest and the mean error are measured and kept in the signal's metadata under
        ``"loss"``. Default: events as events; one-bit frames and spectra in the codec made for them where a sample
        becomes at least a tenth smaller than by zstd; zstd for the others.
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
    check_dataset(dataset)
    target = container.check_path(path)
    container.check_room(target, overwrite)
    plans = _plans(dataset, codec or {})
    attributes = _attributes(dataset, plans)
    steps = Progress(sum(p.blocks for p in plans.values()), progress, cancel)
    made = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{durable.TEMPORARY}")
    aside = None
    try:
        for folder in (made, made / "signals", made / "scan"):
            durable.make_folder(folder)
        for folder in (made / "signals", made / "scan"):
            zarr_json.write_metadata(folder, zarr_json.group_metadata())
        for name, signal in dataset.signals.items():
            _write_signal(made / "signals" / name, name, signal, plans[name], steps)
        if dataset.scan is not None:
            write_scan(made / "scan", dataset.scan)
        if dataset.series is not None:
            _write_series(made / "series", dataset.series, _series_signals(dataset))
        zarr_json.write_metadata(made, zarr_json.group_metadata(attributes))
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


def _plans(dataset: Dataset, codecs: Mapping[str, Any]) -> dict[str, Plan]:
    """Return how each signal is stored, all of them checked before anything is written."""
    if not isinstance(codecs, Mapping) or not set(codecs) <= set(dataset.signals):
        raise ParameterError(
            f"codec is {codecs!r}; expected codecs by the names of signals: {', '.join(dataset.signals)}"
        )
    for name, signal in dataset.signals.items():
        container.check_name(name)
        _check_rows(name, signal, dataset)
    return {name: plan(name, signal, codecs.get(name)) for name, signal in dataset.signals.items()}


def _check_rows(name: str, signal: Signal, dataset: Dataset) -> None:
    """See that what is known of each frame is known of as many frames as there are."""
    scan, series = dataset.scan, dataset.series
    if series is not None and signal.axes[0].name == "frame" and signal.axes[0].size != len(series):
        raise ParameterError(
            f"signal {name!r} has {signal.axes[0].size} frames, but the series has {len(series)}; expected as many"
        )
    if scan is not None and signal.in_visit_order:
        for column in ("index", "visit", "time_s", "positions"):
            values = getattr(scan, column)
            if values is not None and len(values) != signal.axes[0].size:
                raise ParameterError(
                    f"signal {name!r} has {signal.axes[0].size} frames, but the scan's {column} has {len(values)} "
                    "rows; expected one for each frame"
                )


def _write_signal(folder: Path, name: str, signal: Signal, plan: Plan, steps: Progress) -> None:
    durable.make_folder(folder)
    loss = LossCheck(name, plan.codec) if plan.codec.lossy else None
    parts: Iterable[tuple[tuple[int, ...], Any]]
    if signal.kind == "events":
        parts = event_blocks(signal.data, plan)
    else:
        parts = ((place, dense_block(signal.data, plan, place)) for place in plan.places())
    for place, block in parts:
        steps.step(0)
        pieces = plan.codec.encode(block)
        if loss is not None and not isinstance(block, SparseSI):
            loss.add(block, b"".join(pieces))
        durable.write_file(folder / block_name(place), pieces)
        steps.step()
    if loss is not None:
        before = signal.metadata.get("loss")
        metadata = {**signal.metadata, "loss": [*(before if isinstance(before, list) else []), loss.record()]}
        signal = dataclasses.replace(signal, metadata=metadata)
    names, about = container.dimension_names(signal), container.signal_attributes(signal)
    content = zarr_json.array_metadata(
        plan.shape, plan.chunks, plan.dtype, names, attributes=about, fill=0, codec=plan.codec
    )
    zarr_json.write_metadata(folder, content)


def _series_signals(dataset: Dataset) -> list[str]:
    return [name for name, signal in dataset.signals.items() if signal.axes[0].name == "frame"]


def _write_series(folder: Path, series: SeriesRecord, signals: list[str]) -> None:
    durable.make_folder(folder)
    zarr_json.write_metadata(folder, zarr_json.group_metadata())
    unknown = np.full(len(series), np.nan)
    counts = np.stack([series.counts.get(name, unknown) for name in signals], axis=1) if signals else None
    columns = {name: getattr(series, name) for name in COLUMNS} | {"counts": counts}
    for name, given in columns.items():
        if given is None:
            continue
        values = np.asarray(given, np.float64)
        durable.make_folder(folder / name)
        if len(values):
            path = folder / name / block_name((0,) * values.ndim)
            durable.write_file(path, blocks.encode(values))
        content = container.column_metadata(values.shape, max(len(values), 1))
        zarr_json.write_metadata(folder / name, content)


def write_scan(folder: Path, scan: ScanRecord) -> None:
    """Write what is known of each frame, or of each position, to the folder ``scan``."""
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
        durable.make_folder(folder / name)
        if n:
            path = folder / name / block_name((0,) * values.ndim)
            durable.write_file(path, blocks.encode(values))
        zarr_json.write_metadata(folder / name, container.scan_array_metadata(name, n, block))


def _attributes(dataset: Dataset, plans: Mapping[str, Plan]) -> dict[str, Any]:
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
        series=dataset.series is not None,
        version=container.version_for(
            ((signal, plans[name].codec) for name, signal in dataset.signals.items()),
            series=dataset.series is not None,
        ),
        geometry=container.geometry_entries(dataset.geometry),
        metadata=metadata,
        provenance={**provenance.record("io.save", {"signals": list(dataset.signals)}).as_dict(), **history},
    )
