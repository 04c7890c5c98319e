"""What is said about the number of classes, in the singular and the plural."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore.diffraction.class_words import reason
from esteemcore.diffraction.grains import Grouping
from esteemcore.diffraction.order import Curve

HALF = "half of the electrons"


@pytest.mark.parametrize(
    ("best", "of", "others", "words"),
    [
        (1, [0], 0, f"{HALF} do not tell patterns apart, judged by the other half; 1 component makes 1 class"),
        (
            3,
            [0, 1, 1],
            1,
            f"{HALF} tell 3 patterns apart, judged by the other half; 3 components make 2 classes, those of one class "
            "at least 90% alike in their reflections or halo, two classes at most 20% alike; 1 more was two classes at "
            "once; 1 more was a border or a few positions",
        ),
    ],
)
def test_one_is_not_many(best, of, others, words) -> None:
    curve = Curve(np.array([1, 2, 3, 4]), np.zeros(4), np.zeros(4), best)
    grouping = Grouping(np.array(of), max(of) + 1, others, others, 0.2, 0.9)
    assert reason(curve, grouping, None) == words
    assert reason(curve, grouping, 2) == f"2 asked for; {words}"
