"""The command ``esteem``: one registry, one file per command, imported when it is called.

A command is a module with ``add_arguments(parser)`` and ``run(arguments) -> int`` (the exit code), named in `COMMANDS`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from esteemcore import __version__
from esteemcore.errors import EsteemError

COMMANDS = {
    "classify": "divide a 4D-STEM scan into grains and amorphous phases, and write a report",
    "compress": "write any file into a small container and compare every value",
    "convert": "write a file for another program, or a container",
    "demo": "take a simulated low-dose one-bit 4D-STEM scan in Nion Swift and watch its phase form",
    "info": "print what a file holds and what it costs",
    "live": "replay the frames of a file through the live chain",
    "multiframe": "align a series of frames, sum it, map elements, and write a report",
    "reproduce": "make recorded images again from the raw frames and compare them",
    "restore": "write a container with plain arrays, which any Zarr library reads",
    "show": "print and picture what a file holds",
    "swift": "start Nion Swift, with a project of choice open",
    "unmix": "find the components of a spectrum image and where they are, and write a report",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name. Default: those of the process.

    Returns
    -------
    int
        0 when all went well, 2 for wrong arguments or an error in words on stderr, 130 when interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="esteem", description="Just-enough-data STEM.")
    parser.add_argument("--version", action="version", version=f"esteem {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    called = next((a for a in arguments if not a.startswith("-")), None)
    parsers = {
        name: commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        for name, text in COMMANDS.items()
    }
    try:
        if called in parsers:
            module = importlib.import_module(f"esteemcore.cli.{called}")
            module.add_arguments(parsers[called])
            parsers[called].set_defaults(run=module.run)
        parsed = parser.parse_args(arguments)
        code: int = parsed.run(parsed)
    except EsteemError as error:
        print(f"esteem {called}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"esteem {called}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"esteem {called}: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    return code
