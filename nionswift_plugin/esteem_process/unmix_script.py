"""A script and its data that repeat an unmixing of Nion Swift outside of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore import io
from esteemcore.errors import ParameterError
from esteemcore.events import SparseSI
from nionswift_plugin.esteem_process import container_files, linked_items, spectra_items

CHOSEN = ("method", "seed", "noise", "gain", "readout_sigma")
"""Parameters that go into the call as they are."""

_COUNT = """from esteemcore.cli import unmix_number

rank = spectral.estimate_rank(spectra, mask=mask, {words})
print(rank.reason)
n = unmix_number.number_of(rank)
if not n:
    raise SystemExit("say how many components there are")"""

_SCRIPT = '''"""{title}: components, as Nion Swift showed them.

Needs nionswift-esteem; writes {result} beside this file.
"""

from pathlib import Path

import numpy as np

from esteemcore import io, spectral

here = Path(__file__).parent
dataset = io.load(here / "{container}")
signal = dataset.signals["spectra"]
spectra = signal.data.load() if signal.kind == "events" else np.asarray(signal.data)
mask = {mask}

{number}
{call}

for k, spectrum in enumerate(result.spectra):
    print(k, "strongest at", signal.axes[2].coordinates[spectrum.argmax()], signal.axes[2].unit)
for note in result.notes:
    print(note)
np.savez(
    here / "{result}",
    spectra=result.spectra,
    abundances=result.abundances,
    residual=result.residual,
    **({{}} if result.uncertainty.spectra is None else {{
        "spectra_sigma": result.uncertainty.spectra,
        "abundances_sigma": result.uncertainty.abundances,
    }}),
)
'''


def save(path: Path, title: str, given: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write a script, and the spectra and the mask that it works on as a container beside it.

    Parameters
    ----------
    path : Path
        Of the script, ``*.py``. The container is called as it is, ``*.esteem``.
    title : str
        Of the spectrum image.
    given : mapping
        Inputs and parameters of the computation `computations.unmix_image`.

    Returns
    -------
    (Path, Path)
        Script and container.

    Raises
    ------
    ParameterError
        If there is something already, or the inputs are no spectrum image and mask of it.
    """
    path = container_files.named(path, ".py")
    container = path.with_suffix(container_files.FOLDER)
    for there in (path, container):
        if there.exists():
            raise ParameterError(f"{there} exists already; choose another name")
    data, axes = spectra_items.spectra_of(given["src"].xdata)
    mask = spectra_items.mask_of(given, (axes[0].size, axes[1].size))
    kind = "events" if isinstance(data, SparseSI) else "dense"
    signals = {"spectra": io.Signal(data, axes, kind=kind)}
    if mask is not None:
        signals["mask"] = io.Signal(mask.astype(np.uint8), axes[:2])
    function = "uncertainty" if given.get("uncertainty") else "unmix"
    given = {"noise": "auto"} | dict(given)  # which older projects lack
    words = ", ".join(f"{name}={given[name]!r}" for name in CHOSEN)
    noise = ", ".join(f"{name}={given[name]!r}" for name in CHOSEN if name != "method")
    call = f"found = spectral.{function}(spectra, n, mask=mask, {words})\n"
    call += "result = found.result" if given.get("uncertainty") else "result = found"
    text = _SCRIPT.format(
        title=title.replace("\\", "/").replace('"', "'"),
        result=f"{path.stem}_result.npz",
        container=container.name,
        mask="None" if mask is None else 'np.asarray(dataset.signals["mask"].data) > 0',
        number=f"n = {given['components']}" if given["components"] else _COUNT.format(words=noise),
        call=call,
    )
    io.save(container, io.Dataset(signals))
    path.write_text(text, encoding="utf-8")
    return path, container


def inputs_of(computation: Any) -> dict[str, Any]:
    """Return inputs and parameters of a computation outside of its run.

    Raises
    ------
    ParameterError
        If a parameter has no value.
    """
    found: dict[str, Any] = {}
    for variable in computation.variables:
        if variable.value_type is not None:
            found[variable.name] = linked_items.value_of(variable)
            continue
        bound = variable.bound_item
        value = None if bound is None else bound.value
        if variable.name in ("src", "mask") and value is not None:
            item = getattr(value, "data_item", value)
            value = linked_items.Source(item.title, item.xdata)
        found[variable.name] = value
    return found
