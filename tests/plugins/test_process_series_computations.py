"""Stored series in Nion Swift: aligned and averaged by computations, their linked data items, Stop and errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nion.data import Calibration, DataAndMetadata
from nion.swift.model import Graphics
from process_swift import Swift, in_files, in_memory
from scipy import ndimage

from esteemcore import register
from nionswift_plugin.esteem_process.commands import align_series as align_command
from nionswift_plugin.esteem_process.commands import motif_average as motif_command
from nionswift_plugin.esteem_process.computations import align_series, motif_average
from nionswift_plugin.esteem_scan import binding

DRIFT = np.array([0.6, -0.4])


@pytest.fixture
def app(swift: Any) -> Iterator[Swift]:
    with in_memory() as made:
        yield made


def xdata(data: np.ndarray, descriptor: tuple[bool, int, int]) -> DataAndMetadata.DataAndMetadata:
    axes = [Calibration.Calibration(0, 0.1, "nm"), Calibration.Calibration(0, 0.1, "nm")]
    if descriptor[0]:
        axes.insert(0, Calibration.Calibration())
    if descriptor[2] == 1:
        axes.append(Calibration.Calibration(400, 5.0, "eV"))
    return DataAndMetadata.new_data_and_metadata(
        data, dimensional_calibrations=axes, data_descriptor=DataAndMetadata.DataDescriptor(*descriptor)
    )


def series(frames: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Images and spectra that drift by `DRIFT` px per frame, with a line at 500 eV."""
    rng = np.random.default_rng(0)
    scene = ndimage.gaussian_filter(rng.random((90, 90)), 2.5)
    scene = (scene - scene.min()) / np.ptp(scene)
    y, x = np.mgrid[:48, :48] + 20.0
    seen = np.array([ndimage.map_coordinates(scene, [y + k * DRIFT[0], x + k * DRIFT[1]]) for k in range(frames)])
    line = np.exp(-(((400 + 5.0 * np.arange(30) - 500) / 12) ** 2))
    images = rng.poisson(80 * (0.2 + np.clip(seen, 0, 1)))
    return images.astype(np.float32), rng.poisson(8 * np.clip(seen, 0, 1)[..., None] * line + 0.3).astype(np.float32)


def lattice(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image of a lattice with a cell of 12 px, and spectra of two kinds of columns."""
    y, x = np.mgrid[:72, :72]
    one, two = (np.exp(3 * (np.cos(2 * np.pi * (y - d) / 12) + np.cos(2 * np.pi * (x - d) / 12) - 2)) for d in (0, 6))
    rng = np.random.default_rng(seed)
    spectra = one[..., None] * [1.0, 0, 0.1] + two[..., None] * [0, 0.5, 0.1]
    return rng.poisson(40 * one + 15 * two + 2).astype(np.float32), rng.poisson(spectra).astype(np.float32)


@pytest.mark.parametrize("given", ["images", "spectra", "both"])
def test_a_series_is_aligned_summed_and_mapped(app: Swift, given: str) -> None:
    images, spectra = series()
    first = app.add(xdata(images, (True, 0, 2)), "ADF") if given != "spectra" else None
    second = app.add(xdata(spectra, (True, 2, 1)), "EELS") if given != "images" else None
    computation, made = align_series.make(app.model, first, second, model="rigid", upsample=2)
    if second is not None:
        computation.set_input_value("maps", "Mn:470-530:400-460+540-548")
    app.model.recompute_all()
    assert computation.error_text is None
    assert made["mean"].data_shape == (96, 96)
    assert made["mean"].dimensional_calibrations[0].scale == pytest.approx(0.05)
    assert "5 of 5 frames" in made["mean"].title
    np.testing.assert_allclose(np.diff(made["down"].data), 0.1 * DRIFT[0], atol=0.02)
    np.testing.assert_allclose(np.diff(made["right"].data), 0.1 * DRIFT[1], atol=0.02)
    assert made["down"].intensity_calibration.units == "nm"
    known = made["mean"].metadata[binding.KEY]["multiframe"]
    assert known["provenance"]["function"] == "multiframe.process_series"
    assert set(made) == ({"mean", "down", "right"} if second is None else set(align_series.TITLES))
    if second is not None:
        assert made["spectra"].data_shape == (96, 96, 30)
        assert made["spectra"].dimensional_calibrations[2].units == "eV"
        assert float(np.asarray(made["spectra"].data).sum()) == pytest.approx(float(spectra.sum()), rel=0.1)
        assert made["maps"].data_shape == (2, 96, 96)
        assert made["maps"].xdata.is_sequence
        assert "Mn SNR" in made["maps"].title


def test_the_alignment_is_that_of_the_core_and_follows_its_parameters(app: Swift) -> None:
    images, _ = series()
    computation, made = align_series.make(app.model, app.add(xdata(images, (True, 0, 2))), None)
    app.model.recompute_all()
    found = register.align(images)
    np.testing.assert_allclose(made["down"].data, 0.1 * (found.shifts[:, 0] - found.shifts[0, 0]), atol=1e-6)
    before = np.array(made["mean"].data)
    computation.set_input_value("model", "rigid")
    app.model.recompute_all()
    assert not np.array_equal(before, made["mean"].data)
    computation.set_input_value("model", "elastic")
    app.model.recompute_all()
    assert "'scanline', 'rigid'" in computation.error_text


def test_a_blank_frame_is_told(app: Swift) -> None:
    images, _ = series()
    images[2] = 7
    _, made = align_series.make(app.model, app.add(xdata(images, (True, 0, 2))), None, model="rigid")
    app.model.recompute_all()
    assert "4 of 5 frames" in made["mean"].title
    assert "constant" in made["mean"].metadata[binding.KEY]["multiframe"]["left_out"]["2"]
    assert np.isnan(made["down"].data[2])


def test_series_in_files(swift: Any, tmp_path: Path) -> None:
    images, spectra = series()
    with in_files(tmp_path / "project") as app:
        first, second = app.add(xdata(images, (True, 0, 2))), app.add(xdata(spectra, (True, 2, 1)))
        assert isinstance(second.xdata.data, h5py.Dataset)
        computation, made = align_series.make(app.model, first, second, model="rigid")
        app.model.recompute_all()
        assert computation.error_text is None
        assert made["spectra"].data_shape == (48, 48, 30)


def test_an_alignment_can_be_stopped(app: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = series()
    align = register.align
    calls: list[int] = []

    def stopping(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        computation._stop_computation_event.fire()
        return align(*args, **kwargs)

    monkeypatch.setattr(register, "align", stopping)
    computation, made = align_series.make(app.model, app.add(xdata(images, (True, 0, 2))), None)
    app.model.recompute_all()
    assert calls == [1]
    assert computation.error_text is None
    assert made["mean"].xdata is None
    monkeypatch.undo()
    computation.set_input_value("model", "rigid")
    app.model.recompute_all()
    assert made["mean"].data_shape == (48, 48)


def test_frames_that_do_not_go_together_are_refused_in_words(app: Swift) -> None:
    images, spectra = series()
    computation, _ = align_series.make(
        app.model, app.add(xdata(images[:4], (True, 0, 2))), app.add(xdata(spectra, (True, 2, 1)))
    )
    app.model.recompute_all()
    assert "different numbers of frames" in computation.error_text


def motif(app: Swift, item: Any, box: tuple[tuple[float, float], tuple[float, float]]) -> Graphics.RectangleGraphic:
    graphic = Graphics.RectangleGraphic()
    graphic.bounds = box
    app.display(item).add_graphic(graphic)
    return graphic


def test_a_motif_is_averaged_with_its_spectra(app: Swift) -> None:
    image, spectra = lattice()
    item, other = app.add(xdata(image, (False, 0, 2)), "ADF"), app.add(xdata(spectra, (False, 2, 1)), "EELS")
    graphic = motif(app, item, ((18 / 72, 18 / 72), (12 / 72, 12 / 72)))
    computation, made = motif_average.make(app.model, item, graphic, other, threshold=0.7)
    app.model.recompute_all()
    assert computation.error_text is None
    expected = register.average_box(image, ((18, 18), (12, 12)), spectra, threshold=0.7, upsample=2)
    assert f"{expected.image.count} copies" in made["image"].title
    assert expected.image.count >= 25
    np.testing.assert_allclose(made["image"].data, expected.image.mean)
    np.testing.assert_allclose(made["spectra"].data, expected.spectra.data)
    assert made["spectra"].data_shape == (24, 24, 3)
    assert made["places"].data_shape == (5, expected.places.count)
    assert made["image"].dimensional_calibrations[0].scale == pytest.approx(0.05)
    graphic.bounds = ((0.0, 0.0), (0.9, 0.9))
    app.model.recompute_all()
    assert "1 copies" in made["image"].title


@pytest.mark.parametrize(
    ("box", "change", "words"),
    [
        (((0.2, 0.2), (0.01, 0.01)), {}, "smaller than 3 px"),
        (((0.2, 0.2), (0.2, 0.2)), {"threshold": 1.5}, "threshold"),
        (((0.2, 0.2), (0.2, 0.2)), {"rotations": "half"}, "are no angles"),
    ],
)
def test_motifs_that_make_no_sense(app: Swift, box: Any, change: dict[str, Any], words: str) -> None:
    item = app.add(xdata(lattice()[0], (False, 0, 2)))
    computation, made = motif_average.make(app.model, item, motif(app, item, box), **change)
    app.model.recompute_all()
    assert words in computation.error_text
    assert made["image"].xdata is None


def test_the_commands(app: Swift) -> None:
    for command in (align_command, motif_command):
        command.COMMAND.action(app.window)
    assert "Select a sequence of images" in app.told[0]
    assert "one rectangle around the motif" in app.told[1]
    images, spectra = series()
    first, second = app.add(xdata(images, (True, 0, 2)), "ADF"), app.add(xdata(spectra, (True, 2, 1)), "EELS")
    app.select(first, second)
    align_command.COMMAND.action(app.window)
    app.model.recompute_all()
    assert "Sum of ADF [5 of 5 frames]" in [item.title for item in app.model.data_items]
    item = app.add(xdata(lattice()[0], (False, 0, 2)), "lattice")
    motif(app, item, ((0.25, 0.25), (12 / 72, 12 / 72)))
    app.select(item)
    motif_command.COMMAND.action(app.window)
    app.model.recompute_all()
    assert any(made.title.startswith("Motif of lattice [") for made in app.model.data_items)
