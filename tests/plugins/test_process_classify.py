"""Classes of 4D-STEM in Nion Swift: the maps of the core as linked data items, names, the pattern under a point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nion.data import Calibration, DataAndMetadata
from nion.ui import CanvasItem
from process_frames import grains, xdata
from process_swift import Swift, in_files

from esteemcore import diffraction, io
from esteemcore.cli.classify_page import palette
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_process import beam_items, disk_items, frame_items
from nionswift_plugin.esteem_process.commands import classify_frames as command
from nionswift_plugin.esteem_process.computations import bragg_disks, classify_frames
from nionswift_plugin.esteem_scan import binding


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return grains()


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


def test_pixels_that_are_not_square_make_ellipses_of_disks(app: Swift, frames: np.ndarray) -> None:
    """As in the live panel: half axes are semi-angle over pixel size, (row, column)."""
    taken = xdata(frames)
    taken._set_dimensional_calibrations([*taken.dimensional_calibrations[:3], Calibration.Calibration(0, 0.4, "mrad")])
    taken._set_metadata({binding.KEY: {"container": {"geometry": {"semiangle_mrad": 1.6}}}})
    item = app.add(taken)
    made = classify_frames.make(app.model, item)[0], bragg_disks.make(app.model, item)[0]
    classify, find = ({variable.name: variable for variable in each.variables} for each in made)
    axes = np.array([1.6 / 0.5, 1.6 / 0.4])
    for each in (classify, find):
        assert each["radius"].value == pytest.approx(np.sqrt(axes.prod()))
        assert each["radius"].label == "Radius of a disk (px of 0.5 x 0.4 mrad; 0: that of the beam)"
    matrix = disk_items.distortion_of(find["ellipse"].value)
    np.testing.assert_allclose(find["radius"].value * np.linalg.svd(matrix)[1], np.sort(axes)[::-1], rtol=1e-5)
    np.testing.assert_allclose(matrix @ [1, 0], [axes[0] / find["radius"].value, 0], rtol=1e-5, atol=1e-12)
    known = [io.Axis("ky", 48, 0.5, unit="mrad"), io.Axis("kx", 48, 0.4, unit="mrad")]
    assert beam_items.in_units(find["radius"].value, tuple(known)) == "3.58 px = 1.6 mrad"


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


@pytest.mark.parametrize(
    ("units", "scan_unit", "words"),
    [("nm", "nm", "is an image of the scan"), ("", "", "cannot be told"), ("mrad", "nm", ""), ("", "nm", "")],
)
def test_an_image_of_the_scan_is_no_mask_of_the_detector(app: Swift, units: str, scan_unit: str, words: str) -> None:
    """Also where both have as many pixels."""
    scan, detector = (Calibration.Calibration(0, 1, unit) for unit in (scan_unit, scan_unit and "mrad"))
    square = DataAndMetadata.new_data_and_metadata(
        np.ones((24, 24, 24, 24), np.uint8),
        dimensional_calibrations=[scan, scan, detector, detector],
        data_descriptor=DataAndMetadata.DataDescriptor(False, 2, 2),
    )
    own = [Calibration.Calibration(0, 1, units)] * 2
    image = app.add(DataAndMetadata.new_data_and_metadata(np.eye(24), dimensional_calibrations=own), "Map")
    item = app.add(square)
    app.select(item, image)
    command.COMMAND.action(app.window)
    if not words:
        assert not app.told
        assert image in app.model.computations[0].direct_input_items
        return
    assert words in app.told[-1]
    assert "'Map'" in app.told[-1]
    assert not app.model.computations
    if units:  # given to the computation in another way
        given = {"mask": image, "src": item}
        with pytest.raises(ParameterError, match="is an image of the scan"):
            frame_items.good_pixels(given, (24, 24))


def test_the_command_takes_4d_data_only(app: Swift, frames: np.ndarray) -> None:
    app.select(app.add(xdata(frames[0])))
    command.COMMAND.action(app.window)
    assert "Select one 4D-STEM data item" in app.told[-1]
    assert len(app.model.data_items) == 1
