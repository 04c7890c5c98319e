"""What the panel shows while frames come in: the aligned mean, the drift, maps, and whether it is enough."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nion.data import Calibration, DataAndMetadata
from nion.swift.model import DataItem
from nion.utils import Model

from esteemcore import multiframe, register
from esteemcore.errors import EsteemError, ParameterError
from nionswift_plugin.esteem_multiframe import live_components, live_curves, survey
from nionswift_plugin.esteem_multiframe.pace import Pace
from nionswift_plugin.esteem_multiframe.ranges import Kept
from nionswift_plugin.esteem_scan import binding
from nionswift_plugin.esteem_scan.event_loop import UserInterfaceCalls
from nionswift_plugin.esteem_scan.words import sentence

SUM_BYTES = 2**28
"""Sums of spectra up to this size become data items at the end; larger ones are for ``esteem multiframe``."""
_NUMBERS = ("snr", "components", "total_dose", "drift_nm")


class LiveResults:
    """Live results of a series, and the data items that show them.

    Parameters
    ----------
    document_controller
        Nion's window.
    calls : UserInterfaceCalls
        How threads reach it.
    say : callable, optional
        Called with a number that was not taken, in words.

    Attributes
    ----------
    is_on : PropertyModel
        Whether frames are looked at.
    follows_drift : PropertyModel
        Whether the scan follows the specimen.
    maps : PropertyModel
        Element maps as typed, see `esteemcore.multiframe.maps_by_signal`.
    snr, components, total_dose, drift_nm : PropertyModel
        When the series has enough; 0: never for this reason.
    text : PropertyModel
        Where the series stands.
    pace : PropertyModel
        How fast frames come, are written and are looked at.
    items : dict of str to DataItem
        By what they show.
    """

    def __init__(
        self, document_controller: Any, calls: UserInterfaceCalls, say: Callable[[str], None] = lambda words: None
    ) -> None:
        self._window, self._calls = document_controller, calls
        self.is_on = Model.PropertyModel(True)
        self.follows_drift = Model.PropertyModel(False)
        self.maps = Model.PropertyModel("")
        self.snr = Model.PropertyModel(0.0)
        self.components = Model.PropertyModel(0)
        self.total_dose = Model.PropertyModel(0.0)
        self.drift_nm = Model.PropertyModel(0.0)
        for name in _NUMBERS:
            Kept(name, getattr(self, name), calls, say)
        self.text = Model.PropertyModel("")
        self.pace = Model.PropertyModel("")
        self.items: dict[str, DataItem.DataItem] = {}
        self._make: Callable[[], multiframe.LiveSignals] | None = None
        self._series: multiframe.LiveFollower | None = None
        self._live: multiframe.LiveSignals | None = None
        self._where: multiframe.DriftCompensation | None = None
        self._region: multiframe.Region | None = None
        self._pace = Pace()
        self._totals: dict[str, register.Accumulated] = {}
        self._formed: multiframe.FormingComponents | None = None

    @property
    def state(self) -> multiframe.LiveState | None:
        """Of the present area; None before the first frame."""
        return None if self._series is None else self._series.state

    @property
    def lag(self) -> int:
        """Frames that are stored and not looked at yet."""
        return 0 if self._series is None else self._series.lag

    def begin(self, plan: multiframe.SeriesPlan, image: str, spectra: Sequence[str]) -> None:
        """Get ready for a series; a region that is continued goes on where it was.

        Parameters
        ----------
        plan : SeriesPlan
        image : str
            Signal that frames are placed by.
        spectra : sequence of str
            Signals that are summed.

        Raises
        ------
        ParameterError
            If what was typed makes no sense; in words.
        """
        self._make, self.text.value = None, ""
        if not self.is_on.value:
            self._follow(None)
            if self.follows_drift.value:
                raise ParameterError("the scan can follow the drift only if each frame is placed; tick both or neither")
            return
        typed = {name: getattr(self, name).value for name in _NUMBERS}
        maps = multiframe.maps_by_signal(self.maps.value or "", {name: plan.signals[name] for name in spectra})
        names = [element.name for elements in maps.values() for element in elements]
        stop = multiframe.StopConditions(
            snr=dict.fromkeys(names, typed["snr"]) if typed["snr"] else {},
            components=typed["components"] or None,
            total_dose=typed["total_dose"] or None,
            drift_nm=typed["drift_nm"] or None,
        )
        if typed["snr"] and not names:
            raise ParameterError("a signal-to-noise ratio is asked for, but no map; type one, as in Ti:455-475:380-450")

        def make() -> multiframe.LiveSignals:
            return multiframe.LiveSignals(plan, image, spectra, maps, stop, forming=True)

        try:
            first = make()
        except EsteemError as error:
            if names or any(typed.values()) or self.follows_drift.value:
                raise
            self.text.value = f"No live results: {sentence(error)}"
            self._follow(None)
            return
        before = self._live
        same = before is not None and not before.state.error and _is_same(before, first)
        self._make = make
        if not same:
            self._follow(first)
            self._region, self._where = None, None
        if not self.follows_drift.value:
            self._where = None

    def __call__(self, frame: multiframe.AcquiredFrame) -> str | None:
        """Hand a frame over, in the thread of the run; return why the series has enough, or nothing."""
        self._pace.add(frame)
        words = self._pace.summary(self.lag)
        self._calls.newest("live pace", lambda: self._show_pace(words))
        if self._make is None or self._series is None:
            return None
        return self._series(frame)

    def where(self, area: multiframe.Region) -> multiframe.DriftCompensation | None:
        """Get ready for the frames of an area; return what moves them along with the specimen, if it is wished."""
        self._pace = Pace()
        if self._make is None or self._series is None:
            return None
        if self._region is not None and area != self._region:
            self._follow(self._make())  # the next area
            self._where = None
        self._region = area
        if self.follows_drift.value and self._where is None:
            self._where = multiframe.DriftCompensation(self._series)
        return self._where

    def finish(self, cancel: threading.Event) -> str:
        """Wait until all frames are looked at, in the thread of the run; return what went wrong, in words."""
        self._totals = {}
        live = self._live
        if self._make is None or self._series is None or live is None:
            return ""
        error = self._series.finish(cancel).error
        size = sum(8 * math.prod(live.plan.signals[name].shape) for name in live.spectra)
        if 0 < size <= SUM_BYTES and live.state.accepted and not cancel.is_set():
            self._totals = live.results()
        return error

    def end(self) -> None:
        """Show what a series has become."""
        live = self._live
        if self._make is not None and live is not None and self._region is not None:
            self._show(live.state, self._region.pixel_size_nm)
            for name, total in self._totals.items():
                title = "Sum of spectra" if len(live.spectra) == 1 else f"Sum of {name}"
                self._put(title, self._spectra(live, name, total))
        self._totals = {}
        self._show_pace(", ".join(filter(None, (self._pace.summary(self.lag), self._yields()))))

    def _follow(self, live: multiframe.LiveSignals | None) -> None:
        """Begin a new analysis, or none."""
        self._live, self._series = live, None if live is None else multiframe.LiveFollower(live, self._seen)

    def _yields(self) -> str:
        """Return what the maps found for each electron, in the unit in which X-rays to expect are typed."""
        found = {} if self._live is None else self._live.counts_per_electron()
        words = [f"{name} {1e6 * value:.3g}" for name, value in found.items()]
        return f"counts for a million electrons: {', '.join(words)}" if words else ""

    def _seen(self, state: multiframe.LiveState) -> None:
        region = self._region
        if region is not None:
            self._calls.newest("live results", lambda: self._show(state, region.pixel_size_nm))

    @staticmethod
    def _spectra(
        live: multiframe.LiveSignals, name: str, total: register.Accumulated
    ) -> DataAndMetadata.DataAndMetadata:
        """Return the aligned sum, with its energies."""
        step = live.plan.region.pixel_size_nm
        axes = [Calibration.Calibration(-step * n / 2, step, "nm") for n in total.data.shape[:2]]
        known = live.plan.signals[name].axes
        if known is not None:
            axes.append(Calibration.Calibration(known[-1].offset, known[-1].scale, known[-1].unit))
        entry = {
            "signal": name,
            "frames": live.state.frames,
            "accepted": live.state.accepted,
            "dose_e_per_A2": live.state.summed_dose,
        }
        return DataAndMetadata.new_data_and_metadata(
            total.data.astype(np.float32),
            intensity_calibration=Calibration.Calibration(0.0, 1.0, "counts"),
            dimensional_calibrations=axes,
            metadata={binding.KEY: entry},
            data_descriptor=DataAndMetadata.DataDescriptor(False, 2, 1),
        )

    def _show_pace(self, words: str) -> None:
        self.pace.value = words

    def _show(self, state: multiframe.LiveState, step_nm: float) -> None:
        self.text.value = state.summary
        if not state.accepted:
            return
        metadata = {binding.KEY: {"frames": state.frames, "accepted": state.accepted, "dose_e_per_A2": state.dose}}
        step = (step_nm, step_nm)
        self._put("Aligned mean", binding.to_xdata(state.mean, step, "counts", metadata))
        self._put("Drift", live_curves.by_frame(state.distance_nm, "nm", metadata))
        if state.components:
            self._put("Components against dose", live_curves.components(state, metadata))
        if state.forming is not None and state.forming is not self._formed and self._live is not None:
            axes = self._live.plan.signals[self._live.spectra[0]].axes
            energy = None if axes is None else axes[-1]
            for title, xdata in live_components.shown(state.forming, energy, step_nm, metadata).items():
                self._put(title, xdata)
            self._formed = state.forming
        for name, found in state.maps.items():
            entry = {**metadata[binding.KEY], "map": name, "snr": found.snr}
            self._put(f"Map {name}", binding.to_xdata(found.data, step, "counts", {binding.KEY: entry}))
            self._put(f"SNR of {name} against dose", live_curves.snr(state, name, {binding.KEY: entry}))

    def _put(self, title: str, xdata: DataAndMetadata.DataAndMetadata) -> None:
        item = self.items.get(title)
        if item is None or item not in self._window.document_model.data_items:
            item = DataItem.new_data_item(xdata)
            item.title = title
            self._window.document_model.append_data_item(item)
            self.items[title] = item
            survey.show_item(self._window, item, replaces=False)
        item.set_data_and_metadata(xdata)


def _is_same(before: multiframe.LiveSignals, now: multiframe.LiveSignals) -> bool:
    """Return whether frames of two plans can be added up: same place, signals and conditions."""
    return (
        before.plan.region == now.plan.region
        and before.plan.figures.dose_per_frame == now.plan.figures.dose_per_frame
        and dict(before.plan.signals) == dict(now.plan.signals)
        and (before.image, before.spectra, before.maps, before.stop, before.model)
        == (now.image, now.spectra, now.maps, now.stop, now.model)
    )
