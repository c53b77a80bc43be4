"""Published settings and our own, by name."""

from framefill.config import Config
from framefill.errors import InputError, suggestion
from framefill.recipes.digits import digits
from framefill.recipes.entry import Recipe
from framefill.recipes.mcvd import MCVD
from framefill.recipes.ramvid import RAMVID
from framefill.recipes.spacetime import SPACE_TIME

RECIPES: dict[str, Recipe] = {
    "digits": Recipe(digits, "the demo: small moving digits, minutes on a CPU", "ours"),
    **MCVD,
    **RAMVID,
    **SPACE_TIME,
}


def recipe(name: str) -> Config:
    """Return a recipe by its name.

    Raises:
        InputError: there is no such recipe.
    """
    if name not in RECIPES:
        raise InputError(
            f"no recipe or model folder {name!r}{suggestion(name, RECIPES)}; recipes: "
            f"{', '.join(RECIPES)}"
        )
    return RECIPES[name].make()
