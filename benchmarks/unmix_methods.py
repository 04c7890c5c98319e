"""Every unmixing method on spectrum images of known truth: how near the spectra and the maps come, and the CPU time.

``python -m benchmarks.unmix_methods [--seeds N] [--data FOLDER] [--methods a,b]``. The images are simulated: X-rays of
the Ni / Cr needle, and energy losses of three oxides in grains with and without pure pixels. With `--data` the images
(``eds_*.npz``, ``eels_*.npz``) of a folder are measured as well. Printed is the table of
docs/explanations/unmixing.md, mean over the seeds: the angle in degrees between true spectra and those found, the root
mean square error of the abundances as shares of each pixel, and the CPU time. The last row takes the true spectra as
known: what the noise of single pixels leaves of the abundances.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment

from esteemcore import simulate, spectral
from esteemcore.errors import EsteemError
from esteemcore.events import SparseSI
from esteemcore.spectral.methods import METHODS

SHAPE = (64, 64)


class Case(NamedTuple):
    """A spectrum image, its spectra (n, energy), amounts (n, y * x) and the pixels that are judged."""

    name: str
    image: Any
    spectra: np.ndarray
    amounts: np.ndarray
    mask: np.ndarray | None


def needle(counts: float, seed: int) -> Case:
    """Return X-rays of the tip of the needle, judged where there are any to expect."""
    specimen = simulate.composition("needle")
    sampler = simulate.EdsSampler(specimen, simulate.EdsDetector(), seed=seed)
    content = specimen.maps(SHAPE, pixel_nm=80 / SHAPE[0])
    spectra, amounts = [], []
    for phase in specimen.phases:
        own = np.array([name == phase.name for name, _ in content.components])
        expected = sampler.expected(dataclasses.replace(content, atoms=content.atoms * own), 1.0)
        spectra.append(expected.sum(axis=0) / expected.sum())
        amounts.append(expected.sum(axis=1))
    inside = np.sum(amounts, axis=0) > 0.02 * np.max(np.sum(amounts, axis=0))
    electrons = counts / float(np.sum(amounts, axis=0)[inside].mean())
    image = sampler.events(content, electrons, SHAPE)
    mask = inside.reshape(SHAPE)
    return Case(f"EDS needle, {counts:g} counts", image, np.array(spectra), electrons * np.array(amounts), mask)


def oxides(pure: bool, seed: int, counts: float = 15_000.0) -> Case:
    """Return energy losses of grains of three oxides of changing thickness, shot and readout noise."""
    rng = np.random.default_rng((seed, 7))
    camera = simulate.EelsCamera(channels=512, ev_per_channel=1.0, offset_ev=440.0, readout_sigma=4.0)
    spectra = []
    for name, index in (("oxide_interface", 0), ("oxide_interface", 1), ("core_shell", 0)):
        specimen = simulate.composition(name)
        content = specimen.maps((64, 64), pixel_nm=specimen.field_nm / 64)
        share = content.thickness_nm[:, index] / np.maximum(content.thickness_nm.sum(axis=1), 1e-9)
        purest = content[np.argsort(-share * (content.thickness_nm.sum(axis=1) > 1))[:50]]
        spectrum = simulate.EelsSampler(specimen, camera).expected(purest, 1.0).sum(axis=0)
        spectra.append(spectrum / spectrum.sum())
    grains = np.stack([gaussian_filter(rng.standard_normal(SHAPE), 5, mode="wrap") for _ in spectra])
    grains /= grains.std(axis=(1, 2), keepdims=True)
    share = np.exp((6 if pure else 1.2) * grains)
    share /= share.sum(axis=0)
    thickness = 1 + 0.3 * np.sin(np.arange(SHAPE[1]) / 12)
    amounts = (counts * share * thickness).reshape(len(spectra), -1)
    image = rng.poisson(amounts.T @ np.array(spectra)) + rng.normal(0, 4, (amounts.shape[1], 512))
    name = "EELS oxides" if pure else "EELS oxides, no pure pixel"
    return Case(name, np.round(image).reshape(*SHAPE, 512), np.array(spectra), amounts, None)


def shared(folder: Path) -> Iterator[Case]:
    """Yield the images of a folder."""
    for path in sorted(folder.glob("e[de][sl]*.npz")):
        with np.load(path) as file:
            spectra, amounts = file["W"].astype(float), file["H"].astype(float)
            if "Y" in file:
                yield Case(path.stem, file["Y"], spectra, amounts, None)
                continue
            shape = tuple(int(n) for n in file["shape"])
            rows = file["indptr"].astype(np.int64), file["indices"].astype(np.uint32), file["data"]
            image = SparseSI(shape, np.dtype(np.uint16), *rows)
            yield Case(path.stem, image, spectra, amounts, file["inside"].reshape(shape[:2]))


def judged(case: Case, found: spectral.Unmixing) -> tuple[float, float]:
    """Return mean angle and error of the abundances."""
    unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in (case.spectra, found.spectra)]
    between = np.degrees(np.arccos(np.clip(unit[0] @ unit[1].T, -1, 1)))
    row, column = linear_sum_assignment(between)
    keep = slice(None) if case.mask is None else case.mask.ravel()
    amounts = np.clip(found.abundances.reshape(len(case.spectra), -1)[column][:, keep], 0, None)
    shares, truth = (a / np.maximum(a.sum(axis=0), 1e-12) for a in (amounts, case.amounts[:, keep]))
    return float(between[row, column].mean()), float(np.sqrt(np.mean((shares - truth) ** 2)))


def measured(case: Case, method: str) -> tuple[float, float, float]:
    """Return angle, error and CPU seconds of a method, or of the true spectra taken as known."""
    options: dict[str, Any] = {"method": "spa", "known": case.spectra} if method == "known" else {"method": method}
    start = time.process_time()
    try:
        found = spectral.unmix(case.image, len(case.spectra), mask=case.mask, **options)
    except EsteemError:
        return (float("nan"),) * 3
    return (*judged(case, found), time.process_time() - start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="sets of each kind; 0: those of --data only")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--methods", default=",".join(["auto", *METHODS, "known"]))
    options = parser.parse_args()
    makers = [lambda s: needle(5, s), lambda s: needle(50, s), lambda s: oxides(True, s), lambda s: oxides(False, s)]
    cases = [[make(seed) for seed in range(options.seeds)] for make in makers if options.seeds]
    cases += [[case] for case in (shared(options.data) if options.data else ())]
    names = options.methods.split(",")
    for same in cases:  # compiled before it is timed
        measured(same[0], names[0])
    print("| method | " + " | ".join(same[0].name for same in cases) + " |")
    print("|---" * (len(cases) + 1) + "|")
    for method in names:
        cells = []
        for same in cases:
            angle, error, cpu_s = np.mean([measured(case, method) for case in same], axis=0)
            cells.append(f"{angle:.2f}°, {error:.3f}, {cpu_s:.1f} s")
        print(f"| `{method}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
