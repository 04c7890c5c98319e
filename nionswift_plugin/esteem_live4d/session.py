"""What every live run has: a thread, a runner, images that form, and a view that can change."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import threading
from pathlib import Path
from typing import Any, Protocol

from esteemcore import fourd, stream
from esteemcore.errors import CancelledError, ReducerError
from nionswift_plugin.esteem_live4d import bragg
from nionswift_plugin.esteem_scan.words import sentence

PUBLISH_S = 0.14
"""Shortest time between two sets of images, in s."""


@dataclasses.dataclass(frozen=True)
class View:
    """What can be changed after the frames are taken.

    Attributes
    ----------
    geometry : Geometry
        Rotation and aberrations act at once, on the same counts.
    regularization : float
        Of the phase.
    """

    geometry: fourd.Geometry
    regularization: float = 0.03


@dataclasses.dataclass(frozen=True, eq=False)
class Update:
    """A set of images.

    Attributes
    ----------
    images : dict of str to LiveImage
    results : dict
        What they were made from, by the names of `esteemcore.fourd.live_reducers` and of `bragg`.
    view : View
    status : LiveStatus
    """

    images: dict[str, fourd.LiveImage]
    results: dict[str, Any]
    view: View
    status: stream.LiveStatus

    def provenance(self, name: str) -> dict[str, Any]:
        """Return where an image comes from."""
        made_by = {"bf": "detectors", "adf": "detectors", "icom": "com", "sum": "statistics", "disks": bragg.NAME}
        reducer = made_by.get(name, name)
        record: dict[str, Any] = self.results[reducer].provenance.as_dict()
        return record

    @property
    def disks_per_frame(self) -> float | None:
        """Mean number of Bragg disks of a frame, where they are looked for."""
        return self.results[bragg.NAME].per_frame if bragg.NAME in self.results else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the phase."""
        return tuple(self.results["ssb"].notes) if "ssb" in self.results else ()


class Watcher(Protocol):
    """Who looks on; called from threads of the run."""

    def updated(self, update: Update) -> None:
        """Take a set of images."""

    def said(self, message: str) -> None:
        """Take a message in words."""

    def ended(self, message: str) -> None:
        """Take the last message; the run is over."""


class LiveSession(abc.ABC):
    """What acquisitions and files have in common.

    Parameters
    ----------
    view : View
        Semi-angle, pixel size and centre are fixed for the run; the rest is where it starts.
    watcher : Watcher
    title : str
        Name of the run, for metadata.
    base : Geometry
        The calibrations of the instrument or the file, before the user has typed over them.
    bragg_significance : float, optional
        Least score of Bragg disks in standard deviations. Default: none are looked for.
    """

    def __init__(
        self,
        view: View,
        watcher: Watcher,
        title: str,
        base: fourd.Geometry,
        bragg_significance: float | None = None,
    ) -> None:
        self.title = title
        self.base = base
        self.total = 0
        self.path: Path | None = None
        self.metadata: dict[str, Any] = {}
        self.runner: stream.LiveRunner | None = None
        self._first_view = self._view = view
        self._watcher = watcher
        self._bragg_significance = bragg_significance
        self._reducers: dict[str, stream.Reducer[Any, Any]] = {}
        self._stop = threading.Event()
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="esteem-live4d", daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the end."""
        self._thread.join(timeout_s)

    def abort(self) -> None:
        """Stop soon; what was taken stays."""
        self._stop.set()

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive() and not self._has_ended

    @property
    def view(self) -> View:
        """What the images are made with from now on."""
        return self._view

    @view.setter
    def view(self, view: View) -> None:
        self._view = view

    def look(self) -> Update | None:
        """Make the images of what has come so far with the present view; None before the first frame.

        Raises
        ------
        EsteemError
            If the view asks for what needs the frames again (another semi-angle or pixel size).
        """
        runner = self.runner
        return self._look(runner) if runner is not None and runner.status.reduced else None

    def _look(self, runner: stream.LiveRunner) -> Update:
        results = {}
        for name in self._reducers:
            with contextlib.suppress(ReducerError):
                results[name] = runner.evaluate(name, lambda reducer, state: reducer.result(state))
        return self._update(results, runner.status)

    def _update(self, results: dict[str, Any], status: stream.LiveStatus) -> Update:
        view, runner, results = self._view, self.runner, dict(results)
        if view != self._first_view and runner is not None:
            if "com" in results:
                com = fourd.CenterOfMass(view.geometry)
                results["com"] = runner.evaluate("com", lambda reducer, state: com.result(state))
            if "ssb" in results:
                results["ssb"] = runner.evaluate(
                    "ssb",
                    lambda reducer, state: reducer.evaluate(
                        state, geometry=view.geometry, regularization=view.regularization
                    ),
                )
        images = fourd.live_images(results, view.geometry) | bragg.images(results, view.geometry)
        return Update(images, results, view, status)

    def _publish(self, results: dict[str, Any], status: stream.LiveStatus) -> None:
        self._watcher.updated(self._update(results, status))

    def _prepare(self, spec: stream.Spec) -> None:
        """Make the reducers and what they compile and compute ahead; raises what is wrong with the view."""
        view = self._first_view
        disks: dict[str, Any] = {}
        if self._bragg_significance is not None:
            self._watcher.said("Preparing to find disks; the first time takes a minute")
            disks = bragg.reducers(view.geometry, spec, self._bragg_significance)
        fourd.warm_up(view.geometry, spec, disks)
        live = fourd.live_reducers(view.geometry, spec.frame_shape, regularization=view.regularization)
        self._reducers = {**live, **disks}

    def _make_runner(self, spec: stream.Spec, store: stream.ChunkStore | None) -> stream.LiveRunner:
        self.runner = stream.LiveRunner(
            self._reducers, spec, store=store, publish=self._publish, publish_interval_s=PUBLISH_S
        )
        self._watcher.updated(self._look(self.runner))  # still empty, so that all is in place when frames come
        return self.runner

    def _run(self) -> None:
        try:
            message = self._work()
        except CancelledError as error:
            message = str(error)
        except Exception as error:
            message = f"Error: {sentence(error)}"
        self._has_ended = True
        self._watcher.ended(message)

    @abc.abstractmethod
    def _work(self) -> str:
        """Bring the frames to the runner; return what became of them, in words."""
