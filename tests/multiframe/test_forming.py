"""Components that form while frames come in: those of the specimen, in their places, and only those that are sure."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from drifting import CHANNELS, ENERGY, SHAPE, Specimen
from scipy import ndimage

from esteemcore import multiframe


def followed(tmp_path, specimen, frames, **chosen):
    """Return the state of a series after each frame and at the end."""
    plan, states = specimen.plan(frames=frames), []
    live = multiframe.LiveSeries(plan, "adf", "eds", ENERGY, **chosen)

    def paced(frame):
        live(dataclasses.replace(frame, time_s=float(frame.number)))
        states.append(live.state)

    folder = multiframe.SessionFolder(tmp_path).new_region()
    multiframe.acquire_series(plan, folder, specimen.take, on_frame=paced)
    states.append(live.finish())
    return states


def test_components_of_a_drifting_specimen_form_with_the_dose(tmp_path) -> None:
    """Whatever holds the counts, and whether frames wait for them or not."""
    specimen = Specimen(counts=120.0)
    states = followed(tmp_path / "dense", specimen, 2, background=False, forming=True)
    seen = [state.forming for state in states[:-1]]
    assert [len(one.spectra) for one in seen] == [2, 2]
    last = seen[-1]
    assert (last.frames, last.dose, last.pixels) == (2, states[-1].summed_dose, 1)
    assert last.spectra.shape == (2, CHANNELS)
    basis = np.linalg.svd(last.spectra, full_matrices=False)[2]
    for true in specimen.spectra:  # no pixel is pure, so that other mixtures of both explain the counts as well
        assert np.linalg.norm(basis @ true) / np.linalg.norm(true) > np.cos(np.radians(8))
    k = int(last.spectra[:, (ENERGY > 520) & (ENERGY < 560)].sum(axis=1).argmax())
    inner = np.zeros(SHAPE, bool)
    inner[4:-4, 4:-4] = True
    smooth = ndimage.gaussian_filter(last.abundances[k], 1.5)  # as the specimen is
    assert np.corrcoef(smooth[inner], specimen.seen(0)[inner])[0, 1] > 0.75
    assert last.abundances.sum(axis=0)[inner].mean() == pytest.approx(states[-1].counts / 2 / inner.size, rel=0.1)
    # each keeps its place from look to look
    for one in seen:
        nearness = one.spectra @ last.spectra.T
        assert nearness.trace() > nearness[::-1].trace()
    with pytest.raises(ValueError, match="read-only"):
        last.spectra[0, 0] = 1
    specimen.kind = "events"
    behind = followed(tmp_path / "events", specimen, 1, background=True, forming=True)[-1].forming
    assert behind.frames == 1
    np.testing.assert_allclose(behind.spectra, seen[0].spectra, rtol=1e-4, atol=1e-6)


def test_there_are_none_unless_asked_for_and_sure(tmp_path) -> None:
    state = followed(tmp_path / "a", Specimen(counts=120.0), 1, background=False)[-1]
    assert (state.components[-1].sure, state.forming) == (2, None)
    state = followed(tmp_path / "b", Specimen(counts=2.0), 1, background=False, forming=True)[-1]
    assert state.components[-1].sure < 2
    assert state.forming is None


def test_as_many_as_were_looked_for_may_be_any_number() -> None:
    live = multiframe.LiveSeries(Specimen().plan(), "adf", "eds", ENERGY, forming=True)
    count = multiframe.ComponentCount(1.0, 1, None, "at least 12", at_least=12)
    assert live._sums.form(count, None) is None
