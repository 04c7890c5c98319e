"""The simulator comes into Nion Swift and goes again, alone and beside the kit's own simulator."""

from __future__ import annotations

import gc
import importlib
import json
import pkgutil
import threading
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import esteem_sim
import pytest
from nion.instrumentation import HardwareSource
from nion.instrumentation.test import AcquisitionTestContext
from nion.utils import Registry

import nionswift_plugin
from nionswift_plugin import esteem_simulator

KINDS = (
    "stem_controller",
    "instrument_controller",
    "camera_module",
    "scan_module",
    "hardware_source",
    "scan_hardware_source",
    "camera_hardware_source",
    "ronchigram_camera_hardware_source",
    "eels_camera_hardware_source",
    "eds_camera_hardware_source",
)


def registered() -> dict[str, int]:
    return {kind: len(Registry.get_components_by_type(kind)) for kind in KINDS}


def test_swift_finds_the_plug_in() -> None:
    assert "esteem_simulator" in {module.name for module in pkgutil.iter_modules(nionswift_plugin.__path__)}
    manifest = json.loads((Path(esteem_simulator.__file__).parent / "manifest.json").read_text())
    assert manifest["requires"] == ["nion.instrumentation-kit ~= 0.1"]


def test_importing_the_plug_in_touches_nothing(swift: Any) -> None:
    before = registered()
    importlib.reload(esteem_simulator)
    assert registered() == before
    assert esteem_simulator.configuration() is None


@pytest.fixture
def kit(swift: Any, tmp_path: Path) -> Iterator[None]:
    """The instrumentation kit without any instrument."""
    from nion.instrumentation import camera_base, scan_base

    camera_base.run(tmp_path)
    scan_base.run(tmp_path)
    yield
    scan_base.stop()
    camera_base.stop()


@pytest.mark.parametrize("times", [1, 3])
def test_the_plug_in_registers_and_leaves_no_trace(kit: None, times: int) -> None:
    before, threads = registered(), set(threading.enumerate())
    for _ in range(times):
        esteem_simulator.run()
        esteem_simulator.run()  # a second time changes nothing
        manager = HardwareSource.HardwareSourceManager()
        instrument = manager.get_instrument_by_id(esteem_sim.INSTRUMENT_ID)
        assert isinstance(instrument, esteem_sim.Instrument)
        configuration = esteem_simulator.configuration()
        assert configuration is not None
        assert manager.get_hardware_source_for_hardware_source_id("esteem_scan") is configuration.scan_source
        assert manager.get_hardware_source_for_hardware_source_id(esteem_sim.CAMERA_ID) is configuration.camera_source
        assert manager.get_hardware_source_for_hardware_source_id(esteem_sim.EELS_ID) is configuration.eels_source
        assert manager.get_hardware_source_for_hardware_source_id(esteem_sim.EDS_ID) is configuration.eds_source
        assert instrument.scan_controller is configuration.scan_source
        assert instrument.eels_camera is configuration.eels_source
        assert instrument.is_blanked
        esteem_simulator.stop()
        esteem_simulator.stop()
        assert esteem_simulator.configuration() is None
        assert registered() == before
    del configuration, instrument
    gc.collect()
    assert set(threading.enumerate()) <= threads


def test_an_acquisition_leaks_nothing_of_nions(swift: Any, tmp_path: Path) -> None:
    AcquisitionTestContext.begin_leaks()
    instrument = esteem_sim.Instrument(specimen="vacuum", scene_options={"spacing_nm": 0.04})
    configuration = esteem_sim.Configuration(instrument, configuration_location=str(tmp_path))
    configuration.camera.is_paced = False
    with AcquisitionTestContext.test_context(configuration):
        parameters = esteem_sim.scan_parameters("shuffled", pixel_size=(8, 8), pixel_time_us=10.0)
        camera_parameters = configuration.camera_source.get_current_frame_parameters()
        camera_parameters.set_parameter("packed", True)
        result = configuration.scan_source.grab_synchronized(
            scan_frame_parameters=parameters,
            camera=configuration.camera_source,
            camera_frame_parameters=camera_parameters,
        )
        assert result[1][0].data_shape == (8, 8, 256, 32)
    del instrument, configuration, result
    AcquisitionTestContext.end_leaks(unittest.TestCase())


def test_it_lives_beside_the_kits_simulator(swift: Any, tmp_path: Path) -> None:
    usim = pytest.importorskip("nion.usim_device.DeviceConfiguration")
    theirs = usim.AcquisitionContextConfiguration(set_configuration_location=False)
    theirs.configuration_location = str(tmp_path)
    ours = esteem_sim.Configuration(
        esteem_sim.Instrument(specimen="vacuum", scene_options={"spacing_nm": 0.04}),
        configuration_location=str(tmp_path),
    )
    ours.camera.is_paced = False
    with AcquisitionTestContext.test_context(theirs) as context:
        ours.run()
        try:
            assert Registry.get_component("stem_controller") is theirs.instrument, "theirs stays the default"
            assert ours.instrument.scan_controller is ours.scan_source
            assert ours.instrument.ronchigram_camera is ours.camera_source
            assert ours.instrument.eels_camera is ours.eels_source
            assert theirs.instrument.scan_controller is context.scan_hardware_source
            assert theirs.instrument.ronchigram_camera is context.camera_hardware_source
            parameters = esteem_sim.scan_parameters("shuffled", pixel_size=(8, 8), pixel_time_us=10.0)
            for scan_source, camera_source, frame in (
                (ours.scan_source, ours.camera_source, (256, 256)),
                (context.scan_hardware_source, context.camera_hardware_source, None),
            ):
                if frame is None:
                    parameters = scan_source.get_current_frame_parameters()
                    parameters.pixel_size = (4, 4)
                camera_parameters = camera_source.get_current_frame_parameters()
                camera_parameters.exposure_ms = 0.1
                result = scan_source.grab_synchronized(
                    scan_frame_parameters=parameters, camera=camera_source, camera_frame_parameters=camera_parameters
                )
                assert result[1][0].data_shape[:2] == tuple(parameters.pixel_size)
            assert ours.instrument.ledger.totals.keys() == {"acquisition"}
            assert ours.instrument.is_blanked
        finally:
            ours.stop()
        assert theirs.instrument.scan_controller is context.scan_hardware_source
