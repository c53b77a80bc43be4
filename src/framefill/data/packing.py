"""How files store values: integers with a scale, and numbers that stand for missing ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

from framefill.data.axes import LazyArray, Source, floats_for
from framefill.data.video import Stored
from framefill.errors import InputError

ATTRIBUTES = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned")


@dataclass(frozen=True)
class Packing:
    """The rule by which stored numbers are values: value = stored * scale + offset.

    It is that of the CF conventions for NetCDF (section 8.1), and the dtypes are those that xarray
    chooses, except that float64 is taken where float32 would make two stored numbers one value.

    Args:
        dtype: Name of the stored dtype.
        missing: Stored numbers that stand for missing values; the first one is written.
        scale: Or None, like the offset, where the file has none.
        offset: The value of a stored 0.
        unsigned: The stored integers are signed ones, to be understood as unsigned.
        floats: Name of the dtype of the values; "" where they are the stored numbers.
    """

    dtype: str
    missing: tuple[float, ...] = ()
    scale: float | None = None
    offset: float | None = None
    unsigned: bool = False
    floats: str = ""

    @property
    def counted(self) -> np.dtype[np.generic]:
        """The stored dtype, or its unsigned sibling."""
        return np.dtype(self.dtype.replace("int", "uint") if self.unsigned else self.dtype)

    @property
    def values(self) -> np.dtype[np.generic]:
        """The dtype of the values."""
        return np.dtype(self.floats) if self.floats else self.counted

    @property
    def stored(self) -> Stored | None:
        """What another format can take over: nothing of a scale."""
        if not self.missing or self.unsigned or self.scale is not None or self.offset is not None:
            return None
        return Stored(self.dtype, self.missing[0])

    def unpack(self, stored: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Return the values of stored numbers, NaN for missing ones."""
        numbers = stored.astype(self.dtype).view(self.counted)
        if not self.floats:
            return numbers
        values = numbers.astype(self.floats)
        if self.missing:
            values[np.isin(numbers, self._marks())] = np.nan
        with np.errstate(all="ignore"):  # of damaged files
            if self.scale is not None:
                values *= values.dtype.type(self.scale)
            if self.offset is not None:
                values += values.dtype.type(self.offset)
        return values

    def pack(
        self, values: Shaped[np.ndarray, "..."], name: str
    ) -> Shaped[np.ndarray, "..."] | None:
        """Return the stored numbers of values, or None where they don't fit into the dtype.

        Of integers, the nearest one. A value that would be stored as a missing one is stored as the
        number beside it.

        Args:
            values: NaN where they are missing.
            name: What to call them in a message.

        Raises:
            InputError: some are missing, and no stored number stands for that.
        """
        gone = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
        scaled = values
        if self.scale is not None or self.offset is not None:
            scaled = (values.astype(np.float64) - (self.offset or 0.0)) / (self.scale or 1.0)
        if self.counted.kind == "f":
            with np.errstate(over="ignore"):
                numbers = scaled.astype(self.counted)
            if (np.isinf(numbers) & ~np.isinf(values)).any():
                return None
        else:
            if gone.any() and not self.missing:
                raise InputError(
                    f"{name} has missing values (NaN), and {self.dtype} has no number for them: "
                    "fill them all, or write .npz"
                )
            whole = np.rint(np.where(gone, 0, scaled)) if scaled.dtype.kind == "f" else scaled
            if not _within(whole, self.counted):
                return None
            numbers = whole.astype(self.counted)
        if self.missing:
            for mark in self._marks():
                numbers[(numbers == mark) & ~gone] = _beside(mark, self._marks())
            numbers[gone] = self._marks()[0]
        return numbers.view(np.dtype(self.dtype))

    def _marks(self) -> Shaped[np.ndarray, " n"]:
        return np.array([self.counted.type(each) for each in self.missing])


def _within(whole: Shaped[np.ndarray, "..."], dtype: np.dtype[np.generic]) -> bool:
    if not np.isfinite(whole).all():
        return False
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype.name).min, np.iinfo(dtype.name).max)
    return not whole.size or limits[0] <= int(whole.min()) <= int(whole.max()) <= limits[1]


def _beside(mark: np.generic, marks: Shaped[np.ndarray, " n"]) -> np.generic:
    """Return the nearest number that is no mark, towards zero if possible."""
    if marks.dtype.kind == "f":
        while mark in marks:
            mark = np.nextafter(mark, marks.dtype.type(0 if mark else 1))
        return mark
    limits, toward = np.iinfo(marks.dtype), -1 if int(mark) > 0 else 1
    steps = [sign * step for step in range(1, len(marks) + 2) for sign in (toward, -toward)]
    near = [int(mark) + step for step in steps]
    taken = {int(each) for each in marks}
    free = [each for each in near if limits.min <= each <= limits.max and each not in taken]
    return marks.dtype.type(free[0]) if free else mark


def packing_of(attributes: Mapping[str, Any], dtype: Any, name: str) -> Packing:
    """Return how a file stores values, from the attributes of an array.

    Args:
        attributes: `_FillValue`, `missing_value`, `scale_factor`, `add_offset` and `_Unsigned`
            are looked at.
        dtype: Of the array.
        name: What to call it in a message.

    Raises:
        InputError: a scale of zero, or one that is no number.
    """
    stored = np.dtype(dtype).newbyteorder("=")
    unsigned = stored.kind == "i" and str(attributes.get("_Unsigned", "")).lower() == "true"
    counted = np.dtype(stored.name.replace("int", "uint")) if unsigned else stored
    missing = tuple(
        dict.fromkeys(
            number
            for key in ("_FillValue", "missing_value")
            for number in _numbers(attributes.get(key), stored, counted)
        )
    )
    scale = _factor(attributes.get("scale_factor"), f"scale_factor of {name}")
    offset = _factor(attributes.get("add_offset"), f"add_offset of {name}")
    if scale == 0:
        raise InputError(f"scale_factor of {name} is 0, so all its values are lost: mend the file")
    packing = Packing(
        stored.name,
        missing,
        None if scale is None else float(scale),
        None if offset is None else float(offset),
        unsigned,
    )
    if scale is None and offset is None and not missing:
        return packing
    floats = _floats(counted, scale, offset).name
    return Packing(
        packing.dtype, packing.missing, packing.scale, packing.offset, packing.unsigned, floats
    )


def _numbers(
    attribute: Any, stored: np.dtype[np.generic], counted: np.dtype[np.generic]
) -> list[float]:
    """Return the stored numbers that an attribute names; none where the dtype can't have them."""
    if attribute is None or stored.kind not in "iuf":
        return []
    try:
        given = np.atleast_1d(np.asarray(attribute))
        found = given.astype(np.float64) if given.dtype.kind in "SU" else given
        if found.dtype.kind not in "iuf":
            return []
        with np.errstate(all="ignore"):
            cast = found.astype(stored)
            if counted != stored:
                return [int(each) for each in cast.view(counted)]
            kept = cast[(cast == found) | (stored.kind == "f")]
    except (ValueError, TypeError, OverflowError):
        return []
    kept = kept[~np.isnan(kept)] if stored.kind == "f" else kept
    return [each.item() for each in kept]


def _factor(attribute: Any, name: str) -> np.generic | None:
    if attribute is None:
        return None
    try:
        number = np.asarray(attribute).reshape(-1)[0]
        if np.isfinite(float(number)):
            return number if isinstance(number, np.floating) else np.float64(number)
    except (ValueError, TypeError, IndexError):
        pass
    raise InputError(f"{name} is {str(attribute)[:40]!r}, which is no number: mend the file")


def _floats(
    counted: np.dtype[np.generic], scale: np.generic | None, offset: np.generic | None
) -> np.dtype[np.generic]:
    given = [each.dtype for each in (scale, offset) if each is not None]
    if not given or counted.kind == "f":
        return floats_for(np.result_type(counted, *given))
    wide = counted.itemsize > 2 or np.float64 in given or (offset is not None and len(given) < 2)
    size = 0 if offset is None else abs(float(offset)) / abs(float(scale if scale else 1))
    # Half a step must be more than what float32 rounds off.
    return np.dtype("float64" if wide or size > 2**20 else "float32")


@dataclass(frozen=True)
class Unpacked:
    """The values of an array of stored numbers, unpacked where they are loaded."""

    source: Source
    packing: Packing

    def __call__(self) -> LazyArray:
        """Open the array."""
        return _Values(self.source(), self.packing)


@dataclass(frozen=True)
class _Values:
    array: LazyArray
    packing: Packing

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.packing.values

    def __getitem__(self, index: Any) -> Any:
        return self.packing.unpack(np.asarray(self.array[index]))
