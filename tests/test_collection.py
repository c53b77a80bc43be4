"""Which videos there are, what is held out, and what clips are cut from them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from framefill.data.clips import VideoClips
from framefill.data.collection import Place, find_videos
from framefill.data.footage import Layout
from framefill.data.video import Video
from framefill.data.videos import VideosConfig
from framefill.data.write import write
from framefill.errors import InputError


def numbered(frames: int, *, first: int = 0, dtype: Any = np.uint8, size: int = 8) -> np.ndarray:
    """Frames that hold their own number."""
    numbers = np.arange(first, first + frames).reshape(-1, 1, 1, 1)
    return np.broadcast_to(numbers, (frames, size, size, 1)).astype(dtype)


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def images(path: Path, frames: np.ndarray) -> Path:
    write(path, frames, fps=None, value_range=(0, 255))
    return path


def sidecar(path: Path, **conditions: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path.with_name(f"{path.name}.conditions.npz"), **conditions)


def clips_of(path: Path, *, frames: int = 3, split: Any = "train", **fields: Any) -> VideoClips:
    config: dict[str, Any] = {"path": path, "height": 8, "width": 8, "channels": 1, **fields}
    return VideosConfig(**config).clips(frames=frames, split=split, seed=0)


def place(path: Path, **fields: Any) -> Place:
    settings: dict[str, Any] = {
        "layout": Layout(),
        "benchmark": "none",
        "split": "",
        "holdout": 0.1,
    }
    return Place(path=path, **{**settings, **fields})


def names(path: Path, part: Any, **fields: Any) -> list[str]:
    return [each.path.stem for each in place(path, **fields).footage(part)[0]]


# --- training and testing -----------------------------------------------------------------------


def test_folders_say_what_is_for_training(tmp_path: Path) -> None:
    for part, video in (("train", "a"), ("train", "sub/b"), ("test", "c"), ("other", "d")):
        save(tmp_path / part / f"{video}.npy", numbered(5))
    assert names(tmp_path, "train") == ["a", "b"]
    assert names(tmp_path, "test") == ["c"]
    assert place(tmp_path).footage("train")[1] == ""  # nothing was divided here


@pytest.mark.parametrize("prefix", ["", "walking-"])
def test_files_say_what_is_for_training(tmp_path: Path, prefix: str) -> None:
    save(tmp_path / f"{prefix}train.npy", numbered(5))
    save(tmp_path / f"{prefix}test.npy", numbered(5))
    (tmp_path / "train.txt").write_text("notes")
    assert names(tmp_path, "train") == [f"{prefix}train"]
    assert names(tmp_path, "test") == [f"{prefix}test"]
    save(tmp_path / "training.npy", numbered(5))  # which would be left out without a word
    with pytest.raises(InputError, match=r"which says what it is for, beside training\.npy"):
        names(tmp_path, "train")


def test_the_conditions_of_a_file_of_training_videos_are_no_videos(tmp_path: Path) -> None:
    for part in ("train", "test"):
        save(tmp_path / f"{part}.npy", numbered(5))
        sidecar(tmp_path / part, speed=np.zeros((5, 2)))
    (found,) = place(tmp_path, layout=Layout(conditions=("speed",))).footage("train")[0]
    assert found.path == tmp_path / "train.npy"
    assert found.tracks["speed"].size == 2


def test_all_files_for_training_are_used(tmp_path: Path) -> None:
    for name in ("run-train", "test", "walk-train"):
        save(tmp_path / f"{name}.npy", numbered(5))
    assert names(tmp_path, "train") == ["run-train", "walk-train"]


def test_stores_say_what_is_for_training(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("zarr")
    for part in ("train", "test"):
        data = xarray.Dataset({"rain": (("time", "y", "x"), np.zeros((5, 8, 8), np.float32))})
        data.to_zarr(tmp_path / f"{part}.zarr", consolidated=False)
    assert names(tmp_path, "train") == ["train"]
    assert names(tmp_path, "test") == ["test"]


def test_a_part_that_is_not_there_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "train" / "a.npy", numbered(5))
    with pytest.raises(InputError, match="has train and no test: put the videos to learn from"):
        place(tmp_path).footage("test")
    with pytest.raises(InputError, match="nowhere doesn't exist: check the path; put the videos"):
        place(tmp_path / "nowhere").footage("train")
    with pytest.raises(InputError, match=r"split 'b' is for benchmarks, and .* is none"):
        place(tmp_path, split="b").footage("train")
    with pytest.raises(InputError, match="no benchmark 'nonne'; did you mean 'none'"):
        place(tmp_path, benchmark="nonne")
    for share in (-0.1, 1.0):
        with pytest.raises(InputError, match="must be at least 0 and below 1"):
            place(tmp_path, holdout=share)


@pytest.mark.parametrize(
    ("count", "share", "held"), [(2, 0.1, 1), (10, 0.1, 1), (11, 0.25, 2), (4, 0.99, 3)]
)
def test_the_last_videos_are_held_out(tmp_path: Path, count: int, share: float, held: int) -> None:
    for number in range(count):
        save(tmp_path / f"v{number}.npy", numbered(5))
    expected = [f"v{number}" for number in range(count)]  # v2 before v10
    assert names(tmp_path, "train", holdout=share) == expected[:-held]
    assert names(tmp_path, "test", holdout=share) == expected[-held:]
    note = place(tmp_path, holdout=share).footage("train")[1]
    assert note == f"held out for testing: the last {held} videos of {count}"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_last_frames_of_a_single_video_are_held_out(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "a.npy", numbered(40))
    sidecar(tmp_path / "a", speed=np.arange(40), wind=numbered(40, size=8))
    fields = {"holdout": 0.25, "conditions": ("speed", "wind")}
    path = path if kind == "file" else tmp_path
    train, test = (clips_of(path, split=split, **fields) for split in ("train", "test"))
    assert train.note == "held out for testing: the last 10 frames of 40"
    seen = {int(frame[0, 0, 0]) for index in range(300) for frame in train[index]}
    held = {int(frame[0, 0, 0]) for index in range(100) for frame in test[index]}
    assert seen == set(range(30))
    assert held == set(range(30, 40))
    for index in range(20):  # conditions move with the frames
        sample = test.clip(index)
        numbers = sample["frames"][:, 0, 0, 0].tolist()
        assert sample["conditions"]["speed"][:, 0].tolist() == numbers
        assert sample["conditions"]["wind"][:, 0, 0, 0].tolist() == numbers


def test_nothing_is_held_out_if_so_asked(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", numbered(5))
    assert place(path, holdout=0.0).footage("train")[0][0].length == 5
    with pytest.raises(InputError, match=r"nothing of .* is held out for testing: put the videos"):
        place(path, holdout=0.0).footage("test")
    with pytest.raises(InputError, match="has 1 frame, of which nothing can be held out"):
        place(save(tmp_path / "b.npy", numbered(1))).footage("train")


# --- what is a video ----------------------------------------------------------------------------


def test_videos_come_in_the_order_in_which_people_count(tmp_path: Path) -> None:
    for name in ("v10.npy", "v9.npy", "V2.npy", "v1.npy", "b10/x.npy", "b9/x.npy"):
        save(tmp_path / name, numbered(3))
    images(tmp_path / "b9" / "frames", numbered(12))
    found = [str(path.relative_to(tmp_path)) for path in find_videos(tmp_path)]
    assert found == [
        *("v1.npy", "V2.npy", "v9.npy", "v10.npy", "b9/x.npy", "b9/frames", "b10/x.npy"),
    ]


def test_stacks_are_videos_each_and_single_images_are_frames(tmp_path: Path) -> None:
    frames = [Image.fromarray(frame[..., 0]) for frame in numbered(4)]
    for name in ("a", "b"):
        (tmp_path / "stacks").mkdir(exist_ok=True)
        frames[0].save(tmp_path / "stacks" / f"{name}.tif", save_all=True, append_images=frames[1:])
    (tmp_path / "pages").mkdir()
    for number, frame in enumerate(frames):
        frame.save(tmp_path / "pages" / f"page_{number}.tif")
    found = place(tmp_path, holdout=0.0).footage("train")[0]
    assert [(each.path.name, each.length) for each in found] == [
        ("pages", 4),
        ("a.tif", 4),
        ("b.tif", 4),
    ]
    assert [int(frame.flat[0]) for frame in found[1].take(range(4))] == [0, 1, 2, 3]
    frames[0].save(tmp_path / "stacks" / "single.tif")
    with pytest.raises(InputError, match=r"holds stacks \(a\.tif .*beside single images \(single"):
        find_videos(tmp_path / "stacks")


def test_hidden_files_links_and_conditions_are_no_videos(tmp_path: Path) -> None:
    save(tmp_path / "a.npy", numbered(5))
    sidecar(tmp_path / "a", speed=np.zeros(5))
    save(tmp_path / ".b.npy", numbered(5))
    save(tmp_path / ".hidden" / "c.npy", numbered(5))
    (tmp_path / "link.npy").symlink_to(tmp_path / "a.npy")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert find_videos(tmp_path) == [tmp_path / "a.npy"]


@pytest.mark.parametrize("other", ["b.npy", "b.mp4"])
def test_slices_of_a_scan_beside_videos_are_refused(tmp_path: Path, other: str) -> None:
    """A folder of them is one video, in which others would get lost."""
    (tmp_path / "slice.dcm").write_bytes(b"")
    (tmp_path / other).write_bytes(b"")
    with pytest.raises(InputError, match=f"slice.dcm.* beside .*{other}"):
        find_videos(tmp_path)


def test_folders_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no videos: fill it with videos"):
        find_videos(tmp_path)
    (tmp_path / "README.txt").write_text("notes")
    with pytest.raises(InputError, match="holds no videos: fill it with videos"):
        find_videos(tmp_path)


def test_kinds_of_values_are_not_mixed(tmp_path: Path) -> None:
    save(tmp_path / "train" / "a.npy", numbered(5))
    save(tmp_path / "train" / "b.npy", numbered(5, dtype=np.uint16))
    with pytest.raises(InputError, match=r"a\.npy holds uint8 and .*b\.npy uint16: convert them"):
        clips_of(tmp_path)


# --- clips --------------------------------------------------------------------------------------


def test_short_videos_are_left_out(tmp_path: Path) -> None:
    save(tmp_path / "train" / "long.npy", numbered(9))
    save(tmp_path / "train" / "short.npy", numbered(2, first=50))
    clips = clips_of(tmp_path, frames=6)
    assert [each.path.stem for each in clips.left_out] == ["short"]
    assert max(clips[index].max() for index in range(40)) < 50


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_short_videos_take_part_with_the_rest_missing(
    tmp_path: Path, split: str, dtype: str
) -> None:
    """Missing frames are NaN, and not black."""
    save(tmp_path / split / "short.npy", numbered(3, first=50, dtype=dtype))
    sidecar(tmp_path / split / "short", speed=np.arange(50, 53), terrain=np.ones((8, 8)))
    clips = clips_of(tmp_path, frames=6, split=split, short="pad", conditions=("speed", "terrain"))
    rows = set()
    for index in range(40):
        sample = clips.clip(index)
        numbers = sample["frames"][:, 0, 0, 0]
        rows.add(tuple(np.nan_to_num(numbers, nan=-1).astype(int).tolist()))
        assert np.array_equal(sample["conditions"]["speed"][:, 0], numbers, equal_nan=True)
        assert sample["conditions"]["terrain"].shape == (8, 8, 1)
    shifts = {tuple([-1] * n + [50, 51, 52] + [-1] * (3 - n)) for n in range(4)}
    assert rows == (shifts if split == "train" else {(50, 51, 52, -1, -1, -1)})


def test_every_clip_of_a_short_video_shows_what_it_can(tmp_path: Path) -> None:
    """Also where only every third frame is taken: two frames, as of other videos with gaps."""
    save(tmp_path / "train" / "short.npy", numbered(4, first=50, dtype=np.float32))
    clips = clips_of(tmp_path, frames=3, every=3, short="pad")
    for index in range(60):
        assert np.isfinite(clips[index][:, 0, 0, 0]).sum() == 2


def test_stretches_need_two_frames_that_are_there(tmp_path: Path) -> None:
    times = np.array([0, 1, 2, 3, 4, 5, 20, 21, 22, 23])
    (tmp_path / "train").mkdir()
    np.savez(tmp_path / "train" / "a.npz", frames=numbered(10), times=times.astype(np.float64))
    clips = clips_of(tmp_path, frames=4)
    assert clips.footage[0].length == 24
    counts = [int(np.isfinite(clips[index][:, 0, 0, 0]).sum()) for index in range(80)]
    assert set(counts) == {2, 3, 4}


@pytest.mark.parametrize(("fps", "steps"), [(5.0, {2}), (10.0, {1}), (20.0, {0, 1})])
def test_clips_of_another_frame_rate(tmp_path: Path, fps: float, steps: set[int]) -> None:
    write(tmp_path / "train" / "a.gif", numbered(20, size=16) * 10, fps=10.0)
    (tmp_path / "test").mkdir()
    clips = clips_of(tmp_path, fps=fps, height=16, width=16, fit="stretch", frames=4)
    found = set()
    for index in range(30):
        numbers = np.rint(clips[index][:, 0, 0, 0] / 10).astype(int)
        found |= set(np.diff(numbers).tolist())
    assert found == steps
    with pytest.raises(InputError, match=r"fps -1\.0 must be above 0, or 0 for that of the"):
        clips_of(tmp_path, fps=-1.0)


def test_maps_are_mirrored_and_turned_with_the_frames(tmp_path: Path) -> None:
    random = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    save(tmp_path / "train" / "a.npy", random)
    sidecar(tmp_path / "train" / "a", wind=random[..., 0], terrain=random[2, ..., 0])
    turned = {"flip": True, "flip_rows": True, "turn": True}
    clips = clips_of(tmp_path, frames=5, conditions=("wind", "terrain"), **turned)
    seen = set()
    for index in range(120):
        sample = clips.clip(index)
        assert np.array_equal(sample["conditions"]["wind"], sample["frames"])
        assert np.array_equal(sample["conditions"]["terrain"], sample["frames"][2])
        seen.add(sample["frames"].tobytes())
    assert len(seen) == 8  # all symmetries of a square
    with pytest.raises(InputError, match="turn is for square frames, not 8 x 16"):
        clips_of(tmp_path, turn=True, width=16)


@pytest.mark.parametrize("change", ["flip", "flip_rows", "turn"])
def test_vectors_are_not_mirrored(tmp_path: Path, change: str) -> None:
    save(tmp_path / "train" / "a.npy", numbered(5))
    sidecar(tmp_path / "train" / "a", speed=np.zeros((5, 2)))
    with pytest.raises(InputError, match="'speed' is a vector, which can't be mirrored or turned"):
        clips_of(tmp_path, conditions=("speed",), **{change: True})


def test_conditions_are_told_apart_by_their_shape(tmp_path: Path) -> None:
    save(tmp_path / "train" / "a.npy", numbered(5))
    conditions = {
        "speed": np.arange(5),
        "joints": np.zeros((5, 3)),
        "wind": np.zeros((5, 8, 8, 2)),
        "rain": np.zeros((5, 8, 8)),
        "terrain": np.zeros((8, 8)),
        "soil": np.zeros((1, 8, 8, 4)),
    }
    sidecar(tmp_path / "train" / "a", **conditions, unused=np.zeros(3))
    tracks = clips_of(tmp_path, conditions=tuple(conditions)).footage[0].tracks
    assert {name: (track.kind, track.size) for name, track in tracks.items()} == {
        "speed": ("vector", 1),
        "joints": ("vector", 3),
        "wind": ("map", 2),
        "rain": ("map", 1),
        "terrain": ("static", 1),
        "soil": ("static", 4),
    }
    sample = clips_of(tmp_path, conditions=tuple(conditions)).clip(3)
    start = int(sample["frames"].flat[0])
    assert sample["conditions"]["speed"].tolist() == [[start], [start + 1], [start + 2]]


def test_videos_whose_names_have_dots_have_conditions_of_their_own(tmp_path: Path) -> None:
    for number in (1, 2):
        save(tmp_path / "train" / f"take.{number}.npy", numbered(5))
        sidecar(tmp_path / "train" / f"take.{number}", speed=np.full(5, number))
    clips = clips_of(tmp_path, conditions=("speed",))
    found = [each.tracks["speed"].reader([0])[0, 0] for each in clips.footage]
    assert found == [1, 2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 2)), r"'speed' has shape \(4, 2\) beside .*a\.npy of 5 frames of 8x8"),
        (np.zeros((5, 4, 4)), r"'speed' has shape \(5, 4, 4\)"),
        (np.zeros((5, 8, 8, 1, 1)), r"'speed' has shape \(5, 8, 8, 1, 1\)"),
        (np.array(["a"] * 5), r"'speed' of .*a\.npy holds <U1, not numbers"),
        (np.array([{}] * 5), r"a\.conditions\.npz can't be read as arrays .*no plain numbers"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(
    tmp_path: Path, values: np.ndarray, message: str
) -> None:
    save(tmp_path / "train" / "a.npy", numbered(5))
    sidecar(tmp_path / "train" / "a", speed=values)
    with pytest.raises(InputError, match=message):
        clips_of(tmp_path, conditions=("speed",))


def test_conditions_that_are_nowhere_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "train" / "a.npy", numbered(5))
    with pytest.raises(InputError, match=r"a\.npy has no .*'speed'"):
        clips_of(tmp_path, conditions=("speed",))
    images(tmp_path / "train" / "a", numbered(5))
    (tmp_path / "train" / "a.npy").unlink()
    match = r"a has no 'speed' and there is no a\.conditions\.npz beside it: write the"
    with pytest.raises(InputError, match=match):
        clips_of(tmp_path, conditions=("speed",))
    sidecar(tmp_path / "train" / "a", wind=np.zeros(5))
    with pytest.raises(InputError, match=r"a\.conditions\.npz has no 'speed'; it has wind"):
        clips_of(tmp_path, conditions=("speed",))
    (tmp_path / "train" / "a.conditions.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"a\.conditions\.npz can't be read as arrays"):
        clips_of(tmp_path, conditions=("speed",))


def test_conditions_of_different_kinds_are_refused(tmp_path: Path) -> None:
    for name, size in (("a", 2), ("b", 3)):
        save(tmp_path / "train" / f"{name}.npy", numbered(5))
        sidecar(tmp_path / "train" / name, speed=np.zeros((5, size)))
    match = r"'speed' is a vector of 2 in .*a\.npy and a vector of 3 in .*b\.npy: make them alike"
    with pytest.raises(InputError, match=match):
        clips_of(tmp_path, conditions=("speed",))


def test_values_of_dropout_go_with_the_conditions() -> None:
    with pytest.raises(InputError, match="2 values of condition_dropout for 3 conditions: give"):
        VideosConfig(conditions=("a", "b", "c"), condition_dropout=(0.1, 0.2))


# --- frame sizes --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_pad_adds_missing_pixels_and_changes_no_other(tmp_path: Path, dtype: str) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 1)).astype(dtype)
    save(tmp_path / "train" / "a.npy", frames)
    sidecar(tmp_path / "train" / "a", wind=frames[..., 0], terrain=frames[0, ..., 0])
    clips = clips_of(tmp_path, frames=5, fit="pad", conditions=("wind", "terrain"))
    sample = clips.clip(0)
    for found in (sample["frames"], sample["conditions"]["wind"]):
        assert found.shape == (5, 8, 8, 1)
        assert np.array_equal(found[:, :6, :7], frames)
        assert np.isnan(found[:, 6:]).all()
        assert np.isnan(found[:, :, 7:]).all()
    assert sample["frames"].dtype == ("float32" if dtype == "uint8" else "float64")
    assert sample["conditions"]["terrain"].shape == (8, 8, 1)
    with pytest.raises(InputError, match="frames of 6x7 and fit pad makes them 4x8: they would"):
        clips_of(tmp_path, fit="pad", height=4)


@pytest.mark.parametrize("resize", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_frames_are_resized_with_the_filter_asked_for(
    tmp_path: Path, resize: Any, dtype: str
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 1)).astype(dtype)
    save(tmp_path / "train" / "a.npy", frames)
    found = clips_of(tmp_path, fit="stretch", resize=resize)[0]
    for frame, small in zip(frames, found, strict=True):
        exact = Image.fromarray(frame[..., 0]).resize((8, 8), Image.Resampling[resize.upper()])
        expected = np.clip(np.asarray(exact), frame.min(), frame.max())
        assert np.allclose(small[..., 0], expected, atol=1e-4 if dtype == "float32" else 0)


def test_holes_stay_where_they_are_when_frames_are_resized() -> None:
    frames = np.ones((1, 16, 16, 1), np.float32) * 5
    frames[0, :, 9:] = np.nan
    small = Video(frames).fit(height=8, width=8, channels=1, how="stretch", resize="box").frames
    assert np.allclose(small[0, :, :4], 5)  # made of what is there alone
    assert np.isnan(small[0, :, 5:]).all()


def test_conditions_that_are_nowhere_are_asked_for(tmp_path: Path) -> None:
    save(tmp_path / "a.npy", numbered(12))
    match = (
        r"has no 'wind' and there is no a\.conditions\.npz beside it: write the conditions there"
    )
    with pytest.raises(InputError, match=match):
        place(tmp_path, layout=Layout(conditions=("wind",))).footage("train")
