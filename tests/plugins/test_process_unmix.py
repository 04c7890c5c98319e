"""Unmixing in Nion Swift: the results of the core as linked data items, again when data change, Stop and errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nion.data import Calibration, DataAndMetadata
from process_swift import Swift, in_files

from esteemcore import spectral
from nionswift_plugin.esteem_process.commands import unmix_image as command
from nionswift_plugin.esteem_process.computations import unmix_image
from nionswift_plugin.esteem_scan import binding


def counts(seed: int = 0) -> np.ndarray:
    """Counts of two phases, each with a line of its own; the second grows to the right."""
    channel = np.arange(40)
    lines = np.exp(-((channel - np.array([[12], [30]])) ** 2) / 6) + 0.02
    share = np.broadcast_to(np.linspace(0, 1, 16) ** 2, (14, 16))
    rate = 8 * ((1 - share)[..., None] * lines[0] + share[..., None] * lines[1])
    return np.random.default_rng(seed).poisson(rate).astype(np.float32)


def xdata(data: np.ndarray, descriptor: tuple[bool, int, int] = (False, 2, 1)) -> DataAndMetadata.DataAndMetadata:
    axes = [Calibration.Calibration(0, 2.0, "nm")] * (data.ndim - 1) + [Calibration.Calibration(400, 5.0, "eV")]
    return DataAndMetadata.new_data_and_metadata(
        data, dimensional_calibrations=axes, data_descriptor=DataAndMetadata.DataDescriptor(*descriptor)
    )


def test_the_results_are_those_of_the_core_with_calibrated_axes(app: Swift) -> None:
    computation, made = unmix_image.make(app.model, app.add(xdata(counts()), "EDS"), seed=2)
    app.model.recompute_all()
    assert computation.error_text is None
    expected = spectral.unmix(counts(), 2, seed=2)
    np.testing.assert_array_equal(made["abundances"].data, expected.abundances)
    np.testing.assert_array_equal(made["spectra"].data, expected.spectra)
    np.testing.assert_array_equal(made["residual"].data, expected.residual)
    assert made["abundances"].xdata.is_sequence
    assert made["abundances"].dimensional_calibrations[2] == Calibration.Calibration(0, 2.0, "nm")
    assert made["spectra"].dimensional_calibrations[1] == Calibration.Calibration(400, 5.0, "eV")
    peaks = made["spectra"].dimensional_calibrations[1].convert_to_calibrated_value(made["spectra"].data.argmax(axis=1))
    np.testing.assert_allclose(np.sort(peaks), [460, 550], atol=5)
    np.testing.assert_array_equal(made["scree"].data, spectral.estimate_rank(counts(), seed=2).curve[:20])
    assert made["abundances"].title == f"Abundances of EDS [2 by {expected.method}]"
    assert made["scree"].title == "Scree of EDS [2 recommended]"
    known = made["residual"].metadata[binding.KEY]
    assert known["unmixing"]["provenance"]["input_digest"] == expected.provenance.input_digest
    assert (known["unmixing"]["noise"], known["unmixing"]["smoothing_px"]) == ("poisson", expected.smoothing_px)
    assert "2 stand above noise" in known["components"]["reason"]
    assert known["components"]["provenance"]["parameters"]["max_components"] == 12
    assert made["abundances"].intensity_calibration.units == "counts"


def test_components_are_counted_once_for_the_same_data(app: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    rank, estimate = spectral.estimate_rank(counts()), []

    def counting(data: Any, **chosen: Any) -> spectral.Rank:
        estimate.append(chosen)
        return rank

    monkeypatch.setattr(spectral, "estimate_rank", counting)
    item = app.add(xdata(counts()))
    computation, made = unmix_image.make(app.model, item, method="spa", components=2, readout_sigma=0.5)
    app.model.recompute_all()
    assert [(chosen["gain"], chosen["readout_sigma"]) for chosen in estimate] == [(1.0, 0.5)]
    scree = np.array(made["scree"].data)
    computation.set_input_value("components", 3)
    app.model.recompute_all()
    assert made["abundances"].data_shape[0] == 3
    assert len(estimate) == 1
    np.testing.assert_array_equal(made["scree"].data, scree)
    assert made["residual"].metadata[binding.KEY]["components"]["n"] == rank.n
    item.set_data(counts(1))
    app.model.recompute_all()
    assert len(estimate) == 2
    computation.set_input_value("readout_sigma", 0.0)
    app.model.recompute_all()
    assert len(estimate) == 3


def test_amounts_of_what_are_no_counts_have_the_unit_of_the_data(app: Swift) -> None:
    rng = np.random.default_rng(0)
    data = rng.random((8, 9, 2)) @ rng.random((2, 30)) + rng.normal(0, 0.01, (8, 9, 30))
    taken = xdata(data.astype(np.float32))
    taken._set_intensity_calibration(Calibration.Calibration(0.0, 1.0, "nA"))
    _, made = unmix_image.make(app.model, app.add(taken), components=2)
    app.model.recompute_all()
    assert made["abundances"].metadata[binding.KEY]["unmixing"]["noise"] == "estimated"
    assert made["abundances"].intensity_calibration.units == "nA"


def test_more_components_than_were_looked_for_are_asked_for(app: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    rank = dataclasses.replace(spectral.estimate_rank(counts()), n=None, at_least=12, reason="at least 12 stand")
    monkeypatch.setattr(spectral, "estimate_rank", lambda *args, **kwargs: rank)
    computation, _ = unmix_image.make(app.model, app.add(xdata(counts())))
    app.model.recompute_all()
    assert "at least 12 stand. Say how many under Components" in computation.error_text


def test_changed_data_and_parameters_run_again(app: Swift) -> None:
    item = app.add(xdata(counts()))
    computation, made = unmix_image.make(app.model, item)
    app.model.recompute_all()
    before = np.array(made["spectra"].data)
    item.set_data(counts(1))
    app.model.recompute_all()
    assert not np.array_equal(before, made["spectra"].data)
    computation.set_input_value("components", 3)
    computation.set_input_value("method", "spa")
    app.model.recompute_all()
    assert made["abundances"].data_shape == (3, 14, 16)
    assert "3 by spa" in made["abundances"].title
    computation.set_input_value("method", "best")
    app.model.recompute_all()
    assert "method is 'best'" in computation.error_text


def test_an_image_in_a_file(swift: Any, tmp_path: Path) -> None:
    with in_files(tmp_path / "project") as app:
        item = app.add(xdata(counts()))
        assert isinstance(item.xdata.data, h5py.Dataset)
        computation, made = unmix_image.make(app.model, item)
        app.model.recompute_all()
        assert computation.error_text is None
        np.testing.assert_array_equal(made["spectra"].data, spectral.unmix(counts(), 2).spectra)


def test_unmixing_can_be_stopped(app: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    unmix = spectral.unmix
    calls: list[int] = []

    def stopping(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        computation._stop_computation_event.fire()
        return unmix(*args, **kwargs)

    monkeypatch.setattr(spectral, "unmix", stopping)
    computation, made = unmix_image.make(app.model, app.add(xdata(counts())))
    app.model.recompute_all()
    assert calls == [1]
    assert computation.error_text is None
    assert made["abundances"].xdata is None
    monkeypatch.undo()
    computation.set_input_value("seed", 1)
    app.model.recompute_all()
    assert made["abundances"].data_shape == (2, 14, 16)


@pytest.mark.parametrize(
    ("data", "descriptor", "words"),
    [
        (np.zeros((14, 16, 40), np.float32), (False, 2, 1), "Say how many under Components"),
        (counts()[None], (True, 2, 1), "add up a series first"),
        (counts()[0], (False, 1, 1), "needs a spectrum image"),
    ],
)
def test_what_cannot_be_unmixed_is_told(app: Swift, data: Any, descriptor: Any, words: str) -> None:
    computation, made = unmix_image.make(app.model, app.add(xdata(data, descriptor)))
    app.model.recompute_all()
    assert words in computation.error_text
    assert made["spectra"].xdata is None


def test_the_command_takes_a_spectrum_image_only(app: Swift) -> None:
    item = app.add(xdata(counts()[0], (False, 1, 1)))
    app.select(item)
    command.COMMAND.action(app.window)
    assert "Select one spectrum image" in app.told[-1]
    assert len(app.model.data_items) == 1
    item = app.add(xdata(counts()), "EDS")
    app.select(item)
    command.open_window(app.window).unmix_clicked(None)
    app.model.recompute_all()
    titles = [made.title.partition(" [")[0] for made in app.model.data_items[2:]]
    assert titles == [f"{title} of EDS" for title in unmix_image.TITLES.values()]
    assert all(made.data is not None for made in app.model.data_items)
