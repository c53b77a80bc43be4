"""How a network is spread over processes: copied to each (DDP), or divided among them (FSDP2)."""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from framefill.nn.unet import Step, UNet
from framefill.training.ranks import Ranks


def divided(network: nn.Module, ranks: Ranks, device: torch.device) -> None:
    """Divide a network's weights among the processes, in place (FSDP2).

    They come together station by station of the U-Net, when one is computed.
    """
    # The losses read what the network returns, and write nothing into it.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    mesh = init_device_mesh(device.type, (ranks.count,))
    for part in network.modules():
        if isinstance(part, UNet):
            for step in (*part.down, *part.middle, *part.up):
                fully_shard(step, mesh=mesh)
                if isinstance(step, Step) and step.skip is not None:
                    register_fsdp_forward_method(step, "join")
    fully_shard(network, mesh=mesh)


def callable_of(network: nn.Module, ranks: Ranks, *, shard: bool, compiled: bool) -> nn.Module:
    """Return what is called in a training step: the network, or one that adds up gradients.

    Args:
        network: With the weights that are trained, divided already if they are to be.
        ranks: The processes.
        shard: The weights are divided.
        compiled: Compile the network with torch.compile.
    """
    if compiled:
        network.compile()
    if shard or ranks.alone:
        return network
    copied = DistributedDataParallel(network, gradient_as_bucket_view=True)
    copied.listens = bool(getattr(network, "listens", False))  # type: ignore[assignment]
    return copied


def without_sum(network: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Return the context for a part of a batch: gradients are added up with the last part's."""
    if isinstance(network, DistributedDataParallel) and not last:
        return network.no_sync()
    return nullcontext()


def is_divided(network: nn.Module) -> bool:
    """Say whether a network's weights are divided among the processes."""
    return any(isinstance(each, DTensor) for each in network.parameters())


def own(tensors: list[Tensor]) -> list[Tensor]:
    """Return what this process has of tensors that may be divided."""
    return [each.to_local() if isinstance(each, DTensor) else each for each in tensors]


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor that may be divided as a whole one; every process has to ask."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_state(network: nn.Module, keep: bool) -> dict[str, Tensor]:
    """Return a network's weights, whole and on the CPU; every process has to ask.

    Args:
        network: Its weights may be divided.
        keep: This process needs them; the others get nothing, and hold one tensor at a time.
    """
    state = {}
    for name, value in network.state_dict().items():
        together = whole(value)
        if keep:
            state[name] = together.cpu().contiguous()
    return state


def load_whole(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load whole weights, which every process has, into a network whose own may be divided."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            value.copy_(like(weights[name], value))


def like(tensor: Tensor, model: Tensor) -> Tensor:
    """Return a whole tensor on another's device, divided as that one is."""
    tensor = tensor.to(model.device)
    if isinstance(model, DTensor):
        return distribute_tensor(tensor, model.device_mesh, model.placements)
    return tensor
