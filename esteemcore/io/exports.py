"""Write a signal to the file of another program."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError, StreamError
from esteemcore._core.progress import ProgressFunction
from esteemcore.io import container, durable, export_hyperspy, export_nion, export_zspy
from esteemcore.io.dataset import Axis, Dataset
from esteemcore.io.export_signal import ExportedSignal, prepare

MEMORY_BYTES = 4 * 2**30
"""What may be in memory at once, by default, for formats that are written as a whole."""

FORMATS: dict[str, tuple[str, Callable[[Path, ExportedSignal], None]]] = {
    ".hspy": ("HyperSpy (HDF5)", export_hyperspy.write_hspy),
    ".zspy": ("HyperSpy (Zarr)", export_zspy.write_zspy),
    ".nxs": ("NeXus", export_hyperspy.write_nexus),
    ".emd": ("EMD (NCEM)", export_hyperspy.write_emd),
    ".tif": ("TIFF", export_hyperspy.write_tiff),
    ".tiff": ("TIFF", export_hyperspy.write_tiff),
    ".ndata": ("Nion Swift, data file", export_nion.write_ndata),
    ".h5": ("Nion Swift, data file (HDF5)", export_nion.write_h5),
    ".ndata1": ("Nion Swift, to import", export_nion.write_ndata1),
    ".nhdf": ("Nion Swift, to import (HDF5)", export_nion.write_nhdf),
}
"""What each suffix is, and what writes it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes
    ----------
    path : Path
        Where.
    format : str
        What kind of file.
    signal : str
        Which signal.
    axes : tuple of Axis
        As they are in the file.
    dtype : str
        Type of its values.
    signal_type : str
        Its kind in the words of HyperSpy; empty when there is none.
    notes : tuple of str
        What was done to the values on the way: unpacked, made dense, sorted.
    """

    path: Path
    format: str
    signal: str
    axes: tuple[Axis, ...]
    dtype: str
    signal_type: str
    notes: tuple[str, ...]


def export(
    path: str | Path,
    dataset: Dataset,
    *,
    signal: str | None = None,
    signal_type: str | None = None,
    memory_bytes: int = MEMORY_BYTES,
    overwrite: bool = False,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> Exported:
    """Write one signal, with its calibrations and metadata, to a file of another program.

    Events are made dense and one-bit frames unpacked block by block, while they are written. Frames in visit order are
    sorted to the grid ``(y, x, ky, kx)`` where every position has exactly one; otherwise they stay in visit order, with
    their positions in the metadata. The file appears under its name when it is whole and durable; until then, and if
    anything fails, one that is to be replaced stays as it is.

    Parameters
    ----------
    path : str or Path
        The suffix says the format: ``.hspy`` ``.zspy`` ``.nxs`` ``.emd`` ``.tif``, and for Nion Swift ``.nhdf``
        ``.ndata1`` (to import) or ``.h5`` ``.ndata`` (data files of a project).
    dataset : Dataset
        What `load` returned, or data in memory.
    signal : str, optional
        Name of the signal, when there are several.
    signal_type : str, optional
        Kind of the signal in the words of HyperSpy. Default: what its file said; ``"electron_diffraction"`` for
        detector frames, ``"CL"`` for wavelengths; for energies by the name (eels, eds), else ``"EDS_TEM"`` for keV and
        ``"EELS"`` for eV.
    memory_bytes : int
        What may be in memory at once where a format is written as a whole (``.emd``, ``.tif``) or frames must be
        sorted.
    overwrite : bool
        Replace a file that is there already, or a folder ``.zspy`` that Esteem wrote; other folders are never replaced.
    progress : callable, optional
        Called with the fraction done.
    cancel : threading.Event, optional
        When set, the work stops with `CancelledError` and nothing is left behind.

    Returns
    -------
    Exported

    Raises
    ------
    ParameterError
        If the format cannot hold the signal, or it does not fit in memory where it must.
    FormatError
        If the data cannot be read.
    StreamError
        If the disk is full or refuses; nothing is left behind.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from esteemcore import io
    >>> from esteemcore.io.exports import export
    >>> spectra = io.Signal(
    ...     np.ones((4, 5, 6)), (io.Axis("y", 4), io.Axis("x", 5), io.Axis("energy", 6, 0.5, 280, "eV"))
    ... )
    >>> path = tempfile.mkdtemp() + "/spectra.hspy"
    >>> export(path, io.Dataset({"eels": spectra})).signal_type
    'EELS'
    >>> io.load(path).signals["eels"].axes[2].offset
    280.0
    """
    target = container.given_path(path).absolute()
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise ParameterError(f"{target.name!r} is of no kind that can be written; end it in {' '.join(FORMATS)}")
    _check_free(target, suffix, overwrite)
    memory_bytes = checks.integer("memory_bytes", memory_bytes, minimum=0)
    made = prepare(dataset, signal, signal_type, target.parent, memory_bytes, progress, cancel)
    title, write = FORMATS[suffix]
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{durable.TEMPORARY}{suffix}")
    try:
        write(temporary, made)
        durable.sync_tree(temporary)
        _check_free(target, suffix, overwrite)  # again: writing may have taken hours
        _replace(temporary, target)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "errno" not in str(error):
            raise
        raise StreamError(f"{target} cannot be written: {_reason(error)}") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
    made.steps.finish()
    return Exported(target, title, made.name, made.axes, np.dtype(made.dtype).name, made.signal_type, made.notes)


def _reason(error: OSError | RuntimeError) -> str:
    """Say in words why the disk refused; HDF5 gives the number of the error in a RuntimeError at times."""
    number = re.search(r"errno = (\d+)", str(error))
    if isinstance(error, OSError) and (error.errno is not None or number is None):
        return durable.reason(error)
    code = int(number[1]) if number else 0
    return durable.reason(OSError(code, os.strerror(code)))


def _check_free(target: Path, suffix: str, overwrite: bool) -> None:
    """See that nothing is at a place, or only what may be replaced."""
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise ParameterError(container.OCCUPIED.format(target))
    if suffix == ".zspy" and not export_zspy.is_ours(target):
        raise ParameterError(
            f"{target} was not written by Esteem, or has other files in it, so it is not replaced; choose another name "
            "or remove it yourself"
        )
    if suffix != ".zspy" and not target.is_file():
        raise ParameterError(f"{target} is no file, so it is not replaced; choose another name or remove it yourself")


def _replace(temporary: Path, target: Path) -> None:
    """Give what was written its name; a folder that was there is removed only after that."""
    aside = None
    if target.is_dir():
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.replaced")
        durable.replace(target, aside)
    try:
        durable.replace(temporary, target)
    except OSError:
        if aside is not None:
            durable.replace(aside, target)
        raise
    durable.sync_folder(target.parent)
    if aside is not None:
        shutil.rmtree(aside, ignore_errors=True)
