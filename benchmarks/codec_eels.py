"""EELS codecs: size, time, error and element maps of ours beside zip, zstd, bitshuffle, SZ3 and zfp, one thread.

``python -m benchmarks.codec_eels [--frames N] [--json FILE]``. Frames of 60 x 94 pixels and 2048 channels, float32,
46.2 MB, of one specimen, each with its own shot noise (8 counts per electron), readout noise (3 counts) and cosmic
rays. SZ3 and zfp come with hdf5plugin and run on the variance-stabilised values, where an absolute error is one in
units of the noise. Codecs that lose nothing are run on the first frame, where every value is compared. Map errors are
relative to the mean of the map of the noise-free truth, over pixels that no cosmic ray hit: of each frame (bias and
RMSE over all frames), and of the sum of the frames, whose noise is less but whose bias is not.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
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
    """Write data to an HDF5 file in memory, without a cache of what was decoded; return size and what reads them."""
    import h5py

    file = h5py.File(f"memory{next(NUMBER)}.h5", "w", driver="core", backing_store=False, rdcc_nbytes=0)
    stored = file.create_dataset("data", data=data, chunks=chunks, **filters)
    return stored.id.get_storage_size(), lambda: stored[...]


@dataclasses.dataclass(frozen=True)
class Case:
    """One codec: what it is given of the counts, which is not timed, what encodes, and what opens the result.

    Opened are the size and what decodes; `kept` is what comes back of the counts where nothing is lost.
    """

    prepare: Callable[[np.ndarray], np.ndarray]
    encode: Callable[[np.ndarray], Any]
    opened: Callable[[Any], tuple[int, Callable[[], np.ndarray]]]
    kept: Callable[[np.ndarray], np.ndarray] | None = None


def unchanged(counts: np.ndarray) -> np.ndarray:
    """Return the counts."""
    return counts


def whole(counts: np.ndarray) -> np.ndarray:
    """Return whole counts."""
    return np.rint(counts).astype(np.int32)


def esteem(**choices: Any) -> Case:
    """Return one of our codecs with a loss."""
    noise = {"gain": GAIN, "readout_sigma": READOUT}
    return Case(
        unchanged,
        lambda counts: encode_eels(counts, energies(), **choices, **noise),
        lambda block: (len(block), lambda: decode_eels(block)),
    )


def zipped(kept: Callable[[np.ndarray], np.ndarray], dtype: Any) -> Case:
    """Return what zip makes of the values."""
    return Case(
        kept,
        lambda data: (zlib.compress(data.tobytes(), 6), data.shape),
        lambda z: (len(z[0]), lambda: np.frombuffer(zlib.decompress(z[0]), dtype).reshape(z[1])),
        kept,
    )


def lossless(kept: Callable[[np.ndarray], np.ndarray]) -> Case:
    """Return our codec that loses nothing."""
    return Case(kept, encode_lossless, lambda block: (len(block), lambda: decode_lossless(block)), kept)


def peer(
    prepare: Callable[[np.ndarray], np.ndarray],
    chunks: Callable[[tuple[int, ...]], tuple[int, ...]],
    back: Callable[[np.ndarray], np.ndarray],
    compression: Any,
    kept: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Case:
    """Return a filter of HDF5, with the shape of its chunks by that of the data."""
    return Case(
        prepare,
        lambda data: through_hdf5(data, chunks(data.shape), compression=compression),
        lambda made: (made[0], lambda: back(made[1]())),
        kept,
    )


def cases() -> dict[str, Case]:
    """Return all codecs that are installed, by name."""
    table = {
        "float32, zip": zipped(unchanged, np.float32),
        "whole counts, zip": zipped(whole, np.int32),
        "esteem lossless, float32": lossless(unchanged),
        "esteem lossless, whole counts": lossless(whole),
    }
    if importlib.util.find_spec("hdf5plugin") is not None:
        import hdf5plugin

        def major(counts: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(whole(counts).transpose(2, 0, 1))

        shuffled = hdf5plugin.Bitshuffle(cname="zstd")
        table |= {
            "whole counts, zstd": peer(whole, tuple, unchanged, hdf5plugin.Zstd(clevel=3), whole),
            "whole counts, bitshuffle + zstd": peer(whole, lambda s: (1, *s[1:]), unchanged, shuffled, whole),
            "same, energy-major": peer(major, lambda s: (64, *s[1:]), lambda x: x.transpose(1, 2, 0), shuffled, whole),
            "SZ3, 0.5 sigma": peer(stabilise, tuple, restore, hdf5plugin.SZ3(absolute=0.5)),
            "zfp, 0.5 sigma": peer(stabilise, tuple, restore, hdf5plugin.Zfp(accuracy=0.5)),
            "zfp, accuracy 2 sigma": peer(stabilise, tuple, restore, hdf5plugin.Zfp(accuracy=2)),
        }
    return table | {
        "esteem bounded, 0.5 sigma": esteem(bound_sigma=0.5),
        "esteem bounded, 1 sigma": esteem(bound_sigma=1.0),
        "esteem blocks, many edges": esteem(blocks=PAPER_BLOCKS),
        "many edges, no components": esteem(blocks=PAPER_BLOCKS, n_components=0),
        "esteem blocks, simple": esteem(blocks=SIMPLE_BLOCKS),
        "simple, no components": esteem(blocks=SIMPLE_BLOCKS, n_components=0),
        "esteem blocks, automatic": esteem(),
        "automatic, no components": esteem(n_components=0),
    }


def four_figures(back: np.ndarray, counts: np.ndarray, blocks: list[tuple[float, float, int]]) -> bool:
    """Return whether all values of blocks of factor 1 are the given ones, written with four significant figures."""
    energy = energies()
    fine = np.zeros(len(energy), bool)
    for start, stop, factor in blocks:
        fine |= (factor == 1) & (energy >= start) & (energy < stop)
    text = [f"{value:.3e}" for value in counts[..., fine].ravel().tolist()]
    return bool(np.array_equal(back[..., fine].ravel(), np.array(text, np.float64).astype(np.float32)))


def percent(errors: list[dict[str, tuple[float, float]]]) -> dict[str, str]:
    """Return bias and RMSE of each map over several frames."""
    found = {}
    for name in errors[0]:
        bias = np.mean([error[name][0] for error in errors])
        found[name] = f"{100 * bias:+.1f} / {100 * np.sqrt(np.mean([error[name][1] ** 2 for error in errors])):.0f} %"
    return found


def row(
    name: str, case: Case, frames: list[np.ndarray], clean: np.ndarray, quiet: list[np.ndarray], repeats: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Measure one codec; returns its row of the table and that of the sum of the frames.

    What loses nothing is encoded for the first frame only: what comes back of the others is known.
    """
    energy, total = energies(), np.zeros(clean.shape, np.float32)
    ratios, times, worst, maps, exact = [], [], [], [], set()
    for counts, good in zip(frames, quiet, strict=True):
        if case.kept is None or not times:
            data = case.prepare(counts)
            made, cpu, _ = timed(functools.partial(case.encode, data), repeats)
            size, decode = case.opened(made)
            back, decode_cpu, _ = timed(decode, repeats)
            if case.kept is not None and not np.array_equal(back, case.kept(counts)):
                raise SystemExit(f"{name} lost something")
            ratios.append(counts.nbytes / size)
            times.append((cpu, decode_cpu))
        else:
            back = case.kept(counts)
        sigma = np.sqrt(GAIN * np.maximum(counts, 0) + READOUT**2)
        worst.append(float((np.abs(back - counts) / sigma).max()))
        maps.append(map_errors(back, clean, energy, good))
        if name in FINE:
            exact.add(four_figures(back, counts, FINE[name]))
        total += back
    one = {
        "codec": name,
        "ratio": f"{np.mean(ratios):.2f}",
        "least ratio": f"{min(ratios):.2f}",
        "encode CPU s": f"{np.mean([t for t, _ in times]):.2f}",
        "decode CPU s": f"{np.mean([t for _, t in times]):.2f}",
        "error": f"{max(worst):.3f}",
        "factor 1": {True: "4 figures", False: "WRONG"}[exact == {True}] if exact else "",
        **percent(maps),
    }
    mean = total / len(frames)
    return one, {"codec": name, **percent([map_errors(mean, clean, energy, np.logical_and.reduce(quiet))])}


FINE = {"esteem blocks, many edges": PAPER_BLOCKS, "esteem blocks, simple": SIMPLE_BLOCKS}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--frames", type=int, default=8, help="frames, each with noise of its own (%(default)s)")
    parser.add_argument("--repeats", type=int, default=1, help="calls of which the fastest counts (%(default)s)")
    parser.add_argument("--only", default="", help="only codecs with this in their names")
    arguments = parser.parse_args()
    clean = truth()
    frames = [measured(clean, seed) for seed in range(arguments.frames)]
    encode_eels(frames[0][:4], bound_sigma=0.5)  # compile
    decode_lossless(encode_lossless(frames[0][:1]))
    energy = energies()
    quiet = [(np.abs(counts - clean) < 1500).all(axis=-1) for counts in frames]
    rows = [{"codec": "raw", "ratio": "1.00"} | dict.fromkeys(("least ratio", "encode CPU s", "decode CPU s"), "")]
    rows[0] |= {"error": "0.000", "factor 1": ""}
    rows[0] |= percent([map_errors(c, clean, energy, q) for c, q in zip(frames, quiet, strict=True)])
    mean = np.mean(frames, axis=0, dtype=np.float32)
    sums = [{"codec": "raw", **percent([map_errors(mean, clean, energy, np.logical_and.reduce(quiet))])}]
    if importlib.util.find_spec("hdf5plugin") is None:
        print("hdf5plugin is not installed: no zstd, bitshuffle, SZ3 and zfp")
    for name, case in cases().items():
        if arguments.only in name:
            one, of_sum = row(name, case, frames, clean, quiet, arguments.repeats)
            rows.append(one)
            sums.append(of_sum)
    print("error: largest, in units of the noise; Ca, Ti, O, Nd: bias / RMSE of the element map against the truth")
    report("codec_eels", rows, arguments.json)
    print(f"maps of the sum of {arguments.frames} frames")
    report("codec_eels_sum", sums, arguments.json and arguments.json.with_stem(arguments.json.stem + "_sum"))


if __name__ == "__main__":
    main()
