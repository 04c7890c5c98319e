"""Files of Nion Swift, written part by part without Nion's libraries.

``.ndata`` and ``.h5`` are how Swift keeps a data item in a project; ``.ndata1`` and ``.nhdf`` are what its *File >
Import* opens. The layouts are those of ``nion.swift.model`` 16: a zip, stored, of ``data.npy`` and ``metadata.json``,
or an HDF5 data set ``data`` with its properties as JSON.
"""

from __future__ import annotations

import datetime
import json
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore._core.errors import ParameterError
from esteemcore.io import container
from esteemcore.io.export_blocks import file_chunks, parts
from esteemcore.io.export_signal import ExportedSignal

_VERSION = 13
"""Of the properties of a data item."""

_ZIP_BYTES = 2**32 - 2**20
"""Nion's reader knows no larger zips."""


def write_ndata(path: Path, signal: ExportedSignal) -> None:
    """Write the data file of a data item."""
    _write_zip(path, signal, _data_item(signal))


def write_ndata1(path: Path, signal: ExportedSignal) -> None:
    """Write a zip that *File > Import* of Nion Swift opens."""
    item = _data_item(signal)
    moved = {"spatial_calibrations": item["dimensional_calibrations"], "version": 1, "reader_version": 1}
    kept = ("intensity_calibration", "is_sequence", "collection_dimension_count", "datum_dimension_count")
    large = {"large_format": len(signal.shape) > 2, "metadata": item["metadata"], "title": item["title"]}
    _write_zip(path, signal, {**moved, **{key: item[key] for key in kept}, **large})


def write_h5(path: Path, signal: ExportedSignal) -> None:
    """Write the HDF5 file of a data item."""
    import h5py

    with h5py.File(path, "w") as file:
        _write_dataset(file, "data", signal, _data_item(signal))


def write_nhdf(path: Path, signal: ExportedSignal) -> None:
    """Write an HDF5 file that *File > Import* of Nion Swift opens."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_group("index")
        _write_dataset(file.create_group("data"), "0", signal, _data_item(signal))


def _write_dataset(group: Any, name: str, signal: ExportedSignal, properties: dict[str, Any]) -> None:
    chunks = file_chunks(signal.view) if all(signal.shape) else None
    data = group.create_dataset(name, shape=signal.shape, dtype=signal.dtype, chunks=chunks)
    for part in parts(signal.shape, signal.dtype.itemsize):
        data[part] = signal[part]
    data.attrs["properties"] = json.dumps(properties)


def _write_zip(path: Path, signal: ExportedSignal, properties: dict[str, Any]) -> None:
    if signal.nbytes > _ZIP_BYTES:
        raise ParameterError(
            f"signal {signal.name!r} has {signal.nbytes / 1e9:,.1f} GB as a dense array; {path.suffix} holds less than "
            "4.3 GB, choose .nhdf (to import) or .h5"
        )
    header = {"descr": np.lib.format.dtype_to_descr(signal.dtype), "fortran_order": False, "shape": signal.shape}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=False) as file:
        with file.open("data.npy", "w") as data:
            np.lib.format.write_array_header_1_0(data, header)
            for part in parts(signal.shape, signal.dtype.itemsize):
                data.write(np.ascontiguousarray(signal[part]).data)
        file.writestr("metadata.json", json.dumps(properties))


def _data_item(signal: ExportedSignal) -> dict[str, Any]:
    """Return the properties of a data item.

    Raises
    ------
    ParameterError
        If Nion Swift has no place for these axes or values.
    """
    axes = signal.uniform("Nion Swift")
    moving = [axis.name for axis in axes[: len(axes) - signal.signal_axes]]
    sequence = moving[:1] == ["frame"]
    if len(moving) - sequence > 2:
        raise ParameterError(
            f"signal {signal.name!r} has the axes {', '.join(axis.name for axis in axes)}; Nion Swift knows a sequence "
            "of scans of spectra or images, no more; choose .hspy"
        )
    if signal.dtype.kind not in "iufc":
        raise ParameterError(f"signal {signal.name!r} has dtype {signal.dtype}, which Nion Swift does not know")
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat()
    general = signal.metadata["General"]
    return {
        "type": "data-item",
        "uuid": str(uuid.uuid4()),
        "created": _created(general) or now,
        "modified": now,
        "data_modified": now,
        "data_shape": list(signal.shape),
        "data_dtype": signal.dtype.name,
        "is_sequence": sequence,
        "collection_dimension_count": len(moving) - sequence,
        "datum_dimension_count": signal.signal_axes,
        "intensity_calibration": {"offset": 0.0, "scale": 1.0, "units": "counts" if signal.dtype.kind in "iu" else ""},
        "dimensional_calibrations": [{"offset": a.offset, "scale": a.scale, "units": a.unit} for a in axes],
        "metadata": _metadata(signal),
        "title": signal.title,
        "description": general.get("notes", ""),
        "version": _VERSION,
    }


def _created(general: dict[str, Any]) -> str | None:
    try:
        moment = datetime.datetime.fromisoformat(f"{general['date']}T{general.get('time', '00:00:00')}")
    except (KeyError, ValueError):
        return None
    return moment.replace(tzinfo=None).isoformat()


def _metadata(signal: ExportedSignal) -> dict[str, Any]:
    """Return what is known of the instrument under Nion's names, and everything as HyperSpy has it."""
    made: dict[str, Any] = {"hyperspy": _listed({k: v for k, v in signal.metadata.items() if k != "Esteem"})}
    made["esteem"] = _listed(signal.metadata["Esteem"])
    microscopes = signal.metadata.get("Acquisition_instrument", {})
    energy = next((m["beam_energy"] for m in microscopes.values() if isinstance(m, dict) and "beam_energy" in m), None)
    if isinstance(energy, int | float):
        made["instrument"] = {"high_tension": 1e3 * energy}
    if signal.signal_type:
        made["hardware_source"] = {"signal_type": signal.signal_type.lower()}
    return made


def _listed(entries: Any) -> Any:
    """Return entries with lists for arrays, of any size."""
    if isinstance(entries, dict):
        return {key: _listed(value) for key, value in entries.items()}
    return container.plain(entries.tolist()) if isinstance(entries, np.ndarray) else container.plain(entries)
