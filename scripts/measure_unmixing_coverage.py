"""How often the intervals of Bayesian unmixing hold the truth: a table of `docs/explanations/unmixing-uncertainty.md`.

``python scripts/measure_unmixing_coverage.py [--seeds N] [--rows 0,5]``. Each specimen is measured with as many seeds
of the noise. The share of true values within two standard deviations is that over all seeds, components and channels or
pixels; the width is the root mean square of the standard deviations over that of the scatter of the means between
seeds.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment

from esteemcore import spectral
from esteemcore.events import SparseSI

SIDE, CHANNELS = 32, 160

LINES = {
    "layers": (((115, 1.0), (127, 0.13), (14, 0.6)), ((83, 1.0), (92, 0.13), (9, 0.4)), ((27, 1.0), (8, 0.12))),
    "grains": (((64, 1.0), (71, 0.15), (20, 0.3)), ((64, 0.5), (101, 1.0), (113, 0.13)), ((20, 1.0), (42, 0.7))),
}
"""Channel and strength of the lines of three phases; the grains have lines in common."""

ROWS = (
    ("layers", 5, 0.0, 1.0),
    ("layers", 5, 0.0, 0.0),
    ("layers", 20, 0.0, 0.0),
    ("layers", 80, 0.0, 0.0),
    ("layers", 40, 0.15, 0.0),
    ("grains", 5, 0.0, 1.0),
    ("grains", 5, 0.0, 0.0),
    ("grains", 20, 0.0, 0.0),
    ("grains", 80, 0.0, 0.0),
)
"""Specimen, counts per pixel, least share of each phase in a pixel, and smoothing in pixels."""


def phases(specimen: str) -> np.ndarray:
    """Return three spectra of lines on a background that falls, of unit sum."""
    channel = np.arange(CHANNELS)
    level = np.exp(-(channel + 1) / 60) * (channel > 3)
    spectra = []
    for lines in LINES[specimen]:
        peaks = sum(s * np.exp(-0.5 * ((channel - at) / (1.2 + at / 80)) ** 2) for at, s in lines)
        spectra.append(0.75 * peaks / peaks.sum() + 0.25 * level / level.sum())
    return np.array(spectra)


def layers(counts: float, least: float) -> np.ndarray:
    """Return abundances (3, y, x) of layers on a substrate, none below a share of its pixel."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    slope = y + 0.12 * (x - SIDE / 2)
    first = gaussian_filter((np.floor(slope / 8) % 2 == 0).astype(float), 1.0)
    below = 1 / (1 + np.exp(-(slope - 0.65 * SIDE) / 0.9))
    share = np.stack([first * (1 - below), (1 - first) * (1 - below), below])
    share = least + (1 - 3 * least) * share
    return counts * (1 + 0.3 * np.sin(x / 7)) * share


def grains(counts: float) -> np.ndarray:
    """Return abundances (3, y, x) of grains of three phases with soft borders, of changing thickness."""
    rng = np.random.default_rng(100)
    field = np.stack([gaussian_filter(rng.standard_normal((SIDE, SIDE)), 3, mode="wrap") for _ in range(3)])
    share = np.exp(8 * field / field.std(axis=(1, 2), keepdims=True))
    return counts * (1 + 0.3 * np.cos(np.arange(SIDE)[:, None] / 5)) * share / share.sum(axis=0)


def measured(specimen: str, counts: float, least: float, smoothing_px: float, seeds: int) -> list[str]:
    """Return a row of the table."""
    spectra, truth = phases(specimen), grains(counts) if specimen == "grains" else layers(counts, least)
    rate = np.tensordot(np.moveaxis(truth, 0, -1), spectra, 1)
    found, agreed, start = [], 0, time.process_time()
    for seed in range(seeds):
        data = SparseSI.from_dense(np.random.default_rng(seed).poisson(rate).astype(np.uint16))
        result = spectral.unmix(data, 3, method="blu", smoothing_px=smoothing_px, seed=seed)
        order = linear_sum_assignment(-(spectra @ result.spectra.T))[1]
        spread = result.uncertainty
        found.append([result.spectra[order], spread.spectra[order], result.abundances[order], spread.abundances[order]])
        agreed += not any("do not agree" in note for note in result.notes)
    seconds = (time.process_time() - start) / seeds
    row = [specimen, f"{counts:g}", "yes" if least == 0 else "no", f"{smoothing_px:g}"]
    for at, right in ((0, spectra), (2, truth)):
        mean, sigma = (np.array([f[at + i] for f in found]) for i in (0, 1))
        row.append(f"{100 * np.mean(np.abs(mean - right) < 2 * sigma):.0f} %")
        row.append(f"{np.sqrt(np.square(sigma).mean() / mean.var(axis=0, ddof=1).mean()):.2f}")
    return [*row, f"{agreed} of {seeds}", f"{seconds:.1f}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", default=",".join(map(str, range(len(ROWS)))), help="which rows of the table")
    options = parser.parse_args()
    head = ["specimen", "counts per pixel", "pure pixels", "smoothing, px", "spectra hold", "width"]
    head += ["maps hold", "width", "agreed", "CPU s"]
    sys.stdout.write("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|\n")
    for number in options.rows.split(","):
        sys.stdout.write("| " + " | ".join(measured(*ROWS[int(number)], options.seeds)) + " |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
