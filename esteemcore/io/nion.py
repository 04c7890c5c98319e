"""Files of Nion Swift, read without Nion's libraries: what it keeps in a project, and what it exports."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from esteemcore._core.errors import FormatError
from esteemcore.io.dataset import Axis, Dataset, ScanRecord, Signal

ZIPPED = (".ndata", ".ndata1")
HDF5 = (".nhdf", ".h5")
_RECIPROCAL = ("mrad", "rad", "1/nm", "1/Å", "1/A", "nm^-1")
_PROPERTIES = "properties"


def is_nion(path: Path) -> bool:
    """Return whether a file is one of Nion Swift's, by its name, or for ``.h5`` by what is in it."""
    suffix = path.suffix.lower()
    if suffix != ".h5":
        return suffix in (*ZIPPED, *HDF5)
    import h5py

    try:
        with h5py.File(path) as file:
            return "data" in file and isinstance(file["data"], h5py.Dataset) and _PROPERTIES in file["data"].attrs
    except OSError:
        return False


def load_nion(path: Path) -> Dataset:
    """Open a file of Nion Swift; its data stay on disk until they are sliced.

    Parameters
    ----------
    path : Path
        ``.ndata``, ``.ndata1`` (zips of an array), ``.h5`` or ``.nhdf`` (HDF5; of several data items each is a signal).

    Returns
    -------
    Dataset
        Sequences have the axis ``frame``, scans ``y`` and ``x``, spectra ``energy``.

    Raises
    ------
    FormatError
        If it is damaged or not Nion's.
    """
    try:
        found = _zipped(path) if path.suffix.lower() in ZIPPED else _hdf5(path)
        signals: dict[str, Signal] = {}
        for data, properties in found:
            signal = _signal(data, properties)
            signals[_name(properties, signal, signals)] = signal
    except FormatError:
        raise
    except (OSError, KeyError, ValueError, TypeError, IndexError, zipfile.BadZipFile, RecursionError) as error:
        raise FormatError(f"{path} is no whole file of Nion Swift ({type(error).__name__}: {error})") from error
    if not signals:
        raise FormatError(f"{path} holds no data item")
    first = next(iter(signals.values()))
    return Dataset(
        signals, _scan(first.axes), {}, {"title": str(found[0][1].get("title", ""))}, str(path), "Nion Swift file"
    )


def _zipped(path: Path) -> list[tuple[Any, dict[str, Any]]]:
    """Return array and properties of a zip; the array is mapped where it is stored plainly, as Nion does."""
    with zipfile.ZipFile(path) as file:
        properties = _described(file.read("metadata.json"))
        entry = file.getinfo("data.npy")
        if entry.compress_type != zipfile.ZIP_STORED:
            with file.open(entry) as packed:
                return [(np.lib.format.read_array(packed, allow_pickle=False), properties)]
    with path.open("rb") as raw:
        raw.seek(entry.header_offset + 26)
        name, extra = np.frombuffer(raw.read(4), "<u2")
        raw.seek(entry.header_offset + 30 + int(name) + int(extra))
        shape, fortran, dtype = _array_header(raw)
        start = raw.tell()
    if dtype.hasobject:
        raise FormatError(f"{path} holds no numbers")
    if 0 in shape:
        return [(np.empty(shape, dtype), properties)]
    return [(np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C"), properties)]


def _array_header(raw: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(raw)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(raw)
    return shape, fortran, dtype


def _hdf5(path: Path) -> list[tuple[Any, dict[str, Any]]]:
    """Return data sets, which keep the file open, and their properties."""
    import h5py

    file = h5py.File(path)
    data = file["data"]
    held = [data] if isinstance(data, h5py.Dataset) else [data[key] for key in sorted(data)]
    return [(one, _described(one.attrs[_PROPERTIES])) for one in held]


def _described(text: Any) -> dict[str, Any]:
    properties = json.loads(text)
    if not isinstance(properties, dict):
        raise FormatError("the properties of the data item are no table")
    return properties


def _signal(data: Any, properties: Mapping[str, Any]) -> Signal:
    calibrations = properties.get("dimensional_calibrations") or properties.get("spatial_calibrations") or []
    if len(calibrations) != len(data.shape):
        calibrations = [{}] * len(data.shape)
    units = [str(c.get("units") or "") for c in calibrations]
    names = _axis_names(properties, len(data.shape), units)
    axes = tuple(
        Axis(name, int(size), float(c.get("scale") or 1.0), float(c.get("offset") or 0.0), unit)
        for name, size, c, unit in zip(names, data.shape, calibrations, units, strict=True)
    )
    frame = (axes[-2].size, axes[-1].size) if names[-2:] == ["ky", "kx"] else None
    kept = {
        key: properties[key] for key in ("title", "metadata", "created", "intensity_calibration") if key in properties
    }
    return Signal(data, axes, frame_shape=frame, metadata={"nion": kept})


def _axis_names(properties: Mapping[str, Any], dims: int, units: Sequence[str]) -> list[str]:
    """Return the names of the axes, of which Nion knows only what they count."""
    sequence = bool(properties.get("is_sequence", False))
    datum = int(properties.get("datum_dimension_count") or 0) or (1 if dims - sequence in (1, 3) else 2)
    collection = dims - sequence - datum
    if not 0 <= collection <= 2 or datum > 2:
        raise FormatError(f"the data item has {dims} axes, {datum} of them in each datum; expected a scan at most")
    names = ["frame"] * sequence + ["y", "x"][2 - collection :]
    if datum == 1:
        return [*names, "energy" if collection or units[-1] in ("eV", "keV", "meV") else "x"]
    reciprocal = collection > 0 or all(unit in _RECIPROCAL for unit in units[-2:])
    return [*names, *(("ky", "kx") if reciprocal else ("y", "x"))]


def _name(properties: Mapping[str, Any], signal: Signal, taken: Mapping[str, Signal]) -> str:
    title = re.sub(r"[^\w.+-]+", "_", str(properties.get("title") or "")).strip("_.")
    plain = "frames" if signal.frame_shape else "spectra" if signal.axes[-1].name == "energy" else "image"
    name = title if title and len(title) <= 32 else plain
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    return unique


def _scan(axes: Sequence[Axis]) -> ScanRecord | None:
    at = 1 if axes[0].name == "frame" else 0
    if [axis.name for axis in axes[at : at + 2]] != ["y", "x"]:
        return None
    y, x = axes[at : at + 2]
    step = (y.scale, x.scale) if y.unit == x.unit == "nm" and min(y.scale, x.scale) > 0 else None
    return ScanRecord((y.size, x.size), step_nm=step)
