"""The window that says how far an import is, and stops it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nion.swift import Application
from nion.ui import Declarative
from nion.utils import Model

from nionswift_plugin.esteem_process import notices
from nionswift_plugin.esteem_process.import_job import ImportJob
from nionswift_plugin.esteem_process.project_item import ProjectItem
from nionswift_plugin.esteem_scan.event_loop import UserInterfaceCalls

TITLE = "Import from Container"
WIDTH = 360
WAIT_S = 5.0
"""How long Nion Swift waits for the thread when the window closes, in s."""


class ImportWindow(Declarative.WindowHandler):
    """Import in a thread; the window closes by itself when the data items are there.

    Parameters
    ----------
    document_controller
        Nion's window.
    name : str
        Name of the container.
    items : sequence of ProjectItem
        What will be imported; from here on they belong to this window.
    adopt : callable
        Called on the thread of the user interface with the storage handlers of the whole data items.
    """

    def __init__(
        self,
        document_controller: Any,
        name: str,
        items: Sequence[ProjectItem],
        adopt: Callable[[list[Any]], None],
    ) -> None:
        super().__init__()
        self._name, self._adopt = name, adopt
        self._calls = UserInterfaceCalls(document_controller.event_loop)
        size = sum(item.nbytes for item in items)
        self.message = Model.PropertyModel(f"Importing {name}, {size / 1e6:,.0f} MB")
        self.progress = Model.PropertyModel(0)
        self.is_running = Model.PropertyModel(True)
        self._job = ImportJob(
            name, items, self._progressed, lambda problem: self._calls.later(lambda: self._end(problem))
        )
        self.run(_view(), parent_window=document_controller, window_style="tool")
        self._job.start()

    def close(self) -> None:
        """Stop what goes on; Nion Swift calls this when the window closes."""
        self._calls.close()
        self._job.close(WAIT_S)
        super().close()

    def stop_clicked(self, widget: Any) -> None:
        """Stop; nothing is left in the project."""
        self.is_running.value = False
        self.message.value = f"Stopping; nothing of {self._name} stays in the project"
        self._job.cancel()

    def _progressed(self, done: float) -> None:
        self._calls.newest("progress", lambda: setattr(self.progress, "value", round(100 * done)))

    def _end(self, problem: str | None) -> None:
        if problem is None:
            self._adopt(self._job.take())
        elif problem:
            notices.tell(self._name, problem)
        self.close_window()


def window_of(storage: Any) -> Any:
    """Return Nion's window that shows the project with this storage; None where there is none, as in scripts."""
    for window in open_windows():
        model = getattr(window, "document_model", None)
        if model is not None and model._project.project_storage_system is storage:
            return window
    return None


def open_windows() -> list[Any]:
    """Return the windows of Nion Swift."""
    return [] if Application.app is None else list(Application.app.windows)


def _view() -> Any:
    u = Declarative.DeclarativeUI()
    message = u.create_label(text="@binding(message.value)", name="message_label", width=WIDTH, word_wrap=True)
    controls = u.create_row(
        u.create_progress_bar(value="@binding(progress.value)", width=WIDTH - 90, name="progress_bar"),
        u.create_stretch(),
        u.create_push_button(
            text="Stop", on_clicked="stop_clicked", name="stop_button", enabled="@binding(is_running.value)"
        ),
        spacing=6,
    )
    return u.create_window(u.create_column(message, controls, spacing=6, margin=8), title=TITLE)
