"""``esteem multiframe --areas``: each source is an area of its own, aligned by itself and laid on the first one."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from esteemcore import multiframe
from esteemcore.cli.options import bar
from esteemcore.cli.page import Page
from esteemcore.cli.pictures import gray
from esteemcore.errors import ParameterError


def merge(arguments: argparse.Namespace, sources: Sequence[Path], out: Path, page: Path) -> list[str]:
    """Align each area, add them up, write container and report; return what was found, line by line."""
    if len(sources) < 2:
        raise ParameterError("--areas adds up several areas, but one source is given; name the folders of all of them")
    if arguments.align_energy is not None or arguments.bin != 1:
        raise ParameterError("--align-energy and --bin do not go with --areas, whose frames are summed as they came")
    maps = multiframe.maps_from_words(" ".join(arguments.map))
    processed = []
    for number, source in enumerate(sources, 1):
        with bar(f"area {number} of {len(sources)}") as progress:
            processed.append(
                multiframe.process_series(
                    source,
                    image=arguments.image,
                    spectra=arguments.spectra,
                    model=arguments.model,
                    residual=arguments.residual,
                    variance=False,
                    components=False,
                    energy_ev=arguments.energy,
                    progress=progress,
                )
            )
    with bar("adding up the areas") as progress:
        result = multiframe.merge_areas(
            sources,
            processed,
            maps=maps,
            upsample=arguments.upsample,
            variance=not arguments.no_variance,
            progress=progress,
        )
    multiframe.save_merged(out, result, overwrite=arguments.overwrite)
    unit = processed[0].dose_unit
    report(result, processed, unit).save(page)
    return lines(result, unit)


def lines(result: multiframe.MergedAreas, unit: str) -> list[str]:
    """Return what was found, line by line."""
    words = f"{int(result.accepted.sum())} of {len(result.accepted)} areas and {int(result.frames.sum())} frames"
    found = [f"{words} in the sum" + (f", {result.dose:.4g} {unit}" if unit != "frames" else "")]
    found += [f"{Path(source).name}: {place}" for source, place in zip(result.sources, _places(result), strict=True)]
    for name, measured in result.maps.items():
        found.append(f"map {name}: SNR {f'{measured.snr:.3g}' if math.isfinite(measured.snr) else 'not known'}")
    return found


def report(result: multiframe.MergedAreas, processed: Sequence[multiframe.ProcessedSeries], unit: str) -> Page:
    """Return the page of merged areas."""
    page = Page("Merged areas")
    page.text(f"{lines(result, unit)[0]}.")
    fine = None if result.pixel_nm is None else tuple(size / result.image.upsample for size in result.pixel_nm)
    nm = None if fine is None else (fine[0], fine[1])
    coverage = result.image.coverage
    page.heading("Sum")
    page.pictures([
        (gray(np.asarray(result.image.mean, np.float64), nm_per_pixel=nm), "Mean", "on the grid of the first area"),
        (gray(coverage, nm_per_pixel=nm), "Coverage", f"samples on each pixel, 0 to {float(coverage.max()):.3g}"),
    ])  # fmt: skip
    page.heading("Areas")
    rows = [
        [area.source, f"{int(area.figures['accepted'])} of {int(area.figures['frames'])}", place]
        for area, place in zip(processed, _places(result), strict=True)
    ]
    page.table(["area", "frames aligned", "where"], rows)
    if result.maps:
        page.heading("Maps")
        pictures = []
        for name, found in result.maps.items():
            window = "{:g} to {:g} eV".format(*found.element.window_ev)
            pictures.append((gray(found.data, nm_per_pixel=nm), name, f"net counts, {window}, SNR {found.snr:.3g}"))
            pictures.append((gray(found.sigma, nm_per_pixel=nm), f"{name}: sigma", "standard deviation in counts"))
        page.pictures(pictures)
    page.heading("How it was made")
    page.details("Provenance", result.provenance.as_dict())
    return page


def _places(result: multiframe.MergedAreas) -> list[str]:
    """Return where each area lies, or why it is left out."""
    found = []
    for shift, like, is_alike in zip(result.shifts, result.likeness, result.accepted, strict=True):
        if is_alike:
            found.append(f"moved by {shift[0]:.1f}, {shift[1]:.1f} px (down, right), correlation {like:.2f}")
        else:
            found.append(
                f"left out: correlation {like:.2f} with the first area; it shows something else, or is too noisy"
            )
    return found
