"""With how many components an image is unmixed, and the record of how they were counted."""

from __future__ import annotations

from typing import Any

from esteemcore import spectral


def number_of(rank: spectral.Rank) -> int:
    """Return the number that was found, or what is sure where it cannot be told; 0 if even that is unknown.

    Where as many stand above noise as were looked for, it is not known how many more there are, and unmixing with the
    bound would spread them over those that it has.
    """
    if rank.n is not None:
        return rank.n
    looked_for = int(rank.provenance.parameters["max_components"])
    return rank.at_least if rank.at_least < looked_for else 0


def described(rank: spectral.Rank) -> dict[str, Any]:
    """Return what is known of the number, ready for JSON."""
    return {
        "n": rank.n,
        "at_least": rank.at_least,
        "reason": rank.reason,
        "noise": rank.noise,
        "methods": dict(rank.methods),
        "threshold": float(rank.threshold),
        "provenance": rank.provenance.as_dict(),
    }
