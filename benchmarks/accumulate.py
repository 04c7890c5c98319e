"""Sums of sparse spectrum images on the common grid: CPU time, peak memory and counts, beside warping dense frames.

``python -m benchmarks.accumulate [--frames N] [--json FILE]``. The frames are simulated here: X-ray counts, 0.04 % of
the entries filled, each line displaced. Every method runs in a process of its own, whose peak memory is reported; the
making of the frames is not in its time. Dense frames are warped with `scipy.ndimage`, channel by channel, for a part of
the channels of one frame; time and memory for all are extrapolated.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks.timing import report
from esteemcore import events, register

SHAPE = (200, 200)
CHANNELS = 2048
FILLED = 4e-4
WARPED_CHANNELS = 64

OURS: dict[str, dict[str, Any]] = {
    "x2, with variance": {"upsample": 2, "variance": True},
    "x2, without": {"upsample": 2, "variance": False},
    "x2, drop 0.5 px, with variance": {"upsample": 2, "variance": True, "drop_px": 0.5},
    "x1, with variance": {"upsample": 1, "variance": True},
}


def simulated_alignment(n: int) -> register.Alignment:
    """Return displacements as of drift and line jitter, and the region that all frames cover."""
    rng = np.random.default_rng(0)
    time_ = np.linspace(-1, 1, n * SHAPE[0]).reshape(n, SHAPE[0], 1)
    field = (time_ * [9.0, -6.0] + rng.normal(0, 0.4, (n, SHAPE[0], 2))).astype(np.float32)
    inner = np.zeros(SHAPE, np.bool_)
    inner[12:-12, 12:-12] = True
    return register.Alignment(
        shifts=field.mean(axis=1, dtype=np.float64),
        field=field,
        common_region=inner,
        quality=np.ones(n),
        accepted=np.ones(n, np.bool_),
        reasons=("",) * n,
        model="scanline",
        shape=SHAPE,
        mean=np.zeros(SHAPE, np.float32),
    )


class Series:
    """Makes the frames when they are asked for, and measures the time that it takes."""

    def __init__(self, alignment: register.Alignment) -> None:
        self.alignment, self.cpu_s, self.inside = alignment, 0.0, 0.0

    def frames(self) -> Iterator[events.SparseSI]:
        """Yield the frames; add up which part of their counts lies in the common region."""
        for k in range(len(self.alignment)):
            begun = time.process_time()
            frame = self.make(k)
            self.inside += counts_inside(frame, self.alignment.field[k])
            self.cpu_s += time.process_time() - begun
            yield frame

    @staticmethod
    def make(k: int) -> events.SparseSI:
        """Return a frame: a falling background and six lines, anywhere on the specimen."""
        rng = np.random.default_rng(k)
        n = round(SHAPE[0] * SHAPE[1] * CHANNELS * FILLED)
        background = rng.exponential(CHANNELS / 4, n)
        lines = rng.normal(rng.choice([90, 170, 240, 640, 800, 1130], n), 6)
        channel = np.where(rng.random(n) < 0.4, lines, background).astype(np.int64) % CHANNELS
        flat = rng.integers(0, SHAPE[0] * SHAPE[1], n) * CHANNELS + channel
        entry, count = np.unique(flat, return_counts=True)
        offset = np.searchsorted(entry, np.arange(SHAPE[0] * SHAPE[1] + 1) * CHANNELS)
        shape = (*SHAPE, CHANNELS)
        return events.SparseSI(shape, np.dtype(np.uint8), offset, (entry % CHANNELS).astype(np.uint32), count)


def counts_inside(frame: events.SparseSI, field: np.ndarray) -> float:
    """Return the counts in the common region, where each position is a square of 1 px."""
    counts = np.add.reduceat(np.append(frame.count.astype(float), 0), frame.offset[:-1])
    counts[np.diff(frame.offset) == 0] = 0
    row, column = np.indices(SHAPE).astype(float)
    part = np.ones(SHAPE)
    for taken, size in zip((row + field[:, :1], column + field[:, 1:]), SHAPE, strict=True):
        part *= np.clip(np.minimum(taken + 0.5, size - 12.5) - np.maximum(taken - 0.5, 11.5), 0, 1)
    return float((counts.reshape(SHAPE) * part).sum())


def peak_gb() -> float:
    """Return the peak memory of this process in 10^9 bytes, NaN where the system does not tell."""
    if sys.platform == "win32":
        return float("nan")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def summed(n: int, label: str) -> dict[str, Any]:
    """Return the row of one of our sums."""
    register.accumulate(simulated_alignment(1), Series(simulated_alignment(1)).frames())  # compile
    series = Series(simulated_alignment(n))
    begun = time.process_time()
    total = register.accumulate(series.alignment, series.frames(), **OURS[label])
    cpu, memory = time.process_time() - begun - series.cpu_s, peak_gb()
    error = ""
    if total.drop_px == 1:
        inner = np.flatnonzero(total.common_region.any(axis=1))
        block = total.data[inner[0] : inner[-1] + 1, inner[0] : inner[-1] + 1]
        error = f"{abs(sum(float(row.sum(dtype=np.float64)) for row in block) / series.inside - 1):.1e}"
    lost = abs(sum(float(row.sum(dtype=np.float64)) for row in total.data) + total.outside - total.counts)
    return row(f"esteem, {label}", n, cpu, memory, f"{lost / total.counts:.1e}", error)


def averaged(n: int) -> dict[str, Any]:
    """Return the row of the average of a motif."""
    rng = np.random.default_rng(0)
    y, x = np.indices(SHAPE)
    lattice = np.cos(2 * np.pi * y / 20) + np.cos(2 * np.pi * x / 20) + 0.01 * rng.normal(size=SHAPE)
    places = register.find_motif(lattice, lattice[10:31, 10:31], 0.8)
    register.average_motif(places, [Series.make(0)], size=20, upsample=4)
    series = Series(simulated_alignment(n))
    begun = time.process_time()
    cell = register.average_motif(places, series.frames(), series.alignment, size=20, upsample=4)
    cpu, memory = time.process_time() - begun - series.cpu_s, peak_gb()
    return row(f"esteem, motif of 20 x 20 px, x4, {cell.count} copies", n, cpu, memory, "", "")


def warped(n: int) -> dict[str, Any]:
    """Return the row of dense frames that are read, channel by channel, where each fine pixel looks for its value."""
    series = Series(simulated_alignment(n))
    frame = series.make(n // 2).to_dense()
    field = series.alignment.field[n // 2].astype(float)
    fine = (np.arange(2 * SHAPE[0]) + 0.5) / 2 - 0.5
    line = np.clip(np.rint(fine), 0, SHAPE[0] - 1).astype(int)
    row_, column = np.meshgrid(fine, fine, indexing="ij")
    at = np.array([row_ - field[line, 0][:, None], column - field[line, 1][:, None]])
    total = np.zeros((2 * SHAPE[0], 2 * SHAPE[1], WARPED_CHANNELS), np.float32)
    begun = time.process_time()
    for channel in range(WARPED_CHANNELS):
        total[..., channel] += ndimage.map_coordinates(frame[..., channel].astype(np.float32), at, order=1) / 4
    cpu = (time.process_time() - begun) * CHANNELS / WARPED_CHANNELS * n
    inside = counts_inside(events.SparseSI.from_dense(frame[..., :WARPED_CHANNELS]), series.alignment.field[n // 2])
    inner = np.repeat(np.repeat(series.alignment.common_region, 2, axis=0), 2, axis=1)
    error = abs(float(total[inner].sum(dtype=np.float64)) / inside - 1)
    sums = 4 * SHAPE[0] * SHAPE[1] * CHANNELS * 4 / 1e9
    label = "scipy.ndimage, dense warp, x2, without (extrapolated)"
    return row(label, n, cpu, sums + frame.nbytes / 1e9, "", f"{error:.1e}")


def row(method: str, n: int, cpu: float, memory: float, lost: str, error: str) -> dict[str, Any]:
    """Return a row of the table."""
    return {
        "method": method,
        "frames": n,
        "CPU s": f"{cpu:.1f}",
        "ms/frame": f"{cpu / n * 1e3:.1f}",
        "peak GB": f"{memory:.2f}",
        "counts lost": lost,
        "error in common region": error,
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=230, help="frames of the series (%(default)s)")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    n = arguments.frames
    work: list[tuple[Any, ...]] = [*((summed, n, label) for label in OURS), (averaged, n), (warped, n)]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        rows = [processes.submit(*one).result() for one in work]
    report("accumulate", rows, arguments.json)


if __name__ == "__main__":
    main()
