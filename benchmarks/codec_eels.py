"""EELS codecs: size, time, error and element maps of ours beside zip, zstd, bitshuffle, SZ3 and zfp, one thread.

``python -m benchmarks.codec_eels [--json FILE]``. One frame of 60 x 94 pixels and 2048 channels, float32, 46.2 MB, with
shot noise (8 counts per electron), readout noise (3 counts) and a few cosmic rays. SZ3 and zfp come with hdf5plugin and
run on the variance-stabilised values, where an absolute error is one in units of the noise. Map errors are relative to
the mean of the map of the noise-free truth, over pixels that no cosmic ray hit.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.eels_data import GAIN, PAPER_BLOCKS, READOUT, SIMPLE_BLOCKS, energies, map_errors, measured, truth
from benchmarks.timing import report
from esteemcore.codec.eels import decode_eels, encode_eels
from esteemcore.codec.lossless import decode_lossless, encode_lossless

NUMBER = itertools.count()
"""Of files in memory, whose names must differ."""


def timed(work: Callable[[], Any], repeats: int) -> tuple[Any, float, float]:
    """Return the result of a call, and the least CPU and wall time of several, in s."""
    cpu = wall = float("inf")
    for _ in range(repeats):
        c, w = time.process_time(), time.perf_counter()
        result = work()
        cpu, wall = min(cpu, time.process_time() - c), min(wall, time.perf_counter() - w)
    return result, cpu, wall


def stabilise(x: np.ndarray) -> np.ndarray:
    """Return values whose noise is one."""
    above = 2 / GAIN * (np.sqrt(GAIN * np.maximum(x, 0) + READOUT**2) - READOUT)
    return np.where(x < 0, x / READOUT, above).astype(np.float32)


def restore(t: np.ndarray) -> np.ndarray:
    """Undo `stabilise`."""
    return np.where(t < 0, t * READOUT, GAIN / 4 * t**2 + READOUT * t).astype(np.float32)


def through_hdf5(data: np.ndarray, chunks: tuple[int, ...], **filters: Any) -> tuple[int, Callable[[], np.ndarray]]:
    """Write data to an HDF5 file in memory; return the stored size and what reads them."""
    import h5py

    file = h5py.File(f"memory{next(NUMBER)}.h5", "w", driver="core", backing_store=False)
    stored = file.create_dataset("data", data=data, chunks=chunks, **filters)
    return stored.id.get_storage_size(), lambda: stored[...]


def cases(counts: np.ndarray) -> dict[str, tuple[Callable[[], Any], Callable[[Any], tuple[int, Callable[[], Any]]]]]:
    """Return for each codec what encodes, and from its result the size and what decodes."""
    energy = energies()
    noise = {"gain": GAIN, "readout_sigma": READOUT}

    def esteem(**choices: Any) -> Any:
        return (
            lambda: encode_eels(counts, energy, **choices, **noise),
            lambda block: (len(block), lambda: decode_eels(block)),
        )

    whole = np.rint(counts).astype(np.int32)
    table: dict[str, Any] = {
        "float32, zip": (
            lambda: zlib.compress(counts.tobytes(), 6),
            lambda z: (len(z), lambda: np.frombuffer(zlib.decompress(z), np.float32).reshape(counts.shape)),
        ),
        "whole counts, zip": (
            lambda: zlib.compress(whole.tobytes(), 6),
            lambda z: (len(z), lambda: np.frombuffer(zlib.decompress(z), np.int32).reshape(counts.shape)),
        ),
        "esteem lossless, float32": (
            lambda: encode_lossless(counts),
            lambda block: (len(block), lambda: decode_lossless(block)),
        ),
        "esteem lossless, whole counts": (
            lambda: encode_lossless(whole),
            lambda block: (len(block), lambda: decode_lossless(block)),
        ),
    }
    if importlib.util.find_spec("hdf5plugin") is not None:
        import hdf5plugin

        major = np.ascontiguousarray(whole.transpose(2, 0, 1))
        stable = stabilise(counts)

        def peer(data: np.ndarray, chunks: tuple[int, ...], back: Callable[[Any], Any], compression: Any) -> Any:
            return (
                lambda: through_hdf5(data, chunks, compression=compression),
                lambda made: (made[0], lambda: back(made[1]())),
            )

        table["whole counts, zstd"] = peer(whole, whole.shape, lambda x: x, hdf5plugin.Zstd(clevel=3))
        table["whole counts, bitshuffle + zstd"] = peer(
            whole, (1, *whole.shape[1:]), lambda x: x, hdf5plugin.Bitshuffle(cname="zstd")
        )
        table["same, energy-major"] = peer(
            major, (64, *major.shape[1:]), lambda x: x.transpose(1, 2, 0), hdf5plugin.Bitshuffle(cname="zstd")
        )
        table["SZ3, 0.5 sigma"] = peer(stable, stable.shape, restore, hdf5plugin.SZ3(absolute=0.5))
        table["zfp, 0.5 sigma"] = peer(stable, stable.shape, restore, hdf5plugin.Zfp(accuracy=0.5))
        table["zfp, accuracy 2 sigma"] = peer(stable, stable.shape, restore, hdf5plugin.Zfp(accuracy=2))
    table |= {
        "esteem bounded, 0.5 sigma": esteem(bound_sigma=0.5),
        "esteem bounded, 1 sigma": esteem(bound_sigma=1.0),
        "esteem blocks, many edges": (
            lambda: encode_eels(counts, energy, PAPER_BLOCKS, **noise),
            lambda block: (len(block), lambda: decode_eels(block)),
        ),
        "same, no components": esteem(blocks=PAPER_BLOCKS, n_components=0),
        "esteem blocks, simple": esteem(blocks=SIMPLE_BLOCKS),
        "same, no components ": esteem(blocks=SIMPLE_BLOCKS, n_components=0),
        "esteem blocks, automatic": esteem(),
    }
    return table


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--repeats", type=int, default=2, help="calls of which the fastest counts (%(default)s)")
    arguments = parser.parse_args()
    clean = truth()
    counts = measured(clean)
    encode_eels(counts[:4], bound_sigma=0.5)  # compile
    decode_lossless(encode_lossless(counts[:1]))
    sigma = np.sqrt(GAIN * np.maximum(counts, 0) + READOUT**2)
    energy = energies()
    quiet = (np.abs(counts - clean) < 1500).all(axis=-1)
    rows = []
    raw = map_errors(counts, clean, energy, quiet)
    rows.append({"codec": "raw", "ratio": "1.00", "encode CPU s": "", "wall": "", "decode CPU s": "", "error": "0.000"})
    rows[-1] |= {name: f"{100 * bias:+.1f} / {100 * rms:.0f} %" for name, (bias, rms) in raw.items()}
    for name, (encode, opened) in cases(counts).items():
        made, cpu, wall = timed(encode, arguments.repeats)
        size, decode = opened(made)
        back, decode_cpu, _ = timed(decode, arguments.repeats)
        maps = map_errors(back, clean, energy, quiet)
        rows.append(
            {
                "codec": name.strip(),
                "ratio": f"{counts.nbytes / size:.2f}",
                "encode CPU s": f"{cpu:.2f}",
                "wall": f"{wall:.2f}",
                "decode CPU s": f"{decode_cpu:.2f}",
                "error": f"{float((np.abs(back - counts) / sigma).max()):.3f}",
                **{key: f"{100 * bias:+.1f} / {100 * rms:.0f} %" for key, (bias, rms) in maps.items()},
            }
        )
    print("error: largest, in units of the noise; Ca, Ti, O, Nd: bias / RMSE of the element map against the truth")
    report("codec_eels", rows, arguments.json)


if __name__ == "__main__":
    main()
