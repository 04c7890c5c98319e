"""A computation that maps an edge or a line of a spectrum image above its background, with the standard deviation."""

from __future__ import annotations

from typing import Any, ClassVar

from nion.swift.model import DataItem, Symbolic

from esteemcore import io, multiframe, spectral
from esteemcore.errors import CalibrationError, ParameterError
from nionswift_plugin.esteem_process import linked_items, spectra_items
from nionswift_plugin.esteem_process.registry import Computation

ID = "esteem.background_map"

PARAMETERS: dict[str, tuple[str, Any, str]] = {
    "map": ("string", "", "Map (NAME:START-STOP:BACKGROUND in eV)"),
    "gain": ("real", 1.0, "Gain (counts/e)"),
    "readout_sigma": ("real", 0.0, "Readout noise (counts)"),
}
"""Type, value and label."""

TITLES = {"map": "Map", "sigma": "Sigma", "background": "Background"}

_EV = {"eV": 1.0, "keV": 1e3, "meV": 1e-3}


class BackgroundMap:
    """Fit the background and map in a thread, then show the results.

    Parameters
    ----------
    computation
        Nion's computation.
    """

    label = "Background and Map"
    inputs: ClassVar = {"src": {"label": "Spectra"}} | {name: {"label": p[2]} for name, p in PARAMETERS.items()}
    outputs: ClassVar = {name: {"label": title} for name, title in TITLES.items()}

    def __init__(self, computation: Any, **kwargs: Any) -> None:
        self._computation = computation
        self._made: tuple[str, spectral.EdgeMap, tuple[io.Axis, ...]] | None = None

    def execute_task(self, context: Symbolic.ComputationExecutorContext) -> None:
        """Compute; Stop goes through the context."""
        given = linked_items.given_of(self._computation, context)
        data, axes = spectra_items.spectra_of(given["src"].xdata)
        wanted = multiframe.maps_from_words(given["map"])
        if len(wanted) != 1:
            raise ParameterError("type one map: NAME:START-STOP:BACKGROUND, as in Ti:455-475:380-450")
        if axes[2].unit not in _EV:
            raise CalibrationError(f"the spectra have an axis in {axes[2].unit or 'pixels'}; calibrate it in eV")
        element = wanted[0]
        found = spectral.edge_map(
            data,
            axes[2].coordinates * _EV[axes[2].unit],
            element.window_ev,
            element.background_ev,
            "constant" if element.model == "none" else element.model,
            gain=given["gain"],
            readout_sigma=given["readout_sigma"],
            progress=spectra_items.steps(context),
        )
        self._made = element.name, found, axes

    def commit(self) -> None:
        """Show what was computed."""
        if self._made is None:
            return
        (element, found, axes), self._made = self._made, None
        entry = {"map": {"name": element, "snr": found.snr, "provenance": found.provenance.as_dict()}}
        values = {"map": found.data, "sigma": found.sigma, "background": found.background}
        for name, data in values.items():
            figures = f"{element} SNR {found.snr:.3g}" if name == "map" else element
            linked_items.show(self._computation, name, linked_items.xdata_of(data, axes[:2], entry, "counts"), figures)


def make(
    document_model: Any, item: DataItem.DataItem, **chosen: Any
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation on a spectrum image, and what it will fill."""
    return linked_items.make_of(document_model, BackgroundMap, ID, PARAMETERS, TITLES, (item, "Spectra"), chosen)


COMPUTATION = Computation(ID, BackgroundMap)
