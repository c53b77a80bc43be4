"""MCVD's published settings (mcvd-pytorch, configs/*.yml).

The checkpoints of the paper were trained with some of these files changed on the command line
(example_scripts/final/training_scripts.sh); a recipe says which file it is and what was changed,
or what of it is ours.
"""

from framefill.config import Config, DataConfig, LogConfig, OptimConfig
from framefill.data.digits import DigitsConfig
from framefill.data.videos import VideosConfig
from framefill.diffusion import Diffusion
from framefill.masks import BlockMasks
from framefill.nn.config import ConcatConfig, Mcvd3dConfig, SpatinConfig
from framefill.objective import MaskedLoss
from framefill.recipes.entry import Recipe
from framefill.sampling import Ddpm
from framefill.schedule import TableSchedule

Network = ConcatConfig | SpatinConfig | Mcvd3dConfig
COARSE = (2, 3, 4)  # the resolutions 32, 16 and 8 of five, from 128


def mcvd(
    data: DataConfig,
    masks: BlockMasks,
    network: Network,
    *,
    batch: int = 64,
    lr: float = 1e-4,
    warmup: int = 5000,
) -> Config:
    """Return what all of MCVD's configs have in common, with what they differ in."""
    return Config(
        data=data,
        masks=masks,
        network=network,
        diffusion=Diffusion(schedule=TableSchedule(), labels="countdown", keep_noise=True),
        loss=MaskedLoss(reduction="half_sum"),
        sampler=Ddpm(steps=100),
        optim=OptimConfig(steps=3_000_001, batch=batch, lr=lr, warmup=warmup),
        precision="float32",
        log=LogConfig(save_every=1000, sample_every=50_000),
    )


def _smmnist(network: Network, masks: BlockMasks) -> Config:
    return mcvd(DigitsConfig(), masks, network, lr=2e-4, warmup=1000)


def _kth(network: Network, masks: BlockMasks) -> Config:
    return mcvd(VideosConfig(channels=1, flip=True), masks, network, lr=2e-4)


def _bair(network: Network, masks: BlockMasks, batch: int = 64) -> Config:
    return mcvd(VideosConfig(flip=True), masks, network, batch=batch)


def _cityscapes(network: Network, masks: BlockMasks, batch: int = 32) -> Config:
    return mcvd(VideosConfig(height=128, width=128, flip=True), masks, network, batch=batch)


def _ucf101(network: Network, masks: BlockMasks, batch: int = 32) -> Config:
    return mcvd(VideosConfig(flip=True), masks, network, batch=batch)


def _all_tasks(past: int, target: int, future: int) -> BlockMasks:
    return BlockMasks(past=past, target=target, future=future, drop_past=0.5, drop_future=0.5)


def _prediction(past: int, target: int) -> BlockMasks:
    return BlockMasks(past=past, target=target)


def _concat(width: int, head_width: int | None = None) -> ConcatConfig:
    return ConcatConfig(width=width, head_width=head_width or width)


def _spatin(width: int, hidden: int, head_width: int | None = None) -> SpatinConfig:
    return SpatinConfig(width=width, head_width=head_width or width, hidden=hidden)


def _small(attention: tuple[int, ...], dropout: float) -> ConcatConfig:
    return ConcatConfig(
        width=32, multipliers=(1, 2, 2, 2), blocks=3, attention=attention, dropout=dropout
    )


FINE = (1, 1, 2, 3, 4)  # multipliers at 128 pixels


def _fine_concat(width: int) -> ConcatConfig:
    return ConcatConfig(
        width=width, head_width=width, multipliers=FINE, attention=COARSE, dropout=0.0
    )


def _fine_spatin(width: int, hidden: int) -> SpatinConfig:
    return SpatinConfig(
        width=width,
        head_width=width,
        hidden=hidden,
        multipliers=FINE,
        attention=COARSE,
        dropout=0.0,
    )


SMMNIST = {
    "smmnist-concat": Recipe(
        lambda: _smmnist(_concat(64), _all_tasks(5, 5, 5)),
        "Stochastic Moving MNIST, all tasks",
        "smmnist_DDPM_big5 + num_frames_future=5, prob_mask_cond=prob_mask_future=0.5",
    ),
    "smmnist-spatin": Recipe(
        lambda: _smmnist(_spatin(64, 128), _all_tasks(5, 5, 5)),
        "Stochastic Moving MNIST, all tasks",
        "smmnist_DDPM_big5_spade + num_frames_future=5, prob_mask_cond=prob_mask_future=0.5",
    ),
    "smmnist-concat-prediction": Recipe(
        lambda: _smmnist(_concat(64), _prediction(5, 5)),
        "Stochastic Moving MNIST, prediction",
        "smmnist_DDPM_big5",
    ),
    "smmnist-spatin-prediction": Recipe(
        lambda: _smmnist(_spatin(64, 128), _prediction(5, 5)),
        "Stochastic Moving MNIST, prediction",
        "smmnist_DDPM_big5_spade",
    ),
    "smmnist-3d": Recipe(
        lambda: _smmnist(Mcvd3dConfig(), _prediction(5, 2)),
        "Stochastic Moving MNIST, prediction, 3-D convolutions",
        "smmnist_DDPM_small5_3d_32Gb",
    ),
    "smmnist-pseudo3d": Recipe(
        lambda: _smmnist(Mcvd3dConfig(separable=True), _prediction(5, 2)),
        "Stochastic Moving MNIST, prediction, separable convolutions",
        "smmnist_DDPM_small5_3d_32Gb + arch=unetmorepseudo3d",
    ),
}

KTH = {
    "kth-concat": Recipe(
        lambda: _kth(_concat(96), _all_tasks(5, 5, 5)),
        "KTH actions, all tasks",
        "kth64_big + num_frames_cond=num_frames_future=5, masks 0.5",
    ),
    "kth-spatin": Recipe(
        lambda: _kth(_spatin(192, 192, head_width=96), _all_tasks(5, 5, 5)),
        "KTH actions, all tasks",
        "network of kth-spatin-prediction, frames and masks of kth-concat: ours",
    ),
    "kth-concat-prediction": Recipe(
        lambda: _kth(_concat(96), _prediction(10, 5)), "KTH actions, prediction", "kth64_big"
    ),
    "kth-spatin-prediction": Recipe(
        lambda: _kth(_spatin(192, 192, head_width=96), _prediction(10, 5)),
        "KTH actions, prediction",
        "kth64_big_spade + ngf=192, spade_dim=192",
    ),
    "kth-spatin-96": Recipe(
        lambda: _kth(_spatin(96, 128), _prediction(10, 5)),
        "KTH actions, prediction",
        "kth64_big_spade",
    ),
}

BAIR = {
    "bair-concat": Recipe(
        lambda: _bair(_concat(192), _all_tasks(1, 5, 1)),
        "BAIR robot pushing, all tasks",
        "bair_big + ngf=192, n_head_channels=192, num_frames_cond=num_frames_future=1, masks 0.5",
    ),
    "bair-spatin": Recipe(
        lambda: _bair(_spatin(192, 128), _all_tasks(1, 5, 1)),
        "BAIR robot pushing, all tasks",
        "network of bair-spatin-prediction, frames and masks of bair-concat: ours",
    ),
    "bair-concat-prediction": Recipe(
        lambda: _bair(_concat(192), _prediction(2, 5)),
        "BAIR robot pushing, prediction",
        "bair_big + ngf=192, n_head_channels=192",
    ),
    "bair-spatin-prediction": Recipe(
        lambda: _bair(_spatin(192, 128), _prediction(2, 5)),
        "BAIR robot pushing, prediction",
        "bair_big_spade + ngf=192, n_head_channels=192",
    ),
    "bair-concat-96": Recipe(
        lambda: _bair(_concat(96), _prediction(2, 5)),
        "BAIR robot pushing, prediction",
        "bair_big",
    ),
    "bair-spatin-96": Recipe(
        lambda: _bair(_spatin(96, 128), _prediction(2, 5)),
        "BAIR robot pushing, prediction",
        "bair_big_spade",
    ),
    "bair-small": Recipe(
        lambda: _bair(_small((1, 2, 3), dropout=0.1), _prediction(2, 10), batch=32),
        "BAIR robot pushing, prediction",
        "bair, without its change of hue",
    ),
}

CITYSCAPES = {
    "cityscapes-concat": Recipe(
        lambda: _cityscapes(_fine_concat(192), _prediction(2, 5)),
        "Cityscapes, prediction at 128 x 128",
        "cityscapes_big + ngf=192, n_head_channels=192, batch_size=32",
    ),
    "cityscapes-spatin": Recipe(
        lambda: _cityscapes(_fine_spatin(256, 128), _prediction(2, 5), batch=16),
        "Cityscapes, prediction at 128 x 128",
        "cityscapes_big_spade + ngf=256, n_head_channels=256, spade_dim=128, batch_size=16",
    ),
    "cityscapes-concat-128": Recipe(
        lambda: _cityscapes(_fine_concat(128), _prediction(2, 5), batch=64),
        "Cityscapes, prediction at 128 x 128",
        "cityscapes_big",
    ),
    "cityscapes-spatin-192": Recipe(
        lambda: _cityscapes(_fine_spatin(192, 256), _prediction(2, 5)),
        "Cityscapes, prediction at 128 x 128",
        "cityscapes_big_spade",
    ),
    "cityscapes-small": Recipe(
        lambda: _cityscapes(_small((2, 3), dropout=0.0), _prediction(2, 2)),
        "Cityscapes, prediction at 128 x 128",
        "cityscapes",
    ),
}

UCF101 = {
    "ucf101-mcvd": Recipe(
        lambda: _ucf101(_concat(288), BlockMasks(past=4, target=4, drop_past=0.5)),
        "UCF-101, prediction and generation",
        "ucf101 + ngf=288, n_head_channels=288, batch_size=32, prob_mask_cond=0.5",
    ),
    "ucf101-mcvd-spatin": Recipe(
        lambda: _ucf101(_spatin(288, 192), BlockMasks(past=4, target=4, drop_past=0.5)),
        "UCF-101, prediction and generation",
        "ucf101 + spade, spade_dim=192, otherwise as above",
    ),
    "ucf101-mcvd-192": Recipe(
        lambda: _ucf101(_concat(192, 96), _prediction(4, 4), batch=64),
        "UCF-101, prediction",
        "ucf101",
    ),
}

MCVD: dict[str, Recipe] = {**SMMNIST, **KTH, **BAIR, **CITYSCAPES, **UCF101}
