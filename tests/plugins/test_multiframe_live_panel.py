"""What the multi-frame panel shows and decides while frames come in."""

from __future__ import annotations

import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from multiframe_bench import Bench, opened, spectrometer

from esteemcore import io, multiframe, scan
from nionswift_plugin.esteem_multiframe import detectors, live_curves

pytestmark = pytest.mark.usefixtures("waiting_for_devices")  # between two frames things are done to the next one


@pytest.fixture
def bench(microscope: Any, tmp_path: Path) -> Iterator[Bench]:
    with opened(microscope, tmp_path / "session") as made:
        made.model.current_pa.value = 2000.0
        microscope.instrument.SetVal("BeamCurrent", 2e-9)
        made.settle()
        yield made


def data(bench: Bench, title: str) -> np.ndarray:
    return np.asarray(bench.handler.live.items[title].xdata.data)


def test_frames_are_placed_and_shown(bench: Bench) -> None:
    assert bench.acquire().startswith("Done: 3 of 3"), bench.handler.message.value
    live = bench.handler.live
    assert (live.state.frames, live.lag) == (3, 0)
    assert live.text.value.startswith(f"{live.state.accepted} of 3 frames in the sum")
    assert live.pace.value.startswith("Writing took")
    assert set(live.items) == {"Aligned mean", "Drift"}
    assert data(bench, "Drift").shape == (3,)
    mean = data(bench, "Aligned mean")
    assert mean.shape == (16, 16)
    metadata = live.items["Aligned mean"].xdata.metadata["esteem"]
    assert (metadata["frames"], metadata["accepted"]) == (3, live.state.accepted)
    bench.acquire()  # the sum goes on
    assert live.state.frames == 6
    bench.handler.new_region_button.on_clicked()
    bench.model.width_nm.value = 1.2
    bench.acquire()  # another one begins
    assert live.state.frames == 3
    live.is_on.value = False
    bench.acquire()
    assert live.state is None


def test_maps_snr_and_components_are_shown_against_dose(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    axis = io.Axis("energy", 256, 2.0, 100.0, "eV")  # which the spectra of a one-bit camera have not
    monkeypatch.setattr(detectors.Detector, "energy", property(lambda self: axis if self.kind == "spectra" else None))
    with spectrometer(bench):
        bench.choose("HAADF", "EELS")
        bench.model.dwell_us.value, bench.model.frames.value = 80.0, 3
        bench.model.current_pa.value = 100.0
        bench.microscope.instrument.SetVal("BeamCurrent", 1e-10)
        energy = bench.model.chosen[1].energy
        low, high = 300, 420
        live = bench.handler.live
        live.maps.value = f"Disk:{low:g}-{high:g}"
        live.snr.value = 1e6
        bench.settle()
        assert bench.acquire().startswith("Done: 3 of 3"), bench.handler.message.value
        state = live.state
        assert state.accepted == 3
        stored = np.stack([bench.region.frame(k)["EELS"] for k in range(3)])
        inside = (energy.coordinates >= low) & (energy.coordinates < high)
        # bilinear sums keep counts; what lies outside of the common grid is little
        assert data(bench, "Map Disk").sum() == pytest.approx(stored[..., inside].sum(), rel=0.05)
        curve = live.items["SNR of Disk against dose"].xdata
        axis = curve.dimensional_calibrations[0]
        assert axis.units == "e/Å²"
        assert axis.scale * (len(curve.data) - 1) == pytest.approx(state.summed_dose)
        assert curve.data[-1] == pytest.approx(state.maps["Disk"].snr)
        electrons = 3 * scan.charge_e(100.0, 80e-6) * 256  # of the dwells
        per_million = 1e6 * stored[..., inside].sum() / electrons
        assert float(live.pace.value.split("electrons: Disk ")[1]) == pytest.approx(per_million, rel=0.08)
        counts = live.items["Components against dose"].xdata
        assert counts.data[-1] == state.components[-1].sure
        assert counts.intensity_calibration.units == "components"
        forming = state.forming
        assert forming.frames == 3
        np.testing.assert_array_equal(data(bench, "Spectra of components"), forming.spectra.astype(np.float32))
        np.testing.assert_array_equal(data(bench, "Maps of components"), forming.abundances.astype(np.float32))
        spectra, maps = (live.items[f"{what} of components"].xdata for what in ("Spectra", "Maps"))
        assert spectra.is_sequence
        assert maps.is_sequence
        assert spectra.dimensional_calibrations[1].units == "eV"
        assert spectra.dimensional_calibrations[1].convert_to_calibrated_value(5) == energy.coordinates[5]
        assert [one.units for one in maps.dimensional_calibrations[1:]] == ["nm", "nm"]
        assert maps.dimensional_calibrations[1].scale * maps.data_shape[1] == pytest.approx(1.6)
        assert maps.metadata["esteem"]["components"] == len(forming.spectra) == state.components[-1].sure


def test_drift_tube_steps_are_undone_in_the_sum(bench: Bench) -> None:
    """With the simulated spectrometer: the zero-loss peak of each frame moves on the camera, in the sum it stays."""
    instrument, eels = bench.microscope.instrument, bench.microscope.configuration.eels
    eels.is_paced = False
    instrument.SetVal("BeamCurrent", 2e-10)
    bench.choose("HAADF", "Esteem EELS Camera")
    bench.model.dwell_us.value, bench.model.frames.value = 500.0, 3
    bench.model.energy_step_ev.value = 8.0
    bench.settle()
    assert bench.acquire().startswith("Done: 3 of 3"), bench.handler.message.value
    dataset, key = io.load(bench.region.parts[0][1]), "Esteem_EELS_Camera"
    energies = dataset.signals[key].axes[-1].coordinates
    frames = np.stack([bench.region.frame(k)[key].sum(axis=(0, 1)) for k in range(3)])
    peaks = energies[frames.argmax(axis=1)]
    assert np.abs(peaks + dataset.series.energy_offset_ev).max() <= 1.0
    assert bench.handler.live.state.accepted == 3
    total = bench.handler.live._live.results()[key]
    assert abs(energies[total.data.sum(axis=(0, 1)).argmax()]) <= 1.0
    shown = bench.handler.live.items["Sum of spectra"].xdata
    assert np.array_equal(shown.data, total.data.astype(np.float32))
    assert [axis.units for axis in shown.dimensional_calibrations] == ["nm", "nm", "eV"]
    assert shown.dimensional_calibrations[2].convert_to_calibrated_value(3) == pytest.approx(energies[3])
    assert shown.is_collection
    assert shown.datum_dimension_count == 1


def test_enough_by_dose_and_by_what_is_typed(bench: Bench) -> None:
    live = bench.handler.live
    bench.model.frames.value = 30
    live.total_dose.value = 4.5 * bench.model.plan.figures.dose_per_frame
    message = bench.acquire()
    assert message.startswith("the next frame would exceed the dose"), message
    assert bench.region.count == 4
    live.total_dose.value = 0.0
    for name, value, words in (
        ("snr", 3.0, "but no map; type one"),
        ("components", 2, "name the spectra"),
        ("maps", "Ti", "is no map"),
        ("maps", "Ti:455-475", "maps need spectra"),
    ):
        model = getattr(live, name)
        before, model.value = model.value, value
        message = bench.acquire()
        assert message.startswith("Not started"), message
        assert words in message
        model.value = before
    assert bench.region.count == 4


def test_a_slow_analysis_holds_no_frame_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    slow = multiframe.LiveSeries._take
    monkeypatch.setattr(multiframe.LiveSeries, "_take", lambda self, frame: (gate.wait(60), slow(self, frame))[1])
    bench.model.frames.value = 5
    bench.handler.acquire_button.on_clicked()
    bench.until(lambda: bench.handler.live.lag == 5)
    assert bench.handler.region.count == 5
    bench.until(lambda: "frames wait for the live results" in bench.handler.live.pace.value)
    bench.until(lambda: bench.microscope.instrument.is_blanked)
    assert bench.handler.is_busy
    gate.set()
    bench.settle()
    assert bench.handler.message.value.startswith("Done: 5 of 5")
    assert bench.handler.live.state.frames == 5


def test_abort_does_not_wait_for_the_analysis(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the thread of the run nor the window, which would not answer."""
    gate = threading.Event()
    slow = multiframe.LiveSeries._take
    monkeypatch.setattr(multiframe.LiveSeries, "_take", lambda self, frame: (gate.wait(60), slow(self, frame))[1])
    bench.model.frames.value = 1000
    bench.handler.acquire_button.on_clicked()
    bench.until(lambda: bench.handler.live.lag > 2)
    bench.handler.abort_button.on_clicked()
    bench.settle()
    assert bench.handler.live.lag == 1  # it still looks at the first one
    gate.set()
    assert bench.handler.message.value.startswith("Stopped by the user")


def test_the_scan_follows_the_drift_and_that_is_stored(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    def drifts(drift_nm: Any, ahead: int = 1) -> np.ndarray:
        steps.append(ahead)
        return np.array([0.1, -0.05]) * len(steps)

    monkeypatch.setattr("esteemcore.multiframe.compensation.expected_drift", drifts)
    bench.handler.live.follows_drift.value = True
    bench.handler.live.is_on.value = False
    assert "only if each frame is placed" in bench.acquire()
    bench.handler.live.is_on.value = True
    assert bench.acquire().startswith("Done"), bench.handler.message.value
    moved = io.load(bench.region.parts[0][1]).series.displacement_px
    pixel = bench.model.plan.region.pixel_size_nm
    np.testing.assert_allclose(moved * pixel, -np.outer([1, 2, 3], [0.1, -0.05]), rtol=1e-9)
    center = np.array(bench.model.plan.region.center_nm)
    entries = [e for e in bench.microscope.instrument.ledger.entries if e.kind == "acquisition"]
    for entry, offset in zip(entries, moved * pixel, strict=True):
        np.testing.assert_allclose(entry.center_nm, center + offset, atol=1e-9)


def test_a_budget_that_is_used_up_ends_the_series(bench: Bench) -> None:
    """Somebody else exposes the place meanwhile: no frame is begun that the budget has no room for."""
    bench.model.frames.value = 10
    ledger, plan = bench.microscope.instrument.ledger, bench.model.plan
    bench.model.total_dose.value = 1.5 * plan.figures.total_dose_with_overhead
    bench.settle()

    def on_frame(frame: multiframe.AcquiredFrame) -> None:
        if frame.done == 4:
            ledger.add_exposure(plan.exposure, plan.region.center_nm, kind="focusing")

    bench.handler.on_frame = on_frame
    message = bench.acquire()
    assert message.startswith("The budget is used up (total dose"), message
    assert bench.region.count == 5
    assert bench.microscope.instrument.is_blanked


def test_curves_against_dose_have_even_steps() -> None:
    state: Any = types.SimpleNamespace(
        snr={"Ti": np.array([(1.0, 2.0), (4.0, 4.0)])},
        components=[multiframe.ComponentCount(dose, int(dose), n, "") for dose, n in ((1.0, None), (2.0, 1), (4.0, 3))],
    )
    curve = live_curves.snr(state, "Ti", {})
    at = lambda xdata, dose: xdata.data[round(dose / xdata.dimensional_calibrations[0].scale)]  # noqa: E731
    assert [at(curve, dose) for dose in (0, 1, 4)] == pytest.approx([0, 2, 4], abs=0.01)
    steps = live_curves.components(state, {})
    assert [at(steps, dose) for dose in (0, 1.5, 2.5, 3.9, 4)] == [0, 0, 1, 1, 3]
