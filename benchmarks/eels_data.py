"""Core-loss spectrum images of a perovskite-like lattice with known truth, and element maps from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GAIN, READOUT = 8.0, 3.0
"""Counts per electron, standard deviation of the readout noise in counts."""

EDGES = {"Ca": (346.0, 2.0), "Ti": (456.0, 3.0), "O": (532.0, 2.5), "Nd": (740.0, 0.6)}
"""Onset in eV, height in electrons per channel."""

PEAKS = {"Ca": [(3, 6, 1.2), (6.5, 5, 1.2)], "Ti": [(2, 7, 0.9), (4.2, 9, 1.0), (7.5, 6, 0.9)], "O": [(2, 2, 1.2)]}

WINDOWS = {
    "Ca": ((300, 340), (345, 365)),
    "Ti": ((410, 450), (454, 480)),
    "O": ((495, 527), (530, 560)),
    "Nd": ((690, 734), (738, 780)),
}
"""Of background and of edge, in eV."""

PAPER_BLOCKS = [
    (100, 330, 40), (330, 343, 8), (343, 366, 4), (366, 445, 20), (445, 452, 4), (452, 482, 1), (482, 525, 16),
    (525, 550, 2), (550, 690, 30), (690, 735, 20), (735, 785, 2), (785, 900, 60),
]  # fmt: skip
"""As in figure 8 of Jones et al.: 1 at the titanium edge to 60 in the background, 2 at the neodymium edge."""

SIMPLE_BLOCKS = [(100, 450, 60), (450, 484, 1), (484, 900, 60)]


def energies(channels: int = 2048) -> NDArray[np.float64]:
    """Return the energies of channels from 100 eV to 816 eV."""
    return 100 + 0.35 * 2048 / channels * np.arange(channels)


def truth(shape: tuple[int, int] = (60, 94), channels: int = 2048) -> NDArray[np.float64]:
    """Return counts without noise, shape (y, x, energy)."""
    energy = energies(channels)
    y, x = np.mgrid[: shape[0], : shape[1]]

    def columns(py: float, px: float) -> NDArray[np.float64]:
        distance = np.sin(np.pi * (x / 5.8 - px)) ** 2 + np.sin(np.pi * (y / 5.8 - py)) ** 2
        image = 0.25 + np.exp(-distance / 0.18)
        return image / image.mean()

    maps = {
        "Ca": columns(0, 0),
        "Ti": columns(0.5, 0.5),
        "O": (columns(0.5, 0) + columns(0, 0.5)) / 2,
        "Nd": columns(0, 0) * (1 + 0.3 * np.sin(x / 15)),
    }
    thickness = (1 + 0.15 * x / shape[1]) * (1 + 0.05 * (maps["Ti"] - 1))
    electrons = thickness[..., None] * 900 * (energy / 100) ** -2.6
    for name, (onset, height) in EDGES.items():
        above = np.maximum(energy - onset, 0)
        edge = height * (np.maximum(energy, onset) / onset) ** -3.0 * (1 - np.exp(-above / 6))
        for shift, peak, width in PEAKS.get(name, []):
            edge = edge + peak * np.exp(-0.5 * ((energy - onset - shift) / width) ** 2)
        electrons = electrons + maps[name][..., None] * edge
    return GAIN * electrons


def measured(clean: NDArray[np.float64], seed: int = 0, spikes: float = 2e-6) -> NDArray[np.float32]:
    """Return counts with shot noise, readout noise and a few cosmic rays."""
    rng = np.random.default_rng(seed)
    counts = GAIN * rng.poisson(clean / GAIN) + rng.normal(0, READOUT, clean.shape)
    hit = rng.random(clean.shape) < spikes
    counts[hit] += rng.uniform(2e3, 2e4, np.count_nonzero(hit))
    return counts.astype(np.float32)


def element_map(counts: NDArray[np.floating], energy: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return counts of an edge above a power law through the two halves of the window before it."""
    (low, high), (start, stop) = WINDOWS[name]
    before, edge = np.flatnonzero((energy >= low) & (energy < high)), (energy >= start) & (energy < stop)
    first, second = np.array_split(before, 2)
    a, b = (np.maximum(counts[..., part].mean(axis=-1, dtype=float), 1.0) for part in (first, second))
    ea, eb = energy[first].mean(), energy[second].mean()
    exponent = np.log(a / b) / np.log(eb / ea)
    background = (a * ea**exponent)[..., None] * energy[edge] ** -exponent[..., None]
    return counts[..., edge].sum(axis=-1, dtype=float) - background.sum(axis=-1)


def map_errors(
    counts: NDArray[np.floating],
    clean: NDArray[np.float64],
    energy: NDArray[np.float64],
    pixels: NDArray[np.bool_] | slice = slice(None),
) -> dict[str, tuple[float, float]]:
    """Return (bias, RMSE) of each element map, in parts of its mean in the truth, over some pixels."""
    errors = {}
    for name in WINDOWS:
        true = element_map(clean, energy, name)[pixels]
        difference = element_map(counts, energy, name)[pixels] - true
        errors[name] = (float(difference.mean() / true.mean()), float(np.sqrt((difference**2).mean()) / true.mean()))
    return errors
