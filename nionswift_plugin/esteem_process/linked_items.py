"""Data items that a computation fills, and what it fills them with."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nion.data import Calibration, DataAndMetadata
from nion.swift.model import DataItem, Symbolic

from esteemcore import io
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_process import descriptors
from nionswift_plugin.esteem_scan import binding

Inputs = Mapping[str, tuple[Any, str]]
"""Data items and graphics that a computation works on, each with its label; None are left out."""
Parameters = Mapping[str, tuple[str, Any, str]]
"""Type, value and label of each parameter."""


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """What `to_dataset.make_dataset` asks of a data item, of one that a computation works on.

    Attributes
    ----------
    title : str
    xdata : DataAndMetadata
    """

    title: str
    xdata: DataAndMetadata.DataAndMetadata
    is_live: bool = False
    caption: str = ""

    @property
    def created(self) -> datetime.datetime:
        """When the data were taken."""
        return self.xdata.timestamp


def make(
    document_model: Any,
    processing_id: str,
    label: str,
    inputs: Inputs,
    parameters: Parameters,
    outputs: Mapping[str, str],
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation, and the new data items that it will fill, by the names of its outputs.

    Parameters
    ----------
    document_model
        Nion's.
    processing_id, label : str
        Of the computation.
    inputs : mapping
    parameters : mapping
    outputs : mapping of str to str
        Titles of the new data items.
    """
    made = {}
    for name, title in outputs.items():
        item = DataItem.new_data_item()
        item.title = title
        document_model.append_data_item(item)
        made[name] = item
    computation = document_model.create_computation()
    for name, (thing, words) in inputs.items():
        if thing is not None:
            computation.create_input_item(name, Symbolic.make_item(thing), label=words)
    for name, (kind, value, words) in parameters.items():
        computation.create_variable(name, value_type=kind, value=value, label=words)
    computation.processing_id = processing_id
    computation.label = label
    for name, item in made.items():
        computation.create_output_item(name, Symbolic.make_item(item))
    document_model.append_computation(computation)
    return computation, made


def make_of(
    document_model: Any,
    kind: type[Any],
    processing_id: str,
    parameters: Parameters,
    titles: Mapping[str, str],
    source: tuple[DataItem.DataItem, str],
    chosen: Mapping[str, Any],
    beside: Inputs | None = None,
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation on one data item, its input ``src``, and what it will fill.

    Parameters
    ----------
    document_model
        Nion's.
    kind : type
        The computation; it has a ``label``.
    processing_id : str
    parameters : mapping
        Type, usual value and label of each.
    titles : mapping of str to str
        Of the new data items, by the names of the outputs; what the data item is called follows.
    source : (DataItem, str)
        The data item and its label.
    chosen : mapping
        Values of parameters that differ from the usual ones.
    beside : mapping, optional
        Further inputs, such as a mask, with their labels.
    """
    return make(
        document_model,
        processing_id,
        kind.label,
        {"src": source, **(beside or {})},
        {name: (of, chosen.get(name, value), label) for name, (of, value, label) in parameters.items()},
        {name: f"{title} of {source[0].title}" for name, title in titles.items()},
    )


def given_of(computation: Any, context: Symbolic.ComputationExecutorContext) -> dict[str, Any]:
    """Return the inputs and parameters of a computation that begins.

    Where Nion Swift has undone a change in a window of its own, it leaves a parameter out; it is here all the same.

    Parameters
    ----------
    computation
        Nion's facade of it.
    context : ComputationExecutorContext

    Raises
    ------
    ParameterError
        If a parameter has no value.
    """
    plain = {v.name: value_of(v) for v in computation._computation.variables if v.value_type is not None}
    return {**context.parameters.parameter_map, **plain}


def value_of(variable: Symbolic.ComputationVariable) -> Any:
    """Return the number, text or choice of a parameter.

    Raises
    ------
    ParameterError
        If it has no value.
    """
    if variable.value is None:
        label = variable.display_label.partition(" (")[0]
        raise ParameterError(f"{label} has no value; type one in the window with the parameters")
    return variable.value


def xdata_of(
    data: Any, axes: Sequence[io.Axis], entry: Mapping[str, Any], unit: str = "", scale: float = 1.0
) -> DataAndMetadata.DataAndMetadata:
    """Return an array with its axes as Nion Swift shows it; ``entry`` goes into the metadata of Esteem.

    A value of one is shown as ``scale`` of the unit.
    """
    return DataAndMetadata.new_data_and_metadata(
        np.asarray(data),
        intensity_calibration=Calibration.Calibration(0.0, scale, unit),
        dimensional_calibrations=[descriptors.calibration_of(axis) for axis in axes],
        metadata={binding.KEY: dict(entry)},
        data_descriptor=descriptors.descriptor_for(axes),
    )


def show(computation: Any, name: str, xdata: Any, figures: str) -> None:
    """Fill a data item by Nion's facade of the computation, and put figures behind its title.

    Nion Swift finds no limits of the display where a value is NaN, so those of the others are set, and taken back for
    results without NaN. Limits that the user has set stay.
    """
    shown = computation.get_result(name)
    before = limits_of(shown._data_item.xdata)
    computation.set_referenced_xdata(name, xdata)
    shown.title = f"{shown.title.partition(' [')[0]} [{figures}]"
    limits = limits_of(xdata)
    for channel in shown._data_item.display_data_channels:
        if channel.display_limits in (None, before) and channel.display_limits != limits:
            channel.display_limits = limits


def limits_of(xdata: DataAndMetadata.DataAndMetadata | None) -> tuple[float, float] | None:
    """Return the limits of the display of data of which a part is NaN; None where Nion Swift finds them."""
    if xdata is None:
        return None
    data = np.asarray(xdata.data)
    known = np.isfinite(data)
    if known.all() or not known.any():
        return None
    return float(data[known].min()), float(data[known].max())
