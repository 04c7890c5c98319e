"""What is exported: one signal with calibrated axes, its kind in the words of HyperSpy, and its metadata."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError, StreamError
from esteemcore._core.progress import Progress
from esteemcore.io.dataset import Axis, Dataset, Signal, check_dataset
from esteemcore.io.export_blocks import Blocks, Part, dense_view, on_grid
from esteemcore.io.export_metadata import hyperspy_metadata

_NAMES = {"energy": "Energy", "wavelength": "Wavelength"}
_PATTERNS = (("ky", "kx"), ("qy", "qx"))
"""Names of the axes of diffraction patterns."""

_HINTS = {"eels": "EELS", "eds": "EDS_TEM", "edx": "EDS_TEM", "cl": "CL", "cathodoluminescence": "CL"}


SPARE_BYTES = 16 * 2**20
"""What stays free on the disk: parts that HDF5 still holds, and tables of the file."""


@dataclasses.dataclass(frozen=True, eq=False)
class ExportedSignal:
    """A signal on its way to a file of another program.

    Attributes
    ----------
    name, title : str
        Of the signal; of the data.
    view : Blocks
        The values, read part by part.
    axes : tuple of Axis
        One per dimension, calibrated where the data set knows how.
    signal_axes : int
        How many of the last axes one spectrum, image or pattern has; HyperSpy navigates through the others.
    signal_type : str
        ``"EELS"``, ``"EDS_TEM"``, ``"electron_diffraction"``, ``"CL"``, ... or empty.
    metadata : dict
        As HyperSpy arranges them; our own under ``"Esteem"``.
    notes : tuple of str
        What was done on the way.
    folder : Path
        Where the file will be; its disk must have room for each part that is read.
    memory_bytes : int
        What may be in memory, for formats that are written as a whole.
    steps : Progress
        Told of every part that is read.
    """

    name: str
    title: str
    view: Blocks
    axes: tuple[Axis, ...]
    signal_axes: int
    signal_type: str
    metadata: dict[str, Any]
    notes: tuple[str, ...]
    folder: Path
    memory_bytes: int
    steps: Progress

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the dense array."""
        return self.view.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its values."""
        return self.view.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the dense array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, part: Part) -> NDArray[Any]:
        """Read a part, and tell of it.

        Raises
        ------
        StreamError
            If the disk may not have room for it. HDF5 that meets a full disk may take Python with it.
        """
        self.steps.step(0)
        values = self.view[part]
        free = shutil.disk_usage(self.folder).free
        if free < values.nbytes + SPARE_BYTES:
            raise StreamError(
                f"the disk of {self.folder} is full: the next part takes up to {values.nbytes / 1e6:,.1f} MB, and "
                f"{free / 1e6:,.1f} MB are free; nothing was written"
            )
        self.steps.step(values.size)
        return values

    def whole(self, suffix: str) -> NDArray[Any]:
        """Return everything at once, for a format that cannot be written in parts.

        Raises
        ------
        ParameterError
            If that is more than may be in memory.
        """
        if self.nbytes > self.memory_bytes:
            raise ParameterError(
                f"signal {self.name!r} has {self.nbytes / 1e9:,.1f} GB as a dense array; {suffix} is written as a "
                f"whole, and {self.memory_bytes / 1e9:,.1f} GB are allowed in memory (memory_bytes); .hspy, .nxs and "
                ".nhdf are written part by part"
            )
        return self[tuple(slice(0, size) for size in self.shape)]

    def uniform(self, program: str) -> tuple[Axis, ...]:
        """Return the axes for a program that knows only those with equal steps.

        Raises
        ------
        ParameterError
            If there are others.
        """
        for axis in self.axes:
            if axis.values is not None:
                raise ParameterError(
                    f"the steps of axis {axis.name!r} of signal {self.name!r} differ, which {program} cannot hold; "
                    "choose .hspy or .zspy"
                )
        return self.axes


def prepare(
    dataset: Dataset,
    name: str | None,
    signal_type: str | None,
    folder: Path,
    memory_bytes: int,
    progress: Any,
    cancel: Any,
) -> ExportedSignal:
    """Return what is written.

    Raises
    ------
    ParameterError
        If the signal must be named, is not there, or cannot be exported.
    """
    check_dataset(dataset)
    name = _choose(dataset, name)
    signal = dataset.signals[name]
    notes = []
    grid = on_grid(name, signal, dataset.scan, memory_bytes)
    view: Blocks = dense_view(name, signal) if grid is None else grid
    axes = signal.axes if grid is None else (*_scan_axes(view.shape), *signal.axes[1:])
    if signal.in_visit_order:
        notes.append(
            "frames in visit order: not every position has exactly one"
            if grid is None
            else "frames sorted from visit order to the grid of the scan"
        )
    if signal.kind != "dense":
        notes.append({"packed": "one-bit frames unpacked", "events": "events made dense"}[signal.kind])
    elif np.dtype(signal.data.dtype) == np.bool_:
        notes.append("True and False written as 1 and 0")
    axes = tuple(_calibrated(axis, dataset) for axis in axes)
    kind = _signal_type(name, signal) if signal_type is None else signal_type
    metadata = hyperspy_metadata(dataset, name, signal, kind, in_visit_order=signal.in_visit_order and grid is None)
    return ExportedSignal(
        name=name,
        title=metadata["General"]["title"],
        view=view,
        axes=tuple(dataclasses.replace(axis, name=_NAMES.get(axis.name, axis.name)) for axis in axes),
        signal_axes=_signal_axes(axes),
        signal_type=kind,
        metadata=metadata,
        notes=tuple(notes),
        folder=folder,
        memory_bytes=memory_bytes,
        steps=Progress(math.prod(view.shape), progress, cancel),
    )


def _choose(dataset: Dataset, name: str | None) -> str:
    if name is None and len(dataset.signals) == 1:
        return next(iter(dataset.signals))
    if name is None or name not in dataset.signals:
        what = "there are several signals: name one of" if name is None else f"there is no signal {name!r}; there are"
        raise ParameterError(f"{what} {', '.join(map(repr, dataset.signals))}")
    return name


def _scan_axes(shape: tuple[int, ...]) -> tuple[Axis, Axis]:
    return Axis("y", shape[0]), Axis("x", shape[1])


def _calibrated(axis: Axis, dataset: Dataset) -> Axis:
    """Return the axis with what scan and geometry know of it, if it has no unit of its own."""
    if axis.unit or axis.values is not None:
        return axis
    column = axis.name in ("x", "kx")
    if axis.name in ("y", "x"):
        step = dataset.scan.step_nm if dataset.scan is not None else None
        step = dataset.geometry.get("scan_step_nm") if step is None else step
        return axis if step is None else dataclasses.replace(axis, scale=_of_pair(step, column), unit="nm")
    if axis.name in ("ky", "kx") and dataset.geometry.get("pixel_mrad") is not None:
        scale, center = _of_pair(dataset.geometry["pixel_mrad"], column), dataset.geometry.get("center")
        middle = axis.size / 2 if center is None else _of_pair(center, column)
        return dataclasses.replace(axis, scale=scale, offset=-middle * scale, unit="mrad")
    return axis


def _of_pair(value: Any, column: bool) -> float:
    """Return the number for rows or columns of a number or (row, column)."""
    return float(np.broadcast_to(np.asarray(value, np.float64), 2)[int(column)])


def _signal_axes(axes: tuple[Axis, ...]) -> int:
    names = [axis.name for axis in axes]
    return 1 if len(axes) == 1 or names[-1] in ("energy", "wavelength") else 2


def _signal_type(name: str, signal: Signal) -> str:
    """Return the kind of a signal: what its file said, else by its axes, its name and its unit."""
    said = signal.metadata.get("Signal")
    if isinstance(said, dict) and said.get("signal_type"):
        return str(said["signal_type"])
    last = signal.axes[-1]
    if signal.frame_shape is not None or tuple(axis.name for axis in signal.axes[-2:]) in _PATTERNS:
        return "electron_diffraction"
    if last.name == "wavelength":
        return "CL"
    if last.name != "energy":
        return ""
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    hint = next((_HINTS[word] for word in words if word in _HINTS), None)
    return hint or {"kev": "EDS_TEM", "ev": "EELS"}.get(last.unit.lower(), "")
