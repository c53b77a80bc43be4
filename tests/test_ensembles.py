"""Probabilistic scores against their definitions, written out, and against what they promise."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framefill.errors import InputError
from framefill.metrics.ensembles import (
    brier,
    crps,
    rank_counts,
    reliability_counts,
    spread_and_error,
    spread_skill_ratio,
)
from framefill.metrics.frames import mse

FEW = settings(max_examples=25, deadline=None)
SEEDS, MEMBERS = st.integers(0, 10_000), st.integers(1, 7)


def drawn(seed: int, members: int, *, dtype=np.float64, batch=(2,)) -> tuple[np.ndarray, ...]:
    """Truth and samples: integers of few values, so that many are equal."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 9, (*batch, 3, 2, 3, 2))
    samples = rng.integers(0, 9, (*batch, members, 3, 2, 3, 2))
    return truth.astype(dtype), samples.astype(dtype)


def by_pixel(truth: np.ndarray, samples: np.ndarray, definition) -> np.ndarray:
    """The mean over each frame of a definition for one pixel: y, [x ...] -> number."""
    found = np.empty(truth.shape[:-3])
    for place in np.ndindex(found.shape):
        members = samples[place[:-1]][:, place[-1]]
        pixels = [
            definition(float(truth[place][p]), [float(x[p]) for x in members])
            for p in np.ndindex(truth.shape[-3:])
            if not math.isnan(truth[place][p])
        ]
        found[place] = np.mean(pixels) if pixels else math.nan
    return found


def kernel(y: float, xs: list[float], pairs: int) -> float:
    """Gneiting & Raftery 2007, Equation 21, over all pairs."""
    apart = sum(abs(a - b) for a in xs for b in xs)
    return sum(abs(x - y) for x in xs) / len(xs) - apart / (2 * pairs)


def integral(y: float, xs: list[float]) -> float:
    """Gneiting & Raftery 2007, Equation 20: of squared differences of the two step functions."""
    ends = sorted([y, *xs])
    return sum(
        (right - left) * (sum(x <= left for x in xs) / len(xs) - (y <= left)) ** 2
        for left, right in pairwise(ends)
    )


class TestCrps:
    @FEW
    @given(SEEDS, MEMBERS, st.sampled_from([np.uint8, np.float32, np.float64]))
    def test_is_its_definitions(self, seed: int, members: int, dtype) -> None:
        truth, samples = drawn(seed, members, dtype=dtype)
        plain = crps(truth, samples, data_range=9, fair=False) * 9
        pairs = members**2
        np.testing.assert_allclose(
            plain, by_pixel(truth, samples, lambda y, xs: kernel(y, xs, pairs)), atol=1e-12
        )
        np.testing.assert_allclose(plain, by_pixel(truth, samples, integral), atol=1e-12)
        pairs = max(members * (members - 1), 1)
        fair = by_pixel(truth, samples, lambda y, xs: kernel(y, xs, pairs))
        np.testing.assert_allclose(crps(truth, samples, data_range=9) * 9, fair, atol=1e-12)

    @pytest.mark.parametrize("fair", [True, False])
    def test_of_one_sample_is_the_absolute_error(self, fair: bool) -> None:
        truth, samples = drawn(0, 1)
        error = np.abs(samples[:, 0] - truth).mean(axis=(-3, -2, -1))
        np.testing.assert_allclose(crps(truth, samples, data_range=1, fair=fair), error)

    @FEW
    @given(SEEDS, st.integers(1, 5), st.floats(-300, 300), st.floats(0.1, 50))
    def test_knows_no_order_no_offset_and_no_scale(
        self, seed: int, members: int, shift: float, scale: float
    ) -> None:
        truth, samples = drawn(seed, members)
        score = crps(truth, samples, data_range=9)
        moved = [each * scale + shift for each in (truth, samples)]
        np.testing.assert_allclose(crps(*moved, data_range=9 * scale), score, atol=1e-9)
        order = np.random.default_rng(seed).permutation(members)
        np.testing.assert_allclose(crps(truth, samples[:, order], data_range=9), score, atol=1e-12)
        np.testing.assert_allclose(crps(truth, samples, data_range=18), score / 2)

    def test_rewards_the_true_distribution_and_nothing_else(self) -> None:
        rng = np.random.default_rng(0)
        truth = rng.normal(size=(1, 400, 400, 1))

        def score(center: float, width: float) -> float:
            samples = rng.normal(center, width, (8, 1, 400, 400, 1))
            return crps(truth, samples, data_range=1).item()

        best = score(0, 1)
        assert best == pytest.approx(1 / math.sqrt(math.pi), abs=0.004)  # of the normal law
        assert best < min(score(0.3, 1), score(0, 1.5), score(0, 0.6)) - 0.01

    def test_fair_does_not_depend_on_the_number_of_samples(self) -> None:
        rng = np.random.default_rng(1)
        truth = rng.normal(size=(1, 500, 500, 1))
        expected = {True: [], False: []}
        for members in (2, 3, 10):
            samples = rng.normal(size=(members, 1, 500, 500, 1))
            for fair, scores in expected.items():
                scores.append(crps(truth, samples, data_range=1, fair=fair).item())
        assert np.ptp(expected[True]) < 0.006
        # One over k of half the expected distance of two samples, 1 / sqrt(pi), is on top.
        tops = [1 / math.sqrt(math.pi) / members for members in (2, 3, 10)]
        np.testing.assert_allclose(np.subtract(expected[False], expected[True]), tops, rtol=0.01)

    def test_survives_a_large_offset(self) -> None:
        truth, samples = drawn(3, 5)
        far = crps(truth + 1e9, samples + 1e9, data_range=9)
        np.testing.assert_allclose(far, crps(truth, samples, data_range=9), rtol=1e-12)


class TestSpread:
    @FEW
    @given(SEEDS, st.integers(2, 7), st.sampled_from([np.uint8, np.float64]))
    def test_is_its_definition(self, seed: int, members: int, dtype) -> None:
        truth, samples = drawn(seed, members, dtype=dtype)
        variance, error = spread_and_error(truth, samples, data_range=3)
        np.testing.assert_allclose(
            9 * variance,
            by_pixel(
                truth,
                samples,
                lambda y, xs: (
                    sum((a - b) ** 2 for a in xs for b in xs) / (2 * members * (members - 1))
                ),
            ),
            atol=1e-12,
        )
        mean = samples.astype(float).mean(axis=1)
        np.testing.assert_allclose(error, mse(truth, mean, data_range=3), atol=1e-12)

    @pytest.mark.parametrize("members", [2, 3, 20])
    def test_is_the_error_where_the_truth_might_be_a_sample(self, members: int) -> None:
        rng = np.random.default_rng(members)
        center = rng.normal(0, 5, (6, 1, 4, 100, 100, 1))  # what the samples agree on
        all_alike = center + rng.normal(size=(6, members + 1, 4, 100, 100, 1))
        truth, samples = all_alike[:, 0], all_alike[:, 1:]
        variance, error = spread_and_error(truth, samples, data_range=7)
        assert variance.shape == (6, 4)
        assert spread_skill_ratio(variance, error, members) == pytest.approx(1, abs=0.01)
        closer = center + 0.5 * (samples - center)
        sure = spread_skill_ratio(*spread_and_error(truth, closer, data_range=7), members)
        assert sure < 0.6
        rank = rank_counts(truth, samples).mean(axis=(0, 1))
        np.testing.assert_allclose(rank, np.full(members + 1, 1 / (members + 1)), rtol=0.05)

    def test_ratio_is_one_of_means(self) -> None:
        variance, error = np.array([[1.0, 3.0], [np.nan, 5.0]]), np.array([[2.0, 2.0], [1.0, 5.0]])
        assert spread_skill_ratio(variance, error, 3) == pytest.approx(math.sqrt(4 / 3 * 9 / 9))
        assert spread_skill_ratio(2 * variance, error, 3) == pytest.approx(math.sqrt(8 / 3))
        assert math.isnan(spread_skill_ratio(np.zeros(2), np.zeros(2), 2))
        assert spread_skill_ratio(np.ones(2), np.zeros(2), 2) == math.inf
        assert math.isnan(spread_skill_ratio(np.full(2, np.nan), np.ones(2), 2))


class TestRanks:
    @FEW
    @given(SEEDS, MEMBERS, st.sampled_from([np.uint8, np.float32]))
    def test_are_their_definition(self, seed: int, members: int, dtype) -> None:
        truth, samples = drawn(seed, members, dtype=dtype)
        counts = rank_counts(truth, samples)
        assert counts.shape == (2, 3, members + 1)
        for rank in range(members + 1):

            def share(y: float, xs: list[float], rank: int = rank) -> float:
                low = sum(x < y for x in xs)
                high = sum(x <= y for x in xs)
                return (low <= rank <= high) / (high - low + 1)

            np.testing.assert_allclose(
                counts[..., rank], by_pixel(truth, samples, share), atol=1e-12
            )
        np.testing.assert_allclose(counts.sum(axis=-1), 1)
        assert (counts >= 0).all()

    def test_show_what_is_wrong(self) -> None:
        rng = np.random.default_rng(0)
        truth = rng.normal(size=(1, 100, 100, 1))

        def ranks(center: float, width: float) -> np.ndarray:
            return rank_counts(truth, rng.normal(center, width, (4, 1, 100, 100, 1)))[0]

        close, wide, low = ranks(0, 0.3), ranks(0, 4), ranks(-2, 1)
        assert min(close[[0, 4]]) > 2 * max(close[1:4])
        assert min(wide[1:4]) > 1.5 * max(wide[[0, 4]])
        assert low[4] > 0.6
        assert low[0] < 0.02

    def test_of_equal_values_are_shared(self) -> None:
        black = np.zeros((1, 2, 2, 1), np.uint8)
        np.testing.assert_allclose(rank_counts(black, np.stack([black] * 3)), np.full((1, 4), 0.25))


class TestChances:
    @FEW
    @given(SEEDS, MEMBERS, st.sampled_from([np.uint8, np.float32]), st.sampled_from([-1, 3, 4.5]))
    def test_brier_score_is_its_definition(
        self, seed: int, members: int, dtype, above: float
    ) -> None:
        truth, samples = drawn(seed, members, dtype=dtype)

        def score(y: float, xs: list[float]) -> float:
            return (sum(x > above for x in xs) / len(xs) - (y > above)) ** 2

        found = brier(truth, samples, above=above)
        np.testing.assert_allclose(found, by_pixel(truth, samples, score), atol=1e-12)

    @FEW
    @given(SEEDS, MEMBERS, st.integers(1, 12))
    def test_reliability_is_its_definition(self, seed: int, members: int, bins: int) -> None:
        truth, samples = drawn(seed, members)
        found = reliability_counts(truth, samples, above=4, bins=bins)

        def within(number: int, value):
            def of(y: float, xs: list[float]) -> float:
                count = sum(x > 4 for x in xs)
                place = min(count * bins // len(xs), bins - 1)
                return value(count / len(xs), y > 4) if place == number else 0.0

            return of

        for number in range(bins):
            for table, value in zip(
                found, (lambda p, _: 1.0, lambda p, _: p, lambda _, o: float(o)), strict=True
            ):
                expected = by_pixel(truth, samples, within(number, value))
                np.testing.assert_allclose(table[..., number], expected, atol=1e-12)
        np.testing.assert_allclose(found.share.sum(axis=-1), 1)

    def test_reliability_of_calibrated_samples_is_the_diagonal(self) -> None:
        rng = np.random.default_rng(0)
        center = rng.normal(0, 2, (1, 1, 300, 300, 1))
        truth = (center + rng.normal(size=(1, 1, 300, 300, 1)))[0]
        samples = center + rng.normal(size=(40, 1, 300, 300, 1))
        found = reliability_counts(truth, samples, above=0.5, bins=5)
        np.testing.assert_allclose(found.event / found.share, found.chance / found.share, atol=0.02)

    def test_edges_of_bins_are_exact(self) -> None:
        # 7 of 10 samples are at the lower end of bin 63 of 90, and 0.7 * 90 is a little less.
        assert 7 / 10 * 90 < 63
        samples = np.zeros((10, 2, 1, 1, 1))
        samples[:7, 0] = samples[:, 1] = 1
        found = reliability_counts(np.zeros((2, 1, 1, 1)), samples, above=0.5, bins=90)
        assert found.share.argmax(axis=-1).tolist() == [63, 89]

    def test_what_equals_a_threshold_is_not_above(self) -> None:
        tenths = np.full((1, 1, 1, 1), 0.1, np.float32)  # a little more than 0.1
        assert tenths.astype(float).item() > 0.1
        assert brier(tenths, np.stack([tenths * 2] * 2), above=0.1).item() == 1
        assert brier(tenths, np.stack([tenths] * 2), above=0.05).item() == 0
        assert brier(tenths, np.stack([tenths] * 2), above=0.1).item() == 0
        half = tenths.astype(np.float16)
        assert brier(half, np.stack([half, half]), above=1e6).item() == 0
        assert brier(half, np.stack([half * 2, half]), above=0.15).item() == 0.25


SCORES = {
    "crps": lambda t, s: crps(t, s, data_range=2),
    "variance": lambda t, s: spread_and_error(t, s, data_range=2)[0],
    "error": lambda t, s: spread_and_error(t, s, data_range=2)[1],
    "ranks": rank_counts,
    "brier": lambda t, s: brier(t, s, above=3),
    "share": lambda t, s: reliability_counts(t, s, above=3, bins=3).share,
    "chance": lambda t, s: reliability_counts(t, s, above=3, bins=3).chance,
    "event": lambda t, s: reliability_counts(t, s, above=3, bins=3).event,
}


@pytest.mark.parametrize("name", SCORES)
class TestEvery:
    def test_score_leaves_out_unknown_pixels(self, name: str) -> None:
        score = SCORES[name]
        truth, samples = drawn(5, 4)
        whole = score(truth, samples)
        assert whole.shape[:2] == (2, 3)
        truth[0, 1, 0] = truth[0, 1, 1, 2] = np.nan  # rows 0, and the last pixel of row 1
        truth[1, 2] = np.nan
        samples[0, :, 1, 0] = np.nan  # where the truth isn't known, samples may be anything
        found = score(truth, samples)
        assert np.isnan(found[1, 2]).all()
        cut = score(truth[:1, 1:2, 1:, :2], samples[:1, :, 1:2, 1:, :2])[0, 0]
        np.testing.assert_allclose(found[0, 1], cut, atol=1e-12)
        for place in ((0, 0), (0, 2), (1, 0), (1, 1)):
            np.testing.assert_array_equal(found[place], whole[place])

    def test_score_takes_any_number_of_clips(self, name: str) -> None:
        score = SCORES[name]
        truth, samples = drawn(6, 3, batch=(2, 2))
        found = score(truth, samples)
        np.testing.assert_array_equal(found[1, 0], score(truth[1, 0], samples[1, 0]))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_score_refuses_samples_that_are_no_numbers(self, name: str, value: float) -> None:
        truth, samples = drawn(7, 3)
        samples[1, 2, 2, 0, 0, 0] = value
        with pytest.raises(InputError, match="samples of frame 2"):
            SCORES[name](truth, samples)
        truth[1, 2, 0, 0, 0] = np.inf
        with pytest.raises(InputError, match="frame 2"):
            SCORES[name](truth, np.nan_to_num(samples, posinf=0))

    def test_score_refuses_other_shapes(self, name: str) -> None:
        truth, samples = drawn(8, 3)
        for bad in (
            samples[:1],
            samples[:, 0],
            samples[:, :0],
            samples[..., :1],
            samples[:, :, :2],
        ):
            with pytest.raises(InputError, match="don't fit the truth"):
                SCORES[name](truth, bad)
        with pytest.raises(InputError, match="don't fit"):
            SCORES[name](truth[0, 0], samples[0, :, 0])
        with pytest.raises(InputError, match="complex"):
            SCORES[name](truth.astype(complex), samples)


@pytest.mark.parametrize("data_range", [0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("score", [crps, spread_and_error])
def test_ranges_are_above_zero(score, data_range: float) -> None:
    with pytest.raises(InputError, match="data_range"):
        score(*drawn(0, 2), data_range=data_range)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda t, s: spread_and_error(t, s[:, :1], data_range=1), "1 sample has no spread"),
        (lambda t, s: spread_skill_ratio(np.ones(2), np.ones(2), 1), "members 1"),
        (lambda t, s: spread_skill_ratio(np.ones(2), np.ones(3), 2), "differ in shape"),
        (lambda t, s: brier(t, s, above=math.nan), "above nan"),
        (lambda t, s: reliability_counts(t, s, above=math.inf, bins=2), "above inf"),
        (lambda t, s: reliability_counts(t, s, above=1, bins=0), "bins 0"),
    ],
)
def test_mistakes_are_refused_in_one_line(ask, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        ask(*drawn(0, 2))
    assert "\n" not in str(caught.value)
