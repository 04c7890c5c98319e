"""The look before an unmixing: the number that the whole image has, and spectra of some of its pixels."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from esteemcore import io, spectral
from esteemcore.cli import unmix_preview
from esteemcore.errors import CancelledError
from esteemcore.events import SparseSI

AXIS = io.Axis("energy", 60, 0.02, 1.0, "keV")


def counts(shape: tuple[int, int], size: float = 30.0) -> np.ndarray:
    channel = np.arange(60)
    lines = np.exp(-((channel - np.array([[15], [40]])) ** 2) / 6) + 0.02
    lines /= lines.sum(axis=1, keepdims=True)
    share = np.broadcast_to(np.linspace(0, 1, shape[1]) ** 2, shape)[..., None]
    return np.random.default_rng(0).poisson(size * ((1 - share) * lines[0] + share * lines[1])).astype(np.uint16)


def test_a_small_image_is_looked_at_as_a_whole() -> None:
    data, done = counts((20, 24)), []
    found = unmix_preview.preview(data, AXIS, seed=2, progress=done.append)
    assert found.words == f"2 components: {spectral.estimate_rank(data, seed=2).reason}."
    np.testing.assert_array_equal(found.rough.spectra, spectral.unmix(data, 2, seed=2).spectra)
    assert done[-1] == 1
    assert np.all(np.diff(done) >= 0)
    picture = np.asarray(found.picture())
    assert picture.shape == (2 * unmix_preview.SIZE[1], 2 * unmix_preview.SIZE[0], 3)
    # scree and two spectra, and nothing in the fourth place
    assert [(part != 255).any() for half in np.split(picture, 2) for part in np.split(half, 2, axis=1)] == [
        True, True, True, False
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["dense", "events"])
def test_of_a_large_one_the_spectra_are_those_of_a_grid_of_pixels(monkeypatch, kind) -> None:
    monkeypatch.setattr(unmix_preview, "PIXELS", 300)
    data = counts((40, 44))
    mask = np.ones((40, 44), bool)
    mask[:, :4] = False
    found = unmix_preview.preview(data if kind == "dense" else SparseSI.from_dense(data), AXIS, mask=mask)
    assert found.rough.mask.sum() == pytest.approx(40 * 40 / 4)
    assert not (found.rough.mask & ~mask).any()
    assert sorted(found.rough.spectra.argmax(axis=1)) == pytest.approx([15, 40], abs=1)


def test_where_the_number_is_not_known_there_are_no_spectra_but_those_that_are_asked_for() -> None:
    few = np.zeros((12, 12, 60), np.uint16)
    few[0, 0, :9] = 1
    found = unmix_preview.preview(few, AXIS)
    assert found.rough is None
    assert found.words.startswith("Components: cannot be told: 9 events in all")
    assert len(unmix_preview.preview(few, AXIS, components=1).rough.spectra) == 1


def test_the_noise_is_passed_on_and_the_look_can_be_stopped() -> None:
    data = counts((20, 24)).astype(float)
    found = unmix_preview.preview(data, AXIS, components=2, noise="gaussian")
    assert (found.rank.noise, found.rough.noise) == ("estimated", "gaussian")
    stop = threading.Event()
    with pytest.raises(CancelledError):
        unmix_preview.preview(data, AXIS, progress=lambda _: stop.set(), cancel=stop)
