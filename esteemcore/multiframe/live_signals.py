"""A series with several signals of spectra while it is recorded: each of them summed and mapped, judged together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from esteemcore import register
from esteemcore._core.errors import ParameterError
from esteemcore.multiframe.acquire import AcquiredFrame
from esteemcore.multiframe.live_series import LiveSeries
from esteemcore.multiframe.live_state import LiveState
from esteemcore.multiframe.maps import ElementMap
from esteemcore.multiframe.plan import SeriesPlan
from esteemcore.multiframe.stop_conditions import StopConditions


class LiveSignals:
    """A `LiveSeries` for each signal of spectra, seen as one: EELS and X-rays of the same scan.

    Frames are placed by the same image, so that all sums lie on the same grid. The state has the maps of all signals;
    drift, mean, reasons, counts and components are those of the first one. Conditions are asked of all of them
    together.

    Parameters
    ----------
    plan : SeriesPlan
        Of the series.
    image : str
        Signal that frames are registered by.
    spectra : sequence of str
        Signals of spectra; empty for images only.
    maps : mapping of str to sequence of ElementMap, optional
        What is mapped in each signal, see `maps_by_signal`; no name twice.
    stop : StopConditions, optional
        When it is enough.
    components : bool
        Count components in the first signal, see `LiveSeries`.
    background, forming : bool
        See `LiveSeries`.

    Attributes
    ----------
    series : dict of str to LiveSeries
        By signal; that of images only is called by the image.

    Raises
    ------
    ParameterError
        If maps of two signals have the same name, or as of `LiveSeries`.
    CalibrationError
        As of `LiveSeries`.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import io, multiframe
    >>> region = multiframe.Region((32, 32), 0.1)
    >>> settings = multiframe.SeriesSettings(current_pa=10, dwell_s=1e-5, frames=3)
    >>> ev, kev = io.Axis("energy", 64, 10.0, 300.0, "eV"), io.Axis("energy", 64, 0.1, 0.0, "keV")
    >>> yx = (io.Axis("y", 32, 0.1, 0.0, "nm"), io.Axis("x", 32, 0.1, 0.0, "nm"))
    >>> signals = {
    ...     "adf": io.SeriesSignal((32, 32), np.float32),
    ...     "EELS": io.SeriesSignal((32, 32, 64), np.float32, (*yx, ev)),
    ...     "EDS": io.SeriesSignal((32, 32, 64), np.uint16, (*yx, kev), kind="events"),
    ... }
    >>> plan = multiframe.SeriesPlan(region, settings, signals)
    >>> maps = {"EELS": [multiframe.ElementMap("Ti", (455, 475))], "EDS": [multiframe.ElementMap("TiK", (4400, 4600))]}
    >>> live = multiframe.LiveSignals(plan, "adf", ["EELS", "EDS"], maps)
    >>> live.state.frames, list(live.series)
    (0, ['EELS', 'EDS'])
    """

    def __init__(
        self,
        plan: SeriesPlan,
        image: str,
        spectra: Sequence[str] = (),
        maps: Mapping[str, Sequence[ElementMap]] | None = None,
        stop: StopConditions | None = None,
        components: bool = True,
        *,
        background: bool = True,
        forming: bool = False,
    ) -> None:
        wanted, stop = dict(maps or {}), stop or StopConditions()
        unknown = [name for name in wanted if name not in spectra]
        if unknown:
            raise ParameterError(f"maps are asked of {', '.join(unknown)}, but the spectra are {', '.join(spectra)}")
        names = [element.name for elements in wanted.values() for element in elements]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ParameterError(f"{' and '.join(twice)} is mapped in two signals; give each map a name of its own")
        stop.check_names(names)
        if stop.components is not None and not (spectra and components):
            raise ParameterError("a number of components is asked for, but none are counted; name the spectra")
        self.plan, self.image, self.spectra, self.stop = plan, image, tuple(spectra), stop
        self.maps = {name: tuple(elements) for name, elements in wanted.items()}
        self._goals = dataclasses.replace(stop, total_dose=None, drift_nm=None)
        limits = dataclasses.replace(stop, snr={}, components=None)
        self.series = {
            name or image: LiveSeries(
                plan,
                image,
                name,
                maps=self.maps.get(name or "", ()),
                stop=None if number else limits,
                components=components and not number,
                background=background,
                forming=forming and not number,
            )
            for number, name in enumerate(self.spectra or (None,))
        }
        self._state = self._merged()

    @property
    def model(self) -> str:
        """How frames are placed, see `LiveSeries`."""
        return self._first.model

    @property
    def state(self) -> LiveState:
        """What is known so far; may be read from any thread, at any time."""
        return self._state

    @property
    def lag(self) -> int:
        """Frames that wait to be seen: none, see `LiveSeries.lag`."""
        return 0

    def __call__(self, frame: AcquiredFrame) -> str | None:
        """Take a frame over; return why the series has enough, or None.

        A signal whose analysis fails ends its own only; the error is raised when the others have had the frame.

        Parameters
        ----------
        frame : AcquiredFrame
        """
        failed: list[Exception] = []
        for live in self.series.values():
            try:
                live(frame)
            except Exception as error:
                failed.append(error)
        self._state = self._merged()
        if failed:
            raise failed[0]
        return self._state.enough or None

    def finish(self) -> LiveState:
        """Wait for what is counted in the background, see `LiveSeries.finish`; return the state."""
        for live in self.series.values():
            live.finish()
        self._state = self._merged()
        return self._state

    def results(self) -> dict[str, register.Accumulated]:
        """Return the sums of the spectra so far, by signal, as copies."""
        found = {name: live.result() for name, live in self.series.items()}
        return {name: total for name, total in found.items() if total is not None}

    def counts_per_electron(self) -> dict[str, float]:
        """Return the net counts of each map for each incident electron, see `LiveSeries.counts_per_electron`."""
        return {name: n for live in self.series.values() for name, n in live.counts_per_electron().items()}

    @property
    def _first(self) -> LiveSeries:
        return next(iter(self.series.values()))

    def _merged(self) -> LiveState:
        states = [live.state for live in self.series.values()]
        first = states[0]
        maps = {name: found for state in states for name, found in state.maps.items()}
        error = next((state.error for state in states if state.error), "")
        goals = None
        if first.frames and not error:
            goals = self._goals.reached(
                snr={name: found.snr for name, found in maps.items()},
                components=first.components[-1].sure if first.components else None,
            )
        seconds = np.sum([state.seconds for state in states], axis=0)
        seconds.setflags(write=False)
        return dataclasses.replace(
            first,
            maps=maps,
            snr={name: curve for state in states for name, curve in state.snr.items()},
            seconds=seconds,
            enough=first.enough or goals or "",
            error=error,
        )
