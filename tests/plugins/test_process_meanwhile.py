"""What happens to data items, files and windows while data items are compressed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from process_store import Gate, compress, opened, spectra
from process_swift import Swift, in_files, in_memory

from esteemcore import io
from nionswift_plugin.esteem_process import container_files, store_window
from nionswift_plugin.esteem_process.to_dataset import make_dataset


@pytest.fixture
def app(swift: Any) -> Iterator[Swift]:
    with in_memory() as made:
        yield made


def test_data_that_have_changed_since_are_not_removed(swift: Any, tmp_path: Path) -> None:
    with in_files(tmp_path / "project") as app:
        item = app.add(spectra())
        store = opened(app, item, path=tmp_path / "a.esteem.zip")
        compress(app, store)
        assert store.can_remove.value
        item.set_data(np.asarray(item.xdata.data) + 1)
        store.remove_button.on_clicked()
        assert item in app.model.data_items
        assert "have changed" in store.message.value
        assert not store.can_remove.value
        store.close_window()


def test_stop(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    store = opened(app, app.add(spectra()), path=tmp_path / "a.esteem.zip")
    store.store_button.on_clicked()
    assert gate.reached.wait(60)
    assert store.is_running.value
    store.stop_button.on_clicked()
    gate.go.set()
    app.until(lambda: store.is_idle.value)
    assert store.message.value == "Stopped; nothing was written"
    assert not list(tmp_path.iterdir())
    assert "found whole" in compress(app, store)
    store.close_window()


def test_closing_the_window_stops(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    item = app.add(spectra())
    store = opened(app, item, path=tmp_path / "a.esteem")
    store.store_button.on_clicked()
    assert gate.reached.wait(60)
    threading.Timer(0.2, gate.go.set).start()
    store.close_window()
    assert not list(tmp_path.iterdir())
    assert not [t for t in threading.enumerate() if t.name == "esteem-store"]


def test_closing_swift_stops(swift: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    with in_files(tmp_path / "project") as app:
        store = opened(app, app.add(spectra()), path=tmp_path / "a.esteem.zip")
        store.store_button.on_clicked()
        assert gate.reached.wait(60)
        threading.Timer(0.2, gate.go.set).start()
    assert [path.name for path in tmp_path.iterdir()] == ["project"]
    assert not [t for t in threading.enumerate() if t.name == "esteem-store"]


def test_the_item_is_removed_meanwhile(swift: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    with in_files(tmp_path / "project") as app:
        item = app.add(spectra())
        store = opened(app, item, path=tmp_path / "a.esteem")
        store.store_button.on_clicked()
        assert gate.reached.wait(60)
        app.model.remove_data_item(item)
        gate.go.set()
        app.until(lambda: store.is_idle.value)
        assert "Error" in store.message.value
        assert "'Specimen A: EELS #1' left the project while it was written; Edit > Undo brings" in store.message.value
        assert not (tmp_path / "a.esteem").exists()
        assert not store.can_remove.value
        store.close_window()


def test_data_are_held_before_they_are_looked_at_and_until_the_end(
    app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = app.add(spectra())
    before, seen = item._data_ref_count, []

    def looked_at(items: Any) -> io.Dataset:
        seen.append(item._data_ref_count)
        return make_dataset(items)

    monkeypatch.setattr(store_window, "make_dataset", looked_at)
    store = opened(app, item, path=tmp_path / "a.esteem")
    assert "found whole" in compress(app, store)
    assert seen == [before + 1]
    assert item._data_ref_count == before
    monkeypatch.setattr(store_window, "make_dataset", lambda items: io.Dataset(dict.fromkeys("a/b", None)))
    compress(app, store)
    assert item._data_ref_count == before
    store.close_window()


def test_refused_data_are_not_held(app: Swift, tmp_path: Path) -> None:
    item, picture = app.add(spectra()), app.add(np.zeros((6, 7, 3), np.uint8), "picture")
    before = item._data_ref_count
    store = opened(app, item, picture, path=tmp_path / "a.esteem")
    assert "colour picture" in compress(app, store)
    assert item._data_ref_count == before
    store.close_window()


def test_a_thread_that_hangs_does_not_keep_the_window(
    app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_window, "WAIT_S", 0.1)
    gate = Gate(monkeypatch)
    item = app.add(spectra())
    before = item._data_ref_count
    store = opened(app, item, path=tmp_path / "a.esteem.zip")
    store.store_button.on_clicked()
    assert gate.reached.wait(60)
    began = time.monotonic()
    store.close_window()
    assert time.monotonic() - began < 40  # the gate would open after 60 s
    assert item._data_ref_count == before + 1  # the thread may still read them
    gate.go.set()
    app.until(lambda: not [t for t in threading.enumerate() if t.name == "esteem-store"])
    assert item._data_ref_count == before
    assert not list(tmp_path.iterdir())


def test_renamed_meanwhile(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    item = app.add(spectra(), "before")
    store = opened(app, item, path=tmp_path / "a.esteem")
    store.store_button.on_clicked()
    assert gate.reached.wait(60)
    item.title = "after"
    gate.go.set()
    app.until(lambda: store.is_idle.value)
    assert "'before' is called 'after' by now, but has its old title in the container." in store.message.value
    assert list(io.load(tmp_path / "a.esteem").signals) == ["before"]
    assert not store.can_remove.value
    store.path.value = str(tmp_path / "b.esteem")
    assert "by now" not in compress(app, store)
    assert store.can_remove.value
    store.close_window()


def test_one_of_two_is_removed_after_it_was_read(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = app.add(spectra(), "one"), app.add(spectra(), "other")
    write = container_files.write

    def removed(*args: Any, **options: Any) -> None:
        write(*args, **options)
        done.append(app.model.remove_data_item)

    done: list[Any] = []
    monkeypatch.setattr(container_files, "write", removed)
    store = opened(app, one, other, path=tmp_path / "a.esteem")
    store.store_button.on_clicked()
    while not done:
        time.sleep(0.01)
    app.model.remove_data_item(one)
    app.until(lambda: store.is_idle.value)
    assert "found whole" in store.message.value
    assert "'one' left the project meanwhile." in store.message.value
    assert store.can_remove.value
    store.remove_button.on_clicked()
    assert not app.model.data_items
    store.close_window()


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_replaced(
    app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    path = tmp_path / "a.esteem.zip"
    pack = io.pack

    def late(*args: Any, **options: Any) -> Path:
        packed = pack(*args, **options)
        path.write_text("somebody else's")
        return packed

    monkeypatch.setattr(io, "pack", late)
    if not links:
        monkeypatch.setattr(container_files.os, "link", lambda *a: (_ for _ in ()).throw(OSError("no links")))
    store = opened(app, app.add(spectra()), path=path)
    assert "exists already and is not replaced" in compress(app, store)
    assert path.read_text() == "somebody else's"
    assert len(list(tmp_path.iterdir())) == 1
    path.unlink()
    monkeypatch.setattr(io, "pack", pack)
    assert "found whole" in compress(app, store)
    store.close_window()
