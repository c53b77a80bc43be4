"""RaMViD's parameter names (diffusion_openai/unet.py) and ours."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from framefill.convert.names import Renaming, layer_renamings, rename, rename_back
from framefill.nn.denoisers import VolumeDenoiser
from framefill.nn.layers import SelfAttention
from framefill.nn.unet import Step
from framefill.nn.unet3d import Downsample3d, ResidualBlock3d


def volume_weights(network: VolumeDenoiser, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return official weights under our names, ready for `network.load_state_dict`.

    Args:
        network: Our network of the same architecture.
        official: The official state dict.

    Raises:
        InputError: a parameter is missing, unknown or of another shape.
    """
    return rename(official, list(_renamings(network)), network.state_dict())


def official_volume_weights(
    network: VolumeDenoiser, ours: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return our weights under official names, in the official order of parameters.

    Args:
        network: Our network.
        ours: Tensors by the names and with the shapes of its weights; None: the weights.
    """
    tensors = network.state_dict() if ours is None else ours
    return rename_back(
        {name: value.detach().cpu() for name, value in tensors.items()}, list(_renamings(network))
    )


def _renamings(network: VolumeDenoiser) -> Iterator[Renaming]:
    yield from layer_renamings("time_embed.0", "embedding.first")
    yield from layer_renamings("time_embed.2", "embedding.second")
    if network.embedding.classes is not None:
        yield Renaming(("label_emb.weight",), "embedding.classes.weight")
    yield from layer_renamings("input_blocks.0.0", "unet.stem")
    yield from _steps(network, "down", lambda position: f"input_blocks.{position + 1}")
    # The official middle is one flat list: residual, attention, residual.
    first, second = network.unet.middle
    yield from _step(first, "middle_block", "unet.middle.0", offset=0)
    yield from _step(second, "middle_block", "unet.middle.1", offset=2)
    yield from _steps(network, "up", lambda position: f"output_blocks.{position}")
    yield from layer_renamings("out.0", "unet.head.norm")
    yield from layer_renamings("out.2", "unet.head.conv")


def _steps(
    network: VolumeDenoiser, part: str, official: Callable[[int], str]
) -> Iterator[Renaming]:
    for position, step in enumerate(getattr(network.unet, part)):
        yield from _step(step, official(position), f"unet.{part}.{position}", offset=0)


def _step(step: object, official: str, ours: str, *, offset: int) -> Iterator[Renaming]:
    if not isinstance(step, Step):
        return
    index = offset
    if isinstance(step.residual, ResidualBlock3d):
        yield from _residual(f"{official}.{index}", f"{ours}.residual", step.residual)
        index += 1
    if isinstance(step.attention, SelfAttention):
        yield from _attention(f"{official}.{index}", f"{ours}.attention", step.attention.heads)
        index += 1
    if step.resample is not None:
        layer = "op" if isinstance(step.resample, Downsample3d) else "conv"
        yield from layer_renamings(f"{official}.{index}.{layer}", f"{ours}.resample.conv")


def _residual(official: str, ours: str, block: ResidualBlock3d) -> Iterator[Renaming]:
    yield from layer_renamings(f"{official}.in_layers.0", f"{ours}.first_norm")
    yield from layer_renamings(f"{official}.in_layers.2", f"{ours}.first")
    yield from layer_renamings(f"{official}.emb_layers.1", f"{ours}.modulation")
    yield from layer_renamings(f"{official}.out_layers.0", f"{ours}.second_norm")
    yield from layer_renamings(f"{official}.out_layers.3", f"{ours}.second")
    if block.shortcut is not None:
        yield from layer_renamings(f"{official}.skip_connection", f"{ours}.shortcut")


def _attention(official: str, ours: str, heads: int) -> Iterator[Renaming]:
    def by_matrix(tensors: list[Tensor]) -> Tensor:
        """The official rows go head by head, ours matrix by matrix: q, k, v."""
        rows = tensors[0].flatten(1) if tensors[0].dim() > 1 else tensors[0]
        return rows.reshape(heads, 3, -1, *rows.shape[1:]).transpose(0, 1).flatten(0, 2)

    def by_head(whole: Tensor) -> list[Tensor]:
        rows = whole.reshape(3, heads, -1, *whole.shape[1:]).transpose(0, 1).flatten(0, 2)
        return [rows.unsqueeze(-1) if rows.dim() > 1 else rows]

    def flat(tensors: list[Tensor]) -> Tensor:
        return torch.flatten(tensors[0], 1)

    def windowed(whole: Tensor) -> list[Tensor]:
        return [whole.unsqueeze(-1)]

    yield from layer_renamings(f"{official}.norm", f"{ours}.norm")
    yield Renaming((f"{official}.qkv.weight",), f"{ours}.qkv.weight", by_matrix, by_head)
    yield Renaming((f"{official}.qkv.bias",), f"{ours}.qkv.bias", by_matrix, by_head)
    yield Renaming((f"{official}.proj_out.weight",), f"{ours}.out.weight", flat, windowed)
    yield Renaming((f"{official}.proj_out.bias",), f"{ours}.out.bias")
