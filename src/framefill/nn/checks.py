"""What the networks' configurations refuse."""

from framefill.errors import InputError

MAX_WIDTH, MAX_LEVELS, MAX_BLOCKS = 8192, 10, 64


def check_sizes(
    *,
    width: int,
    multipliers: tuple[int, ...],
    blocks: int,
    attention: tuple[int, ...],
    dropout: float,
) -> None:
    """Refuse what makes no network, or one so large that building it would never end."""
    if not 4 <= width <= MAX_WIDTH:
        raise InputError(f"width {width} must be in 4..{MAX_WIDTH}")
    if not 0 <= dropout < 1:
        raise InputError(f"dropout {dropout} must be at least 0 and below 1")
    sizes = min(multipliers, default=0) >= 1 and max(multipliers, default=0) <= MAX_WIDTH
    if len(multipliers) > MAX_LEVELS or not sizes:
        raise InputError(
            f"multipliers {multipliers}: needs 1 to {MAX_LEVELS} values, each at least 1"
        )
    if not 1 <= blocks <= MAX_BLOCKS:
        raise InputError(f"blocks {blocks} must be in 1..{MAX_BLOCKS}")
    if outside := [level for level in attention if not 0 <= level < len(multipliers)]:
        raise InputError(f"attention at resolution {outside}: there are {len(multipliers)}, from 0")


def check_head_width(
    width: int, multipliers: tuple[int, ...], attention: tuple[int, ...], head_width: int | None
) -> None:
    """Refuse heads that don't divide the features."""
    if head_width is not None and head_width < 1:
        raise InputError(f"head_width {head_width} must be at least 1, or none")
    for level in (*attention, len(multipliers) - 1):
        features = width * multipliers[level]
        if head_width is not None and features >= head_width and features % head_width:
            raise InputError(f"heads of {head_width} features don't divide {features} features")


def check_shrinking(frames: int, levels: int) -> None:
    """Refuse lengths that the way up would not restore: it halves down, convolutions up."""
    length = frames
    for level in range(levels - 1):
        if length != frames >> level:
            raise InputError(f"shrink_frames {frames} can't be halved {level} times and back")
        length = -(-length // 2) if frames >> level else length


def check_hidden(hidden: int) -> None:
    """Refuse numbers of hidden features that make no layer."""
    if not 1 <= hidden <= MAX_WIDTH:
        raise InputError(f"hidden {hidden} must be in 1..{MAX_WIDTH}")
