"""Missing pixels, frames and time stamps: told to the network, and never learned from."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_own_dataset import FRAMES, Mine, log, tiny

from framefill.config import Config
from framefill.data.own import OwnClips, OwnConfig
from framefill.data.video import Video
from framefill.diffusion import Diffusion
from framefill.errors import FillWarning, InputError
from framefill.fill import Filler
from framefill.gaps import reach, valid_in, without_gaps
from framefill.masks import BlockMasks, RandomMasks
from framefill.model import Model
from framefill.nn.config import ConcatConfig, VolumeConfig
from framefill.nn.denoisers import telling
from framefill.normalise import Normaliser
from framefill.objective import MaskedLoss
from framefill.randomness import generator_for
from framefill.roles import roles_from
from framefill.run import train
from framefill.sampling import Ddim
from framefill.scaling import Scaling
from framefill.told import Told
from framefill.training import STREAM_STEP, Report, TrainState, train_steps
from framefill.windows import Window


def started(config: Config) -> TrainState:
    """The state of a run whose network's output isn't zero, as that of a fresh one is."""
    state = TrainState.start(config, torch.device("cpu"))
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in state.network.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=rng)
    return state


def given(config: Config, normaliser: Normaliser | None = None) -> Config:
    """A config for float data that isn't measured."""
    plain = normaliser or Normaliser(dtype="float32")
    return replace(config, normaliser=plain, scaling=Scaling(by="given"))


def noise(*size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, size).astype(np.float32)


def step(config: Config, *clips: np.ndarray) -> tuple[Report, list[torch.Tensor], TrainState]:
    """One optimiser step on these clips: its report, the gradients, and the state after."""
    optim = replace(config.optim, batch=len(clips), steps=1, clip_norm=0.0)
    config = replace(config, optim=optim)
    state = started(config)
    data = Mine(len(clips))
    data.samples = [{"frames": clip} for clip in clips]
    in_turn = OwnClips(data, OwnConfig.of(data), frames=FRAMES, split="test", seed=0)
    (report,) = train_steps(config, state, in_turn)
    return report, [p.grad for p in state.network.parameters() if p.grad is not None], state


def test_frames_without_any_pixel_are_absent() -> None:
    clip = torch.ones(2, 3, 2, 2, 2)
    clip[0, 1] = torch.nan
    clip[0, 2, 0, 0, 0] = torch.nan  # one channel of a pixel
    found, roles, valid = without_gaps(clip, roles_from("KTT", "KTT"))
    assert roles.tolist() == [[1, 0, 2], [1, 2, 2]]
    assert valid is not None
    assert valid[0, :, 0].flatten(1).tolist() == [
        [True] * 4,
        [False] * 4,
        [False, True, True, True],
    ]
    assert not found.isnan().any()
    assert found[0, 2, :, 0, 0].tolist() == [0, 0]
    assert found[1].eq(1).all()
    whole = torch.ones(1, 3, 1, 2, 2)
    assert without_gaps(whole, roles_from("KTT"))[2] is None


@pytest.mark.parametrize("reduction", ["target_mean", "half_sum", "clip_mean"])
def test_what_missing_pixels_hold_changes_neither_loss_nor_gradient(reduction: Any) -> None:
    config = tiny(loss=MaskedLoss(reduction=reduction))
    valid = torch.rand(2, FRAMES, 1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.4
    clean = torch.from_numpy(noise(2, FRAMES, 1, 8, 8)) / 128 - 1
    found = []
    for content in (0.0, 1e4):
        clip = torch.where(valid, clean, content)
        network = started(config).network
        losses = config.loss(
            telling(network, Told(valid)),
            config.diffusion,
            clip,
            roles_from("KKTTT-", "TKTKTT"),
            torch.Generator().manual_seed(5),
            valid,
        )
        losses.sum().backward()
        gradient = [p.grad for p in network.parameters() if p.grad is not None]
        found.append((losses, gradient))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))
    assert any(gradient.abs().max() > 0 for gradient in found[0][1])


def test_missing_pixels_carry_no_loss() -> None:
    """That of the pixels which are there is the mean over them alone."""
    config = tiny(loss=MaskedLoss())
    clip, roles = torch.from_numpy(noise(1, 3, 1, 8, 8)) / 128 - 1, roles_from("KTT")
    draws = config.loss.draw(config.diffusion, clip, roles, torch.Generator().manual_seed(5))

    def at(valid: torch.Tensor | None) -> float:
        # A denoiser that sees no gaps, so that only what is counted differs.
        return config.loss.at(
            lambda canvas, labels, roles: torch.zeros_like(canvas),
            config.diffusion,
            clip,
            roles,
            draws.levels,
            draws.noise,
            valid,
        ).item()

    left = torch.zeros(1, 3, 1, 8, 8, dtype=torch.bool)
    left[..., :2] = True
    assert at(left) != pytest.approx(at(None))
    assert at(left) * 0.25 + at(~left) * 0.75 == pytest.approx(at(None), rel=1e-5)
    assert at(torch.zeros_like(left)) == 0


def frames_with_gaps(seed: int = 0) -> np.ndarray:
    clip = noise(FRAMES, 8, 8, 1, seed=seed)
    clip[:, :3] = np.nan
    clip[2] = np.nan
    return clip


NOTHING = np.full((FRAMES, 8, 8, 1), np.nan, np.float32)


@pytest.mark.parametrize("microbatch", [0, 1])
def test_clips_without_a_valid_target_count_for_nothing(microbatch: int) -> None:
    """The loss, and the gradient, are those of the other clips."""
    config = given(tiny())
    config = replace(config, optim=replace(config.optim, microbatch=microbatch))
    first, second = frames_with_gaps(), noise(FRAMES, 8, 8, 1, seed=1)
    both, one, other = (
        step(config, *clips) for clips in ((first, second), (first, NOTHING), (NOTHING, second))
    )
    assert [each[0].skipped for each in (both, one, other)] == [0, 1, 1]
    assert both[0].loss == pytest.approx((one[0].loss + other[0].loss) / 2, rel=1e-4)
    for whole, left, right in zip(both[1], one[1], other[1], strict=True):
        assert torch.allclose(whole, (left + right) / 2, rtol=1e-3, atol=1e-5)


def test_clips_of_known_frames_alone_count_for_nothing() -> None:
    """Also where the loss is of KNOWN frames too (RaMViD with exclude_conditional off)."""
    masks = RandomMasks(frames=FRAMES, max_known=3, unconditional=0.0)
    config = given(
        tiny(
            masks=masks,
            network=VolumeConfig(width=32, multipliers=(1,), blocks=1, attention=()),
            diffusion=Diffusion(predicts="noise"),
            loss=MaskedLoss(reduction="clip_mean"),
            sampler=Ddim(steps=2),
        )
    )
    config = replace(config, optim=replace(config.optim, batch=2))
    rows = rows_of_the_first_step(config)
    target = rows[0] == 2
    known_only = noise(FRAMES, 8, 8, 1)
    known_only[target.numpy()] = np.nan
    second = noise(FRAMES, 8, 8, 1, seed=1)
    report, gradient, _ = step(config, known_only, second)
    other_report, other_gradient, _ = step(config, NOTHING, second)
    assert report.skipped == other_report.skipped == 1
    assert report.loss == pytest.approx(other_report.loss, rel=1e-4)
    for left, right in zip(gradient, other_gradient, strict=True):
        assert torch.allclose(left, right, rtol=1e-3, atol=1e-5)


def rows_of_the_first_step(config: Config) -> torch.Tensor:
    """The roles of the clips of a run's first step."""
    generator = generator_for(config.seed, STREAM_STEP, 0)
    return config.masks.sample(config.optim.batch, generator)


def test_a_batch_without_any_valid_target_moves_no_weight() -> None:
    config = given(tiny())
    before = started(config)
    report, _, after = step(config, NOTHING, NOTHING)
    assert (report.step, report.loss, report.grad_norm, report.skipped) == (1, 0, 0, 2)
    assert after.step == 1
    assert not after.optimizer.state
    for name in ("network", "average"):
        states = (getattr(state, name).state_dict() for state in (before, after))
        assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def test_skipped_clips_are_noted_in_the_run(tmp_path: Path) -> None:
    data = Mine(2, dtype=np.float32)
    data.samples[1]["frames"][:] = np.nan
    train(tiny(), out=tmp_path / "run", data=data, progress=False)
    assert [line["skipped"] for line in log(tmp_path / "run")] == [1, 1]
    assert all(line["loss"] > 0 for line in log(tmp_path / "run"))


def test_gaps_are_trained_and_drawn(tmp_path: Path) -> None:
    """Held-out clips too may have gaps, and frames that aren't there."""
    data = Mine(4, dtype=np.float32)
    for number, sample in enumerate(data.samples):
        sample["frames"][:, number:, 0] = np.nan
        sample["frames"][number] = np.nan
    config = tiny()
    config = replace(config, log=replace(config.log, sample_every=2))
    train(config, out=tmp_path / "run", data=data, test=data, progress=False)
    assert (tmp_path / "run" / "samples" / "00000002.png").is_file()
    assert all(np.isfinite(line["loss"]) for line in log(tmp_path / "run"))


# --- filling ------------------------------------------------------------------------------------


def model_of(config: Config) -> Filler:
    return Filler(Model(started(config).network.eval(), config.model()))


@pytest.fixture(scope="module")
def space_time() -> Filler:
    return model_of(given(tiny(data=OwnConfig(height=8, width=8, channels=1))))


@pytest.fixture(scope="module")
def volume() -> Filler:
    """A published network, whose rows have known frames and targets alone."""
    return model_of(
        given(
            tiny(
                masks=RandomMasks(frames=FRAMES, max_known=5),
                network=VolumeConfig(width=32, multipliers=(1,), blocks=1, attention=()),
                diffusion=Diffusion(predicts="clean"),
                loss=MaskedLoss(),
                sampler=Ddim(steps=2),
            )
        )
    )


def of_blocks(masks: BlockMasks) -> Filler:
    """A published network of blocks."""
    return model_of(
        given(
            tiny(
                masks=masks,
                network=ConcatConfig(width=8, multipliers=(1,), blocks=1, attention=()),
                diffusion=Diffusion(predicts="clean"),
                loss=MaskedLoss(),
                sampler=Ddim(steps=2),
            )
        )
    )


@pytest.fixture(scope="module")
def concat() -> Filler:
    return of_blocks(BlockMasks(past=2, target=2, future=2, drop_future=0.5))


def test_frames_that_are_missing_are_filled(space_time: Filler) -> None:
    video = noise(FRAMES, 8, 8, 1)
    video[[1, 4]] = np.nan
    filled = space_time.fill(video)
    assert filled.row == "KTKKTK"
    assert np.isfinite(filled.frames).all()
    assert np.array_equal(filled.frames[0, [0, 2, 3, 5]], video[[0, 2, 3, 5]])


def test_pixels_that_no_given_frame_has_stay_missing(space_time: Filler) -> None:
    video = noise(FRAMES, 8, 8, 1)
    video[:, 0] = np.nan  # beyond the reach in all frames
    video[0, 3, 3] = np.nan  # a hole that another frame fills
    filled = space_time.predict(video, 3, samples=2).frames
    assert np.array_equal(filled[:, :FRAMES], np.stack([video, video]), equal_nan=True)
    assert np.isnan(filled[:, FRAMES:, 0]).all()
    assert np.isfinite(filled[:, FRAMES:, 1:]).all()


def test_gaps_that_no_window_reaches_do_no_harm(space_time: Filler) -> None:
    video = noise(40, 8, 8, 1)
    video[3, 2:5, 2:5] = np.nan  # long before what the last frames are read for
    filled = space_time.predict(video, 2).frames
    assert np.array_equal(filled[0, :40], video, equal_nan=True)
    assert np.isfinite(filled[:, 40:]).all()


def test_missing_pixels_of_given_frames_are_not_read(space_time: Filler) -> None:
    """They count as missing, and not as values in the middle of the range."""
    video = noise(2, 8, 8, 1)
    gappy, middle = video.copy(), video.copy()
    gappy[0, 2:5, 2:5] = np.nan
    middle[0, 2:5, 2:5] = 127.5
    assert not np.array_equal(
        space_time.predict(gappy, 2).frames[:, 2:], space_time.predict(middle, 2).frames[:, 2:]
    )


def test_published_networks_warn_of_missing_pixels_and_the_space_time_network_does_not(
    space_time: Filler, volume: Filler, concat: Filler
) -> None:
    video = noise(2, 8, 8, 1)
    video[0, 2:5, 2:5] = np.nan
    for published in (volume, concat):
        with pytest.warns(FillWarning, match="missing pixels, which this network takes for ones"):
            filled = published.predict(video, 2)
        assert np.isfinite(filled.frames[:, 2:]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space_time.predict(video, 2)
        for whole in (volume, concat):
            whole.predict(noise(2, 8, 8, 1), 2)


def test_histories_with_missing_frames_go_on(space_time: Filler) -> None:
    video = noise(4, 8, 8, 1)
    video[2] = np.nan
    forth, back = space_time.predict(video, 2), space_time.rewind(video, 2)
    assert (forth.row, back.row) == ("KK-KTT", "TTKK-K")
    assert np.array_equal(forth.frames[0, :4], video, equal_nan=True)
    assert np.array_equal(back.frames[0, 2:], video, equal_nan=True)
    assert np.isfinite(forth.frames[:, 4:]).all()
    assert np.isfinite(back.frames[:, :2]).all()


def test_models_that_need_every_frame_fill_the_missing_ones_of_a_history() -> None:
    concat = of_blocks(BlockMasks(past=2, target=1, future=1, drop_future=0.5))
    video = noise(4, 8, 8, 1)
    video[2] = np.nan
    speed = np.arange(4, dtype=np.float32)[:, None]  # which the model doesn't know
    filled = concat.predict(Video(video, conditions={"speed": speed}), 2)
    assert filled.row == "KKTKTT"
    assert np.isfinite(filled.frames).all()
    assert np.array_equal(filled.frames[0, [0, 1, 3]], video[[0, 1, 3]])


@pytest.mark.parametrize("dates", [False, True])
def test_holes_in_the_time_stamps_are_filled(space_time: Filler, dates: bool) -> None:
    start = np.datetime64("2020-01-01", "ns") if dates else 50.0
    unit = np.timedelta64(300, "s") if dates else 300.0
    places = np.array([0, 1, 2, 5])
    frames = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 1), dtype=np.uint8)
    model = model_of(given(tiny(data=OwnConfig(height=8, width=8, channels=1)), Normaliser()))
    filled = model.fill(Video(frames, times=start + places * unit))
    assert filled.row == "KKKTTK"
    assert filled.times is not None
    assert (filled.times == start + np.arange(6) * unit).all()
    assert np.array_equal(filled.frames[0, places], frames)
    assert np.isfinite(filled.frames).all()
    assert filled.stored is not None
    assert filled.stored.dtype == "uint8"
    longer = model.predict(Video(frames, times=start + places * unit), 2)
    assert longer.row == "KKK--KTT"
    assert longer.times is not None
    assert (longer.times == start + np.arange(8) * unit).all()
    assert np.isnan(longer.frames[0, 3:5]).all()
    earlier = model.rewind(Video(frames, times=start + places * unit), 2)
    assert earlier.times is not None
    assert (earlier.times == start + (np.arange(8) - 2) * unit).all()


def test_time_stamps_go_on_for_every_verb(space_time: Filler) -> None:
    video = Video(noise(3, 8, 8, 1), fps=2.0, times=np.array([10.0, 10.5, 11.0]))
    expected: dict[str, tuple[Any, list[float]]] = {
        "predict": (2, [10, 10.5, 11, 11.5, 12]),
        "rewind": (1, [9.5, 10, 10.5, 11]),
        "interpolate": (1, [10, 10.25, 10.5, 10.75, 11]),
        "upsample": (2, [10, 10.25, 10.5, 10.75, 11]),
        "fill": ([0, 2], [10, 10.5, 11]),
    }
    for verb, (argument, times) in expected.items():
        filled = getattr(space_time, verb)(video, argument)
        assert filled.times is not None
        assert filled.times.tolist() == times
    assert space_time.generate(2).times is None


def test_missing_frames_are_refused_where_they_can_not_be(space_time: Filler) -> None:
    video = noise(4, 8, 8, 1)
    video[2] = np.nan
    for verb in ("interpolate", "upsample"):
        with pytest.raises(InputError, match="needs a video without missing frames: fill them"):
            getattr(space_time, verb)(video, 2)
    with pytest.raises(InputError, match="given frame 2 is NaN throughout: give roles with -"):
        space_time.fill(video, known=[0, 2])
    with pytest.raises(InputError, match="no frame is NaN throughout, so there is nothing to"):
        space_time.fill(noise(4, 8, 8, 1))
    with pytest.raises(InputError, match="uint8, which has no NaN: say which ones are known"):
        space_time.fill(np.zeros((4, 8, 8, 1), np.uint8))
    stamped = Video(noise(4, 8, 8, 1), times=np.array([0.0, 1.0, 2.0, 4.0]))
    with pytest.raises(InputError, match="interpolation needs a video without missing frames"):
        space_time.interpolate(stamped, 1)


def test_what_is_valid_of_a_video_that_is_to_be_filled() -> None:
    video = torch.zeros(1, 4, 1, 2, 2)
    video[0, 0, 0, 0] = torch.nan
    video[0, 1, 0, 0, 0] = torch.nan
    video[0, 2:] = torch.nan  # what is to be filled may hold anything
    windows = [Window((0, 1, 2), "KKT", (2,)), Window((1, 2, 3), "KKT", (3,))]
    whole, valid = valid_in(video, windows)
    assert not whole.isnan().any()
    assert valid is not None
    expected = [[0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]]
    assert valid[0, :, 0].flatten(1).int().tolist() == expected
    assert reach(video, [0])[0, 0, 0].int().tolist() == [[0, 0], [1, 1]]
    assert reach(video, []).all()
    assert valid_in(torch.zeros(1, 4, 1, 2, 2), windows)[1] is None
