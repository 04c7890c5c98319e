"""How sure an unmixing is, as ``esteem unmix --uncertainty`` stores, prints and shows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from esteemcore import io, spectral
from esteemcore.cli.page import Page

CAUSES = {
    "noise": "other noise",
    "posterior": "posterior",
    "repeats": "other starts",
    "methods": "other methods, beyond noise",
}
"""Parts of an uncertainty in words."""


def signals(
    sure: spectral.UnmixingUncertainty,
    component: io.Axis,
    places: tuple[io.Axis, ...],
    energy: io.Axis,
    unit: Mapping[str, str],
) -> dict[str, io.Signal]:
    """Return the standard deviations by cause, by the names in the container; those of all are with the result.

    `unit` goes with the abundances.
    """
    made = {}
    for name, part in sure.parts.items():
        made[f"spectra_sigma_{name}"] = io.Signal(part.spectra, (component, energy))
        made[f"abundances_sigma_{name}"] = io.Signal(part.abundances, (component, *places), metadata=dict(unit))
    return made


def described(sure: spectral.UnmixingUncertainty) -> dict[str, Any]:
    """Return what is no array, ready for JSON."""
    return {
        "angle_deg": sure.total.angle_deg.tolist(),
        "parts_angle_deg": {name: part.angle_deg.tolist() for name, part in sure.parts.items()},
        "agreement": [
            {
                **{field.name: _plain(getattr(other, field.name)) for field in dataclasses.fields(other)},
                "disagrees": other.disagrees.tolist(),
            }
            for other in sure.agreement
        ],
        "warnings": list(sure.warnings),
        "provenance": sure.provenance.as_dict(),
    }


def lines(sure: spectral.UnmixingUncertainty) -> list[str]:
    """Return what was found, line by line."""
    angles = ", ".join(f"{angle:.2g}" for angle in sure.total.angle_deg)
    return [f"spectra are sure within {angles} degrees", *(f"warning: {warning}" for warning in sure.warnings)]


def show(page: Page, sure: spectral.UnmixingUncertainty) -> None:
    """Put on a page how sure each component is and why, and how methods agree."""
    page.heading("How sure")
    mean = [f"{value:.3g}" for value in _root_mean_square(sure.total.abundances)]
    rows = [[str(k), f"{sure.total.angle_deg[k]:.2g}", *_by_cause(sure, k), mean[k]] for k in range(len(mean))]
    causes = [CAUSES[name] for name in sure.parts]
    page.table(["component", "all, degrees", *causes, "sigma of a pixel"], rows)
    page.text(
        "Angles between a spectrum and where it might be as well, one standard deviation. Noise: unmixed again in data "
        "drawn from the model that was found. The larger one of noise and posterior counts; the other causes are added "
        "in quadrature. Where the model itself is wrong in the same way for all methods, nothing here tells."
    )
    if sure.agreement:
        page.table(
            ["method", "component", "angle, degrees", "by noise alone", "at most", "agrees"],
            [
                [
                    other.method, str(k), f"{other.angle_deg[k]:.2g}", f"{other.expected_deg[k]:.2g}",
                    f"{other.limit_deg[k]:.2g}", "no" if other.disagrees[k] else "yes",
                ]
                for other in sure.agreement
                for k in range(len(other.angle_deg))
            ],
        )  # fmt: skip


def _by_cause(sure: spectral.UnmixingUncertainty, k: int) -> list[str]:
    return [f"{part.angle_deg[k]:.2g}" for part in sure.parts.values()]


def _root_mean_square(maps: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.nanmean(np.square(maps), axis=(1, 2))))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
