"""A headless Nion Swift whose projects are in memory or in files, and data items of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from nion.data import Calibration, DataAndMetadata
from nion.swift import DocumentController, Facade
from nion.swift.model import DataItem, FileStorageSystem, Notification, Profile, Symbolic
from nion.swift.test import TestContext
from nion.ui import TestUI

from nionswift_plugin import esteem_process
from nionswift_plugin.esteem_scan import menu


class Swift:
    """A window with a project, and what the user was told."""

    def __init__(self, window: Any) -> None:
        self.window = window
        self.model = window.document_model
        self.told: list[str] = []
        source = Notification._notification_source
        self._listener: Any = source.notify_event.listen(lambda n: self.told.append(f"{n.title}: {n.text}"))

    def close(self) -> None:
        self._listener.close()
        self._listener = None

    def add(self, xdata: Any, title: str = "Specimen A: EELS #1") -> DataItem.DataItem:
        item = DataItem.new_data_item(xdata)
        item.title = title
        item.caption = "seen by eye"
        item.created = datetime.datetime(2026, 3, 4, 5, 6, 7, 89000)
        self.model.append_data_item(item)
        return item

    def display(self, item: DataItem.DataItem) -> Any:
        return self.model.get_display_item_for_data_item(item)

    def clear(self) -> None:
        """Remove all data items, and with them what is computed of them, and forget what the user was told."""
        while self.model.data_items:
            self.model.remove_data_item(self.model.data_items[0])
        assert not self.model.computations
        self.told.clear()

    def select(self, *items: DataItem.DataItem) -> None:
        self.window.periodic()  # so that the data panel knows them
        assert self.window.select_display_items_in_data_panel([self.display(item) for item in items])
        self.window.data_panel_focused()

    def receive(self, path: Path) -> list[DataItem.DataItem]:
        """Import a file; return the data items that came."""
        before = list(self.model.data_items)
        self.window.receive_files([str(path)])
        return [item for item in self.model.data_items if item not in before]

    def until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"it never happened; the user was told {self.told}"
            self.window.periodic()
            time.sleep(0.01)
        self.window.periodic()


@contextlib.contextmanager
def plugin() -> Iterator[None]:
    Facade.initialize()
    types, commands = dict(Symbolic._computation_types), dict(menu._commands)
    esteem_process.run()
    try:
        yield
    finally:
        esteem_process.stop()
        menu._commands.clear()
        menu._commands.update(commands)
        Symbolic._computation_types.clear()
        Symbolic._computation_types.update(types)


@contextlib.contextmanager
def in_memory() -> Iterator[Swift]:
    with plugin(), TestContext.create_memory_context() as context:
        made = Swift(context.create_document_controller())
        try:
            yield made
        finally:
            made.close()


@contextlib.contextmanager
def in_files(folder: Path) -> Iterator[Swift]:
    """As in the real application: data items of three and more dimensions are HDF5 files."""
    (folder / "Cache").mkdir(parents=True)
    path = folder / "Profile.nsproj"
    path.write_text(json.dumps({"version": FileStorageSystem.PROFILE_VERSION, "uuid": str(uuid.uuid4())}))
    storage = FileStorageSystem.make_file_persistent_storage_system(path)
    storage.load_properties()
    loop = asyncio.new_event_loop()
    with plugin():
        profile = Profile.Profile(loop, storage_system=storage, cache_dir_path=folder / "Cache")
        profile.read_profile()
        reference = profile.create_project(folder, "P")
        profile.read_project(reference)
        window = DocumentController.DocumentController(
            TestUI.UserInterface(), reference.document_model, workspace_id="library"
        )
        made = Swift(window)
        try:
            yield made
        finally:
            made.close()
            window.close()
            profile.close()
            loop.close()


def calibrated(data: Any, descriptor: tuple[bool, int, int], units: list[str]) -> DataAndMetadata.DataAndMetadata:
    """Return data with calibrations of its own on every axis, metadata and a time."""
    axes = [Calibration.Calibration(-1.5 + i, 0.25 * (i + 1), unit) for i, unit in enumerate(units)]
    return DataAndMetadata.new_data_and_metadata(
        data,
        intensity_calibration=Calibration.Calibration(0.5, 2.0, "counts"),
        dimensional_calibrations=axes,
        metadata={"instrument": {"high_tension": 60000}, "hardware_source": {"exposure": 0.1, "list": [1, 2.5, "a"]}},
        data_descriptor=DataAndMetadata.DataDescriptor(*descriptor),
        timezone="Europe/Berlin",
        timezone_offset="+0100",
    )


KINDS: dict[str, tuple[tuple[int, ...], tuple[bool, int, int], list[str]]] = {
    "spectrum": ((64,), (False, 0, 1), ["eV"]),
    "profile": ((64,), (False, 0, 1), ["nm"]),
    "image": ((12, 16), (False, 0, 2), ["nm", "nm"]),
    "pattern": ((12, 16), (False, 0, 2), ["mrad", "mrad"]),
    "sequence of spectra": ((5, 64), (True, 0, 1), ["s", "eV"]),
    "line of spectra": ((9, 64), (False, 1, 1), ["nm", "eV"]),
    "line of patterns": ((9, 8, 10), (False, 1, 2), ["nm", "rad", "rad"]),
    "sequence of images": ((5, 12, 16), (True, 0, 2), ["", "nm", "nm"]),
    "spectrum image": ((6, 7, 32), (False, 2, 1), ["nm", "nm", "eV"]),
    "cathodoluminescence": ((6, 7, 32), (False, 2, 1), ["nm", "nm", "nm"]),
    "4D-STEM": ((4, 5, 8, 10), (False, 2, 2), ["nm", "nm", "mrad", "mrad"]),
    "series of spectrum images": ((3, 4, 5, 32), (True, 2, 1), ["s", "nm", "nm", "eV"]),
    "series of 4D-STEM": ((2, 3, 4, 8, 10), (True, 2, 2), ["s", "nm", "nm", "rad", "rad"]),
}


def values(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    made = rng.poisson(40, shape)
    if np.dtype(dtype).kind == "c":
        return (made + 1j * rng.normal(size=shape)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        return (made + rng.normal(size=shape)).astype(dtype)
    return made.astype(dtype)
