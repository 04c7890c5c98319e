"""What the launcher of Nion Swift starts for ``esteem swift PROJECT``: Nion Swift, with that project open."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from nion.swift import Application, DocumentController, Facade
from nion.swift.model import Profile
from nion.ui import Application as UserInterface

_logger = logging.getLogger("esteem_sim")


class SwiftWithProject(Application.Application):
    """Nion Swift, which opens a project where it would open the last one or ask for one.

    The project is entered into the user's profile as Nion's own "Open Project" does it.

    Parameters
    ----------
    ui : UserInterface
    project : Path
        The ``*.nsproj``.
    """

    def __init__(self, ui: Any, project: Path) -> None:
        super().__init__(ui)
        self._project: Path | None = project

    def open_project_window(
        self, project_reference: Profile.ProjectReference, update_last_project_reference: bool = True
    ) -> DocumentController.DocumentController:
        """Open the wanted project instead of the first that Nion wants to open."""
        return super().open_project_window(self._wanted() or project_reference, update_last_project_reference)

    def show_choose_project_dialog(self) -> None:
        """Open the wanted project instead of asking for one at the start."""
        wanted = self._wanted()
        if wanted is not None:
            self.open_project_reference(wanted)
        else:
            super().show_choose_project_dialog()

    def _wanted(self) -> Profile.ProjectReference | None:
        """Return the wanted project, once."""
        project, self._project = self._project, None
        if project is None:
            return None
        try:
            return self.profile.add_project_index(project, load=False)
        except Exception:
            _logger.exception("%s cannot be opened", project)
            return None


def main(args: list[Any], bootstrap_args: dict[str, Any]) -> Application.Application:
    """Return the application; the launcher calls this, as it calls ``nionui_app.nionswift``.

    Parameters
    ----------
    args : list
        Launcher, Python's prefix, this module, the project.
    bootstrap_args : dict
        The launcher's side of the user interface.
    """
    warnings.simplefilter("always", RuntimeWarning)
    Facade.initialize()
    app = SwiftWithProject(UserInterface.make_ui(bootstrap_args), Path(args[3]))
    app.initialize(use_root_dir=False)
    Facade.start_server()
    return app
