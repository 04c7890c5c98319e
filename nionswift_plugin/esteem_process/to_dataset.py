"""From Nion's data items to a data set, without reading the data."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nion.data import DataAndMetadata
from nion.swift.model import DataItem

from esteemcore import io
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_process import descriptors
from nionswift_plugin.esteem_process.origin import Origin, common, without
from nionswift_plugin.esteem_scan import binding

RECORD = "nion"
"""Under this key the metadata of a signal keep what only Nion Swift needs."""

_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""

FRAMES = (["frame", "ky", "kx"], ["y", "x", "ky", "kx"])
"""Axes of what Esteem calls detector frames."""

MRAD = {"mrad": 1.0, "rad": 1e3}


def make_dataset(items: Iterable[DataItem.DataItem]) -> io.Dataset:
    """Return data items as the signals of one data set.

    Parameters
    ----------
    items : iterable of DataItem
        Their data stay where they are: `io.save` reads them block by block, also from Nion's HDF5 files.

    Raises
    ------
    ParameterError
        If one has no data, is a colour picture, or there are none.
    """
    signals: dict[str, io.Signal] = {}
    metadata: dict[str, Any] = {}
    scans: list[io.ScanRecord] = []
    geometry: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for item in items:
        signal = _signal(item)
        own = signal.metadata[RECORD]["metadata"]
        origin = Origin.of(own, signal)
        name = _name(origin.signal_name(item.title), signals)
        origins[name] = origin
        signals[name] = dataclasses.replace(signal, metadata={**signal.metadata, **origin.of_signal})
        if signal.frame_shape is not None and len(signal.axes) == 4:
            scans.append(_scan(signal.axes))
            geometry = _geometry(signal.axes)
        for key, value in (("instrument", own.get("instrument")), *dict(own.get(binding.KEY, {})).items()):
            if key in ("instrument", "provenance", "specimen", "people", "credits") and value is not None:
                metadata.setdefault(key, value)
        for key, value in origin.of_data_set.items():
            metadata.setdefault(key, value)
    if not signals:
        raise ParameterError("no data item is selected; select an image, a spectrum or a spectrum image")
    metadata.setdefault("title", next(iter(signals.values())).metadata[RECORD]["title"])
    known = common(origins, signals)
    said = {name for name in ("scan", "series") if getattr(known, name) is not None}
    signals = {name: _said_once(signal, said, metadata) for name, signal in signals.items()}
    scan = known.scan or (scans[0] if len(scans) == 1 else None)
    return io.Dataset(
        signals, scan=scan, geometry={**known.geometry, **geometry}, metadata=metadata, series=known.series
    )


def _signal(item: DataItem.DataItem) -> io.Signal:
    xdata = item.xdata
    if xdata is None or not xdata.data_shape:
        raise ParameterError(f"{item.title!r} has no data")
    if item.is_live:
        raise ParameterError(f"{item.title!r} is being acquired; stop the acquisition first")
    if xdata.is_data_rgb_type:
        raise ParameterError(
            f"{item.title!r} is a colour picture, not measured values; export it as PNG or TIFF instead"
        )
    names = descriptors.axis_names(xdata.data_descriptor, xdata.dimensional_calibrations)
    axes = tuple(
        io.Axis(name, size, calibration.scale, calibration.offset, calibration.units or "")
        for name, size, calibration in zip(names, xdata.data_shape, xdata.dimensional_calibrations, strict=True)
    )
    frames = (axes[-2].size, axes[-1].size) if names in FRAMES else None
    return io.Signal(xdata.data, axes, "dense", frames, {RECORD: _record(item, xdata)})


def _said_once(signal: io.Signal, said: set[str], metadata: Mapping[str, Any]) -> io.Signal:
    """Return a signal whose record leaves out what the data set and the signal say themselves."""
    record = dict(signal.metadata[RECORD])
    record["metadata"] = without(record["metadata"], said, {**metadata, **signal.metadata})
    return dataclasses.replace(signal, metadata={**signal.metadata, RECORD: record})


def _record(item: DataItem.DataItem, xdata: DataAndMetadata.DataAndMetadata) -> dict[str, Any]:
    descriptor, intensity = xdata.data_descriptor, xdata.intensity_calibration
    return {
        "title": item.title,
        "caption": item.caption or "",
        "is_sequence": bool(descriptor.is_sequence),
        "collection_dimension_count": int(descriptor.collection_dimension_count),
        "datum_dimension_count": int(descriptor.datum_dimension_count),
        "intensity": [float(intensity.offset), float(intensity.scale), intensity.units or ""],
        "created": item.created.isoformat(),
        "timezone": xdata.timezone,
        "timezone_offset": xdata.timezone_offset,
        "metadata": dict(xdata.metadata),
    }


def _name(title: str, taken: Iterable[str]) -> str:
    """Return a name for a signal, from a title that may hold anything."""
    plain = re.sub(r"[^\w .+-]+", " ", title).lstrip(" .+-").rstrip(" .")[:80].rstrip(" .") or "data"
    plain = f"data {plain}" if _DEVICE.fullmatch(plain) else plain
    known = {name.casefold() for name in taken}  # some disks know no difference
    name, number = plain, 1
    while name.casefold() in known:
        number += 1
        name = f"{plain} {number}"
    return name


def _scan(axes: Sequence[io.Axis]) -> io.ScanRecord:
    return io.ScanRecord((axes[0].size, axes[1].size), step_nm=_step_nm(axes))


def _geometry(axes: Sequence[io.Axis]) -> dict[str, Any]:
    """Return the geometry of 4D-STEM data (y, x, ky, kx), as far as the calibrations say it."""
    step = _step_nm(axes)
    geometry: dict[str, Any] = {} if step is None else {"scan_step_nm": step}
    if all(axis.unit in MRAD for axis in axes[2:]):
        geometry["pixel_mrad"] = (axes[2].scale * MRAD[axes[2].unit], axes[3].scale * MRAD[axes[3].unit])
    return geometry


def _step_nm(axes: Sequence[io.Axis]) -> tuple[float, float] | None:
    return (axes[0].scale, axes[1].scale) if all(axis.unit == "nm" for axis in axes[:2]) else None
