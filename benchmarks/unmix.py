"""Factors and components of X-ray counts: time, memory and quality, ours beside what is installed.

``python -m benchmarks.unmix [--large] [--json FILE]``. The spectrum image is simulated here: three phases in layers,
128 x 128 pixels, 1024 channels. Steps are compared from the same start (scikit-learn's KL updates on compressed rows),
answers end to end (HyperSpy's NMF and SVD with Poisson scaling). With `--large` an image of 512 x 512 x 2048, 1 %
filled, is read from a file. Memory is the most that a process holds during the call, less what it holds before it
(Linux tells it; elsewhere the column is empty). CPU time is that of all threads.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import resource
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from scipy.optimize import linear_sum_assignment

from benchmarks.timing import best, report
from esteemcore import spectral
from esteemcore.events import SparseSI
from esteemcore.spectral.methods._poisson_factors import maximise
from esteemcore.spectral.methods._sieve import Sieve

LINES = (((748, 1.0), (827, 0.13), (85, 0.6)), ((541, 1.0), (595, 0.13), (57, 0.4)), ((174, 1.0), (52, 0.12)))
"""Channel and strength of the lines of three phases; a channel is 10 eV."""

STEPS = 100


def simulated(counts: float, side: int = 128, channels: int = 1024, seed: int = 0) -> tuple[SparseSI, np.ndarray]:
    """Return the counts of layers on a substrate, and the spectra of the three phases."""
    rng = np.random.default_rng(seed)
    channel = np.arange(channels) * (1024 / channels)
    level = np.exp(-channel / 350) * (channel > 15)
    peaks = [sum(s * np.exp(-0.5 * ((channel - at) / (2.7 + at / 350)) ** 2) for at, s in lines) for lines in LINES]
    spectra = np.array([0.75 * p / p.sum() + 0.25 * level / level.sum() for p in peaks])
    y, x = np.mgrid[:side, :side].astype(float) * (128 / side)
    depth = y + 0.12 * (x - 64)
    soft = 1 / (1 + np.exp(-(depth - 90) / 0.9))
    first = 0.5 + 0.5 * np.tanh(4 * np.sin(2 * np.pi * depth / 22))
    thickness = 1 + 0.5 * np.sin(x / 20)
    rate = counts * thickness * np.stack([first * (1 - soft), (1 - first) * (1 - soft), soft])
    pixel, energy = [], []
    for k in range(3):
        number = rng.poisson(rate[k].ravel())
        pixel.append(np.repeat(np.arange(side * side), number))
        energy.append(rng.choice(channels, number.sum(), p=spectra[k]))
    where = (np.concatenate(pixel), np.concatenate(energy))
    rows = scipy.sparse.coo_array((np.ones(len(where[0]), np.int64), where), shape=(side * side, channels)).tocsr()
    rows.sort_indices()
    return SparseSI((side, side, channels), np.uint16, rows.indptr, rows.indices, rows.data), spectra


def angle(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean angle of matched spectra, in degrees."""
    f, t = (s / np.maximum(np.linalg.norm(s, axis=1, keepdims=True), 1e-300) for s in (found, truth))
    cosine = t @ f.T
    return float(np.degrees(np.arccos(np.clip(cosine[linear_sum_assignment(-cosine)], -1, 1))).mean())


def rows_of(si: SparseSI) -> Any:
    """Return compressed rows of float64."""
    shape = (si.shape[0] * si.shape[1], si.shape[2])
    return scipy.sparse.csr_array((si.count.astype(float), si.channel.astype(np.int64), si.offset), shape=shape)


def start(rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return one start for all: the mean spectrum, made uneven at random."""
    mean = np.asarray(rows.sum(axis=0)).reshape(-1, 1) + 0.1
    lines = mean * np.random.default_rng(1).uniform(0.5, 1.5, (len(mean), 3))
    return np.repeat(np.asarray(rows.sum(axis=1)).reshape(-1, 1) / 3 + 1e-3, 3, axis=1), lines / lines.sum(axis=0)


def our_steps(si: SparseSI) -> np.ndarray:
    """Take a hundred steps of ours."""
    rows = rows_of(si)
    one = Sieve(np.ones(si.shape[:2], bool))
    return maximise(rows, *start(rows), one, iterations=STEPS, tolerance=0).spectra.T


def their_steps(si: SparseSI) -> np.ndarray:
    """Take a hundred steps of scikit-learn."""
    from sklearn.decomposition import NMF

    rows = scipy.sparse.csr_matrix(rows_of(si))
    sources, lines = start(rows)
    model = NMF(3, init="custom", solver="mu", beta_loss="kullback-leibler", max_iter=STEPS, tol=0)
    model.fit_transform(rows, W=sources.copy(), H=np.ascontiguousarray(lines.T))
    return model.components_


def our_answer(si: SparseSI) -> np.ndarray:
    """Use default arguments: smoothed maps, spectra as smooth as the counts want them, three starts."""
    return spectral.unmix(si, 3).spectra


def our_plain_answer(si: SparseSI) -> np.ndarray:
    """Start once and do not smooth maps."""
    return spectral.unmix(si, 3, method="nmf", restarts=1, smoothing_px=0).spectra


def hyperspy_answer(si: SparseSI, algorithm: str = "NMF") -> np.ndarray:
    """Use HyperSpy with Poisson scaling."""
    import hyperspy.api as hs

    hs.preferences.General.show_progressbar = False
    signal = hs.signals.Signal1D(si.to_dense().astype(float))
    signal.decomposition(True, algorithm=algorithm, output_dimension=3, print_info=False)
    return signal.get_decomposition_factors().data


def our_components(si: SparseSI) -> np.ndarray:
    """Find weighted principal components."""
    return spectral.pca(si, 3).components


def hyperspy_components(si: SparseSI) -> np.ndarray:
    """Find them by HyperSpy."""
    return hyperspy_answer(si, "SVD")


METHODS: tuple[tuple[str, str, str, Callable[[SparseSI], np.ndarray]], ...] = (
    ("100 KL steps", "esteem", "numpy", our_steps),
    ("100 KL steps", "scikit-learn, CSR", "sklearn", their_steps),
    ("NMF, end to end", "esteem, one start, no smoothing", "numpy", our_plain_answer),
    ("NMF, end to end", "esteem, default", "numpy", our_answer),
    ("NMF, end to end", "HyperSpy, Poisson scaling", "hyperspy", hyperspy_answer),
    ("PCA", "esteem", "numpy", our_components),
    ("PCA", "HyperSpy, Poisson scaling", "hyperspy", hyperspy_components),
)


def in_a_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def peak_mb(work: Callable[[], Any]) -> str:
    """Return by how many MB the memory of this process grows at most while a function runs, where Linux tells it."""
    status, marks = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not marks.exists():
        work()
        return ""

    def kb(name: str) -> int:
        return int(next(line for line in status.read_text().splitlines() if line.startswith(name)).split()[1])

    marks.write_text("5")  # the peak begins anew
    before = kb("VmRSS")
    work()
    return f"{(kb('VmHWM') - before) / 1024:.0f}"


def measure(number: int, counts: float) -> dict[str, Any]:
    """Return a row of the table."""
    task, label, _, function = METHODS[number]
    warnings.simplefilter("ignore")
    function(simulated(counts, side=32)[0])  # compile and import
    si, truth = simulated(counts)
    found: list[np.ndarray] = []
    memory = peak_mb(lambda: found.append(function(si)))
    cpu, wall = best(lambda: function(si), 3 if label.startswith("esteem") else 1)
    return {
        "counts per pixel": counts, "task": task, "method": label, "CPU s": f"{cpu:.3f}", "wall s": f"{wall:.3f}",
        "MB": memory, "angle deg": "" if task == "PCA" else f"{angle(found[0], truth):.2f}",
    }  # fmt: skip


def measure_large(path: str) -> dict[str, Any]:
    """Return the row of the image that is read from a file."""
    import h5py

    our_answer(simulated(5, side=32)[0])
    truth = simulated(1, side=8, channels=2048)[1]
    with h5py.File(path) as file:
        found: list[Any] = []
        cpu, wall = best(lambda: found.append(spectral.unmix(file["si"], 3, method="nmf")), 1)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "counts per pixel": 20, "task": "512 x 512 x 2048 from a file", "method": "esteem, default",
        "CPU s": f"{cpu:.1f}", "wall s": f"{wall:.1f}", "MB": f"{memory:.0f} in all",
        "angle deg": f"{angle(found[0].spectra, truth):.2f}",
    }  # fmt: skip


def write_large(path: str) -> None:
    """Write an image that is 1 % filled."""
    import h5py

    si, _ = simulated(21, side=512, channels=2048)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("si", si.shape, np.uint8, chunks=(8, 512, 2048), compression="lzf")
        rows = rows_of(si)
        for y in range(0, 512, 8):
            data[y : y + 8] = rows[512 * y : 512 * (y + 8)].toarray().reshape(8, 512, 2048)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="also an image of 512 x 512 x 2048 from a file")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    rows = []
    for counts in (5, 50):
        for number, (_, label, module, _) in enumerate(METHODS):
            if importlib.util.find_spec(module) is None:
                print(f"left out: {label} ({module} is not installed)")
                continue
            rows.append(in_a_process(measure, number, float(counts)))
    if arguments.large:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "large.h5")
            in_a_process(write_large, path)
            rows.append(in_a_process(measure_large, path))
    report("unmix", rows, arguments.json)


if __name__ == "__main__":
    main()
