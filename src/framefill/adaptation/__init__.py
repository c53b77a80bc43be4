"""A trained model as the start of another training: other frames, clips, classes or conditions."""

from framefill.adaptation.adapted import Adapted, adapted

__all__ = ["Adapted", "adapted"]
