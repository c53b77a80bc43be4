"""The space-time network: what it reads, what it must not read, and that it learns from both."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from framefill.conditions import Condition
from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.guidance import Guided
from framefill.masks import BlockMasks, RandomMasks
from framefill.model_config import ModelConfig
from framefill.nn import temporal
from framefill.nn.config import (
    ConcatConfig,
    ContextConfig,
    Mcvd3dConfig,
    SpaceTimeConfig,
    SpatinConfig,
    VolumeConfig,
)
from framefill.nn.denoisers import Telling
from framefill.nn.spacetime import SpaceTimeDenoiser
from framefill.nn.temporal import RelativeBias, TemporalAttention, TemporalConv
from framefill.normalise import Normaliser
from framefill.objective import MaskedLoss
from framefill.roles import Role, roles_from
from framefill.schedule import LogNormalSchedule
from framefill.serialise import from_data, to_data
from framefill.told import Told

MASKS = RandomMasks(frames=4, max_known=2)
ACTION = Condition(name="action", kind="vector", size=3)
KEYS = Condition(name="keys", kind="vector", size=1)  # also what a dictionary has by this name
WIND = Condition(name="wind", kind="map", size=2)
TERRAIN = Condition(name="terrain", kind="static", size=1)
CONDITIONS = (ACTION, WIND, KEYS, TERRAIN)
ROLES = roles_from("KKT-T", "-TKKT")
SIZE = (8, 12)


def small(**changes: Any) -> SpaceTimeConfig:
    settings: dict[str, Any] = {
        "width": 8,
        "multipliers": (1, 2),
        "blocks": 1,
        "attention": (1,),
        "temporal_attention": (0, 1),
        "head_width": 8,
        "classes": 3,
    }
    return SpaceTimeConfig(**{**settings, **changes})


def build(config: SpaceTimeConfig, **options: Any) -> SpaceTimeDenoiser:
    torch.manual_seed(0)
    network = config.build(**{"channels": 2, "masks": MASKS, "conditions": CONDITIONS, **options})
    assert isinstance(network, SpaceTimeDenoiser)
    return network.eval()


def awake(network: nn.Module) -> nn.Module:
    """Leave nothing at zero, as after some training."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return awake(build(small()))


@pytest.fixture
def canvas() -> Tensor:
    return torch.randn(2, 5, 2, *SIZE, generator=Generator().manual_seed(2))


@pytest.fixture
def labels() -> Tensor:
    return torch.tensor([[0.0, 1, 300, 0, 310], [0, -50, 3, 0, -40]])


@pytest.fixture
def told() -> Told:
    generator = Generator().manual_seed(3)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return Told(
        valid=torch.rand(2, 5, 1, *SIZE, generator=generator) < 0.8,
        classes=torch.tensor([0, 2]),
        conditions={
            "action": some(2, 5, 3),
            "wind": some(2, 5, 2, *SIZE),
            "keys": some(2, 5, 1),
            "terrain": some(2, 1, 1, *SIZE),
        },
    )


def with_condition(told: Told, name: str, value: Tensor) -> Told:
    return replace(told, conditions={**told.conditions, name: value})


def differ(ours: Tensor, theirs: Tensor) -> bool:
    """Say whether two outputs differ by more than rounding; both must be numbers."""
    assert ours.isfinite().all()
    assert theirs.isfinite().all()
    return bool((ours - theirs).abs().max() > 1e-4 * ours.abs().max())


@pytest.mark.parametrize("learned_spread", [False, True])
@pytest.mark.parametrize(
    ("patch", "frames", "size"), [(1, 1, (2, 4)), (1, 7, (6, 10)), (2, 3, (4, 12)), (3, 2, (12, 6))]
)
def test_any_size_and_length(
    patch: int, frames: int, size: tuple[int, int], learned_spread: bool
) -> None:
    config = small(patch=patch)
    assert config.divisor == 2 * patch
    network = awake(build(config, learned_spread=learned_spread))
    clips = torch.randn(2, frames, 2, *size)
    output = network(clips, torch.zeros(2, frames), roles_from("T" * frames).expand(2, -1))
    assert output.shape == (2, frames, 4 if learned_spread else 2, *size)
    assert output.isfinite().all()


def test_patches_come_back_in_their_place(canvas: Tensor, labels: Tensor) -> None:
    """One that is changed changes the output around it alone: no attention, few convolutions."""
    config = small(patch=2, multipliers=(1,), attention=(), temporal_attention=())
    network = awake(build(config))
    wide = torch.cat([canvas] * 6, dim=4)
    changed = wide.clone()
    changed[..., 0] += 1
    difference = (network(wide, labels, ROLES) - network(changed, labels, ROLES)).abs()
    # Normalisation is over the whole image, so the far end changes too, but less.
    assert difference[..., :4].mean() > 3 * difference[..., -4:].mean()


def test_the_first_prediction_is_zero(canvas: Tensor, labels: Tensor, told: Told) -> None:
    output = build(small())(canvas, labels, ROLES, told)
    assert not output.any()


def test_at_first_frames_are_separate_images_and_later_they_are_not(
    canvas: Tensor, labels: Tensor, told: Told
) -> None:
    fresh = build(small())
    nn.init.normal_(fresh.unet.head.conv.weight)
    other = canvas.clone()
    other[0, 1] += 1  # a KNOWN frame
    for net, reaches in ((fresh, [1]), (awake(build(small())), [0, 1, 2, 3, 4])):
        before, after = (net(frames, labels, ROLES, told) for frames in (canvas, other))
        changed = (before != after).flatten(2).any(2)
        assert changed[0].nonzero().flatten().tolist() == reaches
        assert not changed[1].any()


def test_every_frame_has_its_own_level(canvas: Tensor, labels: Tensor, told: Told) -> None:
    fresh = build(small())
    nn.init.normal_(fresh.unet.head.conv.weight)
    for frame in range(5):
        other = labels.clone()
        other[0, frame] += 40
        before, after = (fresh(canvas, told_of, ROLES, told) for told_of in (labels, other))
        changed = (before != after).flatten(2).any(2)
        expected = [] if ROLES[0, frame] == Role.ABSENT else [frame]
        assert changed[0].nonzero().flatten().tolist() == expected
        assert not changed[1].any()


@pytest.mark.parametrize("name", ["action", "wind"])
def test_every_frame_has_its_own_conditions(
    canvas: Tensor, labels: Tensor, told: Told, name: str
) -> None:
    fresh = build(small())
    nn.init.normal_(fresh.unet.head.conv.weight)
    before = fresh(canvas, labels, ROLES, told)
    for frame in range(5):
        value = told.conditions[name].clone()
        value[0, frame] += 1
        changed = before != fresh(canvas, labels, ROLES, with_condition(told, name, value))
        assert changed.flatten(2).any(2).nonzero().tolist() == [[0, frame]]


@pytest.mark.parametrize("junk", [torch.nan, torch.inf, -1e30, 3.0])
def test_what_is_not_there_is_never_read(
    network: nn.Module, canvas: Tensor, labels: Tensor, told: Told, junk: float
) -> None:
    hidden = (ROLES == Role.ABSENT)[..., None, None, None] | ~told.valid
    dirty = canvas.masked_fill(hidden, junk)
    ours, theirs = (network(frames, labels, ROLES, told) for frames in (canvas, dirty))
    assert torch.equal(ours, theirs)
    absent = canvas.masked_fill((ROLES == Role.ABSENT)[..., None, None, None], junk)
    assert torch.equal(network(canvas, labels, ROLES), network(absent, labels, ROLES))


def test_what_is_there_is_read(
    network: nn.Module, canvas: Tensor, labels: Tensor, told: Told
) -> None:
    before = network(canvas, labels, ROLES, told)
    for frame in range(5):
        if ROLES[0, frame] == Role.ABSENT:
            continue
        row, column = told.valid[0, frame, 0].nonzero()[0].tolist()
        other = canvas.clone()
        other[0, frame, 1, row, column] += 5
        assert differ(before, network(other, labels, ROLES, told)), frame


def test_gaps_are_told_from_zeros(
    network: nn.Module, canvas: Tensor, labels: Tensor, told: Told
) -> None:
    zeros = canvas.masked_fill(~told.valid, 0.0)
    before = network(zeros, labels, ROLES, told)
    assert differ(before, network(zeros, labels, ROLES, replace(told, valid=None)))
    full = replace(told, valid=torch.ones_like(told.valid))
    none = replace(told, valid=None)
    assert torch.equal(*(network(zeros, labels, ROLES, what) for what in (full, none)))


def test_roles_are_read(network: nn.Module, canvas: Tensor, labels: Tensor, told: Told) -> None:
    rows = ["KKT-T", "KTT-T", "KKTTT", "KKTKT", "K-T-T"]
    outputs = [network(canvas[:1], labels[:1], roles_from(row), told.of(slice(1))) for row in rows]
    for other in outputs[1:]:
        assert differ(outputs[0], other)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: c.name)
def test_conditions_are_read_value_by_value(
    network: nn.Module, canvas: Tensor, labels: Tensor, told: Told, condition: Condition
) -> None:
    before = network(canvas, labels, ROLES, told)
    value = told.conditions[condition.name]
    for channel in range(condition.size):
        place = (0, 0, channel, *[0] * (value.ndim - 3))
        outputs = [before]
        for word in (value[place] + 5, 0.0, torch.nan):
            other = value.clone()
            other[place] = word
            after = network(canvas, labels, ROLES, with_condition(told, condition.name, other))
            assert all(differ(known, after) for known in outputs)
            assert torch.allclose(before[1], after[1], atol=1e-5)  # of the other clip
            outputs.append(after)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: c.name)
def test_what_is_not_told_is_unknown(
    network: nn.Module, canvas: Tensor, labels: Tensor, told: Told, condition: Condition
) -> None:
    unknown = torch.full_like(told.conditions[condition.name], torch.nan)
    rest = {name: value for name, value in told.conditions.items() if name != condition.name}
    ours = network(canvas, labels, ROLES, with_condition(told, condition.name, unknown))
    theirs = network(canvas, labels, ROLES, replace(told, conditions=rest))
    assert torch.equal(ours, theirs)


def test_a_vector_that_is_known_for_some_frames(
    network: nn.Module, canvas: Tensor, labels: Tensor, told: Told
) -> None:
    """Which frames they are makes a difference."""
    outputs = []
    for known in ([], [0], [2], [0, 2], [0, 1, 2, 3, 4]):
        value = torch.full((2, 5, 3), torch.nan)
        value[:, known] = 0.7
        outputs.append(network(canvas, labels, ROLES, with_condition(told, "action", value)))
    for i, ours in enumerate(outputs):
        assert all(differ(ours, theirs) for theirs in outputs[:i])


def test_one_condition_for_all_clips(
    network: nn.Module, canvas: Tensor, labels: Tensor, told: Told
) -> None:
    for name, value in told.conditions.items():
        one = value[:1]
        tiled = one.expand(2, *one.shape[1:])
        told_one, told_tiled = (with_condition(told, name, which) for which in (one, tiled))
        ours, theirs = (network(canvas, labels, ROLES, which) for which in (told_one, told_tiled))
        assert torch.equal(ours, theirs)


def test_classes_are_read_and_may_be_none(
    network: nn.Module, canvas: Tensor, labels: Tensor, told: Told
) -> None:
    outputs = [
        network(canvas, labels, ROLES, replace(told, classes=torch.tensor([number, 2])))
        for number in (0, 1, 2, -1)
    ]
    for i, ours in enumerate(outputs):
        assert all(differ(ours[0], theirs[0]) for theirs in outputs[:i])
        assert torch.allclose(ours[1], outputs[0][1], atol=1e-5)
    none = network(canvas, labels, ROLES, replace(told, classes=None))
    assert torch.allclose(none[0], outputs[3][0], atol=1e-5)
    for number in (2, -1):
        one, both = (torch.tensor([number] * count) for count in (1, 2))
        ours, theirs = (
            network(canvas, labels, ROLES, replace(told, classes=which)) for which in (one, both)
        )
        assert torch.equal(ours, theirs)


def test_clips_of_a_batch_are_independent(
    network: nn.Module, canvas: Tensor, labels: Tensor, told: Told
) -> None:
    both = network(canvas, labels, ROLES, told)
    swapped = Told(
        told.valid.flip(0),
        told.classes.flip(0),
        {name: value.flip(0) for name, value in told.conditions.items()},
    )
    flipped = network(canvas.flip(0), labels.flip(0), ROLES.flip(0), swapped)
    assert torch.allclose(flipped.flip(0), both, atol=1e-5)
    for clip in (slice(0, 1), slice(1, 2)):
        alone = network(canvas[clip], labels[clip], ROLES[clip], told.of(clip))
        assert torch.allclose(alone, both[clip], atol=1e-5)


def test_history_guidance_tells_both_halves_the_same(
    network: nn.Module, canvas: Tensor, labels: Tensor, told: Told
) -> None:
    telling = Telling(network, told)
    blind = torch.where(ROLES == Role.KNOWN, Role.ABSENT, ROLES).to(torch.int8)
    informed = network(canvas, labels, ROLES, told)
    without = network(canvas, labels, blind, told)
    guided = Guided(telling, 1.5)(canvas, labels, ROLES)
    assert torch.allclose(guided, without + 1.5 * (informed - without), atol=1e-4)
    assert differ(informed, without)


def test_other_networks_read_the_classes_of_what_they_are_told() -> None:
    config = VolumeConfig(width=32, multipliers=(1,), blocks=1, attention=(), classes=3)
    network = awake(config.build(channels=1, masks=MASKS))
    clips = torch.randn(2, 4, 1, 8, 8)
    roles = roles_from("KTTT", "KTTT")
    outputs = [
        Telling(network, Told(classes=torch.tensor(numbers)))(clips, torch.zeros(2, 4), roles)
        for numbers in ([1], [1, 1], [1, 2])
    ]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0][0], outputs[2][0])
    assert differ(outputs[0][1], outputs[2][1])


def test_gradients_reach_every_weight(canvas: Tensor, labels: Tensor, told: Told) -> None:
    network = awake(build(small(), learned_spread=True)).train()
    told = replace(told, classes=torch.tensor([0, -1]))
    network(canvas, labels, ROLES, told).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        rows = parameter.grad.flatten(1).any(1) if parameter.ndim > 1 else parameter.grad.any()
        if name == "embedding.classes.weight":
            assert rows.tolist() == [True, False, False, True]
        else:
            assert rows.all(), name


def test_training_starts_despite_the_zeros(canvas: Tensor, labels: Tensor, told: Told) -> None:
    """What begins at zero moves within three steps."""
    network = build(small()).train()
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(4):
        optimizer.zero_grad()
        (network(canvas, labels, ROLES, told) - canvas).square().mean().backward()
        optimizer.step()
    for name, value in network.named_parameters():
        assert not torch.equal(value, before[name]), name


def test_recomputing_changes_nothing(canvas: Tensor, labels: Tensor, told: Told) -> None:
    network = awake(build(small()))
    outputs, gradients = [], []
    for recompute in (False, True):
        network.unet.recompute = recompute
        network.zero_grad()
        output = network(canvas, labels, ROLES, told)
        output.square().mean().backward()
        outputs.append(output.detach())
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    assert torch.equal(*outputs)
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", [TemporalConv, TemporalAttention])
def test_half_precision_has_the_same_gradients(kind: Any, frames: int) -> None:
    torch.manual_seed(0)
    layer = kind(16) if kind is TemporalConv else kind(16, heads=2)
    gradients = []
    for enabled in (False, True):
        layer.zero_grad()
        features = torch.randn(2 * frames, 16, 4, 6, generator=Generator().manual_seed(0))
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = layer(features.requires_grad_(), frames)
        output.float().square().sum().backward()
        gradients.append([features.grad, *(p.grad.clone() for p in layer.parameters())])
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours - theirs).norm() <= 0.03 * ours.norm() + 1e-6


def test_attention_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = awake(TemporalAttention(8, heads=2))
    features = torch.randn(6, 8, 4, 5)
    whole = layer(features, 3)
    monkeypatch.setattr(temporal, "MAX_LINES", 7)
    assert torch.allclose(layer(features, 3), whole, atol=1e-6)


def test_the_bias_depends_on_distance_and_side_alone() -> None:
    bias = awake(RelativeBias(3))
    short, long = bias(4), bias(300)
    assert torch.allclose(long[..., :4, :4], short)
    assert torch.allclose(long[..., 100:104, 100:104], short, atol=1e-6)
    assert not torch.allclose(short, short.transpose(2, 3), atol=1e-3)
    assert long.isfinite().all()
    far = bias(3000)[0, :, 0]
    assert torch.allclose(far[:, 2000], far[:, 2999], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 2}, "width 2 must be in"),
        ({"multipliers": ()}, "there are 0"),
        ({"multipliers": (), "attention": (), "temporal_attention": ()}, "multipliers"),
        ({"blocks": 0}, "blocks 0"),
        ({"attention": (2,)}, r"^attention at resolution \[2\]: there are 2"),
        ({"temporal_attention": (0, -1)}, r"temporal_attention at resolution \[-1\]"),
        ({"head_width": 0}, "head_width 0 must be at least 1"),
        ({"head_width": 5}, "heads of 5 features don't divide 16"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"patch": 0}, "patch 0 must be at least 1"),
        ({"classes": -1}, "classes -1"),
    ],
)
def test_what_makes_no_network_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**changes)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"wnd": torch.zeros(2, 5, 1)}, "condition 'wnd': this network was built with 'action', "),
        ({"action": torch.zeros(2, 5, 2)}, r"\[2, 5, 2\]: needs \[2, 5, 3\]"),
        ({"action": torch.zeros(2, 4, 3)}, r"\[2, 4, 3\]: needs \[2, 5, 3\]"),
        ({"action": torch.zeros(3, 5, 3)}, r"\[3, 5, 3\]: needs \[2, 5, 3\]"),
        ({"wind": torch.zeros(2, 5, 2, 12, 8)}, r"needs \[2, 5, 2, 8, 12\]"),
        ({"terrain": torch.zeros(2, 5, 1, 8, 12)}, r"needs \[2, 1, 1, 8, 12\]"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(
    network: nn.Module,
    canvas: Tensor,
    labels: Tensor,
    conditions: dict[str, Tensor],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        network(canvas, labels, ROLES, Told(conditions=conditions))


def test_classes_of_a_network_without_are_refused(canvas: Tensor, labels: Tensor) -> None:
    network = build(small(classes=0))
    with pytest.raises(InputError, match="without classes"):
        network(canvas, labels, ROLES, Told(classes=torch.tensor([0])))


def test_the_published_networks_take_no_conditions() -> None:
    published = (ConcatConfig, SpatinConfig, Mcvd3dConfig, ContextConfig, VolumeConfig)
    assert not any(kind().takes_conditions for kind in published)
    assert small().takes_conditions


def test_the_configuration_survives_a_file() -> None:
    config = ModelConfig(
        height=8,
        width=12,
        channels=1,
        network=small(classes=0),
        masks=MASKS,
        diffusion=Diffusion(),
        normaliser=Normaliser(),
    )
    data = to_data(config)
    assert data["network"]["type"] == "SpaceTimeConfig"
    assert from_data(data, ModelConfig, source="file") == config


STEPS = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


def moving_dots(clips: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return dots that start anywhere on a torus and take a random step before each later frame.

    Returns:
        Clips [b 3 1 8 8] and the steps [b 3 2], unknown for the first frame.
    """
    steps = STEPS[torch.randint(4, (clips, 2), generator=generator)]
    start = torch.randint(8, (clips, 1, 2), generator=generator)
    path = torch.cat([start, start + (2 * steps).cumsum(1)], dim=1).long() % 8
    frames = torch.full((clips, 3, 1, 8, 8), -1.0)
    clip, frame = torch.arange(clips)[:, None], torch.arange(3)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        frames[clip, frame, 0, (path[..., 0] + down) % 8, (path[..., 1] + right) % 8] = 1.0
    action = torch.full((clips, 3, 2), torch.nan)
    action[:, 1:] = steps
    return frames, action


def test_it_learns_what_actions_do() -> None:
    """Only the target frames' actions say where the dot goes."""
    torch.manual_seed(0)
    generator = Generator().manual_seed(0)
    network = SpaceTimeConfig(
        width=16,
        multipliers=(1,),
        blocks=1,
        attention=(0,),
        temporal_attention=(0,),
        head_width=16,
    ).build(
        channels=1,
        masks=BlockMasks(past=1, target=2),
        conditions=(Condition(name="action", kind="vector", size=2),),
    )
    schedule = LogNormalSchedule(mean=0.5, std=1.0)
    diffusion = Diffusion(schedule=schedule, predicts="edm", labels="log")
    loss, rate = MaskedLoss(), 5e-3
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.9, 0.99))
    for step in range(150):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / 20)
        clip, action = moving_dots(16, generator)
        telling = Telling(network, Told(conditions={"action": action}))
        roles = roles_from("KTT").expand(16, -1)
        optimizer.zero_grad()
        loss(telling, diffusion, clip, roles, generator).mean().backward()
        optimizer.step()
    clip, action = moving_dots(64, generator)
    roles = roles_from("KTT").expand(64, -1)
    levels = torch.where(roles == Role.TARGET, 10.0, 0.0)  # so noisy that nothing shines through
    noise = torch.randn(clip.shape, generator=generator)
    errors = []
    with torch.no_grad():
        for which in (action, action.roll(1, 0)):
            telling = Telling(network.eval(), Told(conditions={"action": which}))
            errors.append(loss.at(telling, diffusion, clip, roles, levels, noise).mean())
    right, wrong = errors
    assert right < 0.6 < wrong
    assert right < wrong / 2
