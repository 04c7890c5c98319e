"""How often the intervals of Bayesian unmixing hold the truth: a table of `docs/explanations/unmixing-uncertainty.md`.

``python scripts/measure_unmixing_coverage.py [--seeds N]``. Each specimen is measured with as many seeds of the noise.
The share of true values within two standard deviations is that over all seeds, components and channels or pixels; the
width is the root mean square of the standard deviations over that of the scatter of the means between seeds.
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

LINES = (((115, 1.0), (127, 0.13), (14, 0.6)), ((83, 1.0), (92, 0.13), (9, 0.4)), ((27, 1.0), (8, 0.12)))
"""Channel and strength of the lines of three phases."""


def phases() -> np.ndarray:
    """Return three spectra of lines on a background that falls, of unit sum."""
    channel = np.arange(CHANNELS)
    level = np.exp(-(channel + 1) / 60) * (channel > 3)
    spectra = []
    for lines in LINES:
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


def measured(counts: float, least: float, smoothing_px: float, seeds: int) -> list[str]:
    """Return a row of the table."""
    spectra, truth = phases(), layers(counts, least)
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
    row = [f"{counts:g}", "yes" if least == 0 else "no", f"{smoothing_px:g}"]
    for at, right in ((0, spectra), (2, truth)):
        mean, sigma = (np.array([f[at + i] for f in found]) for i in (0, 1))
        row.append(f"{100 * np.mean(np.abs(mean - right) < 2 * sigma):.0f} %")
        row.append(f"{np.sqrt(np.square(sigma).mean() / mean.var(axis=0, ddof=1).mean()):.2f}")
    return [*row, f"{agreed} of {seeds}", f"{seconds:.1f}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    head = ("counts per pixel", "pure pixels", "smoothing, px", "spectra hold", "width", "maps hold", "width", "agreed")
    sys.stdout.write("| " + " | ".join([*head, "CPU s"]) + " |\n" + "|---" * (len(head) + 1) + "|\n")
    for case in ((5, 0.0, 1.0), (5, 0.0, 0.0), (20, 0.0, 0.0), (80, 0.0, 0.0), (40, 0.15, 0.0)):
        sys.stdout.write("| " + " | ".join(measured(*case, seeds)) + " |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
