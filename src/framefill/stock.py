"""Commands about data: what published data sets look like, and a store to train from."""

from pathlib import Path

from tyro.conf import Positional

from framefill.data.benchmarks.registry import BENCHMARKS
from framefill.data.collection import PARTS
from framefill.data.footage import Layout
from framefill.errors import InputError, suggestion


def data(name: Positional[str] = "", path: Positional[Path | None] = None) -> None:
    """Say where a published data set is from and what it has to look like, or check a copy.

    Args:
        name: Of the data set; none: list them.
        path: A copy of it: say what it holds of each split.
    """
    if not name:
        for each in BENCHMARKS.values():
            print(f"{each.name:14} {each.summary} (splits: {', '.join(each.splits) or 'none'})")
        return
    if name not in BENCHMARKS:
        raise InputError(
            f"no data set {name!r}{suggestion(name, BENCHMARKS)}; there are: "
            f"{', '.join(BENCHMARKS)}. For your own data see the README"
        )
    benchmark = BENCHMARKS[name]
    if path is None:
        print(benchmark.guide)
        return
    for split in benchmark.splits:
        counts = [len(benchmark.find(path, split, part, Layout())) for part in PARTS]
        print(f"split {split}: {counts[0]} videos to train, {counts[1]} to test")
        print(f"  {benchmark.note(path, split)}")
