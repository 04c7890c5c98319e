"""What a container holds and what it costs, from its metadata and the sizes of its files alone."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.io import container, zarr_json
from esteemcore.io.credits import KEY, Credits
from esteemcore.io.dataset import Axis
from esteemcore.io.read_container import place_of, read_root
from esteemcore.io.read_series import series_length
from esteemcore.io.stored import Place
from esteemcore.io.zipped import ZippedPath


@dataclasses.dataclass(frozen=True, slots=True)
class SignalInfo:
    """One signal of a container.

    Attributes
    ----------
    name, kind : str
        Its name; ``"dense"``, ``"packed"`` or ``"events"``.
    shape, chunks : tuple of int
        Shape of the array as it is stored, and of its blocks.
    dtype : str
        Type of the values.
    axes : tuple of Axis
        As in `esteemcore.io.Signal`.
    codec : str
        ``"zstd"`` or the id of one of Esteem's codecs.
    configuration : dict
        Parameters of that codec.
    lossy : bool
        True when the values are not exactly those that were given; ``loss`` says by how much.
    loss : list of dict
        What was lost, each time that it was stored with loss: codec, configuration, largest and mean error.
    raw_bytes, stored_bytes : int
        As an array in memory (packed frames: as packed bits), and on disk.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    axes: tuple[Axis, ...]
    codec: str
    configuration: dict[str, Any]
    lossy: bool
    loss: list[dict[str, Any]]
    raw_bytes: int
    stored_bytes: int

    @property
    def ratio(self) -> float:
        """Raw bytes per stored byte; NaN when there are none."""
        return self.raw_bytes / self.stored_bytes if self.stored_bytes else math.nan


@dataclasses.dataclass(frozen=True, slots=True)
class Info:
    """Summary of a container.

    Attributes
    ----------
    path : str
        Where it is.
    version : int
        Version of the format.
    closed : bool
        False while it is being written, or when the writing process was killed.
    writer, created : str
        Program, and time of creation.
    frames : int or None
        Frames in visit order, or frames of a series, that are committed; None when there are neither.
    scan_shape : tuple of int or None
        ``(y, x)`` of the scan.
    signals : tuple of SignalInfo
        The signals.
    raw_bytes, stored_bytes : int
        Of all signals as arrays in memory; of all files.
    credits : Credits or None
        Who made it, and how it may be used.
    notes : tuple of str
        What the user should know.
    """

    path: str
    version: int
    closed: bool
    writer: str
    created: str
    frames: int | None
    scan_shape: tuple[int, int] | None
    signals: tuple[SignalInfo, ...]
    raw_bytes: int
    stored_bytes: int
    credits: Credits | None
    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """Raw bytes per stored byte; NaN when there are none."""
        return self.raw_bytes / self.stored_bytes if self.stored_bytes else math.nan

    def describe(self) -> list[str]:
        """Return the summary, line by line."""
        state = "" if self.closed else ", not closed"
        lines = [f"{self.path} (Esteem container, version {self.version}{state})"]
        if self.frames is not None:
            lines.append(f"{self.frames:,} frames")
        for s in self.signals:
            shape = " x ".join(f"{axis.name} {axis.size:,}" for axis in s.axes)
            errors = [loss.get("largest_error") for loss in s.loss[-1:]]
            lossy = "".join(f", largest error {error:.4g}" for error in errors if isinstance(error, float))
            lines.append(
                f"{s.name}: {s.kind} {s.dtype}, {shape}, {s.codec}{f' (lossy{lossy})' if s.lossy else ''}, "
                f"{_size(s.stored_bytes)} for {_size(s.raw_bytes)}{_times(s.ratio)}"
            )
        lines.append(f"all: {_size(self.stored_bytes)} for {_size(self.raw_bytes)}{_times(self.ratio)}")
        lines += [] if self.credits is None else self.credits.describe()
        return [*lines, *(f"note: {note}" for note in self.notes)]


def info(path: str | Path) -> Info:
    """Return what a container holds and what it costs, without reading any data.

    Parameters
    ----------
    path : str or Path
        The container, a folder or packed into a zip.

    Raises
    ------
    FormatError
        If it is no container, or its metadata are damaged.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from esteemcore import io
    >>> image = io.Signal(np.zeros((64, 64)), (io.Axis("y", 64), io.Axis("x", 64)))
    >>> path = tempfile.mkdtemp() + "/image.esteem"
    >>> io.save(path, io.Dataset({"adf": image}))
    >>> io.info(path).signals[0].codec
    'zstd'
    """
    given = container.given_path(path)
    if not given.exists():
        raise FormatError(f"{given} does not exist")
    place = place_of(given)
    if isinstance(place, Path) and not place.is_dir():
        raise FormatError(f"{place} is no container of Esteem, which is a folder or a zip named *.esteem.zip")
    root = read_root(place)
    sizes = _sizes(place)
    try:
        names = [container.check_name(str(name)) for name in root["signals"]]
        metadata, scan = dict(root["metadata"]), root["scan"]
        scan_shape = None if scan is None else (int(scan["shape"][0]), int(scan["shape"][1]))
        closed, series = bool(root["closed"]), root.get("series") is not None
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FormatError(f"{place} is damaged: its {zarr_json.METADATA} lacks or spoils {error}") from error
    arrays = {
        name: zarr_json.read_array_metadata(place / "signals" / name, f"{place}: signal {name!r}") for name in names
    }
    signals = tuple(_signal(place, name, array, sizes) for name, array in arrays.items())
    listed = [s.shape[0] for s in signals if len(s.axes) == 3 and s.axes[0].name == "frame" and s.axes[-1].name == "kx"]
    frames = series_length(arrays) if series else max(listed, default=None)
    notes = [] if closed else ["it was not closed: it is being written, or the writing process was killed"]
    credits = None
    try:
        credits = None if metadata.get(KEY) is None else Credits.of(metadata[KEY])
    except ParameterError as error:
        notes.append(f"its credits cannot be read: {error}")
    return Info(
        path=str(place),
        version=root["version"],
        closed=closed,
        writer=str(root.get("writer", "")),
        created=str(root.get("created", "")),
        frames=frames,
        scan_shape=scan_shape,
        signals=signals,
        raw_bytes=sum(s.raw_bytes for s in signals),
        stored_bytes=sum(sizes.values()),
        credits=credits,
        notes=tuple(notes),
    )


def _signal(place: Place, name: str, array: zarr_json.ArrayMetadata, sizes: dict[str, int]) -> SignalInfo:
    try:
        entry = array.attributes["esteem"]
        loss = entry["metadata"].get("loss")
        loss = [dict(item) for item in loss] if isinstance(loss, list) else []
        kind, axes = str(entry["kind"]), container.axes_from_json(entry["axes"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{place}: signal {name!r} is damaged: its metadata lack or spoil {error}") from error
    codec = array.codec
    return SignalInfo(
        name=name,
        kind=kind,
        shape=array.shape,
        chunks=array.chunks,
        dtype=array.dtype.name,
        axes=axes,
        codec=codec.name,
        configuration={} if codec.codec is None else dict(codec.codec.config),
        lossy=codec.lossy or bool(loss),
        loss=loss,
        raw_bytes=math.prod(array.shape) * array.dtype.itemsize,
        stored_bytes=sum(size for file, size in sizes.items() if file.startswith(f"signals/{name}/")),
    )


def _sizes(place: Place) -> dict[str, int]:
    """Return the bytes of all files, by their names with slashes."""
    if isinstance(place, ZippedPath):
        return place.sizes()
    return {file.relative_to(place).as_posix(): file.stat().st_size for file in place.rglob("*") if file.is_file()}


def _size(n: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= factor:
            return f"{n / factor:,.1f} {unit}"
    return f"{n} bytes"


def _times(ratio: float) -> str:
    return f" ({ratio:,.1f} times smaller)" if ratio > 1 else ""
