import os
import pickle
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from framefill.cli import main
from framefill.data.collection import find_videos
from framefill.data.digits import Split
from framefill.data.footage import Footage, Layout
from framefill.data.formats import open_footage
from framefill.data.read import read
from framefill.data.video import Video
from framefill.data.videos import VideoClips, VideosConfig
from framefill.data.write import write
from framefill.errors import InputError
from framefill.fill import load

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "domains"
needs_real = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real videos are not at {DATA}")


def numbered(frames: int, *, height: int = 8, width: int = 8, channels: int = 1) -> np.ndarray:
    """Frames that hold their own number."""
    numbers = np.arange(frames, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return np.broadcast_to(numbers, (frames, height, width, channels)).copy()


def folder_of(tmp_path: Path, split: str = "train", **videos: np.ndarray) -> Path:
    """A folder of videos whose train/ or test/ holds these arrays."""
    for name in ("train", "test"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for name, array in videos.items():
        np.save(tmp_path / split / f"{name}.npy", array)
    return tmp_path


def measure(path: Path) -> Footage:
    """The one video of a file."""
    (footage,) = open_footage(path, Layout())
    return footage


def clips_of(
    path: Path | None, *, frames: int = 3, split: Split = "train", seed: int = 0, **fields: Any
) -> VideoClips:
    config: dict[str, Any] = {"path": path, "height": 8, "width": 8, "channels": 1, **fields}
    return VideosConfig(**config).clips(frames=frames, split=split, seed=seed)


def starts(clips: VideoClips, count: int) -> list[int]:
    return [int(clips[index][0, 0, 0, 0]) for index in range(count)]


def test_a_clip_is_a_function_of_seed_split_and_number(tmp_path: Path) -> None:
    folder_of(tmp_path, "test", a=numbered(200))
    folder_of(tmp_path, "train", a=numbered(200))
    forth = starts(clips_of(tmp_path), 20)
    again = clips_of(tmp_path)
    assert [int(again[index][0, 0, 0, 0]) for index in reversed(range(20))] == forth[::-1]
    assert starts(clips_of(tmp_path, seed=1), 20) != forth
    assert starts(clips_of(tmp_path, split="test"), 20) != forth
    assert again[2**40].shape == (3, 8, 8, 1)
    assert len(again) > 2**40


def test_every_video_and_every_start_is_as_likely_as_any_other(tmp_path: Path) -> None:
    folder_of(tmp_path, long=numbered(12), short=numbered(3) + 100)
    drawn = Counter(starts(clips_of(tmp_path), 1500))
    assert set(drawn) == {100, *range(10)}  # 9 is the last start of a video of 12 frames
    assert drawn[100] == pytest.approx(750, abs=100)  # 5 standard deviations
    assert all(abs(drawn[start] - 75) < 42 for start in range(10))


@pytest.mark.parametrize("every", [1, 2, 3])
def test_clips_take_every_nth_frame_up_to_the_last(tmp_path: Path, every: int) -> None:
    folder_of(tmp_path, a=numbered(10))
    clips = clips_of(tmp_path, every=every)
    for index in range(60):
        assert np.diff(clips[index][:, 0, 0, 0]).tolist() == [every, every]
    assert set(starts(clips, 60)) == set(range(10 - 2 * every))


def test_half_of_the_training_clips_are_mirrored_and_no_test_clip(tmp_path: Path) -> None:
    ramp = np.arange(8 * 8, dtype=np.uint8).reshape(1, 8, 8, 1) + numbered(20)
    folder_of(tmp_path, "test", a=ramp)
    folder_of(tmp_path, "train", a=ramp)
    plain, flipped = clips_of(tmp_path), clips_of(tmp_path, flip=True)
    mirrored = 0
    for index in range(200):
        same = np.array_equal(plain[index], flipped[index])
        assert same or np.array_equal(plain[index], flipped[index][:, :, ::-1])
        mirrored += not same
    assert mirrored == pytest.approx(100, abs=35)
    plain, flipped = (clips_of(tmp_path, split="test", flip=flip) for flip in (False, True))
    assert all(np.array_equal(plain[index], flipped[index]) for index in range(50))


def test_test_clips_show_all_videos_in_turn_in_natural_order(tmp_path: Path) -> None:
    videos = {f"v{number}": numbered(5) + 10 * number for number in (10, 9, 2, 1)}
    folder_of(tmp_path, "test", **videos)
    shown = starts(clips_of(tmp_path, split="test"), 40)
    assert [start // 10 for start in shown] == [1, 2, 9, 10] * 10
    assert {start % 10 for start in shown} == {0, 1, 2}


def test_short_videos_are_left_out_and_never_padded(tmp_path: Path) -> None:
    folder_of(tmp_path, a=numbered(5), b=numbered(6) + 100, c=numbered(2, height=9))
    clips = clips_of(tmp_path, frames=6)
    assert set(starts(clips, 20)) == {100}
    assert [each.path.name for each in clips.footage] == ["b.npy"]
    assert [(each.path.name, each.length) for each in clips.left_out] == [
        ("a.npy", 5),
        ("c.npy", 2),
    ]
    (tmp_path / "train" / "c.npy").unlink()
    assert clips_of(tmp_path, frames=5).left_out == []
    with pytest.raises(InputError, match=r"7 frames with every=1 span 7 .*b\.npy, has 6: "):
        clips_of(tmp_path, frames=7)
    with pytest.raises(InputError, match="4 frames with every=2 span 7 frames"):
        clips_of(tmp_path, frames=4, every=2)


def test_all_kinds_of_videos_are_found_at_any_depth(tmp_path: Path) -> None:
    frames = numbered(6, height=16, width=16) * 20
    for name in ("a.gif", "b.npz", "deep/er/images", "deep/c.NPY", "mp4/d.mp4"):
        write(folder_of(tmp_path) / "test" / name, frames, fps=8)
    matroska(tmp_path / "test" / "e.mkv", frames.repeat(3, axis=3))
    clips = clips_of(tmp_path, split="test", height=16, width=16, frames=6, fit="stretch")
    names = [str(each.path.relative_to(tmp_path / "test")) for each in clips.footage]
    assert names == ["a.gif", "b.npz", "e.mkv", "deep/c.NPY", "deep/er/images", "mp4/d.mp4"]
    for index in range(6):
        assert np.abs(clips[index].astype(int) - frames).max() <= 3  # .mp4 has losses
        assert clips.footage[index].length == 6


def matroska(path: Path, frames: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "bgr0"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def test_hidden_files_links_and_other_files_are_passed_over(tmp_path: Path) -> None:
    train = folder_of(tmp_path, a=numbered(5)) / "train"
    np.save(train / "._a.npy", numbered(5))
    (train / ".cache").mkdir()
    np.save(train / ".cache" / "b.npy", numbered(5))
    (train / "README.txt").write_text("notes")
    (train / "link.npy").symlink_to(train / "a.npy")
    (train / "round").symlink_to(train)
    assert find_videos(train) == [train / "a.npy"]
    (tmp_path / "alias").symlink_to(tmp_path)  # what the user names may be a link
    assert len(clips_of(tmp_path / "alias").footage) == 1


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A folder in 1,200 others, taken away again since pytest recurses into what it clears."""
    folders = [tmp_path / "train"]
    folders[0].mkdir()
    for _ in range(1200):
        folders.append(folders[-1] / "d")
        folders[-1].mkdir()
    yield folders[-1]
    for folder in reversed(folders):
        for file in folder.glob("*.npy"):
            file.unlink()
        folder.rmdir()


def test_folders_may_be_nested_deeper_than_python_recurses(tmp_path: Path, deep: Path) -> None:
    with pytest.raises(InputError, match="train holds no videos"):
        find_videos(tmp_path / "train")
    above = deep.parents[599]
    for folder in (deep, above, tmp_path / "train"):
        np.save(folder / "a.npy", numbered(5))
    found = [tmp_path / "train" / "a.npy", above / "a.npy", deep / "a.npy"]
    assert find_videos(tmp_path / "train") == found
    assert clips_of(tmp_path).footage[2].length == 5


def test_folders_that_can_not_be_entered_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(20):  # longer than the 4,096 bytes that a path may have
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"can't be listed \(File name too long\): check its "):
        find_videos(tmp_path)


def test_videos_of_a_folder_come_before_those_below_it(tmp_path: Path) -> None:
    train = folder_of(tmp_path, z=numbered(5)) / "train"
    names = ("b2/a.npy", "b2/deep/a.npy", "b2/deeper/a.npy", "b10/a.npy")
    for name in names:
        (train / name).parent.mkdir()
        np.save(train / name, numbered(5))
    assert find_videos(train) == [train / "z.npy", *(train / name for name in names)]


def test_hidden_images_are_not_counted(tmp_path: Path) -> None:
    write(folder_of(tmp_path) / "train" / "images", numbered(4), fps=None)
    (tmp_path / "train" / "images" / "._frame_0000.png").write_bytes(b"no image")
    clips = clips_of(tmp_path)
    assert clips.footage[0].length == 4
    assert set(starts(clips, 30)) == {0, 1}


def test_folders_without_the_layout_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no videos: give a file or a folder with --data; put"):
        clips_of(None)
    with pytest.raises(InputError, match=r"nowhere doesn't exist: .* train .* test"):
        clips_of(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no videos: fill it with videos"):
        clips_of(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="has train and no test: put the videos"):
        clips_of(tmp_path, split="test")
    with pytest.raises(InputError, match=r"train holds no videos: .*\.mp4 .*\.npy .*\.png"):
        clips_of(tmp_path)
    with pytest.raises(InputError, match="can't be listed"):
        find_videos(tmp_path / "nowhere")


def test_training_needs_no_test_folder(tmp_path: Path) -> None:
    (folder_of(tmp_path, a=numbered(5)) / "test").rmdir()
    assert clips_of(tmp_path)[0].shape == (3, 8, 8, 1)


def test_images_beside_videos_are_refused(tmp_path: Path) -> None:
    write(folder_of(tmp_path) / "train" / "images", numbered(4), fps=None)
    np.save(tmp_path / "train" / "images" / "a.npy", numbered(4))
    with pytest.raises(InputError, match=r"holds images \(frame_0000\.png\) beside .*\(a\.npy\)"):
        clips_of(tmp_path)


def test_links_to_images_beside_images_are_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path) / "train" / "images"
    write(folder, numbered(5), fps=None, value_range=(0, 255))
    (folder / "frame_0009.png").symlink_to(folder / "frame_0000.png")
    with pytest.raises(InputError, match=r"beside links to images \(frame_0009\.png\)"):
        clips_of(tmp_path)


def test_other_frame_sizes_are_refused_or_converted_as_asked(tmp_path: Path) -> None:
    random = np.random.default_rng(0).integers(0, 256, (3, 10, 14, 3), dtype=np.uint8)
    folder_of(tmp_path, a=numbered(3), b=random, c=random)
    match = (
        r"b\.npy has frames of 10x14x3 and the model takes 8x8x1 .*or --fit stretch, crop, pad or"
    )
    with pytest.raises(InputError, match=match):
        clips_of(tmp_path)
    video = read(tmp_path / "train" / "b.npy")
    for how in ("stretch", "crop"):
        clips = clips_of(tmp_path, fit=how)
        fitted = video.fit(height=8, width=8, channels=1, how=how).frames
        found = {clips[index].tobytes() for index in range(20)}
        assert found == {numbered(3).tobytes(), fitted.tobytes()}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 40), (16, 16), (17, 23), (31, 33), (33, 70), (160, 64)])
@pytest.mark.parametrize("wanted", [(16, 16), (8, 24), (24, 10), (1, 1), (90, 11)])
def test_fit_as_ramvid_covers_frames_of_any_shape(
    size: tuple[int, int], wanted: tuple[int, int], channels: int
) -> None:
    across = np.linspace(0, 255, size[1]).round().astype(np.uint8)
    frames = np.broadcast_to(across[None, None, :, None], (2, *size, channels))
    height, width = wanted
    fitted = Video(frames).fit(height=height, width=width, channels=3, how="ramvid").frames
    assert fitted.shape == (2, height, width, 3)
    assert fitted.dtype == np.uint8
    rows = fitted[0, :, :, 0].astype(int)
    assert (rows == rows[0]).all()  # nothing from beyond an edge
    assert (np.diff(rows[0]) >= 0).all()
    assert abs(rows.mean() - 127.5) < 255 / 2 / size[1] + 255 / 2 / width + 2  # the middle


def test_fit_as_ramvid_scales_frames_that_are_not_square_no_more_than_has_to_be() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 64, 200, 3), dtype=np.uint8)
    fitted = Video(frames).fit(height=16, width=90, channels=3, how="ramvid").frames[0]
    half = Image.fromarray(frames[0]).resize((100, 32), Image.Resampling.BOX)  # a quarter: too few
    smaller = half.resize((90, 29), Image.Resampling.BICUBIC)
    assert np.array_equal(fitted, np.asarray(smaller)[6:22])


def test_fit_as_ramvid_halves_frames_of_exactly_twice_the_size() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    fitted = Video(frames).fit(height=16, width=16, channels=3, how="ramvid").frames
    means = frames.reshape(1, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert np.abs(fitted - means).max() <= 1  # rounded twice, after either axis


def test_fit_as_ramvid_takes_the_luma_of_resized_frames() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3), dtype=np.uint8)
    colors = Video(frames).fit(height=9, width=9, channels=3, how="ramvid")
    gray = Video(frames).fit(height=9, width=9, channels=1, how="ramvid").frames
    luma = np.stack([np.asarray(Image.fromarray(frame).convert("L")) for frame in colors.frames])
    assert np.array_equal(gray[..., 0], luma)
    repeated = Video(gray).fit(height=9, width=9, channels=3, how="ramvid").frames
    assert np.array_equal(repeated, gray.repeat(3, axis=3))
    assert colors.fit(height=9, width=9, channels=3, how="ramvid") is colors


def test_fit_as_ramvid_refuses_what_its_loader_never_meets(tmp_path: Path) -> None:
    for array, match in (
        (np.zeros((3, 8, 8, 1), np.float32), "frames of float32 with 1 channels .* takes uint8"),
        (numbered(3, channels=4), r"frames of uint8 with 4 channels .* gray \(1\) or RGB \(3\): "),
    ):
        np.save(folder_of(tmp_path) / "train" / "a.npy", array)
        with pytest.raises(InputError, match=r"a\.npy has " + match):
            clips_of(tmp_path, fit="ramvid", channels=array.shape[3])
    np.save(tmp_path / "train" / "a.npy", numbered(3))
    with pytest.raises(InputError, match="channels=2 was asked for: choose fit stretch or crop"):
        clips_of(tmp_path, fit="ramvid", channels=2)


def test_channels_that_can_not_be_converted_show_at_once(tmp_path: Path) -> None:
    folder_of(tmp_path, a=numbered(3), b=numbered(3, channels=2))
    with pytest.raises(InputError, match=r"b\.npy has 2 channels"):
        clips_of(tmp_path, fit="stretch")
    for dtype, opaque in ((np.uint8, 255), (np.float32, 1)):
        alpha = np.full((3, 8, 8, 4), opaque, dtype)
        folder_of(tmp_path, a=numbered(3, channels=3).astype(dtype), b=alpha)
        assert clips_of(tmp_path, fit="stretch", channels=3)[0].shape == (3, 8, 8, 3)


def test_values_keep_their_dtype_and_need_one(tmp_path: Path) -> None:
    floats = numbered(5, channels=2).astype(np.float32) / 7
    folder_of(tmp_path, a=floats)
    clip = clips_of(tmp_path, frames=5, channels=2)[0]
    assert clip.dtype == np.float32
    assert np.array_equal(clip, floats)
    folder_of(tmp_path, b=numbered(5, channels=2))
    with pytest.raises(InputError, match=r"a\.npy holds float32 and .*b\.npy uint8: convert"):
        clips_of(tmp_path, channels=2)


def test_files_that_can_not_be_read_are_named(tmp_path: Path) -> None:
    folder_of(tmp_path, a=numbered(5))
    (tmp_path / "train" / "b.avi").write_text("no video")
    with pytest.raises(InputError, match=r"b\.avi can't be opened as a video"):
        clips_of(tmp_path)
    (tmp_path / "train" / "b.avi").unlink()
    noise = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    matroska(tmp_path / "train" / "c.mkv", noise)
    whole = (tmp_path / "train" / "c.mkv").read_bytes()
    (tmp_path / "train" / "c.mkv").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        InputError, match=r"c\.mkv is damaged after \d+ frames \(.*\): .* take it out"
    ):
        clips_of(tmp_path)


def test_a_file_that_has_changed_is_counted_anew(tmp_path: Path) -> None:
    for length in (3, 5):
        np.save(tmp_path / "a.npy", numbered(length))
        assert measure(tmp_path / "a.npy").length == length


def test_workers_change_nothing(tmp_path: Path) -> None:
    folder_of(tmp_path, a=numbered(50), b=numbered(30) + 100)
    write(tmp_path / "train" / "c.gif", numbered(20) + 200, fps=8)
    clips = clips_of(tmp_path, fit="stretch", flip=True)
    alone = np.stack([clips[index] for index in range(12)])
    data = cast("Dataset[np.ndarray]", clips)
    loader = DataLoader(data, sampler=range(12), batch_size=4, num_workers=2)
    assert np.array_equal(np.concatenate([batch.numpy() for batch in loader]), alone)
    copy = pickle.loads(pickle.dumps(clips))
    assert np.array_equal(np.stack([copy[index] for index in range(12)]), alone)


@pytest.mark.parametrize("changes", [{"height": 0}, {"width": -1}, {"channels": 0}, {"every": 0}])
def test_impossible_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        VideosConfig(**changes)


@needs_real
def test_real_videos_give_clips() -> None:
    clips = clips_of(DATA / "gestures", frames=5, split="test", channels=3, fit="crop")
    assert len(clips.footage) == 4
    assert clips[0].shape == (5, 8, 8, 3)
    assert clips[0].std() > 5
    assert clips.footage[0].length == 87
    small = clips_of(DATA / "kth32", frames=75, height=32, width=32, channels=3)
    whole = read(DATA / "kth32" / "train" / "train_example1.avi").frames
    assert any(np.array_equal(small[index], whole) for index in range(10))


@needs_real
def test_lengths_are_those_of_the_decoder() -> None:
    path = DATA / "highway" / "highway.avi"  # 1702 packets
    assert measure(path).length == 1699
    assert len(read(path, start=1690, frames=9).frames) == 9
    with pytest.raises(InputError):
        read(path, start=1690, frames=10)


def test_a_published_recipe_trains_on_a_folder_of_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        folder_of(tmp_path / "data", split, a=numbered(12, height=16, width=16))
    command = ["train", "kth-concat", "--data", str(tmp_path / "data")]
    command += ["--out", str(tmp_path / "run"), "--optim.steps", "2", "--optim.batch", "2"]
    command += ["--network.width", "8", "--network.head-width", "8", "--network.multipliers", "1"]
    command += ["--network.attention", "0", "--log.sample-every", "0", "--masks.target", "2"]
    assert main(command) == 2
    assert (
        "--data.fit (in training) or --fit stretch, crop, pad or ramvid" in capsys.readouterr().err
    )
    assert main([*command, "--data.height", "16", "--data.width", "16"]) == 0
    assert set(load(tmp_path / "run").tasks) == {"predict", "rewind", "interpolate", "generate"}
