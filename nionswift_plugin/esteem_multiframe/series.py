"""A run of the panel: the frames of all areas, a safe end, and what is done after it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from esteemcore import multiframe
from esteemcore.errors import CancelledError
from nionswift_plugin.esteem_multiframe.live_results import LiveResults
from nionswift_plugin.esteem_multiframe.taking import Taker, whole
from nionswift_plugin.esteem_scan.acquisition_lock import Ticket, acquiring
from nionswift_plugin.esteem_scan.words import sentence

DROP = 1e4
"""By how much the magnification is dropped at the end: the dose rate falls by its square."""


@dataclasses.dataclass(frozen=True)
class Afterwards:
    """What is done when all frames are taken and the beam is blanked.

    Attributes
    ----------
    drop_magnification : bool
    mail : MailSettings or None
    script : Path or None
    """

    drop_magnification: bool = False
    mail: multiframe.MailSettings | None = None
    script: Path | None = None


class SeriesRun:
    """Frames of one or more areas, in a thread.

    Parameters
    ----------
    plan : SeriesPlan
    session : SessionFolder
    folders : sequence of RegionFolder
        For the first areas; the others get new ones.
    taker : Taker
    ticket : Ticket
        The right to acquire; released at the end.
    stop : Event
        The taker's.
    afterwards : Afterwards
    metadata : mapping
        Stored with the frames.
    before : sequence of SeriesResult
        `to_save` of the last run, for frames that the disk did not take.
    live : LiveResults
        Tells where the next frame goes; waited for at the end.
    on_frame : callable
        See `esteemcore.multiframe.acquire_series`; called in the thread.
    ended : callable
        Called in the thread with the last message, when the beam is safe and all is done.
    """

    def __init__(
        self,
        plan: multiframe.SeriesPlan,
        session: multiframe.SessionFolder,
        folders: Sequence[multiframe.RegionFolder],
        taker: Taker,
        ticket: Ticket,
        stop: threading.Event,
        afterwards: Afterwards,
        metadata: Mapping[str, Any],
        before: Sequence[multiframe.SeriesResult],
        live: LiveResults,
        on_frame: Callable[[multiframe.AcquiredFrame], str | None],
        ended: Callable[[str], None],
    ) -> None:
        self.results: list[multiframe.SeriesResult] = []
        self.folders = list(folders)
        self._plan, self._session, self._taker, self._ticket = plan, session, taker, ticket
        self._stop, self._afterwards, self._metadata = stop, afterwards, metadata
        self._before, self._live, self._on_frame, self._ended = before, live, on_frame, ended
        self._thread = threading.Thread(target=self._run, name="esteem-multiframe", daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the end."""
        self._thread.join(timeout_s)

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    @property
    def to_save(self) -> tuple[multiframe.SeriesResult, ...]:
        """Results of this run, and those of the runs before whose last frame the disk has not taken yet."""
        tried = {result.folder.path for result in self.results}
        left = [r for r in self._before if r.unsaved is not None and r.folder.path not in tried]
        return (*self.results, *left)

    def abort(self) -> None:
        """Stop at once; the frame in progress is given up, those before stay. Returns immediately."""
        self._stop.set()
        threading.Thread(target=self._taker.abort, name="esteem-abort", daemon=True).start()

    def _run(self) -> None:
        try:
            message = self._acquire()
        except Exception as error:
            message = f"Error: {sentence(error)}"
            if stored := sum(result.frames for result in self.results):
                message += f"; frames of areas before that are safe: {stored:,}"
        finally:
            self._ticket.release()
        self._ended("; ".join([message, *self._after(message)]))

    def _acquire(self) -> str:
        areas = self._plan.areas
        with acquiring(self._ticket, self._taker.instrument), self._taker.enabled():
            for number, area in enumerate(areas):
                if number >= len(self.folders):
                    self.folders.append(self._session.new_region())
                folder = self.folders[number]
                found = {**self._metadata, "area": number, "areas": len(areas)}
                result = multiframe.acquire_series(
                    self._plan,
                    folder,
                    self._take,
                    region=area,
                    on_frame=self._on_frame,
                    where=self._live.where(area),
                    cancel=self._stop,
                    metadata=found,
                    rest=self._rest(folder),
                )
                self.results.append(result)
                if result.is_failure or self._stop.is_set():
                    break
        if len(areas) == 1 or not self.results:
            return self.results[0].summary
        stored = sum(result.frames for result in self.results)
        return f"{self.results[-1].summary}; {stored:,} frames of {len(self.results)} areas in all"

    def _take(self, request: multiframe.FrameRequest) -> Mapping[str, Any]:
        """Acquire a frame if the budget has room for it."""
        instrument = self._taker.instrument
        exceeded = self._plan.next_exceeded(instrument.ledger, request.region)
        if exceeded and not instrument.is_budget_overridden:
            raise CancelledError(f"The budget is used up ({'; '.join(exceeded)})")
        return self._taker.take(request)

    def _rest(self, folder: multiframe.RegionFolder) -> multiframe.UnsavedFrame | None:
        """Return the frame of a region that the disk did not take in the last run."""
        return next((result.unsaved for result in self._before if result.folder.path == folder.path), None)

    def _after(self, message: str) -> list[str]:
        """Do what was asked for, and return what went wrong with it and what was done."""
        wanted, said = self._afterwards, list[str]()
        if wanted.drop_magnification:
            try:
                said.append(self._drop_magnification())
            except Exception as error:
                said.append(f"the magnification was not dropped ({sentence(error)})")
        try:
            problem = self._live.finish(self._stop)
        except Exception as error:
            problem = sentence(error)
        if problem and problem not in message:
            said.append(f"live results failed ({problem})")
        if wanted.script is not None:
            said.append(multiframe.run_script(wanted.script, self.results) or f"{wanted.script.name} has run")
        if wanted.mail is not None:
            text = "\n".join([message, *said, "", *multiframe.figures_in_words(self._plan)])
            problem = multiframe.send_mail(wanted.mail, f"Series {self.folders[0].path.name}: {message[:60]}", text)
            said.append(problem or f"mail sent to {wanted.mail.to}")
        return said

    def _drop_magnification(self) -> str:
        source: Any = self._taker.source
        parameters = whole(source.get_current_frame_parameters())
        most = source.scan_device.calculate_max_field_of_view(parameters)
        before = parameters.fov_nm
        parameters.fov_nm = min(before * DROP, most)
        source.set_current_frame_parameters(parameters)
        return f"magnification dropped {parameters.fov_nm / before:,.4g} times"
