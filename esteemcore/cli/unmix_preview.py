"""What an unmixing would begin with: how many components there are and why, and a rough look at them."""

from __future__ import annotations

import dataclasses
import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from esteemcore import spectral
from esteemcore._core.progress import ProgressFunction
from esteemcore.cli import unmix_number
from esteemcore.cli.pictures import BACKGROUND, curve
from esteemcore.io import Axis

PIXELS = 4096
"""Pixels that are unmixed for a rough look, evenly over the image."""

COUNTED = 0.7
"""Part of the progress that counting is."""

SHOWN = 3
"""Spectra in the picture."""

SIZE = (250, 190)
"""Of one plot in it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Preview:
    """A look before an unmixing.

    Attributes
    ----------
    rank : Rank
    rough : Unmixing or None
        Of some of the pixels, by the method that suits the data; None where the number of components is not known.
    axis : Axis
        Of the energy.
    """

    rank: spectral.Rank
    rough: spectral.Unmixing | None
    axis: Axis

    @property
    def words(self) -> str:
        """How many components there are, and why."""
        rank = self.rank
        if rank.n is None:
            return f"Components: {rank.reason}." + (f" {rank.at_least} at least." if rank.at_least else "")
        return f"{rank.n} component{'s' * (rank.n != 1)}: {rank.reason}."

    def picture(self) -> Image.Image:
        """Return the scree and, beside and below it, the spectra of the first components."""
        plots = [self._scree(), *self._spectra()]
        whole = Image.new("RGB", (2 * SIZE[0], 2 * SIZE[1]), BACKGROUND)
        for number, plot in enumerate(plots):
            whole.paste(plot, (SIZE[0] * (number % 2), SIZE[1] * (number // 2)))
        return whole

    def _scree(self) -> Image.Image:
        rank = self.rank
        n = min(len(rank.curve), len(rank.noise_curve), 20)
        data, noise = (np.log10(np.where(c[:n] > 0, c[:n], np.nan)) for c in (rank.curve, rank.noise_curve))
        label = "component; orange: noise"
        return curve(
            np.arange(1, n + 1), data, x_label=label, y_label="log10 of variance", size=SIZE, beside=noise
        )  # fmt: skip

    def _spectra(self) -> list[Image.Image]:
        if self.rough is None:
            return []
        energy = f"energy / {self.axis.unit}" if self.axis.unit else "channel"
        spectra, n = self.rough.spectra[:SHOWN], len(self.rough.spectra)
        return [
            curve(
                self.axis.coordinates, 1e3 * spectrum, x_label=energy, y_label=f"component {k + 1} of {n}, per 1000",
                size=SIZE,
            )
            for k, spectrum in enumerate(spectra)
        ]  # fmt: skip


def preview(
    data: Any,
    axis: Axis,
    *,
    components: int = 0,
    mask: NDArray[np.bool_] | None = None,
    noise: str = "auto",
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    seed: int = 0,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> Preview:
    """Count the components of a spectrum image, and unmix some of its pixels with as many, or with a given number.

    Parameters
    ----------
    data : array_like, lazy array or SparseSI, shape (y, x, energy)
    axis : Axis
        Of the energy.
    components : int
        0: as many as there are.
    mask, noise, gain, readout_sigma, seed
        See `esteemcore.spectral.unmix`.
    progress, cancel
        Called with the fraction done; stops the work when set.

    Returns
    -------
    Preview
    """
    told: dict[str, Any] = {"noise": noise, "gain": gain, "readout_sigma": readout_sigma, "seed": seed}
    told["cancel"] = cancel

    def part(start: float, stop: float) -> ProgressFunction | None:
        return None if progress is None else lambda done: progress(start + (stop - start) * done)

    rank = spectral.estimate_rank(data, mask=mask, progress=part(0.0, COUNTED), **told)
    n = components or unmix_number.number_of(rank)
    some = _some(data.shape[:2], mask)
    rough = spectral.unmix(data, n, mask=some, progress=part(COUNTED, 1.0), **told) if n else None
    if progress is not None:
        progress(1.0)
    return Preview(rank, rough, axis)


def _some(shape: tuple[int, ...], mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return about `PIXELS` of the pixels that take part, as a coarse grid of them."""
    inside = np.ones(shape, np.bool_) if mask is None else mask
    step = max(1, round(math.sqrt(inside.sum() / PIXELS)))
    grid = np.zeros(shape, np.bool_)
    grid[::step, ::step] = True
    return inside & grid if (inside & grid).any() else inside
