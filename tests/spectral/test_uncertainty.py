"""How sure an unmixing is: exact where the answer is known, wider where the data do not decide."""

from __future__ import annotations

import doctest
import importlib
import threading

import numpy as np
import pytest

from esteemcore import spectral
from esteemcore.errors import CancelledError, ParameterError
from esteemcore.events import SparseSI
from esteemcore.lowrank import RowBlocks
from esteemcore.spectral._matching import angles_deg, matched
from esteemcore.spectral._resampling import BLOCK_CHANNELS, BLOCK_PX, freedom, resampler
from esteemcore.spectral.methods import Factors, Problem
from esteemcore.spectral.uncertainty_parts import Squares, beyond

from .known_spectra import phases


class Lazy:
    """An array that is only read by slices."""

    def __init__(self, values):
        self._values, self.shape, self.dtype = values, values.shape, values.dtype

    def __getitem__(self, key):
        return self._values[key]


def problem_of(matrix, shape, **changed):
    rows, channels = matrix.shape
    usual = {
        "matrix": matrix, "mask": np.ones(shape, bool), "n": 2, "noise": "poisson", "gain": 1.0, "readout_sigma": 0.0,
        "row_weights": np.ones(rows), "channel_weights": np.ones(channels),
    }  # fmt: skip
    return Problem(**(usual | changed))


def factors(rng, rows, channels, size):
    return Factors(rng.dirichlet(np.ones(channels), 2), size * rng.random((rows, 2)))


@pytest.mark.parametrize("size", [0.4, 40.0])
@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_drawn_counts_are_poisson_counts_of_the_model(rng, size, gain) -> None:
    truth = factors(rng, 12, 9, size * gain * 9)
    source = resampler(problem_of(np.ones((12, 9)), (3, 4), gain=gain), truth, np.ones(12))
    drawn = []
    for _ in range(400):
        data = source.draw(rng)
        drawn.append(data.toarray() if hasattr(data, "toarray") else data)
    model = truth.abundances @ truth.spectra
    deviation = (np.mean(drawn, axis=0) - model) / np.sqrt(gain * model / 400)
    assert abs(np.square(deviation).mean() - 1) < 0.5
    assert np.var(drawn, axis=0).sum() == pytest.approx(gain * model.sum(), rel=0.1)
    assert (np.remainder(drawn, gain) == 0).all()


def test_counts_are_drawn_of_components_of_either_sign(rng) -> None:
    truth = Factors(np.array([[0.2, 0.2, 0.2], [0.1, 0.0, -0.1]]), np.tile([[0.5, -0.75]], (200, 1)))
    source = resampler(problem_of(np.zeros((200, 3)), (10, 20)), truth, np.ones(200))
    drawn = np.mean([source.draw(rng).toarray() for _ in range(40)], axis=(0, 1))
    np.testing.assert_allclose(drawn, [0.025, 0.1, 0.175], atol=5 * np.sqrt(0.175 / 8000))


def test_readout_noise_is_added_to_drawn_counts(rng) -> None:
    truth = factors(rng, 12, 9, 200)
    source = resampler(problem_of(np.ones((12, 9)), (3, 4), readout_sigma=5.0), truth, np.ones(12))
    drawn = np.array([source.draw(rng) for _ in range(300)])
    expected = (truth.abundances @ truth.spectra).sum() + 12 * 9 * 25
    assert drawn.var(axis=0).sum() == pytest.approx(expected, rel=0.1)


def test_lazy_data_are_the_same_in_every_pass(rng) -> None:
    truth = factors(rng, 200, 9, 2.0)
    lazy = RowBlocks(Lazy(np.ones((10, 20, 9))))
    weights = rng.uniform(1, 3, 9)
    source = resampler(problem_of(lazy, (10, 20), noise="estimated", channel_weights=weights), truth, np.full(200, 0.9))
    drawn = source.draw(rng)
    first, again = (np.concatenate([block for _, block in drawn.blocks()]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(drawn._source[70:131], first[70:131])
    noise = (first - truth.abundances @ truth.spectra) * weights
    assert noise.std() == pytest.approx(0.9 / np.sqrt(freedom(source.problem)), rel=0.05)


def test_residuals_keep_their_size_and_their_company(rng) -> None:
    truth = Factors(np.repeat([[1.0, 0, 0, 0]], BLOCK_CHANNELS, axis=1) / BLOCK_CHANNELS, 100 * rng.random((48, 1)))
    model = truth.abundances @ truth.spectra
    seen = model + rng.normal(0, 1, model.shape)
    source = resampler(problem_of(seen, (6, 8), noise="gaussian", n=1), truth, np.ones(48))
    signs = ((source.draw(rng) - model) / (seen - model))[:, BLOCK_CHANNELS:] * np.sqrt(1 - 1 / 48)
    np.testing.assert_allclose(np.abs(signs), 1, rtol=1e-6)  # the fit takes nothing from channels without signal
    blocks = signs.reshape(3, BLOCK_PX, 4, BLOCK_PX, 3, BLOCK_CHANNELS).transpose(0, 2, 4, 1, 3, 5).reshape(36, -1)
    np.testing.assert_allclose(blocks, blocks[:, :1] * np.ones(blocks.shape[1]), rtol=1e-6)
    assert 6 < (blocks[:, 0] > 0).sum() < 30


def test_components_are_matched_whatever_their_order(rng) -> None:
    spectra, amounts = rng.dirichlet(np.ones(20), 4), rng.random((30, 4))
    order = rng.permutation(4)
    found = matched(
        Factors(spectra[order], amounts[:, order], spectra[order], amounts[:, order]), Factors(spectra, amounts)
    )
    np.testing.assert_array_equal(found.spectra, spectra)
    np.testing.assert_array_equal(found.sigma_abundances, amounts)


def test_small_angles_are_not_rounded_off() -> None:
    found = angles_deg(np.array([[1.0, 1e-9], [0.0, 2.0]]), np.array([[3.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_allclose(found, [np.degrees(1e-9), 45.0], rtol=1e-6)


def test_one_component_of_counts_has_the_errors_of_a_multinomial(rng) -> None:
    spectrum = rng.dirichlet(np.ones(30))  # lines as narrow as a channel: nothing is blurred
    counts = rng.poisson(200 * np.linspace(0.5, 1.5, 64).reshape(8, 8, 1) * spectrum)
    sure = spectral.uncertainty(
        counts, 1, "nmf", draws=60, repeats=0, methods=(), posterior=False, smoothing_px=0, noise="poisson"
    )
    share, total = sure.result.spectra[0], counts.sum()
    exact = np.sqrt(share * (1 - share) / total)
    ratio = np.square(sure.total.spectra[0]).sum() / np.square(exact).sum()
    assert ratio == pytest.approx(1, abs=0.15)
    by_pixel = np.square(sure.total.abundances[0]) / sure.result.abundances[0]
    assert by_pixel.mean() == pytest.approx(1, abs=0.05)
    assert sure.result.uncertainty.abundances is not None
    np.testing.assert_array_equal(sure.result.uncertainty.abundances, sure.total.abundances)


@pytest.mark.parametrize("lazy", [False, True])
def test_amounts_of_a_known_spectrum_have_the_errors_of_least_squares(rng, lazy) -> None:
    spectrum, sigma = np.exp(-np.arange(40) / 10.0), 0.3
    data = np.full((12, 12, 1), 20.0) * spectrum + rng.normal(0, sigma, (12, 12, 40))
    sure = spectral.uncertainty(
        Lazy(data) if lazy else data, 1, "spa", known=[spectrum], noise="gaussian", draws=60, methods=(), repeats=1
    )
    exact = sigma / np.linalg.norm(spectrum) * spectrum.sum()
    assert np.sqrt(np.square(sure.total.abundances).mean()) == pytest.approx(exact, rel=0.1)
    assert not sure.total.spectra.any()
    assert not sure.total.angle_deg.any()
    assert not sure.parts["repeats"].abundances.any()


def mixtures(rng, pure: bool, counts=3000.0):
    """Return three spectra, abundances (3, y, x) and an image that reaches pure pixels or stays away from them."""
    spectra = phases(np.random.default_rng(1), 3, 60)
    share = rng.dirichlet(np.full(3, 0.3), (24, 24))
    if not pure:  # mixtures that lack a phase, but no pixel of one alone
        share = np.where(share.max(axis=-1, keepdims=True) > 0.7, np.roll([0.5, 0.5, 0.0], 1), share)
    amounts = counts * share * np.linspace(0.8, 1.2, 24)[:, None]
    return spectra, np.moveaxis(amounts, -1, 0), rng.poisson(amounts @ spectra)


def held(sure, part, spectra) -> float:
    found = matched(Factors(sure.result.spectra, np.zeros((1, 3)), part.spectra), Factors(spectra, np.zeros((1, 3))))
    return float(np.mean(np.abs(found.spectra - spectra) < 2 * found.sigma_spectra))


def test_intervals_hold_the_truth_of_pure_pixels_and_methods_agree(rng) -> None:
    spectra, _, counts = mixtures(rng, True)
    sure = spectral.uncertainty(counts, 3, "spa", draws=12, methods=["mvsa"], posterior=False)
    assert not sure.warnings
    assert not sure.agreement[0].disagrees.any()
    assert held(sure, sure.total, spectra) > 0.85
    true = matched(Factors(sure.result.spectra, np.zeros((1, 3))), Factors(spectra, np.zeros((1, 3))))
    away = angles_deg(true.spectra, spectra)
    assert np.sqrt(np.square(away).mean()) < 2 * np.sqrt(np.square(sure.total.angle_deg).mean())


def test_a_choice_of_the_method_that_matters_is_found_and_counted(rng) -> None:
    spectra, _, counts = mixtures(rng, False)
    sure = spectral.uncertainty(counts, 3, "spa", draws=8, methods=["mvsa"], posterior=False)
    other = sure.agreement[0]
    assert other.method == "mvsa"
    assert other.disagrees.any()
    assert sum("do not decide" in warning for warning in sure.warnings) == other.disagrees.sum()
    assert set(sure.warnings) <= set(sure.result.notes)
    assert held(sure, sure.parts["noise"], spectra) + 0.2 < held(sure, sure.total, spectra)


@pytest.fixture
def short_chains(monkeypatch) -> None:
    """Keep few draws: how sure they are is tested elsewhere."""
    blu = importlib.import_module("esteemcore.spectral.methods.blu")
    for name, value in (("ROUNDS", 1), ("WARM_UP", 20), ("DRAWS", 40)):
        monkeypatch.setattr(blu, name, value)


def test_where_the_method_doubts_itself_all_that_others_differ_by_counts(rng, monkeypatch) -> None:
    _, _, counts = mixtures(rng, True)
    chosen = {"draws": 4, "methods": ["mvsa"], "posterior": False, "repeats": 0}
    sure = spectral.uncertainty(counts, 3, "spa", **chosen)
    monkeypatch.setattr(importlib.import_module("esteemcore.spectral.methods.spa"), "FEW", 1.01)
    doubted = spectral.uncertainty(counts, 3, "spa", **chosen)
    assert not sure.warnings
    assert "takes for granted is in doubt" in doubted.warnings[0]
    np.testing.assert_allclose(doubted.parts["methods"].angle_deg, doubted.agreement[0].angle_deg)
    assert (sure.parts["methods"].angle_deg < doubted.parts["methods"].angle_deg).all()
    np.testing.assert_array_equal(sure.parts["noise"].spectra, doubted.parts["noise"].spectra)


def test_causes_add_up(rng, short_chains) -> None:
    _, _, counts = mixtures(rng, True, 30.0)
    mask = np.ones((24, 24), bool)
    mask[:4] = False
    done = []
    sure = spectral.uncertainty(
        SparseSI.from_dense(counts), 3, "nmf", mask, draws=3, repeats=1, methods=["spa"], progress=done.append
    )
    part = sure.parts
    for name in ("spectra", "abundances", "angle_deg"):
        noise, posterior, repeats, methods, total = (
            getattr(p, name) ** 2
            for p in (part["noise"], part["posterior"], part["repeats"], part["methods"], sure.total)
        )
        np.testing.assert_allclose(total, np.maximum(noise, posterior) + repeats + methods)
    assert np.isnan(sure.total.abundances[:, ~mask]).all()
    assert np.isfinite(sure.total.abundances[:, mask]).all()
    assert np.all(np.diff(done) >= 0)
    assert done[-1] == 1
    assert any(note.startswith("posterior: 2 chains") for note in sure.result.notes)
    assert sure.provenance.function == "spectral.uncertainty"
    assert sure.provenance.parameters["draws"] == 3
    again = spectral.uncertainty(SparseSI.from_dense(counts), 3, "nmf", mask, draws=3, repeats=1, methods=["spa"])
    np.testing.assert_array_equal(again.total.spectra, sure.total.spectra)


def test_bayesian_unmixing_has_its_own_posterior(rng, short_chains) -> None:
    counts = rng.poisson(8 * np.ones((8, 8, 1)) * phases(rng, 1, 20)[0])
    sure = spectral.uncertainty(counts, 1, "blu")
    alone = spectral.unmix(counts, 1, "blu")
    assert set(sure.parts) == {"posterior"}
    assert not sure.agreement
    np.testing.assert_allclose(sure.total.spectra, alone.uncertainty.spectra)
    np.testing.assert_allclose(sure.total.abundances, alone.uncertainty.abundances)


def test_what_noise_explains_is_taken_off_whole_components() -> None:
    seen = Squares(np.full((2, 4), 4.0), np.full((5, 2), 4.0), np.array([4.0, 1.0]))
    noise = Squares(np.array([[1.0] * 4, [9.0] * 4]), np.full((5, 2), 1.0), np.array([1.0, 4.0]))
    left = beyond(seen, noise)
    np.testing.assert_allclose(left.spectra, [[3.0] * 4, [0.0] * 4])
    np.testing.assert_allclose(left.abundances, 3.0)
    np.testing.assert_allclose(left.angle, [3.0, 0.0])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"draws": 1}, "has no spread"),
        ({"draws": 0, "methods": ["spa"]}, "judged by drawn data"),
        ({"methods": ["magic"]}, "expected one of"),
        ({"repeats": -1}, "repeats"),
        ({"known": np.ones((1, 6)), "methods": ["pca"]}, "cannot be compared"),
        ({"sum_to_one": True, "method": "spa", "posterior": True}, "posterior needs"),
        ({"mask": np.ones((2, 2), bool)}, "mask"),
    ],
)
def test_what_cannot_be_told_is_said(rng, changed, words) -> None:
    with pytest.raises(ParameterError, match=words):
        spectral.uncertainty(rng.poisson(5, (6, 6, 6)), 2, **changed)


def test_it_stops_when_asked(rng) -> None:
    stop = threading.Event()

    def progress(share: float) -> None:
        if share > 0.3:
            stop.set()

    with pytest.raises(CancelledError):
        spectral.uncertainty(
            rng.poisson(5, (8, 8, 12)), 2, "spa", posterior=False, progress=progress, cancel=stop, methods=()
        )


def test_the_example_is_right() -> None:
    result = doctest.testmod(importlib.import_module("esteemcore.spectral.uncertainty"))
    assert result.attempted > 0
    assert result.failed == 0
