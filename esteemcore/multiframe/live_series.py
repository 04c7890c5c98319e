"""A series while it is recorded: each frame placed, summed and looked at, until there is enough."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore import register
from esteemcore._core.errors import ParameterError
from esteemcore.events import SparseSI
from esteemcore.multiframe.acquire import AcquiredFrame
from esteemcore.multiframe.live_state import ComponentCount, FormingComponents, LiveState
from esteemcore.multiframe.maps import ElementMap, check_windows, checked_maps
from esteemcore.multiframe.plan import SeriesPlan
from esteemcore.multiframe.stop_conditions import StopConditions
from esteemcore.multiframe.sums import RunningSums, channels_from_ev, energy_of, unusable


class LiveSeries:
    """The live analysis of a series: give it to `acquire_series` as ``on_frame``.

    Each frame is registered against the mean of those before it (rigidly and line by line where frames are scanned row
    by row, rigidly otherwise), added to the sums of image and spectra with its energy offset undone, and thrown away.
    Maps are measured, components counted and the conditions asked. Memory is that of the sums, and of a copy of them
    while maps are measured.

    Parameters
    ----------
    plan : SeriesPlan
        Of the series.
    image : str
        Signal that frames are registered by, a dense image (y, x).
    spectra : str, optional
        Signal of spectra (y, x, energy), dense or events. Default: images only.
    energy_ev : (float, float) or array_like, shape (energy,), optional
        Offset and dispersion in eV, or the energy of each channel. Default: as the plan's signal knows it.
    maps : sequence of ElementMap
        What is mapped.
    stop : StopConditions
        When it is enough.
    upsample : int
        Fine pixels along one side of a pixel, in the sums.
    components : bool
        Count the components that stand above noise, each time that the dose has grown by 15 %.
    variance : bool or {"counting", "between"}
        See `esteemcore.register.accumulate`.
    background : bool
        Count components in a thread of its own, so that the next frame does not wait for it; the number is in the state
        a frame or so later. Otherwise the same frames always give the same states.
    forming : bool
        Show the spectra and maps of the components that are surely there as well, each time that they are counted.

    Raises
    ------
    ParameterError
        If the plan has no such signals, or a condition or map makes no sense.
    CalibrationError
        If maps are asked for and the energy axis is not known.

    Notes
    -----
    What goes wrong in a frame (blank, torn, another area, NaN in its spectra) leaves this frame out, with the reason.
    Any other error ends the analysis, never the series: it is raised once, so that `acquire_series` notes it, and kept
    in `state`. One object serves one area; frames of it from several runs may follow each other.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import io, multiframe
    >>> region = multiframe.Region((32, 32), 0.1)
    >>> settings = multiframe.SeriesSettings(current_pa=10, dwell_s=1e-5, frames=3)
    >>> plan = multiframe.SeriesPlan(region, settings, {"adf": io.SeriesSignal((32, 32), np.float32)})
    >>> live = multiframe.LiveSeries(plan, "adf", stop=multiframe.StopConditions(total_dose=1e4))
    >>> live.state.frames, live.drift_nm.tolist()
    (0, [0.0, 0.0])
    """

    def __init__(
        self,
        plan: SeriesPlan,
        image: str,
        spectra: str | None = None,
        energy_ev: ArrayLike | None = None,
        maps: Sequence[ElementMap] = (),
        stop: StopConditions | None = None,
        upsample: int = 1,
        components: bool = True,
        *,
        variance: bool | str = True,
        background: bool = True,
        forming: bool = False,
    ) -> None:
        self.plan, self.image, self.spectra = plan, image, spectra
        self.maps, self.stop = checked_maps(maps), stop or StopConditions()
        shape = plan.region.shape
        channels = self._channels()
        energies = self._energies(energy_ev, channels)
        if self.maps and spectra is None:
            raise ParameterError("maps need spectra; name their signal")
        self.stop.check_names([element.name for element in self.maps])
        if self.stop.components is not None and (spectra is None or not components):
            raise ParameterError("a number of components is asked for, but none are counted; name the spectra")
        check_windows(self.maps, energies)
        self.model = "scanline" if plan.settings.order in ("raster", "serpentine") else "rigid"
        self._alignment = register.LiveAlignment(shape, self.model)
        self._sums = RunningSums(shape, channels, energies, self.maps, upsample, variance, components, forming=forming)
        self._dose = plan.figures.dose_per_frame
        self._lock = threading.Lock()
        self._reasons: list[str] = []
        self._drift: list[tuple[float, float]] = []
        self._scan, self._away = np.zeros(2), 0.0
        self._quality: list[float] = []
        self._seconds: list[float] = []
        self._counts = 0.0
        self._clock = _Clock()
        self._worker = ThreadPoolExecutor(1, "esteem components") if background and self._sums.meter else None
        self._counting: Future[tuple[ComponentCount, FormingComponents | None]] | None = None
        self._forming: FormingComponents | None = None
        self._state = self._snapshot("", "")

    @property
    def state(self) -> LiveState:
        """What is known so far; may be read from any thread, at any time."""
        return self._state

    @property
    def lag(self) -> int:
        """Frames that wait to be seen: none, each frame waits for its analysis. See `LiveFollower`."""
        return 0

    @property
    def drift_nm(self) -> NDArray[np.float64]:
        """Where the last sure frame would lie if the scan stayed, as seen from the first; see `LiveState.drift_nm`."""
        placed = self._state.drift_nm[np.isfinite(self._state.drift_nm).all(axis=1)]
        return placed[-1].copy() if len(placed) else np.zeros(2)

    def __call__(self, frame: AcquiredFrame) -> str | None:
        """Take a frame over; return why the series has enough, or None.

        Parameters
        ----------
        frame : AcquiredFrame
        """
        with self._lock:
            if self._state.error:
                return self._limits()
            began = time.perf_counter()
            try:
                self._take(frame)
                enough = self._asked()
            except Exception as error:
                self._drop_rest(began)
                self._state = self._snapshot("", str(error) or type(error).__name__)
                raise
            self._seconds.append(time.perf_counter() - began)
            self._state = self._snapshot(enough, "")
            return enough or None

    def result(self) -> register.Accumulated | None:
        """Return the sum of the spectra so far, as a copy; None without spectra.

        Returns
        -------
        Accumulated or None
        """
        with self._lock:
            return None if self._sums.spectra is None else self._sums.spectra.result()

    def counts_per_electron(self) -> dict[str, float]:
        """Return the net counts of each map for each incident electron, as `XrayLine` takes them.

        Where half of the frames are or more, as of the last look; empty before it. Waits for no frame in work.
        """
        electrons = self._dose * (10 * self.plan.region.pixel_size_nm) ** 2
        return {name: counts / electrons for name, counts in self._sums.per_sample.items()}

    def image_result(self) -> register.Accumulated:
        """Return the sum of the images so far, as a copy."""
        with self._lock:
            return self._sums.image.result()

    def _take(self, frame: AcquiredFrame) -> None:
        image = np.asarray(frame.values[self.image])
        spectra = None if self.spectra is None else frame.values[self.spectra]
        scan = np.array(frame.displacement_px)
        self._alignment.moved((scan - self._scan).tolist())
        self._scan = scan
        placed = self._alignment.update(image, time_s=self._clock.time_s(frame))
        reason = placed.reason
        if placed.accepted and spectra is not None:
            reason = unusable(spectra)
        if placed.begins:
            self._begin_again()
        pixel = self.plan.region.pixel_size_nm
        self._quality.append(placed.quality)
        self._reasons.append(reason)
        if reason:
            self._drift.append((np.nan, np.nan))
            return
        drift = (placed.shift - scan) * pixel
        self._drift.append((float(drift[0]), float(drift[1])))
        self._away = float(np.hypot(*placed.shift)) * pixel
        mask = np.isfinite(image)
        shift = 0.0 if spectra is None else channels_from_ev(frame.energy_offset_ev, self._sums.energy_ev)
        self._sums.add(image, spectra, placed.field, self._dose, shift, None if mask.all() else mask)
        if spectra is not None:
            self._counts += _total(spectra)
        self._sums.look()
        self._count()

    def _count(self) -> None:
        """Count components where it is due; take over what the thread has found."""
        if self._counting is not None and self._counting.done():
            self._known(*self._counting.result())
            self._counting = None
        if self._counting is not None or not self._sums.count_due():
            return
        if self._worker is None:
            self._known(*_counted(self._sums, self._forming))
            return
        frozen = copy.copy(self._sums)
        frozen.meter = copy.deepcopy(self._sums.meter)
        self._counting = self._worker.submit(_counted, frozen, self._forming)

    def _known(self, count: ComponentCount, forming: FormingComponents | None) -> None:
        """Take over what a look at the components has found."""
        self._sums.counted.append(count)
        self._forming = forming or self._forming

    def finish(self) -> LiveState:
        """Wait for what is counted in the background, and count once more if frames came since; return the state.

        Returns
        -------
        LiveState
            With the error, if counting or measuring failed.
        """
        with self._lock:
            if self._state.error:
                return self._state
            try:
                counting, self._counting = self._counting, None
                if counting is not None:
                    self._known(*counting.result())
                if self._sums.count_due(last=True):
                    self._known(*_counted(self._sums, self._forming))
                self._sums.look(last=True)
                self._state = self._snapshot(self._asked() if self._reasons else "", "")
            except Exception as error:
                self._state = self._snapshot("", str(error) or type(error).__name__)
            return self._state

    def _begin_again(self) -> None:
        """Forget frames that fit nothing that came after them: what they gave to the sums goes, too."""
        if not self._sums.frames:
            return
        self._sums.begin()
        self._counting = self._forming = None
        self._counts = 0.0
        self._reasons = [reason or "it does not fit the frames that came after it" for reason in self._reasons]
        self._drift = [(np.nan, np.nan)] * len(self._drift)

    def _asked(self) -> str:
        counted = self._sums.counted
        return (
            self.stop.reached(
                snr={name: measured.snr for name, measured in self._sums.found.items()},
                components=counted[-1].sure if counted else None,
                dose=self._dose * len(self._reasons),
                next_dose=self._dose,
                drift_nm=self._away,
            )
            or ""
        )

    def _limits(self) -> str | None:
        """Keep the limit of the dose when the analysis has ended."""
        self._reasons.append("the analysis has ended")
        self._drop_rest(time.perf_counter())
        words = self.stop.reached(dose=self._dose * len(self._reasons), next_dose=self._dose)
        self._state = self._snapshot(words or "", self._state.error)
        return words

    def _drop_rest(self, began: float) -> None:
        """Bring the lists to the same length after an error."""
        n = max(len(self._reasons), len(self._seconds) + 1)
        self._reasons += ["the analysis has ended"] * (n - len(self._reasons))
        self._drift += [(np.nan, np.nan)] * (n - len(self._drift))
        self._quality += [0.0] * (n - len(self._quality))
        self._seconds += [time.perf_counter() - began] * (n - len(self._seconds))

    def _snapshot(self, enough: str, error: str) -> LiveState:
        sums = self._sums
        arrays: dict[str, NDArray[Any]] = {
            "drift_nm": np.array(self._drift, np.float64).reshape(-1, 2),
            "quality": np.array(self._quality, np.float64),
            "mean": self._alignment.mean,
            "seconds": np.array(self._seconds, np.float64),
        }
        tables = sums.tables()
        for array in (*arrays.values(), *tables.values()):
            array.setflags(write=False)
        return LiveState(
            frames=len(self._reasons),
            accepted=sums.frames,
            reasons=tuple(self._reasons),
            dose=self._dose * len(self._reasons),
            summed_dose=sums.dose,
            maps=dict(sums.found),
            snr=tables,
            components=tuple(sums.counted),
            forming=self._forming,
            counts=self._counts,
            enough=enough,
            error=error,
            **arrays,
        )

    def _channels(self) -> int | None:
        signals = self.plan.signals
        there = ", ".join(map(repr, signals)) or "none"
        shape = self.plan.region.shape
        for name, dimensions in ((self.image, 2), (self.spectra, 3)):
            if name is None:
                continue
            if name not in signals:
                raise ParameterError(f"the plan has no signal {name!r}; there are {there}")
            if len(signals[name].shape) != dimensions or tuple(signals[name].shape[:2]) != shape:
                what = "an image (y, x)" if dimensions == 2 else "spectra (y, x, energy)"
                given = tuple(signals[name].shape)
                raise ParameterError(f"{name!r} has shape {given}; expected {what} of {shape[0]} x {shape[1]} pixels")
        return None if self.spectra is None else int(signals[self.spectra].shape[2])

    def _energies(self, energy_ev: ArrayLike | None, channels: int | None) -> NDArray[np.float64] | None:
        if channels is None or self.spectra is None:
            return None
        if energy_ev is not None:
            return energy_of(energy_ev, channels)
        axes = self.plan.signals[self.spectra].axes
        if axes is None or axes[-1].unit not in ("eV", "keV"):
            return None
        return np.asarray(axes[-1].coordinates * (1000.0 if axes[-1].unit == "keV" else 1.0), np.float64)


class _Clock:
    """Times of frames of several runs, one run after the other with a pause of one usual interval."""

    def __init__(self) -> None:
        self._since, self._last, self._interval = 0.0, -math.inf, 1.0

    def time_s(self, frame: AcquiredFrame) -> float:
        """Return when a frame was begun; each run begins at zero again."""
        now = self._since + frame.time_s
        if math.isfinite(self._last):
            if now <= self._last:
                now = self._last + self._interval
                self._since = now - frame.time_s
            elif frame.done > 1:
                self._interval = now - self._last
        self._last = now
        return now


def _counted(sums: RunningSums, before: FormingComponents | None) -> tuple[ComponentCount, FormingComponents | None]:
    """Return how many components there are, and those that are sure."""
    count = sums.count()
    return count, sums.form(count, before)


def _total(spectra: Any) -> float:
    if isinstance(spectra, SparseSI):
        return float(spectra.count.sum(dtype=np.int64))
    return float(np.asarray(spectra).sum(dtype=np.float64))
