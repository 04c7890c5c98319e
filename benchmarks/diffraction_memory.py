"""How much memory Bragg disks and classes of stored scans take that do not fit into it.

``python -m benchmarks.diffraction_memory [--scan N] [--folder FOLDER] [--limit-gb GB] [--only NAME] [--json FILE]``.
A scan of N x N frames of 128 x 128 counts is stored as a container: a simulated polycrystal, each of its positions
drawn out to many, with noise that repeats after some thousand frames. 512 x 512 of them are 8.6 GB of values. Each
method then runs in a process of its own that the system refuses more than `--limit-gb` of address space; ``peak GB`` is
the memory that it used, with interpreter, libraries and result. Left out without dask.distributed: the same reducer on
two workers, whose peaks are given one by one.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accumulate import peak_gb
from benchmarks.timing import report
from esteemcore import diffraction, io, simulate, stream
from esteemcore.cli.frames4d import ScanFrames

RADIUS = 4.5
PIXELS = 128
COARSE = 16
REPEATS = 8
"""Different noise of each pattern."""


def chunks(scan: int, electrons: float) -> Iterator[stream.Chunk]:
    """Yield the scan row by row."""
    made = simulate.polycrystal(
        (COARSE, COARSE), (PIXELS, PIXELS), radius_px=RADIUS, spacing_px=20, grains=4, electrons=electrons, seed=7
    )
    rng = np.random.default_rng(0)
    bank = np.stack([made.frames(seed).reshape(-1, PIXELS, PIXELS) for seed in range(REPEATS)])
    coarse = np.arange(scan) * COARSE // scan
    for y in range(scan):
        frames = bank[rng.integers(REPEATS, size=scan), coarse[y] * COARSE + coarse]
        yield stream.Chunk(y * scan + np.arange(scan), frames)


def write(path: Path, scan: int, electrons: float) -> None:
    """Store the scan."""
    with io.Writer(path, stream.Spec((scan, scan), (PIXELS, PIXELS), np.uint16)) as writer:
        for chunk in chunks(scan, electrons):
            writer.append(chunk)


def limit(gb: float) -> None:
    """Let the system refuse this process more address space."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(gb * 1e9), int(gb * 1e9)))


def find_disks(path: Path) -> str:
    """Find disks in two passes."""
    table = diffraction.find_disks(ScanFrames(io.load(path)), RADIUS, threads=1)
    return f"{len(table):,} disks"


def classify(path: Path) -> str:
    """Classify by both ways."""
    found = diffraction.classify(ScanFrames(io.load(path)), RADIUS, threads=1)
    return f"{found.labels.max() + 1} classes"


def reduce(path: Path) -> str:
    """Send the frames through two reducers at once."""
    source = io.source(path)
    reducers = {"disks": diffraction.Disks(RADIUS, threads=1), "map": diffraction.BraggMap(RADIUS)}
    found = stream.run(reducers, source.spec, source.chunks())
    return f"{len(found['disks']):,} disks"


METHODS: dict[str, Callable[[Path], str]] = {
    "find_disks, two passes": find_disks,
    "Disks and BraggMap, stream.run": reduce,
    "classify": classify,
}


def measured(label: str, path: Path, gb: float) -> tuple[str, str, float, str]:
    """Run a method within so much memory."""
    limit(gb)
    begun = time.process_time()
    found = METHODS[label](path)
    return label, f"{peak_gb():.2f}", time.process_time() - begun, found


def on_workers(path: Path, gb: float) -> tuple[str, str, float, str]:
    """Run one reducer on two workers."""
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=int(gb * 1e9), dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        source = io.source(path)
        found = stream.run_dask({"disks": diffraction.Disks(RADIUS, threads=1)}, source, client=client)["disks"]
        peaks, cpu = client.run(peak_gb), client.run(time.process_time)
    each = ", ".join(f"{peak:.2f}" for peak in (peak_gb(), *peaks.values()))
    return "Disks, run_dask, here and on two workers", each, sum(cpu.values()), f"{len(found):,} disks"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=int, default=512, help="positions along each side (%(default)s)")
    parser.add_argument("--electrons", type=float, default=1000, help="per frame (%(default)s)")
    parser.add_argument("--limit-gb", type=float, default=4, help="address space of each process (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where the scan is stored for the time (default: temporary files)")
    parser.add_argument("--only", help="measure only methods whose names begin like this")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "scan.esteem"
        write(path, arguments.scan, arguments.electrons)
        values = arguments.scan**2 * PIXELS**2 * 2 / 1e9
        stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e9
        print(f"{arguments.scan**2:,} frames, {values:.1f} GB of values, {stored:.2f} GB on disk", flush=True)
        work: list[tuple[Any, ...]] = [(measured, label, path, arguments.limit_gb) for label in METHODS]
        if importlib.util.find_spec("distributed") is None:
            print("left out: run_dask (distributed is not installed)")
        else:
            work.append((on_workers, path, arguments.limit_gb))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
            for one in work:
                if arguments.only and not str(one[1]).startswith(arguments.only):
                    continue
                label, peak, cpu, found = processes.submit(*one).result()
                print(f"{label}: {peak} GB", flush=True)
                rows.append(
                    {
                        "method": label,
                        "peak GB": peak,
                        "CPU s": f"{cpu:.0f}",
                        "frames per CPU s": f"{arguments.scan**2 / cpu:.0f}",
                        "found": found,
                    }
                )
    report("diffraction_memory", rows, arguments.json)


if __name__ == "__main__":
    main()
