"""How data items can be stored, in the words of the window for compressing."""

from __future__ import annotations

import dataclasses
from typing import Any

from esteemcore import io
from esteemcore.errors import ParameterError
from esteemcore.io import choose_codec
from esteemcore.io.chunk_codecs import BLOCKS, BOUNDED, EVENTS, LOSSLESS, STORED, ZSTD

AUTOMATIC = "auto"
"""Blocks of channels that are chosen from the mean spectrum."""

METHODS: dict[str, str | None] = {
    title: codec
    for title, codec in {
        "Automatic, without loss": None,
        "Lossless spectra": LOSSLESS,
        "Events (whole counts), lossless": EVENTS,
        "zstd, for readers without Esteem": ZSTD,
        "Bounded error (loses noise)": BOUNDED,
        "Coarse blocks (loses noise and detail between edges)": BLOCKS,
    }.items()
    if codec is None or codec in STORED
}
"""Codecs of containers by what the user reads; None lets `esteemcore.io.save` choose."""


@dataclasses.dataclass(frozen=True)
class Loss:
    """What may be lost, as it was typed; None where it was no number.

    Attributes
    ----------
    bound_sigma : float or None
        Largest error of `BOUNDED`, in units of the noise.
    gain, readout_sigma : float or None
        Counts per electron, and readout noise in counts.
    n_components : int or None
        Principal components that `BLOCKS` keeps.
    blocks : str
        ``"auto"`` or ``start:stop:factor,...`` in the unit of the energy axis, for `BLOCKS`.
    """

    bound_sigma: float | None = 0.5
    gain: float | None = 1.0
    readout_sigma: float | None = 0.0
    n_components: int | None = 30
    blocks: str = AUTOMATIC


def codecs(codec: str | None, loss: Loss, dataset: io.Dataset) -> dict[str, Any]:
    """Return what `esteemcore.io.save` takes as ``codec``; automatic blocks of channels read a sample of the spectra.

    Raises
    ------
    ParameterError
        If a number is missing, or blocks of channels cannot be used.
    """
    check(codec, loss)
    if codec is None:
        return {}
    entry: dict[str, Any] = {"name": codec}
    if codec in (BOUNDED, BLOCKS):
        entry |= {"gain": loss.gain, "readout_sigma": loss.readout_sigma}
    if codec == BOUNDED:
        entry |= {"bound_sigma": loss.bound_sigma}
    if codec != BLOCKS:
        return dict.fromkeys(dataset.signals, entry)
    entry |= {"n_components": loss.n_components}
    return {name: {**entry, "blocks": _blocks(name, signal, loss.blocks)} for name, signal in dataset.signals.items()}


def check(codec: str | None, loss: Loss) -> None:
    """See that all that a codec needs was typed.

    Raises
    ------
    ParameterError
        If not.
    """
    if codec == BOUNDED and None in (loss.bound_sigma, loss.gain, loss.readout_sigma):
        raise ParameterError("bound, gain and readout noise must be numbers")
    if codec == BLOCKS:
        if None in (loss.n_components, loss.gain, loss.readout_sigma):
            raise ParameterError("components, gain and readout noise must be numbers")
        if loss.blocks != AUTOMATIC:
            choose_codec.parse_blocks(loss.blocks)


def _blocks(name: str, signal: io.Signal, text: str) -> list[tuple[int, int, int]]:
    if text == AUTOMATIC:
        return choose_codec.automatic_blocks(name, signal)
    choose_codec.plan(name, signal, BLOCKS)  # says in words what holds no spectra
    return choose_codec.blocks_in_channels(choose_codec.parse_blocks(text), signal.axes[-1])
