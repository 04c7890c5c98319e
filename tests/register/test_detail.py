"""Blurs follow the size of details: fine lattices are registered line by line as well as coarse ones."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import series as make

from esteemcore import register, simulate
from esteemcore.register import align_series
from esteemcore.register.detail import FINEST, RunningDetail, blur_factor, detail_px
from esteemcore.register.lines import make_frame
from esteemcore.register.rigid import Correlator
from esteemcore.register.visits import raster_visits

SHAPE = (96, 96)


def frames_of(images):
    images = np.asarray(images, np.float32)
    weight = np.ones(images.shape[1:], np.float32)
    return [make_frame(i, weight, raster_visits(images.shape[1:]), np.zeros(2), k) for k, i in enumerate(images)]


@pytest.mark.parametrize("period", [6.0, 9.0, 16.0])
def test_the_detail_of_a_wave_is_its_period_over_two_pi_whatever_the_noise(period) -> None:
    y, _ = np.mgrid[:128, :128]
    wave = 1 + 0.5 * np.cos(2 * np.pi * y / period)
    noisy = np.random.default_rng(0).poisson(4 * wave, (12, 128, 128))
    for images, tolerance in ((np.array([wave, wave]), 0.02), (noisy, 0.06)):
        assert detail_px((128, 128), frames_of(images)) == pytest.approx(period / (2 * np.pi), rel=tolerance)


def test_coarse_details_and_none_leave_the_blur_as_it_is() -> None:
    y, x = np.mgrid[:96, :96]
    blob = np.exp(-((y - 40) ** 2 + (x - 50) ** 2) / 200)
    assert blur_factor(SHAPE, frames_of([blob, blob])) == 1
    assert blur_factor(SHAPE, frames_of(np.random.default_rng(0).normal(size=(2, 96, 96)))) >= FINEST


@pytest.mark.parametrize(("period", "factor"), [(4.5, 0.365), (6.0, 0.563), (16.0, 1.0)])
def test_a_running_series_tells_the_same_and_noise_tells_nothing(period, factor) -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    wave = 2 + np.cos(2 * np.pi * y / period) + np.cos(2 * np.pi * x / period)
    rng, correlator = np.random.default_rng(0), Correlator(SHAPE)
    for mean, expected in ((10 * wave, factor), (np.full(SHAPE, 20.0), 1.0)):
        detail = RunningDetail(correlator)
        assert detail.blur_factor == 1
        spectra = [correlator.transform(rng.poisson(mean).astype(np.float32), None) for _ in range(6)]
        for number in range(1, 6):
            detail.learn(np.sum(spectra[:number], axis=0), spectra[number])
            assert detail.blur_factor == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("size", [(24, 32), (64, 64)])
def test_a_fine_lattice_that_stays_does_not_creep(size) -> None:
    """Columns 3.9 px apart and narrower than a pixel, as one sees them with large pixels for spectra."""
    columns = [np.exp(-((((np.arange(n) + 1.95) % 3.905 - 1.95) / 0.6) ** 2) / 2) for n in size]
    between = [np.exp(-(((np.arange(n) % 3.905 - 1.95) / 0.6) ** 2) / 2) for n in size]
    below = 1 + 2 * (np.arange(size[0]) > 12)[:, None]
    rng = np.random.default_rng(0)
    frames = rng.poisson(300 * (np.outer(*columns) * below + 0.4 * np.outer(*between) + 0.02), (8, *size))
    tracker, live = register.DriftTracker(), register.LiveAlignment(size, model="rigid")
    assert max(float(np.abs(tracker.update(frame)).max()) for frame in frames) < 0.15
    placed = [live.update(frame) for frame in frames]
    assert all(placement.accepted for placement in placed)
    assert max(float(np.abs(placement.shift).max()) for placement in placed) < 0.05


def oxide_series():
    """Columns of an oxide along the rows of the scan, 7 px from cell to cell, in frames of high dose."""
    specimen, pixel_nm = simulate.composition("oxide_interface"), 0.056
    moved = make.drift(10, SHAPE[0], (0.3, -0.2)) + make.jitter(np.random.default_rng(1), 10, SHAPE[0], 0.27, 0.7)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] - np.array([[[47.5]], [[47.5]]])
    frames = []
    for lines in moved:
        places = np.stack([y + lines[:, None, 0], x + lines[:, None, 1]], axis=-1) * pixel_nm
        frames.append(specimen.at(places.reshape(-1, 2)).scattered(200.0, 60.0, 200.0).reshape(SHAPE))
    return np.random.default_rng(2).poisson(1e4 * np.array(frames)), moved


def test_lines_of_a_fine_lattice_are_found(monkeypatch) -> None:
    images, moved = oxide_series()
    found = register.align(images)
    assert found.accepted.all(), found.reasons
    error = make.relative_error(found.field, moved)
    rigid = register.align(images, "rigid").shifts[:, None]
    assert error < 0.75 * make.relative_error(np.broadcast_to(rigid, moved.shape), moved)
    monkeypatch.setattr(align_series, "blur_factor", lambda *_: 1.0)
    assert error < 0.3 * make.relative_error(register.align(images).field, moved)


def test_names_that_scripts_rely_on() -> None:
    for function, names in (
        (register.align, ("series", "model", "patterns", "masks")),
        (register.accumulate, ("alignment", "spectrum_images", "upsample")),
        (register.DriftTracker.update, ("self", "frame", "mask", "time_s")),
    ):
        assert tuple(inspect.signature(function).parameters)[: len(names)] == names
    fields = {"shifts", "field", "common_region", "quality", "accepted"}
    assert fields <= set(register.Alignment.__dataclass_fields__)
    assert {"data", "variance", "coverage"} <= set(register.Accumulated.__dataclass_fields__)
