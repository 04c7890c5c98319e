"""``esteem classify FILE OUT``: grains and amorphous phases of a 4D-STEM scan, with the evidence."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from esteemcore import diffraction, io
from esteemcore.cli.beam import BeamAction, in_a_shell, measured_radius, place_of, shell_words
from esteemcore.cli.classify_page import report
from esteemcore.cli.frames4d import ScanFrames
from esteemcore.cli.options import add_overwrite, add_scan, bar, loaded, report_beside
from esteemcore.errors import ParameterError
from esteemcore.io.container import check_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, help="a container of Esteem or any 4D-STEM file that RosettaSciIO reads")
    parser.add_argument("out", type=Path, help="container to make, *.esteem or *.zarr; the report lies beside it")
    parser.add_argument("--radius-px", type=float, help="radius of a disk in detector px; default: that of the beam")
    parser.add_argument(
        "--center",
        nargs="+",
        action=BeamAction,
        metavar=("ROW", "COLUMN"),
        help="direct beam behind a beam stop in px; in place of both, friedel: the centre of symmetry of the patterns",
    )
    parser.add_argument("--classes", type=int, metavar="N", help="number of classes; default: found")
    parser.add_argument(
        "--binning", type=int, metavar="PX", help="side of the bins in px; default: from radius and dose"
    )
    parser.add_argument("--no-disks", action="store_true", help="do not classify by Bragg disks as well: twice as fast")
    parser.add_argument("--seed", type=int, default=0, help="seed of thinning and first groups (%(default)s)")
    parser.add_argument("--signal", help="which signal, when the file holds several with detector frames")
    add_overwrite(parser)
    add_scan(parser)


def run(arguments: argparse.Namespace) -> int:
    """Classify, write container and report, and print what was found."""
    out = check_path(arguments.out)
    page = report_beside(out, [arguments.file], "frames", overwrite=arguments.overwrite)
    dataset = loaded(arguments)
    frames = ScanFrames(dataset, arguments.signal)
    radius, center = arguments.radius_px, None if arguments.center is None else place_of(arguments.center)
    if radius is None and center is not None:
        raise ParameterError(
            "the radius of a beam behind a stop cannot be measured; give --radius-px, the semi-angle of the probe in "
            "px, together with --center"
        )
    doubts: tuple[str, ...] = ()
    if radius is None:
        with bar("measuring the beam") as progress, shell_words():
            radius, doubts = measured_radius(
                frames, "give the radius of a disk in px with --radius-px", progress=progress
            )
        print(f"radius of a disk: {radius:.2f} px, that of the direct beam; --radius-px takes another")
    with bar("classifying") as progress, shell_words():
        found = diffraction.classify(
            frames,
            radius,
            arguments.classes,
            binning=arguments.binning,
            center=center,
            second_way=not arguments.no_disks,
            seed=arguments.seed,
            progress=progress,
        )
    found = dataclasses.replace(found, notes=tuple(dict.fromkeys([*doubts, *found.notes])))
    io.save(out, io.Dataset(signals(found), metadata={"classes": described(found)}), overwrite=arguments.overwrite)
    report(found, str(arguments.file)).save(page)
    for line in lines(found):
        print(line)
    print(f"wrote {out} and {page}")
    return 0


def lines(found: diffraction.Classes) -> list[str]:
    """Return what was found, line by line."""
    text = [f"{len(found)} class{'es' if len(found) != 1 else ''}: {found.reason}"]
    for c, (kind, area) in enumerate(zip(found.kinds, found.areas, strict=True)):
        sure = found.confidence[found.labels == c].mean() if area else 0.0
        text.append(f"class {c}: {kind}, {area} position{'s' if area != 1 else ''}, mean confidence {sure:.2f}")
    if np.isfinite(found.agreement):
        text.append(f"classes by Bragg disks agree to {found.agreement:.3f} (adjusted Rand index)")
    row, column = found.descan.reference
    text.append(
        f"direct beam: on average at row {row:.2f}, column {column:.2f} px, moves by {found.descan.span_px:.2f} px"
    )
    return [*text, *(f"note: {in_a_shell(note)}" for note in found.notes)]


def signals(found: diffraction.Classes) -> dict[str, io.Signal]:
    """Return the arrays of the result with their axes, by the names of the files."""
    ny, nx = found.labels.shape
    n, ky, kx = found.patterns.shape
    scan = io.Axis("y", ny), io.Axis("x", nx)
    center = found.descan.reference
    detector = io.Axis("ky", ky, 1.0, -float(center[0]), "px"), io.Axis("kx", kx, 1.0, -float(center[1]), "px")
    return {
        "labels": io.Signal(found.labels.astype(np.int32), scan),
        "confidence": io.Signal(found.confidence.astype(np.float32), scan),
        "unexplained": io.Signal(found.unexplained.astype(np.float32), scan),
        "labels_by_disks": io.Signal(found.other.astype(np.int32), scan),
        "fractions": io.Signal(found.fractions.astype(np.float32), (io.Axis("class", n), *scan)),
        "patterns": io.Signal(found.patterns, (io.Axis("class", n), *detector), metadata={"unit": "counts per frame"}),
        "beam": io.Signal(found.descan.center, (*scan, io.Axis("component", 2)), metadata={"unit": "px"}),
    }


def described(found: diffraction.Classes) -> dict[str, object]:
    """Return what is no array, ready for JSON."""
    return {
        "kinds": list(found.kinds),
        "reason": found.reason,
        "notes": list(found.notes),
        "agreement": float(found.agreement) if np.isfinite(found.agreement) else None,
        "curve": found.curve.tolist(),
        "beam_px": found.descan.reference.tolist(),
        "descan_px": found.descan.span_px,
        "binning": found.binning,
        "provenance": found.provenance.as_dict(),
    }
