"""MCVD's parameter names (mcvd-pytorch, models/better/ncsnpp_more.py) and ours.

The official network is one list, `all_modules`, in the order in which its forward pass walks
through it; each residual block and each attention block has an index of its own.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from framefill.convert.names import Renaming, layer_renamings, rename
from framefill.nn.denoisers import ConcatDenoiser
from framefill.nn.layers import SelfAttention
from framefill.nn.unet import Step
from framefill.nn.unet2d import ResidualBlock2d

BUFFERS = ("betas", "alphas", "alphas_prev", "k", "k_cum", "theta_t", "unet.sigmas")


def concat_weights(network: ConcatDenoiser, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
    return rename(parameters, list(_renamings(network)), network.state_dict())


def _plain(name: str) -> str:
    return name.removeprefix("module.")


def _bare(name: str) -> str:
    return _plain(name).removeprefix("unet.")


def _renamings(network: ConcatDenoiser) -> Iterator[Renaming]:
    index = 0

    def name() -> str:
        nonlocal index
        index += 1
        return f"all_modules.{index - 1}"

    yield from layer_renamings(name(), "embedding.first")
    yield from layer_renamings(name(), "embedding.second")
    yield from layer_renamings(name(), "unet.stem")
    for part in ("down", "middle", "up"):
        for position, step in enumerate(getattr(network.unet, part)):
            ours = f"unet.{part}.{position}"
            if not isinstance(step, Step):
                continue
            if isinstance(step.residual, ResidualBlock2d):
                yield from _residual(name(), f"{ours}.residual", step.residual)
            if isinstance(step.attention, SelfAttention):
                yield from _attention(name(), f"{ours}.attention")
    yield from layer_renamings(f"{name()}.Norm_0", "unet.head.norm")
    yield from layer_renamings(name(), "unet.head.conv")


def _residual(official: str, ours: str, block: ResidualBlock2d) -> Iterator[Renaming]:
    yield from layer_renamings(f"{official}.actnorm0.Dense_0", f"{ours}.first_norm.modulation")
    yield from layer_renamings(f"{official}.Conv_0", f"{ours}.first")
    yield from layer_renamings(f"{official}.actnorm1.Dense_0", f"{ours}.second_norm.modulation")
    yield from layer_renamings(f"{official}.Conv_1", f"{ours}.second")
    if block.shortcut is not None:
        yield from layer_renamings(f"{official}.Conv_2", f"{ours}.shortcut")


def _attention(official: str, ours: str) -> Iterator[Renaming]:
    yield from layer_renamings(f"{official}.GroupNorm_0", f"{ours}.norm")
    matrices = tuple(f"{official}.NIN_{i}.W" for i in range(3))
    yield Renaming(matrices, f"{ours}.qkv.weight", _stack_transposed)
    biases = tuple(f"{official}.NIN_{i}.b" for i in range(3))
    yield Renaming(biases, f"{ours}.qkv.bias", torch.cat)
    yield Renaming((f"{official}.NIN_3.W",), f"{ours}.out.weight", _stack_transposed)
    yield Renaming((f"{official}.NIN_3.b",), f"{ours}.out.bias")


def _stack_transposed(matrices: list[Tensor]) -> Tensor:
    """The official matrices are (in, out), ours are (out, in)."""
    return torch.cat([matrix.T for matrix in matrices])
