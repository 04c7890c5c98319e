"""``esteem swift [PROJECT]``: start Nion Swift, with a project of choice open."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from esteemcore.errors import DependencyError, ParameterError

SUFFIX = ".nsproj"
PLAIN, WITH_PROJECT = "nionui_app.nionswift", "esteem_sim.swift_app"
"""Modules that the launcher of Nion Swift starts: its own, and ours, which opens a project."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "project",
        type=Path,
        nargs="?",
        metavar="PROJECT",
        help=f"a project (*{SUFFIX}) to open, or a folder with one; default: as Nion Swift was left",
    )


def run(arguments: argparse.Namespace) -> int:
    """Start Nion Swift, wait for its end, and return its exit code."""
    project = None if arguments.project is None else find_project(arguments.project)
    line = command(project)
    print(f"Starting Nion Swift{'' if project is None else f' with {project}'}", flush=True)
    code = subprocess.call(line, env=environment(os.environ))
    return code if code >= 0 else 128 - code  # ended by a signal: as shells say it


def find_project(path: Path) -> Path:
    """Return the absolute path of the project that is meant.

    Parameters
    ----------
    path : Path
        A project, or a folder with exactly one.

    Raises
    ------
    ParameterError
        If there is none, or several, or it is something else.
    """
    if path.is_dir():
        found = sorted(path.glob(f"*{SUFFIX}"))
        if len(found) != 1:
            names = f"several projects ({', '.join(p.name for p in found)}); name one" if found else "no project"
            raise ParameterError(f"the folder {path} holds {names}")
        path = found[0]
    if path.suffix != SUFFIX:
        raise ParameterError(f"{path} is no project of Nion Swift; expected a file *{SUFFIX}")
    if not path.is_file():
        raise ParameterError(f"the project {path} does not exist")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ParameterError(f"{path} is no project of Nion Swift; its content is not JSON ({error})") from error
    if not isinstance(content, dict) or "version" not in content:
        raise ParameterError(f"{path} is no project of Nion Swift; it has no version")
    return path.resolve()


def command(project: Path | None) -> list[str]:
    """Return the command that starts Nion Swift in this Python environment.

    Parameters
    ----------
    project : Path or None
        What to open.

    Raises
    ------
    DependencyError
        If nionswift-tool, the launcher of Nion Swift, is not installed.
    """
    try:
        importlib.metadata.version("nionswift-tool")
    except importlib.metadata.PackageNotFoundError as error:
        raise DependencyError("nionswift-tool", "app") from error
    program = launcher(sys.platform, Path(sys.exec_prefix))
    if not program.exists():
        raise DependencyError(f"the launcher of nionswift-tool ({program})", "app")
    module = [PLAIN] if project is None else [WITH_PROJECT, str(project)]
    return [str(program), sys.prefix, *module]


def launcher(platform: str, prefix: Path) -> Path:
    """Return where nionswift-tool puts its launcher.

    The same rule is in ``nion.nionswift_tool.command``, which keeps the exit code to itself.

    Parameters
    ----------
    platform : str
        As `sys.platform` names it.
    prefix : Path
        `sys.exec_prefix`.
    """
    if platform == "darwin":
        return prefix / "bin" / "Nion Swift.app" / "Contents" / "MacOS" / "Nion Swift"
    if platform == "win32":
        return prefix / "Scripts" / "NionSwiftLauncher" / "NionSwift.exe"
    return prefix / "bin" / "NionSwiftLauncher" / "NionSwiftLauncher"


def environment(present: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of Nion Swift: on Linux the launcher must find the library of a shared Python.

    Parameters
    ----------
    present : mapping
        The environment now.
    """
    changed = dict(present)
    folder = sysconfig.get_config_var("LIBDIR")
    if sys.platform == "linux" and sysconfig.get_config_var("Py_ENABLE_SHARED") and folder:
        paths = [folder, *filter(None, [present.get("LD_LIBRARY_PATH")])]
        changed["LD_LIBRARY_PATH"] = os.pathsep.join(paths)
    return changed
