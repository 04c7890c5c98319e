"""The specimen in the beam: its diffraction patterns, computed beside the acquisition when the optics change."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from nion.utils import Event
from numpy.typing import ArrayLike, NDArray

from esteemcore import simulate
from esteemcore.errors import CancelledError, EsteemError, ParameterError, StreamError

CHANNELS = ("HAADF", "BF", "ADF")
"""Detectors of the scan device; `Scene.signal` knows their angles."""

Task = tuple[simulate.Specimen, simulate.Beam]

_LOOK_S = 0.05
_BANK_SHARE = 0.8
_logger = logging.getLogger("esteem_sim")


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """All that the detectors see of a specimen under a beam.

    Attributes
    ----------
    bank : esteemcore.simulate.Bank
        Expected diffraction patterns over one cell.
    images : dict of str to ndarray of float64, shape (y, x)
        Fraction of the beam on each detector of `CHANNELS` at the positions of the bank.
    """

    bank: simulate.Bank
    images: dict[str, NDArray[np.float64]] = dataclasses.field(repr=False)

    def signal(self, channel: str, places_nm: ArrayLike) -> NDArray[np.float64]:
        """Return the fraction of the beam on a detector at places (n, 2) on the specimen in nm."""
        return simulate.interpolate_cell(self.images[channel], places_nm, self.bank.spacing_nm)


def make_scene(
    specimen: simulate.Specimen,
    beam: simulate.Beam,
    cancel: threading.Event,
    progress: Callable[[float], None] | None = None,
    **options: Any,
) -> Scene:
    """Compute the patterns and images of a specimen under a beam.

    HAADF collects beyond twice the semi-angle (beyond the semi-angle where the potential is not sampled that finely),
    BF within half of it, ADF the ring around the bright-field disk.

    Parameters
    ----------
    specimen : Specimen
    beam : Beam
    cancel : Event
        When set, the computation ends soon with a `CancelledError`.
    progress : callable, optional
        Called with the fraction done, 0 to 1.
    **options
        Passed to `esteemcore.simulate.bank`.
    """
    share = None if progress is None else lambda done: progress(_BANK_SHARE * done)
    bank = simulate.bank(specimen, beam, progress=share, cancel=cancel, **options)
    shape = bank.outside.shape
    places = np.argwhere(np.ones(shape, bool)) * bank.spacing_nm
    try:
        haadf = simulate.haadf_image(specimen, beam, places)
    except ParameterError:
        haadf = simulate.haadf_image(specimen, beam, places, inner_angle_mrad=beam.semiangle_mrad)
    bright = simulate.bright_field_image(bank, places, max_angle_mrad=beam.semiangle_mrad / 2)
    ring = simulate.bright_field_image(
        bank, places, inner_angle_mrad=1.05 * beam.semiangle_mrad, max_angle_mrad=bank.max_angle_mrad
    )
    if cancel.is_set():
        raise CancelledError("the diffraction patterns are not needed any more")
    _ = bank.alias  # made when first used, which would hold up the first frame
    images = {"HAADF": haadf, "BF": bright, "ADF": np.maximum(ring, 0)}
    return Scene(bank, {name: image.reshape(shape) for name, image in images.items()})


class SpecimenStage:
    """Holds a specimen and keeps its scene up to date.

    A change of specimen or optics starts the computation in a thread. Until it is done, `latest` is the scene of
    before and `status` says what is going on; `current` is None.

    Parameters
    ----------
    specimen : str
        One of `esteemcore.simulate.SPECIMENS`.
    thickness_nm : float, optional
        Its thickness in nm.
    scene_options : dict, optional
        Passed to `esteemcore.simulate.bank`, e.g. a coarse ``spacing_nm``.

    Attributes
    ----------
    changed_event : Event
        Fired (from any thread) when `status` has changed.
    """

    def __init__(
        self,
        specimen: str = "zeolite",
        thickness_nm: float | None = None,
        scene_options: dict[str, Any] | None = None,
    ) -> None:
        self.changed_event = Event.Event()
        self._options = scene_options or {}
        self._specimen = simulate.specimen(specimen, thickness_nm)
        self._beam: simulate.Beam | None = None
        self._latest: Scene | None = None
        self._error: EsteemError = StreamError("")
        self._failed: Task | None = None
        self._working_on: Task | None = None
        self._status = "no diffraction patterns asked for yet"
        self._changed = threading.Condition()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def specimen(self) -> simulate.Specimen:
        """The specimen in the beam."""
        return self._specimen

    @property
    def status(self) -> str:
        """What the computation is doing, in words."""
        return self._status

    @property
    def is_in_use(self) -> bool:
        """Whether anybody has asked for a scene."""
        return self._beam is not None

    @property
    def latest(self) -> Scene | None:
        """The newest scene, perhaps that of another specimen or other optics; None before the first."""
        return self._latest

    @property
    def current(self) -> Scene | None:
        """The scene of the present specimen and optics; None while it is being computed.

        Raises
        ------
        EsteemError
            If it cannot be computed, e.g. because the angles exceed the sampling of the potential.
        """
        with self._changed:
            if self._same(self._failed):
                raise self._error
            scene = self._latest
            return scene if self._is_wanted(scene) else None

    def select(self, name: str, thickness_nm: float | None = None) -> None:
        """Put another specimen into the beam, see `esteemcore.simulate.specimen`."""
        specimen = simulate.specimen(name, thickness_nm)
        with self._changed:
            self._specimen = specimen
            beam = self._beam
        if beam is not None:
            self.illuminate(beam)

    def illuminate(self, beam: simulate.Beam) -> None:
        """Ask for the scene under this beam; returns at once."""
        with self._changed:
            if self._closed:
                return
            self._beam = beam
            if self._is_wanted(self._latest) or self._same(self._failed):
                return
            if not self._same(self._working_on):
                self._cancel.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="esteem-scene", daemon=True)
                self._thread.start()

    def wait(self, cancel: threading.Event | None = None) -> Scene:
        """Return the current scene, as soon as it is computed; `status` says how far that is.

        Parameters
        ----------
        cancel : Event, optional
            When set, the wait ends soon; the computation goes on.

        Raises
        ------
        CancelledError
            If ``cancel`` was set.
        StreamError
            If nothing has been asked for.
        EsteemError
            If the scene cannot be computed, see `current`.
        """
        with self._changed:
            while (scene := self.current) is None:
                if cancel is not None and cancel.is_set():
                    raise CancelledError(f"cancelled while {self._status}")
                if self._thread is None:
                    raise StreamError(f"the diffraction patterns are not there: {self._status}")
                self._changed.wait(_LOOK_S)
            return scene

    def close(self) -> None:
        """Stop computing."""
        with self._changed:
            self._closed = True
            self._cancel.set()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _is_wanted(self, scene: Scene | None) -> bool:
        return scene is not None and scene.bank.specimen is self._specimen and scene.bank.beam == self._beam

    def _same(self, task: Task | None) -> bool:
        return task is not None and task[0] is self._specimen and task[1] == self._beam

    def _work(self) -> None:
        while True:
            with self._changed:
                beam, specimen = self._beam, self._specimen
                if self._closed or beam is None or self._same(self._failed) or self._is_wanted(self._latest):
                    self._thread = self._working_on = None
                    return
                self._cancel.clear()
                self._working_on = (specimen, beam)
            optics = f"{beam.energy_kev:g} kV and {beam.semiangle_mrad:g} mrad"
            work = f"computing diffraction of {specimen.name} at {optics}"
            _logger.info(work)
            self._say(f"{work}: 0 %")
            began = time.monotonic()
            try:
                progress = functools.partial(self._say_progress, work)
                scene = make_scene(specimen, beam, self._cancel, progress, **self._options)
            except CancelledError:
                continue
            except Exception as error:
                self._fail(error, beam, specimen)
                continue
            with self._changed:
                self._latest = scene
                self._changed.notify_all()
            ready = f"diffraction patterns of {specimen.name} are ready ({time.monotonic() - began:.1f} s)"
            _logger.info(ready)
            self._say(ready)

    def _fail(self, error: Exception, beam: simulate.Beam, specimen: simulate.Specimen) -> None:
        reason = error if isinstance(error, EsteemError) else StreamError(f"{type(error).__name__}: {error}")
        with self._changed:
            self._failed, self._error = (specimen, beam), reason
            self._changed.notify_all()
        _logger.info("the diffraction patterns cannot be computed: %s", reason)
        self._say(f"the diffraction patterns cannot be computed: {reason}")

    def _say_progress(self, work: str, fraction: float) -> None:
        self._say(f"{work}: {100 * fraction:.0f} %")

    def _say(self, status: str) -> None:
        if status != self._status:
            self._status = status
            self.changed_event.fire()
