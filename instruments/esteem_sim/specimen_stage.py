"""The specimen in the beam: its diffraction patterns, computed beside the acquisition when the optics change."""

from __future__ import annotations

import functools
import logging
import threading
import time
from typing import Any

from nion.utils import Event

from esteem_sim.scene import Sample, Scene, make_scene, sample
from esteemcore import simulate
from esteemcore.errors import CancelledError, EsteemError, StreamError

Task = tuple[Sample, simulate.Beam]

_LOOK_S = 0.05
_logger = logging.getLogger("esteem_sim")


class SpecimenStage:
    """Holds a specimen with what it has suffered, and keeps its scene up to date.

    A change of specimen or optics starts the computation in a thread. Until it is done, `latest` is the scene of
    before and `status` says what is going on; `current` is None.

    Parameters
    ----------
    specimen : str
        One of `esteemcore.simulate.COMPOSITIONS`.
    thickness_nm : float, optional
        Its thickness in nm.
    scene_options : dict, optional
        Passed to `esteemcore.simulate.bank`, e.g. a coarse ``spacing_nm``.

    Attributes
    ----------
    changed_event : Event
        Fired (from any thread) when `status` has changed.
    suffered : DamageMap or None
        What the specimen has suffered so far; None while it cannot be damaged.
    """

    def __init__(
        self,
        specimen: str = "zeolite",
        thickness_nm: float | None = None,
        scene_options: dict[str, Any] | None = None,
    ) -> None:
        self.changed_event = Event.Event()
        self._options = scene_options or {}
        self._sample = sample(specimen, thickness_nm)
        self.suffered: simulate.DamageMap | None = None
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
        """The potential of the specimen in the beam; empty where only its composition is known."""
        return self._sample.potential

    @property
    def sample(self) -> Sample:
        """The specimen in the beam."""
        return self._sample

    @property
    def damage(self) -> simulate.Damage | None:
        """How the specimen suffers, or None if nothing harms it; when it is set, the specimen is a new one."""
        return None if self.suffered is None else self.suffered.damage

    @damage.setter
    def damage(self, damage: simulate.Damage | None) -> None:
        self.suffered = None if damage is None else simulate.DamageMap(damage)

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
        """Put another specimen into the beam, which has suffered nothing yet; see `esteem_sim.scene.sample`."""
        chosen = sample(name, thickness_nm)
        with self._changed:
            self._sample = chosen
            self.damage = self.damage
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
        return scene is not None and scene.sample is self._sample and scene.bank.beam == self._beam

    def _same(self, task: Task | None) -> bool:
        return task is not None and task[0] is self._sample and task[1] == self._beam

    def _work(self) -> None:
        while True:
            with self._changed:
                beam, chosen = self._beam, self._sample
                if self._closed or beam is None or self._same(self._failed) or self._is_wanted(self._latest):
                    self._thread = self._working_on = None
                    return
                self._cancel.clear()
                self._working_on = (chosen, beam)
            optics = f"{beam.energy_kev:g} kV and {beam.semiangle_mrad:g} mrad"
            work = f"computing diffraction of {chosen.name} at {optics}"
            _logger.info(work)
            self._say(f"{work}: 0 %")
            began = time.monotonic()
            try:
                progress = functools.partial(self._say_progress, work)
                scene = make_scene(chosen, beam, self._cancel, progress, **self._options)
            except CancelledError:
                continue
            except Exception as error:
                self._fail(error, beam, chosen)
                continue
            with self._changed:
                self._latest = scene
                self._changed.notify_all()
            ready = f"diffraction patterns of {chosen.name} are ready ({time.monotonic() - began:.1f} s)"
            _logger.info(ready)
            self._say(ready)

    def _fail(self, error: Exception, beam: simulate.Beam, chosen: Sample) -> None:
        reason = error if isinstance(error, EsteemError) else StreamError(f"{type(error).__name__}: {error}")
        with self._changed:
            self._failed, self._error = (chosen, beam), reason
            self._changed.notify_all()
        _logger.info("the diffraction patterns cannot be computed: %s", reason)
        self._say(f"the diffraction patterns cannot be computed: {reason}")

    def _say_progress(self, work: str, fraction: float) -> None:
        self._say(f"{work}: {100 * fraction:.0f} %")

    def _say(self, status: str) -> None:
        if status != self._status:
            self._status = status
            self.changed_event.fire()
