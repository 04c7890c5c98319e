"""Make the small containers of ``golden/``: run once per version of the format; the files are never made again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from esteemcore import events, io, stream

GOLDEN = Path(__file__).parent / "golden"


def frames():
    """Return (index, one-bit frames (30, 6, 11), true positions) of the golden container."""
    number = np.arange(30)
    rows, columns = np.mgrid[:6, :11]
    dense = ((rows * 11 + columns) * 7 + number[:, None, None] * 5) % 13 == 0
    index = (number * 7) % 20
    position = np.stack(np.divmod(index, 5), axis=1) + 0.25
    return index, dense.astype(np.uint8), position


def image():
    """Return the golden spectrum image, with its axes."""
    data = (np.arange(2 * 3 * 5).reshape(2, 3, 5) ** 2).astype(np.uint16)
    axes = (
        io.Axis("y", 2, 0.5, unit="nm"),
        io.Axis("x", 3, 0.25, -1.0, "nm"),
        io.Axis("energy", 5, unit="eV", values=(1.0, 2.0, 4.0, 8.0, 16.0)),
    )
    return io.Signal(data, axes, metadata={"detector": "EELS"})


def counts():
    """Return the golden events (2, 7, 6, 40)."""
    n = np.arange(2 * 7 * 6 * 40).reshape(2, 7, 6, 40)
    return ((n * 2654435761 % 4294967296) >> 27 == 3).astype(np.uint16) * (1 + n % 3).astype(np.uint16)


def spectra():
    """Return the golden spectrum images (2, 7, 6, 40)."""
    return (counts() * 7 + 1000 // (1 + np.arange(40))).astype(np.float32)


def version_2() -> None:
    """Write version 2: a series, and frames and spectra in every codec; the first one also as a zip."""
    signals = {
        "adf": io.SeriesSignal((7, 6), np.float32, (io.Axis("y", 7, 0.5, unit="nm"), io.Axis("x", 6, 0.5, unit="nm"))),
        "eels": io.SeriesSignal((7, 6, 40), np.float32),
        "eds": io.SeriesSignal((7, 6, 40), np.uint16, kind="events", metadata={"detector": "EDS"}),
    }
    made_by = {"title": "golden", "authors": [{"name": "Carberry, Josiah", "orcid": "0000-0002-1825-0097"}]}
    path = GOLDEN / "series_v2.esteem"
    with io.SeriesWriter(path, signals, metadata={"credits": made_by}) as writer:
        for i in range(2):
            frame = {"adf": np.full((7, 6), i, np.float32), "eels": spectra()[i], "eds": counts()[i]}
            writer.append(frame, time_s=2.5 * i, energy_offset_ev=-0.25 * i, tilt_deg=(i, -i))
    io.pack(path)
    _, dense, _ = frames()
    axes = tuple(io.Axis(name, size) for name, size in zip(("frame", "y", "x", "energy"), (2, 7, 6, 40), strict=True))
    frame_axes = (io.Axis("frame", 30), io.Axis("ky", 6), io.Axis("kx", 11))
    dataset = io.Dataset(
        {
            "frames": io.Signal(events.pack_bits(dense), frame_axes, "packed", (6, 11)),
            "bounded": io.Signal(spectra(), axes),
        }
    )
    codec = {
        "frames": "esteem.binary-frames",
        "bounded": {"name": "esteem.eels-bounded", "bound_sigma": 0.25},
    }
    io.save(GOLDEN / "codecs_v2.esteem", dataset, codec=codec)


def version_1() -> None:
    """Write version 1."""
    index, dense, position = frames()
    packed = events.pack_bits(dense)
    with io.Writer(
        GOLDEN / "frames_v1.esteem",
        stream.Spec((4, 5), (6, 11), np.uint8, packed=True),
        block=16,
        scan=io.ScanRecord((4, 5), dwell_s=8e-5, step_nm=(0.5, 0.25)),
        geometry={"beam_energy_kev": 200.0, "semiangle_mrad": 15.0, "aberrations": {"C12": (3.0, 0.5)}},
        metadata={"specimen": {"name": "golden"}},
    ) as writer:
        writer.append(stream.Chunk(index[:20], packed[:20], position=position[:20]))
        writer.append(stream.Chunk(index[20:], packed[20:], visit=1, time_s=np.arange(10) * 0.5))
    io.save(GOLDEN / "image_v1.esteem", io.Dataset({"si": image()}))


if __name__ == "__main__":
    sys.exit(version_2())
