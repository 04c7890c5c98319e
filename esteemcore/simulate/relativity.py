"""Speed and momentum of beam electrons, as cross-sections need them."""

from __future__ import annotations

import dataclasses

from scipy import constants

from esteemcore._core import checks

REST_EV = float(constants.m_e * constants.c**2 / constants.e)


@dataclasses.dataclass(frozen=True)
class Electron:
    """A beam electron.

    Parameters
    ----------
    energy_kev : float
        Kinetic energy in keV.
    """

    energy_kev: float

    def __post_init__(self) -> None:
        checks.positive("energy_kev", self.energy_kev, "keV")

    @property
    def gamma(self) -> float:
        """Total over rest energy."""
        return 1 + self.energy_kev * 1e3 / REST_EV

    @property
    def beta_squared(self) -> float:
        """Square of the speed over that of light."""
        return 1 - 1 / self.gamma**2

    @property
    def speed_ev(self) -> float:
        """T = m0 v² / 2 in eV."""
        return REST_EV * self.beta_squared / 2

    @property
    def pv_ev(self) -> float:
        """Momentum times speed in eV, 2 gamma T."""
        return 2 * self.gamma * self.speed_ev
