"""The results of a command as they are shown first, and the window with its parameters, progress and Stop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nion.swift import ComputationPanel, Inspector
from nion.swift.model import DataItem, Symbolic
from nion.ui import Declarative
from nion.utils import Model

from nionswift_plugin.esteem_process.parameter_rows import Row
from nionswift_plugin.esteem_scan.event_loop import UserInterfaceCalls

WIDTH = 520

TYPED = (
    Symbolic.ComputationVariableType.REAL,
    Symbolic.ComputationVariableType.INTEGRAL,
    Symbolic.ComputationVariableType.STRING,
    Symbolic.ComputationVariableType.BOOLEAN,
)
"""Types of parameters that are typed or ticked; the others are data items and graphics."""


def open_results(window: Any, computation: Symbolic.Computation, items: Iterable[DataItem.DataItem]) -> None:
    """Show what a computation will fill where places are empty, the first one first, and its parameters.

    The first one is selected.
    """
    model = window.document_model
    displays = [model.get_display_item_for_data_item(item) for item in items]
    for display in displays:
        window.show_display_item(display, request_focus=display is displays[0])
    window.select_display_items_in_data_panel(displays[:1])
    ParametersWindow(window, computation)


class ParametersWindow(Declarative.WindowHandler):
    """Change the parameters of a computation, see how far it is, and stop it.

    Nion's own window of this kind has all results beside the parameters as well, more than fit on a screen.

    Parameters
    ----------
    document_controller
        Nion's window.
    computation : Computation
        When it is removed, the window closes.

    Attributes
    ----------
    is_open : bool
    status : PropertyModel of str
        How far it is, or what went wrong.
    rows : dict of str to Row
        What numbers, texts and choices are typed into, by the names of the parameters.
    """

    def __init__(self, document_controller: Any, computation: Symbolic.Computation) -> None:
        super().__init__()
        self.computation, self.is_open = computation, True
        self._context = Inspector.ComputationInspectorContext(document_controller, document_controller, False)
        self._calls = UserInterfaceCalls(document_controller.event_loop)
        self.status, self.color = Model.PropertyModel(""), Model.PropertyModel("black")
        self.rows: dict[str, Row] = {}
        self.progress, self.is_running = Model.PropertyModel(0), Model.PropertyModel(False)
        self._listeners: list[Any] = [
            computation.property_changed_event.listen(lambda name: self._calls.newest("state", self._show_state)),
            computation.about_to_be_removed_event.listen(self.close_window),
        ]
        self.run(_view(computation), parent_window=document_controller, window_style="tool")
        self._show_state()

    def close(self) -> None:
        """Listen no more; Nion Swift calls this when the window closes."""
        self.is_open = False
        self._listeners.clear()
        self._calls.close()
        super().close()

    def stop_clicked(self, widget: Any) -> None:
        """Stop what goes on."""
        self.computation.stop()

    def update_clicked(self, widget: Any) -> None:
        """Compute again, unless there is nonsense in a field."""
        if self._complaint():
            self._show_state()
            return
        self.computation.needs_update = True
        self._context.document_model._start_computation(self.computation)

    def create_handler(self, component_id: str, container: Any = None, item: Any = None, **kwargs: Any) -> Any:
        """Return what a parameter is edited with."""
        (variable,) = (each for each in self.computation.variables if each.name == component_id)
        if variable.variable_type not in TYPED:
            return ComputationPanel.VariableHandler(self._context, self.computation, variable)
        row = Row(self._context.window, self.computation, variable, self._calls, self._show_state)
        self.rows[variable.name] = row
        return row

    def _complaint(self) -> str:
        return next((row.complaint for row in self.rows.values() if row.complaint), "")

    def _show_state(self) -> None:
        computation, complaint = self.computation, self._complaint()
        progress = computation.progress
        self.is_running.value = progress is not None
        self.progress.value = round(100 * (progress or 0.0))
        words = f"Error: {complaint}" if complaint else _state(computation)
        self.color.value = "red" if words.startswith("Error") else "black"
        self.status.value = words


def _state(computation: Symbolic.Computation) -> str:
    """Return how far a computation is, in words."""
    status, took = computation.last_computed_status, computation.last_computed_elapsed_time
    if computation.progress is not None:
        return "Computing"
    if computation.needs_update:  # whatever went wrong before
        return "Waiting" if computation.auto_update else "Changed; press Update"
    if computation.error_text:
        return f"Error: {computation.error_text}"
    if status == Symbolic.ComputationResultStatusEnum.CANCELLED:
        return "Stopped"
    if status == Symbolic.ComputationResultStatusEnum.PENDING or took is None:
        return "Waiting"
    return f"Done in {took:.3g} s"


def _view(computation: Symbolic.Computation) -> Any:
    u = Declarative.DeclarativeUI()
    variables = [u.create_component_instance(variable.name) for variable in computation.variables]
    status = u.create_label(
        text="@binding(status.value)", color="@binding(color.value)", name="status_label", width=WIDTH, word_wrap=True
    )
    controls = u.create_row(
        u.create_progress_bar(value="@binding(progress.value)", width=150, name="progress_bar"),
        u.create_push_button(
            text="Stop", on_clicked="stop_clicked", name="stop_button", enabled="@binding(is_running.value)"
        ),
        u.create_push_button(text="Update", on_clicked="update_clicked", name="update_button"),
        u.create_check_box(text="Auto Update", checked="@binding(computation.auto_update)", name="auto_box"),
        u.create_stretch(),
        spacing=6,
    )
    divider = u.create_divider(orientation="horizontal")
    content = u.create_column(*variables, divider, status, controls, u.create_stretch(), spacing=8, margin=8)
    return u.create_window(content, title=f"{computation.label}: Parameters")
