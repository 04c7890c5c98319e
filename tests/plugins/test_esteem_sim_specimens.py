"""Specimens of known composition: drift, jitter of the scan, and what the beam does to them, with the truth."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from esteem_sim import Instrument, spectrometer
from esteem_sim.controls import DEFAULTS, Controls
from esteem_sim.motion import Motion, Wander
from esteem_sim.scan_field import ScanField
from nion.utils import Geometry

from esteemcore import scan, simulate
from nionswift_plugin.esteem_scan.scan_plan import synchronized


@pytest.fixture
def microscope(shared_microscope: Any) -> Iterator[Any]:
    """Everything as at the start, and a specimen that has suffered nothing."""
    instrument = shared_microscope.instrument
    instrument.controls.restore(DEFAULTS)
    instrument.ledger = scan.DoseLedger()
    instrument.stage.damage = None
    instrument.motion = Motion(instrument.controls)
    shared_microscope.scan_source.probe_position = None
    yield shared_microscope
    assert instrument.is_blanked


def show(microscope: Any, name: str, current_pa: float = 100.0) -> None:
    microscope.instrument.SetVal("BeamCurrent", current_pa * 1e-12)
    assert microscope.instrument.SetVal("Specimen", simulate.COMPOSITIONS.index(name))
    microscope.instrument.prepare_scene()
    microscope.instrument.stage.wait()
    microscope.configuration.eels.is_paced = microscope.configuration.eds.is_paced = False


def record(
    microscope: Any, fov_nm: float, shape: tuple[int, int] = (32, 32), dwell_us: float = 20.0, **plan: Any
) -> np.ndarray:
    parameters = microscope.parameters(shape, dwell_us, **plan)
    parameters.fov_nm = fov_nm
    return np.asarray(microscope.record(parameters)[0].data)


def truth(microscope: Any, fov_nm: float, shape: tuple[int, int] = (32, 32)) -> simulate.Content:
    return microscope.instrument.stage.sample.composition.maps(shape, fov_nm / max(shape))


@pytest.mark.parametrize(
    ("name", "fov_nm", "heavy"), [("oxide_interface", 1.6, "La"), ("core_shell", 60.0, "Mn"), ("needle", 80.0, "Ni")]
)
def test_images_show_where_the_heavy_atoms_are(microscope: Any, name: str, fov_nm: float, heavy: str) -> None:
    show(microscope, name, 20_000.0)
    assert microscope.instrument.get_autostem_properties()["specimen"] == name
    parameters = microscope.parameters((32, 32), 20.0)
    parameters.fov_nm = fov_nm
    parameters.enabled_channel_indexes = [0, 1, 2]
    haadf, bright, ring = (np.asarray(xdata.data, float).ravel() for xdata in microscope.record(parameters))
    content = truth(microscope, fov_nm)
    mass = sum(content.element(e) * simulate.ELEMENTS[e][0] ** 2 for e in content.elements)
    assert content.element(heavy).std() > 0
    assert np.corrcoef(haadf, mass)[0, 1] > 0.9  # not all of it: heavy columns saturate
    assert np.corrcoef(bright, mass)[0, 1] < -0.75
    electrons, alpha = scan.charge_e(20_000.0, 20e-6), microscope.instrument.beam.semiangle_mrad
    mean = content.scattered(200, 2 * alpha) * electrons
    assert np.corrcoef(haadf, mean)[0, 1] > 0.99
    assert haadf.sum() == pytest.approx(mean.sum(), abs=5 * np.sqrt(mean.sum()))
    disk = (1 - content.scattered(200, alpha)) * electrons
    assert bright.sum() == pytest.approx(disk.sum() / 4, abs=5 * np.sqrt(disk.sum() / 4))
    assert (ring + disk <= 1.02 * electrons).all()  # what is in the ring is not in the disk


def test_the_4d_camera_sees_the_beam_alone_where_no_potential_is_known(microscope: Any) -> None:
    show(microscope, "needle", 1.0)
    microscope.camera.is_paced = False
    parameters, _ = synchronized(microscope.parameters((4, 4)))
    sink = microscope.sink(parameters)
    assert microscope.grab(parameters, sink) == []
    frames = np.unpackbits(sink.arrays["camera"][0], axis=-1, bitorder="little")
    radius = np.hypot(*np.indices((256, 256)) - np.array([128, 128])[:, None, None]) * 15 / 96
    assert frames[:, radius < 16].sum() > 0.99 * frames.sum() > 0


def test_a_specimen_is_chosen_by_name_number_and_thickness(microscope: Any) -> None:
    instrument = microscope.instrument
    assert instrument.SetVal("Specimen", simulate.COMPOSITIONS.index("needle"))
    assert instrument.stage.sample.name == instrument.stage.specimen.name == "needle"
    assert instrument.GetVal("SpecimenThickness") == 0
    assert instrument.SetVal("SpecimenThickness", 40e-9)
    assert instrument.stage.sample.composition.at([[0.0, 0.0]]).thickness_nm.sum() > 40
    instrument.stage.select("srtio3", 5.0)
    assert instrument.GetVal("Specimen") == simulate.COMPOSITIONS.index("srtio3")
    content = instrument.stage.sample.composition.at([[0.0, 0.0]])
    assert content.thickness_nm.sum() == pytest.approx(instrument.stage.specimen.thickness_nm)


# motion -----------------------------------------------------------------------------------------------------------


def test_drift_goes_on_from_where_it_is() -> None:
    now = [10.0]
    wander = Wander(clock=lambda: now[0])
    assert not wander.at([10.0, 99.0]).any()
    wander.change((2.0, 0.0), 0.0)
    np.testing.assert_allclose(wander.at([10.0, 11.0]), [[0, 0], [2, 0]])
    now[0] = 13.0
    wander.change((0.0, -1.0), 0.0)
    np.testing.assert_allclose(wander.at([13.0, 15.0]), [[6, 0], [6, -2]])
    wander.change((0.0, 0.0), 0.0)
    np.testing.assert_allclose(wander.at([100.0]), [[6, 0]])


def test_jitter_is_that_of_the_controls_and_turns_with_the_scan() -> None:
    controls = Controls()
    motion = Motion(controls, seed=3, clock=lambda: 0.0)
    positions = np.argwhere(np.ones((40, 40))).astype(float)
    times = np.arange(1600) * 1e-5
    assert motion.displacement_nm(ScanField((40, 40), (4, 4), (0, 0)), positions, times, 1) is None
    controls.set_value("LineJitter", 30e-12)
    straight = motion.displacement_nm(ScanField((40, 40), (4, 4), (0, 0)), positions, times, 1)
    expected = simulate.ScanDistortion(line_jitter_px=0.03, seed=3).line_jitter(40, 1)
    np.testing.assert_allclose(straight.reshape(40, 40, 2), np.broadcast_to(expected[:, None], (40, 40, 2)))
    turned = motion.displacement_nm(ScanField((40, 40), (4, 4), (0, 0), 90.0), positions, times, 1)
    np.testing.assert_allclose(turned, np.stack([-straight[:, 1], straight[:, 0]], axis=1), atol=1e-12)
    controls.set_value("LineJitter", 0.0)
    controls.set_value("ScanJitter", 50e-12)
    assert motion.displacement_nm(ScanField((40, 40), (4, 4), (0, 0)), positions, times, 1).std() == pytest.approx(
        0.05, rel=0.05
    )


def test_a_drifting_specimen_is_drawn_where_it_was(microscope: Any) -> None:
    show(microscope, "needle", 500.0)
    instrument, device = microscope.instrument, microscope.device
    instrument.SetVal("SpecimenDrift.y", 30e-9)  # m/s
    instrument.SetVal("ScanJitter", 1e-9)
    image = record(microscope, 80.0, dwell_us=500.0)
    frame = device.last_frame
    moved = frame.displacement_nm
    assert np.ptp(moved[:, 0]) > 30 * 0.9 * np.ptp(frame.due_s)
    places = truth_places(microscope, frame) + moved
    content = instrument.stage.sample.composition.at(places)
    beam = instrument.beam
    mean = content.scattered(beam.energy_kev, 2 * beam.semiangle_mrad) * scan.charge_e(500.0, 500e-6)
    chi = ((image.ravel() - mean) ** 2 / np.maximum(mean, 1))[mean > 5]
    assert chi.mean() == pytest.approx(1, abs=5 * math.sqrt(2 / len(chi)))
    straight = truth(microscope, 80.0).scattered(beam.energy_kev, 2 * beam.semiangle_mrad) * scan.charge_e(
        500.0, 500e-6
    )
    assert ((image.ravel() - straight) ** 2 / np.maximum(straight, 1))[straight > 5].mean() > 3


def truth_places(microscope: Any, frame: Any) -> np.ndarray:
    return frame.field.on_specimen(frame.pattern.positions)


# damage -----------------------------------------------------------------------------------------------------------


def spectra(
    microscope: Any, shape: tuple[int, int], fov_nm: float, dwell_s: float, source: Any = None, **plan: Any
) -> np.ndarray:
    source = source or microscope.configuration.eds_source
    parameters, _ = synchronized(microscope.parameters(shape, **plan))
    parameters.fov_nm = fov_nm
    chosen = source.get_current_frame_parameters()
    chosen.exposure_ms = dwell_s * 1e3
    _, (found,) = microscope.scan_source.grab_synchronized(
        scan_frame_parameters=parameters, camera=source, camera_frame_parameters=chosen
    )
    return np.asarray(found.data).reshape(shape[0] * shape[1], -1)


def test_without_harm_the_same_electrons_are_counted_to_the_last(microscope: Any) -> None:
    show(microscope, "oxide_interface")
    instrument, eels, device = microscope.instrument, microscope.configuration.eels, microscope.device
    found, images = [], []
    for on, critical in ((0, 1e6), (1, 1e30), (0, 1e6)):
        instrument.SetVal("CriticalDose", critical)
        instrument.SetVal("SpecimenDamage", on)
        eels.seed, eels.runs, device.seed = 5, 0, 5
        device._number = 0
        found.append(spectra(microscope, (8, 8), 1.0, 1e-3, microscope.configuration.eels_source))
        images.append(device.last_frame.images[0].copy())
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(images[0], images[1])


def test_every_exposure_harms_the_places_where_it_was(microscope: Any) -> None:
    show(microscope, "zeolite")
    instrument = microscope.instrument
    instrument.stage.damage = simulate.Damage(excited_dose=math.inf)
    suffered = instrument.stage.suffered
    record(microscope, 4.0, (16, 16), 50.0, flyback_us=0.0)
    spectra(microscope, (8, 8), 4.0, 1e-4, flyback_us=0.0)
    microscope.scan_source.probe_position = Geometry.FloatPoint(y=0.5, x=0.5)
    instrument.rest = "parked"
    time.sleep(0.05)
    instrument.rest = "blanked"
    cells = (np.argwhere(np.ones((80, 80))) - 40) * suffered.cell_nm
    assert suffered.harm(cells).sum() * (10 * suffered.cell_nm) ** 2 == pytest.approx(instrument.ledger.total_charge_e)
    assert set(instrument.ledger.totals) == {"record", "acquisition", "parked"}


def test_the_same_dose_in_many_fast_frames_harms_less(microscope: Any) -> None:
    show(microscope, "zeolite", 500.0)
    stage, suffered = microscope.instrument.stage, []
    dose = scan.charge_e(500.0, 4e-3) / 25  # each position is the middle of a cell of its own
    for frames in (1, 8):
        stage.damage = simulate.Damage(recovery_s=1e-3, excited_dose=1e5)
        for _ in range(frames):
            record(microscope, 9.0, (9, 9), 4000.0 / frames, flyback_us=0.0)
        harm = stage.suffered.harm([[0.0, 0.0], [4.0, -4.0]])
        rate, dwell_ms = dose / 4e-3, 4.0 / frames
        held = rate * 1e-3 * (1 - (1 - math.exp(-dwell_ms)) / dwell_ms)  # excited on the average of a dwell
        np.testing.assert_allclose(harm, dose * (1 + held / 1e5), rtol=0.02)
        suffered.append(stage.suffered.harm([[0.0, 0.0]])[0])
    assert suffered[0] > 1.5 * suffered[1]


def test_oxygen_goes_where_the_dose_was_above_the_critical_one(microscope: Any) -> None:
    show(microscope, "zeolite", 40_000.0)
    instrument = microscope.instrument
    damage = simulate.Damage(critical_dose=1e7, scale_dose=3e7, volatile={"O": 0.8}, excited_dose=math.inf)
    instrument.stage.damage = damage
    frames = [spectra(microscope, (8, 8), 4.0, 5e-3).sum(axis=0) for _ in range(4)]
    oxygen = [frame[45:60].sum() for frame in frames]
    silicon = [frame[165:185].sum() for frame in frames]
    dose = scan.charge_e(40_000.0, 5e-3) / 25  # e/Å² in a frame: one visit to each cell of the map
    extents = damage.extent((np.arange(4) + 0.5) * dose)
    assert instrument.stage.suffered.harm([[0.25, 0.25]])[0] == pytest.approx(4 * dose, rel=1e-6)
    assert instrument.stage.suffered.cell_nm == 4.0 / 8
    left = np.array(oxygen) / oxygen[0] * (1 - 0.8 * extents[0])
    np.testing.assert_allclose(left, 1 - 0.8 * extents, atol=0.05)
    assert silicon[3] == pytest.approx(silicon[0], rel=0.05)
    instrument.stage.damage = damage  # a new specimen
    fresh = spectra(microscope, (8, 8), 4.0, 5e-3).sum(axis=0)[45:60].sum()
    assert fresh == pytest.approx(oxygen[0], abs=5 * math.sqrt(2 * oxygen[0]))


def test_a_mixed_interface_has_less_contrast_in_the_images(microscope: Any) -> None:
    show(microscope, "needle", 1000.0)
    instrument = microscope.instrument
    before = record(microscope, 60.0)
    instrument.stage.damage = simulate.Damage(critical_dose=0.0, scale_dose=1.0, volatile={}, mixing_nm=4.0)
    for _ in range(2):
        after = record(microscope, 60.0)
    profiles = [image[:, 14:18].mean(axis=1) for image in (before, after)]
    inner = slice(6, 26)
    assert profiles[1][inner].std() < 0.8 * profiles[0][inner].std()
    assert after.sum() == pytest.approx(before.sum(), rel=0.03)


def test_an_instrument_alone_knows_its_specimens() -> None:
    instrument = Instrument(specimen="core_shell", scene_options={"spacing_nm": 0.04})
    try:
        assert instrument.camera_sensor_dimensions("eels") == spectrometer.EELS_SHAPE
        assert instrument.camera_readout_area("eds") == (0, 0, 1, 2048)
        assert instrument.GetVal("SpecimenDamage") == 0
        instrument.SetVal("CriticalDose", 5e5)
        instrument.SetVal("SpecimenDamage", 1)
        assert instrument.stage.damage == simulate.Damage(critical_dose=5e5)
    finally:
        instrument.close()
