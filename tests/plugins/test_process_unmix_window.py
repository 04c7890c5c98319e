"""The window before an unmixing: the preview tells what the core tells, can be stopped, and what is typed is taken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from nion.data import Calibration, DataAndMetadata
from nion.swift.model import Graphics
from process_swift import Swift

from esteemcore import spectral
from nionswift_plugin.esteem_process import unmix_window
from nionswift_plugin.esteem_process.commands import unmix_image as command
from nionswift_plugin.esteem_scan import binding

SHAPE = (14, 16)


def counts(size: float = 8.0) -> np.ndarray:
    """Counts of two phases, each with a line of its own; the second grows to the right."""
    channel = np.arange(50)
    lines = np.exp(-((channel - np.array([[12], [35]])) ** 2) / 6) + 0.002
    share = np.broadcast_to(np.linspace(0, 1, 16) ** 2, SHAPE)
    rate = size * ((1 - share)[..., None] * lines[0] + share[..., None] * lines[1])
    return np.random.default_rng(0).poisson(rate).astype(np.float32)


def xdata(data: np.ndarray) -> DataAndMetadata.DataAndMetadata:
    axes = [Calibration.Calibration(0, 2.0, "nm")] * 2 + [Calibration.Calibration(0.01, 0.04, "keV")]
    return DataAndMetadata.new_data_and_metadata(
        data, dimensional_calibrations=axes, data_descriptor=DataAndMetadata.DataDescriptor(False, 2, 1)
    )


@pytest.fixture
def opened(app: Swift) -> Iterator[Any]:
    """Return a function that opens the window on a new data item and others; it is closed at the end."""
    made: list[Any] = []

    def open_window(data: np.ndarray, *others: Any) -> Any:
        item = app.add(xdata(data), "EDS")
        app.select(item, *others)
        made.append(command.open_window(app.window))
        return made[-1]

    yield open_window
    for shown in made:
        if app.window and not shown._calls._closed:
            shown.close_window()


def looked(app: Swift, shown: Any) -> str:
    """Wait for the preview; return what it tells."""
    app.until(lambda: not shown.is_running.value)
    return str(shown.message.value)


def test_the_preview_tells_what_will_be_found(app: Swift, opened: Any) -> None:
    shown = opened(counts())
    empty = shown.picture.value
    rank = spectral.estimate_rank(counts())
    assert looked(app, shown) == f"2 components: {rank.reason}."
    app.until(lambda: shown.progress.value == 100)
    assert shown.picture.value.shape == empty.shape == (380, 500)
    assert not np.array_equal(shown.picture.value, empty)
    assert [item.title for item in app.model.data_items] == ["EDS"]  # nothing is made of it yet
    two = shown.picture.value
    shown.components.value = 3
    assert looked(app, shown).startswith("2 components: ")
    assert not np.array_equal(shown.picture.value, two)  # the third spectrum


def test_what_is_typed_is_taken_by_preview_and_unmixing(app: Swift, opened: Any) -> None:
    mask = np.ones(SHAPE, np.float32)
    mask[:3] = 0
    image = app.add(DataAndMetadata.new_data_and_metadata(mask), "Mask")
    shown = opened(counts(), image)
    shown.noise_index.value = list(unmix_window.NOISE.values()).index("gaussian")
    shown.gain.value, shown.seed.value = 2.0, 3
    shown.method_index.value = shown.method_names.value.index("spa")
    told = {"mask": mask > 0, "noise": "gaussian", "gain": 2.0, "seed": 3}
    rank = spectral.estimate_rank(counts(), **told)
    assert rank.reason[1:] in looked(app, shown)
    shown.components.value = 2
    shown.unmix_clicked(None)
    app.model.recompute_all()
    (computation,) = app.model.computations
    assert computation.error_text is None
    maps = next(made for made in app.model.data_items if made.title.startswith("Abundances"))
    expected = spectral.unmix(counts(), 2, "spa", **told)
    np.testing.assert_array_equal(maps.data, expected.abundances)
    known = maps.metadata[binding.KEY]
    assert known["unmixing"]["noise"] == "gaussian"
    assert known["components"]["provenance"]["parameters"]["noise"] == "gaussian"


def test_the_preview_can_be_stopped_and_ends_with_the_window(
    app: Swift, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, real = threading.Event(), spectral.estimate_rank

    def waiting(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        assert kwargs["cancel"].wait(60)
        return real(*args, **kwargs)

    monkeypatch.setattr(spectral, "estimate_rank", waiting)
    shown = opened(counts())
    assert begun.wait(30)
    assert shown.is_running.value
    shown.stop_clicked(None)
    assert looked(app, shown).startswith("The preview was stopped")
    shown.seed.value = 1  # it begins again
    assert shown.is_running.value
    shown.close_window()
    app.until(lambda: not shown._worker.is_busy)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((*SHAPE, 50), np.float32), "Components: all values are zero."),
        (np.where(np.arange(50) == 3, np.nan, counts()), "Error: "),
    ],
)
def test_what_cannot_be_counted_is_told(app: Swift, opened: Any, data: np.ndarray, words: str) -> None:
    assert looked(app, opened(data)).startswith(words)


def test_the_preview_follows_the_data_and_no_picture_outlives_them(app: Swift, opened: Any) -> None:
    shown = opened(counts())
    assert looked(app, shown).startswith("2 components")
    assert shown.picture.value is not unmix_window.NOTHING
    shown.components.value = None
    assert "whole number" in looked(app, shown)
    assert shown.picture.value is unmix_window.NOTHING
    shown.components.value = 0
    assert looked(app, shown).startswith("2 components")
    one = np.random.default_rng(1).poisson(np.broadcast_to(counts().mean(axis=(0, 1)), (*SHAPE, 50)))
    app.model.data_items[0].set_data(one.astype(np.float32))
    app.until(lambda: str(shown.message.value).startswith("1 component:"))


def test_numbers_that_are_none_and_what_was_removed_are_told(app: Swift, opened: Any) -> None:
    shown = opened(counts())
    shown.gain.value = None
    assert "gain and readout noise must be numbers" in shown.message.value
    shown.unmix_clicked(None)
    assert "gain and readout noise must be numbers" in shown.message.value
    shown.gain.value, shown.components.value = 1.0, None
    shown.unmix_clicked(None)
    assert "must be a whole number" in shown.message.value
    assert not app.model.computations
    item = app.add(xdata(counts()), "Another")
    region = Graphics.RectangleGraphic()
    app.display(item).add_graphic(region)
    app.select(item)
    app.display(item).graphic_selection.set(0)
    other = command.open_window(app.window)
    app.display(item).remove_graphic(region).close()
    other.unmix_clicked(None)
    assert "the graphic was removed" in other.message.value
    other.close_window()


def test_a_picture_has_its_colours() -> None:
    from PIL import Image

    picture = Image.new("RGB", (3, 2), (1, 2, 3))
    values = unmix_window.as_bgra(picture)
    assert values.shape == (2, 3)
    assert hex(int(values[0, 0])) == "0xff010203"
