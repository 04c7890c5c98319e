"""Direct Electron movies of free-order scans: frames in the order of acquisition, with their coordinates."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError
from esteemcore.io.dataset import Axis, Dataset, ScanRecord, Signal
from esteemcore.io.foreign import read_with_rosettasciio


def find_coordinates(path: Path) -> Path | None:
    """Return the coordinates file beside a movie, if there is one."""
    for stem in (path.stem.removesuffix("_movie"), path.stem):
        found = path.with_name(f"{stem}_scan_coordinates.csv")
        if found.is_file():
            return found
    return None


def load_movie(path: Path, coordinates: Path, scan_shape: tuple[int, int] | None) -> Dataset:
    """Open a movie with the positions that its frames were taken at.

    Raises
    ------
    FormatError
        If the coordinates cannot be read or do not fit the movie.
    """
    _, entries = read_with_rosettasciio(path, only="MRC", options={"mrc": {"metadata_file": None}})
    data = entries[0]["data"]
    if data.ndim != 3:
        raise FormatError(f"{path} cannot be read as a movie: its data have shape {data.shape}")
    xy = _read_coordinates(coordinates)
    if len(xy) != len(data):
        raise FormatError(f"{path} has {len(data)} frames, but {coordinates.name} has {len(xy)} positions")
    info = _read_info(path)
    row_column = np.rint(xy[:, ::-1]).astype(np.int64)
    shape = scan_shape or _shape(info, row_column)
    if row_column.min() < 0 or (row_column.max(axis=0) >= shape).any():
        raise FormatError(
            f"{coordinates} has positions up to row {row_column[:, 0].max()}, column {row_column[:, 1].max()} and down "
            f"to {row_column.min()}, but the scan has {shape[0]} x {shape[1]} positions"
        )
    index = row_column @ np.array([shape[1], 1])
    exact = np.array_equal(row_column, xy[:, ::-1])
    visit = _occurrence(index)
    dwell_us, step = _number(info, "Scan - Dwell Time (microseconds)"), _step(info)
    n, ky, kx = data.shape
    signal = Signal(data, (Axis("frame", n), Axis("ky", ky), Axis("kx", kx)), frame_shape=(ky, kx))
    scan = ScanRecord(
        shape,
        index=index,
        visit=visit if visit.any() else None,
        positions=None if exact else np.ascontiguousarray(xy[:, ::-1]),
        dwell_s=None if dwell_us is None else dwell_us * 1e-6,
        step_nm=step,
        rotation_deg=_number(info, "Scan - Rotation"),
    )
    geometry = {} if step is None else {"scan_step_nm": step}
    metadata: dict[str, Any] = {"coordinates": str(coordinates)}
    if info:
        metadata["instrument"] = {
            "detector": info.get("Camera Model", ""),
            "frames_per_second": _number(info, "Frames Per Second"),
        }
        metadata["original"] = info
    return Dataset({"frames": signal}, scan, geometry, metadata, str(path), "Direct Electron movie")


def _read_coordinates(path: Path) -> NDArray[np.float64]:
    """Return (x, y) of each frame."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty file is answered below
            xy = np.loadtxt(path, delimiter=",", dtype=np.float64, ndmin=2)
    except (OSError, ValueError) as error:
        raise FormatError(f"the coordinates {path} cannot be read: {' '.join(str(error).split())}") from error
    if xy.shape[1:] != (2,) or not len(xy) or not np.isfinite(xy).all():
        raise FormatError(f"the coordinates {path} have shape {xy.shape}; expected two numbers x, y per frame")
    return xy


def _read_info(path: Path) -> dict[str, str]:
    """Return the settings beside a movie; empty when there are none."""
    file = path.with_name(f"{path.stem.removesuffix('_movie')}_info.txt")
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _number(info: dict[str, str], key: str) -> float | None:
    try:
        return float(info[key])
    except (KeyError, ValueError):
        return None


def _step(info: dict[str, str]) -> float | tuple[float, float] | None:
    """Return the scan step in nm; the camera writes -1 where it does not know it."""
    y, x = (_number(info, f"Specimen Pixel Size {axis} (nanometers)") for axis in "YX")
    if y is None or x is None or min(y, x) <= 0:
        return None
    return y if y == x else (y, x)


def _shape(info: dict[str, str], row_column: NDArray[np.int64]) -> tuple[int, int]:
    """Return the scan shape of the settings if the positions lie in it, else the smallest that holds them."""
    area = "ROI " if info.get("Scan - ROI Enable") == "Enable" else ""
    sizes = [_number(info, f"Scan - {area}Size {axis}") for axis in "YX"]
    needed = row_column.max(axis=0) + 1
    if sizes[0] is not None and sizes[1] is not None and sizes[0] >= needed[0] and sizes[1] >= needed[1]:
        return int(sizes[0]), int(sizes[1])
    return max(int(needed[0]), 1), max(int(needed[1]), 1)


def _occurrence(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how often each position had been visited before."""
    order = np.argsort(index, kind="stable")
    ranked = index[order]
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(ranked) else np.zeros(0, np.int64)
    counts = np.diff(np.r_[first, len(ranked)])
    occurrence = np.empty(len(index), np.int64)
    occurrence[order] = np.arange(len(index)) - np.repeat(first, counts)
    return occurrence
