"""Principal components: known subspaces, the weights of counts, and the same answer for every kind of data."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from known_spectra import rates

from esteemcore import spectral
from esteemcore.errors import CancelledError, ParameterError
from esteemcore.events import SparseSI
from esteemcore.lowrank import operators


def test_noise_free_phases_are_found_whole(rng) -> None:
    data = rates(rng, 20)
    for noise in ("poisson", "gaussian"):
        result = spectral.pca(data, 3, noise)
        np.testing.assert_allclose(result.reconstruct(), data, atol=1e-9 * data.max())
        assert result.explained.sum() == pytest.approx(1)
        assert (np.diff(result.variances) <= 0).all()


def test_sparse_dense_and_lazy_data_have_the_same_components(rng) -> None:
    import dask.array as da

    counts = rng.poisson(rates(rng, 300))
    dense = spectral.pca(counts, 3)
    for other in (SparseSI.from_dense(counts), da.from_array(counts, chunks=(10, -1, -1))):
        found = spectral.pca(other, 3)
        np.testing.assert_allclose(found.variances, dense.variances, rtol=1e-3)
        difference = found.reconstruct() - dense.reconstruct()
        assert np.linalg.norm(difference) < 0.02 * np.linalg.norm(dense.reconstruct())


def test_reconstruction_removes_most_of_the_noise_and_adds_no_counts(rng) -> None:
    truth = rates(rng, 200)
    counts = rng.poisson(truth)
    denoised = spectral.pca(counts, 3).reconstruct()
    assert np.square(denoised - truth).sum() < 0.04 * np.square(counts - truth).sum()
    assert denoised.sum() == pytest.approx(counts.sum(), rel=2e-3)
    # three components with n + m degrees of freedom each, of n * m noisy values
    n, m = truth.shape[0] * truth.shape[1], truth.shape[2]
    floor = 3 * (n + m) / (n * m)
    assert np.square(denoised - truth).sum() > 0.5 * floor * np.square(counts - truth).sum()


def test_weights_of_counts_find_a_weak_phase_that_equal_weights_lose(rng) -> None:
    strong = np.outer(np.exp(-np.arange(100) / 3.0), np.ones(1600)).T * 2_000
    weak = np.zeros((1600, 100))
    weak[::4, 70:90] = 0.6
    counts = rng.poisson((strong + weak).reshape(40, 40, 100))
    truth = weak[:, 80].reshape(40, 40)

    def likeness(noise):
        return abs(np.corrcoef(spectral.pca(counts, 2, noise).maps[1].ravel(), truth.ravel())[0, 1])

    assert likeness("poisson") > 0.9
    assert likeness("gaussian") < 0.3


def test_noise_of_counts_has_unit_variance_in_the_weighted_data(rng) -> None:
    counts = rng.poisson(rates(rng, 400, n=1))
    result = spectral.pca(counts, 20)
    n, m = counts.shape[0] * counts.shape[1], counts.shape[2]
    edge = (1 + np.sqrt(m / n)) ** 2  # Marchenko and Pastur
    assert result.variances[1:4] == pytest.approx(edge, rel=0.08)


def test_masked_pixels_take_no_part(rng) -> None:
    counts = rng.poisson(rates(rng, 30)).astype(float)
    mask = rng.random(counts.shape[:2]) < 0.8
    spoiled = np.where(mask[..., None], counts, np.nan)
    found, clean = spectral.pca(spoiled, 3, mask=mask), spectral.pca(counts, 3, mask=mask)
    np.testing.assert_array_equal(found.components, clean.components)
    assert (np.isnan(found.maps) == ~mask).all()
    assert np.isfinite(found.reconstruct()[mask]).all()


def test_centred_components_leave_the_mean_out(rng) -> None:
    data = rates(rng, 30)
    result = spectral.pca(data, 3, "gaussian", center=True)
    np.testing.assert_allclose(result.mean, data.mean(axis=(0, 1)))
    np.testing.assert_allclose(result.maps.mean(axis=(1, 2)), 0, atol=1e-9)
    np.testing.assert_allclose(result.reconstruct(), data, atol=1e-9)


def test_a_window_of_the_reconstruction_is_that_part_of_it(rng) -> None:
    result = spectral.pca(rng.poisson(rates(rng, 30)), 3)
    whole = result.reconstruct()
    np.testing.assert_array_equal(result.reconstruct(slice(20, 30)), whole[..., 20:30])
    np.testing.assert_array_equal(result.reconstruct([5, 7]), whole[..., [5, 7]])
    assert not np.allclose(result.reconstruct(n_components=1), whole)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.zeros((3, 3, 5)), {}, "zero"),
        (np.ones((3, 3)), {}, r"shape \(3, 3\)"),
        (np.ones((2, 3, 3, 5)), {}, "add up the frames"),
        (np.full((3, 3, 5), -1.0), {}, "below|down to -1"),
        (np.full((3, 3, 5), np.nan), {}, "NaN"),
        (np.ones((1, 1, 5)), {"n_components": 2}, "no more than 1"),
        (np.ones((3, 3, 5)), {"n_components": 0}, "n_components"),
        (np.ones((3, 3, 5)), {"mask": np.ones((3, 4), bool)}, r"\(3, 4\)"),
        (np.ones((3, 3, 5)), {"mask": np.zeros((3, 3), bool)}, "False everywhere"),
        (np.ones((3, 3, 5)), {"noise": "shot"}, "noise"),
        (np.ones((3, 3, 5), complex), {}, "complex"),
    ],
)
def test_what_cannot_be_decomposed_is_refused_in_words(data, options, message) -> None:
    with pytest.raises(ParameterError, match=message):
        spectral.pca(data, **{"n_components": 1, **options})


def test_one_pixel_has_one_component() -> None:
    spectrum = np.arange(1.0, 6)
    result = spectral.pca(spectrum[None, None], 1)
    np.testing.assert_allclose(result.reconstruct()[0, 0], spectrum)


class Lazy:
    """An image that is read in slices, and tells how often."""

    chunks = (4, 8, 50)

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.reads = data, data.shape, data.dtype, 0

    def __getitem__(self, place):
        self.reads += 1
        return self.data[place]


@pytest.mark.parametrize("center", [False, True])
def test_lazy_images_tell_their_progress_and_stop_before_the_next_block(rng, monkeypatch, center) -> None:
    monkeypatch.setattr(operators, "BLOCK_BYTES", 4 * 8 * 50 * 8)
    counts = rng.poisson(rates(rng, 300, 2, (32, 8), 50))
    told: list[float] = []
    image = Lazy(counts)
    spectral.pca(image, 2, center=center, progress=told.append)
    assert image.reads == (9 + center) * 8
    np.testing.assert_allclose(told, np.arange(image.reads + 1) / image.reads)
    stop = threading.Event()
    for after in (0, 5, 40):
        image = Lazy(counts)
        stop.clear()

        def wish(_, image=image, after=after) -> None:
            if image.reads >= after:
                stop.set()

        with pytest.raises(CancelledError):
            spectral.pca(image, 2, progress=wish, cancel=stop)
        assert image.reads in (after, after + 1)
    image = Lazy(counts)
    with pytest.raises(CancelledError):
        spectral.estimate_rank(image, cancel=stop)
    assert image.reads == 0


def test_without_their_mean_equal_spectra_are_refused_in_words() -> None:
    for value in (1.0, 0.1, 1e6 / 3):
        for dtype in (np.float32, np.float64):
            with pytest.raises(ParameterError, match="alike"):
                spectral.pca(np.full((5, 5, 20), value, dtype), 1, center=True)
