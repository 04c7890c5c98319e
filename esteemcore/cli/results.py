"""Results of a live run in a container: each image with its provenance and digest, and how the run was made."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import fourd, io
from esteemcore._core import provenance
from esteemcore.errors import CalibrationError, FormatError, ParameterError

CHAIN = "chain"
"""Where the run is described in the metadata of the data set."""

FUNCTION = "fourd.live_reducers"


@dataclasses.dataclass(frozen=True)
class Chain:
    """How the results of a live run were made.

    Attributes
    ----------
    raw : str
        File of the raw frames, as seen from the folder of the results.
    signal : str
        Which signal of it.
    options : dict
        With which it was opened.
    geometry : Geometry or None
        Calibrations.
    bins : int
        Bins of the bright-field disk.
    """

    raw: str
    signal: str
    options: dict[str, Any]
    geometry: fourd.Geometry | None
    bins: int


def save_results(path: Path, results: Mapping[str, Any], chain: Chain) -> None:
    """Write all results of a live run to a container."""
    signals = {}
    for name, (data, unit, made) in named(results, chain.geometry).items():
        metadata = {"unit": unit, "provenance": made, "digest": provenance.digest(data)}
        signals[name] = io.Signal(data, _axes(name, data, chain.geometry), metadata=metadata)
    recorded = {**dataclasses.asdict(chain), "function": FUNCTION}
    io.save(path, io.Dataset(signals, metadata={CHAIN: recorded}))


def named(results: Mapping[str, Any], geometry: fourd.Geometry | None) -> dict[str, tuple[NDArray[Any], str, Any]]:
    """Return all arrays of the results by name: values, unit, provenance as JSON has it."""
    made: dict[str, tuple[NDArray[Any], str, Any]] = {}
    for name, data, unit, record, then in _arrays(results, geometry):
        entry = json.loads(json.dumps({**record.as_dict(), "then": then}))
        made[name] = (np.ascontiguousarray(data), unit, entry)
    return made


def _arrays(results: Mapping[str, Any], geometry: fourd.Geometry | None) -> Iterator[tuple[str, Any, str, Any, str]]:
    if found := results.get("statistics"):
        for name, data in (("mean_frame", found.mean), ("variance_frame", found.variance), ("frame_sum", found.sum)):
            yield name, data, "counts", found.provenance, ""
    if found := results.get("detectors"):
        for name, data in found.images.items():
            yield name, data, "counts per frame", found.provenance, ""
    if found := results.get("com"):
        yield "com", found.com, "mrad", found.provenance, ""
        if geometry is not None:
            yield "icom", fourd.integrate(found.com, geometry), "rad", found.provenance, "fourd.integrate"
    if found := results.get("ssb"):
        yield "ssb", found.phase, "rad", found.provenance, ""


def _axes(name: str, data: NDArray[Any], geometry: fourd.Geometry | None) -> tuple[io.Axis, ...]:
    frame = name in ("mean_frame", "variance_frame")
    names = ("ky", "kx") if frame else ("y", "x", "component")
    axes = [io.Axis(name, size) for name, size in zip(names, data.shape, strict=False)]
    if geometry is not None and not frame:
        for i, step in enumerate(geometry.step_nm):
            axes[i] = dataclasses.replace(axes[i], scale=step, unit="nm")
    return tuple(axes)


def read_chain(dataset: io.Dataset) -> Chain:
    """Return how the results in a container were made.

    Raises
    ------
    FormatError
        If they were not made by ``esteem live --save``, or what is written about it is damaged.
    """
    entry = dataset.metadata.get(CHAIN)
    if entry is None:
        raise FormatError(
            f"{dataset.path} holds no recorded results: raw data are measured, not computed, and images of other "
            "programs say too little; esteem live --save writes results that can be made again"
        )
    try:
        if entry["function"] != FUNCTION:
            raise FormatError(f"{dataset.path}: results of {entry['function']} cannot be made again by this Esteem")
        geometry = None if entry["geometry"] is None else fourd.Geometry(**_tuples(entry["geometry"]))
        options = {key: value for key, value in dict(entry["options"]).items() if value is not None}
        return Chain(str(entry["raw"]), str(entry["signal"]), options, geometry, int(entry["bins"]))
    except (KeyError, TypeError, ValueError, AttributeError, CalibrationError, ParameterError) as error:
        raise FormatError(f"{dataset.path}: what is recorded of the run is damaged: {error}") from error


def _tuples(entries: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in entries.items():
        nested = _tuples(value) if isinstance(value, Mapping) else value
        made[key] = tuple(nested) if isinstance(nested, list) else nested
    return made


def relative(path: Path, folder: Path) -> str:
    """Return a path as seen from a folder; absolute where there is no way, as between drives."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return str(path.resolve())
