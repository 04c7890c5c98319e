"""The number of components: right where it can be told, no false ones, and said so where it cannot be told."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
from known_spectra import rates

from esteemcore import spectral
from esteemcore.errors import CancelledError, ParameterError
from esteemcore.events import SparseSI


@pytest.mark.parametrize(
    ("n", "seed", "counts"), [(1, 0, 5), (2, 1, 5), (3, 2, 5), (1, 0, 50), (2, 1, 50), (3, 2, 50), (4, 3, 50)]
)
def test_as_many_components_as_there_are_phases(n, seed, counts) -> None:
    rng = np.random.default_rng(seed)
    result = spectral.estimate_rank(rng.poisson(rates(rng, counts, n)))
    assert result.n == n, result.reason
    assert result.at_least == n
    assert (result.curve[:n] > result.threshold).all()
    assert result.noise == "poisson"


def test_one_phase_with_any_thickness_never_becomes_two() -> None:
    found = []
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        thickness = rng.gamma(2.0, size=(32, 32, 1))
        found.append(spectral.estimate_rank(rng.poisson(rng.choice([2, 20, 200]) * thickness * phase(rng))).n)
    assert sum(n != 1 for n in found) <= 1, found  # 5 percent


def phase(rng):
    spectrum = rng.gamma(0.3, size=120)
    return spectrum / spectrum.sum()


def test_few_counts_are_read_rightly_or_not_at_all() -> None:
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        found.append(spectral.estimate_rank(SparseSI.from_dense(rng.poisson(rates(rng, 0.6)))))
    assert all(rank.n is None or rank.n == rank.at_least for rank in found), found
    assert all(rank.at_least <= 3 for rank in found), found
    assert any(rank.n in (2, 3) for rank in found), found
    assert any(rank.n is None and rank.at_least >= 1 for rank in found), found


def test_events_and_arrays_agree(rng) -> None:
    counts = rng.poisson(rates(rng, 20))
    dense, sparse = spectral.estimate_rank(counts), spectral.estimate_rank(SparseSI.from_dense(counts))
    assert dense.n == sparse.n == 3
    assert dense.bins == sparse.bins
    np.testing.assert_allclose(sparse.curve[:3], dense.curve[:3], rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_noise_of_a_camera_is_estimated_by_pixel_and_channel(rng, n) -> None:
    noise = rng.uniform(1, 5, 150) * rng.standard_normal((40, 40, 150)) * rng.uniform(0.5, 2, (40, 40, 1))
    data = noise + (rates(rng, 3_000, n, (40, 40), 150) if n else 0)
    result = spectral.estimate_rank(data)
    assert (result.n, result.noise) == (n, "estimated"), result.reason


def test_known_noise_needs_no_estimate(rng) -> None:
    data = rates(rng, 1_000, 2, (32, 32), 100) + 2.0 * rng.standard_normal((32, 32, 100))
    assert spectral.estimate_rank(data, noise="gaussian", sigma=2.0).n == 2
    assert spectral.estimate_rank(2.0 * rng.standard_normal((32, 32, 100)), noise="gaussian", sigma=2.0).n == 0


def test_every_method_is_told_and_can_be_asked_for(rng) -> None:
    counts = rng.poisson(rates(rng, 500))
    result = spectral.estimate_rank(counts, "marchenko_pastur")
    assert result.n == result.methods["marchenko_pastur"] == result.at_least == 3
    assert set(result.methods) == {"parallel", "marchenko_pastur", "gavish_donoho", "elbow"}
    assert "parallel analysis says 3" in result.reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (np.zeros((20, 20, 30), int), "zero|0 events"),
        (np.eye(30, dtype=int)[:, None, :] * 2, "events"),
        (np.ones((1, 2, 300)), "pixels"),
    ],
)
def test_what_cannot_be_told_is_none_with_the_reason(data, reason) -> None:
    result = spectral.estimate_rank(data)
    assert (result.n, result.at_least) == (None, 0)
    assert re.search(reason, result.reason), result.reason


def test_more_components_than_looked_for_are_not_called_a_number(rng) -> None:
    result = spectral.estimate_rank(rng.poisson(rates(rng, 500, 4)), max_components=2)
    assert result.n is None
    assert 2 <= result.at_least <= 4
    assert "raise max_components" in result.reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "guess"}, "method"),
        ({"noise": "gaussian", "sigma": -1}, "sigma"),
        ({"sigma": 1.0}, "belongs to noise='gaussian'"),
        ({"mask": np.ones((2, 2), bool)}, "mask"),
        ({"max_components": 0}, "max_components"),
    ],
)
def test_bad_arguments_are_refused(rng, options, message) -> None:
    with pytest.raises(ParameterError, match=message):
        spectral.estimate_rank(rng.poisson(2.0, (8, 8, 20)), **options)


def test_fractions_and_negatives_are_no_counts(rng) -> None:
    for data in (rng.random((8, 8, 20)), -np.ones((8, 8, 20))):
        with pytest.raises(ParameterError, match="which counts cannot be"):
            spectral.estimate_rank(data, noise="poisson")
    with pytest.raises(ParameterError, match="NaN"):
        spectral.estimate_rank(np.full((8, 8, 20), np.nan))


def test_it_can_be_cancelled_and_tells_its_progress(rng) -> None:
    counts = rng.poisson(rates(rng, 20))
    told: list[float] = []
    spectral.estimate_rank(counts, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    stop = threading.Event()
    stop.set()
    with pytest.raises(CancelledError):
        spectral.estimate_rank(counts, cancel=stop)


def test_the_same_seed_gives_the_same_answer(rng) -> None:
    counts = rng.poisson(rates(rng, 5))
    first, second = spectral.estimate_rank(counts, seed=4), spectral.estimate_rank(counts, seed=4)
    np.testing.assert_array_equal(first.scores, second.scores)
    assert first.n == second.n


@pytest.mark.parametrize("name", ["eds_tip_1p5cpp", "eds_tip_5cpp", "eds_tip_50cpp", "eels_3phase"])
def test_marks_on_the_shared_sets(shared_data, name) -> None:
    path = shared_data / "spectral" / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with np.load(path) as found:
        if "Y" in found.files:
            assert spectral.estimate_rank(found["Y"]).n == 3
            return
        shape = tuple(int(n) for n in found["shape"])
        offset, channel = found["indptr"].astype(np.int64), found["indices"].astype(np.uint32)
        si = SparseSI(shape, np.dtype(np.uint32), offset, channel, found["data"].astype(np.uint32))
        inside = found["inside"].astype(bool)
    result = spectral.estimate_rank(si, mask=inside)
    assert result.n in ((3, None) if name == "eds_tip_1p5cpp" else (3,)), result.reason
