"""All reducers, as the laws are tested on them, and the frames that they take."""

from __future__ import annotations

from typing import Any

from esteemcore import diffraction, fourd, spectral

SCAN, FRAME = (3, 4), (16, 16)
GEOMETRY = fourd.Geometry(scan_step_nm=0.05, beam_energy_kev=200, semiangle_mrad=15, pixel_mrad=3.0, rotation_deg=20)
REDUCERS: dict[str, Any] = {
    "FrameStatistics": fourd.FrameStatistics(),
    "VirtualDetectors": fourd.VirtualDetectors(
        {"bf": fourd.annular_mask(GEOMETRY, FRAME, 0, 15), "adf": fourd.annular_mask(GEOMETRY, FRAME, 10, 40)}
    ),
    "CenterOfMass": fourd.CenterOfMass(GEOMETRY),
    "SingleSideband": fourd.SingleSideband(GEOMETRY, bins=24),
    "BraggMap": diffraction.BraggMap(2.0, significance=2.0),
    "Disks": diffraction.Disks(2.0, significance=2.0),
    "OnlineNmf": spectral.OnlineNmf(1, energy_bins=3, blocks=4),
    "OnlinePca": spectral.OnlinePca(2, energy_bins=12, blocks=4),
}
