"""Power-function averages of weights: their profiles, reconstruction, snapshots and models."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from framefill.averaging import average_into
from framefill.config import Config, LogConfig, OptimConfig
from framefill.data.digits import DigitsConfig
from framefill.errors import InputError
from framefill.masks import ContextMasks
from framefill.model import load_model
from framefill.nn.config import ContextConfig
from framefill.optim_config import WIDTHS
from framefill.posthoc import coefficients, power_of, product, rate, residual, width_of
from framefill.serialise import to_data, write_json
from framefill.snapshots import forget_after, reconstructed, save_snapshot, snapshots

TRACKED = (0.05, 0.1)
STEPS, EVERY = 2000, 50
WIDTH = st.floats(*WIDTHS)
STEP = st.integers(1, 10**9)
Saved = dict[int, dict[float, np.ndarray]]


@given(WIDTH)
def test_power_and_width_are_inverse(width: float) -> None:
    assert math.isclose(width_of(power_of(width)), width, rel_tol=1e-12)


def test_powers_of_published_widths() -> None:
    """EDM2 tracks widths 0.05 and 0.1, whose powers it states as 16.97 and 6.94."""
    assert round(power_of(0.05), 2) == 16.97
    assert round(power_of(0.1), 2) == 6.94


@pytest.mark.parametrize("width", [0.0, 0.0099, 0.281, -0.1, math.nan, math.inf])
def test_widths_that_no_average_has(width: float) -> None:
    with pytest.raises(InputError, match=r"width .* must be between 0.01 and 0.28"):
        power_of(width)


@pytest.mark.parametrize("power", [-0.5, math.nan, math.inf])
def test_powers_that_no_average_has(power: float) -> None:
    with pytest.raises(InputError, match="must be at least 0 and finite"):
        width_of(power)


def test_the_rate_is_that_of_the_settings() -> None:
    optim = OptimConfig(ema_power=power_of(0.07))
    assert [rate(0.07, step) for step in (1, 2, 999)] == [
        optim.ema_at(step) for step in (1, 2, 999)
    ]
    with pytest.raises(InputError, match="step 0 must be at least 1"):
        rate(0.07, 0)


@given(st.tuples(st.integers(1, 3000), WIDTH), st.tuples(st.integers(1, 3000), WIDTH))
def test_products_against_integrals(first: tuple[int, float], second: tuple[int, float]) -> None:
    """Gauss-Legendre of 60 points is exact for polynomials of degree 119; s^(p+q) is split up."""
    end = min(first[0], second[0])
    points, weights = np.polynomial.legendre.leggauss(60)
    edges = end * np.geomspace(1e-4, 1, 40)
    integral = 0.0
    for low, high in zip([0.0, *edges[:-1]], edges, strict=True):
        s = low + (high - low) * (points + 1) / 2
        values = np.ones_like(s)
        for step, width in (first, second):
            power = power_of(width)
            values *= (power + 1) / step * (s / step) ** power
        integral += float(weights @ values) * (high - low) / 2
    assert math.isclose(product(first, second), integral, rel_tol=1e-9, abs_tol=1e-300)


@given(STEP, WIDTH, STEP, WIDTH)
def test_products_of_any_profiles(step: int, width: float, other: int, wide: float) -> None:
    """Nothing overflows, the order doesn't matter, and Cauchy and Schwarz are right."""
    mixed = product((step, width), (other, wide))
    assert mixed == pytest.approx(product((other, wide), (step, width)), rel=1e-6)
    squares = product((step, width), (step, width)) * product((other, wide), (other, wide))
    assert 0 <= mixed <= math.sqrt(squares) * (1 + 1e-12)


SEEN = [(step, width) for step in range(EVERY, STEPS + 1, EVERY) for width in TRACKED]


@given(st.sampled_from(SEEN))
def test_a_snapshot_is_its_own_reconstruction(snapshot: tuple[int, float]) -> None:
    found = coefficients(SEEN, *snapshot)
    expected = np.zeros(len(SEEN))
    expected[SEEN.index(snapshot)] = 1
    assert np.array_equal(found, expected)
    assert residual(SEEN, found, *snapshot) == 0


def test_the_least_squares_find_a_snapshot_without_being_told() -> None:
    """A width beside a tracked one: nearly the same coefficients, and nothing ill-conditioned."""
    found = coefficients(SEEN, STEPS, 0.05 + 1e-9)
    assert found[SEEN.index((STEPS, 0.05))] == pytest.approx(1, abs=1e-6)
    assert np.abs(np.delete(found, SEEN.index((STEPS, 0.05)))).max() < 1e-6


@given(st.floats(0.03, 0.2), st.sampled_from(range(1000, STEPS + 1, EVERY)))
def test_coefficients_add_up_to_about_one(width: float, step: int) -> None:
    found = coefficients(SEEN, step, width)
    assert found.sum() == pytest.approx(1, abs=3e-3)
    assert not found[[at > step for at, _ in SEEN]].any()
    assert residual(SEEN, found, step, width) < 0.05


@given(WIDTH, st.randoms(use_true_random=False))
def test_no_other_coefficients_come_closer(width: float, random: object) -> None:
    """The best ones, moved a little in any way, are worse."""
    found = coefficients(SEEN, STEPS, width)
    least = residual(SEEN, found, STEPS, width)
    moves = np.random.default_rng(random.getrandbits(32)).normal(size=(5, len(SEEN)))
    assert all(residual(SEEN, found + 0.01 * move, STEPS, width) > least for move in moves)


def test_the_residual_is_the_norm_of_what_profiles_lack() -> None:
    """Numerically: profiles on a fine grid."""
    of, step, width = [(500, 0.05), (800, 0.1), (1000, 0.1)], 1000, 0.07
    by = coefficients(of, step, width)
    s = (np.arange(200_000) + 0.5) / 200

    def profile(end: int, wide: float) -> np.ndarray:
        power = power_of(wide)
        return np.where(s <= end, (power + 1) / end * (s / end) ** power, 0)

    wanted = profile(step, width)
    lacks = wanted - sum(share * profile(*each) for share, each in zip(by, of, strict=True))
    expected = np.linalg.norm(lacks) / np.linalg.norm(wanted)
    assert residual(of, by, step, width) == pytest.approx(expected, rel=1e-3)
    assert 0.1 < expected < 1


def test_without_snapshots_nothing_is_had() -> None:
    found = coefficients([(100, 0.05)], 50, 0.05)
    assert not found.any()
    assert residual([(100, 0.05)], found, 50, 0.05) == 1


def test_widths_that_are_nearly_the_same_do_no_harm() -> None:
    of = [(step, width) for step in range(50, 2001, 50) for width in (0.05, 0.05 + 1e-12, 0.1)]
    found = coefficients(of, STEPS, 0.07)
    assert np.abs(found).max() < 10
    assert residual(of, found, STEPS, 0.07) < 1e-3


def test_too_many_snapshots_are_refused() -> None:
    of = [(step, 0.05) for step in range(1, 4002)]
    with pytest.raises(InputError, match="4001 snapshots up to step 5000: at most 4000"):
        coefficients(of, 5000, 0.07)


@pytest.fixture(scope="module")
def walk() -> Saved:
    """A random walk of 300 weights, away from 0, averaged step by step as a training does it."""
    rng = np.random.default_rng(0)
    widths = (*TRACKED, 0.07, 0.03, 0.15)
    weights, averages = rng.normal(scale=20, size=300), {width: np.zeros(300) for width in widths}
    kept: Saved = {}
    for step in range(1, STEPS + 1):
        weights = weights + rng.normal(size=300)
        for width in widths:
            kept_share = rate(width, step)
            averages[width] = kept_share * averages[width] + (1 - kept_share) * weights
        if step % EVERY == 0:
            kept[step] = dict(averages)
    return kept


def error(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


@pytest.mark.parametrize("step", [1500, 2000])
@pytest.mark.parametrize(("width", "tolerance"), [(0.07, 1e-4), (0.03, 1e-3), (0.15, 2e-4)])
def test_a_reconstruction_is_the_average_that_was_not_tracked(
    walk: Saved, step: int, width: float, tolerance: float
) -> None:
    """Relative errors in float64, far below those of the nearest tracked average."""
    by = coefficients(SEEN, step, width)
    found = sum(share * walk[at][wide] for share, (at, wide) in zip(by, SEEN, strict=True))
    truth = walk[step][width]
    nearest = min(error(walk[step][wide], truth) for wide in TRACKED)
    assert error(found, truth) < tolerance
    assert error(found, truth) < nearest / 100


def state(values: np.ndarray | float) -> dict[str, Tensor]:
    values = torch.as_tensor(np.broadcast_to(values, 300).copy())
    return {"a.weight": values[:200].reshape(10, 20), "b": values[200:], "n": torch.tensor(3)}


def saved(folder: Path, kept: Saved) -> None:
    for step, averages in kept.items():
        save_snapshot(folder, step, {width: state(averages[width]) for width in TRACKED})


def test_files_give_the_same_as_numbers(walk: Saved, tmp_path: Path) -> None:
    saved(tmp_path, walk)
    found = reconstructed(tmp_path, width=0.07, step=1500)
    truth = state(walk[1500][0.07])
    assert found.step == 1500
    assert 0 < found.residual < 0.01
    assert 10 < found.used <= 60
    assert {name: value.dtype for name, value in found.weights.items()} == {
        "a.weight": torch.float32,
        "b": torch.float32,
        "n": torch.int64,
    }
    assert found.weights["n"] == 3
    for name in ("a.weight", "b"):
        assert found.weights[name].shape == truth[name].shape
        assert error(found.weights[name].numpy(), truth[name].numpy()) < 1e-4


def test_a_tracked_average_comes_back_as_it_was(walk: Saved, tmp_path: Path) -> None:
    saved(tmp_path, walk)
    found = reconstructed(tmp_path, width=0.1)
    assert (found.step, found.used, found.residual) == (STEPS, 1, 0)
    for name, value in state(walk[STEPS][0.1]).items():
        expected = value.float() if value.is_floating_point() else value
        assert torch.equal(found.weights[name], expected)


def test_snapshots_are_float32_and_replaced_by_later_ones(tmp_path: Path) -> None:
    half = {"w": torch.ones(3, dtype=torch.bfloat16)}
    assert save_snapshot(tmp_path, 5, {0.05: half}) == tmp_path / "00000005"
    save_snapshot(tmp_path, 5, {0.05: {"w": torch.full((3,), 2.0)}})
    assert [path.name for path in tmp_path.iterdir()] == ["00000005"]
    stored = load_file(tmp_path / "00000005" / "width-0.05.safetensors")
    assert torch.equal(stored["w"], torch.full((3,), 2.0))
    save_snapshot(tmp_path, 6, {0.05: half})
    stored = load_file(tmp_path / "00000006" / "width-0.05.safetensors")
    assert stored["w"].dtype == torch.float32


def test_what_is_no_snapshot_is_passed_over(tmp_path: Path) -> None:
    assert snapshots(tmp_path / "nothing") == []
    save_snapshot(tmp_path, 100_000_000, {0.1: state(1.0)})
    save_snapshot(tmp_path, 50, {0.1: state(1.0), 0.05: state(1.0)})
    file = tmp_path / "00000050" / "width-0.05.safetensors"
    for name in (".00000060-abcd", "00000070.superseded", "notes", "7", "00000000", "000000071"):
        (tmp_path / name).mkdir()
        (tmp_path / name / file.name).write_bytes(file.read_bytes())
    (tmp_path / "00000080").write_text("a file")
    (tmp_path / "00000090").symlink_to(tmp_path / "00000050", target_is_directory=True)
    for name in ("width-0.9.safetensors", "width-x.safetensors", ".width-0.07.safetensors", "a"):
        (tmp_path / "00000050" / name).write_bytes(file.read_bytes())
    (tmp_path / "00000050" / "width-0.06.safetensors").symlink_to(file)
    assert [(each.step, each.width) for each in snapshots(tmp_path)] == [
        (50, 0.05),
        (50, 0.1),
        (100_000_000, 0.1),
    ]
    assert snapshots(tmp_path)[0].path == file


def test_later_snapshots_are_put_aside_and_kept(tmp_path: Path) -> None:
    forget_after(tmp_path / "nothing", 3)
    for _ in range(3):
        for step in (10, 20, 30):
            save_snapshot(tmp_path, step, {0.05: state(float(step))})
        forget_after(tmp_path, 10)
    assert [each.step for each in snapshots(tmp_path)] == [10]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00000010",
        *(f"000000{n}.superseded{more}" for n in (20, 30) for more in ("", "-2", "-3")),
    ]
    kept = load_file(tmp_path / "00000020.superseded" / "width-0.05.safetensors")
    assert kept["b"][0] == 20


@pytest.mark.parametrize(
    ("step", "averages"), [(0, {0.05: state(1.0)}), (5, {}), (5, {0.3: state(1.0)})]
)
def test_what_can_be_no_snapshot(
    step: int, averages: dict[float, dict[str, Tensor]], tmp_path: Path
) -> None:
    with pytest.raises(InputError):
        save_snapshot(tmp_path / "new", step, averages)
    assert not (tmp_path / "new").exists()


def test_averages_that_can_not_be_had(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no snapshots: train with --optim.ema-widths 0.05 0.1"):
        reconstructed(tmp_path, width=0.07)
    for step in (10, 20):
        save_snapshot(tmp_path, step, {0.05: state(1.0)})
    for wrong, message in (
        (9, "step 9 is before the first snapshot, of step 10"),
        (21, "step 21 is after the last snapshot, of step 20"),
        (15, "no snapshot of step 15: give 10 or 20, the nearest"),
    ):
        with pytest.raises(InputError, match=message):
            reconstructed(tmp_path, width=0.07, step=wrong)
    with pytest.raises(InputError, match=r"width 0.3 must be between"):
        reconstructed(tmp_path, width=0.3)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff" * 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def reshaped(path: Path) -> None:
    weights = {**load_file(path), "b": torch.ones(7)}
    save_file(weights, path, metadata={"step": "10", "width": "0.1"})


def renamed(path: Path) -> None:
    weights = load_file(path)
    weights["c"] = weights.pop("b")
    save_file(weights, path, metadata={"step": "10", "width": "0.1"})


def halved(path: Path) -> None:
    weights = {**load_file(path), "b": torch.ones(100, dtype=torch.float16)}
    save_file(weights, path, metadata={"step": "10", "width": "0.1"})


def infinite(path: Path) -> None:
    weights = {**load_file(path), "b": torch.full((100,), math.inf)}
    save_file(weights, path, metadata={"step": "10", "width": "0.1"})


def misplaced(path: Path) -> None:
    path.write_bytes(path.with_name("width-0.05.safetensors").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, "is damaged"),
        (garbage, "is damaged"),
        (empty, "is damaged"),
        (reshaped, "of different networks: they differ in b and 0 more"),
        (renamed, "of different networks: they differ in b and 1 more"),
        (halved, "of different networks: they differ in b and 0 more"),
        (infinite, r"is damaged \(b has values that are no numbers\)"),
        (misplaced, "says that it is of step 10 and width 0.05"),
    ],
)
def test_spoiled_snapshots_are_refused(
    spoil: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    for step in (10, 20):
        save_snapshot(tmp_path, step, {0.05: state(1.0), 0.1: state(2.0)})
    spoil(tmp_path / "00000010" / "width-0.1.safetensors")
    with pytest.raises(InputError, match=message) as caught:
        reconstructed(tmp_path, width=0.07)
    assert "00000010/width-0.1" in str(caught.value)
    assert "\n" not in str(caught.value)
    (tmp_path / "00000010" / "width-0.1.safetensors").unlink()
    assert reconstructed(tmp_path, width=0.07).used == 3


def tiny() -> Config:
    return Config(
        data=DigitsConfig(size=16, glyph=8, speed=1, digits=1),
        masks=ContextMasks(past=2, target=1, future=1),
        network=ContextConfig(
            width=8, multipliers=(1, 2), blocks=1, attention=(), head_width=None, dropout=0.2
        ),
        optim=OptimConfig(steps=40, batch=4, ema_widths=TRACKED),
        log=LogConfig(snapshot_every=10),
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with the snapshots of a network whose weights move on a line."""
    config = tiny()
    torch.manual_seed(0)
    start = config.model().build().state_dict()
    folder = tmp_path / "run"
    for step in range(10, 41, 10):
        averages = {
            width: {name: value + 0.01 * step * (1 - width) for name, value in start.items()}
            for width in TRACKED
        }
        save_snapshot(folder / "snapshots", step, averages)
    write_json(folder / "config.json", to_data(config))
    return folder


def test_a_model_of_any_width(run: Path, tmp_path: Path) -> None:
    said: list[str] = []
    out = average_into(run, tmp_path / "model", width=0.07, step=30, say=said.append)
    model = load_model(out)
    assert model.config == tiny().model()
    expected = reconstructed(run / "snapshots", width=0.07, step=30)
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, expected.weights[name])
    assert "- Run: `run`" in model.card
    assert "- Step: 30" in model.card
    assert "- Width: 0.07" in model.card
    assert "- Snapshots used: 6" in model.card
    assert said == [
        "width 0.07 at step 30: of 6 snapshot(s), which lack "
        f"{expected.residual:.2%} of its profile"
    ]


def test_a_poor_average_is_told(run: Path, tmp_path: Path) -> None:
    said: list[str] = []
    average_into(run, tmp_path / "model", width=0.01, say=said.append)
    assert "the model may be worse" in said[1]


def test_a_model_folder_is_never_overwritten(run: Path, tmp_path: Path) -> None:
    out = average_into(run, tmp_path / "model", width=0.07)
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(InputError, match="model exists: choose another name"):
        average_into(run, out, width=0.1)
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_snapshots_of_another_network_are_refused(run: Path, tmp_path: Path) -> None:
    for step in range(10, 41, 10):
        save_snapshot(run / "snapshots", step, {0.05: state(1.0), 0.1: state(2.0)})
    with pytest.raises(InputError, match="another network"):
        average_into(run, tmp_path / "model", width=0.07)
    assert not (tmp_path / "model").exists()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config.json can't be read"):
        average_into(tmp_path, tmp_path / "model", width=0.07)
