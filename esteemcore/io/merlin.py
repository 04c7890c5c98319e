"""Merlin (Medipix3) files: what their header says, and one-bit frames as bits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError
from esteemcore.io.dataset import Axis, Dataset, ScanRecord, Signal
from esteemcore.io.foreign import build_dataset, read_with_rosettasciio, with_frames
from esteemcore.io.packed_views import PackedView, split_key

_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1), axis=1, bitorder="little")[:, 0]
"""Each byte with its bits in the opposite order."""


@dataclasses.dataclass(frozen=True, slots=True)
class MerlinHeader:
    """What the text before the first frame says.

    Attributes
    ----------
    nbytes : int
        Length of the header, before each frame.
    chips : int
        Number of chips.
    shape : tuple of int
        (rows, columns) as stored.
    dtype : str
        ``U08``, ``U16``, ``U32`` or, raw, ``R64``.
    layout : str
        How the chips are put together, e.g. ``1x1`` or ``2x2``.
    depth : int or None
        Bits of the counter.
    time : str
        Time of the first frame.
    exposure_s : float or None
        Exposure in s.
    """

    nbytes: int
    chips: int
    shape: tuple[int, int]
    dtype: str
    layout: str
    depth: int | None
    time: str
    exposure_s: float | None


def read_header(path: Path) -> MerlinHeader:
    """Return the header of the first frame.

    Raises
    ------
    FormatError
        If it is not a Merlin file.
    """
    with path.open("rb") as file:
        start = file.read(4096)
    fields = start[:384].decode("ascii", "replace").split(",")
    try:
        if fields[0] != "MQ1":
            raise ValueError
        nbytes, chips, columns, rows = (int(field) for field in fields[2:6])
        extended = start[:nbytes].decode("ascii", "replace").partition("MQ1A,")[2].split(",")
        depth = int(extended[2]) if len(extended) > 2 and extended[2].strip().isdigit() else None
        exposure = float(fields[10])
        return MerlinHeader(nbytes, chips, (rows, columns), fields[6], fields[7].strip(), depth, fields[9], exposure)
    except (ValueError, IndexError):
        raise FormatError(f"{path} cannot be read: it does not begin with the header of a Merlin detector") from None


def load_merlin(path: Path, scan_shape: tuple[int, int] | None) -> Dataset:
    """Open a .mib file; one-bit frames come packed, raw ones too."""
    header = read_header(path)
    if header.dtype == "R64":
        return _load_raw(path, header, scan_shape)
    options = {} if scan_shape is None else {"quantumdetector": {"navigation_shape": scan_shape[::-1]}}
    reader, entries = read_with_rosettasciio(path, only="QuantumDetector", options=options)
    dataset = build_dataset(path, reader, entries, scan_shape)
    name = "frames" if "frames" in dataset.signals else next(iter(dataset.signals))
    signal = dataset.signals[name]
    if len(signal.axes) == 2:
        axes = (Axis("frame", 1), *signal.axes)
        signal = dataclasses.replace(signal, data=signal.data[None], axes=axes)
        dataset = dataclasses.replace(dataset, scan=ScanRecord(scan_shape or (1, 1)))
    if len(signal.axes) == 4 and scan_shape is None:
        shape = f"{signal.axes[0].size} x {signal.axes[1].size}"
        note = (
            f"the scan shape {shape} is inferred from the header and the time stamps; give scan_shape= if it is wrong"
        )
        dataset = dataclasses.replace(dataset, notes=(*dataset.notes, note))
    if header.depth == 1 and signal.frame_shape is not None:
        signal = dataclasses.replace(signal, data=PackedView(signal.data), kind="packed")
    return with_frames(dataset, name, signal, metadata={**dataset.metadata, "instrument": _instrument(header)})


def _instrument(header: MerlinHeader) -> dict[str, Any]:
    entries = {"detector": "Merlin", "counter_bits": header.depth, "exposure_s": header.exposure_s}
    return {**entries, "chips": header.layout, "time": header.time}


def _load_raw(path: Path, header: MerlinHeader, scan_shape: tuple[int, int] | None) -> Dataset:
    quad = header.chips == 4 and header.layout == "2x2"
    if header.depth != 1 or not (quad or header.chips == 1) or header.shape[1] != 256 * header.chips:
        raise FormatError(
            f"{path} cannot be read: raw Merlin files are supported with one bit and one or 2x2 chips, this one has "
            f"{header.depth} bits and {header.chips} chips ({header.layout}); record processed files instead"
        )
    data = RawBits(path, header)
    n, ky, row_bytes = data.shape
    if n == 0:
        raise FormatError(f"{path} cannot be read: it ends within the first frame")
    axes = (Axis("frame", n), Axis("ky", ky), Axis("kx", 8 * row_bytes))
    signal = Signal(data, axes, "packed", (ky, 8 * row_bytes))
    rest = path.stat().st_size - n * data.record_bytes
    notes = (f"the last frame is cut off and left out ({rest:,} bytes)",) if rest else ()
    scan = ScanRecord(scan_shape if scan_shape is not None else (1, n))
    return Dataset(
        {"frames": signal}, scan, {}, {"instrument": _instrument(header)}, str(path), "Merlin raw one-bit file", notes
    )


class RawBits:
    """Raw one-bit frames as packed frames (n, ky, kx/8).

    A raw frame has one bit per pixel, groups of 64 pixels from the last to the first. Four chips lie side by side in
    a row: chips 3 and 2 make the upper half, chips 1 and 0, turned by 180 degrees, the lower half. The rows come from
    the last to the first, as RosettaSciIO gives those of processed files.
    """

    def __init__(self, path: Path, header: MerlinHeader) -> None:
        rows, columns = header.shape
        self._path, self._header = path, header
        self.record_bytes = header.nbytes + rows * columns // 8
        n = path.stat().st_size // self.record_bytes
        self.shape = (n, 2 * rows, columns // 16) if header.chips == 4 else (n, rows, columns // 8)
        self.dtype = np.dtype(np.uint8)
        self.ndim = 3

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read everything."""
        return np.asarray(self[...], dtype)

    def __getitem__(self, key: Any) -> Any:
        """Read a part."""
        (frames,), inner = split_key(key, 1)
        shape = (self.shape[0], self.record_bytes)
        records = np.memmap(self._path, np.uint8, "r", shape=shape)[frames, self._header.nbytes :]
        rows, columns = self._header.shape
        lead = records.shape[:-1]
        groups = np.asarray(records).reshape(*lead, rows, columns // 64, 8)[..., ::-1]
        packed = groups.reshape(*lead, rows, columns // 8)
        if self._header.chips == 4:
            chips = [packed[..., 32 * k : 32 * (k + 1)] for k in range(4)]
            turned = [_REVERSED[chip[..., ::-1, ::-1]] for chip in chips[:2]]
            upper = np.concatenate([chips[3], chips[2]], axis=-1)
            packed = np.concatenate([upper, np.concatenate([turned[1], turned[0]], axis=-1)], axis=-2)
        return np.ascontiguousarray(packed[..., ::-1, :])[(..., *inner)]
