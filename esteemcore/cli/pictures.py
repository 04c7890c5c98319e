"""Arrays as pictures: gray images with scale bar, visit orders, spectra."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

UNKNOWN = (52, 74, 110)
"""Colour of pixels without a value: clearly not a gray."""

BACKGROUND, INK, LINE, BESIDE = (255, 255, 255), (25, 25, 25), (40, 90, 170), (215, 120, 30)


def limits(data: ArrayLike, percentile: float = 0.5) -> tuple[float, float]:
    """Return the values shown black and white: all but the lowest and highest ``percentile`` of the finite ones."""
    finite = np.asarray(data, np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, (percentile, 100 - percentile))
    if high <= low:
        low, high = finite.min(), finite.max()
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def gray(
    data: ArrayLike,
    *,
    black_white: tuple[float, float] | None = None,
    size: int = 440,
    nm_per_pixel: float | tuple[float, float] | None = None,
) -> Image.Image:
    """Return an image in gray, with a scale bar where the size of a pixel is known.

    Parameters
    ----------
    data : array_like, shape (y, x)
        Values; those that are not finite are drawn in blue.
    black_white : pair of float, optional
        Values shown black and white. Default: see `limits`.
    size : int
        Pixels of the longer side of the picture, about.
    nm_per_pixel : float or pair of float, optional
        Size of a data pixel in nm, or (row, column).
    """
    values = np.asarray(data, np.float64)
    low, high = black_white or limits(values)
    with np.errstate(invalid="ignore"):
        level = np.clip((values - low) / (high - low), 0, 1) * 255
    known = np.isfinite(level)
    colors = np.repeat(np.where(known, level, 0)[..., None], 3, axis=2).astype(np.uint8)
    colors[~known] = UNKNOWN
    step = None if nm_per_pixel is None else np.broadcast_to(np.asarray(nm_per_pixel, np.float64), 2)
    stretch = 1.0 if step is None else float(step[0] / step[1])
    height, width = values.shape[0] * stretch, float(values.shape[1])
    zoom = size / max(height, width)
    shape = max(1, round(width * zoom)), max(1, round(height * zoom))
    picture = Image.fromarray(colors).resize(shape, Image.Resampling.NEAREST if zoom >= 1 else Image.Resampling.BOX)
    if step is not None:
        _scale_bar(picture, float(step[1]) / zoom)
    return picture


def _scale_bar(picture: Image.Image, nm_per_pixel: float) -> None:
    """Draw a bar of a round length, about a quarter of the width, into the lower left corner."""
    wanted = picture.width * nm_per_pixel / 4
    decade = 10.0 ** np.floor(np.log10(wanted))
    length = max(n for n in (1.0, 2.0, 5.0) if n <= max(wanted / decade, 1.0)) * decade
    width = length / nm_per_pixel
    draw = ImageDraw.Draw(picture)
    margin, thick = max(6, picture.width // 40), max(3, picture.width // 90)
    font = ImageFont.load_default(max(11, picture.width // 22))
    text = f"{length * 1000:g} pm" if length < 0.1 else f"{length:,.10g} nm"
    left, bottom = margin, picture.height - margin
    box = draw.textbbox((0, 0), text, font=font)
    high = box[3] - box[1]
    draw.rectangle(
        (left - 4, bottom - thick - high - 12, left + max(width, box[2] - box[0]) + 4, bottom + 4), fill=(0, 0, 0)
    )
    draw.rectangle((left, bottom - thick, left + width, bottom), fill=BACKGROUND)
    draw.text((left, bottom - thick - 6 - box[3]), text, fill=BACKGROUND, font=font)


def visit_order(shape: tuple[int, int], index: NDArray[np.int64], *, size: int = 440) -> Image.Image:
    """Return when each position was visited first, dark for early and bright for late, blue where never."""
    when = np.full(shape[0] * shape[1], np.nan)
    when[index[::-1]] = np.arange(len(index))[::-1]
    return gray(when.reshape(shape), black_white=(0, max(len(index) - 1, 1)), size=size)


def curve(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_label: str,
    y_label: str,
    size: tuple[int, int] = (640, 320),
    beside: ArrayLike | None = None,
) -> Image.Image:
    """Return a line plot with labelled axes.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Coordinates.
    x_label, y_label : str
        What the axes show, with units.
    size : tuple of int
        Width and height of the picture.
    beside : array_like, shape (n,), optional
        A second line at the same x, thin and orange, to compare with.
    """
    picture = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(13)
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    left, right, top, bottom = 70, size[0] - 16, 30, size[1] - 48
    others = np.full(xs.shape, np.nan) if beside is None else np.asarray(beside, np.float64)
    (x0, x1), (y0, y1) = _range(xs), _range(np.concatenate([ys, others, [0.0]]))
    draw.text((left, 8), y_label, fill=INK, font=font)
    draw.text(((left + right) / 2, size[1] - 20), x_label, fill=INK, font=font, anchor="ma")
    draw.rectangle((left, top, right, bottom), outline=INK)
    for tick in _ticks_apart(x0, x1, right - left, font):
        at = left + (tick - x0) / (x1 - x0) * (right - left)
        draw.line((at, bottom, at, bottom + 5), fill=INK)
        draw.text((at, bottom + 8), f"{tick:g}", fill=INK, font=font, anchor="ma")
    for tick in _ticks(y0, y1):
        at = bottom - (tick - y0) / (y1 - y0) * (bottom - top)
        draw.line((left - 5, at, left, at), fill=INK)
        draw.text((left - 8, at), f"{tick:.4g}", fill=INK, font=font, anchor="rm")
    for values, color, width in ((others, BESIDE, 1), (ys, LINE, 2)):
        shown = np.isfinite(xs) & np.isfinite(values)
        points = zip(
            left + (xs[shown] - x0) / (x1 - x0) * (right - left),
            bottom - (values[shown] - y0) / (y1 - y0) * (bottom - top),
            strict=True,
        )
        draw.line(list(points), fill=color, width=width)
    return picture


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _ticks(low: float, high: float) -> NDArray[np.float64]:
    """Return about five round numbers between two values."""
    step = 10 ** np.floor(np.log10((high - low) / 4))
    step *= max(n for n in (1, 2, 5) if n * step <= (high - low) / 4)
    return np.asarray(np.arange(np.ceil(low / step), np.floor(high / step + 1e-9) + 1) * step) + 0.0


def _ticks_apart(low: float, high: float, width_px: float, font: Any) -> NDArray[np.float64]:
    """Return ticks whose labels have room beside each other on an axis of some width."""
    ticks = _ticks(low, high)
    if len(ticks) < 2:
        return ticks
    widest = max(font.getlength(f"{tick:g}") for tick in ticks)
    return ticks[:: math.ceil((widest + 6) * (high - low) / (width_px * (ticks[1] - ticks[0])))]


def png(picture: Image.Image) -> bytes:
    """Return a picture as PNG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save(picture: Image.Image, path: Path) -> Path:
    """Write a picture as PNG and return where."""
    path.write_bytes(png(picture))
    return path


def data_uri(picture: Image.Image) -> str:
    """Return a picture as a text that stands in an HTML page itself."""
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode()
