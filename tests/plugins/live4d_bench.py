"""The live 4D-STEM panel in a headless window, with the hands of a user."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore import fourd, io, stream
from nionswift_plugin.esteem_live4d import panel as live4d
from nionswift_plugin.esteem_scan.acquisition_lock import LOCK


class Bench:
    """The panel in a headless window."""

    def __init__(self, microscope: Any, folder: Path) -> None:
        self.microscope = microscope
        self.window = microscope.context.document_controller
        self.panel = live4d.LivePanel(self.window, "live", {})
        self.handler: Any = self.panel.handler
        self.plan = self.handler.plan
        self.plan.rows.value = self.plan.columns.value = 16
        self.plan.fov_nm.value = 0.8
        self.handler.folder.value = str(folder)
        self.settle()

    def until(self, condition: Callable[[], bool], timeout_s: float = 300.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"it never happened; the panel says {self.handler.message.value!r}"
            self.window.periodic()
            time.sleep(0.01)
        self.window.periodic()

    def settle(self) -> None:
        """Wait until nothing goes on any more."""
        handler = self.handler
        self.until(lambda: not (handler.is_busy or self.plan.is_busy or handler._redrawing.is_busy))
        self.window.periodic()
        self.until(lambda: not (self.plan.is_busy or handler._redrawing.is_busy))
        self.until(lambda: handler._update is None or all(handler.images.item(n) for n in handler._update.images))

    def acquire(self) -> str:
        self.handler.acquire_button.on_clicked()
        self.settle()
        return str(self.handler.message.value)

    def image(self, name: str) -> np.ndarray:
        return np.asarray(self.handler.images.item(name).xdata.data)

    @property
    def path(self) -> Path:
        return Path(self.handler.session.path)

    def same_as_file(self, view: Any = None) -> None:
        """Assert that the images are those that a script makes from the raw file."""
        source = io.source(self.path)
        geometry = fourd.Geometry(**source.dataset.geometry) if view is None else view.geometry
        results = stream.run(fourd.live_reducers(geometry, source.spec.frame_shape), source.spec, source.chunks())
        for name, image in fourd.live_images(results, geometry).items():
            assert np.array_equal(self.image(name), image.data, equal_nan=True), name


@contextlib.contextmanager
def opened(microscope: Any, folder: Path) -> Iterator[Bench]:
    """Open the panel; at the end nothing is left running and the beam is off."""
    microscope.camera.is_paced = False
    made = Bench(microscope, folder)
    yield made
    if not made.handler._is_closed:
        made.panel.close()
    assert LOCK.owner is None
    assert microscope.instrument.is_blanked
