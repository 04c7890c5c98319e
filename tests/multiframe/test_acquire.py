"""Series to disk: numbered, appended, killed and resumed, refused; what is stored is what was scanned."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import known_microscope
import numpy as np
import pytest

from esteemcore import io, multiframe
from esteemcore.errors import CancelledError, FormatError, ParameterError, StreamError
from esteemcore.io import durable


@pytest.fixture
def folder(tmp_path: Path) -> multiframe.RegionFolder:
    return multiframe.SessionFolder(tmp_path / "session").new_region()


def holds(folder: multiframe.RegionFolder, count: int) -> None:
    """Assert that the folder has exactly these frames, each as it was scanned."""
    assert folder.count == count
    for number in range(count):
        stored = folder.frame(number)
        assert np.array_equal(stored["adf"], known_microscope.frame(number)), number
        assert np.array_equal(stored["eds"].to_dense(), known_microscope.spectra(number)), number
    with pytest.raises(ParameterError, match=f"no frame {count}"):
        folder.frame(count)


def test_regions_are_numbered_and_no_number_comes_twice(tmp_path: Path) -> None:
    session = multiframe.SessionFolder(tmp_path / "session")
    assert session.regions == ()
    names = [session.new_region().path.name for _ in range(3)]
    assert names == ["region_001", "region_002", "region_003"]
    (tmp_path / "session" / "region_007").mkdir()
    (tmp_path / "session" / "region_new").mkdir()
    (tmp_path / "session" / "region_002").rmdir()
    assert session.new_region().path.name == "region_008"
    assert [region.path.name for region in session.regions] == ["region_001", "region_003", "region_007", "region_008"]


def test_a_session_needs_a_place(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="from its root on"):
        multiframe.SessionFolder("here")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StreamError, match="choose another session folder"):
        multiframe.SessionFolder(tmp_path / "file").new_region()


@pytest.mark.parametrize("order", ["raster", "serpentine", "shuffled", "turned raster"])
def test_frames_are_stored_upright_and_appended(folder: multiframe.RegionFolder, order: str) -> None:
    plan = known_microscope.plan(order=order)
    first = multiframe.acquire_series(plan, folder, known_microscope.take)
    assert (first.first, first.frames, first.reason) == (0, 4, "")
    assert first.summary.startswith("Done: 4 of 4 frames")
    second = multiframe.acquire_series(plan, folder, known_microscope.take)
    assert (second.first, second.frames, second.path) == (4, 4, first.path)
    assert [number for number, _ in folder.parts] == [0]
    holds(folder, 8)
    times = io.load(first.path).series.time_s
    assert np.all(np.diff(times) > 0)
    if order in ("shuffled", "turned raster"):
        for number in range(8):
            rank = folder.frame(number)[multiframe.VISIT_ORDER]
            assert np.array_equal(np.argsort(rank, axis=None), plan.order(number).visits.order)


def test_each_frame_is_on_disk_when_it_is_announced(folder: multiframe.RegionFolder) -> None:
    seen = []

    def on_frame(frame: multiframe.AcquiredFrame) -> None:
        dataset = io.load(frame.path)
        assert dataset.series is not None
        assert dataset.series.frames == frame.done
        assert np.array_equal(frame.values["adf"], known_microscope.frame(frame.number))
        seen.append((frame.number, frame.done, frame.planned))

    multiframe.acquire_series(known_microscope.plan(), folder, known_microscope.take, on_frame=on_frame)
    assert seen == [(0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 4, 4)]


def test_enough_is_enough(folder: multiframe.RegionFolder) -> None:
    result = multiframe.acquire_series(
        known_microscope.plan(),
        folder,
        known_microscope.take,
        on_frame=lambda frame: "sharp enough" if frame.done == 3 else None,
    )
    assert (result.frames, result.reason, result.is_failure) == (3, "sharp enough", False)
    holds(folder, 3)


def test_live_results_that_fail_harm_nothing(folder: multiframe.RegionFolder) -> None:
    def on_frame(frame: multiframe.AcquiredFrame) -> None:
        raise RuntimeError("no map")

    result = multiframe.acquire_series(known_microscope.plan(), folder, known_microscope.take, on_frame=on_frame)
    assert result.frames == 4
    assert result.notes == ("live results failed (RuntimeError: no map)",)


def test_a_stop_keeps_what_was_taken(folder: multiframe.RegionFolder) -> None:
    cancel = threading.Event()

    def take(request: multiframe.FrameRequest) -> dict[str, Any]:
        if request.number == 2:
            cancel.set()
            raise CancelledError("Stopped by the user")
        return known_microscope.take(request)

    result = multiframe.acquire_series(known_microscope.plan(), folder, take, cancel=cancel)
    assert (result.frames, result.reason, result.is_failure) == (2, "Stopped by the user", False)
    holds(folder, 2)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda taken: taken | {"adf": taken["adf"][:-1]}, "15 x 12 places, but 16 x 12 were scanned"),
        (lambda taken: {"adf": taken["adf"]}, "eds did not come"),
    ],
)
def test_a_frame_that_does_not_fit_ends_the_series_and_keeps_it(
    folder: multiframe.RegionFolder, broken: Any, words: str
) -> None:
    def take(request: multiframe.FrameRequest) -> Any:
        taken = known_microscope.take(request)
        return broken(taken) if request.number == 2 else taken

    result = multiframe.acquire_series(known_microscope.plan(), folder, take)
    assert (result.frames, result.is_failure) == (2, True)
    assert words in result.summary
    holds(folder, 2)


def test_another_size_or_signal_needs_a_new_region(folder: multiframe.RegionFolder) -> None:
    multiframe.acquire_series(known_microscope.plan(), folder, known_microscope.take)
    region = multiframe.Region((8, 8), 0.1)
    settings = known_microscope.plan().settings
    for signals, words in (
        ({"adf": io.SeriesSignal((8, 8), np.float32)}, "frames of 16 x 12 in 'adf', but 8 x 8"),
        ({"bf": io.SeriesSignal((8, 8), np.float32)}, "frames without 'bf'"),
        ({}, "nothing is to be recorded"),
    ):
        with pytest.raises(ParameterError, match=words):
            multiframe.acquire_series(multiframe.SeriesPlan(region, settings, signals), folder, known_microscope.take)
    signals = known_microscope.plan().signals
    for region, words in (
        (multiframe.Region((16, 12), 0.2), "pixels of 0.1 nm, but 0.2 nm"),
        (multiframe.Region((16, 12), 0.1, (0.0, 2.0)), "2 nm away"),
    ):
        with pytest.raises(ParameterError, match=words):
            multiframe.acquire_series(multiframe.SeriesPlan(region, settings, signals), folder, known_microscope.take)
    drifted = multiframe.SeriesPlan(multiframe.Region((16, 12), 0.1, (0.1, -0.2)), settings, signals)
    assert multiframe.acquire_series(drifted, folder, known_microscope.take).first == 4
    holds(folder, 8)


def test_a_full_disk_keeps_the_series_and_the_last_frame(
    folder: multiframe.RegionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = durable.write_file

    def refuse(path: Path, pieces: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full(request: multiframe.FrameRequest) -> dict[str, Any]:
        if request.number == 2:
            monkeypatch.setattr(durable, "write_file", refuse)
        return known_microscope.take(request)

    result = multiframe.acquire_series(known_microscope.plan(), folder, full)
    monkeypatch.setattr(durable, "write_file", written)
    assert result.frames == 2
    assert "the disk is full" in result.summary
    assert result.unsaved is not None
    assert np.array_equal(result.unsaved.values["adf"], known_microscope.frame(2))
    holds(folder, 2)
    again = multiframe.acquire_series(known_microscope.plan(), folder, known_microscope.take, rest=result.unsaved)
    assert (again.first, again.frames, again.unsaved) == (3, 4, None)
    holds(folder, 7)


def test_a_frame_that_comes_late_to_disk_is_stored_with_all_that_is_known_of_it(
    folder: multiframe.RegionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, written = known_microscope.plan(energy_step_ev=2.0, frames=2), durable.write_file

    def refuse(path: Path, pieces: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full(request: multiframe.FrameRequest) -> dict[str, Any]:
        if request.number == 1:
            monkeypatch.setattr(durable, "write_file", refuse)
        return known_microscope.take(request)

    result = multiframe.acquire_series(plan, folder, full, where=lambda: (0.01, -0.02))
    monkeypatch.setattr(durable, "write_file", written)
    multiframe.acquire_series(plan, folder, known_microscope.take, where=lambda: (0.0, 0.0), rest=result.unsaved)
    ((_, dataset),) = folder.datasets()
    series = dataset.series
    assert series is not None
    assert series.energy_offset_ev.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert series.displacement_px == pytest.approx(np.array([(0.1, -0.2), (0.1, -0.2), (0, 0), (0, 0)]))
    assert np.all(np.diff(series.time_s) > 0)


def test_a_killed_series_loses_at_most_one_frame_and_resumes(folder: multiframe.RegionFolder) -> None:
    for _ in range(2):
        before = folder.count
        program = subprocess.Popen(
            [sys.executable, str(Path(known_microscope.__file__)), str(folder.path)], stdout=subprocess.PIPE, text=True
        )
        assert program.stdout is not None
        announced = [int(program.stdout.readline()) for _ in range(5)]
        program.kill()
        announced += [int(line) for line in program.stdout.read().split()]
        program.wait()
        program.stdout.close()
        assert announced[0] == before
        assert announced[-1] + 1 <= folder.count <= announced[-1] + 2
    count = folder.count
    result = multiframe.acquire_series(known_microscope.plan(), folder, known_microscope.take)
    assert result.first == count
    holds(folder, count + 4)


def test_another_way_of_scanning_begins_a_new_container(folder: multiframe.RegionFolder) -> None:
    first = multiframe.acquire_series(known_microscope.plan(), folder, known_microscope.take)
    for number, settings in enumerate(({"dwell_s": 2e-5}, {"dwell_s": 2e-5, "order": "shuffled"}), 1):
        plan = known_microscope.plan(**settings)
        result = multiframe.acquire_series(plan, folder, known_microscope.take)
        assert (result.first, result.frames) == (4 * number, 4)
        assert len(folder.parts) == number + 1
    assert io.load(first.path).series.frames == 4
    third = multiframe.acquire_series(plan, folder, known_microscope.take)
    assert (third.first, third.path) == (12, result.path)
    assert len(folder.parts) == 3
    holds(folder, 16)


def test_each_run_is_told_in_the_container(folder: multiframe.RegionFolder) -> None:
    for number, frames in enumerate((2, 3, 1)):
        plan = known_microscope.plan(frames=frames)
        multiframe.acquire_series(plan, folder, known_microscope.take, metadata={"overrides": [number]})
    dataset = io.load(folder.parts[0][1])
    entry = dataset.metadata["multiframe"]
    assert entry["first_frame"] == 0
    assert dataset.metadata["overrides"] == [0]
    assert [run["first_frame"] for run in entry["runs"]] == [0, 2, 5]
    assert [run["settings"]["frames"] for run in entry["runs"]] == [2, 3, 1]
    assert [run["metadata"]["overrides"] for run in entry["runs"][1:]] == [[1], [2]]
    assert dataset.notes == ()
    assert io.verify(folder.parts[0][1]) == []


def test_times_go_on_when_the_clock_was_set_back(
    folder: multiframe.RegionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    for clock in (now, now + 100.0, now - 1000.0):
        monkeypatch.setattr(time, "time", lambda clock=clock: clock)
        multiframe.acquire_series(known_microscope.plan(frames=2), folder, known_microscope.take)
    series = io.load(folder.parts[0][1]).series
    assert series is not None
    assert np.all(np.diff(series.time_s) >= 0)
    assert series.time_s[2] == pytest.approx(100.0, abs=5.0)
    assert series.time_s[4] == pytest.approx(100.0, abs=5.0)


def test_folders_of_several_containers_are_read_and_continued(folder: multiframe.RegionFolder) -> None:
    signals = known_microscope.plan().signals
    for first in (0, 2):
        with io.SeriesWriter(folder.path / f"frames_{first:05d}.esteem", signals) as writer:
            for number in (first, first + 1):
                frame = {"adf": known_microscope.frame(number), "eds": known_microscope.spectra(number)}
                writer.append(frame, time_s=0.1 * number)
    holds(folder, 4)
    result = multiframe.acquire_series(known_microscope.plan(), folder, known_microscope.take)
    assert (result.first, result.frames) == (4, 4)
    holds(folder, 8)


def test_a_damaged_container_is_never_replaced(folder: multiframe.RegionFolder) -> None:
    result = multiframe.acquire_series(known_microscope.plan(), folder, known_microscope.take)
    (result.path / "signals" / "adf" / "zarr.json").write_text("{")
    before = {p: p.read_bytes() for p in result.path.rglob("*") if p.is_file()}
    with pytest.raises(FormatError, match="adf"):
        multiframe.acquire_series(known_microscope.plan(), folder, known_microscope.take)
    assert {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()} == before


def test_the_file_tells_how_it_was_made(folder: multiframe.RegionFolder) -> None:
    plan = known_microscope.plan(energy_step_ev=0.5, frames=3)
    result = multiframe.acquire_series(plan, folder, known_microscope.take, metadata={"overrides": ["because"]})
    dataset = io.load(result.path)
    entry = dataset.metadata["multiframe"]
    assert dataset.metadata["overrides"] == ["because"]
    assert multiframe.SeriesSettings.from_dict(entry["settings"]) == plan.settings
    assert entry["region"]["pixel_size_nm"] == 0.1
    assert dataset.scan is not None
    assert dataset.scan.step_nm == 0.1
    assert dataset.series is not None
    assert dataset.series.energy_offset_ev == pytest.approx([0.0, 0.5, 1.0])
    assert np.all(np.diff(dataset.series.time_s) > 0)
    assert result.provenance.function == "multiframe.acquire_series"
