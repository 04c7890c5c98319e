"""``esteem demo``: a shuffled low-dose scan of a simulated zeolite, its phase forming from one-bit frames."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from esteemcore import simulate
from esteemcore._core import checks
from esteemcore.cli import demo_page
from esteemcore.cli.demo_core import CoreMicroscope
from esteemcore.cli.demo_run import Axes, Experiment, Microscope, Run, take
from esteemcore.cli.options import result_folder
from esteemcore.errors import DependencyError

DOSES = (200.0, 2000.0)
FRACTIONS = (0.10, 0.25, 0.50, 1.00)
LEAST_SCAN = 8
SPECIMEN = "zeolite"
BEAM = simulate.Beam(energy_kev=200.0, semiangle_mrad=15.0)
DETECTOR = simulate.Detector((256, 256), pixel_mrad=15.0 / 96)
STEP_NM = 0.03
ORIGIN_NM = (0.13, 0.21)

KEPT = ("ssb", "icom", "bf", "adf")
"""Images of a scan that go into the project, in the order in which they are shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, default=Path("esteem_demo"), help="folder for the results (%(default)s)")
    parser.add_argument("--scan", type=int, default=128, metavar="N", help="N x N scan positions (%(default)s)")
    parser.add_argument("--rate", type=float, default=12_500, help="frames per second of the camera (%(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the visit order and the electrons (%(default)s)")
    parser.add_argument(
        "--core-only", action="store_true", help="simulate without Nion Swift; no project is written then"
    )


def run(arguments: argparse.Namespace) -> int:
    """Make the scans and write pictures, raw files, the page and the project of Nion Swift."""
    checks.positive("--rate", arguments.rate, "frames per second")
    checks.integer("--scan", arguments.scan, minimum=LEAST_SCAN)
    experiment = Experiment(
        beam=BEAM,
        detector=DETECTOR,
        shape=(arguments.scan, arguments.scan),
        step_nm=STEP_NM,
        origin_nm=ORIGIN_NM,
        rate=arguments.rate,
        seed=arguments.seed,
        fractions=FRACTIONS,
    )
    began = time.perf_counter()
    make = _in_the_core if arguments.core_only else _in_swift
    with make(arguments.out, experiment) as (microscope, project):
        specimen = simulate.specimen(SPECIMEN)
        truth = _truth(specimen, experiment)
        runs = []
        for dose in DOSES:
            runs.append(take(arguments.out, dose, microscope, experiment, truth))
            _keep(runs[-1], microscope, experiment)
    page = demo_page.write(arguments.out, runs, experiment, truth, specimen, project)
    for done in runs:
        print(_summary(done))
    if project is not None:
        print(f"Nion Swift project: {project}; open it with: {demo_page.open_line(project)}")
    print(f"Page: {page} ({time.perf_counter() - began:.0f} s)")
    return 0


@contextlib.contextmanager
def _in_the_core(out: Path, experiment: Experiment) -> Iterator[tuple[Microscope, None]]:
    """Take the frames without Nion Swift."""
    result_folder(out)
    with tqdm(total=100, desc="Diffraction patterns", unit="%", bar_format="{l_bar}{bar}| {elapsed}") as bar:

        def progress(done: float) -> None:
            bar.update(int(100 * done) - bar.n)

        bank = simulate.bank(simulate.specimen(SPECIMEN), experiment.beam, progress=progress)
        progress(1.0)
    yield CoreMicroscope(experiment, bank), None


@contextlib.contextmanager
def _in_swift(out: Path, experiment: Experiment) -> Iterator[tuple[Microscope, Path]]:
    """Take the frames with the simulated microscope in a Nion Swift without window."""
    try:
        swift = importlib.import_module("esteem_sim.demo")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "nion":
            raise
        raise DependencyError(f"Nion Swift ({error.name})", "app") from error
    microscope = swift.SwiftMicroscope(
        specimen=SPECIMEN,
        beam=experiment.beam,
        detector=experiment.detector,
        shape=experiment.shape,
        step_nm=experiment.step_nm,
        origin_nm=experiment.origin_nm,
        rate=experiment.rate,
        seed=experiment.seed,
    )
    with microscope.running(result_folder(out), SPECIMEN) as project:
        with tqdm(bar_format="{desc} {elapsed}") as line:
            microscope.wait_for_scene(line.set_description_str)
        yield microscope, project


def _truth(specimen: simulate.Specimen, experiment: Experiment) -> NDArray[np.float64]:
    """Return the phase that a perfect reconstruction would show, in rad, mean zero."""
    places = np.argwhere(np.ones(experiment.shape, bool)) * experiment.step_nm + experiment.origin_nm
    beam = experiment.beam
    truth = simulate.phase_truth(specimen, beam.energy_kev, places, max_angle_mrad=2 * beam.semiangle_mrad)
    return np.asarray(truth - truth.mean()).reshape(experiment.shape)


def _keep(done: Run, microscope: Microscope, experiment: Experiment) -> None:
    """Put the images of a scan into the project."""
    geometry = microscope.geometry
    scan_axes = _centred(experiment.shape, geometry.step_nm)
    dose = f"{done.dose:,.0f} e/Å²"
    record = {
        "run": f"esteem demo, {dose}",
        "dose_e_per_A2": done.dose,
        "raw_file": str(done.file.resolve()),
    }
    if done.account is not None:
        record["recorded_dose_e_per_A2"] = done.account.recorded_dose
    sources = {"ssb": "ssb", "icom": "com", "bf": "detectors", "adf": "detectors"}
    for name in KEPT:
        image = done.images[name]
        made = done.results[sources[name]].provenance.as_dict()
        entry = {**record, "image": name, "frames": done.steps[-1].frames, "provenance": made}
        microscope.keep(dose, f"{image.title}, {dose}", image.data, image.unit, scan_axes, entry)
    frame = done.results["statistics"]
    entry = {**record, "image": "mean frame", "provenance": frame.provenance.as_dict()}
    center = geometry.center_px(experiment.detector.shape)
    axes = [(-c * p, p, "mrad") for c, p in zip(center, geometry.pixel_pair_mrad, strict=True)]
    microscope.keep("", f"Mean frame, {dose}", frame.mean, "counts", axes, entry)
    forming: Any = np.stack([step.phase for step in done.steps])
    entry = {**record, "image": "ssb forming", "frames": [step.frames for step in done.steps]}
    microscope.keep("", f"SSB phase forming, {dose}", forming, "rad", [(0.0, 1.0, ""), *scan_axes], entry)


def _centred(shape: tuple[int, int], step_nm: tuple[float, float]) -> Axes:
    """Return calibrations in nm with the origin in the centre, as Nion's scans have it."""
    return [(-step * size / 2, step, "nm") for step, size in zip(step_nm, shape, strict=True)]


def _summary(done: Run) -> str:
    last = done.steps[-1]
    text = (
        f"{done.dose:,.0f} e/Å²: SSB correlation {last.correlation:.3f}, scale {last.scale:.2f}; "
        f"{done.frames_per_s:,.0f} frames/s; raw file {done.file_bytes / 1e6:.1f} MB for "
        f"{done.raw_bytes / 1e6:.0f} MB of packed frames"
    )
    if done.account is not None:
        blanked = "beam blanked" if done.account.is_blanked else "BEAM NOT BLANKED"
        text += f"; ledger {done.account.recorded_dose:,.1f} e/Å², {blanked}"
    return text if done.same_from_file else f"{text}; THE FILE GIVES ANOTHER PHASE"
