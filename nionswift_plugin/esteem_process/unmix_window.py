"""The window before an unmixing: what is known of the noise, how many components there are and why, a first look."""

from __future__ import annotations

import operator
import threading
from typing import Any

import numpy as np
from nion.swift.model import DataItem, Graphics
from nion.ui import Declarative
from nion.utils import Model
from numpy.typing import NDArray
from PIL import Image

from esteemcore import io
from esteemcore.cli import unmix_preview
from esteemcore.errors import CancelledError, EsteemError, ParameterError
from esteemcore.spectral.methods import METHODS
from nionswift_plugin.esteem_process import parameters_window, spectra_items, unmix_view
from nionswift_plugin.esteem_process.computations import unmix_image
from nionswift_plugin.esteem_process.import_job import words
from nionswift_plugin.esteem_process.store_job import DataReferences
from nionswift_plugin.esteem_scan.converters import NumberConverter, WholeConverter
from nionswift_plugin.esteem_scan.event_loop import NewestFirst, UserInterfaceCalls

NOISE = {
    "Automatic": "auto",
    "Counts (Poisson)": "poisson",
    "The same everywhere (Gaussian)": "gaussian",
}
"""Models of the noise by what the user reads."""

METHODS_OFFERED = ("auto", *METHODS)

WAIT_S = 5.0
"""How long Nion Swift waits for the thread when the window closes, in s."""


class UnmixWindow(Declarative.WindowHandler):
    """Count the components in a thread, show what speaks for them, and unmix when the user says so.

    The preview begins by itself, and again when the noise or the number of components is changed.

    Parameters
    ----------
    document_controller
        Nion's window.
    title : str
    item : DataItem
        The spectrum image.
    region : Graphic or None
        Only what lies inside takes part.
    mask : DataItem or None
        Only where this image is not zero takes part.
    is_sure : bool
        Whether it is asked how sure the components are.
    """

    def __init__(
        self,
        document_controller: Any,
        title: str,
        item: DataItem.DataItem,
        region: Graphics.Graphic | None = None,
        mask: DataItem.DataItem | None = None,
        is_sure: bool = False,
    ) -> None:
        super().__init__()
        self._window, self._item, self._region, self._mask = document_controller, item, region, mask
        self._held = DataReferences([item] if mask is None else [item, mask])
        self._read: tuple[Any, tuple[io.Axis, ...]] | None = None
        self._data_listener = item.data_changed_event.listen(self._data_changed)
        self._calls = UserInterfaceCalls(document_controller.event_loop)
        self._worker = NewestFirst(self._calls, "esteem-unmix-preview")
        self._cancel = threading.Event()
        self.number, self.whole = NumberConverter(), WholeConverter()
        self.what = Model.PropertyModel(str(item.title))
        self.noise_names, self.noise_index = Model.PropertyModel(list(NOISE)), Model.PropertyModel(0)
        self.gain, self.readout_sigma = Model.PropertyModel(1.0), Model.PropertyModel(0.0)
        self.components, self.seed = Model.PropertyModel(0), Model.PropertyModel(0)
        self.method_names, self.method_index = Model.PropertyModel(list(METHODS_OFFERED)), Model.PropertyModel(0)
        self.elements, self.is_sure = Model.PropertyModel(""), Model.PropertyModel(is_sure)
        self.picture: Model.PropertyModel[Any] = Model.PropertyModel(NOTHING, operator.is_)
        self.message, self.progress = Model.PropertyModel(""), Model.PropertyModel(0)
        self.is_running = Model.PropertyModel(False)
        self.run(unmix_view.make_window(title), parent_window=document_controller, window_style="tool")
        for model in self._looked_at():
            model.on_value_changed = lambda _: self.look()
        self.look()

    def close(self) -> None:
        """Stop the preview; Nion Swift calls this when the window closes."""
        for model in self._looked_at():
            model.on_value_changed = None
        self._data_listener.close()
        self._calls.close()
        self._cancel.set()
        self._worker.close(WAIT_S)
        self._held.release()
        super().close()

    def look(self) -> None:
        """Begin the preview, instead of the one that goes on."""
        self._cancel.set()
        self._worker.drop()
        self._cancel = cancel = threading.Event()
        self.progress.value, self.is_running.value = 0, False
        self.picture.value = NOTHING
        try:
            self._check_present()
            chosen = self._noise()
            self._check_number()
            rows, columns = (self._item.data_shape or (0, 0))[:2]
            mask = spectra_items.mask_of({"region": self._region, "mask": self._mask}, (rows, columns))
        except EsteemError as error:
            self.message.value = f"Error: {error}"
            return
        xdata, components, read = self._item.xdata, self.components.value or 0, self._read

        def work() -> unmix_preview.Preview:
            data, axes = known = read or spectra_items.spectra_of(xdata)
            if not cancel.is_set():  # else the data may be others by now
                self._read = known
            return unmix_preview.preview(
                data, axes[2], components=components, mask=mask, progress=self._progressed, cancel=cancel, **chosen
            )

        self.message.value, self.is_running.value = "Counting components", True
        self._worker.submit(work, self._seen)

    def stop_clicked(self, widget: Any) -> None:
        """Stop the preview; unmixing is still possible."""
        self._cancel.set()

    def unmix_clicked(self, widget: Any) -> None:
        """Make the computation, show what it will fill, and its progress."""
        model = self._window.document_model
        try:
            self._check_present()
            chosen = self._noise()
            self._check_number()
        except EsteemError as error:
            self.message.value = f"Error: {error}"
            return
        chosen |= {
            "components": self.components.value,
            "method": METHODS_OFFERED[self.method_index.value or 0],
            "elements": (self.elements.value or "").strip(),
            "uncertainty": bool(self.is_sure.value),
        }
        self._cancel.set()
        computation, made = unmix_image.make(model, self._item, region=self._region, mask=self._mask, **chosen)
        parameters_window.open_results(self._window, computation, made.values())
        self.close_window()

    def _looked_at(self) -> tuple[Any, ...]:
        """Return what the preview depends on."""
        return self.noise_index, self.gain, self.readout_sigma, self.components, self.seed

    def _check_present(self) -> None:
        model = self._window.document_model
        shown = model.get_display_item_for_data_item(self._item)
        for what, is_there in (
            ("spectrum image", self._item in model.data_items),
            ("mask", self._mask is None or self._mask in model.data_items),
            ("graphic", self._region is None or (shown is not None and self._region in shown.graphics)),
        ):
            if not is_there:
                raise ParameterError(f"the {what} was removed from the project; close this window and select again")

    def _noise(self) -> dict[str, Any]:
        """Return what was typed of the noise, and the seed."""
        if None in (self.gain.value, self.readout_sigma.value, self.seed.value):
            raise ParameterError("gain and readout noise must be numbers, and the seed a whole one")
        return {
            "noise": list(NOISE.values())[self.noise_index.value or 0],
            "gain": self.gain.value,
            "readout_sigma": self.readout_sigma.value,
            "seed": self.seed.value,
        }

    def _check_number(self) -> None:
        if self.components.value is None:
            raise ParameterError("the number of components must be a whole number; 0: find out")

    def _data_changed(self) -> None:
        """Look again; Nion Swift calls this from any thread."""
        self._calls.newest("data", self._look_anew)

    def _look_anew(self) -> None:
        self._read = None
        self.look()

    def _progressed(self, done: float) -> None:
        self._calls.newest("progress", lambda: setattr(self.progress, "value", round(100 * done)))

    def _seen(self, found: Any) -> None:
        """Show what the preview found, or why it found nothing."""
        self.is_running.value = False
        if isinstance(found, CancelledError):
            self.message.value = "The preview was stopped; Unmix counts the components again."
        elif isinstance(found, Exception):
            self.message.value = f"Error: {words(found)}"
        else:
            self.message.value, self.picture.value = found.words, as_bgra(found.picture())


def as_bgra(picture: Image.Image) -> NDArray[np.uint32]:
    """Return a picture as Nion's widgets take it."""
    colors = np.asarray(picture.convert("RGBA"))[..., [2, 1, 0, 3]]
    return np.ascontiguousarray(colors).view(np.uint32)[..., 0]


NOTHING = as_bgra(Image.new("RGB", (500, 380), "white"))
"""The picture before there is one."""
