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


@pytest.mark.parametrize(("height", "width"), [(16, 16), (128, 128), (150, 200)])
def test_the_distance_is_that_of_the_definition(lpips: Lpips, height: int, width: int) -> None:
    truth, frames = pair((2, height, width, 3))
    expected = [definition(a, b) for a, b in zip(truth, frames, strict=True)]
    assert min(expected) > 1e-3
    np.testing.assert_allclose(lpips(truth, frames, data_range=255), expected, rtol=1e-5)


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
