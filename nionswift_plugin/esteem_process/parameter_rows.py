"""A row of the window with the parameters of a computation: what is typed is checked, and can be undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nion.swift import Undo
from nion.swift.model import Symbolic
from nion.ui import Declarative
from nion.utils import Model

from nionswift_plugin.esteem_scan.converters import NumberConverter, WholeConverter
from nionswift_plugin.esteem_scan.event_loop import UserInterfaceCalls

LABEL = 180
"""Width of the labels at the left."""

BEHIND = 340
"""Width of a field with its unit or hint."""

FIELD = {
    Symbolic.ComputationVariableType.REAL: 80,
    Symbolic.ComputationVariableType.INTEGRAL: 80,
    Symbolic.ComputationVariableType.STRING: 130,
}
"""Width of the field by what is typed."""

_CONVERTERS: dict[Any, tuple[Any, str]] = {
    Symbolic.ComputationVariableType.REAL: (NumberConverter(), "a number"),
    Symbolic.ComputationVariableType.INTEGRAL: (WholeConverter(), "a whole number"),
}


class Row(Declarative.Handler):
    """A number, a text or a choice that is typed; what is no number does not reach the computation.

    Parameters
    ----------
    document_controller
        Nion's window.
    computation : Computation
    variable : ComputationVariable
    calls : UserInterfaceCalls
        Of the window that the row is in.
    changed : callable
        Is called when there is or is no longer something to complain of.

    Attributes
    ----------
    shown : PropertyModel of str or bool
        What is in the field.
    complaint : str
        What is wrong with what was typed; empty where nothing is.
    """

    def __init__(
        self,
        document_controller: Any,
        computation: Symbolic.Computation,
        variable: Symbolic.ComputationVariable,
        calls: UserInterfaceCalls,
        changed: Callable[[], None],
    ) -> None:
        super().__init__()
        self._window, self._computation = document_controller, computation
        self._variable, self._changed = variable, changed
        kind: Any = variable.variable_type
        self._converter, self._must_be = _CONVERTERS.get(kind, (None, ""))
        self._label, _, hint = variable.display_label.partition(" (")
        self._value = variable.value
        self.shown: Model.PropertyModel[Any] = Model.PropertyModel(self._in_field())
        self.complaint = self._complaint(self._value)
        self.shown.on_value_changed = self._typed
        self._listener: Any = variable.property_changed_event.listen(
            lambda name: calls.newest(f"row {variable.name}", self._show) if name == "value" else None
        )
        u = Declarative.DeclarativeUI()
        if kind == Symbolic.ComputationVariableType.BOOLEAN:
            field = [u.create_check_box(text=variable.display_label, checked="@binding(shown.value)", name="check_box")]
        else:
            field = [
                u.create_label(text=self._label, width=LABEL, word_wrap=True),
                u.create_line_edit(text="@binding(shown.value)", name="edit", width=FIELD[kind]),
                u.create_label(text=hint.removesuffix(")"), width=BEHIND - FIELD[kind], word_wrap=True),
            ]
        self.ui_view = u.create_row(*field, u.create_stretch(), spacing=6)

    def close(self) -> None:
        """Listen no more."""
        self.shown.on_value_changed = None
        self._listener = None
        super().close()

    def _in_field(self) -> Any:
        return self._converter.convert(self._value) if self._converter else self._value

    def _complaint(self, value: Any) -> str:
        return f"{self._label} must be {self._must_be}" if self._converter and value is None else ""

    def _typed(self, shown: Any) -> None:
        value = self._converter.convert_back(shown) if self._converter else shown
        self.complaint = self._complaint(value)
        if not self.complaint:
            if value != self._variable.value:
                command = ChangeValue(self._window.document_model, self._computation, self._variable, value)
                command.perform()
                self._window.push_undo_command(command)
            self._put(value)
        self._changed()

    def _show(self) -> None:
        """Show a value that was changed elsewhere, or by undo."""
        if self._variable.value != self._value:
            self._put(self._variable.value)
            self.complaint = self._complaint(self._value)
            self._changed()

    def _put(self, value: Any) -> None:
        self._value = value
        typed, self.shown.on_value_changed = self.shown.on_value_changed, None
        self.shown.value = self._in_field()
        self.shown.on_value_changed = typed


class ChangeValue(Undo.UndoableCommand):
    """Change the value of a parameter and back.

    Nion's own command of this kind takes a plain number from its computation for good when it is undone.

    Parameters
    ----------
    document_model
        Nion's.
    computation : Computation
    variable : ComputationVariable
    value
        The new one.
    """

    def __init__(
        self,
        document_model: Any,
        computation: Symbolic.Computation,
        variable: Symbolic.ComputationVariable,
        value: Any,
    ) -> None:
        super().__init__(f"Change {variable.display_label.partition(' (')[0]}")
        self._model, self._computation = document_model, computation.create_proxy()
        self._name, self._other = variable.name, value
        self.initialize()

    def close(self) -> None:
        """Let go of the computation."""
        self._computation.close()
        super().close()

    def _perform(self) -> None:
        variable = self._variable()
        if variable is not None:
            variable.value, self._other = self._other, variable.value

    def _undo(self) -> None:
        self._perform()

    def _variable(self) -> Any:
        """Return the parameter; None where the computation was removed."""
        computation = self._computation.item
        return next((v for v in computation.variables if v.name == self._name), None) if computation else None

    def _get_modified_state(self) -> Any:
        variable = self._variable()
        return None if variable is None else variable.modified_state, self._model.modified_state

    def _set_modified_state(self, modified_state: Any) -> None:
        variable = self._variable()
        if variable is not None:
            variable.modified_state = modified_state[0]
        self._model.modified_state = modified_state[1]

    def _compare_modified_states(self, state1: Any, state2: Any) -> bool:
        return bool(state1[0] == state2[0])
