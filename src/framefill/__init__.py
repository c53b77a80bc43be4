"""framefill: fill in the missing frames of a video.

import framefill as ff
model = ff.load("digits")
out = model.predict(ff.read("clip.mp4"), frames=10, samples=4)
out.save("next.mp4")
"""

from framefill.config import Config, read_config
from framefill.data.read import read
from framefill.data.video import Video
from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.evaluation.run import evaluate
from framefill.evaluation.weights import WeightFiles
from framefill.fill import Filler, load
from framefill.filled import Filled
from framefill.masks import BlockMasks, ContextMasks, MixedMasks, RandomMasks
from framefill.model import Model, load_model
from framefill.model_config import ModelConfig
from framefill.pndm import Pndm
from framefill.protocols.protocol import Protocol
from framefill.recipes import RECIPES, recipe
from framefill.roles import Role
from framefill.run import train
from framefill.sampling import Ddim, Ddpm, DpmSolver2M
from framefill.settings import Settings

__all__ = [
    "RECIPES",
    "BlockMasks",
    "Config",
    "ContextMasks",
    "Ddim",
    "Ddpm",
    "Diffusion",
    "DpmSolver2M",
    "Filled",
    "Filler",
    "InputError",
    "MixedMasks",
    "Model",
    "ModelConfig",
    "Pndm",
    "Protocol",
    "RandomMasks",
    "Role",
    "Settings",
    "Video",
    "WeightFiles",
    "evaluate",
    "load",
    "load_model",
    "read",
    "read_config",
    "recipe",
    "train",
]
