"""``esteem demo``: a shuffled low-dose scan of a simulated zeolite, its phase forming from one-bit frames."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from esteemcore import fourd, io, scan, simulate, stream
from esteemcore._core import checks
from esteemcore.cli import pictures
from esteemcore.cli.options import result_folder
from esteemcore.cli.page import Page

DOSES = (200.0, 2000.0)
FRACTIONS = (0.10, 0.25, 0.50, 1.00)
CHUNK = 256
LEAST_SCAN = 8
BEAM = simulate.Beam(energy_kev=200.0, semiangle_mrad=15.0)
DETECTOR = simulate.Detector((256, 256), pixel_mrad=15.0 / 96)
STEP_NM = 0.03
ORIGIN_NM = (0.13, 0.21)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, default=Path("esteem_demo"), help="folder for the results (%(default)s)")
    parser.add_argument("--scan", type=int, default=128, metavar="N", help="N x N scan positions (%(default)s)")
    parser.add_argument("--rate", type=float, default=12_500, help="frames per second of the camera (%(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the visit order and the electrons (%(default)s)")


@dataclasses.dataclass(frozen=True)
class Step:
    """The phase image when a part of the frames had come."""

    frames: int
    phase: NDArray[np.float32]
    correlation: float
    scale: float


@dataclasses.dataclass(frozen=True)
class Run:
    """One acquisition and all that came out of it."""

    dose: float
    exposure: scan.Exposure
    steps: tuple[Step, ...]
    results: dict[str, Any]
    images: dict[str, fourd.LiveImage]
    frames_per_s: float
    longest_lag_s: float
    file: Path
    file_bytes: int
    raw_bytes: int
    same_from_file: bool
    explained: float


def run(arguments: argparse.Namespace) -> int:
    """Make the scans and write pictures, raw files and the page."""
    checks.positive("--rate", arguments.rate, "frames per second")
    checks.integer("--scan", arguments.scan, minimum=LEAST_SCAN)
    out = result_folder(arguments.out)
    pattern = scan.shuffled((arguments.scan, arguments.scan), seed=arguments.seed)
    geometry = fourd.Geometry(
        scan_step_nm=STEP_NM,
        beam_energy_kev=BEAM.energy_kev,
        semiangle_mrad=BEAM.semiangle_mrad,
        pixel_mrad=DETECTOR.pixel_mrad,
        center=DETECTOR.center,
    )
    began = time.perf_counter()
    with tqdm(total=100, desc="Diffraction patterns", unit="%", bar_format="{l_bar}{bar}| {elapsed}") as bar:
        specimen = simulate.specimen("zeolite")
        bank = simulate.bank(specimen, BEAM, progress=lambda done: bar.update(int(100 * done) - bar.n))
        bar.update(100 - bar.n)
    positions = np.argwhere(np.ones(pattern.shape, bool)) * STEP_NM
    truth = simulate.phase_truth(
        specimen, BEAM.energy_kev, positions + ORIGIN_NM, max_angle_mrad=2 * BEAM.semiangle_mrad
    ).reshape(pattern.shape)
    truth -= truth.mean()
    runs = [_acquire(out, dose, pattern, geometry, bank, truth, positions, arguments) for dose in DOSES]
    page = _write(out, runs, pattern, geometry, truth, specimen)
    for done in runs:
        last = done.steps[-1]
        print(
            f"{done.dose:,.0f} e/Å²: SSB correlation {last.correlation:.3f}, scale {last.scale:.2f}; "
            f"{done.frames_per_s:,.0f} frames/s; raw file {done.file_bytes / 1e6:.1f} MB for "
            f"{done.raw_bytes / 1e6:.0f} MB of packed frames"
        )
    print(f"Page: {page} ({time.perf_counter() - began:.0f} s)")
    return 0


def _acquire(
    out: Path,
    dose: float,
    pattern: scan.ScanPattern,
    geometry: fourd.Geometry,
    bank: simulate.Bank,
    truth: NDArray[np.float64],
    positions: NDArray[Any],
    arguments: argparse.Namespace,
) -> Run:
    """Acquire one scan at the camera's pace, with reducers following and the raw frames going to a file."""
    electrons = dose * (10 * STEP_NM) ** 2
    dwell_s = 1 / arguments.rate
    exposure = scan.Exposure(
        current_pa=scan.current_for_dose(dose, dwell_s, STEP_NM, pattern.shape),
        dwell_s=dwell_s,
        pixel_size_nm=STEP_NM,
        shape=pattern.shape,
        pattern=pattern,
    )
    sampler = simulate.FrameSampler(bank, DETECTOR, origin_nm=ORIGIN_NM, seed=arguments.seed)
    spec = stream.Spec(pattern.shape, DETECTOR.shape, np.dtype(np.uint8), packed=True)
    fourd.warm_up(geometry, spec)
    simulate.FrameSampler(bank, DETECTOR).frames(positions[:1], electrons)
    path = out / f"zeolite_{dose:.0f}.esteem"
    writer = io.Writer(
        path,
        spec,
        scan=io.ScanRecord(pattern.shape, dwell_s=dwell_s, step_nm=STEP_NM),
        geometry=geometry,
        metadata={"specimen": {"name": "simulated zeolite ZSM-5"}, "dose_e_per_A2": dose},
        overwrite=True,
    )
    reducers = fourd.live_reducers(geometry, DETECTOR.shape)
    n = len(pattern.order)
    stops = [round(fraction * n) for fraction in FRACTIONS]
    steps, lag = [], 0.0
    frames = np.empty((CHUNK, *spec.stored_shape), np.uint8)
    with (
        writer,
        stream.LiveRunner(reducers, spec, store=writer) as runner,
        tqdm(total=n, desc=f"{dose:,.0f} e/Å²", unit=" frames") as bar,
    ):
        clock, at = time.perf_counter(), 0
        paused = 0.0
        for stop in stops:
            while at < stop:
                index = pattern.order[at : min(at + CHUNK, stop)]
                sampler.frames(positions[index], electrons, out=frames[: len(index)])
                times = (at + np.arange(len(index))) * dwell_s
                at += len(index)
                time.sleep(max(0.0, clock + paused + at * dwell_s - time.perf_counter()))
                runner.put(stream.Chunk(index, frames[: len(index)], time_s=times))
                lag = max(lag, runner.status.lag_s)
                bar.update(len(index))
            pause = time.perf_counter()
            while runner.status.lag_frames and not runner.errors:
                time.sleep(0.002)
            phase = runner.evaluate("ssb", lambda reducer, state: reducer.result(state)).phase
            steps.append(Step(stop, phase, *_compare(phase, truth)))
            paused += time.perf_counter() - pause
        rate = n / (time.perf_counter() - clock - paused)
        results = runner.finish()
        explained = runner.evaluate("ssb", lambda reducer, state: reducer.explained(state))
    again = io.source(path)
    from_file = stream.run({"ssb": reducers["ssb"]}, again.spec, again.chunks())["ssb"]
    return Run(
        dose=dose,
        exposure=exposure,
        steps=tuple(steps),
        results=results,
        images=fourd.live_images(results, geometry),
        frames_per_s=rate,
        longest_lag_s=lag,
        file=path,
        file_bytes=sum(f.stat().st_size for f in path.rglob("*") if f.is_file()),
        raw_bytes=n * int(np.prod(spec.stored_shape)),
        explained=explained,
        same_from_file=bool(np.array_equal(from_file.phase, results["ssb"].phase)),
    )


def _compare(image: NDArray[Any], truth: NDArray[np.float64]) -> tuple[float, float]:
    """Return the correlation of an image with the truth, and its scale on it."""
    centred = np.asarray(image, np.float64) - image.mean()
    norm = float((truth * truth).sum())
    product = float((centred * truth).sum())
    return product / float(np.sqrt((centred * centred).sum() * norm)), product / norm


def _write(
    out: Path,
    runs: list[Run],
    pattern: scan.ScanPattern,
    geometry: fourd.Geometry,
    truth: NDArray[np.float64],
    specimen: simulate.Specimen,
) -> Path:
    """Write the pictures and the page."""
    black_white = pictures.limits(truth, 0.1)
    page = Page("A phase image that forms from one-bit frames")
    page.text(
        f"A simulated {specimen.name} ({specimen.thickness_nm:.1f} nm thick) in a {BEAM.energy_kev:.0f} kV STEM, "
        f"{BEAM.semiangle_mrad:.0f} mrad semi-angle. The probe visits {pattern.shape[0]} x {pattern.shape[1]} "
        f"positions, {10 * STEP_NM:.1f} Å apart, in shuffled order; a one-bit camera of {DETECTOR.shape[0]} x "
        f"{DETECTOR.shape[1]} pixels takes one frame at each. Phase: single side band, "
        f"{100 * pattern.mask.mean():.0f} % of the positions visited."
    )
    figures = [_figures(done, truth) for done in runs]
    page.table(list(figures[0]), [list(row.values()) for row in figures])
    true_picture = pictures.gray(truth, black_white=black_white, nm_per_pixel=STEP_NM)
    pictures.save(true_picture, out / "truth.png")
    pictures.save(pictures.visit_order(pattern.shape, pattern.order), out / "visit_order.png")
    phase_range = f"{black_white[0]:.2f} to {black_white[1]:.2f} rad"
    for done in runs:
        page.heading(f"{done.dose:,.0f} e/Å², {done.exposure.pixel_charge_e:.0f} electrons per frame")
        row = [(true_picture, "Truth", f"projected phase within twice the semi-angle; {phase_range}")]
        for fraction, step in zip(FRACTIONS, done.steps, strict=True):
            picture = pictures.gray(step.phase, black_white=black_white, nm_per_pixel=STEP_NM)
            pictures.save(picture, out / f"ssb_{done.dose:.0f}_{100 * fraction:03.0f}.png")
            caption = f"{step.frames:,} frames; correlation {step.correlation:.3f}, scale {step.scale:.2f}"
            row.append((picture, f"SSB phase at {100 * fraction:.0f} %", caption))
        page.pictures(row)
        row = []
        for name in ("icom", "bf", "adf"):
            image = done.images[name]
            picture = pictures.gray(image.data, nm_per_pixel=STEP_NM)
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
        "iCoM correlation": f"{_compare(done.images['icom'].data, truth)[0]:.3f}",
        "frames/s": f"{done.frames_per_s:,.0f}",
        "longest lag": f"{1e3 * done.longest_lag_s:.0f} ms",
        "raw file": f"{done.file_bytes / 1e6:.1f} MB",
        "packed frames": f"{done.raw_bytes / 1e6:.0f} MB",
        "same from the file": "yes" if done.same_from_file else "NO",
    }
