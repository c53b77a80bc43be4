"""Training schemes: each is a distribution over rows of roles.

The masks that a model was trained with are also what says which tasks it can do.
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor

from framefill.errors import InputError
from framefill.roles import Role
from framefill.types import Roles

MAX_FRAMES = 4096  # of a clip


@dataclass(frozen=True, kw_only=True)
class BlockMasks:
    """Past, target and future blocks; past and future may be dropped (MCVD, Section 3).

    Args:
        past: Frames before the target block.
        target: Frames to fill in.
        future: Frames after the target block.
        drop_past: Probability that the whole past is ABSENT.
        drop_future: Probability that the whole future is ABSENT.
        synchronised: Drop the future exactly when the past is dropped, with `drop_past`.
    """

    past: int
    target: int
    future: int = 0
    drop_past: float = 0.0
    drop_future: float = 0.0
    synchronised: bool = False

    def __post_init__(self) -> None:
        if self.past < 0 or self.target < 1 or self.future < 0:
            raise InputError(f"{self} needs past >= 0, target >= 1 and future >= 0")
        _check_length(self.frames)
        if not (0 <= self.drop_past <= 1 and 0 <= self.drop_future <= 1):
            raise InputError(f"{self} needs drop_past and drop_future between 0 and 1")

    @property
    def frames(self) -> int:
        """Length of a clip."""
        return self.past + self.target + self.future

    def sample(self, clips: int, generator: Generator) -> Roles:
        """Draw the roles of `clips` independent clips: Roles [clips frames]."""
        draws = torch.rand(2, clips, generator=generator)
        return self.roles_of(draws[0], draws[1])

    def roles_of(self, past: Float[Tensor, " b"], future: Float[Tensor, " b"]) -> Roles:
        """Return the roles that uniform draws in [0, 1) stand for; a block stays if u > drop.

        The past is compared first, as in the official code.
        """
        roles = torch.full((len(past), self.frames), Role.KNOWN, dtype=torch.int8)
        keep_past = _keeps(past, self.drop_past)
        keep_future = keep_past if self.synchronised else _keeps(future, self.drop_future)
        roles[~keep_past, : self.past] = Role.ABSENT
        roles[~keep_future, self.past + self.target :] = Role.ABSENT
        roles[:, self.past : self.past + self.target] = Role.TARGET
        return roles

    def allows(self, row: str) -> bool:
        """Say whether training shows rows like this one: targets in place, the rest K or -."""
        past, target, future = self._split(row)
        drop_future = self.drop_past if self.synchronised else self.drop_future
        together = not self.synchronised or not past or not future or (past[0] == future[0])
        return (
            len(row) == self.frames
            and set(target) == {"T"}
            and together
            and _side_is_trained(past, self.drop_past)
            and _side_is_trained(future, drop_future)
        )

    @property
    def drops_future(self) -> bool:
        """Whether training shows clips without their future."""
        return (self.drop_past if self.synchronised else self.drop_future) > 0

    def _split(self, row: str) -> tuple[str, str, str]:
        end = self.past + self.target
        return row[: self.past], row[self.past : end], row[end:]


def _keeps(draw: Float[Tensor, " b"], drop: float) -> Bool[Tensor, " b"]:
    """Decide from a uniform draw whether a block stays; certain blocks need no luck."""
    return torch.full_like(draw, drop == 0, dtype=torch.bool) if drop in (0, 1) else draw > drop


def _side_is_trained(side: str, drop: float) -> bool:
    return (drop < 1 and set(side) <= {"K"}) or (drop > 0 and set(side) <= {"-"})


@dataclass(frozen=True, kw_only=True)
class RandomMasks:
    """A random set of known frames, anywhere in the clip (RaMViD, Section 3.1).

    Args:
        frames: Length of a clip.
        max_known: The number of known frames is uniform on 1..max_known.
        unconditional: Probability that no frame is known.
        within: Known frames are among the frames first..end-1 of the clip alone; None: anywhere
            (mask_range in RaMViD's code).
    """

    frames: int
    max_known: int
    unconditional: float = 0.25
    within: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_known < self.frames:
            raise InputError(f"{self} leaves no frame to fill: needs 1 <= max_known < frames")
        _check_length(self.frames)
        first, end = self.within or (0, self.frames)
        if not 0 <= first < end <= self.frames or self.max_known > end - first:
            raise InputError(
                f"{self}: within needs 0 <= first < end <= frames and room for max_known frames"
            )
        if not 0 <= self.unconditional <= 1:
            raise InputError(f"{self} needs unconditional between 0 and 1")

    def sample(self, clips: int, generator: Generator) -> Roles:
        """Draw the roles of `clips` independent clips: Roles [clips frames]."""
        count = torch.randint(1, self.max_known + 1, (clips, 1), generator=generator)
        count[torch.rand(clips, generator=generator) < self.unconditional] = 0
        draws = torch.rand(clips, self.frames, generator=generator)
        first, end = self.within or (0, self.frames)
        draws[:, :first] = draws[:, end:] = 1.0
        rank = draws.argsort(1).argsort(1)
        return torch.where(rank < count, Role.KNOWN, Role.TARGET).to(torch.int8)

    def allows(self, row: str) -> bool:
        """Say whether training shows rows like this one."""
        known = row.count("K")
        first, end = self.within or (0, self.frames)
        return (
            len(row) == self.frames
            and set(row) <= {"K", "T"}
            and "K" not in row[:first] + row[end:]
            and known <= self.max_known
            and (known > 0 or self.unconditional > 0)
        )


@dataclass(frozen=True, kw_only=True)
class ContextMasks:
    """A short target block in a fixed place; of the frames around it some are KNOWN, others ABSENT.

    On each side a run of frames at random distances is KNOWN; in some clips single ones of them
    are dropped too, and in some all. So a network learns to use any history and none, which
    history guidance needs (`framefill.guidance`) and RaMViD's unconditional rows, in which every
    frame is a target, do not teach. As the targets stay in place, a network that sees frames as
    channels has to learn only once how the next frame follows from the last.

    Args:
        past: Frames before the target block.
        target: The length of the target block is uniform on 1..target.
        future: Frames after the longest target block.
        distant: Probability, for each side, that the run does not begin beside the block.
        thinned: Probability that single KNOWN frames are dropped, a random share of them.
        empty: Probability that all frames but the targets are ABSENT.
    """

    past: int
    target: int
    future: int
    distant: float = 0.25
    thinned: float = 0.25
    empty: float = 0.1

    def __post_init__(self) -> None:
        if self.past < 0 or self.target < 1 or self.future < 0:
            raise InputError(f"{self} needs past >= 0, target >= 1 and future >= 0")
        _check_length(self.frames)
        for name in ("distant", "thinned", "empty"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{self} needs {name} between 0 and 1")

    @property
    def frames(self) -> int:
        """Length of a clip."""
        return self.past + self.target + self.future

    def sample(self, clips: int, generator: Generator) -> Roles:
        """Draw the roles of `clips` independent clips: Roles [clips frames]."""
        draw = partial(torch.rand, generator=generator)
        last = self.past + (draw(clips, 1) * self.target).long()  # the block's last frame
        position = torch.arange(self.frames).expand(clips, -1)
        target = (position >= self.past) & (position <= last)
        known = self._run(self.past - position, torch.full_like(last, self.past), draw)
        known |= self._run(position - last, self.frames - 1 - last, draw)
        kept = torch.where(draw(clips, 1) < self.thinned, draw(clips, 1), 1.0)
        kept = torch.where(draw(clips, 1) < self.empty, 0.0, kept)
        known &= draw(clips, self.frames) < kept
        roles = torch.where(known, Role.KNOWN, Role.ABSENT)
        return torch.where(target, Role.TARGET, roles).to(torch.int8)

    def _run(
        self, distance: Int64[Tensor, "b f"], room: Int64[Tensor, "b 1"], draw: partial[Tensor]
    ) -> Bool[Tensor, "b f"]:
        """Choose a run of frames on one side of the block, at distances 1..room from it."""
        clips = len(distance)
        ends = (draw(clips, 2) * (room + 1)).long()
        near = torch.where(draw(clips, 1) < self.distant, ends.amin(1, keepdim=True), 0)
        return (distance > near) & (distance <= ends.amax(1, keepdim=True))

    def allows(self, row: str) -> bool:
        """Say whether training shows rows like this one: one run of targets, in its place."""
        around = row[: self.past] + row[self.past :].lstrip("T")
        return (
            len(row) == self.frames
            and len(row) - len(around) in range(1, self.target + 1)
            and "T" not in around
        )


@dataclass(frozen=True, kw_only=True)
class MixedMasks:
    """Several schemes at once: each clip draws its scheme, then its row.

    Args:
        parts: The schemes, all of one clip length.
        weights: How often each one is drawn, relative to the others.
    """

    parts: tuple[BlockMasks | RandomMasks | ContextMasks, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.parts or len(self.parts) != len(self.weights):
            raise InputError(
                f"{len(self.parts)} masks and {len(self.weights)} weights: need one each"
            )
        if min(self.weights) < 0 or sum(self.weights) == 0:
            raise InputError(f"weights {self.weights} must be at least 0, and not all 0")
        if len({part.frames for part in self.parts}) != 1:
            lengths = [part.frames for part in self.parts]
            raise InputError(f"mixed masks need one clip length, but these have {lengths} frames")

    @property
    def frames(self) -> int:
        """Length of a clip."""
        return self.parts[0].frames

    def sample(self, clips: int, generator: Generator) -> Roles:
        """Draw the roles of `clips` independent clips: Roles [clips frames]."""
        weights = torch.tensor(self.weights, dtype=torch.float64)
        choice = torch.multinomial(weights, clips, replacement=True, generator=generator)
        rows = torch.stack([part.sample(clips, generator) for part in self.parts])
        return rows[choice, torch.arange(clips)]

    def allows(self, row: str) -> bool:
        """Say whether any of the schemes shows rows like this one."""
        used = zip(self.parts, self.weights, strict=True)
        return any(part.allows(row) for part, weight in used if weight > 0)


Masks = BlockMasks | RandomMasks | ContextMasks | MixedMasks


def _check_length(frames: int) -> None:
    if frames > MAX_FRAMES:
        raise InputError(
            f"clips of {frames} frames: at most {MAX_FRAMES}; longer videos are windows"
        )
