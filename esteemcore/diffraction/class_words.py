"""What is said about classes: why there are so many, and what is doubtful."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from esteemcore.diffraction.grains import Grouping
from esteemcore.diffraction.order import ENOUGH, Curve
from esteemcore.diffraction.patterns import Binned


def reason(curve: Curve, grouping: Grouping, asked: int | None) -> str:
    """Say why there are so many classes."""
    n = grouping.n
    more = " or more" if curve.best == curve.components[-1] > 1 else ""
    text = f"half of the electrons tell {curve.best}{more} patterns apart, judged by the other half"
    if curve.best == 1:
        text = "half of the electrons do not tell patterns apart, judged by the other half"
    k = len(grouping.of)
    text += f"; {k} component{'s make' if k != 1 else ' makes'} {n} class{'es' if n > 1 else ''}"
    if k > n:
        text += f", those of one class at least {grouping.loosest:.0%} alike in their reflections or halo"
    if n > 1:
        text += f", two classes at most {grouping.closest:.0%} alike"
    if grouping.mixed:
        text += f"; {grouping.mixed} more {'were' if grouping.mixed > 1 else 'was'} two classes at once"
    if grouping.thin:
        text += f"; {grouping.thin} more {'were borders' if grouping.thin > 1 else 'was a border'} or a few positions"
    return text if asked is None else f"{asked} asked for; {text}"


def notes(data: Binned, grouping: Grouping, asked: int | None, second_way: bool, agreement: float) -> list[str]:
    """Say what is doubtful about the data or the classes."""
    text = []
    electrons = data.total() / max(int((~data.empty).sum()), 1)
    if electrons < 10:
        text.append(f"only {electrons:.1f} electrons per frame lie outside the beam: classes rest on their neighbours")
    if len(data.counts) < 4 * ENOUGH:
        few = "one position is" if len(data.counts) == 1 else f"{len(data.counts)} positions are"
        text.append(f"{few} too few to tell classes apart by themselves")
    if asked is not None and grouping.n < asked:
        text.append(f"{asked} classes were asked for, but no more than {grouping.n} could be told apart")
    if second_way and math.isnan(agreement):
        text.append("there are too few Bragg disks to check the classes by them")
    elif second_way and agreement < 0.7:
        text.append(f"the Bragg disks give other classes (adjusted Rand index {agreement:.2f}): look at both maps")
    return text


def without_class(empty: NDArray[np.bool_], foreign: NDArray[np.bool_], beam: NDArray[np.bool_]) -> tuple[str, ...]:
    """Say how many positions have no class, and why."""
    text = []
    if empty.any():
        text.append(f"{int(empty.sum())} of {len(empty)} frames are empty outside the beam: their label is -1")
    if beam.any():
        text.append(
            f"{int(beam.sum())} of {len(beam)} positions have less than a tenth of the counts of their class outside "
            "the beam, as in vacuum: their label is -1"
        )
    if foreign.any():
        text.append(
            f"{int(foreign.sum())} of {len(foreign)} positions look like none of the classes, too few of a kind to be "
            "one: their label is -1"
        )
    return tuple(text)
