"""The set of reducers and images of a live view."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import fourd, stream
from esteemcore.errors import CalibrationError

GEOMETRY = fourd.Geometry(scan_step_nm=0.05, beam_energy_kev=200, semiangle_mrad=15, pixel_mrad=2.0)


def run(geometry, frame_shape=(24, 24)):
    spec = stream.Spec((4, 5), frame_shape, np.uint8)
    frames = np.random.default_rng(1).poisson(0.5, (4, 5, *frame_shape)).astype(np.uint8)
    return frames, stream.run(fourd.live_reducers(geometry, frame_shape), spec, stream.chunks(frames))


def test_images_of_a_calibrated_scan() -> None:
    frames, results = run(GEOMETRY)
    images = fourd.live_images(results, GEOMETRY)
    assert set(images) == {"bf", "adf", "icom", "ssb"}
    bright = GEOMETRY.bright_field((24, 24))
    np.testing.assert_allclose(images["bf"].data, frames[..., bright].sum(-1))
    np.testing.assert_array_equal(images["ssb"].data, results["ssb"].phase)
    assert (images["bf"].unit, images["icom"].unit, images["ssb"].unit) == ("counts per frame", "rad", "rad")
    with pytest.raises(CalibrationError, match="needs the geometry"):
        fourd.live_images(results, None)


def test_without_calibrations_there_are_sums_only() -> None:
    frames, results = run(None)
    images = fourd.live_images(results, None)
    assert set(images) == {"sum"}
    np.testing.assert_allclose(images["sum"].data, frames.sum((2, 3)))


def test_a_detector_without_room_for_a_dark_field_has_none() -> None:
    _, results = run(fourd.Geometry(scan_step_nm=0.05, beam_energy_kev=200, semiangle_mrad=5, pixel_mrad=0.5), (21, 21))
    assert set(results["detectors"].images) <= {"bf", "adf"}


@pytest.mark.parametrize("packed", [True, False])
def test_warming_up_leaves_nothing_to_compile(packed) -> None:
    from esteemcore.fourd import _kernels, _ssb_kernels

    spec = stream.Spec((4, 5), (24, 24), np.dtype(np.uint8), packed=packed)
    fourd.warm_up(GEOMETRY, spec)
    kernels = [_kernels.bin_events, _kernels.bin_frames, _kernels.project_events, _ssb_kernels.mean_counts]
    before = [len(kernel.signatures) for kernel in kernels]
    reducers = fourd.live_reducers(GEOMETRY, (24, 24))
    chunk = stream.Chunk(np.arange(3), np.full((3, *spec.stored_shape), 3, np.uint8))
    assert stream.run(reducers, spec, [chunk])["ssb"].visits.sum() == 3
    assert [len(kernel.signatures) for kernel in kernels] == before
