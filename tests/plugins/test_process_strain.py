"""Strain in Nion Swift: maps of the core with units and errors, a reference that can be moved, errors in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nion.data import Calibration
from nion.swift.model import ColorMaps, DataItem, Graphics
from process_frames import RADIUS, crystal, grains, xdata
from process_swift import Swift

from esteemcore import diffraction, io
from nionswift_plugin.esteem_process import color_maps, disk_items, linked_items
from nionswift_plugin.esteem_process.commands import strain_map as command
from nionswift_plugin.esteem_process.computations import bragg_disks, strain_map
from nionswift_plugin.esteem_scan import binding

SCAN = (6, 8)
STRETCHED = 0.02


def disks(seed: int = 0) -> diffraction.DiskTable:
    """Disks of a crystal whose right half is stretched along x."""
    index = np.array([(h, k) for h in range(-2, 3) for k in range(-2, 3)])
    frame = np.repeat(np.arange(SCAN[0] * SCAN[1]), len(index))
    right = frame % SCAN[1] >= SCAN[1] // 2
    place = 40 + 12.0 * np.tile(index, (SCAN[0] * SCAN[1], 1)) / (1 + STRETCHED * np.stack([0 * right, right], axis=1))
    place += np.random.default_rng(seed).normal(0, 0.05, place.shape)
    bright = np.tile(np.where((index == 0).all(axis=1), 5000.0, 100.0), SCAN[0] * SCAN[1])
    one = np.ones(len(frame))
    return diffraction.DiskTable(frame, *place.T, bright, 0.05 * one, 20 * one, background=one)


def items(app: Swift, table: diffraction.DiskTable) -> tuple[DataItem.DataItem, DataItem.DataItem]:
    """Return table and numbers of disks as Bragg Disks makes them."""
    entry = {"disks": {"radius_px": 4.0, "ellipse": "", "center": ""}}
    axes = io.Axis("y", SCAN[0], 2.0, unit="nm"), io.Axis("x", SCAN[1], 2.0, unit="nm")
    number = linked_items.xdata_of(table.per_position(SCAN), axes, entry, "disks")
    return app.add(disk_items.to_xdata(table, entry), "Disk Table of Film"), app.add(number, "Disks of Film")


def rectangle(app: Swift, item: DataItem.DataItem, bounds: Any) -> Graphics.RectangleGraphic:
    made = Graphics.RectangleGraphic()
    made.bounds = bounds
    app.display(item).add_graphic(made)
    return made


def test_the_maps_are_those_of_the_core_relative_to_the_reference(app: Swift) -> None:
    table, number = items(app, disks())
    reference = rectangle(app, number, ((0.0, 0.0), (1.0, 0.5)))
    computation, made = strain_map.make(app.model, table, number, "Film", reference=reference)
    app.model.recompute_all()
    assert computation.error_text is None
    left = np.zeros(SCAN, bool)
    left[:, :4] = True
    for within in (left, ~left):  # then the reference is moved
        expected = diffraction.strain(disks(), SCAN, within)
        for k, name in enumerate(strain_map.COMPONENTS):
            np.testing.assert_array_equal(made[name].data, getattr(expected, name))
            np.testing.assert_array_equal(made[f"{name}_sigma"].data, expected.component_sigma[..., k])
        np.testing.assert_array_equal(made["used"].data, expected.disks)
        np.testing.assert_allclose(made["exx"].data[within].mean(), 0, atol=1e-5)
        reference.bounds = ((0.0, 0.5), (1.0, 0.5))
        app.model.recompute_all()
    assert made["exx"].data[:, :4].mean() == pytest.approx(-STRETCHED, abs=1e-3)
    assert made["exx"].dimensional_calibrations[0] == Calibration.Calibration(0, 2.0, "nm")
    known = made["eyy"].metadata[binding.KEY]["strain"]
    assert known["provenance"]["input_digest"] == expected.provenance.input_digest
    assert made["eyy"].caption.startswith("x along detector columns")


def test_what_is_wrong_with_the_frames_is_told_with_the_strain_once(app: Swift) -> None:
    table, number = items(app, disks())
    doubt = "hot pixels at (row, column) = (3, 4) look like disks"
    known = dict(table.metadata)
    known[binding.KEY]["disks"]["notes"] = [doubt]
    table.metadata = known
    _, made = strain_map.make(app.model, table, number, "Film")
    app.model.recompute_all()
    assert made["exx"].caption.count(f"Note: {doubt}") == 1
    assert made["exx"].metadata[binding.KEY]["strain"]["notes"][0] == doubt


def test_values_are_shown_in_percent_and_degrees(app: Swift) -> None:
    _, made = strain_map.make(app.model, *items(app, disks()), "Film")
    app.model.recompute_all()
    expected = diffraction.strain(disks(), SCAN)
    usual = 100 * np.median(expected.component_sigma[..., 0])
    assert made["exx"].title == f"Strain xx of Film [σ {usual:.2g} %]"
    percent, degrees = (made[name].intensity_calibration for name in ("exx", "rotation_sigma"))
    assert (percent.units, percent.convert_to_calibrated_value(0.02)) == ("%", pytest.approx(2))
    assert (degrees.units, degrees.convert_to_calibrated_value(np.pi)) == ("deg", pytest.approx(180))
    assert made["used"].title == "Disks on the Lattice of Film [48 of 48 positions have a strain]"


def test_limits_of_the_display_follow_values_beside_nan_only(app: Swift) -> None:
    table = disks()
    item, number = items(app, table.select(table.frame != 5))
    _, made = strain_map.make(app.model, item, number, "Film")
    app.model.recompute_all()
    (channel,) = app.display(made["exx_sigma"]).display_data_channels
    values = made["exx_sigma"].data
    assert channel.display_limits == (np.nanmin(values), np.nanmax(values))
    item.set_xdata(disk_items.to_xdata(table, item.metadata[binding.KEY]))
    app.model.recompute_all()
    assert np.isfinite(made["exx_sigma"].data).all()
    assert channel.display_limits is None
    channel.display_limits = (0.0, 1.0)  # as a user may set them
    item.set_xdata(disk_items.to_xdata(table.select(table.frame != 5), item.metadata[binding.KEY]))
    app.model.recompute_all()
    assert np.isnan(made["exx_sigma"].data).any()
    assert channel.display_limits == (0.0, 1.0)


def test_zero_is_in_the_middle_of_the_colours_and_no_value_is_black(app: Swift) -> None:
    table = disks()
    table = table.select(table.frame != 5)
    _, made = strain_map.make(app.model, *items(app, table), "Film")
    app.model.recompute_all()
    values = made["exx"].data
    assert np.isnan(values[0, 5])
    (channel,) = app.display(made["exx"]).display_data_channels
    assert channel.color_map_id == color_maps.DIVERGING
    low, high = channel.display_limits
    assert high == -low == pytest.approx(1.01 * np.nanmax(np.abs(values)))
    lookup = ColorMaps.get_color_map_data_by_id(color_maps.DIVERGING).astype(int)
    assert (lookup[0] == 0).all()
    assert lookup[1:].sum(axis=1).min() > 150
    shown = ((values[np.isfinite(values)] - low) / (high - low) * 255).astype(int)
    assert shown.min() >= 1
    assert np.ptp(lookup[127]) < 5
    assert lookup[1].argmax() == 0  # blue, green, red
    assert lookup[-1].argmax() == 2


@pytest.mark.parametrize(
    ("change", "bounds", "words"),
    [
        (lambda table: table.select(table.frame > 16), ((0.0, 0.0), (0.2, 0.5)), "no disk lies in the reference"),
        (lambda table: table, ((0.0, 0.0), (0.001, 0.001)), "reference is False everywhere"),
        (lambda table: table.select(table.intensity > 1000), None, "lattice"),
    ],
)
def test_what_shows_no_strain_is_told(app: Swift, change: Any, bounds: Any, words: str) -> None:
    table, number = items(app, change(disks()))
    reference = None if bounds is None else rectangle(app, number, bounds)
    computation, made = strain_map.make(app.model, table, number, "Film", reference=reference)
    app.model.recompute_all()
    assert words in computation.error_text
    assert made["exx"].xdata is None


def test_the_command_finds_disks_first_and_takes_known_ones(app: Swift) -> None:
    item = app.add(xdata(crystal()), "Film")
    app.select(item)
    command.COMMAND.action(app.window)
    found, strained = app.model.computations
    assert (found.processing_id, strained.processing_id) == (bragg_disks.ID, strain_map.ID)
    found.set_input_value("radius", RADIUS)
    app.model.recompute_all()
    assert strained.error_text is None
    exx = strained.get_output("exx")
    assert exx.title.startswith("Strain xx of Film [")
    assert exx.data[:, 3:].mean() - exx.data[:, :3].mean() == pytest.approx(STRETCHED, abs=3e-3)
    number = found.get_output("number")
    (whole,) = app.display(number).graphics
    assert (whole.label, whole.bounds.size.as_tuple()) == ("Reference", (1.0, 1.0))
    before = exx.data.copy()
    item.set_data(crystal(seed=1))  # disks and strain follow
    app.model.recompute_all()
    assert not np.array_equal(exx.data, before)
    left = rectangle(app, number, ((0.0, 0.0), (1.0, 0.5)))
    app.select(number)
    app.display(number).graphic_selection.set(1)
    command.COMMAND.action(app.window)
    app.model.recompute_all()
    assert [each.processing_id for each in app.model.computations] == [bragg_disks.ID, strain_map.ID, strain_map.ID]
    assert left in app.model.computations[-1].direct_input_items
    assert app.model.computations[-1].get_output("exx").data[:, :3].mean() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("where", ["frames", "map"])
def test_a_rectangle_on_a_pattern_is_no_reference(app: Swift, where: str) -> None:
    """A virtual detector, or the surroundings of a reflection, encloses no part of the scan."""
    item = app.add(xdata(crystal()), "Film")
    app.select(item)
    if where == "map":
        made = bragg_disks.make(app.model, item, radius=RADIUS)[1]
        app.model.recompute_all()
        item = made["map"]
    virtual = rectangle(app, item, ((0.55, 0.55), (0.4, 0.4)))
    app.select(item)
    app.display(item).graphic_selection.set(0)
    command.COMMAND.action(app.window)
    found, strained = app.model.computations
    assert virtual not in strained.direct_input_items
    (whole,) = app.display(found.get_output("number")).graphics
    assert whole in strained.direct_input_items
    assert whole.label == "Reference"


def test_the_command_takes_one_scan(app: Swift) -> None:
    app.select(app.add(xdata(grains()[0])))
    command.COMMAND.action(app.window)
    assert "Select one 4D-STEM data item or a result of Bragg Disks" in app.told[-1]
    assert not app.model.computations
