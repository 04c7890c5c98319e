"""Files of other programs, through RosettaSciIO."""

from __future__ import annotations

import dataclasses
import importlib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore._core.errors import EsteemError, FormatError
from esteemcore.io.dataset import Axis, Dataset, ScanRecord, Signal
from esteemcore.optics import wavelength_nm

_ORDER = ("frame", "", "y", "x", "ky", "kx", "energy", "wavelength")
_NANOMETRES = {"m": 1e9, "mm": 1e6, "µm": 1e3, "nm": 1.0, "Å": 0.1, "pm": 1e-3}
_PER_NANOMETRE = {"1/nm": 1.0, "nm^-1": 1.0, "nm-1": 1.0, "1/Å": 10.0, "Å^-1": 10.0, "1/A": 10.0}


def load_foreign(path: Path, scan_shape: tuple[int, int] | None) -> Dataset:
    """Open a file of another program.

    Raises
    ------
    FormatError
        If no reader takes it, with what each of them says.
    """
    options = {"arina": {"navigation_shape": scan_shape}} if scan_shape is not None else {}
    reader, entries = read_with_rosettasciio(path, options=options)
    if reader == "Arina":  # calls the axes x, y, qx, qy, slowest first
        for entry in entries:
            entry["axes"] = [{**a, "name": n} for a, n in zip(entry["axes"], ("y", "x", "ky", "kx"), strict=True)]
    return build_dataset(path, reader, entries, scan_shape)


def read_with_rosettasciio(
    path: Path, only: str | None = None, options: Mapping[str, dict[str, Any]] | None = None
) -> tuple[str, list[dict[str, Any]]]:
    """Return the name of the reader that took a file, and its dictionaries, lazy where it can.

    Parameters
    ----------
    path : Path
        The file.
    only : str, optional
        Name of the reader to use; default: all that know the suffix, in turn.
    options : mapping of str to dict
        Keywords for a reader, by its name in small letters.
    """
    from rsciio import IO_PLUGINS

    suffix = path.suffix.lower().removeprefix(".")
    readers = [
        plugin
        for plugin in IO_PLUGINS
        if (plugin["name"] == only if only else suffix in [e.lower() for e in plugin["file_extensions"]])
    ]
    if not readers:
        raise FormatError(f"{path} is of no kind that can be read{_hint(path)}")
    said = []
    for plugin in readers:
        try:
            entries = _call(plugin["api"], path, (options or {}).get(plugin["name"].lower(), {}))
            if entries:
                return str(plugin["name"]), entries
            said.append((plugin["name"], "it finds no data"))
        except EsteemError:
            raise
        except Exception as error:  # readers of foreign files may raise anything at all
            said.append((plugin["name"], _why(error).replace(str(path), "it")))
    reasons = "; ".join(f"{name}: {why}" for name, why in said)
    raise FormatError(f"{path} cannot be read{_hint(path)} ({reasons})")


def _hint(path: Path) -> str:
    """Say what to open instead of a file that only goes with another one."""
    if path.suffix.lower() == ".zip":
        return "; unzip it first"
    for ending, partner in ((".hdr", ".mib"), ("_info.txt", "_movie.mrc"), ("_scan_coordinates.csv", "_movie.mrc")):
        other = path.with_name(path.name.removesuffix(ending) + partner)
        if path.name.endswith(ending) and other.exists():
            return f"; open {other.name}, which it belongs to"
    return ""


def _call(api: str, path: Path, options: dict[str, Any]) -> list[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about optional speed-ups and old header fields
        reader = importlib.import_module(api).file_reader
        try:
            return list(reader(str(path), lazy=True, **options))
        except NotImplementedError:
            return list(reader(str(path), lazy=False, **options))


def _why(error: Exception) -> str:
    """Say in one short line why a reader refused."""
    if isinstance(error, ModuleNotFoundError):
        return f"needs the library {error.name}, run: python -m pip install {error.name}"
    text = " ".join(str(error).split())
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"it refers to {error.filename}, which is not there"
    return (text[:160] + " ..." if len(text) > 160 else text) or type(error).__name__


def build_dataset(
    path: Path, reader: str, entries: list[dict[str, Any]], scan_shape: tuple[int, int] | None
) -> Dataset:
    """Make a data set of what a reader of RosettaSciIO returned."""
    signals: dict[str, Signal] = {}
    geometry: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    notes: list[str] = []
    for entry in entries:
        try:
            signal = _signal(entry)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            notes.append(f"one data set of the file is left out: {_why(error)}")
            continue
        signals[_name(entry, signal, signals)] = signal
        geometry.update(_geometry(signal, geometry))
        general = signal.metadata.get("General", {})
        for key in ("title", "date", "time", "authors"):
            if isinstance(general.get(key), str) and general[key]:
                metadata.setdefault(key, general[key])
        if isinstance(signal.metadata.get("Sample"), Mapping):
            metadata.setdefault("specimen", dict(signal.metadata["Sample"]))
    if not signals:
        raise FormatError(f"{path} cannot be read: {'; '.join(notes) or 'it holds no data'}")
    eager = [name for name, s in signals.items() if not s.lazy and s.nbytes > 10e6]
    if eager:
        notes.append(f"read into memory as a whole: {', '.join(eager)}")
    return Dataset(
        signals, _scan(signals, scan_shape, geometry), geometry, metadata, str(path), f"{reader} file", tuple(notes)
    )


def _signal(entry: dict[str, Any]) -> Signal:
    """Make a signal with our axis names in our order."""
    data, metadata = entry["data"], dict(entry.get("metadata") or {})
    kind = str(metadata.get("Signal", {}).get("signal_type", ""))
    axes = _axes(entry["axes"], data.shape, kind)
    order = sorted(range(len(axes)), key=lambda i: _ORDER.index(axes[i].name) if axes[i].name in _ORDER else 1)
    if order != list(range(len(axes))):
        data, axes = data.transpose(order), tuple(axes[i] for i in order)
    names = [axis.name for axis in axes]
    frame_shape = (axes[-2].size, axes[-1].size) if names[-2:] == ["ky", "kx"] else None
    kept = {key: value for key, value in metadata.items() if key not in ("_HyperSpy", "Markers")}
    return Signal(data, axes, frame_shape=frame_shape, metadata=kept)


def _axes(entries: list[dict[str, Any]], shape: tuple[int, ...], kind: str) -> tuple[Axis, ...]:
    """Name the axes as we do; those without a name by their place."""
    if tuple(_size(e) for e in entries) != tuple(shape):
        entries = sorted(entries, key=lambda e: e.get("index_in_array") or 0)
        if tuple(_size(e) for e in entries) != tuple(shape):
            raise ValueError(f"its axes have sizes {[_size(e) for e in entries]}, its data shape {tuple(shape)}")
    diffraction = "diffraction" in kind
    moving = [i for i, e in enumerate(entries) if e.get("navigate")]
    fixed = [i for i in range(len(entries)) if i not in moving]
    by_place: dict[int, str] = {}
    if len(fixed) == 2:
        by_place = dict(zip(fixed, ("ky", "kx") if diffraction or len(moving) == 2 else ("y", "x"), strict=True))
    by_place.update(zip(reversed(moving), ("frame",) if len(moving) == 1 else ("x", "y", "frame"), strict=False))
    axes: list[Axis] = []
    for i, (entry, size) in enumerate(zip(entries, shape, strict=True)):
        unit = _unit(str(entry.get("units") or ""))
        name = _axis_name(str(entry.get("name") or ""), unit, by_place.get(i, ""), [a.name for a in axes])
        values = entry.get("axis")
        scale, offset = entry.get("scale"), entry.get("offset")
        if name in ("y", "x") and scale in (0, -1):  # what cameras write when they do not know
            scale, offset, unit = 1.0, 0.0, ""
        axes.append(
            Axis(
                name or f"axis{i}",
                int(size),
                1.0 if scale is None else float(scale),
                0.0 if offset is None else float(offset),
                unit,
                None if values is None else tuple(np.asarray(values, np.float64).tolist()),
            )
        )
    return tuple(axes)


def _size(entry: dict[str, Any]) -> int:
    return int(entry["size"]) if entry.get("size") is not None else len(entry["axis"])


def _unit(unit: str) -> str:
    """Return a unit in one spelling."""
    unit = unit.replace("<undefined>", "").strip().strip("$").replace("\u03bc", "\u00b5")
    return {"1": "", "um": "\u00b5m", "A": "\u00c5", "\u212b": "\u00c5"}.get(unit, unit)


def _axis_name(name: str, unit: str, by_place: str, taken: list[str]) -> str:
    """Return our name for an axis: by its unit, by its foreign name, by its place."""
    low = name.lower()
    if unit.lower() in ("ev", "kev") or "energy" in low:
        ours = "energy"
    elif "wavelength" in low:
        ours = "wavelength"
    elif low in ("x", "y") and by_place in ("kx", "ky"):
        ours = by_place
    else:
        known = {"height": "y", "width": "x", "y": "y", "x": "x"} | {f"{p}{a}": f"k{a}" for p in "dqk" for a in "yx"}
        ours = known.get(low, by_place or low)
    return ours if ours not in taken else f"{ours}_{len(taken)}"


def _name(entry: dict[str, Any], signal: Signal, taken: Mapping[str, Signal]) -> str:
    """Return a short name that is not taken: the title, or what it is."""
    general = signal.metadata.get("General", {})
    title = re.sub(r"[^\w.+-]+", "_", str(general.get("title") or "")).strip("_.")
    if not title or len(title) > 32 or signal.frame_shape is not None:
        names = [axis.name for axis in signal.axes]
        title = "frames" if signal.frame_shape else "spectra" if "energy" in names[-1:] else "image"
    name, n = title, 1
    while name in taken:
        n += 1
        name = f"{title}_{n}"
    return name


def _geometry(signal: Signal, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the calibrations that the metadata and the axes of a signal give."""
    found: dict[str, Any] = {}
    instrument = signal.metadata.get("Acquisition_instrument", {})
    microscope = instrument.get("TEM", {}) if isinstance(instrument, Mapping) else {}
    for ours, theirs in (("beam_energy_kev", "beam_energy"), ("semiangle_mrad", "convergence_angle")):
        value = microscope.get(theirs) if isinstance(microscope, Mapping) else None
        if isinstance(value, int | float | np.number) and value > 0:
            found[ours] = float(value)
    axes = {axis.name: axis for axis in signal.axes}
    if len(axes) > 2 and {"y", "x"} <= axes.keys():
        step = [abs(axes[a].scale) * _NANOMETRES.get(axes[a].unit, 0.0) for a in ("y", "x")]
        if min(step) > 0:
            found["scan_step_nm"] = _one_or_pair(step)
    energy = found.get("beam_energy_kev", known.get("beam_energy_kev"))
    if {"ky", "kx"} <= axes.keys():
        pixel = []
        for name in ("ky", "kx"):
            scale, unit = abs(axes[name].scale), axes[name].unit
            if unit in ("mrad", "rad"):
                pixel.append(scale * (1e3 if unit == "rad" else 1.0))
            elif unit in _PER_NANOMETRE and energy:
                pixel.append(1e3 * scale * _PER_NANOMETRE[unit] * wavelength_nm(energy))
        if len(pixel) == 2 and min(pixel) > 0:
            found["pixel_mrad"] = _one_or_pair(pixel)
    return found


def _one_or_pair(values: list[float]) -> float | tuple[float, float]:
    return values[0] if np.isclose(values[0], values[1], rtol=1e-6) else (values[0], values[1])


def _scan(
    signals: Mapping[str, Signal], scan_shape: tuple[int, int] | None, geometry: Mapping[str, Any]
) -> ScanRecord | None:
    """Return the scan of the frames or, without frames, of the largest image or spectrum image."""
    listed = [s for s in signals.values() if s.in_visit_order]
    if scan_shape is not None:
        return ScanRecord(scan_shape, step_nm=geometry.get("scan_step_nm"))
    if listed:
        return ScanRecord((1, max(listed[0].axes[0].size, 1)))
    scanned = [s for s in signals.values() if [a.name for a in s.axes[:2]] == ["y", "x"]]
    scanned = [s for s in scanned if len(s.axes) > 2] or scanned
    shapes = [(s.axes[0].size, s.axes[1].size) for s in scanned]
    if not shapes or min(map(min, shapes)) < 1:
        return None
    return ScanRecord(max(shapes, key=lambda s: s[0] * s[1]), step_nm=geometry.get("scan_step_nm"))


def with_frames(dataset: Dataset, name: str, signal: Signal, **changes: Any) -> Dataset:
    """Return the data set with one signal exchanged."""
    return dataclasses.replace(dataset, signals={**dataset.signals, name: signal}, **changes)
