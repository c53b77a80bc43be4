"""Stochastic Moving MNIST, made on the fly from MNIST or from digits that the package carries."""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from framefill.data.idx import find_images, read_images
from framefill.data.sample import Sample, Split
from framefill.errors import InputError, check_fields

CARRIED_TRAIN = 1500  # of the 1,797 carried digits; the rest is for tests


@dataclass(frozen=True, kw_only=True)
class DigitsConfig:
    """Handwritten digits that move and bounce (Denton & Fergus 2018, Section 4.1)."""

    path: Path | None = None
    """Folder with MNIST's IDX files; none: the UCI digits that the package carries."""
    size: int = 64
    """Height and width of a frame, in pixels."""
    glyph: int = 32
    """Height and width of a digit, in pixels."""
    digits: int = 2
    """Digits per clip."""
    speed: int = 4
    """Largest velocity along each axis, in pixels per frame."""
    bounce: Literal["stochastic", "reflect"] = "stochastic"
    """At a wall: draw a new velocity, as in Stochastic Moving MNIST, or reflect the old one."""
    held_out: int = 0
    """Digits that test clips are made of: the first ones of the test digits; 0: all."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.glyph < self.size:
            raise InputError(f"digits of {self.glyph} pixels don't fit frames of {self.size}")
        if self.held_out < 0:
            raise InputError(f"held_out {self.held_out} must be at least 1, or 0 for all digits")
        if self.digits < 1:
            raise InputError(f"{self.digits} digits per clip: needs at least 1")
        if not 1 <= self.speed <= self.size - self.glyph:
            raise InputError(f"speed {self.speed} must be in 1..{self.size - self.glyph}")

    @property
    def height(self) -> int:
        """Height of a frame, in pixels."""
        return self.size

    @property
    def width(self) -> int:
        """Width of a frame, in pixels."""
        return self.size

    @property
    def channels(self) -> int:
        """Channels of a frame."""
        return 1

    def clips(self, *, frames: int, split: Split, seed: int) -> "MovingDigits":
        """Return the clips of this configuration."""
        return MovingDigits(self, frames=frames, split=split, seed=seed)


class MovingDigits:
    """Clips without end: clip number i is a function of (seed, split, i) alone.

    So any number of workers, in any order, makes the same clips, each of them once.

    Args:
        config: Size, speed and source of the digits.
        frames: Length of a clip.
        split: "train" or "test"; they share no handwriting.
        seed: Seed of all clips.
    """

    def __init__(self, config: DigitsConfig, *, frames: int, split: Split, seed: int) -> None:
        self.config, self.frames, self.seed, self.split = config, frames, seed, split
        found = glyphs(config.path, config.glyph, split)
        self.glyphs = found[: config.held_out or None] if split == "test" else found

    def __len__(self) -> int:
        """Return the number of clips, as many as an index can name."""
        return 2**62

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "f h w 1"]:
        """Return clip number `index`, 0..255."""
        rng = np.random.default_rng([self.seed, self.split == "test", index])
        canvas = np.zeros((self.frames, self.config.size, self.config.size), np.uint16)
        for _ in range(self.config.digits):
            glyph = self.glyphs[rng.integers(len(self.glyphs))]
            side = len(glyph)
            for frame, (y, x) in enumerate(self._path(rng)):
                canvas[frame, y : y + side, x : x + side] += glyph
        return np.minimum(canvas, 255).astype(np.uint8)[..., None]

    def clip(self, index: int) -> Sample:
        """Return clip number `index`; nothing goes with it."""
        return Sample(frames=self[index])

    def label(self, index: int) -> int | None:
        """Return None: two digits are of no one class."""
        return None

    def _path(self, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Return one digit's corner in each frame.

        As in the official generator, a digit that has crossed a wall is first put back to it.
        """
        speed, last = self.config.speed, self.config.size - self.config.glyph - 1
        position = rng.integers(last + 1, size=2)
        velocity = rng.integers(-speed, speed + 1, size=2)
        corners = []
        for _ in range(self.frames):
            for axis in range(2):
                inward = int(position[axis] < 0) - int(position[axis] > last)
                if not inward:
                    continue
                position[axis] = 0 if inward > 0 else last
                if self.config.bounce == "stochastic":
                    velocity = rng.integers(-speed, speed + 1, size=2)
                    velocity[axis] = inward * rng.integers(1, speed + 1)
                else:
                    velocity[axis] = inward * abs(velocity[axis])
            corners.append((int(position[0]), int(position[1])))
            position = position + velocity
        return corners


@lru_cache(maxsize=8)
def glyphs(path: Path | None, side: int, split: Split) -> UInt8[np.ndarray, "n {side} {side}"]:
    """Return the digits of one split, resized to `side` pixels (bilinear), 0..255.

    Raises:
        InputError: `path` is no folder with MNIST's IDX files.
    """
    if path is None:
        source = resources.files("framefill.data").joinpath("digits.npz")
        with source.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            images = (archive["images"] * (255 / 16)).round().astype(np.uint8)
        images = images[:CARRIED_TRAIN] if split == "train" else images[CARRIED_TRAIN:]
    else:
        if not path.is_dir():
            raise InputError(f"{path} is no folder: give a folder with MNIST's IDX files")
        images = read_images(find_images(path, train=split == "train"))
    resized = [
        Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR) for image in images
    ]
    return np.stack([np.asarray(image) for image in resized])
