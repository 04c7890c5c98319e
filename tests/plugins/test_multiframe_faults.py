"""What goes wrong at a microscope: said in words, the frames before it kept, the beam blanked."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from multiframe_bench import Bench, opened, spectrometer
from nion.utils import Registry

from esteemcore import multiframe
from esteemcore.errors import StreamError
from esteemcore.io import durable
from nionswift_plugin.esteem_multiframe.taking import Taker

pytestmark = pytest.mark.usefixtures("waiting_for_devices")  # between two frames things are done to the next one


@pytest.fixture
def bench(shared_microscope: Any, tmp_path: Path) -> Iterator[Bench]:
    with opened(shared_microscope, tmp_path / "session") as made:
        yield made


def test_a_detector_that_gives_nothing_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.choose("HAADF", "BF")
    scan = Taker._scan
    lost = next(d.channel for d in bench.model.detectors if d.name == "BF")

    def without(self: Taker, parameters: Any) -> dict[int, Any]:
        images = scan(self, parameters)
        if bench.region.count == 2:
            del images[lost]
        return images

    monkeypatch.setattr(Taker, "_scan", without)
    message = bench.acquire()
    assert message.startswith("Error: nothing came from BF"), message
    assert "look whether the detector is inserted and on" in message
    assert bench.region.count == 2


def test_a_camera_that_is_taken_away_ends_the_series(bench: Bench) -> None:
    with spectrometer(bench, "Spectrometer") as camera:
        bench.choose("HAADF", "Spectrometer")
        bench.model.dwell_us.value, bench.model.width_nm.value, bench.model.frames.value = 80.0, 0.8, 5
        bench.settle()
        source = bench.model.chosen[1].source

        def on_frame(frame: multiframe.AcquiredFrame) -> None:
            if frame.done == 2:
                Registry.unregister_component(source, {"hardware_source", "camera_hardware_source"})

        bench.handler.on_frame = on_frame
        message = bench.acquire()
        Registry.register_component(source, {"hardware_source", "camera_hardware_source"})
        assert message.startswith("Error: Spectrometer was removed from Nion Swift"), message
        assert bench.region.count == 2
        assert camera.runs == 2


def test_a_folder_that_vanishes_is_said(bench: Bench) -> None:
    def on_frame(frame: multiframe.AcquiredFrame) -> None:
        if frame.done == 2:
            shutil.rmtree(frame.path)

    bench.handler.on_frame = on_frame
    message = bench.acquire()
    assert message.startswith("Error"), message
    assert str(bench.region.path) in message or "No such file" in message
    bench.handler.on_frame = None
    assert bench.handler.run.results[0].unsaved is not None  # the third frame is still there
    bench.handler.new_region_button.on_clicked()
    assert bench.acquire().startswith("Done: 3 of 3")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("pixel_size_nm", 0.2, "has pixels of 0.1 nm, but 0.2 nm are planned"),
        ("width_nm", 3.2, "frames of 16 x 16 in 'HAADF', but 16 x 32 are planned"),
    ],
)
def test_frames_of_another_size_are_not_mixed(bench: Bench, name: str, value: float, words: str) -> None:
    assert bench.acquire().startswith("Done")
    getattr(bench.model, name).value = value
    bench.settle()
    message = bench.acquire()
    assert message.startswith("Error"), message
    assert words in message
    assert "make a new region" in message
    assert bench.region.count == 3
    bench.handler.new_region_button.on_clicked()
    assert bench.acquire().startswith("Done: 3 of 3")


def test_frames_of_another_place_are_not_mixed(bench: Bench) -> None:
    assert bench.acquire().startswith("Done")
    center, rotation = bench.model.plan.region.center_nm, 0.0
    bench.model.place = ((center[0] + 5.0, center[1]), rotation)
    bench.model.refresh()
    bench.settle()
    message = bench.acquire()
    assert "is 5 nm away from the region that is planned; make a new region" in message, message
    assert bench.region.count == 3


def test_a_blank_frame_is_stored_and_left_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.model.current_pa.value, bench.model.frames.value = 5000.0, 5
    bench.microscope.instrument.SetVal("BeamCurrent", 5e-9)
    bench.settle()
    scan = Taker._scan

    def blank(self: Taker, parameters: Any) -> dict[int, Any]:
        images = scan(self, parameters)
        return {k: 0 * v for k, v in images.items()} if bench.region.count == 3 else images

    monkeypatch.setattr(Taker, "_scan", blank)
    assert bench.acquire().startswith("Done: 5 of 5")
    state = bench.handler.live.state
    assert state.reasons[3]
    assert not np.isfinite(state.drift_nm[3]).any()
    assert bench.region.frame(3)["HAADF"].sum() == 0
    assert f"{state.accepted} of 5 frames in the sum" in bench.handler.live.text.value


def test_a_frame_that_the_disk_did_not_take_is_kept_until_it_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is pressed meanwhile: a series that cannot begin, a disk that is still full."""
    written = durable.write_file

    def refuse(path: Path, pieces: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    bench.handler.on_frame = lambda frame: monkeypatch.setattr(durable, "write_file", refuse)
    assert bench.acquire().startswith("Error: the disk is full")
    kept = bench.handler.run.results[0].unsaved
    assert kept is not None
    bench.handler.on_frame = None
    bench.handler.live.maps.value = "Ti"
    assert bench.acquire().startswith("Not started: "), bench.handler.message.value
    bench.handler.live.maps.value = ""
    assert bench.acquire().startswith("Error: the disk is full"), bench.handler.message.value
    monkeypatch.setattr(durable, "write_file", written)
    assert bench.acquire().startswith("Done: 3 of 3"), bench.handler.message.value
    assert bench.region.count == 5
    assert np.array_equal(bench.region.frame(1)["HAADF"], kept.values["HAADF"])


@pytest.mark.parametrize("what", ["sum", "script"])
def test_what_fails_at_the_end_leaves_the_panel_ready(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    if what == "sum":

        def fail(live: Any, cancel: Any = None) -> Any:
            raise ValueError("no such sum")

        monkeypatch.setattr(multiframe.LiveFollower, "finish", fail)
        words = "live results failed (ValueError: no such sum)"
    else:
        script = tmp_path / "after.py"
        script.write_text("raise KeyboardInterrupt\n")
        bench.model.after.script.value = str(script)
        words = "after.py, line 1 failed (KeyboardInterrupt"
    bench.model.frames.value = 1
    message = bench.acquire()
    assert message.startswith("Done: 1 of 1 frames"), message
    assert words in message
    monkeypatch.undo()
    bench.model.after.script.value = ""
    assert bench.acquire().startswith("Done: 1 of 1 frames"), bench.handler.message.value


def test_a_last_region_that_cannot_be_read_is_said(bench: Bench) -> None:
    bench.model.frames.value = 1
    assert bench.acquire().startswith("Done")
    (bench.region.parts[0][1] / "zarr.json").write_text("{")
    bench.handler.last_region_button.on_clicked()
    assert bench.handler.region_name.value.startswith("region_001: "), bench.handler.region_name.value
    assert "zarr.json" in bench.handler.region_name.value
    assert bench.acquire().startswith("Error: "), bench.handler.message.value
    bench.handler.new_region_button.on_clicked()
    assert bench.acquire().startswith("Done: 1 of 1")


def test_a_signal_of_the_last_region_that_is_not_there_any_more_is_named(bench: Bench) -> None:
    bench.model.frames.value, bench.model.dwell_us.value, bench.model.width_nm.value = 1, 80.0, 0.8
    with spectrometer(bench, "Spectrometer"):
        bench.choose("HAADF", "Spectrometer")
        assert bench.acquire().startswith("Done")
    bench.handler.last_region_button.on_clicked()
    assert "but without Spectrometer, which is not there" in bench.handler.message.value
    bench.settle()


def test_two_signals_of_one_name_are_refused(bench: Bench) -> None:
    with spectrometer(bench, "HAADF "):
        bench.choose("HAADF", "HAADF ")
        bench.model.dwell_us.value = 80.0
        bench.settle()
        message = bench.acquire()
        assert message.startswith("Not started: HAADF would be called HAADF in files, as HAADF  is"), message


def test_an_area_that_cannot_begin_tells_of_those_before(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(session: multiframe.SessionFolder) -> multiframe.RegionFolder:
        raise StreamError("no folder can be made")

    bench.model.areas.value, bench.model.frames.value = 2, 1
    bench.settle()
    bench.handler.on_frame = lambda frame: monkeypatch.setattr(multiframe.SessionFolder, "new_region", refuse)
    message = bench.acquire()
    assert message == "Error: no folder can be made; frames of areas before that are safe: 1"
    assert bench.region.count == 1
