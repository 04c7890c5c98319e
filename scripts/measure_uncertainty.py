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

import numpy as np
from measure_unmixing_coverage import Case, layers, losses, phases
from scipy.optimize import linear_sum_assignment

from esteemcore import spectral


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
    for case in map(losses, (6.0, 1.2, 0.7)):
        cases.append(case._replace(name=f"{case.name}, purest {100 * case.purest:.0f} %"))
    for case in cases:
        sys.stdout.write("| " + " | ".join(measured(case, seeds)) + " |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
