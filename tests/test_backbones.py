import hashlib
import http.server
import math
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from framefill.errors import InputError
from framefill.metrics.backbones import c3d, files, i3d, videomae
from framefill.metrics.backbones.files import (
    KNOWN,
    KnownFile,
    WeightFile,
    explain,
    fetch,
    find_weights,
    identify,
)
from framefill.metrics.backbones.load import load_backbone
from framefill.metrics.backbones.pictures import check_videos, to_pictures

BLOCKS = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
WAYS = ("b0", "b1a", "b1b", "b2a", "b2b", "b3b")
NARROW_I3D = i3d.Widths((3, 2, 4), tuple((2, 1, 3, 2, 1, 2 + i % 2) for i in range(9)), 7)
NARROW_C3D = (2, 3, 3, 2, 4, 3, 2, 3, 6, 5, 4)
TINY = videomae.Sizes(width=6, depth=2, heads=2, hidden=5, patch=2, side=4, frames=4)
# Like what is published, in pixels and frames, but with two heads of 64 numbers and one block.
NARROW_VIT = videomae.Sizes(width=128, depth=1, heads=2, hidden=24, patch=56)


def randomise(module: nn.Module) -> nn.Module:
    """Give a module weights with which its values neither die out nor explode."""
    generator = torch.Generator().manual_seed(0)
    state = module.state_dict()
    for name, value in state.items():
        noise = torch.randn(value.shape, generator=generator)
        if name.endswith("running_var"):
            noise = 0.5 + noise.abs()
        elif value.ndim > 1:
            noise *= (2 / value[0].numel()) ** 0.5
        elif name.endswith("weight"):
            noise = 1 + 0.3 * noise
        else:
            noise *= 0.3
        state[name] = noise if value.is_floating_point() else value
    module.load_state_dict(state)
    return module.eval()


def movies(frames: int, *, size: int = 20, channels: int = 3, number: int = 1) -> np.ndarray:
    rng = np.random.default_rng(frames)
    return rng.integers(0, 256, (number, frames, size, size + 4, channels), dtype=np.uint8)


def narrow_c3d() -> c3d.C3d:
    """A network that is sure of nothing, although its input is in bytes."""
    network = c3d.C3d(NARROW_C3D)
    randomise(network)
    network.get_parameter("fc8.weight").data *= 0.01
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "i3d": lambda: randomise(i3d.I3d(NARROW_I3D)),
    "c3d": narrow_c3d,
    "videomae": lambda: randomise(videomae.VideoMae(NARROW_VIT)),
}
WRAPPED = {"i3d": "state_dict", "c3d": None, "videomae": "module"}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of narrow networks as torch.save writes them."""
    paths = {}
    for kind, network in NETWORKS.items():
        paths[kind] = tmp_path_factory.mktemp("weights") / f"{kind}.pt"
        state, key = network().state_dict(), WRAPPED[kind]
        if kind == "videomae":
            state |= {"head.weight": torch.zeros(2, 128), "head.bias": torch.zeros(2)}
        torch.save({key: state} if key else state, paths[kind])
    return paths


# Networks


def test_the_full_networks_have_the_published_names_and_sizes() -> None:
    with torch.device("meta"):
        state = i3d.I3d().state_dict()
        giant = videomae.VideoMae()
        classifier = c3d.C3d()
    units = ["Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"]
    units += [f"Mixed_{block}.{way}" for block in BLOCKS for way in WAYS]
    parts = ["conv3d.weight", *(f"bn.{part}" for part in ("weight", "bias", "running_mean"))]
    parts += ["bn.running_var", "bn.num_batches_tracked"]
    names = {f"{unit}.{part}" for unit in units for part in parts}
    assert set(state) == names | {"logits.conv3d.weight", "logits.conv3d.bias"}
    learned = [v.numel() for n, v in state.items() if "running" not in n and v.ndim]
    assert round(sum(learned) / 1e6, 1) == 12.7
    assert state["Mixed_4e.b2a.conv3d.weight"].shape == (32, 512, 1, 1, 1)
    # The file holds 2 bytes per number, and the head for 174 classes.
    numbers = sum(p.numel() for p in giant.parameters()) + 1408 * 174 + 174
    size = next(known.size for known in KNOWN if known.kind == "videomae")
    assert size is not None
    assert 2 * numbers == pytest.approx(size, rel=1e-4)
    assert giant.positions.shape == (2048, 1408)
    assert classifier.state_dict()["fc6.weight"].shape == (4096, 8192)
    assert round(sum(p.numel() for p in classifier.parameters()) / 1e6, 1) == 78.4


def tf_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """The padding "SAME" in the words of TensorFlow's documentation."""
    rest = size % stride
    total = max(kernel - (rest if rest else stride), 0)
    return total // 2, total - total // 2


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 3))
@example(15, 3, 2)
def test_padding_is_tensorflows(size: int, kernel: int, stride: int) -> None:
    assert i3d.same_padding(size, kernel, stride) == tf_pads(size, kernel, stride)


def written_out_i3d(videos: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """I3D once more, layer after layer, in float64."""
    weights = {name: value.double() for name, value in weights.items()}

    def pad(values: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        t, y, x = (tf_pads(*axis) for axis in zip(values.shape[2:], kernel, stride, strict=True))
        return F.pad(values, (*x, *y, *t))

    def unit(values: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = weights[f"{name}.conv3d.weight"]
        values = F.conv3d(pad(values, tuple(weight.shape[2:]), (stride,) * 3), weight, None, stride)
        mean, variance, gain, bias = (
            weights[f"{name}.bn.{part}"].reshape(-1, 1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((values - mean) / (variance + 1e-3).sqrt() * gain + bias).clamp(min=0)

    def pool(values: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        return F.max_pool3d(pad(values, kernel, stride), kernel, stride)

    values = pool(unit(videos, "Conv3d_1a_7x7", 2), (1, 3, 3), (1, 2, 2))
    values = unit(unit(values, "Conv3d_2b_1x1"), "Conv3d_2c_3x3")
    for block in BLOCKS:
        if block == "3b":
            values = pool(values, (1, 3, 3), (1, 2, 2))
        elif block == "4b":
            values = pool(values, (3, 3, 3), (2, 2, 2))
        elif block == "5b":
            values = pool(values, (2, 2, 2), (2, 2, 2))
        name = f"Mixed_{block}"
        first = unit(values, f"{name}.b0")
        second = unit(unit(values, f"{name}.b1a"), f"{name}.b1b")
        third = unit(unit(values, f"{name}.b2a"), f"{name}.b2b")
        fourth = unit(pool(values, (3, 3, 3), (1, 1, 1)), f"{name}.b3b")
        values = torch.cat([first, second, third, fourth], dim=1)
    pairs = (values[:, :, 1:] + values[:, :, :-1]).mean(dim=(3, 4)) / 2  # [n c moments]
    logits = torch.einsum("nct,kc->nkt", pairs, weights["logits.conv3d.weight"][..., 0, 0, 0])
    return (logits + weights["logits.conv3d.bias"][:, None]).mean(dim=2)


@pytest.mark.parametrize("frames", [9, 14])
def test_i3d_is_what_its_layers_say(frames: int) -> None:
    network = NETWORKS["i3d"]()
    videos = torch.rand(1, 3, frames, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = written_out_i3d(videos.double(), network.state_dict())
    with torch.no_grad():
        logits = network(videos)
    assert expected.std() > 0.01
    torch.testing.assert_close(logits.double(), expected, rtol=1e-4, atol=1e-4)


def test_c3d_is_what_its_layers_say() -> None:
    network = NETWORKS["c3d"]()
    weights = {name: value.double() for name, value in network.state_dict().items()}
    videos = 60 * torch.randn(2, 3, 16, 112, 112, generator=torch.Generator().manual_seed(0))
    values = videos.double()
    for layers, pool in [
        (("conv1",), (1, 2, 2)),
        (("conv2",), (2, 2, 2)),
        (("conv3a", "conv3b"), (2, 2, 2)),
        (("conv4a", "conv4b"), (2, 2, 2)),
        (("conv5a", "conv5b"), (2, 2, 2)),
    ]:
        for layer in layers:
            kernel, bias = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
            values = F.conv3d(values, kernel, bias, padding=1).clamp(min=0)
        if values.shape[-1] % 2:  # 7 pixels make 4: the last window has but one
            values = F.pad(values, (0, 1, 0, 1), value=-math.inf)
        values = F.max_pool3d(values, pool)
    values = values.flatten(1)
    for layer in ("fc6", "fc7"):
        values = (values @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]).clamp(min=0)
    values = values @ weights["fc8.weight"].T + weights["fc8.bias"]
    expected = values.exp() / values.exp().sum(dim=1, keepdim=True)
    with torch.no_grad():
        probabilities = network(videos)
    assert expected.std() > 0.01
    torch.testing.assert_close(probabilities.double(), expected, rtol=1e-4, atol=1e-6)


def test_c3d_sees_blue_first_in_bytes_less_their_mean() -> None:
    red = torch.tensor([1.0, 0.5, 0.0]).reshape(1, 3, 1, 1, 1)
    expected = [0 - 90.25164795, 128 - 97.65701294, 256 - 101.4083252]
    np.testing.assert_allclose(c3d.prepare(red).flatten(), expected, rtol=1e-6)


def written_out_vit(videos: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """VideoMAE of the sizes `TINY` once more, token by token, in float64."""

    def norm(values: np.ndarray, name: str) -> np.ndarray:
        centred = values - values.mean(axis=-1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
        return unit * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def gelu(values: np.ndarray) -> np.ndarray:
        return values * 0.5 * (1 + np.vectorize(math.erf)(values / math.sqrt(2)))

    tokens = []
    for t in range(2):
        for y in range(2):
            for x in range(2):
                cube = videos[:, :, 2 * t : 2 * t + 2, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
                token = np.einsum("nctyx,wctyx->nw", cube, weights["patch_embed.proj.weight"])
                token = token + weights["patch_embed.proj.bias"]
                for j in range(6):
                    angle = len(tokens) / 10000 ** (2 * (j // 2) / 6)
                    token[:, j] += math.cos(angle) if j % 2 else math.sin(angle)
                tokens.append(token)
    values = np.stack(tokens, axis=1)  # [n tokens width]
    for name in ("blocks.0", "blocks.1"):
        queries, keys, contents = np.split(
            norm(values, f"{name}.norm1") @ weights[f"{name}.attn.qkv.weight"].T, 3, axis=-1
        )
        queries = queries + weights[f"{name}.attn.q_bias"]
        contents = contents + weights[f"{name}.attn.v_bias"]
        heads = []
        for head in (slice(0, 3), slice(3, 6)):
            match = np.exp(queries[..., head] @ keys[..., head].swapaxes(1, 2) / math.sqrt(3))
            heads.append(match / match.sum(axis=-1, keepdims=True) @ contents[..., head])
        mixed = np.concatenate(heads, axis=-1) @ weights[f"{name}.attn.proj.weight"].T
        values = values + mixed + weights[f"{name}.attn.proj.bias"]
        inside = norm(values, f"{name}.norm2") @ weights[f"{name}.mlp.fc1.weight"].T
        inside = gelu(inside + weights[f"{name}.mlp.fc1.bias"])
        values = values + inside @ weights[f"{name}.mlp.fc2.weight"].T
        values = values + weights[f"{name}.mlp.fc2.bias"]
    return norm(values.mean(axis=1), "fc_norm")


def test_videomae_is_what_its_tokens_say() -> None:
    network = randomise(videomae.VideoMae(TINY)).double()
    videos = np.random.default_rng(0).random((2, 3, 4, 4, 4))
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    expected = written_out_vit(videos, weights)
    with torch.no_grad():
        features = network(torch.from_numpy(videos)).numpy()
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    np.testing.assert_allclose(features, expected, atol=1e-6)


# Pictures


def lerp(values: np.ndarray, axis: int, places: np.ndarray) -> np.ndarray:
    """Values between those of an axis; beyond the ends, these go on."""
    places = places.clip(0, values.shape[axis] - 1)
    at = [np.interp(places, np.arange(values.shape[axis]), line) for line in _lines(values, axis)]
    shape = np.moveaxis(values, axis, -1).shape[:-1]
    return np.moveaxis(np.reshape(at, (*shape, len(places))), -1, axis)


def _lines(values: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])


def written_out_pictures(videos: np.ndarray, side: int, resize: str) -> np.ndarray:
    values = videos.astype(np.float64)
    shorter = min(videos.shape[2:4])
    for axis in (2, 3):
        old = videos.shape[axis]
        new = math.ceil(old * side / shorter - 1e-9) if resize == "bilinear" else side
        steps = np.arange(new)
        half = 0 if resize == "bilinear_tf1" else 0.5
        values = lerp(values, axis, (steps + half) * old / new - half)
        start = (new - side) // 2
        values = values.take(np.arange(start, start + side), axis=axis)
    return values.transpose(0, 4, 1, 2, 3)


@pytest.mark.parametrize("resize", ["bilinear", "bilinear_stretched", "bilinear_tf1"])
@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), side=st.integers(1, 16))
@example(height=6, width=9, side=4)
@example(height=8, width=8, side=28)
def test_pictures_are_what_the_formula_says(
    resize: str, height: int, width: int, side: int
) -> None:
    videos = np.random.default_rng(0).random((2, 3, height, width, 3)).astype(np.float32)
    pictures = to_pictures(videos, data_range=1, side=side, resize=resize)  # type: ignore[arg-type]
    expected = written_out_pictures(videos, side, resize)
    assert pictures.shape == (2, 3, 3, side, side)
    np.testing.assert_allclose(pictures, expected, atol=1e-5)


def test_tensorflows_old_filter_has_no_half_pixels() -> None:
    ramp = np.float32([[0, 1], [0, 1]]).reshape(1, 1, 2, 2, 1)
    pictures = to_pictures(ramp, data_range=1, side=4, resize="bilinear_tf1")
    np.testing.assert_allclose(pictures[0, 0, 0, 0], [0, 0.5, 1, 1])
    pictures = to_pictures(ramp, data_range=1, side=4, resize="bilinear")
    np.testing.assert_allclose(pictures[0, 0, 0, 0], [0, 0.25, 0.75, 1])


@pytest.mark.parametrize(
    ("videos", "data_range", "message"),
    [
        (np.full((1, 2, 4, 4, 3), 0.7, np.float32), 255, "at most 0.7 where white is 255: give da"),
        (np.full((1, 2, 4, 4, 3), -0.1), 1, r"in 0\.\.1, but one is -0\.1: shift, scale or clip"),
        (np.full((1, 2, 4, 4, 3), 200, np.uint8), 1, r"in 0\.\.1, but one is 200"),
        (np.full((1, 2, 4, 4, 3), np.nan), 1, "one is nan"),
        (np.full((1, 2, 4, 4, 3), np.inf), 255, "one is inf"),
        (np.zeros((1, 2, 4, 4, 2)), 1, "videos of 2 channels: features are of 1"),
        (np.zeros((0, 2, 4, 4, 3)), 1, "hold nothing: give at least one"),
    ],
)
def test_what_is_no_picture_is_refused(videos: np.ndarray, data_range: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_videos(videos, data_range=data_range)


def test_one_bad_value_among_many_is_found() -> None:
    videos = np.full((1, 2, 4, 4, 3), 0.5)
    check_videos(videos, data_range=1)
    videos[0, 1, 2, 3, 1] = np.nan
    with pytest.raises(InputError, match="one is nan"):
        check_videos(videos, data_range=1)


@pytest.mark.parametrize("dark", [np.zeros((1, 1, 2, 2, 1)), np.ones((1, 1, 2, 2, 1), np.uint8)])
def test_black_floats_and_dark_bytes_are_no_trap(dark: np.ndarray) -> None:
    check_videos(dark, data_range=255)


# Files to features


def features_of(kind: str, videos: np.ndarray, resize: str = "bilinear") -> np.ndarray:
    """What the narrow network gives, from pictures written out in float64."""
    side = {"i3d": 224, "c3d": 112, "videomae": 224}[kind]
    pictures = torch.from_numpy(written_out_pictures(videos / 255, side, resize))
    mean = torch.tensor([90.25164795, 97.65701294, 101.4083252]).reshape(3, 1, 1, 1)
    ready = {
        "i3d": 2 * pictures - 1,
        "c3d": 256 * pictures[:, [2, 1, 0]] - mean,
        "videomae": pictures,
    }[kind]
    with torch.no_grad():
        return NETWORKS[kind]()(ready.float()).numpy()


@pytest.mark.parametrize("resize", ["bilinear", "bilinear_tf1"])
@pytest.mark.parametrize("kind", ["i3d", "c3d", "videomae"])
def test_a_file_becomes_features(stored: dict[str, Path], kind: str, resize: str) -> None:
    backbone = load_backbone(kind, stored[kind])  # type: ignore[arg-type]
    videos = movies(16)
    features = backbone(videos, data_range=255, resize=resize)  # type: ignore[arg-type]
    expected = features_of(kind, videos, resize)
    assert features.shape == (1, backbone.dims) == expected.shape
    assert features.std() > 1e-3
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)
    assert backbone.file.path == stored[kind]
    assert re.fullmatch("[0-9a-f]{64}", backbone.file.sha256)
    assert backbone.name == kind


def test_heads_are_told_by_the_width(stored: dict[str, Path]) -> None:
    """The shapes are the same with one head, the features are not."""
    one = randomise(videomae.VideoMae(replace(NARROW_VIT, heads=1)))
    pictures = torch.from_numpy(written_out_pictures(movies(16) / 255, 224, "bilinear")).float()
    with torch.no_grad():
        other = one(pictures).numpy()
    features = load_backbone("videomae", stored["videomae"])(movies(16), data_range=255)
    assert np.abs(features - other).max() > 1e-3
    # ViT-S, B, L, H and g, of which H has heads of 80 numbers.
    assert videomae.HEADS == {384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}


@pytest.mark.parametrize("how", ["safetensors", "half", "legacy", "plain"])
def test_other_kinds_of_files_serve_as_well(
    stored: dict[str, Path], tmp_path: Path, how: str
) -> None:
    state = NETWORKS["c3d"]().state_dict()
    path = tmp_path / ("c3d.safetensors" if how == "safetensors" else "c3d.pth")
    if how == "safetensors":
        save_file(state, path)
    elif how == "half":
        torch.save({"model": {name: value.half() for name, value in state.items()}}, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=how != "legacy")
    features = load_backbone("c3d", path)(movies(16), data_range=255)
    expected = load_backbone("c3d", stored["c3d"])(movies(16), data_range=255)
    np.testing.assert_allclose(features, expected, rtol=0.01 if how == "half" else 1e-6)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_video_has_its_features_in_any_company(stored: dict[str, Path], batch: int) -> None:
    videos = movies(16, number=3)
    backbone = load_backbone("c3d", stored["c3d"], batch=batch)
    together = backbone(videos, data_range=255)
    alone = [backbone(videos[i : i + 1], data_range=255)[0] for i in range(3)]
    assert np.ptp(together, axis=0).max() > 1e-3
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)


def test_gray_is_red_green_and_blue_alike_and_bytes_are_fractions(stored: dict[str, Path]) -> None:
    backbone, gray = load_backbone("c3d", stored["c3d"]), movies(16, channels=1)
    expected = backbone(gray.repeat(3, axis=-1), data_range=255)
    for videos, white in [(gray, 255), (gray / 255, 1), (gray.astype(np.float32), 255)]:
        features = backbone(videos, data_range=white)
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-6)


def test_fractions_of_a_byte_count(stored: dict[str, Path]) -> None:
    backbone, videos = load_backbone("c3d", stored["c3d"]), movies(16).clip(0, 254)
    plain = backbone(videos, data_range=255)
    assert np.abs(backbone(videos + 0.4, data_range=255) - plain).max() > 1e-6


@pytest.mark.parametrize(
    ("kind", "frames", "message"),
    [
        ("i3d", 8, "videos of 8 frames: i3d takes at least 9"),
        ("c3d", 15, "videos of 15 frames: c3d takes exactly 16, so cut"),
        ("c3d", 17, "videos of 17 frames: c3d takes exactly 16, so cut"),
        ("videomae", 32, "videos of 32 frames: videomae takes exactly 16, so cut"),
    ],
)
def test_lengths_that_a_network_cannot_take_are_refused(
    stored: dict[str, Path], kind: str, frames: int, message: str
) -> None:
    backbone = load_backbone(kind, stored[kind])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        backbone(movies(frames), data_range=255)


def test_traps_are_noticed_by_the_backbone(stored: dict[str, Path]) -> None:
    backbone = load_backbone("c3d", stored["c3d"])
    with pytest.raises(InputError, match="give data_range=1"):
        backbone(movies(16) / 255, data_range=255)
    with pytest.raises(InputError, match="batch 0: features are of at least 1 video"):
        replace(backbone, batch=0)


# Files that can't be used


def edited(source: Path, target: Path, change: dict[str, object]) -> Path:
    state = dict(torch.load(source, weights_only=True)) | change
    torch.save({name: value for name, value in state.items() if value is not None}, target)
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv4b.weight": None}, r"has no conv4b\.weight: give C3D's weights"),
        ({"conv5b.bias": None}, r"has no conv5b\.bias: give C3D's weights"),
        ({"fc9.weight": torch.zeros(2, 2)}, r"has fc9\.weight, which is unknown: give C3D's"),
        ({"fc7.weight": torch.zeros(5, 7)}, r"fc7\.weight of shape \(5, 7\), not \(5, 6\): give"),
        ({"conv1.weight": torch.zeros(2)}, r"conv1\.weight of shape \(2,\), not of 5 axes: give"),
        ({"epoch": 3}, "epoch is no tensor of plain"),
    ],
)
def test_wrong_weights_are_named(
    stored: dict[str, Path], tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = edited(stored["c3d"], tmp_path / "c3d.pt", change)
    with pytest.raises(InputError, match=message):
        load_backbone("c3d", path)


def test_files_of_other_networks_are_noticed(stored: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no Conv3d_1a_7x7\.conv3d\.weight: give I3D's weights"):
        load_backbone("i3d", stored["c3d"])
    with pytest.raises(InputError, match=r"no patch_embed\.proj\.weight: give the weights of a f"):
        load_backbone("videomae", stored["i3d"])
    odd = videomae.Sizes(width=128, depth=1, heads=2, hidden=4, patch=5, side=10)
    torch.save(videomae.VideoMae(odd).state_dict(), tmp_path / "odd.pt")
    with pytest.raises(InputError, match=r"128 numbers for 2 x 5 x 5 pixels, which divide no"):
        load_backbone("videomae", tmp_path / "odd.pt")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_damaged_files_are_named(stored: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    whole, path = tmp_path / f"whole.{suffix}", tmp_path / f"half.{suffix}"
    state = NETWORKS["c3d"]().state_dict()
    save_file(state, whole) if suffix == "safetensors" else torch.save(state, whole)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"half\.{suffix} can't be read \(.*\): give C3D's"):
        load_backbone("c3d", path)
    with pytest.raises(InputError, match=r"none\.pt is no file: give --c3d FILE.*c3d_ucf101\.pt"):
        load_backbone("c3d", tmp_path / "none.pt")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Bomb(tmp_path / "boom")}, tmp_path / "c3d.pt")
    with pytest.raises(InputError, match=r"c3d\.pt can't be read \(.*\): give C3D's weights"):
        load_backbone("c3d", tmp_path / "c3d.pt")
    assert not (tmp_path / "boom").exists()


# TorchScript


class ScriptedI3d(nn.Module):
    """Called like i3d_torchscript.pt: the mean color and the number of frames and pixels."""

    def forward(
        self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> Tensor:
        if rescale or resize or not return_features:
            return x.new_zeros([x.size(0), 5])
        shape = x.new_ones([x.size(0), 2]) * torch.tensor([x.size(2), x.size(4)])
        return torch.cat([x.mean([2, 3, 4]), shape], dim=1)


class ScriptedC3d(nn.Module):
    """Called like c3d_ucf101.pt, with bytes of any size."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.uint8:
            return torch.zeros([x.size(0), 5])
        shape = torch.ones([x.size(0), 2]) * torch.tensor([x.size(2), x.size(4)])
        return torch.cat([x.float().mean([2, 3, 4]), shape], dim=1)


class Scalar(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean()


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("scripts")
    modules = {"i3d": ScriptedI3d(), "c3d": ScriptedC3d(), "scalar": Scalar()}
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        for name, module in modules.items():
            torch.jit.save(torch.jit.script(module), folder / f"{name}.pt")  # type: ignore[no-untyped-call]
    return {name: folder / f"{name}.pt" for name in modules}


def test_an_i3d_of_torchscript_is_called_as_mcvd_does(scripts: dict[str, Path]) -> None:
    backbone = load_backbone("i3d", scripts["i3d"], trust=True)
    assert (backbone.dims, backbone.frames) == (5, 10)
    videos = np.zeros((2, 10, 6, 6, 3), np.uint8)
    videos[1, ..., 0] = 255
    features = backbone(videos, data_range=255)
    np.testing.assert_allclose(features, [[-1, -1, -1, 10, 224], [1, -1, -1, 10, 224]])
    with pytest.raises(InputError, match="9 frames: i3d takes at least 10"):
        backbone(movies(9), data_range=255)


def test_a_c3d_of_torchscript_is_given_bytes(scripts: dict[str, Path]) -> None:
    backbone = load_backbone("c3d", scripts["c3d"], trust=True)
    for videos, white in [
        (np.full((1, 16, 6, 9, 1), 0.2499, np.float32), 1),  # 63.7 of 255
        (np.full((1, 16, 6, 9, 3), 64, np.uint8), 255),
    ]:
        for resize in ("bilinear", "bilinear_tf1"):  # it has a way of its own
            features = backbone(videos, data_range=white, resize=resize)  # type: ignore[arg-type]
            np.testing.assert_allclose(features, [[64, 64, 64, 16, 9]])


def test_unknown_programs_are_not_loaded(
    scripts: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = identify("i3d", scripts["i3d"]).sha256
    with pytest.raises(InputError, match=rf"a program.*SHA-256 {digest}\): pass --trust if"):
        load_backbone("i3d", scripts["i3d"])
    monkeypatch.setattr(files, "KNOWN", (KnownFile("i3d", "famous.pt", "", digest),))
    assert load_backbone("i3d", scripts["i3d"]).file.known == "famous.pt"
    with pytest.raises(InputError, match="--trust"):  # known, but as another network
        load_backbone("c3d", scripts["i3d"])


def test_programs_that_do_something_else_are_refused(scripts: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"can't be called \(.*\): give I3D's weights"):
        load_backbone("i3d", scripts["c3d"], trust=True)
    with pytest.raises(InputError, match="gives no vector of numbers for a video: give C3D's"):
        load_backbone("c3d", scripts["scalar"], trust=True)
    with pytest.raises(InputError, match=r"is a TorchScript file: give the weights of a fine-tun"):
        load_backbone("videomae", scripts["c3d"], trust=True)


# Where files are from


def test_known_files_are_told_by_whole_hashes() -> None:
    for known in KNOWN:
        assert known.origin.startswith("https://")
        assert known.sha256 is None or re.fullmatch("[0-9a-f]{64}", known.sha256)
        part = re.search("-([0-9a-f]{8})[.]pth", known.name)  # as torchvision names its files
        assert part is None or (known.sha256 or "").startswith(part[1])
        assert known.kind in files.FLAGS
    hashes = [known.sha256 for known in KNOWN if known.sha256]
    assert len(set(hashes)) == len(hashes)


def test_what_is_missing_is_explained() -> None:
    for known in KNOWN:
        message = explain(known.kind)
        for part in (known.name, known.origin, files.FLAGS[known.kind], "FRAMEFILL_WEIGHTS"):
            assert part in message
        assert (known.sha256 or "SHA-256 unknown") in message
        assert "\n" not in message


def test_files_are_found_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEFILL_WEIGHTS", str(tmp_path / "here"))
    (tmp_path / "here").mkdir()
    assert find_weights("i3d") is None
    second, first = tmp_path / "here/rgb_imagenet.pt", tmp_path / "here/i3d_torchscript.pt"
    second.touch()
    assert find_weights("i3d") == second
    first.touch()
    assert find_weights("i3d") == first
    assert find_weights("c3d") is None
    assert find_weights("i3d", second) == second
    assert find_weights("i3d", folders=[tmp_path]) is None
    with pytest.raises(InputError, match=r"my\.pt is no file: give --i3d FILE.*rgb_imagenet\.pt"):
        find_weights("i3d", tmp_path / "my.pt")
    monkeypatch.delenv("FRAMEFILL_WEIGHTS")
    assert files.weights_folder() == Path.home() / ".cache/framefill/weights"


CONTENT = bytes(range(256)) * 9000  # more than one piece
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives the content under some names, and ways to go wrong under others."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://example.invalid/weights.pt")
            self.end_headers()
        elif self.path == "/gone":
            self.send_error(404)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1000] if self.path == "/short" else CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[http.server.HTTPServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def at(server: http.server.HTTPServer, name: str = "weights.pt", **change: object) -> KnownFile:
    address = f"http://127.0.0.1:{server.server_port}/{name}"
    known = KnownFile("c3d", "weights.pt", address, DIGEST, len(CONTENT))
    return replace(known, **change)  # type: ignore[arg-type]


def test_a_known_file_is_downloaded_once(server: http.server.HTTPServer, tmp_path: Path) -> None:
    expected = WeightFile(tmp_path / "new/weights.pt", DIGEST, "weights.pt")
    for _ in range(2):
        assert fetch("c3d", tmp_path / "new", file=at(server)) == expected
    assert (tmp_path / "new/weights.pt").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["weights.pt"]
    assert server.asked == ["/weights.pt"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "weights.pt",
            {"sha256": "0" * 64},
            r"is not weights\.pt: its SHA-256 is .* instead of 000",
        ),
        (
            "weights.pt",
            {"size": len(CONTENT) - 1},
            r"holds more than 2303999 bytes, so get the fil",
        ),
        ("short", {}, r"is not weights\.pt: its SHA-256|can't be downloaded"),
        ("gone", {}, r"weights\.pt can't be downloaded \(.*404.*\): try again later, or download"),
        (
            "away",
            {},
            r"http://example\.invalid/weights\.pt isn't downloaded from: weights are only",
        ),
        (
            "weights.pt",
            {"sha256": None},
            r"isn't downloaded, as its SHA-256 is not known: download",
        ),
    ],
)
def test_no_other_file_is_left_behind(
    server: http.server.HTTPServer,
    tmp_path: Path,
    name: str,
    change: dict[str, object],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        fetch("c3d", tmp_path, file=at(server, name, **change))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_already_is_checked(
    server: http.server.HTTPServer, tmp_path: Path
) -> None:
    (tmp_path / "weights.pt").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"weights\.pt is not weights\.pt: its SHA-256 is"):
        fetch("c3d", tmp_path, file=at(server))
    assert (tmp_path / "weights.pt").read_bytes() == b"something else"


@pytest.mark.parametrize("origin", ["http://example.invalid/w.pt", "file:///etc/hostname", "w.pt"])
def test_only_safe_addresses_are_asked(tmp_path: Path, origin: str) -> None:
    known = KnownFile("c3d", "w.pt", origin, DIGEST)
    with pytest.raises(InputError, match="weights are only taken from https"):
        fetch("c3d", tmp_path, file=known)


def test_what_has_no_hash_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"c3d_ucf101\.pt isn't downloaded, as its SHA-256"):
        fetch("c3d", tmp_path)
