"""A computation that finds the components of a spectrum image: their spectra, where they are, and what is left."""

from __future__ import annotations

from typing import Any, ClassVar

from nion.swift.model import DataItem, Symbolic

from esteemcore import io, spectral
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_process import linked_items, spectra_items
from nionswift_plugin.esteem_process.registry import Computation

ID = "esteem.unmix"

PARAMETERS: dict[str, tuple[str, Any, str]] = {
    "components": ("integral", 0, "Components (0: find out)"),
    "method": ("string", "auto", "Method (auto, nmf, spa, blu, mcr, vca, ...)"),
    "gain": ("real", 1.0, "Gain (counts/e)"),
    "readout_sigma": ("real", 0.0, "Readout noise (counts)"),
    "seed": ("integral", 0, "Seed"),
}
"""Type, value and label."""

TITLES = {"abundances": "Abundances", "spectra": "Components", "residual": "Left Over", "scree": "Scree"}


class UnmixImage:
    """Count the components and unmix in a thread, then show the results.

    Parameters
    ----------
    computation
        Nion's computation.
    """

    label = "Unmix Spectrum Image"
    inputs: ClassVar = {"src": {"label": "Spectra"}} | {name: {"label": p[2]} for name, p in PARAMETERS.items()}
    outputs: ClassVar = {name: {"label": title} for name, title in TITLES.items()}

    def __init__(self, computation: Any, **kwargs: Any) -> None:
        self._computation = computation
        self._made: tuple[spectral.Rank, spectral.Unmixing, tuple[io.Axis, ...]] | None = None

    def execute_task(self, context: Symbolic.ComputationExecutorContext) -> None:
        """Compute; Stop and progress go through the context."""
        given = dict(context.parameters.parameter_map)
        data, axes = spectra_items.spectra_of(given["src"].xdata)
        rank = spectral.estimate_rank(data, seed=given["seed"], progress=spectra_items.steps(context, 0.0, 0.3))
        n = given["components"] or rank.n
        if not n:
            raise ParameterError(f"how many components there are: {rank.reason}. Say how many under Components")
        result = spectral.unmix(
            data,
            n,
            given["method"],
            seed=given["seed"],
            gain=given["gain"],
            readout_sigma=given["readout_sigma"],
            progress=spectra_items.steps(context, 0.3, 1.0),
        )
        self._made = rank, result, axes

    def commit(self) -> None:
        """Show what was computed."""
        if self._made is None:
            return
        (rank, result, axes), self._made = self._made, None
        n = len(result.spectra)
        entry = {
            "unmixing": {
                "method": result.method,
                "notes": list(result.notes),
                "recommended": rank.n,
                "reason": rank.reason,
                "provenance": result.provenance.as_dict(),
            }
        }
        each, figures = io.Axis("frame", n), f"{n} by {result.method}"
        curve = rank.curve[: spectra_items.SCREE]
        scree = io.Axis("x", len(curve), 1.0, 1.0, "component")
        advice = "cannot be told" if rank.n is None else f"{rank.n} recommended"
        for name, data, shown_axes, unit, words in (
            ("abundances", result.abundances, (each, *axes[:2]), "counts", figures),
            ("spectra", result.spectra, (each, axes[2]), "", figures),
            ("residual", result.residual, axes[:2], "" if result.noise == "gaussian" else "σ", figures),
            ("scree", curve, (scree,), "variance of noise", advice),
        ):
            linked_items.show(self._computation, name, linked_items.xdata_of(data, shown_axes, entry, unit), words)


def make(
    document_model: Any, item: DataItem.DataItem, **chosen: Any
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation on a spectrum image, and what it will fill."""
    return spectra_items.make(document_model, UnmixImage, ID, PARAMETERS, TITLES, item, chosen)


COMPUTATION = Computation(ID, UnmixImage)
