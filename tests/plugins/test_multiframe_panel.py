"""The multi-frame panel, by its buttons: figures, frames on disk, budget, safe end."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from multiframe_bench import Bench, opened

from esteemcore import io, multiframe, scan
from esteemcore.io import durable

pytestmark = pytest.mark.usefixtures("waiting_for_devices")  # between two frames things are done to the next one


@pytest.fixture
def bench(microscope: Any, tmp_path: Path) -> Iterator[Bench]:
    with opened(microscope, tmp_path / "session") as made:
        yield made


def test_the_panel_offers_what_there_is(bench: Bench) -> None:
    cameras = ["Esteem One-Bit Camera", "Esteem EDS Detector", "Esteem EELS Camera"]
    assert [d.name for d in bench.model.detectors] == ["HAADF", "BF", "ADF", *cameras]
    assert [d.name for d in bench.model.chosen] == ["HAADF"]
    bench.choose()
    assert "at least one image signal" in bench.model.warning.value
    assert "at least one image signal" in bench.acquire()


def test_figures_are_those_of_the_exposure_and_follow_each_value(bench: Bench) -> None:
    model = bench.model
    for name, value in (("frames", 7), ("dwell_us", 25.0), ("pixel_size_nm", 0.05), ("current_pa", 33.0)):
        getattr(model, name).value = value
        bench.settle()
        exposure = scan.Exposure(
            model.current_pa.value,
            model.dwell_us.value * 1e-6,
            model.pixel_size_nm.value,
            (round(1.6 / model.pixel_size_nm.value),) * 2,
            frames=model.frames.value,
            flyback_s=50e-6,
        )
        assert model.plan.figures.total_dose == pytest.approx(exposure.total_dose, rel=1e-12)
        assert f"{exposure.total_dose:,.0f} e/Å² in all" in model.figures.value
        assert f"{exposure.series_time_s:.3g} s in all" in model.figures.value
    bench.handler.current_button.on_clicked()
    assert model.current_pa.value == pytest.approx(20)


def test_xrays_to_expect_follow_each_value(bench: Bench) -> None:
    model = bench.model
    assert model.xrays.value == ""
    model.xray_lines.value, model.motifs.value = "Ag:0.3:0.22 Sn:0.62:0.14", 10
    for frames in (5, 50):
        model.frames.value = frames
        bench.settle()
        counts = 0.22e-6 * 100 * model.plan.figures.total_dose
        silver, tin = model.xrays.value.split("\n")
        assert silver.startswith("Ag, columns 0.3 nm apart")
        assert f"{counts:.2g} in the series" in silver
        assert "over 10 motifs" in tin
    model.xray_lines.value = "Ag"
    bench.settle()
    assert "is no X-ray line" in model.xrays.value
    assert "e/Å² in all" in model.figures.value  # all other figures stay
    assert bench.acquire().startswith("Done")


def test_frames_go_to_disk_and_acquire_again_appends(bench: Bench) -> None:
    bench.choose("HAADF", "ADF")
    ledger = bench.microscope.instrument.ledger
    assert bench.acquire().startswith("Done: 3 of 3 frames"), bench.handler.message.value
    assert bench.region.path.name == "region_001"
    assert bench.region.count == 3
    bench.acquire()
    assert bench.region.count == 6
    assert bench.handler.region_name.value == "region_001: 6 frames"
    assert bench.handler.progress.value == 100
    stored = bench.region.frame(5)
    assert set(stored) == {"HAADF", "ADF"}
    assert stored["HAADF"].shape == (16, 16)
    assert stored["HAADF"].sum() > 0
    assert np.array_equal(np.asarray(bench.handler.last_item.xdata.data), stored["HAADF"])
    assert np.ptp([bench.region.frame(k)["HAADF"].sum() for k in range(6)]) > 0  # each has its own electrons
    assert bench.model.so_far.value.startswith("So far here")
    bench.handler.region = None  # as after a new start
    bench.handler.last_region_button.on_clicked()
    assert bench.handler.region_name.value == "region_001: 6 frames"
    bench.acquire()
    assert bench.region.count == 9
    expected = 3 * bench.model.plan._exposure(0.0).total_charge_e
    assert ledger.totals["acquisition"] == pytest.approx(expected, rel=1e-6)
    bench.handler.new_region_button.on_clicked()
    assert bench.region.path.name == "region_002"
    dataset = io.load(bench.handler.run.results[0].path)
    assert dataset.signals["HAADF"].axes[1].unit == "nm"
    assert dataset.metadata["instrument"]["simulated"] is True


def test_the_last_region_sets_all_as_it_was(bench: Bench) -> None:
    bench.choose("HAADF", "ADF")
    bench.model.place = ((7.0, -3.0), 20.0)
    for name, value in (
        ("width_nm", 1.21), ("pixel_size_nm", 0.07), ("dwell_us", 12.3), ("flyback_us", 40.0), ("subpixels", 2),
        ("order_index", multiframe.ORDERS.index("turned raster")), ("seed", 5), ("frames", 2),
    ):  # fmt: skip
        getattr(bench.model, name).value = value
    bench.settle()
    assert bench.acquire().startswith("Done"), bench.handler.message.value
    before = bench.model.plan
    bench.panel.close()
    again = Bench(bench.microscope, Path(bench.model.folder.value))  # as after a new start
    try:
        again.handler.last_region_button.on_clicked()
        assert again.handler.message.value.endswith("all is set as it was")
        again.settle()
        assert again.model.plan.region.shape == before.region.shape
        assert again.model.plan.region.center_nm == pytest.approx(before.region.center_nm)
        # what a frame takes beside its scan is measured anew
        assert again.model.plan.settings == dataclasses.replace(
            before.settings, write_overhead_s=0.0, scan_overhead_s=0.0
        )
        assert list(again.model.plan.signals) == ["HAADF", "ADF"]
        assert again.acquire().startswith("Done: 2 of 2")
        assert again.region.count == 4
        again.handler.new_region_button.on_clicked()  # an empty one tells nothing
        again.handler.last_region_button.on_clicked()
        assert "draw or type the same region" in again.handler.message.value
    finally:
        again.panel.close()


def test_the_beam_is_blanked_between_frames(bench: Bench) -> None:
    seen = []

    def on_frame(frame: multiframe.AcquiredFrame) -> str | None:
        seen.append(bench.microscope.instrument.is_blanked)
        return "it is enough" if frame.done == 2 else None

    bench.handler.on_frame = on_frame
    message = bench.acquire()
    assert message.startswith("it is enough; 2 of 3 frames")
    assert seen == [True, True]


@pytest.mark.parametrize("order", ["turned raster", "serpentine", "shuffled"])
def test_frames_of_all_orders_show_the_same_place(bench: Bench, order: str) -> None:
    bench.model.current_pa.value = 5000.0  # little noise
    bench.microscope.instrument.SetVal("BeamCurrent", 5e-9)
    bench.model.width_nm.value = 1.2
    bench.model.frames.value = 1
    bench.acquire()
    straight = bench.region.frame(0)["HAADF"]
    bench.handler.new_region_button.on_clicked()
    bench.model.order_index.value = multiframe.ORDERS.index(order)
    bench.model.frames.value = 4
    bench.acquire()
    for number in range(4):
        image = bench.region.frame(number)["HAADF"]
        assert image.shape == (16, 12)
        assert np.corrcoef(image.ravel(), straight.ravel())[0, 1] > 0.9, number


def test_subpixels_add_up(bench: Bench) -> None:
    bench.model.frames.value = 2
    bench.acquire()
    whole = bench.region.frame(0)["HAADF"].sum()
    bench.handler.new_region_button.on_clicked()
    bench.model.subpixels.value = 3
    bench.acquire()
    image = bench.region.frame(0)["HAADF"]
    assert image.shape == (16, 16)
    assert image.sum() == pytest.approx(whole, rel=0.1)


def test_areas_are_sets_of_frames_beside_each_other(bench: Bench) -> None:
    bench.model.areas.value = 2
    bench.model.frames.value = 2
    assert "4 frames of 2 areas" in bench.acquire()
    folders = bench.model.session.regions
    assert [folder.count for folder in folders] == [2, 2]
    assert "4 frames of 2 areas" in bench.acquire()  # again: appended to both
    assert [folder.count for folder in bench.model.session.regions] == [4, 4]
    first, second = (io.load(folder.parts[0][1]).metadata["multiframe"]["center_nm"] for folder in folders)
    assert np.subtract(second, first).tolist() == pytest.approx([0, 1.6 + 10])
    entries = [e for e in bench.microscope.instrument.ledger.entries if e.kind == "acquisition"]
    assert [e.center_nm for e in entries] == [pytest.approx(tuple(c)) for c in (first, second, first, second)]
    bench.panel.close()
    again = Bench(bench.microscope, Path(bench.model.folder.value))  # as after a new start
    try:
        again.handler.last_region_button.on_clicked()
        again.settle()
        assert "4 frames of 2 areas" in again.acquire(), again.handler.message.value
        assert [folder.count for folder in again.model.session.regions] == [6, 6]
    finally:
        again.panel.close()


def test_abort_keeps_what_is_stored_and_blanks(bench: Bench) -> None:
    bench.model.frames.value = 1000
    bench.handler.acquire_button.on_clicked()
    bench.until(lambda: bench.handler.progress.value >= 0 and bench.handler.last_item is not None)
    bench.handler.abort_button.on_clicked()
    bench.settle()
    assert bench.handler.message.value.startswith("Stopped by the user"), bench.handler.message.value
    assert 0 < bench.region.count < 1000
    assert bench.microscope.instrument.is_blanked
    assert all(bench.region.frame(k)["HAADF"].min() >= 0 for k in range(bench.region.count))
    count = bench.region.count
    bench.model.frames.value = 2
    assert bench.acquire().startswith("Done")
    assert bench.region.count == count + 2


def test_a_budget_blocks_until_it_is_overridden_and_that_is_recorded(bench: Bench) -> None:
    model = bench.model
    model.total_dose.value = 10.0
    bench.settle()
    assert bench.microscope.instrument.ledger.budget.total_dose == 10
    assert "the dose budget forbids it" in bench.acquire()
    assert model.is_too_much.value
    assert bench.region is None
    bench.handler.override_button.on_clicked()
    assert "needs a reason" in model.warning.value
    model.override_reason.value = "the specimen is robust"
    bench.handler.override_button.on_clicked()
    bench.settle()
    assert bench.acquire().startswith("Done")
    (override,) = io.load(bench.region.parts[0][1]).metadata["budget_overrides"]
    assert override["reason"] == "the specimen is robust"
    model.total_dose.value = -1.0  # a slip lifts no limit
    assert bench.microscope.instrument.ledger.budget.total_dose == 10


def test_the_instrument_has_the_last_word_on_the_budget(bench: Bench) -> None:
    bench.model.current_pa.value = 0.2  # typed; the instrument knows of a hundred times as much
    bench.model.total_dose.value = 3 * bench.model.plan.figures.total_dose_with_overhead
    bench.settle()
    message = bench.acquire()
    assert message.startswith("Error")
    assert "the dose budget forbids this scan" in message
    assert bench.region.count == 0


def test_a_full_disk_keeps_the_frame_for_the_next_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    written = durable.write_file
    frames = []

    def refuse(path: Path, pieces: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def on_frame(frame: multiframe.AcquiredFrame) -> None:
        frames.append(frame.values["HAADF"].sum())
        monkeypatch.setattr(durable, "write_file", refuse)

    bench.handler.on_frame = on_frame
    message = bench.acquire()
    assert message.startswith("Error: the disk is full"), message
    monkeypatch.setattr(durable, "write_file", written)
    kept = bench.handler.run.results[0].unsaved.values["HAADF"]
    bench.handler.on_frame = None
    assert bench.acquire().startswith("Done: 3 of 3")
    assert bench.region.count == 5
    assert np.array_equal(bench.region.frame(1)["HAADF"], kept)


def test_impossible_values_are_said_in_words(bench: Bench) -> None:
    for name, value, words in (
        ("pixel_size_nm", 5.0, "smaller than a pixel"),
        ("current_pa", 0.0, "neither doses nor a signal"),
        ("folder", "here", "from its root on"),
        ("folder", "/proc/nowhere", "choose another session folder"),
    ):
        model = getattr(bench.model, name)
        before, model.value = model.value, value
        bench.settle()
        assert words in bench.acquire()
        assert bench.handler.is_idle.value
        model.value = before
    bench.model.after.mail_to.value = "somebody"
    assert "no mail address" in bench.acquire()
    bench.model.after.mail_to.value = ""
    assert bench.acquire().startswith("Done")


def test_the_plan_learns_how_long_writing_takes(bench: Bench) -> None:
    model = bench.model
    assert "Beside the scan, per frame: to begin not known yet, to write not known yet" in model.figures.value
    bare = model.plan.figures.frame_time_s
    assert bench.acquire().startswith("Done: 3 of 3")
    known = model.overheads.write.estimate(model.plan.signal_bytes_per_frame)
    assert known > 0
    began = io.load(bench.region.parts[0][1]).series.time_s
    begin = model.overheads.begin.estimate(0)
    assert 0 < begin < np.diff(began).max()
    assert model.plan.figures.frame_time_s == pytest.approx(bare + known + begin)
    assert model.figures.value.count("(as measured)") == 2
    model.write_overhead_s.value = 0.5
    bench.settle()
    assert model.plan.figures.frame_time_s == pytest.approx(bare + 0.5 + begin)
    assert "0.5 s to write (as typed)" in model.figures.value


def test_a_failing_scan_device_ends_the_series_safely(bench: Bench) -> None:
    bench.microscope.instrument.faults.scan_at = 20
    message = bench.acquire()
    assert message.startswith("Error"), message
    assert bench.microscope.instrument.is_blanked


@pytest.mark.parametrize("signals", [("HAADF",), ("HAADF", "Esteem One-Bit Camera")])
def test_a_frame_that_somebody_else_stops_is_not_stored(bench: Bench, signals: tuple[str, ...]) -> None:
    bench.choose(*signals)
    bench.microscope.camera.is_paced = True
    bench.model.dwell_us.value = 2000.0  # half a second per frame
    bench.handler.acquire_button.on_clicked()
    device = bench.microscope.device
    bench.until(lambda: device.frame is not None and device.frame.has_begun and device.frame.advanced > 20)
    bench.microscope.instrument.safe_state("another panel")
    bench.settle()
    assert bench.handler.message.value.startswith("Error"), bench.handler.message.value
    assert bench.region.count == 0


def test_moving_the_spectrum_is_recorded_and_undone(bench: Bench) -> None:
    bench.model.energy_step_ev.value = 2.0
    seen = []
    instrument = bench.microscope.instrument
    bench.handler.on_frame = lambda frame: seen.append(instrument.GetVal("ZLPoffset"))
    bench.acquire()
    assert seen == [0, 2, 4]
    assert instrument.GetVal("ZLPoffset") == 0
    series = io.load(bench.region.parts[0][1]).series
    assert series.energy_offset_ev.tolist() == [0, 2, 4]


def test_survey_and_rectangle_make_the_region(bench: Bench) -> None:
    bench.handler.survey_button.on_clicked()
    bench.settle()
    survey = bench.handler.survey
    field = bench.microscope.instrument.field(bench.microscope.scan_source.get_current_frame_parameters())
    size, center, _ = survey.drawn
    assert size == pytest.approx((1.6, 1.6))
    assert center == pytest.approx(field.center_nm)
    survey._graphic.bounds = ((0.0, 0.5), (0.25, 0.5))
    bench.settle()
    height, width = field.fov_nm
    assert bench.model.height_nm.value == pytest.approx(height / 4)
    assert bench.model.width_nm.value == pytest.approx(width / 2)
    region = bench.model.plan.region
    assert region.center_nm == pytest.approx((field.center_nm[0] - 0.375 * height, field.center_nm[1] + width / 4))
    bench.model.height_nm.value = 0.5  # typed: the rectangle follows about its centre
    (_, left), (tall, wide) = survey._graphic.bounds
    assert (tall, left, wide) == pytest.approx((0.5 / height, 0.5, 0.5))
    assert survey.drawn[1] == pytest.approx(region.center_nm)
    bench.settle()
    region = bench.model.plan.region
    assert region.shape[0] == 5
    totals = bench.microscope.instrument.ledger.totals
    assert totals["survey"] > 0
    assert "survey" in bench.model.so_far.value
    bench.model.frames.value = 1
    bench.acquire()
    (entry,) = (e for e in bench.microscope.instrument.ledger.entries if e.kind == "acquisition")
    assert entry.center_nm == pytest.approx(region.center_nm)
    assert entry.fov_nm == pytest.approx(region.fov_nm)
    assert bench.handler.model.plan.region.shape == bench.region.frame(0)["HAADF"].shape


def test_magnification_drops_when_asked(bench: Bench) -> None:
    before = bench.microscope.scan_source.get_current_frame_parameters().fov_nm
    bench.model.after.drop_magnification.value = True
    assert "magnification dropped" in bench.acquire()
    now = bench.microscope.scan_source.get_current_frame_parameters().fov_nm
    assert now == min(before * 1e4, 2000)
    assert bench.microscope.instrument.is_blanked


def test_a_script_runs_and_a_lost_mail_harms_nothing(bench: Bench, tmp_path: Path) -> None:
    script = tmp_path / "after.py"
    script.write_text(
        "from pathlib import Path\nPath(__file__).with_suffix('.txt').write_text(str(results[0].folder.count))\n"
    )
    bench.model.after.script.value = str(script)
    after = bench.model.after
    after.mail_to.value, after.mail_server.value, after.mail_port.value = "me@here", "127.0.0.1", 1
    message = bench.acquire()
    assert message.startswith("Done: 3 of 3 frames")
    assert "the mail was not sent (127.0.0.1:1" in message
    assert (tmp_path / "after.txt").read_text() == "3"
    script.write_text("1 / 0")
    assert "after.py, line 1 failed (ZeroDivisionError" in bench.acquire()
    assert bench.region.count == 6


def test_closing_the_panel_ends_a_run_safely(bench: Bench) -> None:
    bench.model.frames.value = 1000
    bench.handler.acquire_button.on_clicked()
    bench.until(lambda: bench.handler.last_item is not None)
    region = bench.handler.run.folders[0]
    bench.panel.close()
    assert bench.microscope.instrument.is_blanked
    assert region.count > 0
