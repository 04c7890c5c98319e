"""The multi-frame panel in a headless window, with the hands of a user."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from esteem_sim.camera import OneBitCamera, camera_settings
from nion.device_kit import CameraDevice
from nion.utils import Registry

from esteemcore import multiframe
from nionswift_plugin.esteem_multiframe import panel as multiframe_panel
from nionswift_plugin.esteem_scan.acquisition_lock import LOCK


class Bench:
    """The panel in a headless window."""

    def __init__(self, microscope: Any, folder: Path) -> None:
        self.microscope = microscope
        self.window = microscope.context.document_controller
        self.panel = multiframe_panel.MultiframePanel(self.window, "multiframe", {})
        self.handler: Any = self.panel.handler
        self.model = self.handler.model
        self.model.folder.value = str(folder)
        self.model.height_nm.value = self.model.width_nm.value = 1.6
        self.model.frames.value = 3
        self.model.current_pa.value = 20.0
        microscope.instrument.SetVal("BeamCurrent", 20e-12)
        self.settle()

    def until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"it never happened; the panel says {self.handler.message.value!r}"
            self.window.periodic()
            time.sleep(0.005)
        self.window.periodic()

    def settle(self) -> None:
        """Wait until nothing goes on any more."""
        for _ in range(2):
            self.until(lambda: not (self.handler.is_busy or self.model.is_busy))

    def acquire(self) -> str:
        self.handler.acquire_button.on_clicked()
        self.settle()
        return str(self.handler.message.value)

    def choose(self, *names: str) -> None:
        """Record these signals and no others."""
        for slot, detector in enumerate(self.model.detectors):
            getattr(self.model, f"slot{slot}_chosen").value = detector.name in names
        self.settle()

    @property
    def region(self) -> multiframe.RegionFolder:
        return self.handler.region


@contextlib.contextmanager
def opened(microscope: Any, folder: Path) -> Iterator[Bench]:
    """Open the panel; at the end the beam must be blanked and nobody acquire."""
    microscope.camera.is_paced = False
    made = Bench(microscope, folder)
    yield made
    if not made.handler._is_closed:
        made.panel.close()
    assert LOCK.owner is None
    assert microscope.instrument.is_blanked
    assert not microscope.device.is_scanning


@contextlib.contextmanager
def spectrometer(bench: Bench, name: str = "EELS", kind: str = "eels") -> Iterator[OneBitCamera]:
    """Let there be a camera whose rows add up to a spectrum; of kind "eds" an X-ray detector."""
    instrument = bench.microscope.instrument
    camera = OneBitCamera("fake_eels", name, instrument)
    camera.camera_type = camera.signal_type = kind
    camera.is_paced = False
    module = CameraDevice.CameraModule(str(instrument.instrument_id), camera, camera_settings("fake_eels"))
    Registry.register_component(module, {"camera_module"})
    try:
        bench.settle()
        yield camera
    finally:
        Registry.unregister_component(module, {"camera_module"})
        bench.settle()
