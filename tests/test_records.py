"""TFRecord files: BAIR's layout, Open-X's, lists of images; damage; writing."""

import io
import pickle
import struct
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tfrecord.reader import tfrecord_loader
from tfrecord.writer import TFRecordWriter

from framefill.data.examples import record_offsets
from framefill.data.footage import Footage, Layout
from framefill.data.records import open_records, write_records
from framefill.data.video import Part, Video
from framefill.errors import InputError

ROBOT = Path(__file__).resolve().parents[2] / "shared" / "data" / "domains" / "robot"
needs_robot = pytest.mark.skipif(not ROBOT.is_dir(), reason=f"no real robot data in {ROBOT}")
WHOLE = Part(start=0, frames=None, every=1, limit_bytes=2**30)
Features = dict[str, tuple[Any, str]]


def clip(frames: int, seed: int = 0, side: int = 64, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(
        0, 256, (frames, side, side, channels), dtype=np.uint8
    )


def file_of(frame: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame if frame.shape[2] == 3 else frame[..., 0]).save(file, kind)
    return file.getvalue()


def files_of(frames: np.ndarray, kind: str = "PNG") -> list[bytes]:
    return [file_of(frame, kind) for frame in frames]


def store(path: Path, *records: Features) -> Path:
    """A file by the tfrecord library."""
    writer = TFRecordWriter(str(path))
    for record in records:
        writer.write(record)
    writer.close()
    return path


def bair(seed: int, frames: int = 30) -> Features:
    record: Features = {}
    for place in range(frames):
        record[f"{place}/image_aux1/encoded"] = clip(frames, seed)[place].tobytes(), "byte"
        record[f"{place}/image_main/encoded"] = clip(frames, 100 + seed)[place].tobytes(), "byte"
        record[f"{place}/action"] = [place, seed, 0.5, -1.0], "float"
        record[f"{place}/endeffector_pos"] = [1.0, 2.0, place], "float"
    return record


def frames_of(footage: Footage) -> np.ndarray:
    return footage.video(WHOLE).frames


# BAIR


def test_bair_is_read_frame_by_frame(tmp_path: Path) -> None:
    path = store(tmp_path / "traj_0_to_1.tfrecords", bair(1), bair(2))
    first, second = open_records(path, Layout())
    assert (first.length, first.shape, first.dtype) == (30, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(frames_of(first), clip(30, 1))
    np.testing.assert_array_equal(second.take([3, 3, 17]), clip(30, 2)[[3, 3, 17]])
    assert "image_aux1" in second.name
    assert str(path) in second.name


def test_other_cameras_are_chosen_by_name(tmp_path: Path) -> None:
    path = store(tmp_path / "a.tfrecords", bair(1))
    (main,) = open_records(path, Layout(variables=("image_main",)))
    np.testing.assert_array_equal(frames_of(main), clip(30, 101))
    both = open_records(path, Layout(variables=("image_main", "image_aux1")))
    np.testing.assert_array_equal(both[1].take([4]), clip(30, 1)[[4]])
    with pytest.raises(InputError, match=r"no features 'wrist'.*--data.variables.*image_aux1"):
        open_records(path, Layout(variables=("wrist",)))


def test_conditions_are_vectors_of_each_frame(tmp_path: Path) -> None:
    path = store(tmp_path / "a.tfrecords", bair(1), bair(5))
    _, second = open_records(path, Layout(conditions=("action", "<t>/endeffector_pos")))
    action = second.tracks["action"]
    assert (action.kind, action.size) == ("vector", 4)
    np.testing.assert_array_equal(action.reader([2, 7]), [[2, 5, 0.5, -1], [7, 5, 0.5, -1]])
    video = second.section(10, 20).video(WHOLE)
    np.testing.assert_array_equal(video.conditions["<t>/endeffector_pos"][:, 2], range(10, 20))
    with pytest.raises(InputError, match=r"no features 'reward'.*--data.conditions.*action"):
        open_records(path, Layout(conditions=("reward",)))


def test_records_are_taken_to_be_like_the_first_and_checked_when_read(tmp_path: Path) -> None:
    path = store(tmp_path / "a.tfrecords", bair(1), bair(2, frames=29))
    first, second = open_records(path, Layout())
    assert first.take([29]).shape == (1, 64, 64, 3)
    with pytest.raises(InputError, match="29 frames where 30 were expected"):
        second.take([0])


def test_vectors_that_change_their_size_are_refused(tmp_path: Path) -> None:
    record = bair(1)
    record["3/action"] = [1.0], "float"
    with pytest.raises(InputError, match="more values in some frames"):
        open_records(store(tmp_path / "a.tfrecords", record), Layout(conditions=("action",)))


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    path = store(tmp_path / "a.tfrecords", bair(1), bair(2), bair(3))
    damaged = bytearray(path.read_bytes())
    damaged[record_offsets(path)[1] + 5000] ^= 1
    path.write_bytes(damaged)
    first, second, third = open_records(path, Layout())
    np.testing.assert_array_equal(frames_of(first), clip(30, 1))
    np.testing.assert_array_equal(frames_of(third), clip(30, 3))
    with pytest.raises(InputError, match="damaged behind byte"):
        second.take([0])


def test_readers_go_to_other_processes(tmp_path: Path) -> None:
    path = store(tmp_path / "a.tfrecords", bair(1))
    (footage,) = open_records(path, Layout(conditions=("action",)))
    reader, track = pickle.loads(pickle.dumps((footage.reader, footage.tracks["action"])))
    np.testing.assert_array_equal(reader([5]), clip(30, 1)[[5]])
    assert track.reader([5])[0, 0] == 5


# Open-X and lists of images


def episode(frames: int, **features: tuple[Any, str]) -> Features:
    return {
        "steps/observation/image_0": (files_of(clip(frames, 1, side=8)), "byte"),
        "steps/observation/wrist": (files_of(clip(frames, 2, side=8)), "byte"),
        "steps/language_instruction": ([b"put cup from counter"] * frames, "byte"),
        "steps/action": (np.arange(frames * 7.0), "float"),
        "steps/is_last": ([0] * (frames - 1) + [1], "int"),
        **{name.replace("__", "/"): value for name, value in features.items()},
    }


def test_episodes_have_their_own_lengths_and_a_video_for_each_camera(tmp_path: Path) -> None:
    path = store(tmp_path / "x-train.tfrecord-00000-of-00001", episode(4), episode(6))
    layout = Layout(conditions=("action", "steps/is_last"))
    videos = open_records(path, layout)
    assert [each.length for each in videos] == [4, 4, 6, 6]
    np.testing.assert_array_equal(frames_of(videos[3]), clip(6, 2, side=8))
    np.testing.assert_array_equal(
        videos[2].tracks["action"].reader([0, 5]), np.arange(42).reshape(6, 7)[[0, 5]]
    )
    np.testing.assert_array_equal(videos[2].tracks["steps/is_last"].reader([4, 5]), [[0], [1]])


def test_cameras_that_are_black_throughout_are_left_out(tmp_path: Path) -> None:
    black = np.zeros((4, 8, 8, 3), np.uint8)
    dawn = np.concatenate([black[:1], clip(3, 3, side=8)])
    record = episode(
        4,
        steps__observation__none=(files_of(black, "JPEG"), "byte"),
        steps__observation__dawn=(files_of(dawn), "byte"),
        steps__observation__still=(files_of(np.full_like(black, 9)), "byte"),
    )
    videos = open_records(store(tmp_path / "a.tfrecord", record), Layout())
    assert [each.name.split()[-1] for each in videos] == ["dawn", "image_0", "still", "wrist"]
    np.testing.assert_array_equal(frames_of(videos[0]), dawn)
    with pytest.raises(InputError, match="only cameras that are black throughout"):
        open_records(tmp_path / "a.tfrecord", Layout(variables=("none",)))


def test_one_list_of_images_is_a_video(tmp_path: Path) -> None:
    gray = clip(3, side=8, channels=1)
    record: Features = {"png": (files_of(gray), "byte"), "name": (b"anything", "byte")}
    (footage,) = open_records(store(tmp_path / "a.tfrecord", record), Layout())
    np.testing.assert_array_equal(frames_of(footage), gray)
    record["jpg"] = files_of(clip(3, 1, side=8), "JPEG"), "byte"
    path = store(tmp_path / "b.tfrecord", record)
    with pytest.raises(InputError, match=r"2 features of images \(jpg, png\).*--data.variables"):
        open_records(path, Layout())
    (chosen,) = open_records(path, Layout(variables=("png",)))
    np.testing.assert_array_equal(frames_of(chosen), gray)
    with pytest.raises(InputError, match="0 features of images"):
        open_records(store(tmp_path / "c.tfrecord", {"x": (b"text", "byte")}), Layout())


def test_what_is_no_vector_of_each_frame_is_no_condition(tmp_path: Path) -> None:
    path = store(tmp_path / "a.tfrecord", episode(4, meta__id=([1, 2, 3], "int")))
    with pytest.raises(InputError, match="4 frames and 3 values of meta/id"):
        open_records(path, Layout(conditions=("id",)))
    with pytest.raises(InputError, match="no features 'language_instruction'"):
        open_records(path, Layout(conditions=("language_instruction",)))
    two = episode(4, other__action=([0.0] * 4, "float"))
    with pytest.raises(InputError, match=r"2 features 'action'.*other/action, steps/action"):
        open_records(store(tmp_path / "b.tfrecord", two), Layout(conditions=("action",)))


def test_frames_of_several_sizes_are_refused_when_read(tmp_path: Path) -> None:
    files = [file_of(clip(1, side=8)[0]), file_of(clip(1, side=9)[0])]
    (footage,) = open_records(store(tmp_path / "a.tfrecord", {"x": (files, "byte")}), Layout())
    with pytest.raises(InputError, match=r"frame 1 of .* all frames need one size"):
        footage.take([1])


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT\x35\xaf\x06\x1e"
    path = store(tmp_path / "a.tfrecord", {"x": ([bomb], "byte")})
    with pytest.raises(InputError, match="frame 0 of"):
        open_records(path, Layout())


@needs_robot
@pytest.mark.parametrize(("part", "count"), [("train", 48), ("test", 12)])
def test_real_episodes_are_read_as_another_reader_does(part: str, count: int) -> None:
    path = ROBOT / f"{part}.tfrecord"
    expected = []
    for record in tfrecord_loader(str(path), None):
        for name in (f"steps/observation/image_{number}" for number in range(4)):
            frames = np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in record[name]])
            if frames.any():
                expected.append((frames, record["steps/action"].reshape(len(frames), -1)))
    videos = open_records(path, Layout(conditions=("action",)))
    assert len(videos) == len(expected) == count
    for footage, (frames, action) in zip(videos, expected, strict=True):
        video = footage.video(WHOLE)
        np.testing.assert_array_equal(video.frames, frames)
        np.testing.assert_array_equal(video.conditions["action"], action)


# Damage


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    whole = store(tmp_path / "a.tfrecord", {"x": (files_of(clip(1, side=4)), "byte")})
    data, path = whole.read_bytes() * 2, tmp_path / "b.tfrecord"
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        if length != len(data) // 2:
            with pytest.raises(InputError, match="cut off"):
                open_records(path, Layout())


def test_a_cut_behind_records_that_are_not_read_is_noticed(tmp_path: Path) -> None:
    path = store(tmp_path / "a.tfrecords", bair(1), bair(2))
    whole = path.read_bytes()
    for lost in (1, 100, 100_000):
        path.write_bytes(whole[:-lost])
        with pytest.raises(InputError, match="cut off in record 1"):
            open_records(path, Layout())


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(zlib.compress(b"a" * 1000))
    with pytest.raises(InputError, match="no TFRecord file, or it is compressed"):
        open_records(path, Layout())
    path.write_bytes(b"")
    with pytest.raises(InputError, match="holds no records"):
        open_records(path, Layout())


def masked(data: bytes) -> bytes:
    value = crc32c(data)
    return struct.pack("<I", (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def test_a_length_that_no_record_has_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    head = struct.pack("<Q", 2**40)
    path.write_bytes(head + masked(head))
    with pytest.raises(InputError, match="announces a record of"):
        open_records(path, Layout())


def test_what_is_no_example_is_refused(tmp_path: Path) -> None:
    path, head, data = tmp_path / "a.tfrecord", struct.pack("<Q", 4), b"\xff\xff\xff\xff"
    path.write_bytes(head + masked(head) + data + masked(data))
    with pytest.raises(InputError, match=r"no tf\.train\.Example"):
        open_records(path, Layout())


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store(tmp_path / "a.tfrecord", episode(2))
    monkeypatch.setitem(sys.modules, "tfrecord", None)
    with pytest.raises(InputError, match=r"pip install 'framefill\[tfrecord\]'"):
        open_records(path, Layout())


# Writing


@settings(deadline=None, max_examples=40)
@given(
    frames=st.integers(1, 5),
    side=st.integers(1, 9),
    channels=st.sampled_from((1, 3)),
    size=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_what_is_written_is_read_again(
    frames: int, side: int, channels: int, size: int, seed: int
) -> None:
    pixels = clip(frames, seed, side, channels)
    pixels[0, 0, 0] = 1  # not black
    action = np.random.default_rng(seed).normal(size=(frames, size)).astype(np.float32)
    conditions = {"action": action, "steps/observation/state": -action}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tfrecord"
        write_records(path, Video(pixels, conditions=conditions))
        (footage,) = open_records(path, Layout(conditions=tuple(conditions)))
        video = footage.video(WHOLE)
        (record,) = tfrecord_loader(str(path), None)
    np.testing.assert_array_equal(video.frames, pixels)
    assert video.frames.dtype == np.uint8
    for name, values in conditions.items():
        np.testing.assert_array_equal(video.conditions[name], values)
    assert record["steps/is_first"].tolist() == [1] + [0] * (frames - 1)
    assert record["steps/is_last"].tolist() == [0] * (frames - 1) + [1]


def test_what_the_layout_has_no_place_for_is_refused(tmp_path: Path) -> None:
    path, frames = tmp_path / "a.tfrecord", clip(2, side=4)
    for other in (frames.astype(np.float32), frames[..., :2]):
        with pytest.raises(InputError, match="8-bit gray or RGB"):
            write_records(path, Video(other))
    for shape in [(2, 4, 4, 1), (3, 2), (4, 4, 1)]:
        with pytest.raises(InputError, match="one vector for each of the 2 frames"):
            write_records(path, Video(frames, conditions={"map": np.zeros(shape)}))
    for name in ("is_first", "observation/image"):
        with pytest.raises(InputError, match="name of another feature"):
            write_records(path, Video(frames, conditions={name: np.zeros((2, 1))}))
    with pytest.raises(InputError, match="single precision"):
        write_records(path, Video(frames, conditions={"x": np.full((2, 1), 1e300)}))
    assert not path.exists()
