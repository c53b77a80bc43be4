"""Rows to evaluate a model on when nobody says which: one for each of its tasks."""

from framefill.masks import BlockMasks, ContextMasks, Masks
from framefill.planning import tasks


def example_rows(masks: Masks) -> dict[str, str]:
    """Return one row for each task that a model trained with these masks can do."""
    if isinstance(masks, BlockMasks | ContextMasks):
        past, target, future = "K" * masks.past, "T" * masks.target, "K" * masks.future
    else:
        third = max(1, masks.frames // 3)
        past, target, future = "K" * third, "T" * max(1, masks.frames - 2 * third), "K" * third
    rows = {
        "predict": past + target,
        "rewind": target + future,
        "interpolate": past + target + future,
        "generate": "T" * masks.frames,
    }
    return {task: row for task, row in rows.items() if task in tasks(masks)}
