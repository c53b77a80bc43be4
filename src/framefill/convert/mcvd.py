"""MCVD's parameter names (mcvd-pytorch, models/better/ncsnpp_more.py) and ours.

The official network is one list, `all_modules`, in the order in which its forward pass walks
through it; each residual block, each attention block and each mix of frames has an index of its
own. Official checkpoints hold states under three prefixes: `module.` (DataParallel), `unet.`, or
both.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from framefill.convert.names import Renaming, layer_renamings, rename, rename_back
from framefill.nn.denoisers import BlockDenoiser
from framefill.nn.layers import SelfAttention
from framefill.nn.mcvd3d import FrameConverter, FrameMix, SeparableConv, SpaceTimeAttention
from framefill.nn.spatin import SpatinNorm
from framefill.nn.unet import Step
from framefill.nn.unet2d import BigGanBlock, Head, ModulatedNorm

BUFFERS = ("betas", "alphas", "alphas_prev", "k", "k_cum", "theta_t", "unet.sigmas")


def mcvd_weights(network: BlockDenoiser, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return official weights under our names, ready for `network.load_state_dict`.

    Args:
        network: Our network of the same architecture.
        official: The official state dict, with or without the prefixes `module.` and `unet.`.

    Raises:
        InputError: a parameter is missing, unknown or of another shape.
    """
    parameters = {
        _bare(name): value for name, value in official.items() if _plain(name) not in BUFFERS
    }
    return rename(_renewed(parameters), list(_renamings(network)), network.state_dict())


def official_weights(network: BlockDenoiser) -> dict[str, Tensor]:
    """Return our weights under official names, prefixed `unet.`."""
    official = rename_back(network.state_dict(), list(_renamings(network)))
    return {f"unet.{name}": value for name, value in official.items()}


def _plain(name: str) -> str:
    return name.removeprefix("module.")


def _bare(name: str) -> str:
    return _plain(name).removeprefix("unet.")


def _renewed(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the last norm of very old checkpoints, which has no name of its own, today's name.

    It is the one norm that stands in the list itself, before the last convolution.
    """
    found = (re.match(r"all_modules\.(\d{1,6})\.", name) for name in parameters)
    norm = f"all_modules.{max((int(match[1]) for match in found if match), default=0) - 1}"
    return {
        name.replace(f"{norm}.", f"{norm}.Norm_0.") if name in _layer_names(norm) else name: value
        for name, value in parameters.items()
    }


def _layer_names(layer: str) -> tuple[str, str]:
    return f"{layer}.weight", f"{layer}.bias"


def _renamings(network: BlockDenoiser) -> Iterator[Renaming]:
    index = 0

    def name() -> str:
        nonlocal index
        index += 1
        return f"all_modules.{index - 1}"

    yield from layer_renamings(name(), "embedding.first")
    yield from layer_renamings(name(), "embedding.second")
    if network.embedding.past is not None:
        yield Renaming((f"{name()}.weight",), "embedding.past.weight")
    yield from _convolution(name(), "unet.stem", network.unet.stem)
    for part in ("down", "middle", "up"):
        for position, step in enumerate(getattr(network.unet, part)):
            if isinstance(step, Step):
                yield from _step(name, f"unet.{part}.{position}", step)
    head = cast(Head, network.unet.head)
    yield from _norm(f"{name()}.Norm_0", "unet.head.norm", head.norm)
    yield from _convolution(name(), "unet.head.conv", head.conv)


def _step(name: Callable[[], str], ours: str, step: Step) -> Iterator[Renaming]:
    if isinstance(step.skip, FrameMix):
        yield from layer_renamings(name(), f"{ours}.skip.conv")
    if isinstance(step.residual, BigGanBlock):
        yield from _residual(name(), f"{ours}.residual", step.residual)
    if isinstance(step.attention, SelfAttention):
        yield from _attention(name(), f"{ours}.attention")
    if isinstance(step.attention, SpaceTimeAttention):
        official = name()
        yield from _attention(f"{official}.space_att", f"{ours}.attention.space")
        yield from _attention(f"{official}.time_att", f"{ours}.attention.time")
    if isinstance(step.resample, FrameMix):
        yield from layer_renamings(name(), f"{ours}.resample.conv")


def _residual(official: str, ours: str, block: BigGanBlock) -> Iterator[Renaming]:
    yield from _modulated(f"{official}.actnorm0", f"{ours}.first_norm", block.first_norm)
    yield from _convolution(f"{official}.Conv_0", f"{ours}.first", block.first)
    yield from _modulated(f"{official}.actnorm1", f"{ours}.second_norm", block.second_norm)
    yield from _convolution(f"{official}.Conv_1", f"{ours}.second", block.second)
    if block.shortcut is not None:
        yield from _convolution(f"{official}.Conv_2", f"{ours}.shortcut", block.shortcut)


def _modulated(official: str, ours: str, norm: nn.Module) -> Iterator[Renaming]:
    modulated = cast(ModulatedNorm, norm)
    yield from _norm(f"{official}.Norm_0", f"{ours}.norm", modulated.norm)
    yield from layer_renamings(f"{official}.Dense_0", f"{ours}.modulation")


def _norm(official: str, ours: str, norm: nn.Module) -> Iterator[Renaming]:
    if isinstance(norm, SpatinNorm):
        if isinstance(norm.enter, FrameConverter):
            yield from _convolution(f"{official}.converter", f"{ours}.enter.conv", norm.enter.conv)
        yield from _convolution(f"{official}.mlp_shared.0", f"{ours}.shared", norm.shared)
        yield from _convolution(f"{official}.mlp_gamma", f"{ours}.scale", norm.scale)
        yield from _convolution(f"{official}.mlp_beta", f"{ours}.shift", norm.shift)
    elif isinstance(norm, nn.GroupNorm) and norm.affine:
        yield from layer_renamings(official, ours)


def _convolution(official: str, ours: str, conv: nn.Module) -> Iterator[Renaming]:
    if isinstance(conv, SeparableConv):
        yield from layer_renamings(f"{official}.space_conv", f"{ours}.space")
        yield from layer_renamings(f"{official}.time_conv", f"{ours}.time")
    else:
        in_volumes = isinstance(conv, nn.Conv3d)
        yield from layer_renamings(f"{official}.conv" if in_volumes else official, ours)


def _attention(official: str, ours: str) -> Iterator[Renaming]:
    yield from layer_renamings(f"{official}.GroupNorm_0", f"{ours}.norm")
    for kind, letter in (("weight", "W"), ("bias", "b")):
        three = tuple(f"{official}.NIN_{i}.{letter}" for i in range(3))
        yield Renaming(three, f"{ours}.qkv.{kind}", _stacked, _unstacked)
        yield Renaming((f"{official}.NIN_3.{letter}",), f"{ours}.out.{kind}", _stacked, _turned)


def _stacked(parts: list[Tensor]) -> Tensor:
    """The official matrices are (in, out), ours (out, in) and three in one."""
    return torch.cat([part.t() for part in parts])


def _unstacked(whole: Tensor) -> list[Tensor]:
    return [part.t() for part in whole.chunk(3)]


def _turned(matrix: Tensor) -> list[Tensor]:
    return [matrix.t()]
