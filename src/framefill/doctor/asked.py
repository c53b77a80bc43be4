"""What was asked of the doctor: the data and the recipe."""

from dataclasses import dataclass, replace
from pathlib import Path

from framefill.config import Config
from framefill.data.videos import VideosConfig
from framefill.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked of the doctor.

    Args:
        data: The file or folder.
        recipe: Name of the recipe, or the file that the configuration is from.
        plain: The recipe's configuration as it is.
        config: The same with the user's own settings.
    """

    data: Path
    recipe: str
    plain: Config
    config: Config

    @property
    def videos(self) -> VideosConfig:
        """The configuration of the data.

        Raises:
            InputError: the recipe makes its own data.
        """
        if not isinstance(self.config.data, VideosConfig):
            raise InputError(
                f"recipe {self.recipe} makes its own data and takes none: choose another, such as "
                "small-st"
            )
        return replace(self.config.data, path=self.data)

    def without_path(self, config: Config) -> VideosConfig:
        """Return the configuration of the data with the path that the recipe's own has."""
        here, plain = config.data, self.plain.data
        if not isinstance(here, VideosConfig) or not isinstance(plain, VideosConfig):
            return self.videos
        return replace(here, path=plain.path)
