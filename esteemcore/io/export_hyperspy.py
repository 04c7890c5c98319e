"""Files of HyperSpy, NeXus, EMD (NCEM) and TIFF, by the writers of RosettaSciIO."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from pathlib import Path
from typing import Any

from esteemcore._core.errors import DependencyError, ParameterError
from esteemcore.io.export_blocks import file_chunks
from esteemcore.io.export_signal import ExportedSignal

_BINNED = ("EELS", "EDS_TEM", "EDS_SEM")
"""Kinds whose spectra are counts per channel."""


def write_hspy(path: Path, signal: ExportedSignal) -> None:
    """Write a file of HyperSpy, part by part."""
    _call("hspy", path, _lazy(signal), show_progressbar=False, chunks=file_chunks(signal.view))


def write_nexus(path: Path, signal: ExportedSignal) -> None:
    """Write an NXdata group in a NeXus file, part by part."""
    _call("nexus", path, _lazy(signal), use_default=True)


def write_emd(path: Path, signal: ExportedSignal) -> None:
    """Write an EMD file in the layout of the Molecular Foundry (NCEM), as a whole."""
    signal.uniform("EMD")
    entry = {**entry_of(signal, signal.whole(".emd")), "original_metadata": _emd_groups(signal)}
    _call("emd", path, entry)


def write_tiff(path: Path, signal: ExportedSignal) -> None:
    """Write an image or a stack of images as TIFF, as a whole.

    Raises
    ------
    ParameterError
        If the signal is no image and no stack of images.
    """
    signal.uniform("TIFF")
    if signal.signal_axes != 2 or len(signal.shape) > 3:
        shape = " x ".join(f"{axis.name} {axis.size}" for axis in signal.axes)
        raise ParameterError(
            f"signal {signal.name!r} is {shape}; TIFF holds an image or a stack of images, choose .hspy or .nxs"
        )
    if signal.dtype.kind == "c":
        raise ParameterError(f"signal {signal.name!r} is complex; TIFF is for real numbers, choose .hspy or .nxs")
    if any(axis.scale <= 0 for axis in signal.axes[-2:]):
        raise ParameterError(f"signal {signal.name!r} has axes that run backwards; TIFF cannot say so, choose .hspy")
    _call("tiff", path, entry_of(signal, signal.whole(".tif")))


def entry_of(signal: ExportedSignal, data: Any) -> dict[str, Any]:
    """Return the dictionary that RosettaSciIO writes."""
    metadata = {**signal.metadata, "_HyperSpy": {"Folding": {"unfolded": False, "signal_unfolded": False}}}
    return {
        "data": data,
        "axes": axes_of(signal),
        "metadata": metadata,
        "original_metadata": {},
        "tmp_parameters": {},
        "learning_results": {},
        "models": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {},  # HyperSpy takes it for the package of the signal's class and misses it
    }


def axes_of(signal: ExportedSignal) -> list[dict[str, Any]]:
    """Return the axes as HyperSpy describes them."""
    made: list[dict[str, Any]] = []
    first = len(signal.axes) - signal.signal_axes
    for number, axis in enumerate(signal.axes):
        entry: dict[str, Any] = {
            "_type": "UniformDataAxis" if axis.values is None else "DataAxis",
            "name": axis.name,
            "units": axis.unit or None,
            "navigate": number < first,
            "is_binned": signal.signal_type in _BINNED and number >= first,
            "size": axis.size,
        }
        how = {"scale": axis.scale, "offset": axis.offset} if axis.values is None else {"axis": axis.coordinates}
        made.append({**entry, **how})
    return made


def _lazy(signal: ExportedSignal) -> dict[str, Any]:
    """Return the dictionary with the values as a Dask array that reads each part once."""
    try:
        import dask.array as da
    except ImportError as error:
        raise DependencyError("dask", "distributed") from error
    data = da.from_array(  # type: ignore[no-untyped-call]
        signal, chunks=signal.view.chunks, asarray=False, fancy=False, name=False, meta=signal.dtype.type([])
    )
    return entry_of(signal, data.rechunk(file_chunks(signal.view)))


def _emd_groups(signal: ExportedSignal) -> dict[str, Any]:
    """Return what the groups microscope, sample, user and comments say."""
    general = signal.metadata["General"]
    instrument = signal.metadata.get("Acquisition_instrument", {}).get("TEM", {})
    groups = {
        "microscope": {key: value for key, value in instrument.items() if isinstance(value, str | int | float)},
        "sample": {k: v for k, v in signal.metadata.get("Sample", {}).items() if isinstance(v, str | int | float)},
        "user": {"name": general["authors"]} if "authors" in general else {},
        "comments": {key: value for key, value in signal.metadata["Esteem"].items() if isinstance(value, str)},
    }
    return groups


def _call(module: str, path: Path, entry: dict[str, Any], **options: Any) -> None:
    import dask

    quiet = contextlib.redirect_stdout(io.StringIO())  # from the bar of Dask that the writer for NeXus always draws
    with warnings.catch_warnings(), dask.config.set(scheduler="synchronous"), quiet:
        warnings.simplefilter("ignore")  # about names of groups and optional speed-ups
        importlib.import_module(f"rsciio.{module}").file_writer(str(path), entry, **options)
