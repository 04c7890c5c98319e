"""Statistics, virtual detectors and centre of mass against plain NumPy, and integration against known phases."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import fourd, scan, simulate, stream
from esteemcore.errors import CalibrationError, ParameterError

FRAME = (12, 16)


def geometry(**changes) -> fourd.Geometry:
    values = {"scan_step_nm": (0.03, 0.05), "beam_energy_kev": 200, "semiangle_mrad": 4, "pixel_mrad": (1.0, 0.8)}
    return fourd.Geometry(**{**values, **changes})


def run_one(reducer, data, order=None):
    spec = stream.Spec(data.shape[:2], data.shape[2:], data.dtype)
    return stream.run({"r": reducer}, spec, stream.chunks(data, order=order, size=7))["r"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float32, np.float64, np.uint64])
def test_statistics(rng, dtype) -> None:
    data = rng.poisson(3, (4, 5, *FRAME)).astype(dtype)
    result = run_one(fourd.FrameStatistics(), data)
    frames = data.reshape(-1, *FRAME).astype(float)
    np.testing.assert_allclose(result.mean, frames.mean(0))
    np.testing.assert_allclose(result.variance, frames.var(0), atol=1e-12)
    np.testing.assert_allclose(result.sum, data.sum((2, 3)))
    assert (result.visits == 1).all()


def test_unvisited_positions_are_nan_and_repeats_are_averaged(rng) -> None:
    data = rng.poisson(3, (3, 4, *FRAME)).astype(np.uint8)
    order = np.array([5, 5, 0])
    masks = {"left": np.arange(16)[None] < np.full((12, 1), 8), "all": np.ones(FRAME, bool)}
    virtual = run_one(fourd.VirtualDetectors(masks), data, order)
    stats = run_one(fourd.FrameStatistics(), data, order)
    com = run_one(fourd.CenterOfMass(geometry()), data, order)
    known = np.zeros((3, 4), bool)
    known.flat[[0, 5]] = True
    for image in (*virtual.images.values(), stats.sum, com.counts, com.com[..., 0]):
        np.testing.assert_array_equal(np.isfinite(image), known)
    np.testing.assert_allclose(virtual.images["left"][known], data[..., :8].sum((2, 3))[known])
    np.testing.assert_allclose(virtual.images["all"][known], stats.sum[known])
    assert virtual.visits[1, 1] == 2
    assert virtual.images["left"].dtype == np.float32


def test_centre_of_mass_in_scan_axes(rng) -> None:
    data = rng.poisson(2, (2, 3, *FRAME)).astype(np.float32)
    row = (np.arange(12) - 5.5)[:, None]
    column = (np.arange(16) - 7.25) * 0.8
    total = data.sum((2, 3))
    detector = np.stack([(data * row).sum((2, 3)) / total, (data * column).sum((2, 3)) / total], -1)
    plain = run_one(fourd.CenterOfMass(geometry(center=(5.5, 7.25))), data)
    np.testing.assert_allclose(plain.com, detector, atol=1e-6)
    angle = np.deg2rad(25)
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned = run_one(fourd.CenterOfMass(geometry(center=(5.5, 7.25), rotation_deg=25)), data)
    np.testing.assert_allclose(turned.com, detector @ back.T, atol=1e-6)
    flipped = run_one(fourd.CenterOfMass(geometry(center=(5.5, 7.25), flip=True)), data)
    np.testing.assert_allclose(flipped.com, detector[..., ::-1], atol=1e-6)


def test_frames_without_electrons_have_no_centre() -> None:
    data = np.zeros((1, 2, *FRAME), np.uint8)
    data[0, 1, 6, 8] = 4
    result = run_one(fourd.CenterOfMass(geometry()), data)
    assert np.isnan(result.com[0, 0]).all()
    np.testing.assert_allclose(result.com[0, 1], 0)
    assert result.counts.tolist() == [[0, 4]]


def smooth_phase(shape, geo, boundary):
    y = np.arange(shape[0])[:, None] * geo.step_nm[0]
    x = np.arange(shape[1])[None] * geo.step_nm[1]
    ly, lx = shape[0] * geo.step_nm[0], shape[1] * geo.step_nm[1]
    if boundary == "periodic":
        ky, kx = 2 * np.pi * 3 / ly, 2 * np.pi * 2 / lx
        phase = np.cos(ky * y + 0.3) * np.sin(kx * x)
        gradient = -ky * np.sin(ky * y + 0.3) * np.sin(kx * x), kx * np.cos(ky * y + 0.3) * np.cos(kx * x)
    else:
        cy, cx = y - 0.4 * ly, x - 0.7 * lx
        width = 0.08 * ly
        phase = np.exp(-(cy**2 + cx**2) / 2 / width**2) + 0 * y * x
        gradient = -cy / width**2 * phase, -cx / width**2 * phase
    return phase, np.stack(np.broadcast_arrays(*gradient), -1)


@pytest.mark.parametrize("boundary", ["periodic", "mirror"])
def test_integration_gives_the_phase_back(boundary) -> None:
    geo = geometry()
    phase, gradient = smooth_phase((48, 41), geo, boundary)
    com = gradient * geo.wavelength_nm / (2 * np.pi) * 1e3
    image = fourd.integrate(com, geo, boundary)
    np.testing.assert_allclose(image, phase - phase.mean(), atol=2e-3)
    np.testing.assert_allclose(fourd.integrate(com + 0.7, geo, boundary), image, atol=1e-5)


def test_integration_fills_gaps_with_the_mean(rng) -> None:
    geo = geometry()
    com = rng.normal(size=(16, 16, 2))
    com[3, 4] = np.nan
    filled = com.copy()
    filled[3, 4] = np.nanmean(com, axis=(0, 1))
    np.testing.assert_allclose(fourd.integrate(com, geo), fourd.integrate(filled, geo), atol=1e-5)
    assert not fourd.integrate(np.full((4, 4, 2), np.nan), geo).any()
    with pytest.raises(ParameterError, match="expected \\(y, x, 2\\)"):
        fourd.integrate(com[..., 0], geo)
    with pytest.raises(ParameterError, match="boundary"):
        fourd.integrate(com, geo, "open")


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotation", [-150.0, -20.0, 0.0, 35.0, 90.0, 179.0])
def test_the_rotation_is_found_from_the_curl(rotation, flip, rng) -> None:
    """Atoms on a bright background, deflections measured on a turned and perhaps transposed detector."""
    n = 64
    y, x = np.mgrid[:n, :n]
    phase = np.zeros((n, n))
    for cy, cx in rng.uniform(0, n, (25, 2)):
        phase += np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 18)
    true = geometry(scan_step_nm=0.03, rotation_deg=rotation)
    field = np.stack(np.gradient(phase), -1)
    row, column = true.to_detector(field[..., 0], field[..., 1])
    measured = np.stack([column, row] if flip else [row, column], -1) + 0.02 * rng.normal(size=(n, n, 2))
    found, transposed = fourd.fit_rotation(measured, geometry(scan_step_nm=0.03))
    assert transposed == flip
    assert (found - rotation + 180) % 360 - 180 == pytest.approx(0, abs=3)


def test_masks_are_checked() -> None:
    with pytest.raises(ParameterError, match="at least one"):
        fourd.VirtualDetectors({})
    with pytest.raises(ParameterError, match="one shape"):
        fourd.VirtualDetectors({"a": np.ones((3, 3), bool), "b": np.ones((3, 4), bool)})
    with pytest.raises(ParameterError, match="other than 0 and 1"):
        fourd.VirtualDetectors({"a": np.full((3, 3), 2)})
    with pytest.raises(ParameterError, match="masks have shape"):
        fourd.VirtualDetectors({"a": np.ones((3, 3), bool)}).init(stream.Spec((2, 2), (4, 4), np.uint8))


@pytest.mark.parametrize(("dtype", "high"), [(np.int32, 2**31 - 1), (np.uint32, 2**32 - 1)])
def test_squares_of_large_counts_do_not_overflow(dtype, high) -> None:
    data = np.zeros((3, 4, *FRAME), dtype)
    data[:, ::2] = high
    np.testing.assert_allclose(run_one(fourd.FrameStatistics(), data).variance, (high / 2) ** 2)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
def test_floats_of_any_width(rng, dtype) -> None:
    data = rng.poisson(3, (2, 3, *FRAME)).astype(dtype)
    np.testing.assert_allclose(run_one(fourd.FrameStatistics(), data).sum, data.astype(float).sum((2, 3)))
    mask = {"all": np.ones(FRAME, bool)}
    np.testing.assert_allclose(run_one(fourd.VirtualDetectors(mask), data).images["all"], data.sum((2, 3)))


def test_rotation_from_few_electrons_and_unequal_steps() -> None:
    bank = simulate.bank(simulate.specimen("zeolite"), simulate.Beam(200, 15))
    detector = simulate.Detector((96, 96), pixel_mrad=0.5, flip=True)
    sampler = simulate.FrameSampler(bank, detector, rotation_deg=-70, seed=7)
    pattern = scan.raster((72, 54))
    geo = geometry(scan_step_nm=(0.03, 0.04), semiangle_mrad=15, pixel_mrad=0.5)
    chunk = stream.Chunk(pattern.order, events=sampler.events(pattern.positions * (0.03, 0.04), 200 * 0.12))
    com = stream.run({"com": fourd.CenterOfMass(geo)}, stream.Spec(pattern.shape, (96, 96), np.uint8), [chunk])["com"]
    rotation, flip = fourd.fit_rotation(com.com, geo)
    assert flip
    assert rotation == pytest.approx(-70, abs=8)


def test_noise_has_no_rotation(rng) -> None:
    geo = geometry(scan_step_nm=0.03, semiangle_mrad=15)
    for shape in [(40, 40), (12, 70), (4, 4)]:
        with pytest.raises(CalibrationError, match="too few electrons"):
            fourd.fit_rotation(rng.normal(size=(*shape, 2)), geo)
    with pytest.raises(CalibrationError, match="too few electrons"):
        fourd.fit_rotation(np.full((9, 9, 2), np.nan), geo)
    with pytest.raises(ParameterError, match="4 x 4"):
        fourd.fit_rotation(np.zeros((1, 9, 2)), geo)
    with pytest.raises(ParameterError, match="com has shape"):
        fourd.integrate(np.zeros((0, 9, 2)), geo)


def test_masks_come_by_name() -> None:
    with pytest.raises(ParameterError, match="at least one"):
        fourd.VirtualDetectors([np.ones((3, 3))])
