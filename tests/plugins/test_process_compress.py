"""The window in which data items are compressed: by its buttons, what is on the disk, and what the user reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from process_store import compress, opened, spectra
from process_swift import Swift, in_files, in_memory

from esteemcore import io
from nionswift_plugin.esteem_process import container_files, store_window
from nionswift_plugin.esteem_process.commands import compress_to_container, restore_from_container
from nionswift_plugin.esteem_scan import menu


@pytest.fixture
def app(swift: Any) -> Iterator[Swift]:
    with in_memory() as made:
        yield made


def test_the_menu_has_the_commands(app: Swift) -> None:
    titles = [command.title for command in menu.commands()]
    assert {"Compress to Container...", "Restore from Container...", "Compression Preview"} <= set(titles)


def test_nothing_is_selected(app: Swift) -> None:
    assert compress_to_container.open_window(app.window) is None
    assert "No data item is selected" in app.told[0]


@pytest.mark.parametrize("suffix", [".esteem", ".esteem.zip"])
def test_compress_remove_and_restore(swift: Any, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_files(tmp_path / "project") as app:
        item, other = app.add(spectra()), app.add(spectra("image"), "ADF")
        data = np.asarray(item.xdata.data)
        path = tmp_path / f"stored{suffix}"
        store = opened(app, item, other, path=path)
        assert not store.can_remove.value
        message = compress(app, store)
        assert "times smaller; read back and found whole" in message
        assert message.count("no loss") == 2
        assert item in app.model.data_items
        assert store.progress.value == 100
        store.remove_button.on_clicked()
        assert not app.model.data_items
        assert not store.can_remove.value
        app.window.handle_undo()
        assert len(app.model.data_items) == 2
        store.close_window()
        chosen = [str(path if suffix.endswith("zip") else path / "zarr.json")]
        monkeypatch.setattr(app.window, "get_file_paths_dialog", lambda *a: (chosen, "", str(tmp_path)))
        before = list(app.model.data_items)
        restore_from_container.COMMAND.action(app.window)
        new = [i for i in app.model.data_items if i not in before]
        assert len(new) == 2
        found = next(i for i in new if i.title == "Specimen A: EELS #1")
        assert np.array_equal(np.asarray(found.xdata.data), data)


def test_mistakes_are_told_in_words(app: Swift, tmp_path: Path) -> None:
    item, picture = app.add(spectra()), app.add(np.zeros((6, 7, 3), np.uint8), "picture")
    store = opened(app, item, path=Path("nowhere.esteem"))
    assert "has no folder" in compress(app, store)
    store.path.value = str(tmp_path / "away" / "a.esteem.zip")
    assert "cannot be written" in compress(app, store)
    store.path.value = str(tmp_path / "a.txt")
    assert "Error" in compress(app, store)
    store.path.value = str(tmp_path / "a.esteem")
    store.method_index.value = store_window.BOUNDED
    store.gain.value = None
    assert "must be numbers" in compress(app, store)
    store.gain.value = -1.0
    assert "gain" in compress(app, store)
    store.close_window()
    store = opened(app, picture, path=tmp_path / "a.esteem")
    assert "colour picture" in compress(app, store)
    app.model.remove_data_item(picture)
    assert "was removed from the project" in compress(app, store)
    store.close_window()
    assert not list(tmp_path.iterdir())


def test_a_container_that_cannot_be_read_back(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io, "verify", lambda *a: ["signal 'x': block 0 cannot be read"])
    store = opened(app, app.add(spectra()), path=tmp_path / "a.esteem")
    assert "keep the original" in compress(app, store)
    assert not store.can_remove.value
    store.close_window()


def test_choosing_a_file(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(app, app.add(spectra()))
    assert store.path.value.endswith("Specimen A EELS 1.esteem.zip")
    folder = store_window.FILTER.split(";;")[1]
    answers = iter([(str(tmp_path / "a"), folder, ""), (str(tmp_path / "1.5 nA"), "", ""), ("", "", "")])
    monkeypatch.setattr(app.window, "get_save_file_path", lambda *a: next(answers))
    for expected in ("a.esteem", "1.5 nA.esteem.zip", "1.5 nA.esteem.zip"):
        store.choose_button.on_clicked()
        assert store.path.value == str(tmp_path / expected)
    store.close_window()


def test_values_that_differ_from_the_original_are_found(app: Swift, tmp_path: Path, monkeypatch: Any) -> None:
    item = app.add(spectra())
    write = container_files.write

    def changed(path: Path, dataset: io.Dataset, **options: Any) -> None:
        write(path, dataset, **options)
        for signal in dataset.signals.values():
            np.asarray(signal.data)[0, 0, 0] += 1

    monkeypatch.setattr(container_files, "write", changed)
    store = opened(app, item, path=tmp_path / "a.esteem")
    assert "1 of" in compress(app, store)
    assert "keep the original" in store.message.value
    assert not store.can_remove.value
