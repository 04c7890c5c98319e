"""How often the intervals of Bayesian unmixing hold the truth: a table of `docs/explanations/unmixing-uncertainty.md`.

``python scripts/measure_unmixing_coverage.py [--seeds N] [--rows 0,5]``. Each specimen is measured with as many seeds
of the noise. The share of true values within two standard deviations is that over all seeds, components and channels or
pixels; the width is the root mean square of the standard deviations over that of the scatter of the means between
seeds. The purest is the largest share of a phase in a pixel, of the phase where that is smallest.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any, NamedTuple

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

PHASES = ((2.8, ((345, 0.5), (430, 0.2))), (3.0, ((400, 0.5),)), (2.6, ((455, 0.5), (345, 0.15))))
"""Energy losses: exponent of the background, energies in eV and heights of the edges of three phases."""

LOSSES, READOUT = 15_000, 4.0
"""Counts per pixel of energy losses, and their readout noise."""


class Case(NamedTuple):
    """Mean counts of an image by spectra (n, energy) and abundances (n, y, x), and the readout noise."""

    name: str
    spectra: np.ndarray
    abundances: np.ndarray
    readout: float = 0.0

    def image(self, seed: int) -> Any:
        """Return the image with noise."""
        rng = np.random.default_rng(seed)
        counts = rng.poisson(np.tensordot(np.moveaxis(self.abundances, 0, -1), self.spectra, 1))
        if self.readout:
            return np.round(counts + rng.normal(0, self.readout, counts.shape))
        return SparseSI.from_dense(counts.astype(np.uint16))

    @property
    def purest(self) -> float:
        """Largest share of a phase in a pixel, of the phase where that is smallest."""
        share = self.abundances / self.abundances.sum(axis=0)
        return float(np.quantile(share, 1 - 1 / share[0].size, axis=(1, 2)).min())


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


def grains(counts: float, contrast: float = 8.0) -> np.ndarray:
    """Return abundances (3, y, x) of grains with soft borders, of changing thickness; little contrast makes a film."""
    rng = np.random.default_rng(100)
    field = np.stack([gaussian_filter(rng.standard_normal((SIDE, SIDE)), 3, mode="wrap") for _ in range(3)])
    share = np.exp(contrast * field / field.std(axis=(1, 2), keepdims=True))
    return counts * (1 + 0.3 * np.cos(np.arange(SIDE)[:, None] / 5)) * share / share.sum(axis=0)


def losses(contrast: float) -> Case:
    """Return grains of three phases with edges on backgrounds of power laws; little contrast leaves no pixel pure."""
    energy = np.arange(256) + 300.0
    spectra = []
    for power, edges in PHASES:
        level = (energy / 300) ** -power
        for start, height in edges:
            level += height * (energy >= start) * (energy / start) ** -power * (start / 300) ** -power
        level = gaussian_filter(level, 1.0)
        spectra.append(level / level.sum())
    rng = np.random.default_rng(1)
    field = np.stack([gaussian_filter(rng.standard_normal((48, 48)), 5, mode="wrap") for _ in spectra])
    share = np.exp(contrast * field / field.std(axis=(1, 2), keepdims=True))
    thickness = 1 + 0.3 * np.sin(np.arange(48) / 12)
    return Case("EELS, 15,000 counts", np.array(spectra), LOSSES * share / share.sum(axis=0) * thickness, READOUT)


def rows() -> list[tuple[Case, float]]:
    """Return the specimens of the table, and the width in pixels that their maps are smoothed by."""
    own, common = phases("layers"), phases("grains")
    return [
        (Case("layers, 5 counts", own, layers(5, 0.0)), 1.0),
        *((Case(f"layers, {counts} counts", own, layers(counts, 0.0)), 0.0) for counts in (5, 20, 80)),
        (Case("grains, 5 counts", common, grains(5)), 1.0),
        *((Case(f"grains, {counts} counts", common, grains(counts)), 0.0) for counts in (5, 20, 80)),
        (Case("film, 40 counts", own, grains(40, 0.7)), 0.0),
        (Case("layers with halos, 40 counts", own, layers(40, 0.15)), 0.0),
        *((losses(contrast), 0.0) for contrast in (6.0, 1.2, 0.7)),
    ]


def measured(case: Case, smoothing_px: float, seeds: int) -> list[str]:
    """Return a row of the table."""
    found, agreed, start = [], 0, time.process_time()
    for seed in range(seeds):
        result = spectral.unmix(
            case.image(seed), 3, method="blu", smoothing_px=smoothing_px, readout_sigma=case.readout, seed=seed
        )
        size = np.linalg.norm(case.spectra, axis=1)[:, None] * np.linalg.norm(result.spectra, axis=1)
        order = linear_sum_assignment(-(case.spectra @ result.spectra.T) / size)[1]
        spread = result.uncertainty
        found.append([result.spectra[order], spread.spectra[order], result.abundances[order], spread.abundances[order]])
        agreed += not any("do not agree" in note for note in result.notes)
    seconds = (time.process_time() - start) / seeds
    row = [case.name, f"{100 * case.purest:.0f} %", f"{smoothing_px:g}"]
    for at, right in ((0, case.spectra), (2, case.abundances)):
        mean, sigma = (np.array([f[at + i] for f in found]) for i in (0, 1))
        row.append(f"{100 * np.mean(np.abs(mean - right) < 2 * sigma):.0f} %")
        row.append(f"{np.sqrt(np.square(sigma).mean() / mean.var(axis=0, ddof=1).mean()):.2f}")
    return [*row, f"{agreed} of {seeds}", f"{seconds:.1f}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", help="which rows of the table")
    options = parser.parse_args()
    every = rows()
    head = ["specimen", "purest", "smoothing, px", "spectra hold", "width"]
    head += ["maps hold", "width", "agreed", "CPU s"]
    sys.stdout.write("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|\n")
    for number in options.rows.split(",") if options.rows else range(len(every)):
        sys.stdout.write("| " + " | ".join(measured(*every[int(number)], options.seeds)) + " |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
