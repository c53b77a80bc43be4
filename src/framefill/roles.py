"""What each frame of a clip is to the model: given, to be filled in, or not there at all.

Every task of the library is a row of roles:

    predict      KKKKKTTTTT      rewind   TTTTTKKKKK      interpolate  KKTTTTTTKK
    infill       KTTKTTTKTT      upsample KTTTKTTTKT      generate     TTTTTTTTTT
"""

from enum import IntEnum

import torch
from jaxtyping import Bool
from torch import Tensor

from framefill.errors import InputError
from framefill.types import Roles


class Role(IntEnum):
    """The part that one frame plays. A frame has exactly one role, so roles can't contradict."""

    ABSENT = 0
    KNOWN = 1
    TARGET = 2


LETTERS = {"-": Role.ABSENT, "K": Role.KNOWN, "T": Role.TARGET}


def roles_from(*rows: str) -> Roles:
    """Read rows of roles, one row per clip: K known, T target, - absent.

    Returns:
        Roles [b f], b the number of rows.

    Raises:
        InputError: a letter is none of K, T, -; the rows differ in length; or a row has no target.

    >>> roles_from("KKT-", "TTTT").tolist()
    [[1, 1, 2, 0], [2, 2, 2, 2]]
    """
    for row in rows:
        check_row(row)
    if len({len(row) for row in rows}) != 1:
        raise InputError(
            f"rows of one batch need one length, but these have {list(map(len, rows))}"
        )
    return torch.tensor([[LETTERS[letter] for letter in row] for row in rows], dtype=torch.int8)


def check_row(row: str) -> None:
    """Refuse a row that is misspelt or asks for nothing.

    Raises:
        InputError: a letter is none of K, T, -, or no frame is a target.
    """
    if unknown := sorted(set(row) - set(LETTERS)):
        raise InputError(f"roles are spelled with K, T and -, but {row!r} has {unknown}")
    if "T" not in row:
        raise InputError(f"{row!r} leaves nothing to fill: at least one frame must be a target (T)")


def row_of(roles: Roles) -> str:
    """Return the letters of the first clip's roles, the inverse of `roles_from`.

    >>> row_of(roles_from("KT-"))
    'KT-'
    """
    letters = {role: letter for letter, role in LETTERS.items()}
    return "".join(letters[Role(role)] for role in roles[0].tolist())


def having(roles: Roles, role: Role) -> Bool[Tensor, "b f 1 1 1"]:
    """Select the frames that have `role`, ready to broadcast over a clip."""
    return (roles == role)[..., None, None, None]
