import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from framefill.errors import InputError
from framefill.metrics.lpips import Lpips, load_lpips
from framefill.metrics.scores import score

# Place in torchvision's list of layers, channels, side of the kernel, stride, padding.
CONVOLUTIONS = [
    (0, 3, 64, 11, 4, 2),
    (3, 64, 192, 5, 1, 2),
    (6, 192, 384, 3, 1, 1),
    (8, 384, 256, 3, 1, 1),
    (10, 256, 256, 3, 1, 1),
]
POOLED = (3, 6)  # these see the maxima of the layer before
RGB = (4, 3, 20, 26, 3)

# The same of VGG16's convolutions, all of 3 x 3; before some, maxima of 2 x 2 are taken, and what
# some give is compared.
VGG = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256}
VGG |= {17: 512, 19: 512, 21: 512, 24: 512, 26: 512, 28: 512}
VGG_HALVED, VGG_COMPARED = (5, 10, 17, 24), (2, 7, 14, 21, 28)


def alexnet_weights() -> dict[str, Tensor]:
    """Return random weights with torchvision's names, which keep features from dying out."""
    generator = torch.Generator().manual_seed(0)
    weights = {"classifier.1.weight": torch.zeros(2, 3), "classifier.1.bias": torch.zeros(2)}
    for place, before, after, side, _, _ in CONVOLUTIONS:
        gain = (2 / (before * side**2)) ** 0.5
        shape = (after, before, side, side)
        weights[f"features.{place}.weight"] = gain * torch.randn(shape, generator=generator)
        weights[f"features.{place}.bias"] = 0.1 * torch.randn(after, generator=generator)
    return weights


def head_weights() -> dict[str, Tensor]:
    """Return random linear weights with the names of the lpips package, none below 0."""
    generator = torch.Generator().manual_seed(1)
    return {
        f"lin{i}.model.1.weight": torch.rand((1, channels, 1, 1), generator=generator)
        for i, (_, _, channels, _, _, _) in enumerate(CONVOLUTIONS)
    }


def vgg_weights() -> dict[str, Tensor]:
    """Return random weights with torchvision's names of VGG16."""
    generator = torch.Generator().manual_seed(2)
    weights, before = {"classifier.0.bias": torch.zeros(2)}, 3
    for place, after in VGG.items():
        noise = torch.randn((after, before, 3, 3), generator=generator)
        weights[f"features.{place}.weight"] = noise * (2 / (before * 9)) ** 0.5
        weights[f"features.{place}.bias"] = 0.1 * torch.randn(after, generator=generator)
        before = after
    return weights


def vgg_head_weights() -> dict[str, Tensor]:
    """Return random linear weights for VGG16, none below 0."""
    generator = torch.Generator().manual_seed(3)
    return {
        f"lin{i}.model.1.weight": torch.rand((1, VGG[place], 1, 1), generator=generator)
        for i, place in enumerate(VGG_COMPARED)
    }


@pytest.fixture(scope="module")
def vgg_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("vgg")
    torch.save(vgg_weights(), folder / "vgg16-397923af.pth")
    torch.save(vgg_head_weights(), folder / "vgg.pth")
    return folder / "vgg16-397923af.pth", folder / "vgg.pth"


@pytest.fixture(scope="module")
def vgg(vgg_files: tuple[Path, Path]) -> Lpips:
    return load_lpips(*vgg_files)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("weights")
    torch.save(alexnet_weights(), folder / "alexnet-owt-7be5be79.pth")
    torch.save(head_weights(), folder / "alex.pth")
    return folder / "alexnet-owt-7be5be79.pth", folder / "alex.pth"


@pytest.fixture(scope="module")
def lpips(files: tuple[Path, Path]) -> Lpips:
    return load_lpips(*files)


def pair(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 256, shape)
    noisy = np.clip(truth + rng.normal(0, 40, shape), 0, 255)
    return truth.astype(np.uint8), noisy.astype(np.uint8)


def definition(truth: np.ndarray, frame: np.ndarray) -> float:
    """Return the distance of two 8-bit pictures [h w 3], written out in float64."""
    alexnet, heads = alexnet_weights(), head_weights()
    outputs = [_features(picture, alexnet) for picture in (truth, frame)]
    total = 0.0
    for i, (one, other) in enumerate(zip(*outputs, strict=True)):
        weight = heads[f"lin{i}.model.1.weight"].double().numpy().reshape(-1, 1, 1)
        units = [values / np.sqrt((values**2).sum(axis=0) + 1e-20) for values in (one, other)]
        total += (weight * (units[0] - units[1]) ** 2).sum(axis=0).mean()
    return total


def _features(picture: np.ndarray, weights: dict[str, Tensor]) -> list[np.ndarray]:
    resized = Image.fromarray(picture).resize((128, 128), Image.Resampling.BILINEAR)
    values = (np.asarray(resized) / 255 - 0.5) / 0.5
    values = (values - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
    values = values.transpose(2, 0, 1)
    features = []
    for place, _, _, side, stride, padding in CONVOLUTIONS:
        if place in POOLED:
            values = _windows(values, 3, 2).max(axis=(-2, -1))
        weight = weights[f"features.{place}.weight"].double().numpy()
        bias = weights[f"features.{place}.bias"].double().numpy()
        values = np.pad(values, ((0, 0), (padding, padding), (padding, padding)))
        values = np.einsum("cyxij,ocij->oyx", _windows(values, side, stride), weight, optimize=True)
        values = np.maximum(values + bias[:, None, None], 0)
        features.append(values)
    return features


def _windows(values: np.ndarray, side: int, stride: int) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(values, (side, side), axis=(1, 2))
    return windows[:, ::stride, ::stride]


def vgg_definition(one: np.ndarray, other: np.ndarray) -> float:
    """Return the distance of two pictures [3 h w] in -1..1 by VGG16, written out in float64."""
    heads = [head.double().numpy().reshape(-1, 1, 1) for head in vgg_head_weights().values()]
    units, weights = [], vgg_weights()
    for picture in (one, other):
        outputs = _vgg_features(picture, weights)
        units.append([v / np.sqrt((v**2).sum(axis=0) + 1e-20) for v in outputs])
    pairs = zip(heads, *units, strict=True)
    return sum((head * (a - b) ** 2).sum(axis=0).mean() for head, a, b in pairs)


def _vgg_features(values: np.ndarray, weights: dict[str, Tensor]) -> list[np.ndarray]:
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    values = (values - shift[:, None, None]) / scale[:, None, None]
    features = []
    for place in VGG:
        if place in VGG_HALVED:
            values = _windows(values, 2, 2).max(axis=(-2, -1))
        weight = weights[f"features.{place}.weight"].double().numpy()
        bias = weights[f"features.{place}.bias"].double().numpy()
        windows = _windows(np.pad(values, ((0, 0), (1, 1), (1, 1))), 3, 1)
        values = np.einsum("cyxij,ocij->oyx", windows, weight, optimize=True)
        values = np.maximum(values + bias[:, None, None], 0)
        if place in VGG_COMPARED:
            features.append(values)
    return features


@pytest.mark.parametrize(("height", "width"), [(16, 16), (128, 128), (150, 200)])
def test_the_distance_is_that_of_the_definition(lpips: Lpips, height: int, width: int) -> None:
    truth, frames = pair((2, height, width, 3))
    expected = [definition(a, b) for a, b in zip(truth, frames, strict=True)]
    assert min(expected) > 1e-3
    np.testing.assert_allclose(lpips(truth, frames, data_range=255), expected, rtol=1e-5)


def test_the_distance_by_vgg_is_that_of_the_definition(vgg: Lpips) -> None:
    one, other = np.random.default_rng(0).uniform(-1, 1, (2, 2, 3, 32, 32)).astype(np.float32)
    other[1] = 0.5 * one[1]
    expected = [vgg_definition(a, b) for a, b in zip(one, other, strict=True)]
    assert min(expected) > 1e-3
    distances = vgg.network(torch.from_numpy(one), torch.from_numpy(other))
    np.testing.assert_allclose(distances, expected, rtol=1e-4)


def test_the_file_says_which_network_it_is(vgg: Lpips, lpips: Lpips) -> None:
    assert (vgg.name, lpips.name) == ("vgg", "alex")
    truth, frames = pair((1, 128, 128, 3))
    pictures = [torch.from_numpy(v).permute(0, 3, 1, 2) / 127.5 - 1 for v in (truth, frames)]
    expected = vgg.network(*pictures)
    np.testing.assert_allclose(vgg(truth, frames, data_range=255), expected, rtol=1e-4)


def test_grey_frames_are_colored_ones_without_color(lpips: Lpips) -> None:
    truth, frames = pair((2, 16, 16, 1))
    in_color = lpips(truth.repeat(3, axis=-1), frames.repeat(3, axis=-1), data_range=255)
    np.testing.assert_allclose(lpips(truth, frames, data_range=255), in_color)


def test_floats_are_cut_off_to_bytes(lpips: Lpips) -> None:
    truth, frames = pair((2, 16, 16, 3))
    above = [
        (values + np.float32(0.4)).clip(0, 255) / np.float32(255) for values in (truth, frames)
    ]
    expected = lpips(truth, frames, data_range=255)
    np.testing.assert_allclose(lpips(*above, data_range=1), expected)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_equal_frames_are_at_no_distance_and_the_way_back_is_as_long(
    lpips: Lpips, seed: int
) -> None:
    truth, frames = pair((2, 16, 16, 3), seed)
    np.testing.assert_allclose(lpips(truth, truth, data_range=255), 0, atol=1e-9)
    there, back = lpips(truth, frames, data_range=255), lpips(frames, truth, data_range=255)
    assert there.min() > 0
    np.testing.assert_allclose(there, back, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 5, 100])
def test_batches_bound_the_memory_and_not_the_result(lpips: Lpips, batch: int) -> None:
    truth, frames = pair(RGB)
    seen: list[int] = []
    hook = lpips.network.register_forward_pre_hook(
        lambda _, pictures: seen.append(len(pictures[0]))
    )
    distances = Lpips(lpips.network, batch=batch)(truth, frames, data_range=255)
    hook.remove()
    assert max(seen) <= batch
    assert sum(seen) == distances.size
    np.testing.assert_allclose(distances, lpips(truth, frames, data_range=255), rtol=1e-5)
    assert distances.shape == truth.shape[:2]


def test_scores_take_it_as_a_metric(lpips: Lpips) -> None:
    truth, frames = pair((2, 3, 16, 16, 3))
    samples = np.stack([frames, truth], axis=1)
    scores = score(truth, samples, data_range=255, lpips=lpips)
    assert scores.best["lpips"].mean == pytest.approx(0, abs=1e-9)
    expected = lpips(truth, frames, data_range=255).mean() / 2
    assert scores.average["lpips"].mean == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["safetensors", "legacy", "half"])
def test_other_kinds_of_files_serve_as_well(
    lpips: Lpips, files: tuple[Path, Path], tmp_path: Path, kind: str
) -> None:
    heads = tmp_path / ("alex.safetensors" if kind == "safetensors" else "alex.pth")
    if kind == "safetensors":
        save_file(head_weights(), heads)
    elif kind == "legacy":  # the files that are around were written by old releases of PyTorch
        torch.save(head_weights(), heads, _use_new_zipfile_serialization=False)
    else:
        torch.save({name: weight.half() for name, weight in head_weights().items()}, heads)
    truth, frames = pair((1, 16, 16, 3))
    distance = load_lpips(files[0], heads)(truth, frames, data_range=255)
    expected = lpips(truth, frames, data_range=255)
    np.testing.assert_allclose(distance, expected, rtol=1e-3 if kind == "half" else 1e-6)


def test_without_files_it_says_which_ones_it_needs(files: tuple[Path, Path]) -> None:
    for given_files in ((None, None), (files[0], None), (None, files[1])):
        with pytest.raises(InputError, match=r"torchvision.*alexnet-owt-7be5be79\.pth.*alex\.pth"):
            load_lpips(*given_files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lin3.model.1.weight": None}, r"has no lin3\.model\.1\.weight: give .*lpips.*alex\.pth"),
        ({"lin9.model.1.weight": torch.zeros(1)}, r"has lin9\.model\.1\.weight, which is unknown"),
        (
            {"lin2.model.1.weight": torch.zeros(1, 256, 1, 1)},
            r"lin2\.model\.1\.weight of shape \(1, 256, 1, 1\), not \(1, 384, 1, 1\): give",
        ),
        ({"epoch": 3}, "is no tensor of plain"),
        ({3: torch.zeros(1)}, "is no tensor of plain"),
    ],
)
def test_wrong_weights_are_named(
    files: tuple[Path, Path], tmp_path: Path, change: dict[object, object], message: str
) -> None:
    weights = {**head_weights(), **change}
    torch.save({name: w for name, w in weights.items() if w is not None}, tmp_path / "alex.pth")
    with pytest.raises(InputError, match=message):
        load_lpips(files[0], tmp_path / "alex.pth")


def test_files_in_the_wrong_order_are_noticed(files: tuple[Path, Path]) -> None:
    alexnet, heads = files
    with pytest.raises(InputError, match=r"alex\.pth has no features\.0\.weight: give torchvision"):
        load_lpips(heads, alexnet)


def test_heads_of_another_network_are_noticed(
    files: tuple[Path, Path], vgg_files: tuple[Path, Path]
) -> None:
    shapes = (
        r"lin1\.model\.1\.weight of shape \(1, {}, 1, 1\), not \(1, {}, 1, 1\): give .*/{}\.pth"
    )
    with pytest.raises(InputError, match=shapes.format(192, 128, "vgg")):
        load_lpips(vgg_files[0], files[1])
    with pytest.raises(InputError, match=shapes.format(128, 192, "alex")):
        load_lpips(files[0], vgg_files[1])


def test_another_vgg_is_noticed(vgg_files: tuple[Path, Path], tmp_path: Path) -> None:
    """VGG13 has no third convolution before its third maxima."""
    weights = {name: w for name, w in vgg_weights().items() if not name.startswith("features.14")}
    torch.save(weights, tmp_path / "vgg13.pth")
    with pytest.raises(InputError, match=r"no features\.14\.weight: give torchvision's VGG16"):
        load_lpips(tmp_path / "vgg13.pth", vgg_files[1])


@pytest.mark.parametrize("name", ["alex.pth", "alex.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"<html>404</html>"])
def test_unreadable_files_are_named(
    files: tuple[Path, Path], tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(
        InputError, match=rf"{name} (can't be read \(.*\)|is no file): give the v0\.1"
    ):
        load_lpips(files[0], tmp_path / name)


def test_frames_that_are_no_pictures_are_refused(lpips: Lpips) -> None:
    truth, frames = pair((1, 16, 16, 2))
    with pytest.raises(InputError, match="1 or 3 channels, not 2"):
        lpips(truth, frames, data_range=255)
    with pytest.raises(InputError, match=r"in 0\.\.2, but one is -1"):
        lpips(*np.linspace(-1, 1, 2 * 16 * 16).reshape(2, 1, 16, 16, 1), data_range=2)
    with pytest.raises(InputError, match="batch 0"):
        Lpips(lpips.network, batch=0)


def test_torchvision_is_not_needed() -> None:
    assert "torchvision" not in sys.modules
