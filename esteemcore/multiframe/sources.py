"""Series from where they lie: a region folder, a container, a file of another program, or one file per frame."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import io
from esteemcore._core.errors import ParameterError
from esteemcore.events import SparseSI
from esteemcore.multiframe.frame_values import VISIT_ORDER
from esteemcore.multiframe.plan import SeriesPlan
from esteemcore.multiframe.region import Region
from esteemcore.multiframe.session_folder import RegionFolder, SessionFolder
from esteemcore.multiframe.settings import SeriesSettings

_NM = {"nm": 1.0, "µm": 1e3, "μm": 1e3, "um": 1e3, "Å": 0.1, "A": 0.1, "pm": 1e-3}
_EV = {"eV": 1.0, "keV": 1e3}

Source = str | Path | io.Dataset | Sequence[str | Path | io.Dataset]
"""Where a series is."""


@dataclasses.dataclass(frozen=True, eq=False)
class OpenSeries:
    """A series that can be read frame by frame.

    Attributes
    ----------
    path : str
        Where it lies, in words.
    image_name, spectra_name : str or None
        Signals that were chosen.
    shape : (int, int)
        Rows and columns of a frame.
    channels : int or None
        Of the spectra; None without.
    energy_ev : ndarray of float64, shape (energy,), or None
        Energy of each channel, where the files know it.
    images, spectra : tuple of callable
        Each reads one frame: an array (y, x); an array or SparseSI (y, x, energy).
    orders : list or None
        Visit order of each frame, flat, None for a raster; None if all are rasters.
    energy_offset_ev, time_s : ndarray of float64, shape (n,)
        What is added to the energy axis of each frame; when it was taken, NaN where that is not known.
    dose : ndarray of float64, shape (n,), or None
        Dose of each frame in e/Å², where it is recorded.
    pixel_nm : (float, float) or None
        Height and width of a pixel.
    scan_px : ndarray of float64, shape (n, 2), or None
        By how much (dy, dx) the scan was moved for each frame, NaN where that is not known; None where it nowhere is.
    """

    path: str
    image_name: str | None
    spectra_name: str | None
    shape: tuple[int, int]
    channels: int | None
    energy_ev: NDArray[np.float64] | None
    images: tuple[Callable[[], Any], ...]
    spectra: tuple[Callable[[], Any], ...]
    orders: list[NDArray[np.int64] | None] | None
    energy_offset_ev: NDArray[np.float64]
    time_s: NDArray[np.float64]
    dose: NDArray[np.float64] | None
    pixel_nm: tuple[float, float] | None
    scan_px: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return max(len(self.images), len(self.spectra))


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """A data set of the series, and which of its signals are used."""

    name: str
    dataset: io.Dataset
    image: str | None
    spectra: str | None
    frames: int
    is_stack: bool

    def signal(self, name: str) -> io.Signal:
        return self.dataset.signals[name]

    def frame_shape(self, name: str) -> tuple[int, ...]:
        shape = tuple(int(n) for n in self.signal(name).data.shape)
        return shape[1:] if self.is_stack else shape

    def readers(self, name: str) -> list[Callable[[], Any]]:
        data = self.signal(name).data
        return [_reader(data, k if self.is_stack else None) for k in range(self.frames)]


def open_series(source: Source, image: str | None = None, spectra: str | None = None) -> OpenSeries:
    """Open a series; frames are read when they are asked for.

    Parameters
    ----------
    source : path, Dataset, or sequence of them
        Folder of a region, container or file with a series, or several: their frames follow each other. Files without
        a series are one frame each.
    image, spectra : str, optional
        Signals. Default: the only image (y, x) and the only spectra (y, x, energy) of a frame.

    Raises
    ------
    ParameterError
        If there is no series, fewer than two frames, no such signal, or frames differ in size.
    FormatError
        If a file cannot be read.
    """
    given = [source] if isinstance(source, str | Path | io.Dataset) else list(source)
    if not given:
        raise ParameterError("no source is given; give the folder of a region, a container, or one file per frame")
    loaded = [found for entry in given for found in _datasets(entry)]
    parts = [_part(name, dataset, image, spectra) for name, dataset in loaded]
    where = loaded[0][0] if len(loaded) == 1 else f"{loaded[0][0]} and {len(loaded) - 1} more"
    first = parts[0]
    for part in parts[1:]:
        _check_alike(first, part)
    frames = sum(part.frames for part in parts)
    if frames < 2:
        raise ParameterError(
            f"{where} holds {frames} frame{'s' if frames != 1 else ''}; a series has two or more: give the folder of a "
            "region, a container with a series, or one file per frame"
        )
    chosen = first.spectra if first.spectra is not None else first.image
    size = first.frame_shape(str(chosen))
    column = [_columns(part) for part in parts]
    doses = [_doses(part) for part in parts]
    orders = [order for part in parts for order in _orders(part, (size[0], size[1]))]
    return OpenSeries(
        path=where,
        image_name=first.image,
        spectra_name=first.spectra,
        shape=(size[0], size[1]),
        channels=size[2] if first.spectra is not None else None,
        energy_ev=None if first.spectra is None else _energies(first.signal(first.spectra).axes[-1]),
        images=tuple(read for part in parts if part.image for read in part.readers(part.image)),
        spectra=tuple(read for part in parts if part.spectra for read in part.readers(part.spectra)),
        orders=orders if any(order is not None for order in orders) else None,
        energy_offset_ev=np.concatenate([offset for offset, _ in column]),
        time_s=np.concatenate([time for _, time in column]),
        dose=np.concatenate([d for d in doses if d is not None]) if all(d is not None for d in doses) else None,
        pixel_nm=_pixel(first),
        scan_px=_scan(parts),
    )


def _datasets(entry: Any) -> list[tuple[str, io.Dataset]]:
    if isinstance(entry, io.Dataset):
        return [(entry.path or "the data set in memory", entry)]
    if not isinstance(entry, str | Path):
        raise ParameterError(f"a source is a {type(entry).__name__}; expected a path or an io.Dataset")
    path = Path(entry)
    if path.is_dir():
        folder = RegionFolder(path)
        if folder.parts:
            found = [(dataset.path or str(path), dataset) for _, dataset in folder.datasets()]
            if not found:
                raise ParameterError(f"{path} has no whole frame yet; acquire some first")
            return found
        regions = SessionFolder(path.absolute()).regions
        if regions:
            names = ", ".join(region.path.name for region in regions)
            raise ParameterError(f"{path} is a session, each region is a series of its own: give one of {names} in it")
        if next(path.iterdir(), None) is None:
            raise ParameterError(f"{path} is empty; give the folder of a region that has frames")
    return [(str(path), io.load_frames(path))]


def _part(name: str, dataset: io.Dataset, image: str | None, spectra: str | None) -> _Part:
    signals = {key: signal for key, signal in dataset.signals.items() if key != VISIT_ORDER}
    for wanted in (image, spectra):
        if wanted is not None and wanted not in signals:
            raise ParameterError(f"{name} has no signal {wanted!r}; there are {_listed(signals)}")
    is_stack = dataset.series is not None or any(s.axes[0].name == "frame" for s in signals.values())
    is_stack = is_stack or not any(_kind(s, 0) for s in signals.values())
    lead = 1 if is_stack else 0
    chosen = {
        kind: _chosen(name, kind, wanted, {k: s for k, s in signals.items() if _kind(s, lead) == kind}, signals)
        for kind, wanted in (("image", image), ("spectra", spectra))
    }
    if chosen["image"] is None and chosen["spectra"] is None:
        raise ParameterError(
            f"{name} holds no series: neither images (frame, y, x) nor spectra (frame, y, x, energy), but "
            f"{_listed(signals) or 'no signal'}"
        )
    used = [signals[key] for key in chosen.values() if key is not None]
    counts = {int(signal.data.shape[0]) for signal in used} if is_stack else {1}
    if len(counts) > 1:
        raise ParameterError(f"{name} has different numbers of frames in its signals: {sorted(counts)}; choose one")
    return _Part(name, dataset, chosen["image"], chosen["spectra"], counts.pop(), is_stack)


def _kind(signal: io.Signal, lead: int) -> str:
    """Return what a frame of a signal is; ``lead`` axes count frames."""
    dims = len(signal.axes) - lead
    if signal.frame_shape is not None:  # detector frames
        return ""
    is_energy = signal.kind == "events" or signal.axes[-1].name == "energy" or signal.axes[-1].unit in _EV
    if signal.kind == "dense" and np.dtype(signal.data.dtype).kind not in "biuf":
        return ""
    if dims == 3 and (is_energy or lead):
        return "spectra"
    return "image" if dims == 2 and not is_energy else ""


def _chosen(
    name: str, kind: str, wanted: str | None, fitting: Mapping[str, io.Signal], signals: Mapping[str, io.Signal]
) -> str | None:
    if wanted is not None:
        if wanted not in fitting:
            what = "images (y, x)" if kind == "image" else "spectra (y, x, energy)"
            raise ParameterError(f"{wanted!r} of {name} are no {what} of a series; there are {_listed(signals)}")
        return wanted
    if len(fitting) > 1:
        raise ParameterError(f"{name} has several {kind} signals, {_listed(fitting)}; name one with {kind}")
    return next(iter(fitting), None)


def _check_alike(first: _Part, other: _Part) -> None:
    for kind in ("image", "spectra"):
        ours, theirs = getattr(first, kind), getattr(other, kind)
        if (ours is None) != (theirs is None):
            lacking = other.name if theirs is None else first.name
            raise ParameterError(f"{lacking} has no {kind} signal, but other frames have; give alike files")
        if ours is None:
            continue
        expected, shape = first.frame_shape(ours), other.frame_shape(theirs)
        if shape != expected:
            raise ParameterError(
                f"{other.name} has frames of {_by(shape)} in {theirs!r}, but {first.name} of {_by(expected)}; "
                "frames of a series have the same size"
            )
        if kind == "spectra":
            one, two = _energies(first.signal(ours).axes[-1]), _energies(other.signal(theirs).axes[-1])
            if one is not None and two is not None and not np.allclose(one, two, rtol=1e-6):
                raise ParameterError(f"{other.name} has another energy axis than {first.name}; calibrate them alike")
    here, there = _place(first), _place(other)
    if here is not None and there is not None and math.dist(here[0], there[0]) > min(here[1]) / 2:
        raise ParameterError(
            f"{other.name} lies {math.dist(here[0], there[0]):.4g} nm away from {first.name}: areas side by side are a "
            "series each; process them one by one"
        )


def _place(part: _Part) -> tuple[tuple[float, ...], tuple[float, float]] | None:
    """Return centre and size in nm of the area, where it was recorded."""
    known = part.dataset.metadata.get("multiframe")
    try:
        region = _region(known)  # type: ignore[arg-type]
        return tuple(float(value) for value in known["center_nm"]), region.fov_nm  # type: ignore[index]
    except (KeyError, TypeError, ValueError, ParameterError):
        return None


def _reader(data: Any, number: int | None) -> Callable[[], Any]:
    def read() -> Any:
        if isinstance(data, io.StoredEvents):
            return data.load() if number is None else data.frame(number)
        if isinstance(data, SparseSI):
            return data if number is None else _frame_of(data, number)
        return np.asarray(data if number is None else data[number])

    return read


def _frame_of(series: SparseSI, number: int) -> SparseSI:
    pixels = series.shape[1] * series.shape[2]
    offset = series.offset[number * pixels : (number + 1) * pixels + 1]
    entries = slice(offset[0], offset[-1])
    return SparseSI(series.shape[1:], series.dtype, offset - offset[0], series.channel[entries], series.count[entries])


def _orders(part: _Part, shape: tuple[int, int]) -> list[NDArray[np.int64] | None]:
    """Return the visit order of each frame; None for rasters."""
    stored = part.dataset.signals.get(VISIT_ORDER)
    if stored is not None and part.is_stack:
        return [_order(np.asarray(stored.data[k]), shape) for k in range(part.frames)]
    scan = part.dataset.scan
    if scan is not None and scan.index is not None and len(scan.index) == shape[0] * shape[1]:
        return [scan.index[scan.index >= 0]] * part.frames
    return [None] * part.frames


def _order(rank: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the places in the order of their visits; of sub-pixels, pixels in the order of their mean visit."""
    n = rank.shape[0] // shape[0]
    mean = rank.astype(np.float64).reshape(shape[0], n, shape[1], n).mean(axis=(1, 3))
    return np.argsort(mean.reshape(-1), kind="stable").astype(np.int64)


def _columns(part: _Part) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    series = part.dataset.series
    offset = None if series is None else series.energy_offset_ev
    time = None if series is None else series.time_s
    return (
        np.zeros(part.frames) if offset is None else np.array(offset, np.float64),
        np.full(part.frames, np.nan) if time is None else np.array(time, np.float64),
    )


def _scan(parts: Sequence[_Part]) -> NDArray[np.float64] | None:
    """Return by how much the scan was moved for each frame, in px, where it was recorded."""
    found = [None if part.dataset.series is None else part.dataset.series.displacement_px for part in parts]
    if all(moved is None for moved in found):
        return None
    filled = [
        np.full((part.frames, 2), np.nan) if moved is None else np.asarray(moved, np.float64)
        for part, moved in zip(parts, found, strict=True)
    ]
    return np.concatenate(filled)


def _doses(part: _Part) -> NDArray[np.float64] | None:
    """Return the dose of each frame in e/Å², as each run recorded its settings."""
    known = part.dataset.metadata.get("multiframe")
    if not isinstance(known, Mapping):
        return None
    runs = known.get("runs") or [known]
    try:
        begin = int(runs[0]["first_frame"])
        ends = [int(run["first_frame"]) - begin for run in runs[1:]] + [part.frames]
        return np.concatenate([
            np.full(max(end - (int(run["first_frame"]) - begin), 0), _dose(run))
            for run, end in zip(runs, ends, strict=True)
        ])[: part.frames]  # fmt: skip
    except (KeyError, TypeError, ValueError, ParameterError):
        return None


def _dose(run: Mapping[str, Any]) -> float:
    settings = dict(run["settings"])
    known = {field.name for field in dataclasses.fields(SeriesSettings)}
    plan = SeriesPlan(_region(run), SeriesSettings(**{k: v for k, v in settings.items() if k in known}), {})
    return plan.figures.dose_per_frame


def _region(run: Mapping[str, Any]) -> Region:
    region = dict(run["region"])
    return Region(**{**region, **{key: tuple(region[key]) for key in ("shape", "center_nm") if key in region}})


def _pixel(part: _Part) -> tuple[float, float] | None:
    scan = part.dataset.scan
    if scan is not None and scan.step_nm is not None:
        height, width = np.broadcast_to(np.asarray(scan.step_nm, np.float64), 2).tolist()
        return float(height), float(width)
    axes = part.signal(str(part.image or part.spectra)).axes[1 if part.is_stack else 0 :][:2]
    if all(axis.unit in _NM and axis.scale > 0 for axis in axes):
        return axes[0].scale * _NM[axes[0].unit], axes[1].scale * _NM[axes[1].unit]
    return None


def _energies(axis: io.Axis) -> NDArray[np.float64] | None:
    return axis.coordinates * _EV[axis.unit] if axis.unit in _EV else None


def _listed(signals: Mapping[str, io.Signal]) -> str:
    return ", ".join(f"{name!r} ({' x '.join(f'{a.name} {a.size}' for a in s.axes)})" for name, s in signals.items())


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
