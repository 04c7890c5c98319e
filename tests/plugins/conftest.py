"""A headless Nion Swift with the simulator in it, and a sink that puts frames where they belong."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import esteem_sim
import numpy as np
import pytest
from nion.data import DataAndMetadata
from nion.instrumentation import Acquisition
from nion.instrumentation.test import AcquisitionTestContext
from nion.swift.test import TestContext

from esteemcore import scan
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan

sys.path.insert(0, str(Path(__file__).parent))  # for what several test modules share

from process_swift import Swift, in_memory


class ScatterChannel(Acquisition.DataChannel):
    """Put what comes in time order to its scan positions; one frame of a series after the other."""

    def __init__(self, camera_id: str, patterns: list[scan.ScanPattern]) -> None:
        super().__init__()
        self.camera_id = camera_id
        self.patterns = patterns
        self.arrays: dict[str, np.ndarray] = {}
        self.visits = np.zeros((len(patterns), patterns[0].shape[0] * patterns[0].shape[1]), int)
        self.metadata: dict[Any, DataAndMetadata.DataMetadata] = {}
        self.frames = 0
        self.on_frames: Callable[[int], None] = lambda frames: None

    def update_data(
        self, channel: Any, source_data: Any, source_slice: Any, dest_slice: slice, data_metadata: Any
    ) -> None:
        is_camera = channel.segments[0] == self.camera_id
        item = tuple(data_metadata.data_shape[-2:]) if is_camera else ()
        values = source_data[source_slice].reshape(-1, *item)
        at = dest_slice.start // int(np.prod(item, dtype=int))
        name = "camera" if is_camera else channel.segments[1]
        if name not in self.arrays:
            self.arrays[name] = np.zeros((*self.visits.shape, *item), values.dtype)
        for value in values:
            frame, visit = divmod(at, len(self.patterns[0]))
            position = self.patterns[frame].order[visit]
            self.arrays[name][frame, position] = value
            self.visits[frame, position] += is_camera
            at += 1
        self.metadata[name] = data_metadata
        if is_camera:
            self.frames += len(values)
            self.on_frames(self.frames)

    def get_data(self, channel: Any) -> DataAndMetadata.DataAndMetadata:
        name = "camera" if channel.segments[0] == self.camera_id else channel.segments[1]
        stored = self.metadata[name]
        empty = np.zeros((1,) * len(stored.data_shape), stored.data_dtype)
        return DataAndMetadata.new_data_and_metadata(empty, data_descriptor=stored.data_descriptor)


@dataclasses.dataclass
class Microscope:
    """A simulator that runs inside Nion Swift."""

    configuration: esteem_sim.Configuration
    context: AcquisitionTestContext.AcquisitionTestContext

    @property
    def instrument(self) -> esteem_sim.Instrument:
        return self.configuration.instrument

    @property
    def device(self) -> esteem_sim.ScanDevice:
        return self.instrument.scan_device

    @property
    def camera(self) -> esteem_sim.OneBitCamera:
        return self.configuration.camera

    @property
    def scan_source(self) -> Any:
        return self.configuration.scan_source

    @property
    def camera_source(self) -> Any:
        return self.configuration.camera_source

    @staticmethod
    def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.005)

    def record(self, parameters: Any) -> list[Any]:
        """Return the images of one frame."""
        return list(self.scan_source.record_immediate(parameters))

    def read_frame(self, is_continuous: bool = False) -> None:
        """Let the device scan one frame, without Nion around it."""
        self.device.start_frame(is_continuous)
        complete = False
        while not complete:
            _, complete, *_ = self.device.read_partial(None, 0)

    def parameters(self, shape: tuple[int, int] = (16, 16), dwell_us: float = 20.0, **plan: Any) -> Any:
        parameters = self.scan_source.get_current_frame_parameters()
        parameters.pixel_size = shape
        parameters.fov_nm = 0.05 * max(shape)
        parameters.pixel_time_us = dwell_us
        ScanPlan(**plan).put(parameters)
        return parameters

    def camera_parameters(self, packed: bool = True, exposure_ms: float = 0.08) -> Any:
        parameters = self.camera_source.get_current_frame_parameters()
        parameters.exposure_ms = exposure_ms
        parameters.set_parameter("packed", packed)
        return parameters

    def sink(self, parameters: Any, count: int = 1) -> ScatterChannel:
        plan = ScanPlan.of(parameters)
        size = parameters.scan_size
        frames = [dataclasses.replace(plan, frame=k).visits((size.height, size.width)) for k in range(count)]
        return ScatterChannel(self.camera_source.hardware_source_id, frames)

    def grab(self, parameters: Any, sink: ScatterChannel, **options: Any) -> list[Exception]:
        """Acquire; return what went wrong."""
        errors: list[Exception] = []
        options = {"camera_frame_parameters": self.camera_parameters(), "error_handler": errors.append} | options
        try:
            self.scan_source.grab_synchronized(
                scan_frame_parameters=parameters, camera=self.camera_source, data_channel=sink, **options
            )
        except RuntimeError as error:
            errors.append(error)
        return errors

    def expected_frames(self, parameters: Any, pattern: scan.ScanPattern, dwell_s: float = 80e-6) -> np.ndarray:
        """Return the frames of the last run in time order, drawn again without Nion."""
        from esteemcore import simulate

        scene = self.instrument.stage.current
        assert scene is not None
        seed = self.camera.seed + self.camera.runs - 1
        sampler = simulate.FrameSampler(scene.bank, self.instrument.detector, seed=seed)
        electrons = scan.charge_e(self.instrument.current_pa, dwell_s)
        return sampler.frames(self.instrument.field(parameters).on_specimen(pattern.positions), electrons)


@pytest.fixture(scope="session", autouse=True)
def main_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The event loop of the main thread, which Nion's windows and profiles expect to be there."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.run_until_complete(asyncio.sleep(0))  # what was cancelled ends now
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture(scope="session")
def swift(main_loop: asyncio.AbstractEventLoop) -> Any:
    """Nion's headless application; to be made before anything else."""
    return TestContext.TestSetup()


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_devices() -> Iterator[None]:
    """Leave out the 0.5 s that Nion waits before each acquisition for devices to settle; simulated ones are settled."""
    without = types.SimpleNamespace(**vars(time))
    without.sleep = lambda duration_s: time.sleep(0.0 if duration_s == 0.5 else duration_s)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Acquisition, "time", without)
        yield


@pytest.fixture
def waiting_for_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait as Nion does in a microscope."""
    monkeypatch.setattr(Acquisition, "time", time)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Microscope]:
    """Run a simulator with a thin crystal."""
    logging.getLogger("acquisition").setLevel(logging.ERROR)
    instrument = esteem_sim.Instrument(specimen="srtio3", thickness_nm=0.4, scene_options={"spacing_nm": 0.04})
    configuration = esteem_sim.Configuration(instrument, configuration_location=str(folder))
    with AcquisitionTestContext.test_context(configuration) as context:
        instrument.prepare_scene()
        instrument.stage.wait()
        yield Microscope(configuration, context)


@pytest.fixture
def microscope(swift: Any, tmp_path: Path) -> Iterator[Microscope]:
    with running(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared_microscope(swift: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Microscope]:
    """One simulator for all tests of a module, which set it back themselves: a start takes seconds."""
    with running(tmp_path_factory.mktemp("microscope")) as made:
        yield made


@pytest.fixture(scope="module")
def window(swift: Any) -> Iterator[Swift]:
    """One window with a project in memory for all tests of a module."""
    with in_memory() as made:
        yield made


@pytest.fixture
def app(window: Swift) -> Iterator[Swift]:
    """Return the window of a module's tests, empty again."""
    yield window
    window.clear()
