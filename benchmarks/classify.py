"""Classes of simulated 4D-STEM scans of known truth, beside k-means and NMF on the binned raw frames.

``python -m benchmarks.classify [--data FOLDER] [--scan N] [--json FILE]``. The sets are simulated: strong descan, bent
grains of uneven thickness, overlapping grains, 300 and 500 electrons per frame, a structured probe, two amorphous
phases, all of it at once, and a single bent crystal. With `--data` the sets ``NAME.npz`` with ``NAME_truth.npz`` of a
folder are measured as well. Ours finds the number of classes; the others are given the true one. Printed are the
adjusted Rand index on pure positions (the truth holds more than 0.99 of one class), of ours also that of the Bragg
disks alone, grouped by k-means and by density (HDBSCAN, with the share of the positions that it gives a class), and the
root mean square error of the fractions, the CPU time, and the largest memory of our work that NumPy took beyond the
data. Grains by dark-field images are judged on the crystalline positions, as they do not tell amorphous
phases apart; where no set says which are amorphous, they are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF
from sklearn.metrics import adjusted_rand_score

from benchmarks.timing import report
from esteemcore import diffraction, simulate
from esteemcore.errors import EsteemError

SETS: dict[str, dict[str, Any]] = {
    "easy, 20,000 e": {"electrons": 20_000.0, "grains": 5},
    "easy, 3,000 e": {"electrons": 3000.0, "grains": 6, "ellipse": (1.03, 60.0)},
    "descan 7 px, 1,000 e": {"electrons": 1000.0, "grains": 5, "descan_px": 7.0, "ellipse": (1.04, 30.0)},
    "bent, uneven, 3,000 e": {"electrons": 3000.0, "grains": 6, "waves": 0.9, "ellipse": (1.03, 60.0)},
    "overlapping, 1,500 e": {"electrons": 1500.0, "grains": 6, "blurred": 2.5},
    "bent, descan 6 px, 500 e": {
        "electrons": 500.0, "grains": 8, "amorphous": 2, "waves": 0.9, "descan_px": 6.0, "ellipse": (1.06, 110.0),
    },
    "descan 6 px, 300 e": {"electrons": 300.0, "grains": 6, "descan_px": 6.0, "ellipse": (1.05, 140.0)},
    "bullseye, structured, bent, 800 e": {
        "electrons": 800.0, "grains": 4, "amorphous": 2, "radius_px": 6.0, "bullseye": True, "structure": 0.8,
        "waves": 0.7, "film": 0.2, "ellipse": (1.08, 160.0), "spacing_px": 22.0,
    },
    "two amorphous, bent, 400 e": {"electrons": 400.0, "grains": 5, "amorphous": 2, "waves": 0.7, "descan_px": 3.0},
    "all at once, 300 e": {
        "electrons": 300.0, "grains": 8, "amorphous": 2, "waves": 0.9, "blurred": 1.5, "descan_px": 6.0,
        "structure": 0.6, "ellipse": (1.05, 25.0),
    },
    "one bent crystal, 2,000 e": {"electrons": 2000.0, "grains": 1, "amorphous": 0, "waves": 0.9},
}  # fmt: skip


class Case(NamedTuple):
    """Frames, radius of a disk, labels (y, x) and members (classes, y, x)."""

    name: str
    data: np.ndarray
    radius: float
    label: np.ndarray
    member: np.ndarray
    amorphous: int | None = None


def simulated(name: str, number: int, scan: int) -> Case:
    """Return a set; ``blurred`` is the width in px over which neighbouring grains lie on top of each other."""
    options = dict(SETS[name])
    blurred = options.pop("blurred", 0.0)
    made = simulate.polycrystal((scan, scan), (128, 128), seed=100 + number, **options)
    frames = made.frames(seed=number)
    member = made.member
    if blurred:
        frames, member = overlapping(made, frames, blurred, number)
    return Case(name, frames, made.radius_px, member.argmax(axis=0), member, options.get("amorphous", 1))


def overlapping(
    made: simulate.Polycrystal, frames: np.ndarray, width: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Exchange electrons between positions near borders: each comes from a frame near by, moved to its own beam."""
    rng = np.random.default_rng(seed)
    ny, nx = made.scan_shape
    near = 5
    center = made.center.reshape(ny, nx, 2)
    mixed, member = np.zeros_like(frames), np.zeros_like(made.member)
    for y in range(ny):
        for x in range(nx):
            places = np.rint(rng.normal((y, x), width, (near, 2))).astype(int).clip(0, (ny - 1, nx - 1))
            for i, j in places:
                shift = np.rint(center[y, x] - center[i, j]).astype(int)
                mixed[y, x] += np.roll(rng.binomial(frames[i, j], 1 / near).astype(frames.dtype), shift, (0, 1))
                member[:, y, x] += made.member[:, i, j] / near
    return mixed, member


def stored(folder: Path) -> Iterator[Case]:
    """Yield the sets of a folder."""
    for path in sorted(folder.glob("*.npz")):
        truth = path.with_name(f"{path.stem}_truth.npz")
        if truth.exists():
            with np.load(path) as frames, np.load(truth) as known:
                radius = json.loads(str(known["meta"]))["R_px"]
                yield Case(path.stem, frames["data"], radius, known["label"].astype(int), known["member"])


def raw(data: np.ndarray) -> np.ndarray:
    """Return the frames in bins of 4 px as they lie on the detector, square roots of the counts."""
    ny, nx, ky, kx = data.shape
    return np.sqrt(data.reshape(ny * nx, ky // 4, 4, kx // 4, 4).sum((2, 4), dtype=float).reshape(ny * nx, -1))


def kmeans(data: np.ndarray, n: int) -> np.ndarray:
    """Group the raw frames."""
    return KMeans(n, n_init=3, random_state=0).fit_predict(raw(data))


def nmf(data: np.ndarray, n: int) -> np.ndarray:
    """Take the largest factor of the raw frames."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that 100 iterations are few; more change hardly any label
        return NMF(n, init="nndsvda", max_iter=100, random_state=0).fit_transform(raw(data)).argmax(axis=1)


def index(case: Case, labels: np.ndarray) -> float:
    """Return the adjusted Rand index on pure positions."""
    pure = case.member.max(axis=0).ravel() > 0.99
    return float(adjusted_rand_score(case.label.ravel()[pure], labels.ravel()[pure]))


def dark_field(case: Case) -> dict[str, str]:
    """Return number and index of the grains by dark-field images, the time without that of finding disks."""
    if case.amorphous is None:
        return {}
    grains = len(case.member) - case.amorphous
    disks = diffraction.find_disks(case.data, case.radius)
    start = time.process_time()
    found = diffraction.segment_dark_field(disks, case.data.shape[:2], case.data.shape[2:], case.radius)
    cpu = time.process_time() - start
    chosen = (case.member.max(axis=0) > 0.99) & (case.label < grains)
    score = adjusted_rand_score(case.label[chosen], found.labels[chosen])
    return {
        "grains": f"{grains}",
        "dark field": f"{len(found)}, {score:.3f}",
        "ms/frame": f"{cpu / case.label.size * 1e3:.2f}",
    }


def by_density(case: Case) -> str:
    """Return the index of the classes of the disks by density where there is one, and how many positions have one."""
    other = diffraction.classify(case.data, case.radius, second_way="hdbscan").other.ravel()
    pure = case.member.max(axis=0).ravel() > 0.99
    there = pure & (other >= 0)
    return f"{adjusted_rand_score(case.label.ravel()[there], other[there]):.3f} of {there.sum() / pure.sum():.0%}"


def off(case: Case, found: diffraction.Classes) -> float:
    """Return the root mean square error of the fractions of classes that are in the truth, where there is a class."""
    table = np.zeros((len(found), len(case.member)))
    there = found.labels >= 0
    np.add.at(table, (found.labels[there], case.label.reshape(there.shape)[there]), 1)
    ours, true = linear_sum_assignment(-table)
    return float(np.sqrt(np.nanmean((found.fractions[ours] - case.member[true]) ** 2)))


def measure(case: Case) -> dict[str, Any]:
    """Return the row of one set."""
    n = len(case.member)
    start = time.process_time()
    try:
        found = diffraction.classify(case.data, case.radius)
    except EsteemError as error:
        return {"set": case.name, "classes": n, "found": f"refused: {error}"}
    cpu = time.process_time() - start
    tracemalloc.start()
    diffraction.classify(case.data, case.radius, second_way=False)
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    row = {
        "set": case.name,
        "classes": n,
        "found": len(found),
        "esteem": f"{index(case, found.labels):.3f}",
        "disks alone": f"{index(case, found.other):.3f}",
        "disks by density": by_density(case),
        "agreement": f"{found.agreement:.3f}",
        "fractions off": f"{off(case, found):.3f}",
    }
    peers: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"k-means": kmeans, "NMF": nmf}
    for name, work in peers.items():
        row[name] = f"{index(case, work(case.data, n)):.3f}"
    row |= dark_field(case)
    return {**row, "CPU ms/frame": f"{cpu / case.label.size * 1e3:.2f}", "memory MB": f"{memory / 1e6:.0f}"}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with sets of known truth")
    parser.add_argument("--scan", type=int, default=40, help="scan positions along one side (%(default)s)")
    parser.add_argument("--only", help="sets whose names begin with this")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    warm = simulate.polycrystal((8, 8), (64, 64), grains=1, amorphous=0)
    diffraction.classify(warm.frames(), warm.radius_px)
    cases: list[Iterator[Case]] = [stored(arguments.data)] if arguments.data else []
    chosen = [(k, name) for k, name in enumerate(SETS) if name.startswith(arguments.only or "")]
    cases.append(simulated(name, k, arguments.scan) for k, name in chosen)
    rows = []
    for case in (case for every in cases for case in every):
        rows.append(measure(case))
        print(rows[-1], file=sys.stderr, flush=True)
    report("classify", rows, arguments.json)


if __name__ == "__main__":
    main()
