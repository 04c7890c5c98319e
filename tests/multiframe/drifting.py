"""A drifting specimen with two phases, seen by an image and by spectra, with its truth."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from esteemcore import events, io, multiframe

SHAPE, CHANNELS, MARGIN = (48, 48), 120, 16
ENERGY = 400.0 + 2.0 * np.arange(CHANNELS)
LINE = multiframe.ElementMap("Mn", (520, 560), ((440, 510), (570, 620)), "linear")


class Specimen:
    """Blobs of one phase in another one, moved from frame to frame."""

    def __init__(self, counts=2.0, drift_px=(0.35, -0.2), seed=0, kind="dense", step_ev=0.0):
        rng = np.random.default_rng(seed)
        size = tuple(n + 2 * MARGIN for n in SHAPE)
        blobs = ndimage.gaussian_filter(rng.random(size), 2.5)
        self.share = (blobs - blobs.min()) / np.ptp(blobs)
        self.kind, self.counts, self.drift, self.seed, self.step = kind, counts, np.array(drift_px), seed, step_ev
        line = np.exp(-(((ENERGY - 540) / 8) ** 2))
        self.spectra = np.stack([1 + 0 * line, 1 + 6 * line]) / CHANNELS

    def plan(self, **settings):
        signals = {
            "adf": io.SeriesSignal(SHAPE, np.float32),
            "eds": io.SeriesSignal((*SHAPE, CHANNELS), np.uint16, kind=self.kind),
        }
        values = {"current_pa": 10.0, "dwell_s": 1e-5, "frames": 12, "energy_step_ev": self.step} | settings
        return multiframe.SeriesPlan(multiframe.Region(SHAPE, 0.1), multiframe.SeriesSettings(**values), signals)

    def seen(self, number):
        """Share of the second phase where the samples of a frame were taken."""
        y, x = np.indices(SHAPE, float) + MARGIN
        dy, dx = self.drift * number
        return ndimage.map_coordinates(self.share, [y + dy, x + dx], order=1)

    def take(self, request):
        rng = np.random.default_rng((self.seed, request.number))
        share = self.seen(request.number)
        rate = self.counts * (np.stack([1 - share, share], axis=-1) @ self.spectra)
        moved = -round(request.energy_offset_ev / 2.0)  # the offset is what is added to the axis of the frame
        counts = rng.poisson(np.roll(rate, moved, axis=2)).astype(np.uint16)
        adf = rng.poisson(40 * (0.2 + share)).astype(np.float32)
        turns = -request.order.quarter_turns
        spectra = events.SparseSI.from_dense(counts) if self.kind == "events" else np.rot90(counts, turns)
        return {"adf": np.rot90(adf, turns), "eds": spectra}
