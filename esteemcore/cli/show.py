"""``esteem show FILE``: what a file holds, in words and as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from esteemcore import io
from esteemcore.cli import pictures
from esteemcore.cli.options import result_folder, stem
from esteemcore.errors import FormatError
from esteemcore.events import unpack_bits

PIECE_BYTES = 2**26
"""What is read at a time."""

LARGEST_BYTES = 2**31
"""Signals that are larger than this as a dense array are shown by a part."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, help="a container of Esteem or any file that RosettaSciIO reads")
    parser.add_argument("--out", type=Path, help="folder for the pictures; default: here")
    parser.add_argument("--no-pictures", action="store_true", help="print only")


def run(arguments: argparse.Namespace) -> int:
    """Print the description and write one picture per view of each signal."""
    dataset = io.load(arguments.file)
    for line in dataset.describe():
        print(line)
    if arguments.no_pictures:
        return 0
    out = result_folder(arguments.out or Path())
    for name, signal in dataset.signals.items():
        try:
            views = picture_signal(signal, dataset.scan)
        except Exception as error:
            raise FormatError(f"{arguments.file}: {name} cannot be read ({type(error).__name__}: {error})") from error
        for view, picture in views.items():
            label = "".join(c if c.isalnum() else "_" for c in name)
            path = pictures.save(picture, out / f"{stem(arguments.file)}_{label}_{view}.png")
            print(f"{path}: {view.replace('_', ' ')}")
    return 0


def picture_signal(signal: io.Signal, scan: io.ScanRecord | None) -> dict[str, Image.Image]:
    """Return the views of a signal: a map over the scan, and the mean frame or spectrum where there is one."""
    if signal.kind == "events":
        return {}
    if signal.frame_shape is not None and len(signal.axes) > 2:
        total, mean = _reduce_frames(signal)
        views = {"mean_frame": pictures.gray(np.sqrt(np.abs(mean)))}
        shape = tuple(axis.size for axis in signal.axes[:-2])
        if len(shape) == 2:
            return {"sum_over_detector": _map(total.reshape(shape), signal.axes[:2]), **views}
        if scan is not None and total.size:
            image, visits = np.zeros(scan.shape[0] * scan.shape[1]), np.zeros(scan.shape[0] * scan.shape[1])
            order = scan.order(len(total))
            np.add.at(image, order, total)
            np.add.at(visits, order, 1)
            with np.errstate(invalid="ignore", divide="ignore"):
                return {"sum_over_detector": pictures.gray((image / visits).reshape(scan.shape)), **views}
        return views
    if len(signal.axes) == 1:
        return {"spectrum": _spectrum(signal.axes[0], np.asarray(signal.data))}
    if signal.axes[-1].name == "energy" or len(signal.axes) == 3:
        total, spectrum = _reduce_spectra(signal)
        views = {"sum_spectrum": _spectrum(signal.axes[-1], spectrum)}
        if total.ndim == 2 and min(total.shape) > 1:
            views = {f"sum_over_{signal.axes[-1].name}": _map(total, signal.axes[:2]), **views}
        return views
    data = signal.data
    while data.ndim > 2:
        data = data[0]
    return {"image": _map(np.asarray(data), signal.axes[-2:])}


def _map(image: NDArray[Any], axes: tuple[io.Axis, ...]) -> Image.Image:
    scale = {"m": 1e9, "mm": 1e6, "µm": 1e3, "um": 1e3, "nm": 1.0, "Å": 0.1, "A": 0.1, "pm": 1e-3}
    known = all(axis.unit in scale and axis.scale > 0 for axis in axes)
    step = tuple(axis.scale * scale[axis.unit] for axis in axes) if known else None
    return pictures.gray(image, nm_per_pixel=step)  # type: ignore[arg-type]


def _spectrum(axis: io.Axis, values: NDArray[Any]) -> Image.Image:
    label = f"{axis.name or 'channel'}{f' ({axis.unit})' if axis.unit else ''}"
    return pictures.curve(axis.coordinates, values, x_label=label, y_label="sum of counts")


def _pieces(signal: io.Signal) -> list[tuple[int, int]]:
    """Cut the first axis so that a piece is read at a time; a signal that is too large is shown by its middle."""
    rows = signal.axes[0].size
    per_row = max(signal.nbytes // max(rows, 1), 1)
    step = max(1, PIECE_BYTES // per_row)
    most = max(1, LARGEST_BYTES // per_row)
    first = max(0, (rows - most) // 2)
    return [(a, min(a + step, first + most, rows)) for a in range(first, min(first + most, rows), step)]


def _reduce_frames(signal: io.Signal) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the counts of every frame, flat, and the mean frame, reading a piece at a time."""
    ky_kx = signal.frame_shape or (1, 1)
    rows = signal.axes[0].size
    per_row = int(np.prod([axis.size for axis in signal.axes[1:-2]], dtype=np.int64))
    total = np.full((rows, per_row), np.nan)
    frame, frames = np.zeros(ky_kx), 0
    for a, b in _pieces(signal):
        piece = np.asarray(signal.data[a:b])
        if signal.kind == "packed":
            piece = unpack_bits(piece, ky_kx[1])
        piece = piece.reshape(-1, *ky_kx)
        total[a:b] = piece.sum(axis=(1, 2), dtype=np.float64).reshape(b - a, per_row)
        frame += piece.sum(axis=0, dtype=np.float64)
        frames += len(piece)
    return total.reshape(-1), frame / max(frames, 1)


def _reduce_spectra(signal: io.Signal) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum over the last axis and the sum spectrum, reading a piece at a time."""
    total = np.full([axis.size for axis in signal.axes[:-1]], np.nan)
    spectrum = np.zeros(signal.axes[-1].size)
    for a, b in _pieces(signal):
        piece = np.asarray(signal.data[a:b])
        total[a:b] = piece.sum(axis=-1, dtype=np.float64)
        spectrum += piece.reshape(-1, piece.shape[-1]).sum(axis=0, dtype=np.float64)
    return total, spectrum
