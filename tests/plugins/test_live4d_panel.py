"""The live 4D-STEM panel, by its buttons: what is acquired, shown and stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live4d_bench import Bench, opened
from nion.utils import Geometry

from esteemcore import io, scan, stream
from esteemcore.errors import StreamError
from nionswift_plugin.esteem_scan.acquisition_lock import LOCK
from nionswift_plugin.esteem_scan.scan_plan import PATTERNS


@pytest.fixture
def bench(microscope: Any, tmp_path: Path) -> Iterator[Bench]:
    with opened(microscope, tmp_path / "raw") as made:
        yield made


def test_acquire_shows_and_stores_the_same(bench: Bench) -> None:
    message = bench.acquire()
    assert message.startswith("Done: 256 of 256 frames"), message
    bench.same_as_file()
    dataset = io.load(bench.path)
    assert dataset.scan is not None
    assert np.array_equal(dataset.scan.index, scan.shuffled((16, 16), seed=1).order)
    assert dataset.scan.time_s == pytest.approx(np.arange(256) * 80e-6)
    assert bench.handler.progress.value == 100
    assert "256 of 256 stored" in bench.handler.status.value
    assert set(bench.microscope.instrument.ledger.totals) == {"acquisition"}


def test_images_tell_what_they_are(bench: Bench) -> None:
    bench.acquire()
    for name, unit in (("ssb", "rad"), ("icom", "rad"), ("bf", "counts per frame"), ("adf", "counts per frame")):
        item = bench.handler.images.item(name)
        assert item.intensity_calibration.units == unit
        assert [axis.units for axis in item.dimensional_calibrations] == ["nm", "nm"]
        assert [axis.scale for axis in item.dimensional_calibrations] == pytest.approx([0.05, 0.05])
        assert item.dimensional_calibrations[0].offset == pytest.approx(-0.4)
        entry = item.metadata["esteem"]
        json.dumps(entry)
        assert entry["frames"] == 256
        assert entry["raw_file"] == str(bench.path)
        assert entry["plan"]["order"]["pattern"] == "shuffled"
        assert entry["provenance"]["version"]
        assert item.metadata["instrument"]["simulated"] is True
    ssb = bench.handler.images.item("ssb").metadata["esteem"]["provenance"]
    assert ssb["function"] == "fourd.SingleSideband"
    assert ssb["parameters"]["regularization"] == 0.03


def test_a_second_acquisition_has_images_of_its_own(bench: Bench) -> None:
    bench.acquire()
    first = {name: bench.handler.images.item(name) for name in ("ssb", "icom", "bf", "adf")}
    before = {name: np.array(item.xdata.data) for name, item in first.items()}
    path = bench.path
    bench.plan.seed.value = 5
    assert bench.acquire().startswith("Done")
    assert bench.path != path
    for name, item in first.items():
        assert bench.handler.images.item(name) is not item
        assert item in bench.window.document_model.data_items
        assert np.array_equal(item.xdata.data, before[name], equal_nan=True)
        assert not item.is_live
    bench.same_as_file()


def test_images_appear_where_the_last_ones_were_shown(bench: Bench) -> None:
    workspace = bench.window.workspace_controller
    bench.acquire()
    panel = workspace.display_panels[0]
    assert panel.display_item.data_item is bench.handler.images.item("ssb")
    bench.acquire()
    assert panel.display_item.data_item is bench.handler.images.item("ssb")


def test_an_image_that_the_user_deletes_is_made_anew(bench: Bench) -> None:
    bench.microscope.camera.is_paced = True
    bench.plan.rows.value = bench.plan.columns.value = 96
    bench.handler.acquire_button.on_clicked()
    bench.until(lambda: all(bench.handler.images.item(name) is not None for name in ("ssb", "icom", "bf", "adf")))
    deleted = bench.handler.images.item("bf")
    bench.window.document_model.remove_data_item(deleted)
    bench.settle()
    assert str(bench.handler.message.value).startswith("Done")
    assert bench.handler.images.item("bf") is not deleted
    bench.same_as_file()


def test_images_without_a_frame_are_removed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise StreamError("the scan device does not start")

    with monkeypatch.context() as patch:
        patch.setattr(bench.microscope.device, "_start_next_frame", refuse)
        message = bench.acquire()
    assert message.startswith("Error: the scan did not start"), message
    assert not [item for item in bench.window.document_model.data_items if "SSB" in item.title]
    assert bench.acquire().startswith("Done")


def test_only_buttons_that_do_something_can_be_pushed(bench: Bench) -> None:
    handler = bench.handler
    assert (handler.is_idle.value, handler.is_running.value, handler.has_file.value) == (True, False, False)
    handler.acquire_button.on_clicked()
    assert (handler.is_idle.value, handler.is_running.value, handler.has_file.value) == (False, True, False)
    bench.settle()
    assert (handler.is_idle.value, handler.is_running.value, handler.has_file.value) == (True, False, True)
    assert handler.has_rest.value is False


def test_sparse_and_several_passes(bench: Bench) -> None:
    bench.plan.pattern_index.value = PATTERNS.index("sparse")
    bench.plan.fraction.value = 0.3
    bench.plan.frames.value = 2
    message = bench.acquire()
    assert message.startswith("Done"), message
    source = io.source(bench.path)
    patterns = [scan.sparse((16, 16), 0.3, seed=1 + k, method="poisson_disk") for k in range(2)]
    chunks = list(source.chunks())
    assert np.array_equal(np.concatenate([c.index for c in chunks]), np.concatenate([p.order for p in patterns]))
    assert {chunk.visit for chunk in chunks} == {0, 1}
    bench.same_as_file()
    unvisited = ~(patterns[0].mask | patterns[1].mask)
    assert np.array_equal(np.isnan(bench.image("bf")), unvisited)


def test_without_a_raw_file(bench: Bench) -> None:
    bench.handler.keep_raw.value = False
    message = bench.acquire()
    assert "not kept" in message
    assert bench.handler.session.path is None
    assert not (Path(bench.handler.folder.value)).exists()
    assert bench.image("ssb").std() > 0


def test_a_new_defocus_acts_at_once_on_the_same_counts(bench: Bench) -> None:
    bench.acquire()
    before = {name: bench.image(name).copy() for name in ("ssb", "icom", "bf")}
    bench.handler.defocus_edit.editing_finished("15")
    bench.settle()
    view = bench.handler.session.view
    assert view.geometry.aberrations["C10"] == -15
    assert not np.array_equal(bench.image("ssb"), before["ssb"])
    assert np.array_equal(bench.image("bf"), before["bf"])
    bench.same_as_file(view)
    provenance = bench.handler.images.item("ssb").metadata["esteem"]["provenance"]
    assert provenance["parameters"]["geometry"]["aberrations"] == {"C10": -15}
    bench.handler.geometry.rotation_deg.value = 30.0
    bench.settle()
    assert not np.array_equal(bench.image("icom"), before["icom"])
    bench.same_as_file(bench.handler.session.view)
    bench.handler.measured_button.on_clicked()
    bench.settle()
    assert np.array_equal(bench.image("ssb"), before["ssb"])
    # the bins depend on the semi-angle: that needs the frames again
    bench.handler.geometry.semiangle_mrad.value = 12.0
    bench.settle()
    assert "read the raw frames again" in bench.handler.message.value
    bench.handler.again_button.on_clicked()
    bench.settle()
    assert bench.handler.message.value.startswith("Done")
    assert bench.handler.session.view.geometry.semiangle_mrad == 12
    bench.same_as_file(bench.handler.session.view)


def test_impossible_values_are_refused_in_words(bench: Bench) -> None:
    bench.handler.geometry.regularization.value = 0.0
    assert "regularization" in bench.acquire()
    bench.handler.geometry.regularization.value = 0.03
    bench.plan.rows.value = 0
    assert "rows" in bench.acquire()
    bench.plan.rows.value = 16
    bench.handler.geometry.semiangle_mrad.value = 500.0
    assert "does not fit on the detector" in bench.acquire()
    bench.handler.measured_button.on_clicked()
    assert bench.acquire().startswith("Done")


def shown_aberrations(bench: Bench) -> Any:
    entry = bench.handler.images.item("ssb").metadata["esteem"]["provenance"]
    return entry["parameters"]["geometry"]["aberrations"]


def test_an_abort_at_once_exposes_next_to_nothing(bench: Bench) -> None:
    bench.microscope.camera.is_paced = True
    bench.plan.rows.value = bench.plan.columns.value = 128
    bench.handler.acquire_button.on_clicked()
    bench.handler.abort_button.on_clicked()
    bench.settle()
    assert bench.handler.message.value.startswith("Stopped by the user")
    assert bench.handler.session.runner.status.acquired < 128 * 128 / 2
    assert LOCK.owner is None


def test_abort_keeps_every_frame(bench: Bench) -> None:
    bench.microscope.camera.is_paced = True
    bench.plan.rows.value = bench.plan.columns.value = 256
    bench.plan.frames.value = 4  # long enough for a slow machine to abort in time
    bench.handler.acquire_button.on_clicked()
    bench.until(lambda: bench.handler.progress.value > 0)
    bench.handler.defocus_edit.editing_finished("-8")  # the phase that forms follows at once
    bench.until(lambda: shown_aberrations(bench) == {"C10": 8})
    bench.handler.acquire_button.on_clicked()
    assert "abort it first" in bench.handler.message.value
    bench.handler.abort_button.on_clicked()
    bench.settle()
    message = bench.handler.message.value
    assert message.startswith("Stopped by the user"), message
    assert bench.microscope.instrument.is_blanked
    frames = len(io.source(bench.path))
    assert 0 < frames < 4 * 256 * 256
    assert frames == bench.handler.session.runner.status.acquired
    bench.same_as_file(bench.handler.session.view)
    bench.microscope.camera.is_paced = False
    bench.plan.rows.value = bench.plan.columns.value = 16
    bench.plan.frames.value = 1
    assert bench.acquire().startswith("Done")


@pytest.mark.parametrize("fault", ["camera_at", "scan_at"])
def test_a_device_that_fails_is_named_and_its_frames_are_kept(bench: Bench, fault: str) -> None:
    bench.microscope.camera.is_paced = True
    bench.plan.rows.value = bench.plan.columns.value = 64
    setattr(bench.microscope.instrument.faults, fault, 1500)
    message = bench.acquire()
    assert message.startswith("Error"), message
    assert ("camera" if fault == "camera_at" else "scan") in message
    assert bench.microscope.instrument.is_blanked
    assert len(io.source(bench.path)) == bench.handler.session.runner.status.acquired
    bench.microscope.instrument.faults.clear()
    bench.microscope.camera.is_paced = False
    assert bench.acquire().startswith("Done")


class FullDisk(io.Writer):
    """A disk that is full after some frames."""

    room = 3000

    def append(self, chunk: stream.Chunk) -> None:
        if self.frames + self.pending + len(chunk) > self.room:
            raise StreamError("the disk is full")
        super().append(chunk)


def test_a_full_disk_stops_the_scan_and_the_rest_can_be_saved(bench: Bench, tmp_path: Path) -> None:
    bench.microscope.camera.is_paced = True
    bench.plan.rows.value = bench.plan.columns.value = 128
    bench.handler.make_writer = FullDisk
    message = bench.acquire()
    assert "the disk is full" in message
    session = bench.handler.session
    acquired = session.runner.status.acquired
    assert acquired < 128 * 128
    assert session.unsaved > 0
    assert bench.microscope.instrument.is_blanked
    stored = len(io.source(bench.path))
    bench.handler.rescue(tmp_path / "other")
    bench.settle()
    assert "The rest" in bench.handler.message.value
    (rest,) = (tmp_path / "other").iterdir()
    order = scan.shuffled((128, 128), seed=1).order
    indices = [np.concatenate([c.index for c in io.source(path).chunks()]) for path in (bench.path, rest)]
    assert len(indices[0]) == stored
    assert np.array_equal(np.concatenate(indices), order[:acquired])


def test_frames_that_are_only_in_memory_are_not_given_up_unasked(bench: Bench, tmp_path: Path) -> None:
    bench.microscope.camera.is_paced = True
    bench.plan.rows.value = bench.plan.columns.value = 96
    bench.handler.make_writer = FullDisk
    bench.acquire()
    session, frames = bench.handler.session, bench.handler.session.unsaved
    assert bench.handler.has_rest.value
    bench.handler.make_writer = io.Writer
    assert f"{frames:,} frames of the last run are only in memory" in bench.acquire()
    assert bench.handler.session is session
    bench.handler.rescue(tmp_path / "other")
    assert bench.handler.is_busy  # nothing may push it aside
    bench.handler.geometry.rotation_deg.value = 5.0
    bench.settle()
    assert sum(len(io.source(path)) for path in (tmp_path / "other").iterdir()) == frames
    assert not bench.handler.has_rest.value
    bench.plan.rows.value = bench.plan.columns.value = 16
    assert bench.acquire().startswith("Done")


def test_the_rest_can_be_given_up(bench: Bench) -> None:
    bench.microscope.camera.is_paced = True
    bench.plan.rows.value = bench.plan.columns.value = 96
    bench.handler.make_writer = FullDisk
    bench.acquire()
    bench.handler.make_writer = io.Writer
    bench.plan.rows.value = bench.plan.columns.value = 16
    assert "only in memory" in bench.acquire()
    assert bench.acquire().startswith("Done")


def test_the_rest_is_offered_as_soon_as_the_end_is_told(bench: Bench) -> None:
    bench.microscope.camera.is_paced = True
    bench.plan.rows.value = bench.plan.columns.value = 96
    bench.handler.make_writer = FullDisk
    found = []
    bench.handler.acquire_button.on_clicked()
    session = bench.handler.session
    ended = session._watcher.ended

    def told(message: str) -> None:  # the window may be quicker than the thread that tells it
        found.append((session.is_running, session.unsaved))
        ended(message)

    session._watcher.ended = told
    bench.settle()
    ((is_running, unsaved),) = found
    assert not is_running
    assert unsaved > 0


class NoSync(io.Writer):
    """A disk that takes all frames but does not say that they are safe."""

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_file_that_may_not_be_whole_is_an_error(bench: Bench) -> None:
    bench.handler.make_writer = NoSync
    message = bench.acquire()
    assert message.startswith("Error"), message
    assert message.count("No space left") == 1
    assert "256 of 256 frames" in message


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("", "choose a folder"),
        ("raw", "from its root on"),
        ("~nobody-of-this-name/raw", "home folder"),
        ("/" + 300 * "n", "too long"),
        ("{tmp}/file/raw", "Not a directory"),
        ("{tmp}/file", "exists"),
    ],
)
def test_a_folder_that_cannot_be_used_costs_no_dose(bench: Bench, tmp_path: Path, folder: str, words: str) -> None:
    (tmp_path / "file").write_text("in the way")
    good = bench.handler.folder.value
    bench.handler.folder.value = folder.format(tmp=tmp_path)
    message = bench.acquire()
    assert message.startswith(("Not started", "Error")), message
    assert words in message
    assert bench.microscope.instrument.ledger.total_charge_e == 0
    assert LOCK.owner is None
    bench.handler.folder.value = good
    assert bench.acquire().startswith("Done")


def test_typing_while_a_file_is_opened(bench: Bench) -> None:
    bench.acquire()
    bench.handler.open_file(bench.path)
    bench.handler.geometry.rotation_deg.value = 12.0
    bench.settle()
    assert bench.handler.message.value.startswith("Done")
    assert not bench.handler.is_busy


def test_a_device_that_is_taken_out_of_swift_in_mid_run(bench: Bench) -> None:
    bench.microscope.camera.is_paced = True
    bench.plan.rows.value = bench.plan.columns.value = 96
    bench.handler.acquire_button.on_clicked()
    bench.until(lambda: bench.handler.progress.value > 0)
    bench.microscope.configuration.stop()
    bench.settle()
    message = bench.handler.message.value
    assert message.startswith("Error: the scan device was removed"), message
    assert len(io.source(bench.path)) == bench.handler.session.runner.status.acquired > 0
    assert LOCK.owner is None
    assert "no scan device" in bench.acquire()


def test_closing_the_panel_while_acquiring_is_safe(bench: Bench) -> None:
    bench.microscope.camera.is_paced = True
    bench.plan.rows.value = bench.plan.columns.value = 128
    bench.handler.acquire_button.on_clicked()
    bench.until(lambda: bench.handler.progress.value > 0)
    session = bench.handler.session
    bench.panel.close()
    assert not session.is_running
    assert bench.microscope.instrument.is_blanked
    assert LOCK.owner is None
    assert len(io.source(session.path)) == session.runner.status.acquired > 0
    bench.window.periodic()


def test_a_file_gives_the_same_images(bench: Bench, microscope: Any) -> None:
    microscope.instrument.controls.set_value("C10", -10e-9)
    bench.settle()
    bench.acquire()
    path, images = bench.path, {name: bench.image(name).copy() for name in ("ssb", "icom", "bf", "adf")}
    microscope.instrument.controls.set_value("C10", 0.0)
    bench.settle()
    bench.handler.open_file(path)
    bench.settle()
    assert bench.handler.message.value.startswith("Done: 256 of 256 frames read")
    assert bench.handler.geometry.defocus_nm.value == 10
    for name, image in images.items():
        assert np.array_equal(bench.image(name), image), name
    entry = bench.handler.images.item("ssb").metadata["esteem"]
    assert entry["raw_file"] == str(path)
    assert entry["plan"]["order"]["pattern"] == "shuffled"
    bench.handler.open_file(path.parent / "nothing.esteem")
    bench.settle()
    assert "does not exist" in bench.handler.message.value
    assert bench.acquire().startswith("Done")


def test_a_file_of_another_detector_that_does_not_say_its_calibrations(bench: Bench, tmp_path: Path) -> None:
    spec = stream.Spec((4, 4), (20, 32), np.dtype(np.uint8), packed=True)
    with io.Writer(tmp_path / "other.esteem", spec) as writer:
        writer.append(stream.Chunk(np.arange(16), np.full((16, 20, 4), 0x11, np.uint8)))
    bench.handler.open_file(tmp_path / "other.esteem")
    bench.settle()
    assert "does not fit on the detector" in bench.handler.message.value
    bench.handler.semiangle_edit.editing_finished("3")
    bench.handler.pixel_edit.editing_finished("0,5")
    bench.handler.again_button.on_clicked()
    bench.settle()
    assert bench.handler.message.value.startswith("Done: 16 of 16 frames read"), bench.handler.message.value
    assert "stored" not in bench.handler.status.value
    bench.same_as_file(bench.handler.session.view)


def test_the_buttons_that_ask_for_files(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.handler.again_button.on_clicked()
    assert "no raw file" in bench.handler.message.value
    bench.handler.rescue_button.on_clicked()
    assert "Nothing to save" in bench.handler.message.value
    answers: list[str] = []
    ui = bench.window.ui
    monkeypatch.setattr(ui, "get_existing_directory_dialog", lambda *words: (answers[-1], ""), raising=False)
    monkeypatch.setattr(ui, "get_file_path_dialog", lambda *words: (answers[-1], "", ""), raising=False)
    answers.append(str(tmp_path / "chosen"))
    bench.handler.folder_button.on_clicked()
    bench.acquire()
    assert bench.path.parent == tmp_path / "chosen"
    path = bench.path
    answers.append(str(path))
    bench.handler.open_button.on_clicked()
    bench.settle()
    assert "frames read" in bench.handler.message.value
    answers.append(str(path / "zarr.json"))
    bench.handler.open_file_button.on_clicked()
    bench.settle()
    assert "frames read" in bench.handler.message.value
    answers.append("")
    bench.handler.open_button.on_clicked()
    bench.handler.folder_button.on_clicked()
    assert bench.handler.folder.value == str(tmp_path / "chosen")


def test_one_acquisition_at_a_time(bench: Bench) -> None:
    ticket = LOCK.take("Another panel")
    assert "Another panel is acquiring" in bench.acquire()
    with pytest.raises(StreamError, match="Another panel"):
        LOCK.take("A third one")
    ticket.release()
    ticket.release()
    assert bench.acquire().startswith("Done")


def test_a_live_view_does_not_disturb(bench: Bench, microscope: Any) -> None:
    microscope.scan_source.start_playing()
    bench.until(lambda: microscope.scan_source.is_playing)
    assert bench.acquire().startswith("Done")
    bench.same_as_file()
    microscope.scan_source.abort_playing(sync_timeout=60)


def test_the_scan_of_the_panel_is_turned_with_that_of_swift(bench: Bench, microscope: Any) -> None:
    parameters = microscope.scan_source.get_current_frame_parameters()
    parameters.rotation_rad = 0.5
    parameters.center_nm = Geometry.FloatPoint(y=1.0, x=2.0)
    microscope.scan_source.set_current_frame_parameters(parameters)
    assert bench.acquire().startswith("Done")
    assert bench.handler.session.view.geometry.rotation_deg == pytest.approx(-np.rad2deg(0.5))
    assert microscope.instrument.ledger.entries[-1].center_nm == pytest.approx((1.0, 2.0))


def test_devices_that_went_away(bench: Bench) -> None:
    bench.plan.scan_sources = []
    assert "no scan device" in bench.acquire()


def test_a_live_view_started_during_an_acquisition_waits(bench: Bench) -> None:
    microscope = bench.microscope
    microscope.camera.is_paced = True
    bench.plan.rows.value = bench.plan.columns.value = 64
    bench.plan.dwell_us.value = 400.0
    bench.settle()
    bench.handler.acquire_button.on_clicked()
    bench.until(lambda: bench.handler.progress.value > 5)
    microscope.scan_source.start_playing()
    try:
        bench.settle()
        assert str(bench.handler.message.value).startswith("Done: 4,096 of 4,096 frames"), bench.handler.message.value
        assert len(io.source(bench.path)) == 64 * 64
    finally:
        microscope.scan_source.abort_playing(sync_timeout=60)
    bench.until(lambda: microscope.instrument.is_blanked)
    bench.same_as_file()
