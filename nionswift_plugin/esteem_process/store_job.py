"""Writing a container in a thread, and reading it back before anything is said about it."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nion.swift.model import Activity, DataItem

from esteemcore import io
from esteemcore.errors import CancelledError, EsteemError, StreamError
from esteemcore.io.compare import compare
from nionswift_plugin.esteem_process import container_files

WRITING = 0.8
"""Part of the time that writing takes, before what was written is read back."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes
    ----------
    info : Info or None
        Summary of the container; None when there is none.
    message : str
        In words.
    """

    info: io.Info | None
    message: str


class DataReferences:
    """Keeps data of data items from being unloaded or moved away; from any thread.

    Parameters
    ----------
    items : iterable of DataItem
    """

    def __init__(self, items: Iterable[DataItem.DataItem]) -> None:
        self._items: list[DataItem.DataItem] = []
        for item in items:
            item.increment_data_ref_count()
            self._items.append(item)

    def release(self) -> None:
        """Need them no more."""
        while self._items:
            self._items.pop().decrement_data_ref_count()


class StoreJob:
    """Write a data set to a container.

    Parameters
    ----------
    path : Path
        See `container_files.write`.
    dataset : Dataset
    codec : callable
        Returns what `esteemcore.io.save` takes; called in the thread, because it may read spectra.
    progress : callable
        Called from the thread with the fraction done.
    ended : callable
        Called from the thread with the `Outcome`, once.
    held : DataReferences
        Data that are needed until then; released from the thread, also when nobody waits for it any more.
    """

    def __init__(
        self,
        path: Path,
        dataset: io.Dataset,
        codec: Callable[[], Mapping[str, Any]],
        progress: Callable[[float], None],
        ended: Callable[[Outcome], None],
        held: DataReferences,
    ) -> None:
        self._path, self._dataset, self._codec, self._held = path, dataset, codec, held
        self._progress, self._ended = progress, ended
        self._cancel = threading.Event()
        self._thread = threading.Thread(target=self._run, name="esteem-store", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop soon; nothing is left on the disk."""
        self._cancel.set()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the end, at most so long."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        activity = Activity.Activity("esteem_store", f"Storing {self._path.name}")
        Activity.append_activity(activity)
        try:
            outcome = self._work()
        except CancelledError:
            outcome = Outcome(None, "Stopped; nothing was written")
        except EsteemError as error:
            outcome = Outcome(None, f"Error: {error}")
        except Exception as error:
            outcome = Outcome(None, f"Error: {type(error).__name__}: {error}; nothing was changed in the project")
        finally:
            Activity.activity_finished(activity)
            self._held.release()
        self._ended(outcome)

    def _work(self) -> Outcome:
        container_files.write(
            self._path,
            self._dataset,
            codec=self._codec(),
            progress=lambda done: self._progress(WRITING * done),
            cancel=self._cancel,
        )
        with contextlib.suppress(CancelledError):
            damage = io.verify(self._path, self._reading)
            if damage:
                raise StreamError(f"{self._path} was written but cannot be read back: {damage[0]}; keep the original")
            info = io.info(self._path)
            self._compare([signal.name for signal in info.signals if not signal.lossy])
            return Outcome(info, "\n".join(describe(info)))
        return Outcome(None, f"{self._path.name} was written, but not read back: stopped before; keep the original")

    def _compare(self, names: Sequence[str]) -> None:
        """Compare every value of signals stored without loss: whoever removes the originals relies on it."""
        copy = io.load(self._path)
        for name in names:
            found = compare(self._dataset.signals[name], copy.signals[name], name, lambda count: self._reading(1.0))
            if found.different:
                raise StreamError(f"{found.describe()}; keep the original")

    def _reading(self, done: float) -> None:
        if self._cancel.is_set():
            raise CancelledError("stopped while it was read back")
        self._progress(WRITING + (1 - WRITING) * done)


def describe(info: io.Info) -> list[str]:
    """Return size, ratio and loss, line by line."""
    lines = [
        f"{Path(info.path).name}: {info.stored_bytes / 1e6:,.2f} MB for {info.raw_bytes / 1e6:,.2f} MB, "
        f"{info.ratio:,.1f} times smaller; read back and found whole"
    ]
    for signal in info.signals:
        lines.append(
            f"{signal.name}: {signal.codec}, {signal.ratio:,.1f} times smaller{'' if signal.lossy else ', no loss'}"
        )
        for loss in signal.loss[-1:] if signal.lossy else []:
            if "largest_error_sigma" in loss:
                said = f"largest error {loss['largest_error_sigma']:.3g} σ, RMS {loss['rms_error_sigma']:.3g} σ"
                lines.append(f"    {said}; in counts {loss['largest_error']:.4g} and {loss['rms_error']:.4g}")
            else:
                lines.append(f"    largest error {loss['largest_error']:.4g}, RMS {loss['rms_error']:.4g}")
            if "shift_of_mean_sigma" in loss:
                far, moved = loss["voxels_beyond_8_sigma"], loss["shift_of_mean_sigma"]
                said = f"{far:,} voxels changed by more than 8 σ"
                lines.append(f"    {said}; the mean of no channel moved by more than {moved:.2g} σ")
    return lines
