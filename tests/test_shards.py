"""Tar files in WebDataset's layout: what is read in them, what is refused, and writing them."""

import gzip
import io
import pickle
import tarfile
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.format import write_array_header_1_0, write_array_header_2_0
from PIL import Image

from framefill.data.films import open_film
from framefill.data.footage import Footage, Layout
from framefill.data.shard_write import Entry, write_shards
from framefill.data.shards import open_shard
from framefill.data.video import Part, Stored, Video
from framefill.errors import InputError

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "data" / "clips"
WHOLE = Part(start=0, frames=None, every=1, limit_bytes=2**30)


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEFILL_CACHE", "off")


def clip(frames: int, *, side: int = 6, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(
        0, 256, (frames, side, side, channels), dtype=np.uint8
    )


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(*, packed: bool = False, **arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(file, **arrays)
    return file.getvalue()


def png(frame: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame if frame.shape[2] == 3 else frame[..., 0]).save(file, kind)
    return file.getvalue()


def film(frames: np.ndarray) -> bytes:
    """A lossless video."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "bgr0"
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def opened(folder: Path, members: dict[str, bytes], **layout: object) -> list[Footage]:
    return open_shard(pack(folder / "a.tar", members), Layout(**layout))


def frames_of(footage: Footage) -> np.ndarray:
    return footage.video(WHOLE).frames


# Kinds of videos


def test_samples_come_in_order_with_their_frames(tmp_path: Path) -> None:
    first, second = clip(5), clip(3, side=4, channels=1, seed=1)
    videos = opened(
        tmp_path, {"b/2.npy": npy(first), "README": b"", "._b.npy": b"", "a.NPY": npy(second)}
    )
    np.testing.assert_array_equal(frames_of(videos[0]), first)
    np.testing.assert_array_equal(frames_of(videos[1]), second)
    np.testing.assert_array_equal(videos[0].take([0, 2, 4, 4]), first[[0, 2, 4, 4]])
    assert videos[0].name == f"{tmp_path / 'a.tar'} sample b/2"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(videos[1].reader))([2]), second[[2]])


def test_a_large_array_is_not_read_whole(tmp_path: Path) -> None:
    path, size = tmp_path / "a.tar", 5 * 2**30
    head = io.BytesIO()
    shape = (size // 2**20, 1024, 1024)
    write_array_header_2_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    info = tarfile.TarInfo("a.npy")
    info.size = len(head.getvalue()) + size
    with path.open("wb") as file:  # a file with a hole, which takes no room on the disk
        file.write(info.tobuf(tarfile.GNU_FORMAT) + head.getvalue())
        start = file.tell()
        file.seek(start + 5000 * 2**20)
        file.write(b"\7" * 2**20)
        file.seek(start + size)
        file.truncate(start + size + -size % 512 + 4096)
    (footage,) = open_shard(path, Layout())
    assert footage.length == 5120
    assert footage.take([0, 5000]).max(axis=(1, 2, 3)).tolist() == [0, 7]


def test_arrays_of_any_axes_and_values(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(2 * 3 * 4 * 5).reshape(4, 5, 3, 2).astype(">i4"))
    one, two = opened(tmp_path, {"a.npy": npy(array)}, axes="hwfv", missing=7.0)
    assert (one.length, one.shape, one.dtype.name) == (3, (4, 5, 1), "float64")
    assert one.stored == Stored("int32", 7.0)
    expected = array[..., 1].transpose(2, 0, 1)[..., None].astype(float)
    expected[expected == 7] = np.nan
    assert np.isnan(expected).sum() == 1
    np.testing.assert_array_equal(frames_of(two), expected)


@pytest.mark.parametrize("packed", [False, True])
def test_archives_of_arrays(tmp_path: Path, packed: bool) -> None:
    frames = clip(4)
    members = {
        "a.npz": npz(packed=packed, frames=frames, fps=np.array(12.5), other=np.zeros(3)),
        "b.npz": npz(packed=packed, anything=frames[:2]),
    }
    first, second = opened(tmp_path, members)
    np.testing.assert_array_equal(first.take([1, 3]), frames[[1, 3]])
    np.testing.assert_array_equal(frames_of(second), frames[:2])
    assert (first.fps, second.fps) == (12.5, None)
    with pytest.raises(InputError, match="holds 2 arrays"):
        opened(tmp_path, {"a.npz": npz(one=frames, two=frames)})


@pytest.mark.parametrize("name", ["a.{:03}.png", "a/{}.png", "./a/frame_{}.PNG"])
def test_numbered_images_are_frames(tmp_path: Path, name: str) -> None:
    frames = clip(12, channels=1)
    order = np.random.default_rng(0).permutation(12)
    members = {name.format(number): png(frames[number]) for number in order}
    (footage,) = opened(tmp_path, {**members, "a.cls": b"3"})
    np.testing.assert_array_equal(frames_of(footage), frames)
    assert footage.label == "3"


def test_images_that_make_no_video_are_refused(tmp_path: Path) -> None:
    one, other = png(clip(1)[0]), png(clip(1, side=7)[0])
    with pytest.raises(InputError, match="images of several names"):
        opened(tmp_path, {"a/left_0.png": one, "a/right_1.png": one})
    with pytest.raises(InputError, match="name or the number of another"):
        opened(tmp_path, {"a/0.png": one, "a/00.jpg": one})
    with pytest.raises(InputError, match="no video among png, cls"):
        opened(tmp_path, {"000.png": one, "000.cls": b"1"})
    (footage,) = opened(tmp_path, {"a.0.png": one, "a.1.png": other})
    with pytest.raises(InputError, match=r"a\.1\.png is .*all frames need one size"):
        footage.take([1])


def test_video_files_are_decoded_where_they_are(tmp_path: Path) -> None:
    frames = clip(20, side=16)
    (footage,) = opened(tmp_path, {"a.mkv": film(frames), "a.txt": b"dog\n"})
    assert (footage.length, footage.fps, footage.label) == (20, 10.0, "dog")
    np.testing.assert_array_equal(footage.take([0, 0, 7, 19]), frames[[0, 0, 7, 19]])
    np.testing.assert_allclose(footage.times, np.arange(20) / 10)
    reader = pickle.loads(pickle.dumps(footage.reader))
    np.testing.assert_array_equal(reader([3]), frames[[3]])


@pytest.mark.parametrize("name", ["mdn_flower.webm", "mmaction_ucf_style.avi", "intel_people.gif"])
def test_real_video_files_are_read_as_on_the_disk(tmp_path: Path, name: str) -> None:
    if not (CLIPS / name).is_file():
        pytest.skip(f"no sample video {CLIPS / name}")
    (footage,) = opened(tmp_path, {f"a.{name.split('.')[1]}": (CLIPS / name).read_bytes()})
    expected = open_film(CLIPS / name)
    assert (footage.length, footage.shape, footage.fps) == (
        expected.length,
        expected.shape,
        expected.fps,
    )
    places = [0, 9, footage.length - 1]
    np.testing.assert_array_equal(footage.take(places), expected.take(places))


def test_damaged_videos_are_refused(tmp_path: Path) -> None:
    whole = film(clip(20, side=16))
    with pytest.raises(InputError, match=r"member a\.mkv"):
        opened(tmp_path, {"a.mkv": b"no video at all"})
    with pytest.raises(InputError, match=r"member a\.mkv is damaged \(the file has"):
        opened(tmp_path, {"a.mkv": whole[: len(whole) * 2 // 3]})
    spoilt = bytearray(whole)
    spoilt[len(whole) // 2 : len(whole) // 2 + 200] = b"\xff" * 200
    with pytest.raises(InputError, match=r"member a\.mkv is damaged after \d+ frames"):
        opened(tmp_path, {"a.mkv": bytes(spoilt)})
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    with pytest.raises(InputError, match=r"member a\.mp4"):
        opened(tmp_path, {"a.mp4": playlist})


# What goes with them


@pytest.mark.parametrize(
    ("members", "label", "fps"),
    [
        ({}, None, None),
        ({"cls": b"12\n", "json": b'{"label": "dog", "fps": 5}', "txt": b"cat"}, "12", 5.0),
        ({"json": b'{"label": "dog", "fps": true}', "txt": b"cat"}, "dog", 1.0),
        ({"json": b'{"fps": -1, "label": [1]}', "txt": b" cat "}, "cat", None),
        ({"json": b'"dog"'}, "dog", None),
        ({"json": b"7"}, "7", None),
        ({"json": b"[1]", "txt": b"a caption\nof two lines"}, None, None),
        ({"txt": b"x" * 201}, None, None),
        ({"cls": b"", "txt": "Köln".encode()}, "Köln", None),
    ],
)
def test_classes_and_rates(
    tmp_path: Path, members: dict[str, bytes], label: str | None, fps: float | None
) -> None:
    named = {f"a.{kind}": data for kind, data in members.items()}
    (footage,) = opened(tmp_path, {"a.npy": npy(clip(2)), **named})
    assert (footage.label, footage.fps) == (label, fps)


@pytest.mark.parametrize("text", [b"{", b"[" * 60_000, b'{"label": "' + b"x" * 2**17 + b'"}'])
def test_what_is_no_json_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(InputError, match=r"member a\.json can't be read as JSON"):
        opened(tmp_path, {"a.npy": npy(clip(2)), "a.json": text})


def test_conditions_are_arrays_beside(tmp_path: Path) -> None:
    frames = clip(5)
    action, chart, ground = (
        np.random.default_rng(0).normal(size=size).astype(np.float32)
        for size in [(5, 7), (5, 6, 6, 2), (6, 6, 1)]
    )
    members = {"a.Action.npy": npy(action), "a.map.npy": npy(chart), "a.st.npy": npy(ground)}
    names = ("Action", "map", "st")
    (footage,) = opened(tmp_path, {**members, "a.mkv": film(frames)}, conditions=names)
    assert [footage.tracks[name].kind for name in names] == ["vector", "map", "static"]
    video = footage.section(1, 4).video(WHOLE)
    np.testing.assert_array_equal(video.conditions["Action"], action[1:4])
    np.testing.assert_array_equal(video.conditions["map"], chart[1:4])
    np.testing.assert_array_equal(video.conditions["st"], ground)
    with pytest.raises(InputError, match=r"no condition 'wind'.*--data.conditions.*wind\.npy"):
        opened(tmp_path, {"a.npy": npy(frames), **members}, conditions=("wind",))
    with pytest.raises(InputError, match="condition"):
        opened(tmp_path, {"a.npy": npy(frames[:4]), **members}, conditions=("action",))


def test_conditions_of_several_videos_in_one_array(tmp_path: Path) -> None:
    frames, action = np.zeros((2, 5, 6, 6, 3)), np.arange(2 * 5 * 4.0).reshape(2, 5, 4)
    members = {"a.npy": npy(frames), "a.action.npy": npy(action)}
    for number, footage in enumerate(
        opened(tmp_path, members, axes="vfhwc", conditions=("action",))
    ):
        np.testing.assert_array_equal(
            footage.tracks["action"].reader([1, 4]), action[number, [1, 4]]
        )


def test_which_member_holds_the_frames(tmp_path: Path) -> None:
    left, right = clip(3), clip(3, seed=1)
    members = {"a.left.npy": npy(left), "a.right.npy": npy(right)}
    with pytest.raises(InputError, match=r"2 videos \(left.npy, right.npy\).*--data.variables"):
        opened(tmp_path, members)
    for names in [("right",), ("right.npy",)]:
        (footage,) = opened(tmp_path, members, variables=names)
        np.testing.assert_array_equal(frames_of(footage), right)
    (footage,) = opened(tmp_path, members, conditions=("right",))
    np.testing.assert_array_equal(frames_of(footage), left)
    (footage,) = opened(tmp_path, {**members, "a.npy": npy(right)})
    np.testing.assert_array_equal(frames_of(footage), right)
    with pytest.raises(InputError, match=r"2 videos \(images, npy\)"):
        opened(tmp_path, {"a.0.png": png(left[0]), "a.npy": npy(left)})
    with pytest.raises(InputError, match=r"no video among left\.npy, right\.npy"):
        opened(tmp_path, members, variables=("middle",))


# Hostile files


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w") as archive:
            folder = tarfile.TarInfo("folder")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            info = tarfile.TarInfo("a.npy")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        with pytest.raises(InputError, match="is a link, a device or sparse"):
            open_shard(path, Layout())


def test_nothing_is_unpacked_wherever_names_lead(tmp_path: Path) -> None:
    (footage,) = opened(tmp_path, {"../../outside.npy": npy(clip(2))})
    assert footage.length == 2
    assert [each.name for each in tmp_path.iterdir()] == ["a.tar"]


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    whole = pack(tmp_path / "a.tar", {"a.npy": npy(clip(2)), "b.npy": npy(clip(2))}).read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    path = tmp_path / "b.tar"
    for length in [*range(100, end, 100), end, end + 100]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            open_shard(path, Layout())
    path.write_bytes(whole[: end + 512])
    assert len(open_shard(path, Layout())) == 2


def test_what_is_no_plain_tar_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", {"a.npy": npy(clip(2))})
    whole = path.read_bytes()
    path.write_bytes(whole + whole)
    with pytest.raises(InputError, match="goes on behind its end"):
        open_shard(path, Layout())
    path.write_bytes(gzip.compress(whole))
    with pytest.raises(InputError, match="can't be read as a plain"):
        open_shard(path, Layout())
    pack(path, {"README.md": b""}).write_bytes(b"\0" * 10240)
    with pytest.raises(InputError, match="no samples"):
        open_shard(path, Layout())
    with pytest.raises(InputError, match="name or the number of another"):
        opened(tmp_path, {"a.npy": npy(clip(2)), "./a.npy": npy(clip(2))})


def test_sizes_below_zero_end(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.npy")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"  # -1024
    header[148:156] = b" " * 8
    header[148:155] = b"%06o\0" % sum(header)
    path = tmp_path / "a.tar"
    path.write_bytes(pack(path, {"b.npy": npy(clip(2))}).read_bytes()[:1024] + header + bytes(2048))
    with pytest.raises(InputError):
        open_shard(path, Layout())


def test_arrays_that_are_not_what_they_say_are_refused(tmp_path: Path) -> None:
    objects = io.BytesIO()
    np.save(objects, np.array([{}]), allow_pickle=True)
    head = io.BytesIO()
    huge = {"descr": "<f8", "fortran_order": False, "shape": (2**40, 8, 8)}
    write_array_header_1_0(head, huge)
    for data in (objects.getvalue(), head.getvalue(), npy(clip(2)) + b"more", npy(clip(2))[:-1]):
        with pytest.raises(InputError, match=r"member a\.npy"):
            opened(tmp_path, {"a.npy": data})
    for data in (b"PK", npz(frames=np.array([{}]))):
        with pytest.raises(InputError, match=r"a\.(npz|tar)"):
            opened(tmp_path, {"a.npz": data})
    with pytest.raises(InputError, match="holds nothing"):
        opened(tmp_path, {"a.npy": npy(clip(0))})


# Writing


def entries(count: int, seed: int = 0) -> Iterator[Entry]:
    rng = np.random.default_rng(seed)
    for number in range(count):
        frames = clip(int(rng.integers(1, 6)), side=5, seed=seed + number)
        video = Video(
            frames if number % 2 else frames.astype(np.float32) / 7,
            fps=None if number % 3 else 12.5,
            conditions={"Action": rng.normal(size=(len(frames), 2)).astype(np.float32)},
        )
        yield Entry(f"part/{number}", video, (None, "12", "Köln Süd")[number % 3])


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 9), limit=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_shards_hold_what_was_written(count: int, limit: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "shards"
        paths = write_shards(folder, entries(count, seed), limit_bytes=limit * 10240)
        assert sorted(folder.iterdir()) == paths
        assert [path.name for path in paths] == [
            f"framefill-{number:06}.tar" for number in range(len(paths))
        ]
        assert all(path.stat().st_size <= limit * 10240 for path in paths)
        layout = Layout(conditions=("Action",))
        found = [each for path in paths for each in open_shard(path, layout)]
        for footage, entry in zip(found, entries(count, seed), strict=True):
            video = footage.video(WHOLE)
            np.testing.assert_array_equal(video.frames, entry.video.frames)
            assert video.frames.dtype == entry.video.frames.dtype
            assert (video.fps, footage.label) == (entry.video.fps, entry.label)
            np.testing.assert_array_equal(
                video.conditions["Action"], entry.video.conditions["Action"]
            )


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_webdataset_reads_what_was_written(tmp_path: Path) -> None:
    paths = write_shards(tmp_path / "shards", entries(7), limit_bytes=20480)
    assert len(paths) > 1
    dataset = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False).decode()
    for sample, entry in zip(dataset, entries(7), strict=True):
        assert sample["__key__"] == entry.key
        np.testing.assert_array_equal(sample["npy"], entry.video.frames)
        np.testing.assert_array_equal(sample["action.npy"], entry.video.conditions["Action"])
        assert sample.get("json") == (None if entry.video.fps is None else {"fps": 12.5})
        label = sample.get("cls", sample.get("txt"))
        assert label == (12 if entry.label == "12" else entry.label)


def test_samples_that_fit_nowhere_are_refused(tmp_path: Path) -> None:
    video = Video(clip(3))
    for key in ("", "a.b", "a b", "../a", "/a", "a/", "a//b"):
        with pytest.raises(InputError, match=r"sample .* has a name with"):
            write_shards(tmp_path / "x", [Entry(key, video)])
    with pytest.raises(InputError, match="or that of another"):
        write_shards(tmp_path / "x", [Entry("a", video), Entry("a", video)])
    with pytest.raises(InputError, match="takes 20,480 bytes, above the limit of 10,240"):
        write_shards(
            tmp_path / "x", [Entry("b", video), Entry("a", Video(clip(90)))], limit_bytes=10240
        )
    for label in ("", " a", "a\nb"):
        with pytest.raises(InputError, match="has the class"):
            write_shards(tmp_path / "x", [Entry("a", video, label)])
    for names in [("a/b",), ("a", "A")]:
        conditions = {name: np.zeros((3, 1)) for name in names}
        with pytest.raises(InputError, match="condition"):
            write_shards(tmp_path / "x", [Entry("a", Video(clip(3), conditions=conditions))])
    with pytest.raises(InputError, match="no samples"):
        write_shards(tmp_path / "x", [])
    assert not list(tmp_path.iterdir())
    (tmp_path / "x").mkdir()
    with pytest.raises(InputError, match="exists"):
        write_shards(tmp_path / "x", [Entry("a", video)])
    assert len(write_shards(tmp_path / "x", [Entry("a", video)], overwrite=True)) == 1
    assert [each.name for each in tmp_path.rglob("*")] == ["x", "framefill-000000.tar"]
