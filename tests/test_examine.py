"""Facts about data: each has a test that it is seen, and a twin that it isn't where it isn't."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from framefill.data.clips import fitted
from framefill.data.examine import Facts, Look, examine, gather, looked_at
from framefill.data.read import read
from framefill.data.video import Video
from framefill.data.videos import VideosConfig
from framefill.data.write import write
from framefill.errors import InputError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
EVERYTHING = Look(videos=None, frames=None, seconds=None)


def moving(frames: int = 20, *, seed: int = 0, size: int = 16, channels: int = 1) -> np.ndarray:
    """A bright square that moves over noise that stays: sane data."""
    rng = np.random.default_rng(seed)
    video = np.tile(rng.integers(0, 200, (size, size, channels), np.uint8), (frames, 1, 1, 1))
    y, x = rng.integers(0, size - 4, 2)
    for frame in video:
        y, x = (y + 1) % (size - 4), (x + 2) % (size - 4)
        frame[y : y + 4, x : x + 4] = rng.integers(200, 256, (4, 4, channels))
    return video


def folder_of(root: Path, videos: dict[str, np.ndarray]) -> Path:
    """A folder of .npy files by their names within it."""
    for name, video in videos.items():
        path = root / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, video)
    return root


def sane(root: Path, **more: np.ndarray) -> Path:
    names = ("train/a", "train/b", "train/c", "test/d")
    videos = {name: moving(seed=seed) for seed, name in enumerate(names)}
    return folder_of(root, videos | {f"train/{name}": video for name, video in more.items()})


def facts_of(root: Path, look: Look = EVERYTHING, **fields: Any) -> Facts:
    config = VideosConfig(path=root, **fields)
    return examine(gather(config), config, look)


def test_of_sane_data_everything_is_known_and_nothing_is_odd(tmp_path: Path) -> None:
    facts = facts_of(sane(tmp_path))
    assert [each.part for each in facts.videos] == ["train"] * 3 + ["test"]
    for each in facts.videos:
        assert (each.length, each.shape, each.dtype, each.fps) == (20, (16, 16, 1), "uint8", None)
        assert (each.looked, each.pairs, each.repeats) == (20, 19, 1)
        assert each.missing == each.constant == each.still == each.holes == 0
        assert not each.irregular
    assert (facts.refused, facts.passed_over, facts.remarks) == ([], {}, {})
    assert (facts.copies, facts.shared, facts.shared_times) == ([], [], 0)
    (channel,) = facts.channels
    whole = np.concatenate([np.load(path) for path in tmp_path.rglob("*.npy")])
    assert channel.low == whole.min()
    assert channel.high == whole.max()
    assert channel.mean == pytest.approx(whole.mean())
    assert channel.deviation == pytest.approx(whole.std())
    assert (channel.missing, channel.infinite, channel.mark) == (0, 0, None)
    json.dumps(asdict(facts))


def test_files_that_cannot_be_opened_are_named_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    root = sane(tmp_path)
    (root / "train" / "broken.npy").write_bytes(b"no array")
    (root / "train" / "empty.mp4").touch()
    (root / "train" / "text.gif").write_text("no film")
    facts = facts_of(root)
    assert {Path(each.name).name for each in facts.refused} == {
        "broken.npy",
        "empty.mp4",
        "text.gif",
    }
    assert all(each.name in each.reason for each in facts.refused)
    assert len(facts.videos) == 4


def test_a_video_that_is_damaged_in_the_middle_is_named(tmp_path: Path) -> None:
    root = sane(tmp_path)
    frames = root / "train" / "images"
    write(frames, moving(), fps=None)
    (frames / "frame_0010.png").write_bytes(b"no image")
    facts = facts_of(root)
    assert [Path(each.name).name for each in facts.refused] == ["images"]
    assert "frame_0010.png" in facts.refused[0].reason
    assert len(facts.videos) == 4


def test_a_folder_that_mixes_things_is_named_and_the_others_are_looked_at(tmp_path: Path) -> None:
    root = sane(tmp_path)
    mixed = root / "train" / "mixed"
    folder_of(mixed, {"video": moving(seed=9)})
    Image.fromarray(moving()[0, ..., 0]).save(mixed / "image.png")
    facts = facts_of(root)
    assert [Path(each.name).name for each in facts.refused] == ["mixed"]
    assert {Path(each.name).stem for each in facts.videos} == {"a", "b", "c", "d", "video"}


def test_a_path_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="doesn't exist"):
        facts_of(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no videos"):
        facts_of(tmp_path)
    (tmp_path / "a.txt").write_text("nothing")
    with pytest.raises(InputError, match="holds no videos"):
        facts_of(tmp_path)


def test_a_folder_of_faulty_files_alone_has_facts_too(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"nothing")
    facts = facts_of(tmp_path)
    assert [Path(each.name).name for each in facts.refused] == ["a.npy"]
    assert (facts.videos, facts.channels) == ([], [])


def test_files_of_other_kinds_are_counted(tmp_path: Path) -> None:
    root = sane(tmp_path)
    for name in ("a.txt", "b.txt", "c.json", ".hidden", "d"):
        (root / "train" / name).touch()
    (root / "train" / "link.npy").symlink_to(root / "train" / "a.npy")
    (root / "train" / "a.conditions.npz").touch()
    assert facts_of(root).passed_over == {
        ".txt": 2,
        ".json": 1,
        "hidden": 1,
        "no suffix": 1,
        "links": 1,
    }


def test_how_the_data_is_divided(tmp_path: Path) -> None:
    loose = folder_of(tmp_path / "loose", {name: moving(seed=ord(name)) for name in "abcd"})
    facts = facts_of(loose)
    assert [each.part for each in facts.videos] == ["train"] * 3 + ["test"]
    assert "the last 1 videos of 4" in facts.note
    only = folder_of(tmp_path / "only", {"train/a": moving()})
    facts = facts_of(only)
    assert [each.part for each in facts.videos] == ["train"]
    assert "no test" in facts.remarks["test"]
    test = folder_of(tmp_path / "test_only", {"test/a": moving()})
    facts = facts_of(test)
    assert [each.part for each in facts.videos] == ["test"]
    assert "no train" in facts.remarks["train"]


def test_infinite_and_missing_values_are_counted_apart(tmp_path: Path) -> None:
    video = moving().astype(np.float32)
    video[3, 2, :5] = np.nan
    video[4, 2, :3] = np.inf
    (channel,) = facts_of(folder_of(tmp_path, {"train/a": video})).channels
    assert channel.infinite == 3
    assert channel.missing == pytest.approx(5 / video.size)
    assert channel.high is not None
    assert channel.high <= 255


def test_frames_without_values_and_of_one_value(tmp_path: Path) -> None:
    video = moving().astype(np.float32)
    video[3:5], video[7] = np.nan, 12
    (facts,) = facts_of(folder_of(tmp_path, {"train/a": video})).videos
    assert (facts.missing, facts.constant, facts.pairs) == (2, 1, 16)


def test_a_channel_without_any_value(tmp_path: Path) -> None:
    video = moving(channels=2).astype(np.float32)
    video[..., 1] = np.nan
    one, other = facts_of(folder_of(tmp_path, {"train/a": video})).channels
    assert one.low is not None
    assert (other.low, other.high, other.mean, other.missing) == (None, None, None, 1)


@pytest.mark.parametrize("times", [2, 3, 5])
def test_frames_that_are_stored_several_times(tmp_path: Path, times: int) -> None:
    (facts,) = facts_of(folder_of(tmp_path, {"train/a": moving().repeat(times, axis=0)})).videos
    assert (facts.repeats, facts.still) == (times, 20 * (times - 1))
    (sample,) = facts_of(
        folder_of(tmp_path, {"train/a": moving(600).repeat(times, axis=0)}), Look()
    ).videos
    assert (sample.repeats, sample.looked) == (times, 96)


def test_frames_that_stand_still_now_and_then_are_no_repeats(tmp_path: Path) -> None:
    (facts,) = facts_of(folder_of(tmp_path, {"train/a": moving()[[0, 1, 1, 2, 3, 3, 3, 4]]})).videos
    assert (facts.repeats, facts.still, facts.pairs) == (1, 3, 7)


def test_rows_of_different_lengths_are_no_repeats(tmp_path: Path) -> None:
    places = [0, 1, 1, 2, 2, 2, 3, 3, 4]
    (facts,) = facts_of(folder_of(tmp_path, {"train/a": moving()[places]})).videos
    assert (facts.repeats, facts.still) == (1, 4)


def test_videos_with_the_same_frames(tmp_path: Path) -> None:
    root = sane(tmp_path, copy=moving(seed=1), shorter=moving(seed=1)[:-1])
    (names,) = facts_of(root).copies
    assert [Path(name.split(": ")[1]).stem for name in names] == ["b", "copy"]


def test_black_videos_are_no_copies(tmp_path: Path) -> None:
    black = np.zeros_like(moving())
    facts = facts_of(folder_of(tmp_path, {"train/a": black, "train/b": black, "test/c": black}))
    assert (facts.copies, facts.shared) == ([], [])


def test_a_part_of_a_training_video_in_a_test_video(tmp_path: Path) -> None:
    root = folder_of(
        sane(tmp_path), {"test/d": np.concatenate([moving(seed=1)[:6], moving(seed=7)])}
    )
    (shared,) = facts_of(root).shared
    assert (Path(shared.test).stem, Path(shared.train).stem) == ("d", "b")
    assert (shared.equal, shared.near, shared.compared) == (6, 6, 26)


def test_the_same_content_in_another_size_and_compressed(tmp_path: Path) -> None:
    rows, columns = np.indices((64, 64))
    phases = np.arange(30)[:, None, None, None]
    waves = np.stack([rows / 9, columns / 7, (rows + columns) / 11], axis=2) + phases / 4
    root = folder_of(sane(tmp_path), {"train/large": (127 + 100 * np.sin(waves)).astype(np.uint8)})
    config = VideosConfig(height=32, width=32, fit="stretch")
    half = fitted(read(root / "train" / "large.npy"), config).frames
    write(root / "test" / "again.mp4", half, fps=8)
    (shared,) = facts_of(root).shared
    assert (Path(shared.test).stem, Path(shared.train).stem) == ("again", "large")
    assert shared.equal == 0
    assert shared.near > 20


def test_a_slow_video_whose_end_is_held_out_is_no_copy_of_its_start(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scene = rng.uniform(0, 200, (400, 32, 1))
    noise = rng.normal(0, 2, (300, 16, 16, 1))
    video = np.stack([scene[i : i + 16, 8:24] for i in range(300)]) + 20 + noise
    folder_of(tmp_path, {"only": video.astype(np.uint8)})
    assert facts_of(tmp_path).shared == []


def test_dates_in_both_parts(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    times = np.datetime64("2024-01-01", "ns") + np.arange(20) * np.timedelta64(3600, "s")
    for part, first in (("train", 0), ("test", 15)):
        (tmp_path / part).mkdir()
        rain = moving(seed=first)[..., 0].astype(np.float32)
        data = xarray.DataArray(rain, dims=("time", "y", "x"), name="rain")
        shifted = times + first * np.timedelta64(3600, "s")
        data.assign_coords(time=shifted).to_netcdf(tmp_path / part / "a.nc")
    facts = facts_of(tmp_path)
    assert facts.shared_times == 5
    assert facts.videos[0].fps == pytest.approx(1 / 3600)
    assert facts_of(sane(tmp_path / "sane")).shared_times == 0


def test_holes_in_time_and_uneven_times(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    (tmp_path / "train").mkdir()
    hours = {"holes": [0, 1, 2, 5, 6], "even": [0, 1, 2, 3, 4], "uneven": [0, 1, 2.4, 3, 4.7]}
    for name, at in hours.items():
        stamps = np.datetime64("2024-01-01", "ns") + (np.array(at) * 3600e9).astype(
            "timedelta64[ns]"
        )
        rain = moving(5)[..., 0].astype(np.float32)
        data = xarray.DataArray(rain, dims=("time", "y", "x"), name="rain")
        data.assign_coords(time=stamps).to_netcdf(tmp_path / "train" / f"{name}.nc")
    found = {Path(each.name).stem: each for each in facts_of(tmp_path).videos}
    assert {name: each.holes for name, each in found.items()} == {
        "holes": 2,
        "even": 0,
        "uneven": 0,
    }
    assert {name for name, each in found.items() if each.irregular} == {"uneven"}
    assert (found["holes"].length, found["holes"].missing) == (7, 2)


@pytest.mark.parametrize(("mark", "where"), [(-9999.0, 0.01), (1e20, 0.002)])
def test_a_number_that_stands_for_missing_values(tmp_path: Path, mark: float, where: float) -> None:
    rng = np.random.default_rng(0)
    video = rng.normal(280, 10, (60, 16, 16, 1)).astype(np.float32)
    (plain,) = facts_of(folder_of(tmp_path, {"train/a": video})).channels
    video[rng.random(video.shape) < where] = mark
    (marked,) = facts_of(folder_of(tmp_path, {"train/a": video})).channels
    assert plain.mark is None
    assert marked.mark == pytest.approx(mark)
    assert marked.mark_share == pytest.approx(where, rel=0.5)


def test_black_and_white_are_no_marks(tmp_path: Path) -> None:
    video = np.where(moving() > 100, 65535, 0).astype(np.uint16)
    (channel,) = facts_of(folder_of(tmp_path, {"train/a": video})).channels
    assert channel.mark is None


def test_channels_that_are_the_same(tmp_path: Path) -> None:
    gray = moving().repeat(3, axis=3)
    assert facts_of(folder_of(tmp_path, {"train/a": gray})).same_channels == [
        (0, 1),
        (0, 2),
        (1, 2),
    ]
    tinted = gray.clip(4, 250) + np.array([0, 2, 1], np.uint8)
    assert len(facts_of(folder_of(tmp_path, {"train/a": tinted})).same_channels) == 3
    color = gray.copy()
    color[4, 5, 6, 0] ^= 64
    assert facts_of(folder_of(tmp_path, {"train/a": color})).same_channels == [(1, 2)]
    floats = moving(channels=2).astype(np.float32)
    floats[..., 1] = floats[..., 0]
    floats[2, 2] = np.nan
    assert facts_of(folder_of(tmp_path, {"train/a": floats})).same_channels == [(0, 1)]
    floats[3, 3, 3, 1] = np.nan
    assert facts_of(folder_of(tmp_path, {"train/a": floats})).same_channels == []


def test_conditions_their_values_and_those_that_are_not_asked_for(tmp_path: Path) -> None:
    root, action = tmp_path, np.stack([np.arange(20.0), np.full(20, 3.0)], axis=1)
    action[:5, 0] = np.nan
    for number, name in enumerate(("train/a", "train/b", "test/c")):
        write(root / name, moving(seed=number), fps=None)
        np.savez(root / f"{name}.conditions.npz", action=action, height=np.zeros((16, 16)))
    assert facts_of(root).unused == ["action", "height"]
    facts = facts_of(root, conditions=("action",))
    assert facts.unused == ["height"]
    first, second = facts.conditions
    assert (first.name, first.low, first.high, first.missing) == ("action 0", 5, 19, 0.25)
    assert (second.low, second.high, second.missing) == (3, 3, 0)


def test_a_condition_that_is_nowhere_is_said_of_every_video(tmp_path: Path) -> None:
    facts = facts_of(sane(tmp_path), conditions=("action",))
    assert len(facts.refused) == 4
    assert "action" in facts.refused[0].reason


def test_classes_are_counted_if_they_are_asked_for(tmp_path: Path) -> None:
    videos = {
        f"train/{name}": moving(seed=i) for i, name in enumerate(("run_1", "run_2", "walk_1"))
    }
    root = folder_of(tmp_path, videos | {"test/jump_1": moving(seed=8)})
    assert facts_of(root).classes == {}
    counted = facts_of(root, classes=("run", "walk", "jump")).classes
    assert counted == {"train": {"run": 2, "walk": 1}, "test": {"jump": 1}}


def test_a_sample_is_bounded_and_the_same_each_time(tmp_path: Path) -> None:
    videos = {f"train/{i}": moving(100, seed=i, size=8) for i in range(8)}
    root = folder_of(
        tmp_path, videos | {f"test/{i}": moving(100, seed=9 + i, size=8) for i in range(4)}
    )
    look = Look(videos=4, frames=32)
    facts = facts_of(root, look)
    assert [sum(each.looked > 0 for each in facts.of(part)) for part in ("train", "test")] == [4, 1]
    assert {each.looked for each in facts.videos} == {0, 32}
    assert facts_of(root, look) == facts
    assert facts_of(root, Look(videos=4, frames=32, seed=1)) != facts


def test_after_the_time_is_up_no_other_video_is_begun(tmp_path: Path) -> None:
    facts = facts_of(sane(tmp_path), Look(seconds=0.0))
    assert [sum(each.looked > 0 for each in facts.of(part)) for part in ("train", "test")] == [1, 1]


@given(length=st.integers(1, 5000), frames=st.integers(1, 200), seed=st.integers(0, 5))
def test_places_ascend_and_are_few(length: int, frames: int, seed: int) -> None:
    places = Look(frames=frames, seed=seed).places(length)
    assert places == sorted(set(places))
    assert places[0] >= 0
    assert places[-1] < length
    assert len(places) <= max(frames, 16)
    assert len(places) >= min(length, frames) - 16


def test_what_is_looked_at_can_be_measured_like_whole_videos(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"train/a": moving(100, channels=3)})
    footage = gather(VideosConfig(path=root)).found["train"]
    (same,) = looked_at(footage, EVERYTHING, 3)
    assert np.array_equal(same.take(range(100)), footage[0].take(range(100)))
    (sample,) = looked_at(footage, Look(frames=32), 1)
    assert (sample.length, sample.shape) == (32, (16, 16, 1))
    places = Look(frames=32).places(100)
    gray = VideosConfig(height=16, width=16, channels=1, fit="crop")
    expected = fitted(Video(footage[0].take(places)), gray)
    assert np.array_equal(sample.take(range(32)), expected.frames)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the difficult files are not at {SHARED}")
def test_difficult_files(tmp_path: Path) -> None:
    facts = facts_of(SHARED / "edge", Look(frames=16, videos=3))
    refused = {Path(each.name).name for each in facts.refused}
    assert {"corrupted.mp4", "empty.webm"} <= refused
    assert len(facts.videos) >= 8
    json.dumps(asdict(facts))
