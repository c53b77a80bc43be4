"""Published data sets in tiny copies of their layouts, and HDF5 files of MCVD and VideoGPT."""

import gzip
import pickle
import struct
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
from PIL import Image
from tfrecord.writer import TFRecordWriter

from framefill.data.benchmarks.kth import KTH
from framefill.data.benchmarks.registry import BENCHMARKS, recognised
from framefill.data.footage import Footage, Layout
from framefill.data.mcvd_shards import is_mcvd, open_flat, open_mcvd
from framefill.data.video import Part
from framefill.errors import InputError

WHOLE = Part(start=0, frames=None, every=1, limit_bytes=2**30)
Videos = Sequence[np.ndarray]


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEFILL_CACHE", "off")


def clip(frames: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, *(shape or (8, 8, 3))), np.uint8)


def film(path: Path, frames: int = 12, level: int = 0) -> Path:
    """A video whose frame t has the brightness level + 4 t."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "2"})
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuv420p"
        for index in range(frames):
            pixels = np.full((16, 16, 3), level + 4 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())
    return path


def find(
    name: str, path: Path, split: str = "", part: str = "train", **layout: object
) -> list[Footage]:
    benchmark = BENCHMARKS[name]
    return benchmark.find(path, split or benchmark.splits[0], part, Layout(**layout))


def brightness(footage: Footage, place: int) -> float:
    return pytest.approx(float(footage.take([place]).mean()), abs=2.5)  # mpeg4 has losses


# KTH


def kth(folder: Path, *names: str, below: str = "") -> Path:
    for number, name in enumerate(names):
        film(folder / below / name.split("_")[1] / f"{name}_uncomp.avi", level=number)
    return folder


@pytest.mark.parametrize("below", ["", "raw"])
def test_kth_is_divided_by_persons(tmp_path: Path, below: str) -> None:
    names = [
        "person16_boxing_d1",
        "person17_walking_d2",
        "person22_running_d3",
        "person25_boxing_d4",
    ]
    kth(tmp_path, *names, below=below)
    film(tmp_path / below / "walking" / "other.avi")
    expected = {
        "svg": ([16, 17], [22, 25]),
        "predrnn": ([16], [17, 22, 25]),
        "official": ([16, 17, 25], [22]),
    }
    for split, persons in expected.items():
        for part, wanted in zip(("train", "test"), persons, strict=True):
            videos = find("kth", tmp_path, split, part)
            found = sorted(int(video.path.name[6:8]) for video in videos)
            assert found == wanted
            assert all(video.path.parent.name == video.label for video in videos)
    (video,) = find("kth", tmp_path, "official", "test")
    assert (video.length, video.shape, video.fps, video.label) == (12, (16, 16, 3), 25, "running")
    assert "4 of 599 files, 2 persons to train and 2 to test" in KTH.note(tmp_path, "svg")


def test_every_person_is_in_one_part(tmp_path: Path) -> None:
    for person in range(1, 26):
        text(tmp_path / "boxing" / f"person{person:02}_boxing_d1_uncomp.avi", "")
    counts = {split: KTH.note(tmp_path, split) for split in KTH.splits}
    assert "20 persons to train and 5 to test" in counts["svg"]
    assert "16 persons to train and 9 to test" in counts["predrnn"]
    assert "16 persons to train and 9 to test" in counts["official"]


def test_ranges_of_kth_are_videos(tmp_path: Path) -> None:
    kth(tmp_path, "person01_boxing_d1", "person22_walking_d1")
    lines = (
        "Training:   person11, 12\r\n\r\nperson01_boxing_d1\t\tframes\t1-4, 9-12, 5-8\r\n"
        "person13_handclapping_d3    *missing*\r\nperson22_walking_d1     frames  2-12\r\n"
    )
    text(tmp_path / "00sequences.txt", lines)
    videos = find("kth", tmp_path)
    assert [video.length for video in videos] == [4, 4, 4]
    assert [brightness(video, 0) for video in videos] == [0, 32, 16]
    assert "frames 8..11" in videos[1].name
    (only,) = find("kth", tmp_path, part="test")
    assert (only.length, brightness(only, 0)) == (11, 5)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("person01_boxing_d1 frames 1-4, 5-13", "12 frames and 00sequences.txt says 5-13"),
        ("person01_boxing_d1 frames 5-4", "says 5-4"),
        ("person01_boxing_d1 frames 0-4", "says 0-4"),
        ("person01_boxing_d1 frames 1-4 5-8", "of no ranges"),
        ("person02_boxing_d1 frames 1-4", "is not in 00sequences.txt"),
        ("nothing", "has no lines such as"),
    ],
)
def test_lists_of_kth_that_fit_nothing_are_refused(
    tmp_path: Path, lines: str, message: str
) -> None:
    kth(tmp_path, "person01_boxing_d1")
    text(tmp_path / "00sequences.txt", lines)
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        find("kth", tmp_path)


# MCVD's and VideoGPT's HDF5


def shard(
    path: Path, videos: Videos, numbers: dict[str, int] | None = None, **groups: Sequence[int]
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name in ("len", *(groups or ["videos"])):
            file.create_group(name)
        for name, number in (numbers or {}).items():
            file[name] = number
        for index, frames in enumerate(videos):
            file["len"][str(index)] = len(frames)
            file.create_group(str(index))
            for name, values in groups.items():
                file[name].create_dataset(str(index), data=values[index])
            for place, frame in enumerate(frames):
                file[str(index)].create_dataset(str(place), data=frame, compression="lzf")
    return path


def test_frames_of_shards_are_read_one_by_one(tmp_path: Path) -> None:
    color, gray = clip(12), clip(5, 8, 9)
    path = shard(
        tmp_path / "shard_0001.hdf5", [color, gray, gray[:0], color[:3]], target=[1, 0, 7, -1]
    )
    assert is_mcvd(path)
    first, second, third = open_mcvd(path, Layout())
    assert (first.length, first.shape, first.label) == (12, (8, 8, 3), "1")
    assert (second.shape, second.label, third.label) == ((8, 9, 1), "0", None)
    np.testing.assert_array_equal(first.take([0, 2, 2, 11]), color[[0, 2, 2, 11]])
    np.testing.assert_array_equal(second.take([4]), gray[[4]][..., None])
    assert "video 3" in third.name
    reader = pickle.loads(pickle.dumps(first.reader))
    np.testing.assert_array_equal(reader([10]), color[[10]])


def spoilt(tmp_path: Path, change: Callable[[h5py.File], None]) -> list[Footage]:
    path = shard(tmp_path / "shard_0001.hdf5", [clip(3), clip(3)])
    with h5py.File(path, "a") as file:
        change(file)
    return open_mcvd(path, Layout())


def test_shards_that_are_not_what_they_say_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.hdf5"
    with h5py.File(secret, "w") as file:
        file["frame"] = clip(1)[0]
        file.create_group("video")["0"] = clip(1)[0]

    def linked(file: h5py.File) -> None:
        del file["1/0"]
        file["1/0"] = h5py.ExternalLink(str(secret), "/frame")

    def soft(file: h5py.File) -> None:
        del file["1"]
        file["1"] = h5py.SoftLink("/0")

    def virtual(file: h5py.File) -> None:
        del file["1/0"]
        layout = h5py.VirtualLayout((8, 8, 3), "u1")
        layout[:] = h5py.VirtualSource(str(secret), "frame", (8, 8, 3))
        file.create_virtual_dataset("1/0", layout)

    def raw(file: h5py.File) -> None:
        del file["1/0"]
        file["1"].create_dataset("0", (8, 8, 3), "u1", external=[(str(secret), 0, 192)])

    def length(number: object) -> Callable[[h5py.File], None]:
        def change(file: h5py.File) -> None:
            del file["len/1"]
            file["len/1"] = number

        return change

    def first(value: object) -> Callable[[h5py.File], None]:
        def change(file: h5py.File) -> None:
            del file["1/0"]
            file["1/0"] = value

        return change

    refused = [
        (linked, "lacks the array"),
        (soft, "announces 3 frames"),
        (virtual, "in another file"),
        (raw, "in another file"),
        (length(2), "announces 2 frames of video 1"),
        (length(4), "announces 4 frames of video 1"),
        (length(-1), "announces -1 frames"),
        (length(2**62), "announces"),
        (length(1.5), "no whole number"),
        (length([3, 3]), "no whole number"),
        (first(np.array([b"text"])), "video 1"),
        (first(np.zeros((8, 0, 3), np.uint8)), "video 1"),
        (lambda file: file["len"].create_dataset("x", data=1), "other names than numbers"),
    ]
    for number, (change, message) in enumerate(refused):
        with pytest.raises(InputError, match=message):
            spoilt(tmp_path / str(number), change)


def test_frames_of_other_sizes_and_damage_are_noticed_when_read(tmp_path: Path) -> None:
    def other(file: h5py.File) -> None:
        del file["0/1"]
        file["0/1"] = clip(1, 9, 9, 3)[0]

    footage = spoilt(tmp_path, other)[0]
    assert footage.take([0, 2]).shape == (2, 8, 8, 3)
    with pytest.raises(InputError, match="all frames need one size"):
        footage.take([1])
    path = shard(tmp_path / "shard_0002.hdf5", [clip(40, 32, 32, 3)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert not is_mcvd(path)
    with pytest.raises(InputError, match="can't be read as HDF5"):
        open_mcvd(path, Layout())


def test_other_hdf5_files_are_not_mistaken(tmp_path: Path) -> None:
    path = tmp_path / "plain.hdf5"
    with h5py.File(path, "w") as file:
        file["video"] = clip(3)
        file["len"] = 3
    assert not is_mcvd(path)
    with pytest.raises(InputError, match="give one of MCVD's"):
        open_mcvd(path, Layout())


@pytest.mark.parametrize("ends", [[], [12]])
def test_flat_files_of_videogpt(tmp_path: Path, ends: list[int]) -> None:
    train, test, path = clip(12), clip(5, seed=1), tmp_path / "bair.hdf5"
    with h5py.File(path, "w") as file:
        file["train_data"], file["train_idx"] = train, np.array([0, 4, 9, *ends])
        file["test_data"], file["test_idx"] = test, np.array([0])
    assert is_mcvd(path)
    videos = open_flat(path, "train")
    assert [video.length for video in videos] == [4, 5, 3]
    np.testing.assert_array_equal(videos[1].take([0, 4]), train[[4, 8]])
    assert [video.length for video in open_mcvd(path, Layout())] == [4, 5, 3, 5]
    for number, starts in enumerate([[0, 9, 4], [1, 4], [0, 13], [0, 0, 4], []]):
        path = tmp_path / f"{number}.hdf5"
        with h5py.File(path, "w") as file:
            file["train_data"], file["train_idx"] = train, np.array(starts, np.int64)
        with pytest.raises(InputError, match="don't ascend"):
            open_flat(path, "train")
    with pytest.raises(InputError, match="has no val_data"):
        open_flat(path, "val")


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shard(tmp_path / "shard_0001.hdf5", [clip(2)])
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert not is_mcvd(path)
    with pytest.raises(InputError, match=r"pip install 'framefill\[hdf5\]'"):
        open_mcvd(path, Layout())


def test_kth_of_mcvd_needs_no_pickles(tmp_path: Path) -> None:
    folder = tmp_path / "KTH64_h5"
    videos = [clip(4, 8, 8, seed=seed) for seed in range(3)]
    shard(folder / "shard_0001.hdf5", videos[:2], person=[1, 21], target=[5, 0])
    shard(folder / "shard_0002.hdf5", videos[2:], person=[20], target=[3])
    (folder / "persons.pkl").write_bytes(b"cos\nsystem\n(S'touch /tmp/harm'\ntR.")
    train = find("kth", folder)
    assert [video.label for video in train] == ["walking", "jogging"]
    np.testing.assert_array_equal(train[1].take([3]), videos[2][[3]][..., None])
    assert [video.label for video in find("kth", folder, part="test")] == ["boxing"]
    shard(folder / "shard_0003.hdf5", videos[2:], person=[26], target=[3])
    with pytest.raises(InputError, match="person 26"):
        find("kth", folder)


# BAIR


def bair(path: Path, trajectories: Videos) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = TFRecordWriter(str(path))
    for frames in trajectories:
        record = {
            f"{t}/image_aux1/encoded": (frame.tobytes(), "byte") for t, frame in enumerate(frames)
        }
        actions = {f"{t}/action": ([t, 0, 0, 1], "float") for t in range(len(frames))}
        writer.write({**record, **actions})
    writer.close()
    return path


@pytest.mark.parametrize("below", ["", "softmotion30_44k"])
def test_bair_has_two_folders(tmp_path: Path, below: str) -> None:
    train, test = ([clip(30, 64, 64, 3, seed=seed) for seed in seeds] for seeds in ([1, 2], [3]))
    bair(tmp_path / below / "train" / "traj_256_to_511.tfrecords", train[1:])
    bair(tmp_path / below / "train" / "traj_0_to_255.tfrecords", train[:1])
    bair(tmp_path / below / "test" / "traj_0_to_255.tfrecords", test)
    videos = find("bair", tmp_path, conditions=("action",))
    for video, frames in zip(videos, train, strict=True):
        np.testing.assert_array_equal(video.take(range(30)), frames)
    assert videos[0].tracks["action"].size == 4
    (video,) = find("bair", tmp_path, part="test")
    np.testing.assert_array_equal(video.take([7]), test[0][[7]])
    note = BENCHMARKS["bair"].note(tmp_path, "official")
    assert note == "2 of 43,264 trajectories to train and 1 of 256 to test"
    bair(tmp_path / below / "test" / "traj_0_to_255.tfrecords", [test[0][:20]])
    with pytest.raises(InputError, match="20 frames, and BAIR's have 30"):
        find("bair", tmp_path, part="test")


def test_bair_of_mcvd(tmp_path: Path) -> None:
    for part, seed in (("train", 0), ("test", 1)):
        shard(tmp_path / "BAIR_h5" / part / "shard_0001.hdf5", [clip(4, seed=seed)])
    (video,) = find("bair", tmp_path / "BAIR_h5", part="test")
    np.testing.assert_array_equal(video.take([2]), clip(4, seed=1)[[2]])
    with pytest.raises(InputError, match="action"):
        find("bair", tmp_path / "BAIR_h5", conditions=("action",))


# Cityscapes


def cityscapes(folder: Path, part: str, city: str, sequence: int, numbers: Sequence[int]) -> Path:
    place = folder / "leftImg8bit_sequence" / part / city
    place.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        picture = Image.fromarray(np.full((4, 8, 3), number % 256, np.uint8))
        picture.save(place / f"{city}_{sequence:06}_{number:06}_leftImg8bit.png")
    return folder


def test_snippets_of_cityscapes(tmp_path: Path) -> None:
    cityscapes(tmp_path, "train", "aachen", 1, range(5, 35))
    cityscapes(tmp_path, "train", "aachen", 0, [*range(100, 160), *range(7, 37)])
    cityscapes(tmp_path, "train", "bad-honnef", 0, range(30))
    cityscapes(tmp_path, "val", "lindau", 0, range(30))
    cityscapes(tmp_path, "test", "berlin", 0, range(60, 90))
    text(tmp_path / "leftImg8bit_sequence" / "train" / "aachen" / "notes.txt", "")
    videos = find("cityscapes", tmp_path)
    assert [(video.length, video.fps, video.shape) for video in videos] == [
        (30, 17.0, (4, 8, 3))
    ] * 5
    assert [brightness(video, 0) for video in videos] == [7, 100, 130, 5, 0]
    assert brightness(videos[1], 29) == 129
    assert brightness(find("cityscapes", tmp_path, part="test")[0], 0) == 60
    assert brightness(find("cityscapes", tmp_path, "val", "test")[0], 0) == 0
    assert BENCHMARKS["cityscapes"].note(tmp_path, "val") == (
        "5 of 2,975 snippets of train and 1 of 500 snippets of val"
    )
    cityscapes(tmp_path, "val", "aachen", 9, range(30))
    with pytest.raises(InputError, match="has aachen in train and in val"):
        find("cityscapes", tmp_path, "val", "test")


def test_incomplete_snippets_are_refused(tmp_path: Path) -> None:
    cityscapes(tmp_path, "train", "aachen", 3, [*range(30), *range(40, 69)])
    with pytest.raises(InputError, match="29 frames in a row from aachen_000003_000040 on"):
        find("cityscapes", tmp_path)


def test_cityscapes_of_mcvd(tmp_path: Path) -> None:
    folder = tmp_path / "Cityscapes128_h5"
    for seed, part in enumerate(("train", "val", "test")):
        shard(folder / part / "shard_0001.hdf5", [clip(4, seed=seed)])
    for split, seed in (("test", 2), ("val", 1)):
        (video,) = find("cityscapes", folder, split, "test")
        np.testing.assert_array_equal(video.take([2]), clip(4, seed=seed)[[2]])


# UCF-101


def ucf101(folder: Path) -> Path:
    names = {
        "train": [
            "HandstandPushups/v_HandStandPushups_g08_c01.avi",
            "Archery/v_Archery_g09_c01.avi",
        ],
        "test": ["Archery/v_Archery_g01_c01.avi", "Archery/v_Archery_g02_c01.avi"],
    }
    lists = folder / "ucfTrainTestlist"
    text(lists / "classInd.txt", "1 Archery\r\n2 HandstandPushups\r\n")
    for split in "123":
        text(lists / f"trainlist0{split}.txt", "".join(f"{name} 1\r\n" for name in names["train"]))
        text(lists / f"testlist0{split}.txt", "".join(f"{name}\r\n" for name in names["test"]))
    film(folder / "UCF-101" / "HandstandPushups" / "v_HandstandPushups_g08_c01.avi", level=1)
    film(folder / "UCF-101" / "Archery" / "v_Archery_g09_c01.avi", level=50)
    film(folder / "UCF-101" / "Archery" / "v_Archery_g01_c01.avi", level=80)
    return folder


def test_ucf101_follows_its_lists(tmp_path: Path) -> None:
    ucf101(tmp_path)
    train = find("ucf101", tmp_path)
    assert [(video.label, brightness(video, 0)) for video in train] == [
        ("HandstandPushups", 1),
        ("Archery", 50),
    ]
    (test,) = find("ucf101", tmp_path, "1", "test")
    assert (test.label, brightness(test, 0), test.length) == ("Archery", 80, 12)
    assert BENCHMARKS["ucf101"].note(tmp_path, "2") == (
        "2 of 2 files to train and 1 of 2 files to test"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Archery/v_Archery_g01_c01.avi\nArchery/v_archery_g09_c01.avi\n", "g09_c01.avi in both"),
        ("../../etc/v_Archery_g01_c01.avi\n", "has the line '../../etc"),
        ("Archery v_Archery_g01_c01.avi\n", "has the line"),
        ("", "holds nothing of ucf101 to test"),
    ],
)
def test_lists_of_ucf101_that_are_at_odds_are_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    text(ucf101(tmp_path) / "ucfTrainTestlist" / "testlist03.txt", content)
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        find("ucf101", tmp_path, "3", "test")


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    (ucf101(tmp_path) / "ucfTrainTestlist" / "testlist03.txt").unlink()
    with pytest.raises(InputError, match=r"testlist03\.txt can't be read"):
        find("ucf101", tmp_path)


def test_ucf101_of_mcvd(tmp_path: Path) -> None:
    folder, videos = tmp_path / "UCF101_h5", [clip(4, 8, 10, 3, seed=seed) for seed in range(5)]
    videos[1] = videos[1][:0]
    numbers = {"num_train": 3, "num_test": 2}
    shard(folder / "shard_0001.hdf5", videos[:2], numbers, data=[0] * 2, target=[0, 1])
    shard(folder / "shard_0002.hdf5", videos[2:], data=[0] * 3, target=[2, 3, 4])
    assert [video.label for video in find("ucf101", folder)] == ["0", "2"]
    test = find("ucf101", folder, part="test")
    assert [video.label for video in test] == ["3", "4"]
    np.testing.assert_array_equal(test[1].take([3]), videos[4][[3]])
    with pytest.raises(InputError, match="holds split 3"):
        find("ucf101", folder, "1")
    (folder / "shard_0002.hdf5").unlink()
    with pytest.raises(InputError, match="announces 5 videos and has 2"):
        find("ucf101", folder)


# Kinetics-600


def kinetics(folder: Path, rows: dict[str, list[str]]) -> Path:
    for name, lines in rows.items():
        header = "label,youtube_id,time_start,time_end,split"
        text(folder / f"{name}.csv", "\r\n".join([header, *lines]) + "\r\n")
    return folder


def test_kinetics_follows_its_lists(tmp_path: Path) -> None:
    rows = {
        "train": ['"playing ""x"", y",aaaaaaaaaaa,3,13,train', "b,bbbbbbbbb-b,0,10,train"],
        "validate": ["b,ccccc_ccccc,7,17,val"],
        "test": [",ddddddddddd,100,110,test"],
    }
    kinetics(tmp_path, rows)
    film(tmp_path / "train" / 'playing "x", y' / "aaaaaaaaaaa_000003_000013.mp4", level=10)
    film(tmp_path / "validate" / "ccccc_ccccc_000007_000017.mp4", level=20)
    film(tmp_path / "test" / "ddddddddddd_000100_000110.mp4", level=30)
    (train,) = find("kinetics600", tmp_path)
    (val,) = find("kinetics600", tmp_path, part="test")
    (test,) = find("kinetics600", tmp_path, "test", "test")
    found = [(each.label, brightness(each, 0)) for each in (train, val, test)]
    assert found == [('playing "x", y', 10), ("b", 20), (None, 30)]
    assert BENCHMARKS["kinetics600"].note(tmp_path, "val") == (
        "1 of 2 clips to train and 1 of 1 clips to test"
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../..,aaaaaaaaaaa,3,13,val", "has the line"),
        ("..,aaaaaaaaaaa,3,13,val", "has the line"),
        ("b,../aaaaaaaa,3,13,val", "has the line"),
        ("b,aaaaaaaaaaa,-3,13,val", "has the line"),
        ("b,aaaaaaaaaaa", "has the line"),
        ("b,bbbbbbbbbbb,0,10,val", "bbbbbbbbbbb_000000_000010.mp4 in the lists of train and val"),
    ],
)
def test_lists_of_kinetics_that_are_at_odds_are_refused(
    tmp_path: Path, row: str, message: str
) -> None:
    kinetics(tmp_path, {"train": ["b,bbbbbbbbbbb,0,10,train"], "val": [row]})
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        find("kinetics600", tmp_path, part="test")


def test_links_are_not_followed(tmp_path: Path) -> None:
    kinetics(tmp_path, {"train": ["b,bbbbbbbbbbb,0,10,train"], "val": ["b,ccccccccccc,0,10,val"]})
    film(tmp_path / "val" / "b" / "ccccccccccc_000000_000010.mp4")
    (tmp_path / "train" / "b").mkdir(parents=True)
    (tmp_path / "train" / "b" / "bbbbbbbbbbb_000000_000010.mp4").symlink_to(
        tmp_path / "val" / "b" / "ccccccccccc_000000_000010.mp4"
    )
    with pytest.raises(InputError, match="nothing of kinetics600 to train with split val"):
        find("kinetics600", tmp_path)
    kth(tmp_path / "kth", "person01_boxing_d1")
    (tmp_path / "kth" / "boxing" / "person25_boxing_d1_uncomp.avi").symlink_to(
        tmp_path / "kth" / "boxing" / "person01_boxing_d1_uncomp.avi"
    )
    with pytest.raises(InputError, match="nothing of kth to test"):
        find("kth", tmp_path / "kth", part="test")


# All


def mnist(folder: Path) -> Path:
    folder.mkdir()
    for name in ("train", "t10k"):
        data = struct.pack(">IIII", 0x803, 1, 28, 28) + bytes(784)
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(data))
    return folder


def test_digits_are_made_by_recipes(tmp_path: Path) -> None:
    folder = mnist(tmp_path / "mnist")
    with pytest.raises(InputError, match="framefill train smmnist-concat --data"):
        find("smmnist", folder)
    assert BENCHMARKS["smmnist"].note(folder, "official") == "train digits and test digits"


def test_each_is_recognised_and_nothing_else_is(tmp_path: Path) -> None:
    folders = {
        "smmnist": mnist(tmp_path / "a"),
        "kth": kth(tmp_path / "b", "person01_boxing_d1"),
        "bair": bair(tmp_path / "c" / "test" / "traj_0_to_1.tfrecords", []).parents[1],
        "cityscapes": cityscapes(tmp_path / "d", "val", "lindau", 0, [0]),
        "ucf101": ucf101(tmp_path / "e"),
        "kinetics600": kinetics(tmp_path / "f", {"train": []}),
    }
    assert list(folders) == list(BENCHMARKS)
    for name, folder in folders.items():
        assert [each.name for each in BENCHMARKS.values() if each.recognise(folder)] == [name]
        assert recognised(folder) is BENCHMARKS[name]
        if name != "smmnist":
            with pytest.raises(InputError, match="isn't smmnist as it is published"):
                find("smmnist", folder)
    ordinary = tmp_path / "g"
    film(ordinary / "train" / "person01_boxing_d1_uncomp.avi")
    text(ordinary / "train.csv", "a,b\n1,2\n")
    shard(ordinary / "shard_0001.hdf5", [clip(2)])
    for path in (ordinary, ordinary / "train.csv", tmp_path, tmp_path / "missing"):
        assert recognised(path) is None


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_guides_say_what_one_has_to_know(name: str) -> None:
    benchmark = BENCHMARKS[name]
    for word in ("Get it", "Licence", "On the disk", "Splits", *benchmark.splits):
        assert word in benchmark.guide
    assert max(map(len, benchmark.guide.splitlines())) <= 100
    assert "\n" not in benchmark.summary


def test_unknown_splits_are_refused(tmp_path: Path) -> None:
    kth(tmp_path, "person01_boxing_d1")
    with pytest.raises(InputError, match="no split 'predrn' of kth; did you mean 'predrnn'"):
        find("kth", tmp_path, "predrn")
