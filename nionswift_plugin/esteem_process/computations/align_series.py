"""A computation that registers a stored series of images and spectrum images, and sums it where the specimen was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from nion.swift.model import DataItem, Symbolic

from esteemcore import io, multiframe
from esteemcore.errors import EsteemError, ParameterError
from nionswift_plugin.esteem_process import linked_items
from nionswift_plugin.esteem_process.registry import Computation
from nionswift_plugin.esteem_process.to_dataset import make_dataset

ID = "esteem.align_series"

PARAMETERS: dict[str, tuple[str, Any, str]] = {
    "model": ("string", "scanline", "Model (scanline, rigid)"),
    "residual": ("boolean", False, "Fit what lines leave"),
    "upsample": ("integral", 1, "Fine pixels per pixel"),
    "maps": ("string", "", "Maps (NAME:START-STOP:BACKGROUND in eV)"),
    "energies": ("string", "", "Align energies (pixel, plane, frame)"),
}
"""Type, value and label."""

TITLES = {"mean": "Mean", "down": "Drift Down", "right": "Drift Right", "spectra": "Sum", "maps": "Coverage and Maps"}


class AlignSeries:
    """Register and sum in a thread, then show the results.

    Parameters
    ----------
    computation
        Nion's computation.
    """

    label = "Align Multi-Frame SI"
    inputs: ClassVar = {"images": {"label": "Images"}, "series": {"label": "Spectra"}} | {
        name: {"label": label} for name, (_, _, label) in PARAMETERS.items()
    }
    outputs: ClassVar = {name: {"label": title} for name, title in TITLES.items()}

    def __init__(self, computation: Any, **kwargs: Any) -> None:
        self._computation = computation
        self._result: multiframe.ProcessedSeries | None = None

    def execute_task(self, context: Symbolic.ComputationExecutorContext) -> None:
        """Compute; Stop and progress go through the context."""
        given = linked_items.given_of(self._computation, context)
        chosen: dict[str, Any] = {
            name: linked_items.Source(name, given[name].xdata)
            for name in ("images", "series")
            if given.get(name) is not None
        }

        def step(done: float) -> None:
            context.sync_execution()
            context.progress = done

        context.sync_execution()
        try:
            dataset = make_dataset(chosen.values())
            names = dict(zip(chosen, dataset.signals, strict=True))
            energies = str(given["energies"]).strip()
            self._result = multiframe.process_series(
                dataset,
                image=names.get("images"),
                spectra=names.get("series"),
                model=given["model"],
                residual=given["residual"],
                upsample=given["upsample"],
                maps=multiframe.maps_from_words(given["maps"]),
                align_energy=multiframe.EnergySettings(model=energies) if energies else None,
                components=False,
                progress=step,
            )
        except EsteemError:
            raise
        except MemoryError as error:
            raise ParameterError("there is not enough memory; take fewer fine pixels, or a part of the data") from error

    def commit(self) -> None:
        """Show what was computed."""
        if self._result is None:
            return
        result, self._result = self._result, None
        signals = multiframe.processed_signals(result)
        entry = {
            "multiframe": {
                "summary": result.summary,
                "left_out": {str(k): reason for k, reason in enumerate(result.alignment.reasons) if reason},
                "provenance": result.provenance.as_dict(),
            }
        }
        used = f"{int(result.figures['accepted'])} of {len(result.alignment)} frames"
        self._show("mean", signals["mean"].data, signals["mean"].axes, entry, used, "counts")
        drift, unit = (result.drift_px, "px") if result.drift_nm is None else (result.drift_nm, "nm")
        frame = (io.Axis("x", len(drift), unit="frames"),)
        for name, values in zip(("down", "right"), drift.T, strict=True):
            self._show(name, values, frame, entry, used, unit)
        if "spectra" in signals:
            total = signals["spectra"]
            self._show("spectra", total.data, total.axes, entry, used, "counts")
            names = ["coverage", *(f"map_{name}" for name in result.maps)]
            stack = np.stack([np.asarray(signals[name].data, np.float32) for name in names])
            axes = (io.Axis("frame", len(names)), *signals["coverage"].axes)
            self._show("maps", stack, axes, entry, ", ".join(["coverage", *_ratios(result)]), "")

    def _show(
        self, name: str, data: Any, axes: tuple[io.Axis, ...], entry: Mapping[str, Any], figures: str, unit: str
    ) -> None:
        linked_items.show(self._computation, name, linked_items.xdata_of(data, axes, entry, unit), figures)


def _ratios(result: multiframe.ProcessedSeries) -> list[str]:
    return [f"{name} SNR {m.snr:.3g}" if math.isfinite(m.snr) else name for name, m in result.maps.items()]


def make(
    document_model: Any, images: DataItem.DataItem | None, spectra: DataItem.DataItem | None, **chosen: Any
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation on a sequence of images, of spectrum images, or both, and what it will fill."""
    source = images if images is not None else spectra
    if source is None:
        raise ParameterError("there is no series; select a sequence of images, of spectrum images, or both")
    shown = {name: title for name, title in TITLES.items() if spectra is not None or name in ("mean", "down", "right")}
    return linked_items.make(
        document_model,
        ID,
        AlignSeries.label,
        {"images": (images, "Images"), "series": (spectra, "Spectra")},
        {name: (kind, chosen.get(name, value), label) for name, (kind, value, label) in PARAMETERS.items()},
        {name: f"{title} of {source.title}" for name, title in shown.items()},
    )


COMPUTATION = Computation(ID, AlignSeries)
