"""``esteem live FILE``: stored frames through the live chain, as if they came from the camera now."""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from esteemcore import fourd, io, stream
from esteemcore._core import checks
from esteemcore.cli import pictures
from esteemcore.cli.options import add_calibrations, add_scan, calibrated, loaded, result_folder, stem
from esteemcore.cli.results import Chain, relative, save_results
from esteemcore.errors import ParameterError, ReducerError
from esteemcore.io.container import check_path

WEAK_PHASE_SHARE = 0.6
"""Below this share explained the phase image is not that of the specimen; thin zeolites in focus give 0.9 and more."""

WAITING_BYTES = 2**28
"""Raw data that may wait in memory: a file, unlike a camera, can wait until the disk and the reducers have followed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, help="a container of Esteem or any 4D-STEM file that RosettaSciIO reads")
    parser.add_argument("--signal", help="which signal, when the file holds several with detector frames")
    add_scan(parser)
    parser.add_argument("--rate", type=float, help="frames per second; default: as fast as they can be read")
    parser.add_argument("--chunk", type=int, default=256, help="frames handed over at a time (%(default)s)")
    parser.add_argument("--out", type=Path, help="folder for the pictures; default: NAME_live beside here")
    parser.add_argument("--keep", type=Path, metavar="FOLDER.esteem", help="also write the raw frames to a container")
    parser.add_argument(
        "--save", type=Path, metavar="RESULTS.esteem", help="also write the results, with all that reproduce needs"
    )
    add_calibrations(parser)


def run(arguments: argparse.Namespace) -> int:
    """Replay the frames and write the images."""
    if arguments.rate is not None:
        checks.positive("--rate", arguments.rate, "frames per second")
    checks.integer("--chunk", arguments.chunk, minimum=1)
    if arguments.save is not None and check_path(arguments.save).exists():
        raise ParameterError(f"{arguments.save} is there already; give --save another name, or delete it")
    dataset = loaded(arguments)
    source = io.source(dataset, arguments.signal)
    for line in dataset.describe():
        print(line)
    geometry, missing = calibrated(dataset.geometry, arguments)
    if geometry is None:
        print(f"without {', '.join(missing)} only statistics are made; give them as options for phase images")
    spec = source.spec
    reducers = fourd.live_reducers(geometry, spec.frame_shape, bins=arguments.bins)
    out = result_folder(arguments.out or Path(f"{stem(arguments.file)}_live"))
    store = _keep(arguments.keep, spec, dataset, geometry) if arguments.keep else None
    failure = None
    began = time.perf_counter()
    try:
        with tqdm(total=len(source), unit=" frames", desc=arguments.file.name) as bar:
            runner = stream.LiveRunner(reducers, spec, store=store)
            with runner:
                for chunk in source.chunks(size=arguments.chunk):
                    if arguments.rate:
                        due = began + runner.status.acquired / arguments.rate
                        time.sleep(max(0.0, due - time.perf_counter()))
                    while runner.status.memory_bytes > WAITING_BYTES and not runner.failed:
                        time.sleep(0.005)
                    runner.put(chunk, copy=False)
                    bar.update(len(chunk))
                    bar.set_postfix_str(f"lag {runner.status.lag_frames} frames")
                try:
                    results = runner.finish()
                except ReducerError as error:
                    failure, results = error, error.results
    finally:
        if store is not None:
            store.close()
    images = fourd.live_images(results, geometry)
    for name, image in images.items():
        step = geometry.step_nm if geometry is not None else None
        path = pictures.save(pictures.gray(image.data, nm_per_pixel=step), out / f"{name}.png")
        low, high = pictures.limits(image.data)
        print(f"{path}: {image.title}, {low:.4g} (black) to {high:.4g} {image.unit} (white)")
    elapsed = time.perf_counter() - began
    if "statistics" in results:
        mean, visits = results["statistics"].mean, results["statistics"].visits
        path = pictures.save(pictures.gray(mean**0.5 if (mean >= 0).all() else mean), out / "mean_frame.png")
        print(f"{path}: mean frame, square root of the counts")
        print(
            f"{int(visits.sum()):,} frames at {int((visits > 0).sum()):,} of {visits.size:,} positions in "
            f"{elapsed:.2f} s, {visits.sum() / elapsed:,.0f} frames/s"
        )
    if "ssb" in results:
        print(explanation(runner.evaluate("ssb", lambda reducer, state: reducer.explained(state))))
    for note in getattr(results.get("ssb"), "notes", ()):
        print(f"note: {note}")
    if failure is not None:
        raise failure
    if arguments.save is not None:
        save_results(arguments.save, results, _chain(arguments, source, geometry))
        print(f"{arguments.save}: the results, to be made again by: esteem reproduce {arguments.save}")
    return 0


def _chain(arguments: argparse.Namespace, source: io.FrameSource, geometry: fourd.Geometry | None) -> Chain:
    """Describe the run, with files as seen from the folder of the results."""
    folder = arguments.save.absolute().parent
    options: dict[str, Any] = {"scan_shape": arguments.scan_shape}
    if arguments.coordinates is not None:
        options["coordinates"] = relative(arguments.coordinates, folder)
    return Chain(relative(arguments.file, folder), source.signal, options, geometry, arguments.bins)


def _keep(path: Path, spec: stream.Spec, dataset: io.Dataset, geometry: fourd.Geometry | None) -> io.Writer:
    """Open the container that takes the raw frames, with all that is known of them."""
    if path.exists():
        raise ParameterError(f"{path} is there already; give --keep another name, or delete it")
    scan = dataset.scan
    if scan is None or scan.shape != spec.scan_shape:  # that of another signal of the file
        scan = io.ScanRecord(spec.scan_shape)
    if geometry is not None:
        scan = dataclasses.replace(scan, step_nm=geometry.scan_step_nm)
    return io.Writer(path, spec, scan=scan, geometry=geometry or dataset.geometry, metadata=dataset.metadata)


def explanation(share: float) -> str:
    """Say what `esteemcore.fourd.SingleSideband.explained` found."""
    if math.isnan(share):
        return "too few electrons to tell whether a weak phase explains the signal"
    text = f"a weak phase explains {100 * max(share, 0):.0f} % of the signal in the bright-field disk"
    if share < WEAK_PHASE_SHARE:
        text += ": do not trust the phase; the specimen is too thick or heavy, or rotation, defocus or center are wrong"
    return text
