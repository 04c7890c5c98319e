"""Components counted and elements mapped in Nion Swift: figures of the core as linked data items, errors in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nion.data import Calibration, DataAndMetadata
from process_swift import Swift, in_files, in_memory

from esteemcore import spectral
from nionswift_plugin.esteem_process.commands import background_map as map_command
from nionswift_plugin.esteem_process.commands import estimate_components as count_command
from nionswift_plugin.esteem_process.computations import background_map, estimate_components
from nionswift_plugin.esteem_scan import binding

ENERGY = 400 + 5.0 * np.arange(60)
MAP = "Ti:500-560:400-480"


@pytest.fixture
def app(swift: Any) -> Iterator[Swift]:
    with in_memory() as made:
        yield made


def counts(seed: int = 0) -> np.ndarray:
    """Counts of an edge at 500 eV, stronger to the right, on a power law."""
    edge = np.exp(-np.clip(ENERGY - 500, 0, None) / 80) * (ENERGY >= 500)
    amount = np.broadcast_to(np.linspace(0, 3, 24)[:, None] * edge, (20, 24, 60))
    return np.random.default_rng(seed).poisson(amount + 4 * (ENERGY / 400) ** -3.0).astype(np.float32)


def xdata(data: np.ndarray, unit: str = "eV", scale: float = 1.0) -> DataAndMetadata.DataAndMetadata:
    axes = [Calibration.Calibration(0, 2.0, "nm")] * 2 + [Calibration.Calibration(400 * scale, 5.0 * scale, unit)]
    return DataAndMetadata.new_data_and_metadata(
        data, dimensional_calibrations=axes, data_descriptor=DataAndMetadata.DataDescriptor(False, 2, 1)
    )


def test_components_are_counted_beside_noise(app: Swift) -> None:
    item = app.add(xdata(counts()), "EELS")
    computation, made = estimate_components.make(app.model, item, seed=1)
    app.model.recompute_all()
    assert computation.error_text is None
    expected = spectral.estimate_rank(counts(), seed=1)
    assert expected.n == 2
    assert made["scree"].title == "Scree of EELS [2 components]"
    np.testing.assert_array_equal(made["scree"].data, [expected.curve[:20], expected.noise_curve[:20]])
    axis = made["scree"].dimensional_calibrations[1]
    assert (axis.offset, axis.scale, axis.units) == (1, 1, "component")
    assert made["scree"].metadata[binding.KEY]["components"]["reason"] == expected.reason
    item.set_data(np.broadcast_to(counts()[:, :1], (20, 24, 60)).copy() * 0)
    app.model.recompute_all()
    assert "cannot be told" in made["scree"].title


@pytest.mark.parametrize(("unit", "scale"), [("eV", 1.0), ("keV", 1e-3)])
def test_a_map_is_that_of_the_core(app: Swift, unit: str, scale: float) -> None:
    computation, made = background_map.make(app.model, app.add(xdata(counts(), unit, scale), "EELS"), map=MAP)
    app.model.recompute_all()
    assert computation.error_text is None
    expected = spectral.edge_map(counts(), ENERGY, (500, 560), (400, 480))
    np.testing.assert_allclose(made["map"].data, expected.data, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(made["sigma"].data ** 2, expected.variance, rtol=1e-6)
    np.testing.assert_allclose(made["background"].data, expected.background, rtol=1e-6)
    assert made["map"].title == f"Map of EELS [Ti SNR {expected.snr:.3g}]"
    assert made["map"].dimensional_calibrations[0] == Calibration.Calibration(0, 2.0, "nm")
    computation.set_input_value("gain", 4.0)
    app.model.recompute_all()
    assert np.median(made["sigma"].data) > 1.5 * np.median(np.sqrt(expected.variance))


def test_images_in_files(swift: Any, tmp_path: Path) -> None:
    with in_files(tmp_path / "project") as app:
        item = app.add(xdata(counts()))
        assert isinstance(item.xdata.data, h5py.Dataset)
        for made in (background_map.make(app.model, item, map=MAP), estimate_components.make(app.model, item)):
            app.model.recompute_all()
            assert made[0].error_text is None
            assert all(found.xdata is not None for found in made[1].values())


@pytest.mark.parametrize(
    ("unit", "words", "reason"),
    [
        ("eV", "", "type one map"),
        ("eV", "Ti 500", "is no map"),
        ("eV", "Ti:5000-5100", "holds no channel"),
        ("mm", MAP, "calibrate it in eV"),
    ],
)
def test_maps_that_make_no_sense(app: Swift, unit: str, words: str, reason: str) -> None:
    computation, made = background_map.make(app.model, app.add(xdata(counts(), unit)), map=words)
    app.model.recompute_all()
    assert reason in computation.error_text
    assert made["map"].xdata is None


def test_the_commands(app: Swift) -> None:
    for command in (map_command, count_command):
        command.COMMAND.action(app.window)
    assert ["Select one spectrum image" in words for words in app.told] == [True, True]
    item = app.add(xdata(counts()), "EELS")
    for command in (map_command, count_command):
        app.select(item)
        command.COMMAND.action(app.window)
    app.model.recompute_all()
    assert "Scree of EELS [2 components]" in [made.title for made in app.model.data_items]
    assert "Map of EELS" in [made.title for made in app.model.data_items]
