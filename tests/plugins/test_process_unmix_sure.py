"""Unmixing in Nion Swift, further: masks and graphics, sparse counts, uncertainty, marked lines, and the script."""

from __future__ import annotations

import importlib
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nion.data import Calibration, DataAndMetadata
from nion.swift.model import Graphics
from process_swift import Swift

from esteemcore import spectral
from esteemcore.events import SparseSI
from nionswift_plugin.esteem_process.commands import unmix_image as command
from nionswift_plugin.esteem_process.commands import unmix_sure, unmixing_script
from nionswift_plugin.esteem_process.computations import unmix_image
from nionswift_plugin.esteem_scan import binding

SHAPE = (14, 16)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw few data: what the core makes of many is tested there."""
    module = importlib.import_module("esteemcore.spectral.uncertainty")
    chains = importlib.import_module("esteemcore.spectral.methods.blu")
    for where, name, value in (
        (module, "DRAWS", 3), (module, "COMPARED", 2), (module, "REPEATS", 1),
        (chains, "WARM_UP", 20), (chains, "DRAWS", 30), (chains, "ROUNDS", 1),
    ):  # fmt: skip
        monkeypatch.setattr(where, name, value)


def counts(size: float = 8.0) -> np.ndarray:
    """Counts of two phases, each with a line of its own; the second grows to the right."""
    channel = np.arange(100)
    lines = np.exp(-((channel - np.array([[24], [70]])) ** 2) / 6) + 0.002
    share = np.broadcast_to(np.linspace(0, 1, 16) ** 2, SHAPE)
    rate = size * ((1 - share)[..., None] * lines[0] + share[..., None] * lines[1])
    return np.random.default_rng(0).poisson(rate)


def xdata(data: np.ndarray) -> DataAndMetadata.DataAndMetadata:
    axes = [Calibration.Calibration(0, 2.0, "nm")] * 2 + [Calibration.Calibration(0.01, 0.02, "keV")]
    return DataAndMetadata.new_data_and_metadata(
        data, dimensional_calibrations=axes, data_descriptor=DataAndMetadata.DataDescriptor(False, 2, 1)
    )


def test_only_what_a_graphic_encloses_takes_part_and_it_can_be_moved(app: Swift) -> None:
    item = app.add(xdata(counts().astype(np.float32)))
    region = Graphics.RectangleGraphic()
    region.bounds = ((0.0, 0.0), (0.5, 1.0))
    app.display(item).add_graphic(region)
    app.display(item).graphic_selection.set(0)
    app.select(item)
    app.display(item).graphic_selection.set(0)
    command.open_window(app.window).unmix_clicked(None)
    app.model.recompute_all()
    assert app.model.computations[0].error_text is None
    maps = next(made for made in app.model.data_items if made.title.startswith("Abundances"))
    inside = np.zeros(SHAPE, bool)
    inside[:7] = True
    np.testing.assert_array_equal(np.isfinite(maps.data), np.broadcast_to(inside, (2, *SHAPE)))
    expected = spectral.unmix(counts().astype(np.float32), 2, mask=inside)
    np.testing.assert_array_equal(maps.data, expected.abundances)
    region.bounds = ((0.5, 0.0), (0.5, 1.0))
    app.model.recompute_all()
    np.testing.assert_array_equal(np.isfinite(maps.data), np.broadcast_to(~inside, (2, *SHAPE)))


def test_an_image_is_a_mask(app: Swift) -> None:
    item = app.add(xdata(counts()), "EDS")
    image = np.ones(SHAPE, np.float32)
    image[:, :3] = 0
    image[:, 3:5] = np.nan  # as maps are where nothing was measured
    mask = app.add(DataAndMetadata.new_data_and_metadata(image), "Mask")
    app.select(item, mask)
    command.open_window(app.window).unmix_clicked(None)
    app.model.recompute_all()
    maps = next(made for made in app.model.data_items if made.title.startswith("Abundances"))
    np.testing.assert_array_equal(np.isfinite(maps.data), np.broadcast_to(image > 0, (2, *SHAPE)))
    assert app.display(maps).display_data_channels[0].display_limits == (np.nanmin(maps.data), np.nanmax(maps.data))
    mask.set_data(np.full(SHAPE, np.nan))
    app.model.recompute_all()
    computation = app.model.computations[0]
    assert "leave no pixel" in computation.error_text
    mask.set_data(np.zeros((14, 5)))
    app.model.recompute_all()
    assert "the mask has shape (14, 5)" in computation.error_text
    app.select(item, app.add(DataAndMetadata.new_data_and_metadata(np.ones((3, 3)))))
    command.COMMAND.action(app.window)
    assert "at most one image of the same pixels" in app.told[-1]


def test_counts_that_are_mostly_zero_are_taken_as_events(app: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[type] = []
    unmix = spectral.unmix

    def looking(data: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(type(data))
        return unmix(data, *args, **kwargs)

    monkeypatch.setattr(spectral, "unmix", looking)
    few = counts(0.6).astype(np.uint8)
    _, made = unmix_image.make(app.model, app.add(xdata(few)), components=2)
    app.model.recompute_all()
    assert seen == [SparseSI]
    np.testing.assert_array_equal(made["spectra"].data, unmix(SparseSI.from_dense(few), 2).spectra)


def test_uncertainty_has_its_own_items(app: Swift, quick: None) -> None:
    data = counts().astype(np.float32)
    item = app.add(xdata(data), "EDS")
    app.select(item)
    unmix_sure.open_window(app.window).unmix_clicked(None)
    app.model.recompute_all()
    computation = app.model.computations[0]
    assert computation.error_text is None
    made = {made.title.partition(" of EDS")[0]: made for made in app.model.data_items}
    sure = spectral.uncertainty(data, 2)
    np.testing.assert_array_equal(made["Sigma of Components"].data, sure.total.spectra)
    np.testing.assert_array_equal(made["Sigma of Abundances"].data, sure.total.abundances)
    assert made["Sigma of Components"].dimensional_calibrations[1].units == "keV"
    known = made["Components"].metadata[binding.KEY]["unmixing"]
    assert known["uncertainty"]["angle_deg"] == sure.total.angle_deg.tolist()
    assert known["uncertainty"]["provenance"]["parameters"] == sure.provenance.parameters
    assert f"[{sure.total.angle_deg[0]:.2g}, " in made["Sigma of Abundances"].title


def test_lines_of_elements_are_marked_once(app: Swift) -> None:
    pytest.importorskip("xraydb")
    computation, made = unmix_image.make(app.model, app.add(xdata(counts())), components=2, elements="O, Si")
    app.model.recompute_all()
    assert computation.error_text is None
    computation.set_input_value("seed", 1)
    app.model.recompute_all()
    display = app.display(made["spectra"])
    marks = {graphic.label: graphic.position for graphic in display.graphics}
    assert len(display.graphics) == len(marks) == 2
    assert marks["Si K"] * 2.0 == pytest.approx(1.740, abs=0.005)
    assert marks["O K"] * 2.0 == pytest.approx(0.525, abs=0.005)
    computation.set_input_value("elements", "")
    app.model.recompute_all()
    assert not display.graphics
    computation.set_input_value("elements", "Xx")
    app.model.recompute_all()
    assert "Xx" in computation.error_text


@pytest.mark.parametrize("uncertainty", [False, True])
def test_the_script_repeats_what_is_shown(app: Swift, tmp_path: Path, quick: None, monkeypatch, uncertainty) -> None:
    data = counts(0.6).astype(np.uint8) if uncertainty else counts().astype(np.float32)
    mask = np.ones(SHAPE)
    mask[:3] = 0
    region = app.add(DataAndMetadata.new_data_and_metadata(mask), "Mask")
    item = app.add(xdata(data), 'EDS "new" C:\\data')
    _, made = unmix_image.make(app.model, item, mask=region, components=2, seed=3, uncertainty=uncertainty)
    app.model.recompute_all()
    monkeypatch.setattr(type(app.window), "get_save_file_path", lambda *args: (str(tmp_path / "again"), "", ""))
    app.select(item)
    unmixing_script.COMMAND.action(app.window)
    assert "Select a result" in app.told[-1]
    app.select(made["spectra"])
    unmixing_script.COMMAND.action(app.window)
    assert app.told[-1].endswith(f"Wrote {tmp_path / 'again.py'} and {tmp_path / 'again.esteem'}")
    runpy.run_path(str(tmp_path / "again.py"))
    with np.load(tmp_path / "again_result.npz") as found:
        np.testing.assert_array_equal(found["spectra"], made["spectra"].data)
        np.testing.assert_array_equal(found["abundances"], made["abundances"].data)
        if uncertainty:
            np.testing.assert_array_equal(found["spectra_sigma"], made["spectra_sigma"].data)
            np.testing.assert_array_equal(found["abundances_sigma"], made["abundances_sigma"].data)
    unmixing_script.COMMAND.action(app.window)
    assert "exists already" in app.told[-1]
