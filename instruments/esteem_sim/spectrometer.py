"""EELS spectrometer and X-ray detector for the present controls."""

from __future__ import annotations

import numpy as np

from esteem_sim.controls import Controls
from esteem_sim.optics import value
from esteemcore import simulate

EELS_SHAPE = (32, 1024)
"""Pixels of the EELS camera: rows across the dispersion, channels."""
EDS_CHANNELS = 2048
"""Channels of the X-ray detector."""
KEV_PER_CHANNEL = 0.01
"""Width of its channels in keV."""
DARK, READOUT_SIGMA, GAIN_SPREAD = 12.0, 1.0, 0.02
"""Dark counts and readout noise of a readout, and the spread of the gain from channel to channel."""

_GAIN_SEED = 20
_GAIN_MAP = np.random.default_rng(_GAIN_SEED).normal(1.0, GAIN_SPREAD, EELS_SHAPE[1])
_GAIN_MAP /= _GAIN_MAP.mean()
_GAIN_MAP.flags.writeable = False


def energy_axis(controls: Controls) -> tuple[float, float]:
    """Return loss at the centre of channel 0 and width of a channel of the EELS camera, as it knows them, in eV."""
    return value(controls, "EELS_Offset") + value(controls, "ZLPoffset"), value(controls, "EELS_Dispersion")


def low_offset_ev(controls: Controls) -> float:
    """Return the loss at channel 0 of the low-loss exposure in eV."""
    return value(controls, "EELS_LowOffset") + value(controls, "ZLPoffset")


def eels_camera(controls: Controls, drift_ev: float = 0.0, offset_ev: float | None = None) -> simulate.EelsCamera:
    """Return the EELS camera.

    Parameters
    ----------
    controls : Controls
    drift_ev : float
        Moves the spectrum towards higher channels; no axis knows of it.
    offset_ev : float, optional
        Loss at channel 0 in eV, where it is not that of the axis.
    """
    of_axis_ev, ev_per_channel = energy_axis(controls)
    offset_ev = of_axis_ev if offset_ev is None else offset_ev
    is_noisy = value(controls, "EELS_CameraNoise") != 0
    return simulate.EelsCamera(
        EELS_SHAPE[1],
        ev_per_channel,
        offset_ev - drift_ev,
        dark=DARK if is_noisy else 0.0,
        readout_sigma=READOUT_SIGMA if is_noisy else 0.0,
        gain_map=_GAIN_MAP if is_noisy else None,
    )


def eels_sampler(
    controls: Controls,
    composition: simulate.Composition,
    seed: int = 0,
    drift_ev: float = 0.0,
    offset_ev: float | None = None,
) -> simulate.EelsSampler:
    """Return what draws the EELS spectra of a specimen, see `eels_camera`."""
    return simulate.EelsSampler(
        composition,
        eels_camera(controls, drift_ev, offset_ev),
        energy_kev=value(controls, "EHT") * 1e-3,
        semiangle_mrad=value(controls, "ConvergenceAngle") * 1e3,
        collection_mrad=value(controls, "EELS_CollectionAngle") * 1e3,
        zero_loss=simulate.ZeroLoss(value(controls, "EELS_Resolution")),
        seed=seed,
    )


def eels_efficiency(controls: Controls) -> float:
    """Return the part of the beam's electrons that is counted, at all losses together."""
    return value(controls, "EELS_Efficiency")


def eds_detector(controls: Controls) -> simulate.EdsDetector:
    """Return the X-ray detector."""
    return simulate.EdsDetector(EDS_CHANNELS, KEV_PER_CHANNEL, solid_angle_sr=value(controls, "EDS_SolidAngle"))


def eds_sampler(controls: Controls, composition: simulate.Composition, seed: int = 0) -> simulate.EdsSampler:
    """Return what draws the X-rays of a specimen."""
    return simulate.EdsSampler(composition, eds_detector(controls), energy_kev=value(controls, "EHT") * 1e-3, seed=seed)
