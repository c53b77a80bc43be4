"""Fine-tuning: what a network did on the old data, the adapted one does too."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from framefill.adaptation import Adapted, adapted
from framefill.adaptation.blends import channels_read, channels_written, frames_read, frames_written
from framefill.conditions import Condition
from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.masks import BlockMasks, ContextMasks, MixedMasks, RandomMasks
from framefill.model import Model, load_model
from framefill.model_config import ModelConfig
from framefill.nn.config import (
    ConcatConfig,
    ContextConfig,
    Mcvd3dConfig,
    SpaceTimeConfig,
    SpatinConfig,
    VolumeConfig,
)
from framefill.normalise import Normaliser
from framefill.roles import roles_from
from framefill.sampling import Ddim
from framefill.schedule import LogNormalSchedule, TableSchedule
from framefill.told import Told

SIZES: dict[str, Any] = {"width": 8, "multipliers": (1,), "blocks": 1, "attention": (0,)}
FLAT: dict[str, Any] = {**SIZES, "head_width": 8}
BLOCKS = BlockMasks(past=2, target=1, future=1)
AMID = ContextMasks(past=2, target=1, future=1)
ANY = RandomMasks(frames=4, max_known=2)
DIFFUSION = Diffusion(schedule=LogNormalSchedule(), labels="log", predicts="edm")

NETWORKS: dict[str, dict[str, Any]] = {
    "concat": {"network": ConcatConfig(**FLAT, told_past=True), "masks": BLOCKS},
    "spatin": {"network": SpatinConfig(**FLAT, hidden=4), "masks": BLOCKS},
    "context": {"network": ContextConfig(**FLAT, patch=2), "masks": AMID},
    "3d": {"network": Mcvd3dConfig(**SIZES), "masks": BLOCKS},
    "3d spatin": {"network": Mcvd3dConfig(**SIZES, hidden=4), "masks": BLOCKS},
    "pseudo-3d": {"network": Mcvd3dConfig(**SIZES, separable=True), "masks": BLOCKS},
    "pseudo-3d spatin": {
        "network": Mcvd3dConfig(**SIZES, separable=True, hidden=4),
        "masks": BLOCKS,
    },
    "volume": {"network": VolumeConfig(**{**SIZES, "width": 32}), "masks": ANY},
    "volume, spread": {
        "network": VolumeConfig(**{**SIZES, "width": 32}),
        "masks": ANY,
        "diffusion": replace(DIFFUSION, learned_spread=True),
    },
    "space-time": {
        "network": SpaceTimeConfig(**FLAT, temporal_attention=(0,), patch=2),
        "masks": ANY,
        "diffusion": replace(DIFFUSION, learned_spread=True),
    },
}
STACKED = ["concat", "spatin", "context"]  # frames are channels
LINEAR = [name for name in NETWORKS if "pseudo" not in name]  # where channels are written


def random(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


@cache
def model(name: str, **changes: Any) -> Model:
    """A model without a zero in it, as after some training."""
    given: dict[str, Any] = {
        "height": 8,
        "width": 12,
        "channels": 1,
        "diffusion": DIFFUSION,
        "normaliser": Normaliser(),
    }
    config = ModelConfig(**{**given, **NETWORKS[name], **changes})
    network = config.build()
    generator = Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return Model(network.eval(), config)


def changed(start: Model, **changes: Any) -> tuple[Model, Adapted]:
    """Adapt a model; its weights fit a network of the new configuration exactly."""
    made = adapted(start, replace(start.config, **changes))
    network = made.config.build()
    network.load_state_dict(made.weights, strict=True)
    return Model(network.eval(), made.config), made


def output(of: Model, canvas: Tensor, row: str, told: Told | None = None) -> Tensor:
    roles = roles_from(row).expand(len(canvas), -1)
    labels = torch.full(roles.shape, 20.0)
    with torch.no_grad():
        if getattr(of.network, "listens", False):
            return of.network(canvas, labels, roles, told)
        return of.network(canvas, labels, roles)


def close(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.abs().max() > 0
    assert theirs.isfinite().all()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * theirs.abs().max().item())


def by_channel(predicted: Tensor, of: Model) -> Tensor:
    """Prediction and spread on an axis of their own: [b f s c h w]."""
    return predicted.unflatten(2, (-1, of.config.channels))


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_changed_is_the_same_model(name: str) -> None:
    start = model(name, channels=3)
    made = adapted(start, start.config)
    ours = start.network.state_dict()
    assert made.weights.keys() == ours.keys()
    assert all(torch.equal(made.weights[key], ours[key]) for key in ours)
    assert made.changes == ()
    for value in made.weights.values():
        value.zero_()  # what is trained is no longer the model's
    assert all(value.abs().max() > 0 for value in ours.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_frames_of_another_size(name: str) -> None:
    start = model(name, channels=2)
    new, made = changed(start, height=16, width=8)
    assert all(torch.equal(made.weights[k], v) for k, v in start.network.state_dict().items())
    canvas = random(2, 4, 2, 16, 8)
    assert torch.equal(output(new, canvas, "KKTK"), output(start, canvas, "KKTK"))
    assert made.changes == (
        "frames of 16 x 8 pixels instead of 8 x 12: no weight depends on their size",
    )


def test_sizes_that_the_network_cannot_halve_are_refused() -> None:
    with pytest.raises(InputError, match="divisible by 2"):
        replace(model("context").config, height=9)


@pytest.mark.parametrize("name", NETWORKS)
def test_gray_becomes_color(name: str) -> None:
    """Frames whose colors are equal are gray ones: each color is written as gray was."""
    start = model(name)
    new, made = changed(start, channels=3)
    canvas = random(2, 4, 1, 8, 12)
    before = by_channel(output(start, canvas, "KKTK"), start)
    after = by_channel(output(new, canvas.expand(-1, -1, 3, -1, -1), "KKTK"), new)
    close(after, before.expand(-1, -1, -1, 3, -1, -1))
    assert made.changes == (
        "frames with 3 channels instead of 1: colors share the weights of gray, of which each "
        "writes the same at first",
    )


@pytest.mark.parametrize("name", LINEAR)
def test_color_becomes_gray(name: str) -> None:
    start = model(name, channels=3)
    new, made = changed(start, channels=1)
    canvas = random(2, 4, 1, 8, 12)
    before = by_channel(output(start, canvas.expand(-1, -1, 3, -1, -1), "KKTK"), start)
    close(by_channel(output(new, canvas, "KKTK"), new), before.mean(dim=3, keepdim=True))
    assert "gray is read as equal colors and written as their mean" in made.changes[0]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("few", "many"), [(1, 2), (3, 5)])
def test_a_new_channel_changes_nothing_at_first(name: str, few: int, many: int) -> None:
    start = model(name, channels=few)
    new, made = changed(start, channels=many)
    canvas = random(2, 4, many, 8, 12)
    before = by_channel(output(start, canvas[:, :, :few], "KKTK"), start)
    after = by_channel(output(new, canvas, "KKTK"), new)
    close(after[:, :, :, :few], before)
    close(after[:, :, :, few:], before.mean(dim=3, keepdim=True).expand_as(after[:, :, :, few:]))
    assert f"the first {few} keep their weights; the others are not read" in made.changes[0]


@pytest.mark.parametrize("name", [name for name in LINEAR if name != "3d spatin"])
@pytest.mark.parametrize(("many", "few"), [(2, 1), (4, 3)])
def test_a_dropped_channel_is_as_if_it_were_0(name: str, many: int, few: int) -> None:
    start = model(name, channels=many)
    new, _ = changed(start, channels=few)
    canvas = random(2, 4, many, 8, 12)
    canvas[:, :, few:] = 0
    before = by_channel(output(start, canvas, "KKTK"), start)
    close(by_channel(output(new, canvas[:, :, :few], "KKTK"), new), before[:, :, :, :few])


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_new_can_be_learned(name: str) -> None:
    """No weight that begins at zero has to stay there."""
    new, _ = changed(model(name, channels=2), channels=4)
    canvas, roles = random(1, 4, 4, 8, 12), roles_from("KKTK")
    new.network(canvas, torch.full((1, 4), 20.0), roles).square().sum().backward()
    zeros = [p for p in new.network.parameters() if (p == 0).any()]
    assert zeros
    for parameter in zeros:
        assert parameter.grad is not None
        assert (parameter.grad[parameter == 0] != 0).any()


def longer(masks: BlockMasks | ContextMasks, **blocks: int) -> BlockMasks | ContextMasks:
    return replace(masks, **blocks)


@pytest.mark.parametrize("name", STACKED)
def test_longer_clips_of_blocks(name: str) -> None:
    """Frames farther from the target are not read; further targets are the last one again."""
    start = model(name, channels=2)
    new, made = changed(start, masks=longer(start.config.masks, past=3, target=2, future=3))
    canvas = random(2, 8, 2, 8, 12)
    before = output(start, canvas[:, [1, 2, 3, 5]], "KKTK")[:, 2]
    after = output(new, canvas, "KKKTTKKK")
    close(after[:, 3], before)
    close(after[:, 4], before)
    assert not after[:, [0, 1, 2, 5, 6, 7]].any()
    assert made.changes == (
        "clips with past 3, target 2, future 3 instead of 2, 1, 1: frames keep the weights of "
        "their place beside the target block, new ones are not read at first, further targets are "
        "written as the last one",
    )


@pytest.mark.parametrize("name", STACKED)
def test_shorter_clips_of_blocks(name: str) -> None:
    """What is gone is as if it were absent."""
    masks = NETWORKS[name]["masks"]
    start = model(name, channels=2, masks=longer(masks, past=2, target=3, future=2))
    new, made = changed(start, masks=longer(masks, past=1, target=1, future=0))
    canvas = random(2, 7, 2, 8, 12)
    canvas[:, [0, 3, 4, 5, 6]] = 0
    row = "-KT----" if name == "context" else "-KTTT--"
    close(output(new, canvas[:, 1:3], "KT")[:, 1], output(start, canvas, row)[:, 2])
    assert "the weights of places that are gone go" in made.changes[0]


@pytest.mark.parametrize("name", ["concat", "context"])
def test_a_past_where_there_was_none(name: str) -> None:
    start = model(name, masks=longer(NETWORKS[name]["masks"], past=0))
    new, _ = changed(start, masks=longer(start.config.masks, past=2, future=0))
    canvas = random(2, 3, 1, 8, 12)
    alone = torch.cat([canvas[:, 2:], torch.zeros(2, 1, 1, 8, 12)], dim=1)
    close(output(new, canvas, "KKT")[:, 2], output(start, alone, "T-")[:, 0])


@pytest.mark.parametrize("name", ["3d spatin", "pseudo-3d spatin"])
def test_spatin_in_3d_reads_other_known_frames(name: str) -> None:
    start = model(name, channels=2)
    new, _ = changed(start, masks=longer(BLOCKS, past=3, future=2))
    canvas = random(2, 6, 2, 8, 12)
    before = output(start, canvas[:, 1:5], "KKTK")[:, 2]
    close(output(new, canvas, "KKKTKK")[:, 3], before)


@pytest.mark.parametrize("name", STACKED)
def test_colors_longer_clips_and_another_size_at_once(name: str) -> None:
    start = model(name)
    masks = longer(start.config.masks, past=3, target=2, future=0)
    new, made = changed(start, channels=3, masks=masks, height=16)
    canvas = random(2, 5, 1, 16, 12)
    absent = torch.zeros(2, 1, 1, 16, 12)
    old_row = "KKT-" if name == "context" else "KKTK"
    before = output(start, torch.cat([canvas[:, 1:4], absent], dim=1), old_row)[:, 2]
    after = output(new, canvas.expand(-1, -1, 3, -1, -1), "KKKTT")
    for frame in (3, 4):
        close(after[:, frame], before.expand(-1, 3, -1, -1))
    assert [line.split(" ")[0] for line in made.changes] == ["frames", "frames", "clips"]


@pytest.mark.parametrize("name", ["volume", "space-time"])
@pytest.mark.parametrize(
    "masks",
    [
        RandomMasks(frames=6, max_known=3),
        BlockMasks(past=3, target=3),
        MixedMasks(parts=(RandomMasks(frames=6, max_known=3),), weights=(1.0,)),
    ],
)
def test_networks_of_any_length_keep_all_weights(name: str, masks: Any) -> None:
    start = model(name)
    new, made = changed(start, masks=masks)
    assert all(torch.equal(made.weights[k], v) for k, v in start.network.state_dict().items())
    canvas = random(1, 6, 1, 8, 12)
    assert torch.equal(output(new, canvas, "KKKTTT"), output(start, canvas, "KKKTTT"))
    assert made.changes == ("clips of 6 frames instead of 4: no weight depends on their length",)


def test_clips_that_are_halved_may_have_another_length_but_go_on_being_halved() -> None:
    network = replace(NETWORKS["volume"]["network"], multipliers=(1, 2), shrink_frames=4)
    start = model("volume", network=network)
    masks = RandomMasks(frames=8, max_known=3)
    new, made = changed(start, network=replace(network, shrink_frames=8), masks=masks)
    assert output(new, random(1, 8, 1, 8, 12), "KKKTTTTT").isfinite().all()
    assert made.changes[1] == "network.shrink_frames: 4 -> 8: no weight depends on it"
    with pytest.raises(InputError, match="shrink_frames 4 must be the clips' length 8"):
        adapted(start, replace(start.config, masks=masks))
    with pytest.raises(InputError, match=r"network\.shrink_frames: 4 -> 0"):
        adapted(start, replace(start.config, network=replace(network, shrink_frames=0)))


ACTION = Condition(name="action", kind="vector", size=3)
KEYS = Condition(name="keys", kind="vector", size=1)
WIND = Condition(name="wind", kind="map", size=2)
TERRAIN = Condition(name="terrain", kind="static", size=1)


def told() -> dict[str, Tensor]:
    return {
        "action": random(2, 4, 3, seed=6),
        "keys": random(2, 4, 1, seed=7),
        "wind": random(2, 4, 2, 8, 12, seed=8),
        "terrain": random(2, 1, 1, 8, 12, seed=9),
    }


def only(*conditions: Condition) -> Told:
    return Told(conditions={c.name: told()[c.name] for c in conditions})


def test_new_conditions_change_nothing_at_first_and_old_ones_are_found_by_name() -> None:
    old, new_ones = (ACTION, TERRAIN), (KEYS, WIND, TERRAIN, ACTION)
    start = model("space-time", channels=2, conditions=old)
    new, made = changed(start, conditions=new_ones)
    canvas = random(2, 4, 2, 8, 12)
    before = output(start, canvas, "KKT-", only(*old))
    close(output(new, canvas, "KKT-", only(*new_ones)), before)
    assert (output(start, canvas, "KKT-") - before).abs().max() > 0.01  # it does read them
    assert made.changes == (
        "condition 'keys' is new: it is not read at first",
        "condition 'wind' is new: it is not read at first",
    )


def test_dropped_conditions_and_classes_are_as_unknown() -> None:
    """Also what their layers add where nothing is known stays."""
    conditions = (ACTION, WIND, KEYS, TERRAIN)
    network = replace(NETWORKS["space-time"]["network"], classes=3)
    start = model("space-time", channels=2, network=network, conditions=conditions)
    unclassed = replace(network, classes=0)
    new, made = changed(start, network=unclassed, conditions=(KEYS, WIND))
    canvas = random(2, 4, 2, 8, 12)
    before = output(start, canvas, "KKT-", only(KEYS, WIND))
    close(output(new, canvas, "KKT-", only(KEYS, WIND)), before)
    assert made.changes[0] == "0 classes instead of 3: the network goes on as without a label"
    assert made.changes[1].startswith("condition 'action' goes: ")
    assert made.changes[2].startswith("condition 'terrain' goes: ")


def test_conditions_of_another_size_kind_and_scale() -> None:
    start = model("space-time", conditions=(ACTION, TERRAIN))
    wider = (replace(ACTION, size=5, scale=(2.0,)), replace(TERRAIN, size=2, kind="map"))
    new, made = changed(start, conditions=wider)
    canvas, given = random(2, 4, 1, 8, 12), only(ACTION, TERRAIN).conditions
    more = {
        "action": torch.cat([given["action"], random(2, 4, 2)], dim=2),
        "terrain": torch.cat(
            [given["terrain"].expand(-1, 4, -1, -1, -1), random(2, 4, 1, 8, 12)], dim=2
        ),
    }
    before = output(start, canvas, "KKTT", Told(conditions=given))
    close(output(new, canvas, "KKTT", Told(conditions=more)), before)
    assert [line.split(": ")[0] for line in made.changes] == [
        "condition 'action' of size 5 instead of 3",
        "condition 'action'",
        "condition 'terrain' of size 2 instead of 1",
        "condition 'terrain' of kind map instead of static",
    ]


@pytest.mark.parametrize("name", ["volume", "space-time"])
def test_classes_are_found_by_name_and_new_ones_start_as_the_mean(name: str) -> None:
    network = replace(NETWORKS[name]["network"], classes=3)
    start = model(name, network=network, classes=("walk", "run"))
    _, made = changed(start, network=replace(network, classes=4), classes=("run", "jump", "walk"))
    key = "embedding.classes.weight"
    old, new = start.network.state_dict()[key], made.weights[key]
    assert torch.equal(new[0], old[1])
    assert torch.equal(new[2], old[0])
    torch.testing.assert_close(new[1], old[:3].mean(dim=0))
    torch.testing.assert_close(new[3], old[:3].mean(dim=0))
    if name == "space-time":
        assert torch.equal(new[4], old[3])  # of no class
    assert made.changes[0].startswith("4 classes instead of 3: those of the same name")


@pytest.mark.parametrize("name", ["volume", "space-time"])
def test_numbers_name_classes_without_names(name: str) -> None:
    network = replace(NETWORKS[name]["network"], classes=3)
    start = model(name, network=network)
    _, made = changed(start, network=replace(network, classes=2), classes=("a", "b"))
    key = "embedding.classes.weight"
    assert torch.equal(made.weights[key][:2], start.network.state_dict()[key][:2])


@pytest.mark.parametrize("name", ["volume", "space-time"])
def test_the_first_classes_change_nothing_at_first(name: str) -> None:
    start = model(name)
    network = replace(start.config.network, classes=3)
    new, made = changed(start, network=network)
    canvas, labels = random(2, 4, 1, 8, 12), Told(classes=torch.tensor([2, 0]))
    close(output(new, canvas, "KKTT", labels), output(start, canvas, "KKTT"))
    assert made.changes == ("3 classes instead of 0: they change nothing at first",)


@pytest.mark.parametrize("name", ["volume", "space-time"])
def test_without_a_class_for_none_the_network_goes_on_as_for_their_mean(name: str) -> None:
    network = replace(NETWORKS[name]["network"], classes=2)
    if isinstance(network, SpaceTimeConfig):
        network = replace(network, class_dropout=0.0)
    start = model(name, network=network)
    new, _ = changed(start, network=replace(network, classes=0))
    canvas = random(2, 4, 1, 8, 12)
    with torch.no_grad():
        weight = start.network.embedding.classes.weight
        weight[:2] = weight[:2].mean(dim=0)  # of this test's own model, after it was adapted
    before = output(start, canvas, "KKTT", Told(classes=torch.tensor([0])))
    close(output(new, canvas, "KKTT"), before)


def test_what_no_weight_depends_on_is_free_and_named() -> None:
    start = model("space-time")
    _, made = changed(
        start,
        network=replace(start.config.network, dropout=0.2),
        masks=RandomMasks(frames=4, max_known=1),
        diffusion=replace(start.config.diffusion, limits=(-2.0, 2.0)),
        normaliser=Normaliser(scale=(100.0,)),
        sampler=Ddim(steps=3),
        guidance=1.5,
    )
    assert all(torch.equal(made.weights[k], v) for k, v in start.network.state_dict().items())
    assert made.changes == (
        "other masks: the network takes any, no weight depends on them",
        "another normaliser: the network saw data scaled otherwise",
        "network.dropout: 0.0 -> 0.2: no weight depends on it",
        "diffusion.limits: [-1.0, 1.0] -> [-2.0, 2.0]: no weight depends on it",
    )


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("concat", {"network": ConcatConfig(**FLAT)}, "network.told_past: true -> false"),
        (
            "concat",
            {"network": replace(NETWORKS["concat"]["network"], width=16, blocks=2)},
            "network.width: 8 -> 16; network.blocks: 1 -> 2",
        ),
        ("concat", NETWORKS["spatin"], 'network.type: "ConcatConfig" -> "SpatinConfig"'),
        (
            "volume",
            {"network": VolumeConfig(**{**SIZES, "width": 32, "heads": 2})},
            "network.heads: 4 -> 2",
        ),
        ("context", {"network": ContextConfig(**FLAT, patch=1)}, "network.patch: 2 -> 1"),
        (
            "context",
            {"diffusion": replace(DIFFUSION, predicts="noise")},
            'diffusion.predicts: "edm" -> "noise"',
        ),
        (
            "volume",
            {"diffusion": replace(DIFFUSION, learned_spread=True)},
            "diffusion.learned_spread: false -> true",
        ),
        (
            "volume",
            {"diffusion": replace(DIFFUSION, schedule=TableSchedule())},
            'diffusion.schedule.type: "LogNormalSchedule" -> "TableSchedule"',
        ),
        ("3d", {"masks": longer(BLOCKS, past=3)}, "masks.past: 2 -> 3"),
        ("pseudo-3d", {"masks": longer(BLOCKS, past=1, future=2)}, "masks.past: 2 -> 1; masks.f"),
        ("3d spatin", {"masks": longer(BLOCKS, target=2)}, "masks.target: 1 -> 2"),
    ],
)
def test_another_network_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    start = model(name)
    with pytest.raises(InputError) as refusal:
        adapted(start, replace(start.config, **changes))
    said = str(refusal.value)
    assert said.startswith(message)
    assert said.endswith("are no start for that; keep the model's values there")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "masks", "message"),
    [
        ("concat", ANY, "fixed blocks"),
        ("context", BLOCKS, "blocks amid context"),
        ("spatin", BlockMasks(past=0, target=2), "SPATIN needs known frames"),
        ("3d", ANY, "fixed blocks"),
    ],
)
def test_masks_that_the_network_cannot_have_are_refused(
    name: str, masks: Any, message: str
) -> None:
    start = model(name)
    with pytest.raises(InputError, match=message):
        adapted(start, replace(start.config, masks=masks))


def test_weights_of_another_network_are_refused() -> None:
    start = model("concat")
    other = Model(model("concat", channels=2).network, start.config)
    with pytest.raises(InputError, match=r"unet.head.conv.bias has shape \[2\] and needs \[1\]"):
        adapted(other, replace(start.config, channels=3))
    fewer = Model(
        model("space-time").network, replace(model("space-time", conditions=(KEYS,)).config)
    )
    with pytest.raises(InputError, match=r"vectors\.0\.bias has shape nothing and needs"):
        adapted(fewer, fewer.config)


def test_a_model_from_disk_starts_another_that_is_saved_and_loaded(tmp_path: Path) -> None:
    model("context").save(tmp_path / "old")
    new, made = changed(load_model(tmp_path / "old"), channels=3)
    new.save(tmp_path / "new")
    again = load_model(tmp_path / "new")
    assert again.config == made.config
    assert all(torch.equal(again.network.state_dict()[k], v) for k, v in made.weights.items())


COUNTS = st.integers(1, 6)


@given(COUNTS, COUNTS)
def test_what_was_added_can_be_taken_away(few: int, more: int) -> None:
    many = few + more
    same = torch.eye(few, dtype=torch.float64)
    for rule in (channels_read, channels_written):
        torch.testing.assert_close(rule(few, many) @ rule(many, few), same)
    small, large = (BlockMasks(past=1, target=n, future=n - 1) for n in (few, many))
    for frames in (frames_read, frames_written):
        there = frames(large, small)
        torch.testing.assert_close(
            frames(small, large) @ there, torch.eye(there.shape[1], dtype=torch.float64)
        )
