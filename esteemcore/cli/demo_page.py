"""The page of the demo: pictures and figures of its acquisitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from esteemcore import simulate
from esteemcore.cli import pictures
from esteemcore.cli.demo_run import Experiment, Run, compare
from esteemcore.cli.page import Page


def write(
    out: Path,
    runs: list[Run],
    experiment: Experiment,
    truth: NDArray[np.float64],
    specimen: simulate.Specimen,
    project: Path | None,
) -> Path:
    """Write the pictures and the page.

    Parameters
    ----------
    out : Path
        Folder.
    runs : list of Run
    experiment : Experiment
    truth : ndarray, shape (y, x)
        The phase that a perfect reconstruction would show, in rad.
    specimen : Specimen
    project : Path or None
        The project of Nion Swift; None if the frames were taken without it.
    """
    pattern, beam, detector = experiment.pattern, experiment.beam, experiment.detector
    step_nm, fractions = experiment.step_nm, experiment.fractions
    black_white = pictures.limits(truth, 0.1)
    page = Page("A phase image that forms from one-bit frames")
    page.text(
        f"A simulated {specimen.name} ({specimen.thickness_nm:.1f} nm thick) in a {beam.energy_kev:.0f} kV STEM, "
        f"{beam.semiangle_mrad:.0f} mrad semi-angle. The probe visits {pattern.shape[0]} x {pattern.shape[1]} "
        f"positions, {10 * step_nm:.1f} Å apart, in shuffled order; a one-bit camera of {detector.shape[0]} x "
        f"{detector.shape[1]} pixels takes one frame at each. Phase: single side band, "
        f"{100 * pattern.mask.mean():.0f} % of the positions visited."
    )
    page.text(_origin(project))
    figures = [_figures(done, truth) for done in runs]
    page.table(list(figures[0]), [list(row.values()) for row in figures])
    accounts = [row for done in runs for row in _account(done)]
    if accounts:
        page.table(["", "dose planned", "dose in the ledger", "beam blanked at the end"], accounts)
    true_picture = pictures.gray(truth, black_white=black_white, nm_per_pixel=step_nm)
    pictures.save(true_picture, out / "truth.png")
    pictures.save(pictures.visit_order(pattern.shape, pattern.order), out / "visit_order.png")
    phase_range = f"{black_white[0]:.2f} to {black_white[1]:.2f} rad"
    for done in runs:
        page.heading(f"{done.dose:,.0f} e/Å², {done.exposure.pixel_charge_e:.0f} electrons per frame")
        row = [(true_picture, "Truth", f"projected phase within twice the semi-angle; {phase_range}")]
        for fraction, step in zip(fractions, done.steps, strict=True):
            picture = pictures.gray(step.phase, black_white=black_white, nm_per_pixel=step_nm)
            pictures.save(picture, out / f"ssb_{done.dose:.0f}_{100 * fraction:03.0f}.png")
            caption = f"{step.frames:,} frames; correlation {step.correlation:.3f}, scale {step.scale:.2f}"
            row.append((picture, f"SSB phase at {100 * fraction:.0f} %", caption))
        page.pictures(row)
        row = []
        for name in ("icom", "bf", "adf"):
            image = done.images[name]
            picture = pictures.gray(image.data, nm_per_pixel=step_nm)
            pictures.save(picture, out / f"{name}_{done.dose:.0f}.png")
            low, high = pictures.limits(image.data)
            row.append((picture, image.title, f"{low:.3g} to {high:.3g} {image.unit}"))
        pattern_picture = pictures.gray(np.sqrt(done.results["statistics"].mean))
        row.append((pattern_picture, "Mean frame", "square root; the bright-field disk has 96 px radius"))
        row.append((pictures.visit_order(pattern.shape, pattern.order), "Visit order", "dark: early, bright: late"))
        page.pictures(row)
        for note in done.results["ssb"].notes:
            page.text(f"Note: {note}.")
    page.heading("Where this comes from")
    page.text(
        "Grays of all phase images are those of the truth. Scale is the slope of the image on the truth: below 1 "
        "because weakly transferred frequencies are regularized and the specimen is not infinitely thin. At part of "
        "the frames the positions not yet visited hold the mean, so the scale grows with the visited share."
    )
    page.details("Provenance of the last phase image", runs[-1].results["ssb"].provenance.as_dict())
    page.details("Visit order", pattern.provenance.as_dict())
    return page.save(out / "index.html")


def _origin(project: Path | None) -> str:
    """Say who took the frames, and where else the images are."""
    if project is None:
        return "The frames were drawn by the core alone, without Nion Swift."
    return (
        "The frames were taken by the simulated microscope inside Nion Swift, in a synchronized acquisition of its "
        f"scan device and its camera. The images are also in the Nion Swift project {project.name}; open it with: "
        f"{open_line(project)}"
    )


def open_line(project: Path) -> str:
    """Return the command that opens a project."""
    return f'esteem swift "{project}"' if " " in str(project) else f"esteem swift {project}"


def _account(done: Run) -> list[list[str]]:
    """Return a row about the dose that was planned and recorded, if the microscope keeps account."""
    account = done.account
    if account is None:
        return []
    doses = (f"{dose:,.1f} e/Å²" for dose in (account.planned_dose, account.recorded_dose))
    return [[f"{done.dose:,.0f} e/Å²", *doses, "yes" if account.is_blanked else "NO"]]


def _figures(done: Run, truth: NDArray[np.float64]) -> dict[str, str]:
    """Return the figures of a run by name, as the page shows them."""
    ssb, last = done.results["ssb"], done.steps[-1]
    lost = 1 - ssb.occupancy / -np.log1p(-ssb.occupancy) if ssb.occupancy > 0 else 0.0
    return {
        "dose": f"{done.dose:,.0f} e/Å²",
        "electrons per frame": f"{done.exposure.pixel_charge_e:.0f}",
        "lost to double hits": f"{100 * lost:.2f} %",
        "SSB correlation": f"{last.correlation:.3f}",
        "SSB scale": f"{last.scale:.2f}",
        "explained by a weak phase": "too few electrons" if np.isnan(done.explained) else f"{done.explained:.0%}",
        "iCoM correlation": f"{compare(done.images['icom'].data, truth)[0]:.3f}",
        "frames/s": f"{done.frames_per_s:,.0f}",
        "longest lag": f"{1e3 * done.longest_lag_s:.0f} ms",
        "raw file": f"{done.file_bytes / 1e6:.1f} MB",
        "packed frames": f"{done.raw_bytes / 1e6:.0f} MB",
        "same from the file": "yes" if done.same_from_file else "NO",
    }
