"""Which signal a typed map is of: the one that was typed with it, or the first whose energies hold its windows."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from esteemcore import io
from esteemcore._core.errors import ParameterError
from esteemcore.multiframe.maps import ElementMap
from esteemcore.multiframe.typed_maps import maps_from_words

_AT = re.compile(r"([^:@\s]+)@([^:@\s]+)(:\S*)")


def maps_by_signal(text: str, signals: Mapping[str, io.SeriesSignal]) -> dict[str, tuple[ElementMap, ...]]:
    """Return element maps as a user types them, by the signal they are measured in.

    As `maps_from_words`, and after the name perhaps ``@SIGNAL``: the signal, or a part of its name that no other has,
    capitals or not. Without it a map belongs to the first signal on whose energy axis all its windows lie.

    Parameters
    ----------
    text : str
    signals : mapping of str to SeriesSignal
        Of spectra, in the order in which they are asked.

    Returns
    -------
    dict of str to tuple of ElementMap
        Signals without maps are left out.

    Raises
    ------
    ParameterError
        If no signal fits, or several do.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import io, multiframe
    >>> def spectra(*axis):
    ...     axes = (io.Axis("y", 4, 1.0, 0.0, "nm"), io.Axis("x", 4, 1.0, 0.0, "nm"), io.Axis("energy", *axis))
    ...     return io.SeriesSignal((4, 4, axis[0]), np.float32, axes)
    >>> signals = {"EELS": spectra(1024, 1.0, 300.0, "eV"), "EDS": spectra(2048, 0.01, 0.0, "keV")}
    >>> found = multiframe.maps_by_signal("Ti:455-475:380-450 Ni:7300-7650 O@eds:500-550", signals)
    >>> {signal: [element.name for element in maps] for signal, maps in found.items()}
    {'EELS': ['Ti'], 'EDS': ['Ni', 'O']}
    """
    found: dict[str, list[ElementMap]] = {name: [] for name in signals}
    for word in text.split():
        match = _AT.fullmatch(word)
        (element,) = maps_from_words(match[1] + match[3] if match else word)
        found[_named(match[2], signals) if match else _holding(element, signals)].append(element)
    return {name: tuple(maps) for name, maps in found.items() if maps}


def _named(part: str, signals: Mapping[str, io.SeriesSignal]) -> str:
    names = [part] if part in signals else [name for name in signals if part.lower() in name.lower()]
    if len(names) != 1:
        there = ", ".join(signals) or "none"
        raise ParameterError(f"'@{part}' fits {' and '.join(names) or 'no signal'}; the spectra are {there}")
    return names[0]


def _holding(element: ElementMap, signals: Mapping[str, io.SeriesSignal]) -> str:
    """Return the first signal that has all windows; where none has, the first, which then says what it lacks."""
    if not signals:
        raise ParameterError("maps need spectra; record an EELS camera or an X-ray detector")
    return next((name for name, signal in signals.items() if _holds(signal, element)), next(iter(signals)))


def _holds(signal: io.SeriesSignal, element: ElementMap) -> bool:
    axis = signal.axes[-1] if signal.axes is not None else None
    if axis is None or axis.unit not in ("eV", "keV"):
        return False
    ends = sorted(axis.coordinates[[0, -1]] * (1000.0 if axis.unit == "keV" else 1.0))
    windows = np.reshape([*element.window_ev, *np.ravel(element.background_ev or ())], (-1, 2))
    return bool((windows[:, 0] >= ends[0]).all() and (windows[:, 1] <= ends[1]).all())
