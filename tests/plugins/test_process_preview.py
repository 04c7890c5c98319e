"""The preview of a compression: what is decoded, the residual in units of the noise, figures, Stop and errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from process_swift import KINDS, Swift, calibrated, in_files, in_memory, values

from esteemcore import codec
from esteemcore.codec import trial
from nionswift_plugin.esteem_process.commands import compression_preview as command
from nionswift_plugin.esteem_process.computations import compression_preview
from nionswift_plugin.esteem_scan import binding


@pytest.fixture
def app(swift: Any) -> Iterator[Swift]:
    with in_memory() as made:
        yield made


def spectra(kind: str = "spectrum image", dtype: Any = np.float32) -> Any:
    shape, descriptor, units = KINDS[kind]
    return calibrated(values(shape, dtype), descriptor, units)


def preview(app: Swift, item: Any, **choices: Any) -> tuple[Any, Any, Any]:
    made = compression_preview.make(app.model, item, trial.Choices(**choices))
    app.model.recompute_all()
    return made


def figures(item: Any) -> dict[str, Any]:
    return dict(item.metadata[binding.KEY]["compression"])


@pytest.mark.parametrize("kind", ["spectrum image", "line of spectra", "series of spectrum images"])
@pytest.mark.parametrize("method", trial.METHODS)
def test_decoded_residual_and_figures(app: Swift, kind: str, method: str) -> None:
    item = app.add(spectra(kind, np.int32))
    computation, decoded, residual = preview(app, item, method=method, n_components=3)
    assert computation.error_text is None
    for made in (decoded, residual):
        assert made.data_shape == item.data_shape
        assert made.xdata.data_descriptor == item.xdata.data_descriptor
        assert made.dimensional_calibrations == item.dimensional_calibrations
        assert made.metadata["instrument"] == item.metadata["instrument"]
    assert residual.intensity_calibration.units == "σ"
    noise = np.sqrt(np.maximum(item.data, 1))
    expected = (decoded.data.astype(float) - item.data) / noise
    assert np.allclose(residual.data, expected, atol=1e-6)
    found = figures(decoded)
    assert found["largest_error_sigma"] == pytest.approx(np.abs(expected).max())
    assert found["rms_error_sigma"] == pytest.approx(np.sqrt(np.square(expected).mean()))
    assert found["raw_bytes"] == item.data.nbytes
    assert found["ratio"] == pytest.approx(found["raw_bytes"] / found["stored_bytes"])
    exact = method in ("lossless", "events")
    assert (found["largest_error_sigma"] == 0) == exact
    assert ("exact" in decoded.title) == exact
    if method == "eels-bounded":
        assert found["largest_error_sigma"] <= 0.5


def test_bytes_are_those_of_the_codec(app: Swift) -> None:
    item = app.add(spectra())
    _, decoded, _ = preview(app, item, method="eels-bounded", bound_sigma=0.3, gain=2.0, readout_sigma=1.5)
    block = codec.encode_eels(item.data, bound_sigma=0.3, gain=2.0, readout_sigma=1.5)
    assert figures(decoded)["stored_bytes"] == len(block)
    assert np.array_equal(decoded.data, codec.decode_eels(block))


def test_tiles_and_whole_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    data = values((3, 10, 9, 64), np.float32)
    fractions: list[float] = []
    monkeypatch.setattr(trial, "TILE_BYTES", 3 * 9 * 64 * 4)
    tried = trial.run(data, trial.Choices("lossless"), fractions.append)
    assert np.array_equal(tried.decoded, data)
    assert tried.is_exact
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert len(fractions) == 2 * 3 * 4


def test_whole_counts_as_floats_are_events(app: Swift) -> None:
    item = app.add(calibrated(values((6, 7, 32), np.int32).astype(np.float32), (False, 2, 1), ["nm", "nm", "eV"]))
    computation, decoded, _ = preview(app, item, method="events")
    assert computation.error_text is None
    assert np.array_equal(decoded.data, item.data)
    assert decoded.data_dtype == np.float32


def test_a_changed_parameter_and_changed_data_run_again(app: Swift) -> None:
    item = app.add(spectra())
    computation, decoded, _ = preview(app, item)
    assert figures(decoded)["largest_error_sigma"] == 0
    computation.set_input_value("method", "eels-bounded")
    app.model.recompute_all()
    assert 0 < figures(decoded)["largest_error_sigma"] <= 0.5
    before = decoded.data.copy()
    item.set_data(item.data + 1)
    app.model.recompute_all()
    assert not np.array_equal(decoded.data, before)


@pytest.mark.parametrize(
    ("kind", "dtype", "choices", "words"),
    [
        ("image", np.float32, {}, "spectrum image"),
        ("4D-STEM", np.float32, {}, "spectrum image"),
        ("spectrum image", np.complex64, {}, "real numbers"),
        ("spectrum image", np.float32, {"method": "events"}, "no whole counts"),
        ("spectrum image", np.float32, {"method": "eels-bounded", "bound_sigma": -1.0}, "bound_sigma"),
    ],
)
def test_errors_in_words(app: Swift, kind: str, dtype: Any, choices: dict[str, Any], words: str) -> None:
    item = app.add(spectra(kind, dtype))
    computation, decoded, _ = preview(app, item, **choices)
    assert words in computation.error_text
    assert decoded.xdata is None


def test_a_typing_error_is_told_and_corrected(app: Swift) -> None:
    computation, decoded, _ = preview(app, app.add(spectra()))
    computation.set_input_value("method", "zip")
    app.model.recompute_all()
    assert "there are lossless, events" in computation.error_text
    computation.set_input_value("method", "eels-bounded")
    computation.set_input_value("gain", 0.0)
    app.model.recompute_all()
    assert "gain is 0" in computation.error_text
    computation.set_input_value("gain", 1.0)
    app.model.recompute_all()
    assert computation.error_text is None
    assert figures(decoded)["method"] == "eels-bounded"


def test_too_large_is_told(app: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MOST_BYTES", 100)
    computation, _, _ = preview(app, app.add(spectra()))
    assert "compress them to a container" in computation.error_text


def test_stop(app: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    item = app.add(spectra("series of spectrum images"))
    calls: list[Any] = []
    encode = codec.encode_lossless

    def stopping(part: Any) -> bytes:
        calls.append(part)
        computation._stop_computation_event.fire()
        return encode(part)

    monkeypatch.setattr(codec, "encode_lossless", stopping)
    computation, decoded, _ = compression_preview.make(app.model, item)
    app.model.recompute_all()
    assert len(calls) == 1
    assert computation.error_text is None
    assert decoded.xdata is None
    monkeypatch.undo()
    computation.set_input_value("n_components", 5)
    app.model.recompute_all()
    assert np.array_equal(decoded.data, item.data)


def test_data_items_in_files(swift: Any, tmp_path: Path) -> None:
    with in_files(tmp_path / "project") as app:
        item = app.add(spectra("series of spectrum images"))
        assert isinstance(item.xdata.data, h5py.Dataset)
        computation, decoded, residual = preview(app, item, method="eels-bounded")
        assert computation.error_text is None
        assert np.abs(np.asarray(residual.xdata.data)).max() <= 0.5
        assert decoded.data_shape == item.data_shape


def test_the_command(app: Swift) -> None:
    command.COMMAND.action(app.window)
    assert "No single data item is selected" in app.told[0]
    item = app.add(spectra())
    app.select(item)
    command.COMMAND.action(app.window)
    app.model.recompute_all()
    assert sum("exact" in made.title for made in app.model.data_items) == 2
