"""``esteem multiframe SOURCE... [OUT]``: a recorded series registered, summed and mapped, with a report."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from esteemcore import multiframe
from esteemcore.cli import multiframe_areas
from esteemcore.cli.multiframe_page import report
from esteemcore.cli.options import add_overwrite, bar, report_beside, stem
from esteemcore.errors import ParameterError
from esteemcore.io.container import check_path

ENDINGS = (".esteem", ".zarr")
"""Of containers that can be made."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "source",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="folder of a region, container or file with a series; several follow each other, single frames too. The "
        "last of several names is the container to make if it ends with .esteem or .zarr; by itself it is "
        "NAME_aligned.esteem beside the first source. The report lies beside it",
    )
    parser.add_argument(
        "--areas", action="store_true", help="each source is an area of its own: aligned by itself, then added up"
    )
    parser.add_argument("--image", metavar="NAME", help="signal to register by, when there are several images")
    parser.add_argument("--spectra", metavar="NAME", help="signal of spectra, when there are several")
    parser.add_argument("--model", choices=("scanline", "rigid"), default="scanline", help="default: %(default)s")
    parser.add_argument("--residual", action="store_true", help="also fit what the lines leave")
    parser.add_argument("--upsample", type=int, default=1, metavar="N", help="fine pixels per pixel, along one side")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="NAME:START-STOP[:BSTART-BSTOP[+...]]",
        help="map of an element: window and background windows in eV; may be given several times",
    )
    parser.add_argument("--energy", nargs=2, type=float, metavar=("OFFSET", "DISPERSION"), help="of the spectra, in eV")
    parser.add_argument(
        "--align-energy",
        choices=("pixel", "plane", "frame"),
        help="lay spectra on each other along the energy axis: each, each frame by a plane, or each frame as a whole",
    )
    parser.add_argument(
        "--feature",
        metavar="[peak:|edge:]START-STOP",
        help="what --align-energy goes by, in eV; default: the highest peak",
    )
    parser.add_argument("--pool", type=int, default=1, metavar="N", help="measure N x N pixels together (%(default)s)")
    parser.add_argument("--bin", type=int, default=1, metavar="N", help="add up N channels in the sum (%(default)s)")
    parser.add_argument("--no-variance", action="store_true", help="keep no variance: half the memory")
    parser.add_argument("--no-components", action="store_true", help="do not count components above noise")
    add_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    """Process the series, write container and report, and print what was found."""
    maps = multiframe.maps_from_words(" ".join(arguments.map))
    energy = energy_settings(arguments)
    sources, out = _split(arguments)
    page = report_beside(out, sources, "frames", overwrite=arguments.overwrite, in_folders=True)
    if arguments.areas:
        for line in multiframe_areas.merge(arguments, sources, out, page):
            print(line)
        print(f"wrote {out} and {page}")
        return 0
    with bar("aligning and summing") as progress:
        result = multiframe.process_series(
            sources[0] if len(sources) == 1 else sources,
            image=arguments.image,
            spectra=arguments.spectra,
            model=arguments.model,
            residual=arguments.residual,
            upsample=arguments.upsample,
            maps=maps,
            variance=not arguments.no_variance,
            components=not arguments.no_components,
            energy_ev=arguments.energy,
            align_energy=energy,
            bin_channels=arguments.bin,
            progress=progress,
        )
    multiframe.save_processed(out, result, overwrite=arguments.overwrite)
    report(result).save(page)
    for line in lines(result):
        print(line)
    print(f"wrote {out} and {page}")
    return 0


def _split(arguments: argparse.Namespace) -> tuple[list[Path], Path]:
    """Return the sources and the container to make, which has a name of its own if none is given."""
    names = list(arguments.source)
    if len(names) > 1 and names[-1].suffix in ENDINGS:
        return names[:-1], check_path(names[-1])
    first = names[0].resolve()
    name = stem(first).removesuffix(ENDINGS[0]) + ("_merged" if arguments.areas else "_aligned")
    out, number = first.parent / f"{name}.esteem", 2
    while (out.exists() or out.with_suffix(".html").exists()) and not arguments.overwrite:
        out, number = first.parent / f"{name}_{number}.esteem", number + 1
    return names, check_path(out)


def energy_settings(arguments: argparse.Namespace) -> multiframe.EnergySettings | None:
    """Return how energies are aligned, None if they are not."""
    if arguments.align_energy is None:
        if arguments.feature is not None or arguments.pool != 1:
            raise ParameterError("--feature and --pool go with --align-energy; choose pixel, plane or frame")
        return None
    if arguments.feature is None:
        return multiframe.EnergySettings(model=arguments.align_energy, pool_px=arguments.pool)
    kind, _, window = arguments.feature.rpartition(":")
    found = re.fullmatch(r"(-?[0-9.]+)-(-?[0-9.]+)", window)
    if found is None or kind not in ("", "peak", "edge"):
        raise ParameterError(
            f"{arguments.feature!r} is no feature; expected START-STOP in eV with peak: or edge: before it"
        )
    return multiframe.EnergySettings(
        (float(found[1]), float(found[2])), kind or "peak", arguments.align_energy, arguments.pool
    )


def lines(result: multiframe.ProcessedSeries) -> list[str]:
    """Return what was found, line by line."""
    found = [result.summary]
    for k, reason in enumerate(result.alignment.reasons):
        if reason:
            found.append(f"frame {k} left out: {reason}")
    for name, measured in result.maps.items():
        snr = f"{measured.snr:.3g}" if math.isfinite(measured.snr) else "not known"
        found.append(f"map {name}: SNR {snr}")
    return found
