"""What is done of an evaluation, on disk: a file for each unit, whole or not there."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from framefill.errors import InputError
from framefill.files import replacing
from framefill.serialise import read_json, write_json

REQUEST, REPORT, PARTS = "request.json", "report.json", "parts"


@dataclass(frozen=True)
class Parts:
    """The folder of an evaluation.

    Args:
        folder: Made when the evaluation begins; it is done when report.json is there.
    """

    folder: Path

    def begin(self, request: dict[str, Any], *, pass_over: bool = False) -> bool:
        """Make the folder, or go on with what it holds.

        Args:
            request: All that decides the results.
            pass_over: Pass over the same evaluation that is done, one of several.

        Returns:
            Whether there is anything to do.

        Raises:
            InputError: the folder holds something else, another evaluation, or one that is done.
        """
        if (self.folder / REPORT).is_file():
            done = read_json(self.folder / REPORT)
            if pass_over and isinstance(done, dict):
                before = {name: done.get(name) for name in request}
                if not _difference(before, json.loads(json.dumps(request))):
                    return False
            raise InputError(f"{self.folder} exists and is done: choose another folder for --out")
        held = self.folder / REQUEST
        if held.is_file():
            # As it comes back from a file, where a tuple is a list.
            if other := _difference(read_json(held), json.loads(json.dumps(request))):
                raise InputError(
                    f"{self.folder} holds an unfinished evaluation with {other}: repeat its "
                    "command to go on, or choose another folder for --out"
                )
        elif self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise InputError(f"{self.folder} exists: choose another folder for --out")
        (self.folder / PARTS).mkdir(parents=True, exist_ok=True)
        if not held.is_file():
            write_json(held, request)
        return True

    def path(self, unit: int) -> Path:
        """Return the file of a unit."""
        return self.folder / PARTS / f"{unit:07}.safetensors"

    def has(self, unit: int) -> bool:
        """Say whether a unit is done, and its file whole."""
        try:
            with safe_open(self.path(unit), framework="numpy") as file:
                return "digest" in set(file.keys())
        except (OSError, SafetensorError):
            return False

    def write(self, unit: int, arrays: dict[str, Shaped[np.ndarray, "..."]]) -> None:
        """Write what a unit came to.

        Raises:
            InputError: the disk is full, or the folder can't be written to.
        """
        whole = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
        with replacing(self.path(unit), overwrite=True) as draft:
            try:
                save_file(whole, draft)
            except SafetensorError as error:
                raise OSError(0, str(error), str(draft)) from error

    def read(self, units: int, name: str) -> Iterator[Shaped[np.ndarray, "n ..."]]:
        """Yield an array of all units in their order, one at a time."""
        for unit in range(units):
            with safe_open(self.path(unit), framework="numpy") as file:
                yield file.get_tensor(name)

    def names(self) -> list[str]:
        """Return the names of the arrays that there are."""
        with safe_open(self.path(0), framework="numpy") as file:
            return sorted(file.keys())

    def finish(self, report: dict[str, Any]) -> None:
        """Write the report, after which the units' files are needed no longer."""
        write_json(self.folder / REPORT, report)
        shutil.rmtree(self.folder / PARTS)
        (self.folder / REQUEST).unlink()


def _difference(held: Any, asked: Any, name: str = "") -> str:
    """Return the first part of a request that is another one, with both values, or nothing."""
    if isinstance(held, dict) and isinstance(asked, dict):
        for key in (*asked, *held):
            where = f"{name}.{key}" if name else key
            if found := _difference(held.get(key), asked.get(key), where):
                return found
        return ""
    if held == asked:
        return ""
    if isinstance(held, dict) or isinstance(asked, dict):
        return f"another {name or 'request'}"
    return f"{name} {json.dumps(held)[:40]} instead of {json.dumps(asked)[:40]}"
