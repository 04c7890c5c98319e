"""The sums of a series and how they grow: spectra, image, maps and components against dose, live and offline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore import register, spectral
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore.events import SparseSI
from esteemcore.multiframe.live_state import ComponentCount, FormingComponents
from esteemcore.multiframe.maps import ElementMap, MeasuredMap, measure_maps

LOOK_STEP = 1.15
"""The dose grows by this factor from one look at the components to the next; 1.15 is 14 looks per decade or so."""
LOOK_BYTES = 2**28
"""Sums up to this size are looked at with every frame, larger ones at the steps of `LOOK_STEP`."""


MOST = 12
"""Components that are looked for."""


class RunningSums:
    """Add frames to the sums, and look at them when the dose has grown.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a frame.
    channels : int or None
        Of the spectra; None without spectra.
    energy_ev : ndarray, shape (channels,), or None
        Energy of each channel.
    maps : sequence of ElementMap
    upsample : int
    variance : bool or str
        See `esteemcore.register.Accumulator`.
    components : bool
        Whether components are counted.
    drop_px : float
        See `esteemcore.register.Accumulator`.
    forming : bool
        Whether the components are shown besides; this needs ``components``.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        channels: int | None,
        energy_ev: NDArray[np.float64] | None = None,
        maps: Sequence[ElementMap] = (),
        upsample: int = 1,
        variance: bool | str = True,
        components: bool = True,
        drop_px: float = 1.0,
        forming: bool = False,
    ) -> None:
        self.shape, self.channels, self.energy_ev, self.maps = shape, channels, energy_ev, tuple(maps)
        self._settings = {"upsample": upsample, "drop_px": drop_px}
        self._variance, self._components, self._forming = variance, components, forming
        self._seen = _channels_of(self.maps, energy_ev)
        self.begin()

    def begin(self) -> None:
        """Forget all frames."""
        self.image = register.Accumulator(self.shape, None, variance=False, **self._settings)  # type: ignore[arg-type]
        self._weights = register.Accumulator(self.shape, None, variance="counting", **self._settings)  # type: ignore[arg-type]
        self.spectra: register.Accumulator | None = None
        self.meter: spectral.ComponentMeter | None = None
        if self.channels is not None:
            self.spectra = register.Accumulator(
                self.shape, self.channels, variance=self._variance, **self._settings  # type: ignore[arg-type]
            )  # fmt: skip
            if self._components:
                self.meter = spectral.ComponentMeter(self.shape, self.channels, keep_channels=self._forming)
        self.dose, self.frames = 0.0, 0
        self.per_sample: dict[str, float] = {}
        self.found: dict[str, MeasuredMap] = {}
        self.snr: dict[str, list[tuple[float, float]]] = {element.name: [] for element in self.maps}
        self.counted: list[ComponentCount] = []

    @property
    def bytes(self) -> int:
        """What the sum of spectra takes in memory."""
        upsample = int(self._settings["upsample"])
        return math.prod(self.shape) * upsample**2 * (self.channels or 0) * 8 * (2 if self._variance else 1)

    def add(
        self,
        image: NDArray[Any],
        spectra: Any,
        field: ArrayLike,
        dose: float,
        energy_shift_channels: float = 0.0,
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add a frame whose place is sure; it must be finite where ``mask`` is True."""
        self.image.add(image if mask is None else np.where(mask, image, 0), field, mask=mask)
        if self.maps:
            self._weights.add(np.ones(self.shape, np.uint8), field)
        if self.spectra is not None:
            self.spectra.add(spectra, field, energy_shift_channels=energy_shift_channels)
        if self.meter is not None:
            shift = np.mean(np.asarray(field, np.float64).reshape(-1, 2), axis=0)
            self.meter.add(spectra, shift, energy_shift_channels)
        self.frames += 1
        self.dose += dose

    def look(self, last: bool = False) -> None:
        """Measure the maps where the dose has grown enough, or whatever the growth if it is the ``last`` time."""
        if self.spectra is None or not self.frames or not self.maps:
            return
        before = max((rows[-1][0] for rows in self.snr.values() if rows), default=0.0)
        step = LOOK_STEP if self.bytes > LOOK_BYTES else 1.0
        if self.dose > before and (last or self.dose >= step * before):
            self.measure(self.spectra.result(self._seen))

    def count_due(self, last: bool = False) -> bool:
        """Return whether the dose has grown enough to count the components again."""
        before = self.counted[-1].dose if self.counted else 0.0
        return self.meter is not None and self.dose > before and (last or self.dose >= LOOK_STEP * before)

    def count(self) -> ComponentCount:
        """Return how many components there are now; the caller appends it to ``counted``."""
        if self.meter is None:
            raise ParameterError("components are not counted; there are no spectra")
        rank = self.meter.rank(MOST)
        return ComponentCount(self.dose, self.frames, rank.n, rank.reason, rank.at_least)

    def form(self, count: ComponentCount, before: FormingComponents | None) -> FormingComponents | None:
        """Return the components that are surely there, in the order of those of before.

        None where there are less than two, or as many as were looked for, which may be any number.
        """
        if self.meter is None or not self._forming or count.sure < 2 or (count.n is None and count.sure >= MOST):
            return None
        found = self.meter.components(count.sure, None if before is None else before.spectra)
        if found.note:
            return None
        for array in (found.spectra, found.abundances):
            array.setflags(write=False)
        return FormingComponents(count.dose, count.frames, found.spectra, found.abundances, self.meter.bins[0])

    def measure(self, total: register.Accumulated, region: NDArray[np.bool_] | None = None) -> None:
        """Measure the maps in a sum of all frames so far, of all channels or of those that the maps need."""
        if self.energy_ev is None or not self.maps:
            return
        is_whole = total.data.shape[2] == self.energy_ev.size
        energies = self.energy_ev if is_whole else self.energy_ev[self._seen]
        weights = self._weights.result()
        sharing = float(cast(NDArray[Any], weights.variance).sum()) / float(weights.data.sum())
        self.found = measure_maps(self.maps, total, energies, region, sharing)
        covered = weights.data > 0.5 * weights.data.max()
        per_sample = {}
        for name, measured in self.found.items():
            net = float(np.sum(measured.data[covered], dtype=np.float64))
            per_sample[name] = net / float(weights.data[covered].sum())
            rows = self.snr[name]
            if rows and rows[-1][0] == self.dose:
                rows.pop()
            rows.append((self.dose, measured.snr))
        self.per_sample = per_sample

    def tables(self) -> dict[str, NDArray[np.float64]]:
        """Return SNR against dose, rows (dose, SNR), by the names of the maps."""
        return {name: np.array(rows, np.float64).reshape(-1, 2) for name, rows in self.snr.items()}


def _channels_of(maps: Sequence[ElementMap], energy_ev: NDArray[np.float64] | None) -> slice:
    """Return the channels that maps need, with one more at each end."""
    if energy_ev is None or not maps:
        return slice(None)
    windows = [np.ravel(window) for element in maps for window in (element.window_ev, element.background_ev) if window]
    low, high = (float(end) for end in (min(w.min() for w in windows), max(w.max() for w in windows)))
    first, last = np.searchsorted(energy_ev, [low, high])
    return slice(max(int(first) - 1, 0), min(int(last) + 1, energy_ev.size))


def unusable(spectra: Any) -> str:
    """Return why spectra of a frame cannot be summed, or nothing."""
    if isinstance(spectra, SparseSI) or np.dtype(spectra.dtype).kind != "f":
        return ""
    for low in range(0, spectra.shape[0], 16):
        if not np.isfinite(np.asarray(spectra[low : low + 16]).sum(dtype=np.float64)):
            return "its spectra hold values that are not finite"
    return ""


def energy_of(energy_ev: Any, channels: int) -> NDArray[np.float64]:
    """Return the energy of each channel from (offset, dispersion) in eV, or from a list of energies."""
    given = np.asarray(energy_ev, np.float64)
    if given.shape == (2,) and channels != 2:
        offset, dispersion = (float(value) for value in given)
        given = offset + dispersion * np.arange(channels)
    if given.shape != (channels,) or not np.isfinite(given).all() or (np.diff(given) <= 0).any():
        raise CalibrationError(
            f"the energy axis has shape {given.shape}; expected (offset, dispersion) in eV, the dispersion above zero, "
            f"or {channels} rising energies"
        )
    return given


def channels_from_ev(offset_ev: float, energy_ev: NDArray[np.float64] | None) -> float:
    """Return an offset in channels; the offset is what must be added to the energy axis of the frame."""
    if not offset_ev:
        return 0.0
    if energy_ev is None or energy_ev.size < 2:
        raise CalibrationError("the spectra are stepped along the energy, but their dispersion is not known; give it")
    return offset_ev / float((energy_ev[-1] - energy_ev[0]) / (energy_ev.size - 1))
