"""Distances of sets of videos, against their definitions in float64."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from framefill.errors import InputError
from framefill.metrics.distances import (
    Moments,
    frechet_distance,
    inception_score,
    kernel_distance,
    moments,
)


def cloud(seed: int, count: int, dims: int, shift: float = 0.0) -> np.ndarray:
    """Return features that vary along some directions more than along others."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(seed + 1000).normal(size=(dims, dims))
    return (shift + rng.normal(size=(count, dims)) @ mix).astype(np.float32)


def frechet_by_scipy(real: np.ndarray, fake: np.ndarray) -> float:
    """Write out the definition, as the official code does (models/fvd/fvd.py)."""
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    gap = real.mean(axis=0) - fake.mean(axis=0)
    one, other = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    root = scipy.linalg.sqrtm(one @ other)
    return float(gap @ gap + np.trace(one + other - 2 * np.real(root)))


def test_the_frechet_distance_is_that_of_scipy() -> None:
    real, fake = cloud(0, 2048, 400), cloud(1, 2048, 400, shift=0.5)
    ours = frechet_distance(moments([real]), moments([fake]))
    assert ours == pytest.approx(frechet_by_scipy(real, fake), rel=1e-9)


def test_it_is_that_of_scipy_with_fewer_videos_than_dimensions() -> None:
    real, fake = cloud(0, 100, 400), cloud(1, 150, 400, shift=0.5)
    about = moments([real])
    assert about.deficient
    ours = frechet_distance(about, moments([fake]))
    assert ours == pytest.approx(frechet_by_scipy(real, fake), rel=1e-6)
    assert not moments([cloud(0, 401, 400)]).deficient


def test_a_set_is_at_no_distance_from_itself_and_fewer_videos_look_worse() -> None:
    many = cloud(0, 4000, 50)
    assert frechet_distance(moments([many]), moments([many])) == pytest.approx(0, abs=1e-6)
    far = [
        frechet_distance(moments([many]), moments([many[start : start + size]]))
        for start, size in ((0, 1000), (0, 200), (0, 40))
    ]
    assert far == sorted(far), "the bias of small sets"
    assert far[2] > 5 * far[0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_moments_do_not_depend_on_how_videos_come(seed: int, sizes: list[int]) -> None:
    features = cloud(seed, sum(sizes) + 2, 7, shift=100.0)
    ends = np.cumsum([0, *sizes, 2])
    together = moments([features])
    apart = moments(features[a:b] for a, b in pairwise(ends))
    assert apart.count == together.count
    np.testing.assert_allclose(apart.mean, together.mean, rtol=1e-12)
    np.testing.assert_allclose(apart.covariance, together.covariance, rtol=1e-9, atol=1e-9)
    expected = np.cov(features.astype(np.float64), rowvar=False)
    np.testing.assert_allclose(together.covariance, expected, rtol=1e-9, atol=1e-9)


def test_a_large_common_offset_costs_no_digits() -> None:
    features = cloud(0, 500, 5).astype(np.float64)
    near, far = moments([features]), moments([features[:250] + 1e6, features[250:] + 1e6])
    np.testing.assert_allclose(far.covariance, near.covariance, rtol=1e-8)


@pytest.mark.parametrize("count", [0, 1])
def test_one_video_alone_has_no_distance(count: int) -> None:
    with pytest.raises(InputError, match=rf"Fréchet distance of {count} video\(s\): needs at"):
        moments([cloud(0, count, 4)])
    with pytest.raises(InputError, match="kernel distance of 1 and 5"):
        kernel_distance(cloud(0, 1, 4), cloud(0, 5, 4))


def test_features_of_two_networks_are_not_compared() -> None:
    with pytest.raises(InputError, match="features of 4 and 5 numbers"):
        frechet_distance(moments([cloud(0, 9, 4)]), moments([cloud(0, 9, 5)]))


def test_features_that_are_no_numbers_are_refused() -> None:
    broken = cloud(0, 9, 4)
    broken[3, 2] = np.nan
    with pytest.raises(InputError, match="a feature is NaN or infinite"):
        moments([broken])


def kernel_by_pairs(real: np.ndarray, fake: np.ndarray) -> float:
    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x.astype(np.float64) @ y.astype(np.float64) / len(x) + 1) ** 3)

    n, m = len(real), len(fake)
    same = [
        sum(kernel(each[i], each[j]) for i in range(k) for j in range(k) if i != j) / (k * (k - 1))
        for each, k in ((real, n), (fake, m))
    ]
    cross = sum(kernel(x, y) for x in real for y in fake) / (n * m)
    return same[0] + same[1] - 2 * cross


@pytest.mark.parametrize("part", [1, 3, 100])
def test_the_kernel_distance_is_that_of_all_pairs(part: int) -> None:
    real, fake = cloud(0, 9, 5), cloud(1, 7, 5, shift=0.3)
    ours = kernel_distance(real, fake, part=part)
    assert ours == pytest.approx(kernel_by_pairs(real, fake), rel=1e-9)


def test_the_kernel_distance_is_not_biased() -> None:
    same = [kernel_distance(_draw(i), _draw(i + 500)) for i in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(len(same))
    assert min(same) < 0, "an unbiased estimate of 0 must be below it at times"
    assert kernel_distance(_draw(1), _draw(2) + 2) > max(same)


def _draw(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(12, 4)).astype(np.float32)


def test_features_may_lie_in_a_file(tmp_path) -> None:
    real, fake = cloud(0, 9, 5), cloud(1, 7, 5)
    np.save(tmp_path / "real.npy", real)
    mapped = np.load(tmp_path / "real.npy", mmap_mode="r")
    assert kernel_distance(mapped, fake, part=2) == kernel_distance(real, fake, part=2)


def score_by_definition(shares: np.ndarray, splits: int) -> tuple[float, float]:
    """Follow Salimans et al. 2016: exp(E_x KL(p(y|x) || p(y))), over parts."""
    size = len(shares) // splits
    scores = []
    for number in range(splits):
        part = shares[number * size : (number + 1) * size].astype(np.float64)
        mean = part.mean(axis=0)
        divergences = [(p * np.log(p / mean)).sum() for p in part]
        scores.append(np.exp(np.mean(divergences)))
    return float(np.mean(scores)), float(np.std(scores))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_the_inception_score_is_its_definition(seed: int, splits: int) -> None:
    shares = np.random.default_rng(seed).dirichlet(np.full(11, 0.3), size=41).clip(1e-12)
    ours = inception_score(shares, splits=splits)
    assert ours == pytest.approx(score_by_definition(shares, splits))


def test_the_inception_score_counts_classes() -> None:
    sure = np.tile(np.eye(5), (20, 1))
    assert inception_score(sure, splits=4)[0] == pytest.approx(5)
    assert inception_score(np.full((100, 5), 0.2))[0] == pytest.approx(1)
    with pytest.raises(InputError, match=r"of 9 video\(s\) in 10 splits"):
        inception_score(np.full((9, 5), 0.2))


def test_moments_join_in_any_order() -> None:
    one, other = Moments.of(cloud(0, 5, 3)), Moments.of(cloud(1, 8, 3))
    np.testing.assert_allclose(one.joined(other).scatter, other.joined(one).scatter)
