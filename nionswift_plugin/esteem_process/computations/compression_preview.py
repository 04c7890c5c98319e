"""A computation that shows what a codec leaves of spectra: decoded data, residual in units of the noise, figures."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from nion.data import Calibration, DataAndMetadata
from nion.swift.model import DataItem, Symbolic

from esteemcore import __version__
from esteemcore.codec import trial
from esteemcore.errors import EsteemError, ParameterError
from nionswift_plugin.esteem_process import linked_items
from nionswift_plugin.esteem_process.registry import Computation
from nionswift_plugin.esteem_scan import binding

ID = "esteem.compression_preview"

PARAMETERS: dict[str, tuple[str, str]] = {
    "method": ("string", f"Method ({', '.join(trial.METHODS)})"),
    "bound_sigma": ("real", "Bound (σ)"),
    "gain": ("real", "Gain (counts/e)"),
    "readout_sigma": ("real", "Readout noise (counts)"),
    "n_components": ("integral", "Components"),
}
"""Type and label of each of `trial.Choices`."""


class CompressionPreview:
    """Encode and decode in a thread, then show the result.

    Parameters
    ----------
    computation
        Nion's computation.
    """

    label = "Compression Preview"
    inputs: ClassVar = {"src": {"label": "Spectra"}} | {n: {"label": label} for n, (_, label) in PARAMETERS.items()}
    outputs: ClassVar = {"decoded": {"label": "Decoded"}, "residual": {"label": "Residual"}}

    def __init__(self, computation: Any, **kwargs: Any) -> None:
        self._computation = computation
        self._made: tuple[str, Any, Any] | None = None

    def execute_task(self, context: Symbolic.ComputationExecutorContext) -> None:
        """Compute; Stop and progress go through the context."""
        given = linked_items.given_of(self._computation, context)
        xdata = given["src"].xdata
        if xdata is None or xdata.datum_dimension_count != 1 or not xdata.is_collection:
            raise ParameterError("the codecs for spectra need a spectrum image, or a series of them")
        if xdata.data_dtype is None or xdata.data_dtype.kind not in "iuf":
            raise ParameterError(f"the codecs for spectra need real numbers, but these are {xdata.data_dtype}")
        choices = trial.Choices(**{name: given[name] for name in PARAMETERS})

        def step(done: float) -> None:
            context.sync_execution()
            context.progress = done

        context.sync_execution()
        try:
            tried = trial.run(xdata.data, choices, step)
        except EsteemError:
            raise
        except MemoryError as error:
            raise ParameterError("there is not enough memory; select a part of the data") from error
        self._made = (f"[{choices.method}: {tried.describe()}]", *_results(xdata, choices, tried))

    def commit(self) -> None:
        """Show what was computed."""
        if self._made is None:
            return
        figures, decoded, residual = self._made
        self._made = None
        for name, xdata in (("decoded", decoded), ("residual", residual)):
            self._computation.set_referenced_xdata(name, xdata)
            shown = self._computation.get_result(name)
            shown.title = f"{shown.title.partition(' [')[0]} {figures}"


def _results(xdata: Any, choices: trial.Choices, tried: trial.Trial) -> tuple[Any, Any]:
    figures = {
        "raw_bytes": tried.raw_bytes,
        "stored_bytes": tried.stored_bytes,
        "ratio": tried.ratio,
        "largest_error_sigma": tried.largest_sigma,
        "rms_error_sigma": tried.rms_sigma,
    }
    entry = {"compression": {**dataclasses.asdict(choices), **figures, "version": __version__}}
    metadata = {**xdata.metadata, binding.KEY: {**xdata.metadata.get(binding.KEY, {}), **entry}}
    decoded, residual = (
        DataAndMetadata.new_data_and_metadata(
            data,
            intensity_calibration=intensity,
            dimensional_calibrations=xdata.dimensional_calibrations,
            metadata=metadata,
            data_descriptor=xdata.data_descriptor,
        )
        for data, intensity in (
            (tried.decoded, xdata.intensity_calibration),
            (tried.residual, Calibration.Calibration(0.0, 1.0, "σ")),
        )
    )
    return decoded, residual


def make(
    document_model: Any, item: DataItem.DataItem, choices: trial.Choices | None = None
) -> tuple[Symbolic.Computation, DataItem.DataItem, DataItem.DataItem]:
    """Return a new computation on a data item, and the data items that it will fill: decoded and residual."""
    chosen = choices or trial.Choices()
    outputs = []
    for name in CompressionPreview.outputs:
        made = DataItem.new_data_item()
        made.title = f"{CompressionPreview.outputs[name]['label']} {item.title}"
        document_model.append_data_item(made)
        outputs.append(made)
    computation = document_model.create_computation()
    computation.create_input_item("src", Symbolic.make_item(item), label="Spectra")
    for name, (kind, label) in PARAMETERS.items():
        computation.create_variable(name, value_type=kind, value=getattr(chosen, name), label=label)
    computation.processing_id = ID
    computation.label = CompressionPreview.label
    for name, made in zip(CompressionPreview.outputs, outputs, strict=True):
        computation.create_output_item(name, Symbolic.make_item(made))
    document_model.append_computation(computation)
    return computation, outputs[0], outputs[1]


COMPUTATION = Computation(ID, CompressionPreview)
