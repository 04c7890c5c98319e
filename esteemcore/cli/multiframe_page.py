"""The report of a processed series: means, drift, quality, maps and what they gain with the dose."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from esteemcore import multiframe
from esteemcore.cli.page import Page
from esteemcore.cli.pictures import curve, gray, limits

_PLOT = (330, 250)
_MOST_ROWS = 60


def report(result: multiframe.ProcessedSeries) -> Page:
    """Return the page of a processed series."""
    page = Page("Multi-frame series")
    page.text(f"{result.source}: {result.summary}.")
    _means(page, result)
    _frames(page, result)
    if result.maps:
        _maps(page, result)
    if result.components:
        _components(page, result)
    page.heading("How it was made")
    page.details("Provenance", result.provenance.as_dict())
    page.details("Provenance of the alignment", result.alignment.provenance.as_dict())
    return page


def _means(page: Page, result: multiframe.ProcessedSeries) -> None:
    figures = result.figures
    page.heading("Mean image")
    shades = limits(result.mean[np.kron(result.alignment.common_region, np.ones((result.image.upsample,) * 2)) > 0])
    used = f"{figures['accepted']:.0f} frames"
    contrast = "spread over mean in the common region, noise included, {:.4f}"
    page.pictures([
        (
            gray(result.before, black_white=shades, nm_per_pixel=result.pixel_nm),
            "Before alignment",
            f"mean of {used}, {contrast.format(figures['contrast_before'])}",
        ),
        (
            gray(result.mean, black_white=shades, nm_per_pixel=_fine(result, result.image.upsample)),
            "After alignment",
            f"mean of the same frames, {contrast.format(figures['contrast_after'])}; blue: no data",
        ),
        (
            gray(result.image.coverage, nm_per_pixel=_fine(result, result.image.upsample)),
            "Coverage",
            f"samples on each pixel, 0 to {float(result.image.coverage.max()):.3g}",
        ),
    ])  # fmt: skip


def _frames(page: Page, result: multiframe.ProcessedSeries) -> None:
    page.heading("Drift and quality")
    number = np.arange(len(result.alignment))
    drift, unit = (result.drift_px, "px") if result.drift_nm is None else (result.drift_nm, "nm")
    since = "first frame = 0; frames left out are skipped"
    page.pictures([
        (_curve(number, drift[:, 0], "frame", f"down / {unit}"), "Drift down", since),
        (_curve(number, drift[:, 1], "frame", f"right / {unit}"), "Drift right", since),
        (_curve(drift[:, 1], -drift[:, 0], f"right / {unit}", f"up / {unit}"), "Path", "as seen in the image"),
        (
            _curve(number, result.alignment.quality, "frame", "quality, 0 to 1"),
            "Quality",
            f"correlation with the mean of the others; jitter of lines {result.figures['jitter_px']:.2f} px RMS",
        ),
    ])  # fmt: skip
    if result.energy_shifts is not None and np.nanmax(np.abs(result.energy_shifts), initial=0) > 0:
        moved = _curve(number, result.energy_shifts, "frame", "channels")
        page.pictures([(moved, "Energy", "by how many channels each frame was moved, in its middle")])
    left_out = [(k, reason) for k, reason in enumerate(result.alignment.reasons) if reason]
    if not left_out:
        page.text("All frames are in the sums.")
        return
    rows = [[str(k), f"{result.alignment.quality[k]:.2f}", reason] for k, reason in left_out[:_MOST_ROWS]]
    page.text(f"Not in the sums: {len(left_out)} of {len(number)} frames.")
    page.table(["frame", "quality", "why"], rows)
    if len(left_out) > _MOST_ROWS:
        page.text(f"And {len(left_out) - _MOST_ROWS} more; the container has all reasons.")


def _maps(page: Page, result: multiframe.ProcessedSeries) -> None:
    page.heading("Maps")
    pictures, plots, rows = [], [], []
    for name, found in result.maps.items():
        upsample = found.data.shape[0] // result.alignment.shape[0]
        window = "{:g} to {:g} eV".format(*found.element.window_ev)
        snr = f"{found.snr:.3g}" if math.isfinite(found.snr) else "not known"
        nm = _fine(result, upsample)
        pictures.append((gray(found.data, nm_per_pixel=nm), name, f"net counts, {window}, SNR {snr}"))
        pictures.append((gray(found.sigma, nm_per_pixel=nm), f"{name}: sigma", "standard deviation in counts"))
        table = result.snr[name]
        if len(table):
            plot = _curve(table[:, 0], table[:, 1], _dose(result), "SNR")
            plots.append((plot, f"SNR of {name}", "of a pixel, on average, in the common region"))
        low, high = limits(found.data)
        rows.append([name, window, found.element.model, snr, f"{low:.4g} to {high:.4g}"])
    page.pictures(pictures)
    page.table(["map", "window", "background", "SNR per pixel", "counts shown black to white"], rows)
    if plots:
        page.pictures(plots)


def _components(page: Page, result: multiframe.ProcessedSeries) -> None:
    page.heading("Components above noise")
    counted = [(c.dose, c.sure) for c in result.components]
    dose, n = np.array(counted, np.float64).T
    last = result.components[-1]
    page.pictures(
        [(_curve(dose, n, _dose(result), "components"), "Components", "the mean spectrum included; at least")]
    )
    page.text(f"At the end: {last.words} ({last.reason}).")


def _dose(result: multiframe.ProcessedSeries) -> str:
    return "frames" if result.dose_unit == "frames" else "electrons per square angstrom"  # the font has no Å


def _fine(result: multiframe.ProcessedSeries, upsample: int) -> tuple[float, float] | None:
    return None if result.pixel_nm is None else (result.pixel_nm[0] / upsample, result.pixel_nm[1] / upsample)


def _curve(x: ArrayLike, y: ArrayLike, x_label: str, y_label: str) -> Image.Image:
    return curve(x, y, x_label=x_label, y_label=y_label, size=_PLOT)
