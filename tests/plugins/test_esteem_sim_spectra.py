"""EELS camera and EDS detector: counts, noise and energies are those of the model, through Nion's own acquisition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from esteem_sim import spectrometer
from esteem_sim.controls import DEFAULTS
from esteem_sim.motion import Motion
from nion.utils import Registry

from esteemcore import scan, simulate
from esteemcore.errors import EsteemError
from nionswift_plugin.esteem_multiframe import detectors
from nionswift_plugin.esteem_scan.scan_plan import synchronized

CURRENT_PA = 50.0
DWELL_S = 1e-3


@pytest.fixture
def bench(shared_microscope: Any) -> Iterator[Any]:
    """A needle at 50 pA, spectra as fast as they can be drawn; everything else as at the start."""
    configuration, instrument = shared_microscope.configuration, shared_microscope.instrument
    eels, eds = configuration.eels, configuration.eds
    eels.is_paced = eds.is_paced = False
    eels.is_dark_subtraction_enabled = eels.is_gain_normalization_enabled = True
    instrument.is_blanked = False
    instrument.controls.restore(DEFAULTS)
    instrument.motion = Motion(instrument.controls)
    instrument.ledger = scan.DoseLedger()
    instrument.SetVal("BeamCurrent", CURRENT_PA * 1e-12)
    show(shared_microscope, "needle")
    yield shared_microscope
    assert instrument.is_blanked


def show(microscope: Any, name: str) -> None:
    microscope.instrument.stage.select(name)
    microscope.instrument.prepare_scene()
    microscope.instrument.stage.wait()


def field(microscope: Any, shape: tuple[int, int], fov_nm: float, **plan: Any) -> Any:
    parameters = microscope.parameters(shape, **plan)
    parameters.fov_nm = fov_nm
    return parameters


def grab(microscope: Any, source: Any, parameters: Any, dwell_s: float = DWELL_S, **more: Any) -> tuple[Any, Any]:
    """Return what scan device and camera give to Nion, in the order of time."""
    chosen = source.get_current_frame_parameters()
    chosen.exposure_ms = dwell_s * 1e3
    for name, value in more.items():
        chosen.set_parameter(name, value)
    scans, cameras = microscope.scan_source.grab_synchronized(
        scan_frame_parameters=parameters, camera=source, camera_frame_parameters=chosen
    )
    return scans, cameras[0]


def content(microscope: Any, parameters: Any, pattern: scan.ScanPattern) -> simulate.Content:
    places = microscope.instrument.field(parameters).on_specimen(pattern.positions)
    return microscope.instrument.stage.sample.composition.at(places)


ELECTRONS = scan.charge_e(CURRENT_PA, DWELL_S)


@pytest.mark.parametrize("pattern", ["raster", "shuffled"])
def test_spectra_are_those_of_the_places_in_the_order_of_time(bench: Any, pattern: str) -> None:
    instrument, eels = bench.instrument, bench.configuration.eels
    parameters, visits = synchronized(field(bench, (8, 8), 80.0, pattern=pattern, seed=3))
    _, found = grab(bench, bench.configuration.eels_source, parameters)
    sampler = spectrometer.eels_sampler(instrument.controls, instrument.stage.sample.composition, eels.runs - 1)
    expected = sampler.expected(content(bench, parameters, visits), ELECTRONS * 0.8)
    drawn = (sampler.count(expected) - spectrometer.DARK) / np.asarray(sampler.camera.gain_map, np.float32)
    assert found.data_shape == (8, 8, 1, 1024)
    np.testing.assert_allclose(found.data.reshape(64, 1024), drawn, rtol=1e-5, atol=1e-4)
    planned = instrument.exposure(parameters, dwell_s=DWELL_S)
    assert instrument.ledger.totals == {"acquisition": pytest.approx(planned.total_charge_e)}
    assert instrument.is_blanked


def test_mean_and_variance_are_those_of_counted_electrons(bench: Any) -> None:
    bench.instrument.SetVal("EELS_CameraNoise", 0.0)
    show(bench, "zeolite")  # the same everywhere
    parameters, visits = synchronized(field(bench, (16, 16), 1.0))
    _, found = grab(bench, bench.configuration.eels_source, parameters)
    spectra = found.data.reshape(256, 1024)
    controls, composition = bench.instrument.controls, bench.instrument.stage.sample.composition
    sampler = spectrometer.eels_sampler(controls, composition)
    mean = sampler.expected(content(bench, parameters, visits), ELECTRONS * 0.8)[0]
    assert spectra.sum() == pytest.approx(256 * mean.sum(), abs=5 * np.sqrt(256 * mean.sum()))
    assert mean.sum() == pytest.approx(ELECTRONS * 0.8, rel=0.03)  # but for losses beyond the camera
    some = mean > 1
    pulls = (spectra.mean(axis=0) - mean)[some] / np.sqrt(mean[some] / 256)
    assert np.abs(pulls.mean()) < 5 / np.sqrt(some.sum())
    assert pulls.std() == pytest.approx(1, abs=5 / np.sqrt(2 * some.sum()))
    fano = spectra.var(axis=0, ddof=1)[some] / mean[some]
    assert fano.mean() == pytest.approx(1, abs=5 * np.sqrt(2 / 255 / some.sum()))


def test_camera_noise_adds_its_variance_and_no_counts(bench: Any) -> None:
    show(bench, "vacuum")
    bench.instrument.SetVal("EELS_Offset", 100.0)  # no electron has lost so much in vacuum
    eels = bench.configuration.eels
    parameters, _ = synchronized(field(bench, (8, 8), 1.0))
    _, found = grab(bench, bench.configuration.eels_source, parameters)
    assert found.data.mean() == pytest.approx(0, abs=5 / np.sqrt(found.data.size))
    assert found.data.std() == pytest.approx(spectrometer.READOUT_SIGMA, rel=0.02)
    eels.is_dark_subtraction_enabled = False
    _, found = grab(bench, bench.configuration.eels_source, parameters)
    gain = np.asarray(spectrometer.eels_camera(bench.instrument.controls).gain_map)
    np.testing.assert_allclose(found.data.mean(axis=(0, 1, 2)), spectrometer.DARK / gain, atol=6 / 8)
    eels.is_gain_normalization_enabled = False
    _, found = grab(bench, bench.configuration.eels_source, parameters)
    assert found.data.mean() == pytest.approx(spectrometer.DARK, abs=0.05)


def test_relative_thickness_comes_from_the_logarithm_of_the_zero_loss(bench: Any) -> None:
    bench.instrument.SetVal("EELS_Offset", -30.0)
    parameters, visits = synchronized(field(bench, (8, 8), 0.4))  # layers of metal, 36 nm thick
    _, found = grab(bench, bench.configuration.eels_source, parameters)
    axis, total = found.dimensional_calibrations[-1], found.data.sum(axis=(0, 1, 2))
    energy = axis.offset + axis.scale * np.arange(1024)
    ratio = np.log(total.sum() / total[energy < 3].sum())
    semiangle = bench.instrument.beam.semiangle_mrad
    phases = bench.instrument.stage.sample.composition.phases
    free_paths = np.array([phase.mean_free_path_nm(200, semiangle, 30) for phase in phases])
    paths = content(bench, parameters, visits).thickness_nm.mean(axis=0)
    assert 0.2 < (paths / free_paths).sum() < 1
    assert ratio == pytest.approx((paths / free_paths).sum(), rel=0.03)


def energy_of_peak(xdata: Any) -> tuple[int, float]:
    """Return channel and energy of the highest peak of all spectra."""
    channel = int(xdata.data.reshape(-1, xdata.data_shape[-1]).sum(axis=0).argmax())
    axis = xdata.dimensional_calibrations[-1]
    return channel, axis.offset + axis.scale * channel


def test_the_drift_tube_moves_the_spectrum_and_the_axis_follows(bench: Any) -> None:
    instrument, source = bench.instrument, bench.configuration.eels_source
    parameters, _ = synchronized(field(bench, (4, 4), 20.0))
    channels = []
    for shift_ev in (0.0, -10.0, 5.0):
        assert instrument.SetVal("ZLPoffset", shift_ev)
        _, found = grab(bench, source, parameters)
        channel, energy = energy_of_peak(found)
        assert found.dimensional_calibrations[-1].units == "eV"
        assert energy == pytest.approx(0, abs=0.5)
        assert instrument.GetVal("eels_x_offset") == -20 + shift_ev
        channels.append(channel)
    assert np.subtract(channels, channels[0]).tolist() == [0, 20, -10]
    named = bench.configuration.eels.calibration_controls
    for control, value in (("x_scale_control", 0.5), ("x_offset_control", -15.0)):
        assert instrument.GetVal(named[control]) == value
    instrument.SetVal("ZLPoffset", 0.0)
    instrument.SetVal("EELS_Dispersion", 0.25)
    _, found = grab(bench, source, parameters)
    assert energy_of_peak(found) == (80, 0.0)


def test_core_losses_lie_at_their_edges(bench: Any) -> None:
    instrument = bench.instrument
    instrument.SetVal("EELS_Offset", 500.0)
    instrument.SetVal("BeamCurrent", 2e-9)
    parameters, visits = synchronized(field(bench, (8, 8), 60.0))
    _, found = grab(bench, bench.configuration.eels_source, parameters, 10e-3)
    axis = found.dimensional_calibrations[-1]
    truth = content(bench, parameters, visits)
    spectra = found.data.reshape(64, 1024)
    for element, edge in (("Cr", 575.0), ("Ni", 855.0)):
        first = round((edge - axis.offset) / axis.scale)
        jump = spectra[:, first : first + 30].mean(axis=1) - spectra[:, first - 35 : first - 5].mean(axis=1)
        assert np.corrcoef(jump, truth.element(element))[0, 1] > 0.95, element


def test_an_energy_drift_is_in_the_spectra_and_not_in_the_axis(bench: Any) -> None:
    instrument, eels = bench.instrument, bench.configuration.eels
    eels.is_paced = True
    show(bench, "vacuum")
    instrument.SetVal("EELS_EnergyDrift", 20.0)  # eV/s
    parameters, _ = synchronized(field(bench, (8, 16), 1.0))
    _, found = grab(bench, bench.configuration.eels_source, parameters, 2e-3)
    peaks = found.data.reshape(128, 1024).argmax(axis=1)
    frame = bench.device.last_frame
    truth = instrument.motion.energy_ev(frame.begun_at + frame.due_s - frame.dwell_s)
    assert np.ptp(truth) == pytest.approx(20 * np.ptp(frame.due_s))
    np.testing.assert_allclose(peaks, 40 + truth / 0.5, atol=1.01)
    assert found.dimensional_calibrations[-1].offset == -20


def test_nions_sum_is_one_dimensional(bench: Any) -> None:
    parameters, _ = synchronized(field(bench, (4, 6), 20.0))
    for source, channels in ((bench.configuration.eels_source, 1024), (bench.configuration.eds_source, 2048)):
        _, found = grab(bench, source, parameters, processing="sum_project")
        assert found.data_shape == (4, 6, channels)
        assert found.datum_dimension_count == 1
        assert found.dimensional_calibrations[-1].units in ("eV", "keV")
        assert found.data.sum() > 0


def test_rows_of_the_camera_add_up_to_the_spectrum(bench: Any) -> None:
    bench.instrument.SetVal("EELS_CameraNoise", 0.0)
    source = bench.configuration.eels_source
    parameters, visits = synchronized(field(bench, (4, 4), 60.0))
    _, found = grab(bench, source, parameters, binning=4)
    assert found.data_shape == (4, 4, 8, 1024)
    sampler = spectrometer.eels_sampler(bench.instrument.controls, bench.instrument.stage.sample.composition)
    total = sampler.expected(content(bench, parameters, visits), ELECTRONS * 0.8).sum()
    assert found.data.sum() == pytest.approx(total, abs=5 * np.sqrt(total))
    rows = found.data.sum(axis=(0, 1, 3))
    assert rows.argmax() in (3, 4)
    np.testing.assert_allclose(rows, rows[::-1], atol=10 * np.sqrt(rows.max()))


def test_a_dwell_may_be_two_exposures(bench: Any) -> None:
    instrument = bench.instrument
    show(bench, "zeolite")
    instrument.SetVal("EELS_CameraNoise", 0.0)
    instrument.SetVal("EELS_Offset", 80.0)
    parameters, visits = synchronized(field(bench, (6, 6), 1.0))
    _, found = grab(bench, bench.configuration.eels_source, parameters, 10e-3, low_loss_share=0.01)
    assert found.data_shape == (6, 6, 2, 1024)
    assert found.dimensional_calibrations[-1].offset == 80
    about = found.metadata["hardware_source"]
    assert (about["low_loss_share"], about["low_loss_offset_ev"]) == (0.01, -20)
    low, core = found.data.reshape(36, 2, 1024).sum(axis=0)
    assert low.argmax() == 40
    electrons, composition = 36 * 10 * ELECTRONS * 0.8, instrument.stage.sample.composition
    for counted, share, offset in ((low, 0.01, -20.0), (core, 0.99, 80.0)):
        sampler = spectrometer.eels_sampler(instrument.controls, composition, offset_ev=offset)
        mean = share * electrons * sampler.expected(content(bench, parameters, visits)[:1], 1.0).sum()
        assert counted.sum() == pytest.approx(mean, abs=5 * np.sqrt(mean))


def test_x_rays_are_the_same_as_events_and_as_frames(bench: Any) -> None:
    instrument, eds = bench.instrument, bench.configuration.eds
    instrument.SetVal("BeamCurrent", 1e-9)
    parameters, visits = synchronized(field(bench, (16, 16), 80.0, pattern="shuffled", seed=5))
    _, found = grab(bench, bench.configuration.eds_source, parameters, 10e-3, counts=True)
    assert found.data.dtype == np.uint16
    assert np.array_equal(eds.events.to_dense()[0], found.data.reshape(256, 2048))
    composition = instrument.stage.sample.composition
    again = spectrometer.eds_sampler(instrument.controls, composition, eds.runs - 1)
    electrons = scan.charge_e(1000.0, 10e-3)
    assert np.array_equal(
        again.events(content(bench, parameters, visits), electrons).to_dense()[0], found.data.reshape(256, 2048)
    )
    mean = again.expected(content(bench, parameters, visits), electrons)
    assert found.data.sum() == pytest.approx(mean.sum(), abs=5 * np.sqrt(mean.sum()))
    axis = found.dimensional_calibrations[-1]
    assert (axis.units, axis.scale) == ("keV", 0.01)
    total = found.data.sum(axis=(0, 1, 2))
    assert (700 + total[700:800].argmax()) * axis.scale == pytest.approx(7.474, abs=0.03)  # Ni Ka
    instrument.SetVal("EDS_SolidAngle", 0.45)
    _, half = grab(bench, bench.configuration.eds_source, parameters, 10e-3)
    assert half.data.dtype == np.float32
    assert half.data.sum() == pytest.approx(mean.sum() / 2, abs=5 * np.sqrt(mean.sum() / 2))


def test_a_live_spectrum_is_counted_and_charged(bench: Any) -> None:
    instrument = bench.instrument
    for source in (bench.configuration.eels_source, bench.configuration.eds_source):
        source.start_playing()
        image = [source.get_next_xdatas_to_finish(60.0) for _ in range(2)][-1]
        source.stop_playing(sync_timeout=60.0)
        assert [xdata.data_shape[-1] for xdata in image] == [source.sensor_dimensions[1]] * 2
        assert image[1].datum_dimension_count == 1
        assert image[0].data.sum() > 0
        assert instrument.is_blanked
    assert instrument.ledger.totals["camera view"] > 0
    instrument.is_blanked = True
    bench.configuration.eels.start_live()
    dark = bench.configuration.eels.acquire_image()["data"]
    bench.configuration.eels.stop_live()
    assert abs(dark.mean()) < 0.2


def test_settings_that_cannot_be_are_refused_in_words(bench: Any) -> None:
    for name, value in (
        ("EELS_Dispersion", 0.0),
        ("EELS_Efficiency", 1.5),
        ("EDS_SolidAngle", 13.0),
        ("EELS_CollectionAngle", -0.01),
        ("ZLPoffset", float("nan")),
    ):
        before = bench.instrument.GetVal(name)
        assert not bench.instrument.SetVal(name, value)
        assert bench.instrument.GetVal(name) == before
    with pytest.raises(EsteemError, match="expected one of 0 oxide_interface"):
        bench.instrument.SetVal("Specimen", 99)


def test_both_are_found_as_what_they_are(bench: Any) -> None:
    found = {d.name: d for d in detectors.find(bench.scan_source)}
    eels, eds = found["Esteem EELS Camera"], found["Esteem EDS Detector"]
    assert (eels.kind, eds.kind) == ("spectra", "spectra")
    assert (eels.energy.size, eels.energy.scale, eels.energy.offset, eels.energy.unit) == (1024, 0.5, -20.0, "eV")
    assert (eds.energy.size, eds.energy.scale, eds.energy.unit) == (2048, 0.01, "keV")
    assert bench.instrument.eels_camera is bench.configuration.eels_source
    assert Registry.get_component("eels_camera_hardware_source") is bench.configuration.eels_source
