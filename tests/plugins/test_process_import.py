"""Large containers come into the project in a thread: progress, stop, and nothing half-made whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nion.swift.model import FileStorageSystem
from process_swift import Swift, calibrated, in_files, in_memory, values

from esteemcore import events, io
from nionswift_plugin.esteem_process import container_handler, from_dataset, import_window, project_item
from nionswift_plugin.esteem_process.project_item import ProjectItem

SHAPE = (12, 7, 100)


@pytest.fixture(autouse=True)
def in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is large, and comes in many parts."""
    monkeypatch.setattr(container_handler, "AT_ONCE_BYTES", 0)
    monkeypatch.setattr(from_dataset, "PART_BYTES", 8192)
    monkeypatch.setattr(project_item, "SLAB_BYTES", 2800)


@pytest.fixture
def app(swift: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swift]:
    with in_files(tmp_path / "project") as made:
        monkeypatch.setattr(import_window, "open_windows", lambda: [made.window])
        yield made


class Windows:
    """The windows that appeared, and a gate in the middle of the work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[import_window.ImportWindow] = []
        self.reached, self.go = threading.Event(), threading.Event()
        show, fill = import_window.ImportWindow.run, ProjectItem.fill

        def shown(window: Any, *args: Any, **options: Any) -> None:
            show(window, *args, **options)
            self.shown.append(window)

        def held(item: ProjectItem, advance: Any) -> None:
            parts = iter(range(1000))

            def wait(count: int) -> None:
                if next(parts) == 3:
                    self.reached.set()
                    assert self.go.wait(60)
                advance(count)

            fill(item, wait)

        monkeypatch.setattr(import_window.ImportWindow, "run", shown)
        monkeypatch.setattr(ProjectItem, "fill", held)


def container(tmp_path: Path, *names: str) -> tuple[Path, np.ndarray]:
    data = values(SHAPE, np.float32)
    around = tuple(map(io.Axis, ("y", "x", "energy"), SHAPE))
    path = tmp_path / "e.esteem"
    io.save(path, io.Dataset({name: io.Signal(data, around) for name in names or ("eels",)}))
    return path / "zarr.json", data


def files(tmp_path: Path) -> list[Path]:
    return [path for kind in ("*.h5", "*.ndata") for path in (tmp_path / "project").rglob(kind)]


def threads() -> list[Any]:
    return [thread for thread in threading.enumerate() if thread.name == "esteem-import"]


def test_a_large_container_comes_while_the_window_goes_on(
    app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = Windows(monkeypatch)
    path, data = container(tmp_path, "a", "b")
    began = time.monotonic()
    assert app.receive(path) == []  # at once, although nothing can be written before the gate opens
    assert time.monotonic() - began < 40  # the gate would open after 60 s
    assert windows.reached.wait(60)
    (window,) = windows.shown
    app.until(lambda: 0 < window.progress.value < 100)
    assert window.is_running.value
    assert window.message.value == "Importing e.esteem, 0 MB"
    assert not app.model.data_items
    windows.go.set()
    app.until(lambda: len(app.model.data_items) == 2 and not threads())
    for item in app.model.data_items:
        assert isinstance(item.xdata.data, h5py.Dataset)
        assert np.array_equal(np.asarray(item.xdata.data), data)
        assert app.display(item) is not None
    assert {item.title for item in app.model.data_items} == {"a", "b"}
    assert app.told == []
    app.model.data_items[0].title = "can be changed"


def test_stop_leaves_nothing(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Windows(monkeypatch)
    path, _ = container(tmp_path)
    app.receive(path)
    assert windows.reached.wait(60)
    assert files(tmp_path)
    window = windows.shown[0]
    window.stop_button.on_clicked()
    assert "Stopping" in window.message.value
    assert not window.is_running.value
    windows.go.set()
    app.until(lambda: not files(tmp_path) and not threads())
    assert not app.model.data_items
    assert app.told == []
    app.receive(path)  # and it can be imported later
    app.until(lambda: len(app.model.data_items) == 1)


def test_closing_the_window_stops(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Windows(monkeypatch)
    app.receive(container(tmp_path)[0])
    assert windows.reached.wait(60)
    threading.Timer(0.1, windows.go.set).start()
    windows.shown[0].close_window()
    assert not threads()
    assert not files(tmp_path)
    app.window.periodic()
    assert not app.model.data_items


def test_closing_the_window_after_the_last_part(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Windows(monkeypatch)
    windows.go.set()
    app.receive(container(tmp_path)[0])
    for thread in threads():
        thread.join(60)
    assert files(tmp_path)  # whole, but nobody has taken them yet
    windows.shown[0].close_window()
    app.window.periodic()
    assert not files(tmp_path)
    assert not app.model.data_items


def test_a_thread_that_hangs_does_not_keep_the_window(
    app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_window, "WAIT_S", 0.1)
    windows = Windows(monkeypatch)
    app.receive(container(tmp_path)[0])
    assert windows.reached.wait(60)
    began = time.monotonic()
    windows.shown[0].close_window()
    assert time.monotonic() - began < 40  # the gate would open after 60 s
    windows.go.set()
    app.until(lambda: not threads())
    assert not files(tmp_path)
    assert not app.model.data_items


def test_closing_swift_stops(swift: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Windows(monkeypatch)
    with in_files(tmp_path / "project") as app:
        monkeypatch.setattr(import_window, "open_windows", lambda: [app.window])
        app.receive(container(tmp_path)[0])
        assert windows.reached.wait(60)
        threading.Timer(0.1, windows.go.set).start()
    assert not threads()
    assert not files(tmp_path)


@pytest.mark.parametrize("is_large", [False, True])
def test_damage_leaves_nothing_and_is_told(
    app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    monkeypatch.setattr(container_handler, "AT_ONCE_BYTES", 0 if is_large else 2**40)
    path = damaged(tmp_path)
    app.receive(path)
    app.until(lambda: app.told != [] and not threads())
    assert "cannot be read" in app.told[0]
    assert not files(tmp_path)
    assert not app.model.data_items


@pytest.mark.parametrize("is_large", [False, True])
def test_damage_leaves_nothing_in_memory(
    swift: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    monkeypatch.setattr(container_handler, "AT_ONCE_BYTES", 0 if is_large else 2**40)
    with in_memory() as app:
        monkeypatch.setattr(import_window, "open_windows", lambda: [app.window])
        app.receive(damaged(tmp_path))
        app.until(lambda: app.told != [] and not threads())
        assert not app.model.data_items
        assert app.add(calibrated(values((12, 16), np.float32), (False, 0, 2), ["nm", "nm"])).data is not None


def damaged(tmp_path: Path) -> Path:
    """Return a container of an image, which is a small file of Swift's, and of spectra that cannot be read."""
    path, data = container(tmp_path)
    around = tuple(map(io.Axis, ("y", "x", "energy"), SHAPE))
    signals = {"adf": io.Signal(data[..., 0], around[:2]), "eels": io.Signal(data, around)}
    io.save(path.parent, io.Dataset(signals), overwrite=True)
    block = next((path.parent / "signals" / "eels").glob("c.*"))
    block.write_bytes(block.read_bytes()[:-7])
    return path


def test_two_at_a_time(app: Swift, tmp_path: Path) -> None:
    path, data = container(tmp_path)
    app.receive(path)
    app.receive(path)
    app.until(lambda: len(app.model.data_items) == 2)
    assert all(np.array_equal(np.asarray(item.xdata.data), data) for item in app.model.data_items)
    assert len({item.uuid for item in app.model.data_items}) == 2


def test_events_become_map_and_spectrum(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_dataset, "EVENTS_BYTES", 1000)
    counts = np.random.default_rng(0).poisson(0.05, SHAPE).astype(np.uint16)
    signal = io.Signal(events.SparseSI.from_dense(counts), tuple(map(io.Axis, ("y", "x", "energy"), SHAPE)), "events")
    io.save(tmp_path / "eds.esteem", io.Dataset({"eds": signal}))
    app.receive(tmp_path / "eds.esteem" / "zarr.json")
    app.until(lambda: len(app.model.data_items) == 2)
    image, spectrum = app.model.data_items
    assert np.array_equal(image.data, counts.sum(axis=-1))
    assert np.array_equal(spectrum.data, counts.sum(axis=(0, 1)))


def test_small_ones_are_there_at_once(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, data = container(tmp_path)
    monkeypatch.setattr(container_handler, "AT_ONCE_BYTES", data.nbytes)
    assert len(app.receive(path)) == 1
    monkeypatch.setattr(container_handler, "AT_ONCE_BYTES", data.nbytes - 1)
    assert app.receive(path) == []
    app.until(lambda: len(app.model.data_items) == 2)


def test_a_project_in_memory(swift: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_memory() as app:
        monkeypatch.setattr(import_window, "open_windows", lambda: [app.window])
        path, data = container(tmp_path)
        app.receive(path)
        app.until(lambda: len(app.model.data_items) == 1)
        assert np.array_equal(app.model.data_items[0].data, data)


def test_what_a_killed_import_leaves_does_not_keep_the_project_from_opening(swift: Any, tmp_path: Path) -> None:
    with in_files(tmp_path / "project") as app:
        uuid = str(app.add(calibrated(values(SHAPE, np.float32), (False, 2, 1), ["nm", "nm", "eV"])).uuid)
        (whole,) = files(tmp_path)
        half = whole.with_name("half.h5")
        with h5py.File(half, "w") as file:
            file.create_dataset("data", SHAPE, np.float32)
    (project,) = (tmp_path / "project").glob("P.*")
    system = FileStorageSystem.make_index_project_storage_system(project)
    system.load_properties()
    items, errors = system.read_project_properties()
    system.close()
    assert [item["uuid"] for item in items["data_items"]] == [uuid]
    assert [Path(error.identifier).name for error in errors] == ["half.h5"]
