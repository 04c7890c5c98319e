"""A drifting series of image and spectra whose displacements, elements and doses are known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import ndimage

from esteemcore import io, multiframe

SHAPE = (64, 64)
CHANNELS = 80
ENERGY = 400.0 + 5.0 * np.arange(CHANNELS)
PAD = 24
LINES = {"Ti": (450.0, 500.0), "O": (600.0, 650.0)}
"""Two elements, and where their signal is; a third component is the background under them."""


def blobs(seed: int, width: float) -> np.ndarray:
    """Return a smooth random map, 0 to 1, on the padded grid."""
    size = [n + 2 * PAD for n in SHAPE]
    values = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(size), width)
    return (values - values.min()) / np.ptp(values)


SCENE = 0.3 + 3 * blobs(0, 2.5)
ELEMENTS = {"Ti": np.clip(3 * blobs(1, 5) - 1, 0, None), "O": np.clip(3 * blobs(2, 5) - 1, 0, None)}
ELEMENTS["Ti"][:, : PAD + 8] = 0


def at(field: np.ndarray, moved: np.ndarray, smooth: int = 3) -> np.ndarray:
    """Return a padded map where the samples of a frame lie, displaced by (y, 2)."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    places = [y + moved[:, None, 0] + PAD, x + moved[:, None, 1] + PAD]
    return np.maximum(ndimage.map_coordinates(field, places, order=smooth, mode="nearest"), 0)


def spectra_of(names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the spectrum of the background and of each element, of sum one."""
    found = {"background": (ENERGY / 400.0) ** -3}
    for name in names:
        low, high = LINES[name]
        found[name] = ((low <= ENERGY) & (high > ENERGY)).astype(float)
    return {name: curve / curve.sum() for name, curve in found.items()}


@dataclasses.dataclass
class Series:
    """Frames k with displacement ``moved[k]`` of each line; counts per pixel and frame of image and spectra."""

    frames: int = 12
    image_counts: float = 40.0
    background: float = 4.0
    signal: float = 3.0
    velocity: tuple[float, float] = (0.35, -0.25)
    jitter_px: float = 0.25
    elements: tuple[str, ...] = ("Ti", "O")
    events: bool = False
    energy_step_channels: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        time = np.arange(self.frames)[:, None] + np.arange(SHAPE[0]) / SHAPE[0]
        self.moved = time[..., None] * np.array(self.velocity)
        self.moved += self.jitter_px * rng.standard_normal((self.frames, SHAPE[0], 2))

    def image(self, k: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 1, k])
        return rng.poisson(self.image_counts * at(SCENE, self.moved[k])).astype(np.uint16)

    def rate(self, k: int | None) -> np.ndarray:
        """Return expected spectra of a frame, or of one that lies on the common grid."""
        moved = np.zeros((SHAPE[0], 2)) if k is None else self.moved[k]
        curves = spectra_of(self.elements)
        total = self.background * np.ones(SHAPE)[..., None] * curves["background"]
        for name in self.elements:
            total = total + self.signal * at(ELEMENTS[name], moved, 1)[..., None] * curves[name]
        return total

    def spectra(self, k: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 2, k])
        counts = rng.poisson(self.rate(k)).astype(np.uint16)
        if self.energy_step_channels:  # the spectrum moves down the camera when the axis moves up
            counts = np.roll(counts, -self.energy_step_channels * k, axis=2)
        return counts

    def take(self, request: multiframe.FrameRequest) -> dict[str, Any]:
        return {"adf": self.image(request.number), "spectra": self.spectra(request.number)}

    def plan(self, **settings: Any) -> multiframe.SeriesPlan:
        values = {"current_pa": 10.0, "dwell_s": 1e-5, "frames": self.frames} | settings
        if self.energy_step_channels:
            values["energy_step_ev"] = 5.0 * self.energy_step_channels
        axes = (io.Axis("y", SHAPE[0], 0.1, unit="nm"), io.Axis("x", SHAPE[1], 0.1, unit="nm"))
        energy = io.Axis("energy", CHANNELS, 5.0, 400.0, "eV")
        kind = "events" if self.events else "dense"
        signals = {
            "adf": io.SeriesSignal(SHAPE, np.uint16, axes=axes),
            "spectra": io.SeriesSignal((*SHAPE, CHANNELS), np.uint16, axes=(*axes, energy), kind=kind),
        }
        return multiframe.SeriesPlan(multiframe.Region(SHAPE, 0.1), multiframe.SeriesSettings(**values), signals)

    def maps(self) -> tuple[multiframe.ElementMap, ...]:
        backgrounds = {"Ti": (400.0, 450.0), "O": (520.0, 600.0)}
        return tuple(multiframe.ElementMap(name, LINES[name], backgrounds[name]) for name in self.elements)


def run(
    series: Series, folder: multiframe.RegionFolder, live: multiframe.LiveSeries | None = None
) -> multiframe.SeriesResult:
    """Acquire the series into a folder."""
    return multiframe.acquire_series(series.plan(), folder, series.take, on_frame=live)
