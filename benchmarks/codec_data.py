"""Simulated counts whose entropy is known: an EDX spectrum image of three phases, one-bit diffraction frames."""

from __future__ import annotations

import numpy as np

LINES_KEV = {
    "C": ((0.277, 1.0),),
    "O": ((0.525, 1.0),),
    "Al": ((1.487, 1.0),),
    "Ti": ((0.452, 0.3), (4.511, 1.0), (4.932, 0.13)),
    "Fe": ((0.705, 0.4), (6.404, 1.0), (7.058, 0.13)),
    "Ni": ((0.851, 0.5), (7.478, 1.0), (8.265, 0.13)),
}
PHASES = (
    {"Fe": 0.55, "Ni": 0.3, "C": 0.1, "O": 0.05},
    {"Ti": 0.6, "Ni": 0.2, "O": 0.2},
    {"Al": 0.45, "O": 0.45, "C": 0.1},
)


def poisson_entropy(rate: np.ndarray) -> np.ndarray:
    """Return the Shannon entropy in bits of Poisson counts of given rates (1e-12 to some tens), to one part in 1e5."""
    grid = np.geomspace(1e-12, max(float(np.max(rate)), 1e-9) * 1.001, 4000)
    probability, entropy = np.exp(-grid), np.zeros_like(grid)
    for k in range(int(grid[-1] + 12 * np.sqrt(grid[-1]) + 12)):
        entropy -= probability * np.log2(np.maximum(probability, 1e-300))
        probability = probability * grid / (k + 1)
    per_rate = np.interp(np.log(np.maximum(rate, 1e-12)), np.log(grid), entropy / grid)
    return per_rate * rate


def edx_model(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return abundances (phases, pixels) and spectra (phases, energy) of an EDX map, 0 to 20.48 keV."""
    ny, nx, n_energy = shape
    energy = (np.arange(n_energy) + 0.5) * 20.48 / n_energy
    brems = np.exp(-0.2 * energy) * (1 - np.exp(-((energy / 0.9) ** 2))) / np.maximum(energy, 0.05)
    spectra = []
    for phase in PHASES:
        lines = np.zeros(n_energy)
        for element, weight in phase.items():
            for at, height in LINES_KEV[element]:
                sigma = np.sqrt(0.128**2 + 0.0025 * (at - 5.9)) / 2.355 if at > 0.5 else 0.03
                lines += weight * height * np.exp(-0.5 * ((energy - at) / sigma) ** 2) / sigma
        spectra.append(0.7 * lines / lines.sum() + 0.3 * brems / brems.sum())
    y, x = np.mgrid[:ny, :nx] / 200.0
    ripple = np.sin(19 * x + 2 * np.sin(7 * y)) * np.sin(17 * y + 2 * np.sin(5 * x))
    particle = 1 / (1 + np.exp(-12 * (ripple - 0.25)))
    layer = 1 / (1 + np.exp(-60 * (0.25 - y - 0.03 * np.sin(20 * x))))
    thickness = 0.8 + 0.4 * x
    maps = np.stack([(1 - layer) * (1 - 0.8 * particle), (1 - layer) * 0.8 * particle, layer]) * thickness
    return maps.reshape(3, -1), np.stack(spectra)


def edx(shape: tuple[int, int, int], filled: float, seed: int, *, dtype: type = np.uint32) -> tuple[np.ndarray, float]:
    """Return counts (y, x, energy) with a given part of the voxels filled, and the entropy of their rates in bytes."""
    maps, spectra = edx_model(shape)
    low, high = filled, 60 * filled
    sample = maps[:, :: max(1, maps.shape[1] // 300)].T @ spectra * shape[2]
    for _ in range(40):
        scale = np.sqrt(low * high)
        low, high = (scale, high) if np.mean(1 - np.exp(-scale * sample)) < filled else (low, scale)
    rng = np.random.default_rng(seed)
    counts, bits = np.empty((maps.shape[1], shape[2]), dtype), 0.0
    for part in np.array_split(np.arange(maps.shape[1]), max(1, maps.shape[1] // 2000)):
        rate = maps[:, part].T @ spectra * (shape[2] * scale)
        counts[part] = rng.poisson(rate)
        bits += poisson_entropy(rate).sum()
    return counts.reshape(shape), bits / 8


def disk_pattern(shape: tuple[int, int], filled: float) -> np.ndarray:
    """Return the probabilities (ky, kx) of one-bit frames: a bright-field disk on a weak dark field."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    radius = np.hypot(y - (shape[0] - 1) / 2, x - (shape[1] - 1) / 2) * 256 / max(shape)
    pattern = np.exp(-((radius / 70) ** 2)) + 3 / (1 + np.exp((radius - 40) / 0.7))
    low, high = 0.0, 100.0
    for _ in range(60):
        scale = (low + high) / 2
        low, high = (scale, high) if np.minimum(scale * pattern, 0.9).mean() < filled else (low, scale)
    return np.minimum(scale * pattern, 0.9)


def frames(pattern: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, float]:
    """Return packed one-bit frames of a pattern and the entropy of one frame in bytes."""
    rng = np.random.default_rng(seed)
    packed = np.stack(
        [np.packbits(rng.random(pattern.shape, np.float32) < pattern, axis=-1, bitorder="little") for _ in range(n)]
    )
    p = np.clip(pattern, 1e-12, 1 - 1e-12)
    return packed, float(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum() / 8)
