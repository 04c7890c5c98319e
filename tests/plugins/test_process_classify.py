"""Classes of 4D-STEM in Nion Swift: the maps of the core as linked data items, names, the pattern under a point."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nion.data import Calibration, DataAndMetadata
from nion.ui import CanvasItem
from process_frames import grains, xdata
from process_swift import Swift, in_files, in_memory

from esteemcore import diffraction
from esteemcore.cli.classify_page import palette
from nionswift_plugin.esteem_process.commands import classify_frames as command
from nionswift_plugin.esteem_process.computations import classify_frames
from nionswift_plugin.esteem_scan import binding


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return grains()


@pytest.fixture(scope="module")
def window(swift: Any) -> Iterator[Swift]:
    with in_memory() as made:
        yield made


@pytest.fixture
def app(window: Swift) -> Iterator[Swift]:
    """Return the window of all tests, empty again."""
    yield window
    window.clear()


def test_the_results_are_those_of_the_core_with_calibrated_axes(app: Swift, frames: np.ndarray) -> None:
    computation, made = classify_frames.make(app.model, app.add(xdata(frames), "Grains"), radius=3.0, seed=2)
    app.model.recompute_all()
    assert computation.error_text is None
    expected = diffraction.classify(frames, 3.0, seed=2, second_way=False)
    assert len(expected) == 3
    np.testing.assert_array_equal(made["labels"].data, expected.labels)
    np.testing.assert_array_equal(made["confidence"].data, expected.confidence)
    np.testing.assert_array_equal(made["patterns"].data, expected.patterns)
    np.testing.assert_array_equal(made["fractions"].data, expected.fractions)
    assert made["map"].xdata.is_data_rgb_type
    np.testing.assert_array_equal(made["map"].data[..., ::-1], palette(expected.kinds)[expected.labels])
    assert made["map"].dimensional_calibrations[0] == Calibration.Calibration(0, 2.0, "nm")
    axis, beam = made["patterns"].dimensional_calibrations[1], expected.descan.reference
    assert axis.convert_to_calibrated_value(beam[0]) == pytest.approx(0, abs=1e-9)
    assert (axis.scale, axis.units) == (0.5, "mrad")
    assert made["map"].title == "Classes of Grains [3 classes, disks of 3 px = 1.5 mrad]"
    assert made["map"].caption.startswith(expected.reason)
    for name in ("confidence", "fractions"):
        assert app.display(made[name]).display_data_channel.display_limits == (0, 1)
    known = made["labels"].metadata[binding.KEY]["classes"]
    assert known["provenance"]["input_digest"] == expected.provenance.input_digest


def test_each_name_stands_in_its_class(app: Swift, frames: np.ndarray) -> None:
    item = app.add(xdata(frames))
    computation, made = classify_frames.make(app.model, item, radius=3.0)
    for _ in range(2):  # names of before give way to new ones
        app.model.recompute_all()
        labels = made["labels"].data
        names = [graphic for graphic in app.display(made["map"]).graphics if graphic.is_position_locked]
        assert len(names) == labels.max() + 1
        for graphic in names:
            number, kind, share = graphic.label.split()
            assert labels[int(graphic.position[0] * 12), int(graphic.position[1] * 12)] == int(number)
            assert share == f"{(labels == int(number)).mean():.0%}"
            assert kind in ("crystalline", "amorphous")
        computation.set_input_value("classes", 2)
    assert labels.max() == 1


def test_the_pattern_of_the_class_under_a_point_or_a_click(app: Swift, frames: np.ndarray) -> None:
    item = app.add(xdata(frames))
    _, made = classify_frames.make(app.model, item, radius=3.0)
    app.model.recompute_all()
    display = app.display(made["map"])
    (pick,) = (graphic for graphic in display.graphics if graphic.graphic_id == classify_frames.PICK)
    panel = app.window.workspace_controller.display_panels[0]
    panel.set_display_panel_display_item(display)
    for number in range(3):
        y, x = np.argwhere(made["labels"].data == number)[0]
        if number == 1:
            pick.position = (y + 0.5) / 12, (x + 0.5) / 12
        else:
            panel.image_clicked((y + 0.5, x + 0.5), CanvasItem.KeyboardModifiers())
        app.model.recompute_all()
        np.testing.assert_array_equal(made["picked"].data, made["patterns"].data[number])
        assert f"[class {number} " in made["picked"].title
    panel.image_clicked((40.0, 3.0), CanvasItem.KeyboardModifiers())  # beside the image
    assert (int(pick.position[0] * 12), int(pick.position[1] * 12)) == (y, x)
    assert made["picked"].dimensional_calibrations == made["patterns"].dimensional_calibrations[1:]


def test_changed_frames_run_again_and_the_radius_is_measured(app: Swift, frames: np.ndarray) -> None:
    item = app.add(xdata(frames[:, :6]))
    computation, made = classify_frames.make(app.model, item)
    app.model.recompute_all()
    measured = diffraction.find_descan(frames[:, :6], everywhere=False).radius_px
    assert made["map"].metadata[binding.KEY]["classes"]["radius_px"] == pytest.approx(measured)
    item.set_data(frames)
    app.model.recompute_all()
    assert made["labels"].data_shape == (12, 12)
    computation.set_input_value("radius", 7.5)
    app.model.recompute_all()
    assert "check radius_px" in computation.error_text


def test_the_radius_is_that_of_the_geometry_if_it_is_known(app: Swift, frames: np.ndarray) -> None:
    taken = xdata(frames)
    taken._set_metadata({binding.KEY: {"container": {"geometry": {"semiangle_mrad": 1.6}}}})
    computation, _ = classify_frames.make(app.model, app.add(taken))
    (radius,) = (variable for variable in computation.variables if variable.name == "radius")
    assert radius.value == pytest.approx(3.2)
    assert radius.label == "Radius of a disk (px of 0.5 mrad; 0: that of the beam)"


def test_frames_in_a_file_and_bad_pixels(swift: Any, tmp_path: Path, frames: np.ndarray) -> None:
    bad = np.ones((48, 48), np.uint8)
    bad[5:9, 40:44] = 0
    hot = frames.copy()
    hot[:, :, bad == 0] = 200
    with in_files(tmp_path / "project") as app:
        item = app.add(xdata(hot))
        assert isinstance(item.xdata.data, h5py.Dataset)
        app.select(item, app.add(DataAndMetadata.new_data_and_metadata(bad)))
        command.COMMAND.action(app.window)
        (computation,) = (each for each in app.model.computations if each.processing_id == classify_frames.ID)
        computation.set_input_value("radius", 3.0)
        app.model.recompute_all()
        assert computation.error_text is None
        labels = next(each for each in computation.output_items if each.title.startswith("Class Numbers"))
        expected = diffraction.classify(hot, 3.0, mask=bad > 0, second_way=False)
        np.testing.assert_array_equal(labels.data, expected.labels)


def test_classifying_can_be_stopped(app: Swift, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    classify, given = diffraction.classify, dict[str, Any]()

    def stopping(data: Any, radius: float, n: int | None, **chosen: Any) -> Any:
        given.update(chosen, n=n)
        computation._stop_computation_event.fire()
        return classify(data, radius, n, **chosen)

    monkeypatch.setattr(diffraction, "classify", stopping)
    chosen = {"classes": 3, "binning": 2, "second_way": True, "seed": 4}
    computation, made = classify_frames.make(app.model, app.add(xdata(frames)), radius=3.0, **chosen)
    app.model.recompute_all()
    assert [given[name] for name in ("n", "binning", "second_way", "seed")] == list(chosen.values())
    assert computation.error_text is None
    assert made["map"].xdata is None
    assert made["picked"].xdata is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frames: frames[0], "needs 4D-STEM data"),
        (lambda frames: frames + 0.5, "fractions, which counts cannot be"),
        (lambda frames: frames * 0, "no counts at all"),
    ],
)
def test_what_cannot_be_classified_is_told(app: Swift, frames: np.ndarray, change: Any, words: str) -> None:
    computation, made = classify_frames.make(app.model, app.add(xdata(change(frames))))
    app.model.recompute_all()
    assert words in computation.error_text
    assert made["map"].xdata is None


def test_the_command_takes_4d_data_only(app: Swift, frames: np.ndarray) -> None:
    app.select(app.add(xdata(frames[0])))
    command.COMMAND.action(app.window)
    assert "Select one 4D-STEM data item" in app.told[-1]
    assert len(app.model.data_items) == 1
