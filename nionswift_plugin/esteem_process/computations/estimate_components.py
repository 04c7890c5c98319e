"""A computation that counts the components of a spectrum image, or tells why they cannot be counted."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from nion.swift.model import DataItem, Symbolic

from esteemcore import io, spectral
from esteemcore.cli import unmix_number
from nionswift_plugin.esteem_process import linked_items, spectra_items
from nionswift_plugin.esteem_process.registry import Computation

ID = "esteem.estimate_rank"

PARAMETERS: dict[str, tuple[str, Any, str]] = {
    "method": ("string", "parallel", "Method (parallel, marchenko_pastur, gavish_donoho, elbow)"),
    "noise": ("string", "auto", "Noise (auto, poisson, gaussian)"),
    "gain": ("real", 1.0, "Gain (counts/e)"),
    "readout_sigma": ("real", 0.0, "Readout noise (counts)"),
    "max_components": ("integral", 12, "Look for no more than"),
    "seed": ("integral", 0, "Seed"),
}
"""Type, value and label."""

TITLES = {"scree": "Scree"}


class EstimateComponents:
    """Count in a thread, then show the scree of the data and of noise.

    Parameters
    ----------
    computation
        Nion's computation.
    """

    label = "Estimate Components"
    inputs: ClassVar = {"src": {"label": "Spectra"}} | {name: {"label": p[2]} for name, p in PARAMETERS.items()}
    outputs: ClassVar = {name: {"label": title} for name, title in TITLES.items()}

    def __init__(self, computation: Any, **kwargs: Any) -> None:
        self._computation = computation
        self._rank: spectral.Rank | None = None

    def execute_task(self, context: Symbolic.ComputationExecutorContext) -> None:
        """Compute; Stop and progress go through the context."""
        given: dict[str, Any] = {name: value for name, (_, value, _) in PARAMETERS.items()}  # older projects lack some
        given |= linked_items.given_of(self._computation, context)
        data, _ = spectra_items.spectra_of(given["src"].xdata)
        chosen = {name: given[name] for name in PARAMETERS}
        self._rank = spectral.estimate_rank(data, progress=spectra_items.steps(context), **chosen)

    def commit(self) -> None:
        """Show what was computed."""
        if self._rank is None:
            return
        rank, self._rank = self._rank, None
        entry = {"components": unmix_number.described(rank)}
        shown = min(len(rank.curve), len(rank.noise_curve), spectra_items.SCREE)
        both = np.stack([rank.curve[:shown], rank.noise_curve[:shown]])
        axes = io.Axis("frame", 2), io.Axis("x", shown, 1.0, 1.0, "component")
        advice = "cannot be told" if rank.n is None else f"{rank.n} components"
        linked_items.show(
            self._computation, "scree", linked_items.xdata_of(both, axes, entry, "variance of noise"), advice
        )


def make(
    document_model: Any, item: DataItem.DataItem, **chosen: Any
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation on a spectrum image, and what it will fill."""
    return linked_items.make_of(document_model, EstimateComponents, ID, PARAMETERS, TITLES, (item, "Spectra"), chosen)


COMPUTATION = Computation(ID, EstimateComponents)
