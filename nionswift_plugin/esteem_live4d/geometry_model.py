"""The calibrations as the user sees them: those of the instrument, unless typed over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from nion.utils import Model

from esteemcore import fourd
from esteemcore.errors import CalibrationError
from nionswift_plugin.esteem_live4d.session import View

NAMES = ("semiangle_mrad", "pixel_mrad", "rotation_deg", "defocus_nm")


class GeometryModel:
    """Property models of the calibrations; what the user has not typed over follows the instrument.

    Parameters
    ----------
    changed : callable
        Called after the user has changed a value.

    Attributes
    ----------
    semiangle_mrad, pixel_mrad, rotation_deg, defocus_nm, regularization : PropertyModel
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.semiangle_mrad = Model.PropertyModel(0.0)
        self.pixel_mrad = Model.PropertyModel(0.0)
        self.rotation_deg = Model.PropertyModel(0.0)
        self.defocus_nm = Model.PropertyModel(0.0)
        self.regularization = Model.PropertyModel(0.03)
        self.typed: set[str] = set()
        self._changed = changed
        self._is_following = False
        for name in (*NAMES, "regularization"):
            getattr(self, name).on_value_changed = lambda value, name=name: self._edited(name)

    def follow(self, geometry: fourd.Geometry) -> None:
        """Take over what the instrument, or a file, says, but for what was typed."""
        values = {
            "semiangle_mrad": geometry.semiangle_mrad,
            "pixel_mrad": geometry.pixel_pair_mrad[0],
            "rotation_deg": geometry.rotation_deg,
            "defocus_nm": 0.0 - (geometry.aberrations or {}).get("C10", 0.0),
        }
        self._is_following = True
        try:
            for name, value in values.items():
                if name not in self.typed:
                    getattr(self, name).value = value
        finally:
            self._is_following = False

    def forget(self) -> None:
        """Follow the instrument again in all."""
        self.typed.clear()

    def view(self, geometry: fourd.Geometry) -> View:
        """Return the given geometry with what the user has typed.

        Raises
        ------
        CalibrationError
            If a value is impossible.
        """
        changes: dict[str, Any] = {}
        for name in ("semiangle_mrad", "pixel_mrad", "rotation_deg"):
            if name in self.typed:
                changes[name] = getattr(self, name).value
        if "defocus_nm" in self.typed:
            if self.defocus_nm.value is None:
                raise CalibrationError("defocus_nm is missing; type it in nm, or take it as measured")
            changes["aberrations"] = {**(geometry.aberrations or {}), "C10": 0.0 - self.defocus_nm.value}
        regularization = self.regularization.value or 0.0
        if regularization <= 0:
            raise CalibrationError("the regularization must be more than zero, e.g. 0.03")
        return View(dataclasses.replace(geometry, **changes), regularization)

    def _edited(self, name: str) -> None:
        if not self._is_following:
            self.typed.add(name)
            self._changed()
