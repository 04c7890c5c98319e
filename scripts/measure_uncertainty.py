"""How often `spectral.uncertainty` holds the truth: a table of `docs/explanations/unmixing-uncertainty.md`.

``python scripts/measure_uncertainty.py [--seeds N]``. Each image is measured with as many seeds of the noise. The share
of true values within two standard deviations is that over all seeds, components and channels or pixels, first with the
noise alone, then with all causes. The angles are root mean squares over seeds and components: those between spectra
found and true ones, and those that are told. Warned are the seeds in which methods disagree beyond what noise explains.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any, NamedTuple

import numpy as np
from measure_unmixing_coverage import layers, phases
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment

from esteemcore import spectral
from esteemcore.events import SparseSI

SIDE, CHANNELS, READOUT = 48, 256, 4.0

PHASES = ((2.8, ((345, 0.5), (430, 0.2))), (3.0, ((400, 0.5),)), (2.6, ((455, 0.5), (345, 0.15))))
"""Exponent of the background, energies in eV and heights of the edges of three phases."""


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


def losses(contrast: float) -> Case:
    """Return grains of three phases with edges on backgrounds of power laws; little contrast leaves no pixel pure."""
    energy = np.arange(CHANNELS) + 300.0
    spectra = []
    for power, edges in PHASES:
        level = (energy / 300) ** -power
        for start, height in edges:
            level += height * (energy >= start) * (energy / start) ** -power * (start / 300) ** -power
        level = gaussian_filter(level, 1.0)
        spectra.append(level / level.sum())
    rng = np.random.default_rng(1)
    grains = np.stack([gaussian_filter(rng.standard_normal((SIDE, SIDE)), 5, mode="wrap") for _ in spectra])
    grains /= grains.std(axis=(1, 2), keepdims=True)
    share = np.exp(contrast * grains)
    share /= share.sum(axis=0)
    thickness = 1 + 0.3 * np.sin(np.arange(SIDE) / 12)
    purest = float(np.quantile(share, 1 - 1 / share[0].size, axis=(1, 2)).min())
    return Case(
        f"EELS, 15,000 counts, purest {100 * purest:.0f} %", np.array(spectra), 15_000 * share * thickness, READOUT
    )


def measured(case: Case, seeds: int) -> list[str]:
    """Return a row of the table."""
    held: list[list[float]] = []
    angles, warned, start = [], 0, time.process_time()
    for seed in range(seeds):
        image = case.image(seed)
        sure = spectral.uncertainty(image, len(case.spectra), seed=seed, readout_sigma=case.readout)
        found = sure.result.spectra
        cosine = _unit(case.spectra) @ _unit(found).T
        order = linear_sum_assignment(-cosine)[1]
        row = []
        for part in (sure.parts["noise"], sure.total):
            row.append(float(np.mean(np.abs(found[order] - case.spectra) < 2 * part.spectra[order])))
            away = np.abs(sure.result.abundances[order] - case.abundances)
            row.append(float(np.mean(away < 2 * part.abundances[order])))
        held.append(row)
        true = np.degrees(np.arccos(np.clip(cosine[np.arange(len(order)), order], -1, 1)))
        angles.append([np.square(true).mean(), np.square(sure.total.angle_deg).mean()])
        warned += bool(sure.warnings)
    seconds = (time.process_time() - start) / seeds
    shares = [f"{100 * share:.0f} %" for share in np.mean(held, axis=0)]
    told = [f"{angle:.2f}°" for angle in np.sqrt(np.mean(angles, axis=0))]
    return [case.name, *shares, *told, f"{warned} of {seeds}", f"{seconds:.1f}"]


def _unit(spectra: np.ndarray) -> np.ndarray:
    return spectra / np.linalg.norm(spectra, axis=1, keepdims=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    head = ["image", *("spectra, noise", "maps, noise", "spectra, all", "maps, all"), "true angle", "told", "warned"]
    sys.stdout.write("| " + " | ".join([*head, "CPU s"]) + " |\n" + "|---" * (len(head) + 1) + "|\n")
    cases = [Case(f"X-rays, {counts} counts", phases("layers"), layers(counts, 0.0)) for counts in (5, 50)]
    for case in (*cases, *map(losses, (6.0, 1.2, 0.7))):
        sys.stdout.write("| " + " | ".join(measured(case, seeds)) + " |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
