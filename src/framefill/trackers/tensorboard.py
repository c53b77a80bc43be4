"""Event files for TensorBoard: scalars, pictures, videos as animated GIFs, the run's settings.

They are written here, record by record, rather than by TensorBoard's own writer: that one hands
them to a thread, which keeps them back for two minutes and prints a traceback where a disk is full.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from framefill.errors import InputError
from framefill.trackers.gif import gif

Content = Mapping[str, object]  # fields of a message of protobuf

RGB = 3  # TensorBoard's number for three channels


def open_tensorboard(
    folder: Path, run_name: str, settings: Mapping[str, object], step: int
) -> "TensorBoard":
    """Begin another event file below the run folder; TensorBoard shows all of them as one run.

    What earlier files hold of later steps than `step` is purged: TensorBoard doesn't show it.

    Args:
        folder: The run folder; the file goes to tensorboard/ in it.
        run_name: Shown beside the settings; curves are named after the folder.
        settings: The run's config, shown as text.
        step: Steps taken so far.

    Raises:
        InputError: tensorboard isn't installed.
        OSError: the file can't be made.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import (  # type: ignore[import-untyped]
            RecordWriter,
        )
    except ImportError as error:
        raise InputError(
            "tracker 'tensorboard' needs tensorboard: pip install 'framefill[tensorboard]'"
        ) from error
    target = folder / "tensorboard"
    target.mkdir(parents=True, exist_ok=True)
    # TensorBoard reads files by name, and a purge must come after what it purges.
    started = sum(1 for path in target.iterdir() if "tfevents" in path.name)
    words = (f"{int(time.time()):010d}", f"{started:05d}", socket.gethostname(), str(os.getpid()))
    file = (target / f"events.out.tfevents.{'.'.join(words)}").open("xb")
    records = RecordWriter(file)
    tracker = TensorBoard(file, lambda content: records.write(Event(**content).SerializeToString()))
    try:
        tracker.begin(step)
        tracker.text(step, "settings", _block(run_name, settings))
    except BaseException:
        file.close()
        raise
    return tracker


class TensorBoard:
    """Appends to one event file, and leaves it whole after every call.

    Args:
        file: The open file.
        append: Writes an event, of which the fields are given, to it.
    """

    def __init__(self, file: BinaryIO, append: Callable[[Content], None]) -> None:
        self.file, self.append = file, append

    def begin(self, step: int) -> None:
        """Write what an event file begins with, and after which step older files don't count."""
        self._write(0, {"file_version": "brain.Event:2"})
        self._write(step + 1, {"session_log": {"status": "START"}})

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """As `framefill.trackers.tracker.Tracker.numbers`."""
        scalars = [{"tag": name, "simple_value": float(value)} for name, value in values.items()]
        self._summary(step, scalars)

    def picture(self, step: int, name: str, pixels: UInt8[np.ndarray, "h w 3"]) -> None:
        """As `framefill.trackers.tracker.Tracker.picture`."""
        encoded = BytesIO()
        Image.fromarray(pixels).save(encoded, format="PNG")
        self._image(step, name, pixels.shape[:2], encoded.getvalue())

    def video(self, step: int, name: str, frames: UInt8[np.ndarray, "f h w 3"], fps: float) -> None:
        """As `framefill.trackers.tracker.Tracker.video`."""
        self._image(step, name, frames.shape[1:3], gif(frames, fps))

    def text(self, step: int, name: str, text: str) -> None:
        """Write a text in Markdown."""
        value = {
            "tag": f"{name}/text_summary",
            "metadata": {"plugin_data": {"plugin_name": "text"}},
            "tensor": {
                "dtype": "DT_STRING",
                "string_val": [text.encode()],
                "tensor_shape": {"dim": [{"size": 1}]},
            },
        }
        self._summary(step, [value])

    def close(self) -> None:
        """As `framefill.trackers.tracker.Tracker.close`."""
        self.file.close()

    def _image(self, step: int, name: str, size: tuple[int, ...], encoded: bytes) -> None:
        height, width = size
        image = {
            "height": height,
            "width": width,
            "colorspace": RGB,
            "encoded_image_string": encoded,
        }
        self._summary(step, [{"tag": name, "image": image}])

    def _summary(self, step: int, values: Sequence[Content]) -> None:
        self._write(step, {"summary": {"value": values}})

    def _write(self, step: int, content: Content) -> None:
        self.append({"step": step, "wall_time": time.time(), **content})
        self.file.flush()


def _block(run_name: str, settings: Mapping[str, object]) -> str:
    return f"**{run_name}**\n\n```json\n{json.dumps(settings, indent=2)}\n```\n"
