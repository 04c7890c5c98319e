"""The report of a classification: maps, patterns, fractions and why there are so many classes."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from esteemcore import diffraction
from esteemcore.cli.page import Page
from esteemcore.cli.pictures import UNKNOWN, curve, gray

_SIZE = 440


def report(found: diffraction.Classes, source: str) -> Page:
    """Return the page of a classification."""
    page = Page("Classes of diffraction patterns")
    page.text(f"{source}: {found.reason}.")
    for note in found.notes:
        page.text(f"Note: {note}.")
    colors = palette(found.kinds)
    agreement = "too few disks" if np.isnan(found.agreement) else f"adjusted Rand index {found.agreement:.3f}"
    page.heading("Maps")
    page.pictures([
        (class_map(found.labels, colors), "Classes", "each position by its most likely class; blue: none"),
        (gray(found.confidence, black_white=(0, 1)), "Confidence", "black 0, white 1; mixed positions are dark"),
        (
            gray(found.unexplained, black_white=(0, 1)),
            "Unexplained",
            "part of the pattern that no class explains; black 0, white 1",
        ),
        (class_map(found.other, colors), "By Bragg disks alone", f"{agreement}; blue: not told"),
        (gray(found.agreed.astype(float), black_white=(0, 1)), "Agreement", "white where both ways agree"),
    ])  # fmt: skip
    page.heading("Classes")
    page.pictures(
        [
            (_pattern(pattern, color), f"Class {c}", f"{found.kinds[c]}, positions: {found.areas[c]}; logarithmic")
            for c, (pattern, color) in enumerate(zip(found.patterns, colors, strict=True))
        ]
    )
    page.table(
        ["class", "kind", "positions", "mean confidence", "texture", "counts per frame"],
        [
            [
                str(c),
                found.kinds[c],
                str(found.areas[c]),
                f"{found.confidence[found.labels == c].mean() if found.areas[c] else 0:.2f}",
                f"{found.texture[c]:.3g}",
                f"{np.nansum(found.patterns[c]):,.0f}",
            ]
            for c in range(len(found))
        ],
    )
    page.heading("Fractions")
    page.pictures([
        (gray(share, black_white=(0, 1)), f"Class {c}", "share of the position: black 0, white 1")
        for c, share in enumerate(found.fractions)
    ])  # fmt: skip
    page.heading("How many")
    if len(found.curve) > 1:
        plot = curve(
            found.curve[:, 0], found.curve[:, 1], x_label="patterns", y_label="gain per electron", size=(330, 250)
        )
        page.pictures([(plot, "Held-out electrons", "log-likelihood of electrons that did not help to fit")])
    descan = found.descan
    measured = f" and leaves its plane by {descan.residual_px:.2f} px" if np.isfinite(descan.residual).any() else ""
    page.text(
        f"The direct beam lies at row {descan.reference[0]:.2f}, column {descan.reference[1]:.2f} px on average, moves "
        f"by {descan.span_px:.2f} px over the scan{measured}; patterns were compared in bins of {found.binning} px."
    )
    if found.ellipse is not None:
        page.text(
            f"Circles look like ellipses of ratio {found.ellipse.ratio:.4f} on the detector, the long axis at "
            f"{found.ellipse.angle_deg:.1f} degrees."
        )
    page.heading("How it was made")
    page.details("Provenance", found.provenance.as_dict())
    return page


def palette(kinds: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return a colour for each class, (n, 3): hues for crystals, shades of brown for amorphous phases."""
    crystals = max(1, kinds.count("crystalline"))
    colors, seen = [], {"crystalline": 0, "amorphous": 0}
    for kind in kinds:
        k = seen[kind]
        seen[kind] += 1
        if kind == "crystalline":
            color = colorsys.hsv_to_rgb((k / crystals + 0.02) % 1, 0.75 if k % 2 else 0.9, 0.95 if k % 2 else 0.7)
        else:
            color = colorsys.hsv_to_rgb(0.09, 0.25, 0.35 + 0.45 * (k % 3) / 2)
        colors.append([round(255 * part) for part in color])
    return np.array(colors, np.uint8)


def class_map(labels: NDArray[np.int64], colors: NDArray[np.uint8]) -> Image.Image:
    """Return a map of classes in their colours; numbers beyond them are white, negative ones blue."""
    table = np.concatenate([colors, [[255, 255, 255]], [UNKNOWN]]).astype(np.uint8)
    number = np.where(labels < 0, len(colors) + 1, np.minimum(labels, len(colors)))
    picture = Image.fromarray(table[number])
    zoom = _SIZE / max(labels.shape)
    size = max(1, round(labels.shape[1] * zoom)), max(1, round(labels.shape[0] * zoom))
    return picture.resize(size, Image.Resampling.NEAREST if zoom >= 1 else Image.Resampling.BOX)


def _pattern(pattern: NDArray[np.float64], color: NDArray[np.uint8]) -> Image.Image:
    """Return a pattern on a logarithmic scale with a frame in the colour of its class."""
    low = max(float(np.nanmax(pattern)) * 1e-4, 1e-9)
    picture = gray(np.log(np.maximum(pattern, low)))
    framed = Image.new("RGB", (picture.width + 16, picture.height + 16), tuple(int(c) for c in color))
    framed.paste(picture, (8, 8))
    return framed
