"""C3D, whose classes the Inception Score of videos compares.

Tran et al. 2015, "Learning Spatiotemporal Features with 3D Convolutional Networks", Figure 3,
fine-tuned on UCF-101 for the score of Saito et al. 2020, "Train Sparsely, Generate Densely"
(pfnet-research/tgan2, tgan2/models/c3d/c3d_ucf101.py). The weights have the names of the port to
PyTorch in DavideA/c3d-pytorch, C3D_model.py.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from framefill.metrics.backbones.state import State

SIDE, FRAMES = 112, 16
LAYERS = ("conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")
POOLED = ("conv1", "conv2", "conv3b", "conv4b", "conv5b")  # maxima are taken after these
DENSE = ("fc6", "fc7", "fc8")
UCF101 = (64, 128, 256, 256, 512, 512, 512, 512, 4096, 4096, 101)
# Blue, green, red of UCF-101, in bytes. TGAN2 takes away a mean video, mean2.npz; its code has
# these means of the same videos as a comment.
MEAN = (90.25164795, 97.65701294, 101.4083252)


class C3d(nn.Module):
    """The network, without dropout, which does nothing after training.

    The last maxima are of what there is at the right and lower edge, as in Caffe, where the
    weights come from, and in TGAN2; the ports to PyTorch pad all edges there instead.

    Args:
        widths: Channels of the layers `LAYERS` and `DENSE`.
    """

    def __init__(self, widths: tuple[int, ...] = UCF101) -> None:
        super().__init__()
        channels = 3
        for name, width in zip(LAYERS, widths[: len(LAYERS)], strict=True):
            self.add_module(name, nn.Conv3d(channels, width, 3, padding=1))
            channels = width
        channels *= 4 * 4  # pixels
        for name, width in zip(DENSE, widths[len(LAYERS) :], strict=True):
            self.add_module(name, nn.Linear(channels, width))
            channels = width

    def forward(self, videos: Float[Tensor, "n 3 16 112 112"]) -> Float[Tensor, "n classes"]:
        """Return the probability of each class, as the score takes them.

        Args:
            videos: Blue, green and red in bytes, less their mean.
        """
        values = videos
        for name in LAYERS:
            values = F.relu(self.get_submodule(name)(values))
            if name in POOLED:
                size = (1 if name == "conv1" else 2, 2, 2)
                values = F.max_pool3d(values, size, ceil_mode=True)
        values = values.flatten(1)
        for name in DENSE[:-1]:
            values = F.relu(self.get_submodule(name)(values))
        return self.get_submodule(DENSE[-1])(values).softmax(dim=1)


def build(state: State) -> C3d:
    """Return the network with the weights of a file, from whose shapes its widths are read.

    Raises:
        InputError: the weights are not those of a C3D.
    """
    widths = [state.shape(f"{name}.weight", 5)[0] for name in LAYERS]
    widths += [state.shape(f"{name}.weight", 2)[0] for name in DENSE]
    with torch.device("meta"):
        network = C3d(tuple(widths))
    state.fill(network)
    return network


def prepare(pictures: Float[Tensor, "n 3 f y x"]) -> Float[Tensor, "n 3 f y x"]:
    """Return pictures of 0..1 as the network takes them.

    TGAN2 makes 128 x + 128 of its values x in -1..1, so white is 256 rather than 255.
    """
    mean = torch.tensor(MEAN, device=pictures.device).reshape(3, 1, 1, 1)
    return 256 * pictures.flip(1) - mean
