"""Names of the files that are written beside one another."""

from pathlib import Path

from framefill.data.formats import suffix_of


def sibling(path: Path, word: str, suffix: str | None = None) -> Path:
    """Return the name NAME-WORD with the same suffix, or another one.

    In names without a suffix, which are folders, no dot of the word may look like one.

    >>> str(sibling(Path("a/b.nii.gz"), "above0.5"))
    'a/b-above0.5.nii.gz'
    >>> str(sibling(Path("a/b"), "above0.5"))
    'a/b-above0_5'
    """
    old = path.name[len(path.name) - len(suffix_of(path)) :]
    new = old if suffix is None else suffix
    stem = path.name.removesuffix(old)
    return path.with_name(f"{stem}-{word if new else word.replace('.', '_')}{new}")


def sample_paths(path: Path, samples: int) -> list[Path]:
    """Return one path for each sample: the path itself, or NAME-0, NAME-1 and so on.

    >>> [str(p) for p in sample_paths(Path("a/b.gif"), 2)]
    ['a/b-0.gif', 'a/b-1.gif']
    """
    return [path] if samples == 1 else [sibling(path, str(i)) for i in range(samples)]
