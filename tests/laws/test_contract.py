"""Names and keywords that scripts and other programs rely on."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from esteemcore import events, fourd, io, scan, stream

SIGNATURES = {
    scan.raster: ("shape",),
    scan.serpentine: ("shape",),
    scan.interlaced: ("shape", "step"),
    scan.hilbert: ("shape",),
    scan.spiral: ("shape",),
    scan.shuffled: ("shape", "seed"),
    scan.sparse: ("shape", "fraction", "seed", "method"),
    scan.time_frames: ("pattern", "values", "n_frames"),
    scan.regrid: ("values", "positions", "shape"),
    scan.Exposure: (
        "current_pa", "dwell_s", "pixel_size_nm", "shape", "frames", "flyback_s", "frame_overhead_s", "pattern",
        "settle_s", "blanked",
    ),
    events.pack_bits: ("frames",),
    events.unpack_bits: ("packed", "kx"),
    events.SparseSI.from_dense: ("array",),
    events.EventTable: ("offset", "pixel", "count"),
    stream.Spec: ("scan_shape", "frame_shape", "dtype", "packed"),
    stream.Chunk: ("index", "frames", "events", "visit", "time_s", "position"),
    stream.run: ("reducers", "spec", "chunks"),
    stream.chunks: ("data", "order", "size", "packed_kx"),
    fourd.Geometry: (
        "scan_step_nm", "beam_energy_kev", "semiangle_mrad", "pixel_mrad", "center", "rotation_deg", "flip",
        "aberrations",
    ),
    fourd.SingleSideband: ("geometry", "bins", "regularization"),
    fourd.CenterOfMass: ("geometry",),
    fourd.integrate: ("com", "geometry"),
    io.load: ("path",),
    io.save: ("path", "dataset"),
    io.Writer: ("path",),
}  # fmt: skip


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda f: f.__qualname__)
def test_parameters_keep_their_names_and_order(function) -> None:
    names = tuple(inspect.signature(function).parameters)
    assert names[: len(SIGNATURES[function])] == SIGNATURES[function]


def test_defaults_stay() -> None:
    ssb = inspect.signature(fourd.SingleSideband).parameters
    assert (ssb["bins"].default, ssb["regularization"].default) == (128, 0.03)
    assert inspect.signature(stream.chunks).parameters["size"].default == 1024
    exposure = inspect.signature(scan.Exposure).parameters
    assert [exposure[name].default for name in ("frames", "flyback_s", "frame_overhead_s", "pattern", "settle_s")] == [
        1, 0.0, 0.0, None, 0.0,
    ]  # fmt: skip


def test_a_scan_from_pattern_to_phase(tmp_path) -> None:
    """The path that every user takes, by the names of the contract only."""
    rng = np.random.default_rng(0)
    pattern = scan.sparse((12, 10), 0.5, seed=3, method="poisson_disk")
    exposure = scan.Exposure(current_pa=1.0, dwell_s=8e-5, pixel_size_nm=0.03, shape=(12, 10), pattern=pattern)
    frames = rng.poisson(0.2, (12, 10, 32, 32)).astype(np.uint8)
    packed = events.pack_bits(frames)
    geometry = fourd.Geometry(scan_step_nm=0.03, beam_energy_kev=200, semiangle_mrad=15, pixel_mrad=1.5)
    spec = stream.Spec((12, 10), (32, 32), np.uint8, packed=True)
    reducers = {
        "ssb": fourd.SingleSideband(geometry, bins=64),
        "com": fourd.CenterOfMass(geometry),
        "vd": fourd.VirtualDetectors({"bf": geometry.bright_field((32, 32))}),
        "stat": fourd.FrameStatistics(),
    }
    results = stream.run(reducers, spec, stream.chunks(packed, order=pattern.order, packed_kx=32))
    assert results["ssb"].phase.shape == (12, 10)
    assert results["ssb"].phase.dtype == np.float32
    assert results["com"].com.shape == (12, 10, 2)
    assert results["stat"].mean.shape == results["stat"].variance.shape == (32, 32)
    np.testing.assert_array_equal(results["stat"].visits == 1, pattern.mask)
    np.testing.assert_array_equal(np.isfinite(results["vd"].images["bf"]), pattern.mask)
    assert fourd.integrate(results["com"].com, geometry).shape == (12, 10)
    grids, masks = scan.time_frames(pattern, np.arange(len(pattern.order), dtype=float), n_frames=3)
    assert grids.shape == masks.shape == (3, 12, 10)
    np.testing.assert_array_equal(masks.sum(0) == 1, pattern.mask)
    assert exposure.dose_per_frame == pytest.approx(exposure.pixel_charge_e * len(pattern.order) / (120 * 0.3**2))
    path = tmp_path / "x.esteem"
    with io.Writer(path, spec, geometry=geometry) as writer:
        for chunk in stream.chunks(packed, order=pattern.order, packed_kx=32):
            writer.append(chunk)
    again = stream.run(reducers, spec, io.source(path).chunks())
    np.testing.assert_array_equal(again["ssb"].phase, results["ssb"].phase)
    np.testing.assert_array_equal(io.load(path).scan.index, pattern.order)
