"""Facts about the user's videos: what is there, what is missing, what is there twice.

Nothing is judged here. What can't be opened or read is noted by name, and the rest goes on. Of
large data a sample is looked at: some stretches of frames of some videos.
"""

from framefill.data.examine.examination import examine
from framefill.data.examine.facts import Facts, Refused, Shared, ValueFacts, VideoFacts
from framefill.data.examine.gathering import Gathered, gather
from framefill.data.examine.look import Look, looked_at

__all__ = [
    "Facts",
    "Gathered",
    "Look",
    "Refused",
    "Shared",
    "ValueFacts",
    "VideoFacts",
    "examine",
    "gather",
    "looked_at",
]
