"""A computation that finds the components of a spectrum image: their spectra, where they are, and what is left."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from nion.swift.model import DataItem, Graphics, Symbolic

from esteemcore import io, spectral
from esteemcore.cli import unmix_number, unmix_sure
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_process import line_labels, linked_items, spectra_items
from nionswift_plugin.esteem_process.registry import Computation
from nionswift_plugin.esteem_scan import binding

ID = "esteem.unmix"

PARAMETERS: dict[str, tuple[str, Any, str]] = {
    "components": ("integral", 0, "Components (0: find out)"),
    "method": ("string", "auto", "Method (auto, nmf, spa, blu, mcr, vca, ...)"),
    "noise": ("string", "auto", "Noise (auto, poisson, gaussian)"),
    "gain": ("real", 1.0, "Gain (counts/e)"),
    "readout_sigma": ("real", 0.0, "Readout noise (counts)"),
    "seed": ("integral", 0, "Seed"),
    "uncertainty": ("boolean", False, "How sure (takes 30 to 100 times as long)"),
    "elements": ("string", "", "Elements whose X-ray lines are marked (Ni Cr Si)"),
}
"""Type, value and label."""

TITLES = {"abundances": "Abundances", "spectra": "Components", "residual": "Left Over", "scree": "Scree"}

SIGMA = {"abundances_sigma": "Sigma of Abundances", "spectra_sigma": "Sigma of Components"}
"""Titles of what tells how sure the others are, where it was asked for."""

COUNTED = ("mask", "noise", "gain", "readout_sigma")
"""Parameters that the number of components depends on, beside the data."""


class UnmixImage:
    """Count the components and unmix in a thread, then show the results.

    Parameters
    ----------
    computation
        Nion's computation.
    """

    label = "Unmix Spectrum Image"
    inputs: ClassVar = {"src": {"label": "Spectra"}, "region": {"label": "Inside"}, "mask": {"label": "Mask"}} | {
        name: {"label": p[2]} for name, p in PARAMETERS.items()
    }
    outputs: ClassVar = {name: {"label": title} for name, title in (TITLES | SIGMA).items()}

    def __init__(self, computation: Any, **kwargs: Any) -> None:
        self._computation = computation
        self._made: _Made | None = None

    def execute_task(self, context: Symbolic.ComputationExecutorContext) -> None:
        """Compute; Stop and progress go through the context."""
        given: dict[str, Any] = {"noise": "auto", "uncertainty": False, "elements": ""}  # which older projects lack
        given |= linked_items.given_of(self._computation, context)
        data, axes = spectra_items.spectra_of(given["src"].xdata)
        mask = spectra_items.mask_of(given, (axes[0].size, axes[1].size))
        lines = line_labels.lines_of(given["elements"], axes[2])
        noise = {"mask": mask} | {name: given[name] for name in ("seed", "noise", "gain", "readout_sigma")}
        n, rank = given["components"], None
        if not n:
            rank = spectral.estimate_rank(data, **noise, progress=spectra_items.steps(context, 0.0, 0.3))
            n = unmix_number.number_of(rank)
            if not n:
                raise ParameterError(f"how many components there are: {rank.reason}. Say how many under Components")
        chosen = {"method": given["method"], **noise, "progress": spectra_items.steps(context, 0.3, 0.9)}
        sure = spectral.uncertainty(data, n, **chosen) if given["uncertainty"] else None
        result = spectral.unmix(data, n, **chosen) if sure is None else sure.result
        counted = self._counted(result) if rank is None else None
        if counted is None:
            rank = rank or spectral.estimate_rank(data, **noise, progress=spectra_items.steps(context, 0.9, 1.0))
            counted = {"of": _input_of(result), **unmix_number.described(rank)}
        unit = "counts" if result.noise == "poisson" else given["src"].xdata.intensity_calibration.units or ""
        self._made = _Made(counted, rank, result, sure, axes, lines, unit)

    def _counted(self, result: spectral.Unmixing) -> dict[str, Any] | None:
        """Return the record of the scree that is shown, if it is of what was unmixed: it need not be counted again."""
        scree = self._computation.get_result("scree")
        known: dict[str, Any] = {} if scree is None else scree.metadata.get(binding.KEY, {}).get("components", {})
        return known if known.get("of") == _input_of(result) else None

    def commit(self) -> None:
        """Show what was computed."""
        if self._made is None:
            return
        made, self._made = self._made, None
        rank, result, axes, n = made.rank, made.result, made.axes, len(made.result.spectra)
        unmixing: dict[str, Any] = {
            "method": result.method,
            "noise": result.noise,
            "smoothing_px": result.smoothing_px,
            "notes": list(result.notes),
            "provenance": result.provenance.as_dict(),
        }
        entry = {"unmixing": unmixing, "components": made.counted}
        each, figures = io.Axis("frame", n), f"{n} by {result.method}"
        shown: list[tuple[str, Any, tuple[io.Axis, ...], str, str]] = [
            ("abundances", result.abundances, (each, *axes[:2]), made.unit, figures),
            ("spectra", result.spectra, (each, axes[2]), "", figures),
            ("residual", result.residual, axes[:2], made.unit if result.noise == "gaussian" else "σ", figures),
        ]
        if rank is not None:
            curve = rank.curve[: spectra_items.SCREE]
            scree = io.Axis("x", len(curve), 1.0, 1.0, "component")
            advice = f"at least {rank.at_least}" if rank.n is None else f"{rank.n} recommended"
            shown.append(("scree", curve, (scree,), "variance of noise", advice))
        spread = result.uncertainty
        if made.sure is not None:
            angles = ", ".join(f"{angle:.2g}" for angle in made.sure.total.angle_deg)
            figures = f"{angles} degrees{'; methods disagree' if made.sure.warnings else ''}"
            unmixing["uncertainty"] = unmix_sure.described(made.sure)
        if spread.abundances is not None and spread.spectra is not None:
            shown.append(("abundances_sigma", spread.abundances, (each, *axes[:2]), made.unit, figures))
            shown.append(("spectra_sigma", spread.spectra, (each, axes[2]), "", figures))
        for name, data, shown_axes, unit, words in shown:
            if name in TITLES or self._computation.get_result(name) is not None:
                linked_items.show(self._computation, name, linked_items.xdata_of(data, shown_axes, entry, unit), words)
        line_labels.mark(self._computation.get_result("spectra"), made.lines)


@dataclasses.dataclass(frozen=True, eq=False)
class _Made:
    """What was computed, and the lines to be marked; no rank where the scree is that of before."""

    counted: dict[str, Any]
    rank: spectral.Rank | None
    result: spectral.Unmixing
    sure: spectral.UnmixingUncertainty | None
    axes: tuple[io.Axis, ...]
    lines: tuple[line_labels.Line, ...]
    unit: str


def _input_of(result: spectral.Unmixing) -> dict[str, Any]:
    """Return what the number of components is of."""
    made = result.provenance
    return {"input": made.input_digest} | {name: made.parameters[name] for name in COUNTED}


def make(
    document_model: Any,
    item: DataItem.DataItem,
    *,
    region: Graphics.Graphic | None = None,
    mask: DataItem.DataItem | None = None,
    **chosen: Any,
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation on a spectrum image, and what it will fill.

    Only what lies inside the graphic ``region`` and where the image ``mask`` is not zero takes part.
    """
    beside = {"region": (region, "Inside"), "mask": (mask, "Mask")}
    titles = TITLES | SIGMA if chosen.get("uncertainty") or chosen.get("method") == "blu" else TITLES
    return linked_items.make_of(document_model, UnmixImage, ID, PARAMETERS, titles, (item, "Spectra"), chosen, beside)


COMPUTATION = Computation(ID, UnmixImage)
