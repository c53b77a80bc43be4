"""Films: any frame in any order is that of FFmpeg's own program, or there is a reason why not."""

import functools
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_read import encode, needs_data, ramp, real

from framefill.data import films
from framefill.data.film_index import NO_STAMP, FilmIndex, checksum
from framefill.data.films import open_film
from framefill.data.footage import Footage
from framefill.data.read import read
from framefill.errors import InputError

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
REFUSED = ("corrupted.mp4", "empty.webm")
SLOW = 300  # seconds after which a hang is taken for one


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """A folder for indices that all tests of this file share."""
    folder = tmp_path_factory.getbasetemp() / "film-indices"
    monkeypatch.setenv("FRAMEFILL_CACHE", str(folder))
    return folder


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FRAMEFILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def ffmpeg() -> str:
    return pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()


def real_films() -> list[Path]:
    kinds = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".gif")
    paths = [path for part in ("clips", "edge", "domains") for path in (DATA / part).rglob("*")]
    return sorted(path for path in paths if path.suffix in kinds and path.name not in REFUSED)


def crc(frame: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(frame))


@functools.cache
def programs_frames(path: Path) -> tuple[tuple[int, int], list[int]]:
    """Size and checksums of all frames, from FFmpeg's own program, which shares no code with us.

    It interpolates color as PyAV does if told so; then all is equal to the last bit.
    """
    kind = "rgba" if path.suffix == ".gif" else "rgb24"
    command = [ffmpeg(), "-v", "error", "-i", str(path), "-fps_mode", "passthrough", "-vf"]
    command += ["scale=flags=bilinear:in_chroma_loc=left", "-pix_fmt", kind, "-f", "rawvideo"]
    size = probed_size(path)
    sums = []
    with subprocess.Popen([*command, "-"], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        length = size[0] * size[1] * (4 if kind == "rgba" else 3)
        while len(data := program.stdout.read(length)) == length:
            pixels = np.frombuffer(data, np.uint8).reshape(*size, -1)
            if kind == "rgba":
                assert set(np.unique(pixels[..., 3])) <= {0, 255}
                pixels = pixels[..., :3] * (pixels[..., 3:] == 255)
            sums.append(crc(pixels))
        assert not data, "the frames have another size than the program says"
    return size, sums


def probed_size(path: Path) -> tuple[int, int]:
    """Height and width of what FFmpeg's program writes."""
    command = [ffmpeg(), "-v", "error", "-i", str(path), "-frames:v", "1", "-f", "image2pipe"]
    png = subprocess.run([*command, "-c:v", "pam", "-"], capture_output=True, check=True).stdout
    words = png.split(b"ENDHDR")[0].split()
    return int(words[words.index(b"HEIGHT") + 1]), int(words[words.index(b"WIDTH") + 1])


def batches(length: int, size: int = 100) -> Iterator[range]:
    return (range(start, min(start + size, length)) for start in range(0, length, size))


def some_places(length: int, seed: int) -> list[list[int]]:
    """Runs, strides, far places, repeated ones and the last one."""
    chance = random.Random(seed)
    runs = []
    for every in (1, 1, 2, 9):
        start = chance.randrange(length)
        runs.append(list(range(start, min(length, start + 16 * every), every)))
    scattered = sorted(chance.choices(range(length), k=5))
    return [*runs, scattered, [length - 1], [length - 1, length - 1], [0]]


# Real films


@needs_data
@pytest.mark.parametrize("path", real_films(), ids=lambda path: path.name)
def test_every_frame_is_that_of_ffmpegs_program(path):
    size, expected = programs_frames(path)
    film = open_film(path)
    assert film.shape == (*size, 3)
    assert film.dtype == np.uint8
    assert film.length == len(expected)
    for places in batches(film.length):
        assert [crc(frame) for frame in film.take(places)] == [expected[i] for i in places]


@needs_data
@pytest.mark.parametrize("path", real_films(), ids=lambda path: path.name)
def test_places_in_any_order_of_reading(path):
    _, expected = programs_frames(path)
    film = open_film(path)
    for places in some_places(film.length, seed=len(path.name)):
        assert [crc(frame) for frame in film.take(places)] == [expected[i] for i in places]


@needs_data
@pytest.mark.parametrize("name", REFUSED)
def test_broken_films_are_refused_as_read_does(name):
    path = real(f"edge/{name}")
    with pytest.raises(InputError) as told:
        read(path)
    with pytest.raises(InputError) as caught:
        open_film(path)
    assert str(caught.value) == str(told.value)
    assert "damaged after 28 frames" in str(caught.value) or "is empty" in str(caught.value)


@needs_data
@pytest.mark.parametrize("name", ["decord_pancake.mkv", "dlc_mouse_reach.avi", "intel_people.gif"])
def test_films_that_were_cut_off_are_refused_as_read_does(tmp_path, name):
    data = real(f"clips/{name}").read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 4 // 5])
    with pytest.raises(InputError) as told:
        read(tmp_path / name)
    with pytest.raises(InputError, match=r"damaged after \d+ frames .*--take") as caught:
        open_film(tmp_path / name)
    assert str(caught.value) == str(told.value)


# Films made here, in as many ways as frames can depend on others


def made(path: Path, *options: str, frames: int = 150) -> Path:
    picture = f"testsrc2=size=96x64:rate=25:duration={frames / 25}"
    command = [ffmpeg(), "-v", "error", "-f", "lavfi", "-i", picture, *options, str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


X264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-x264-params")
OPEN_GOP = (*X264, "open-gop=1:keyint=20:min-keyint=20:scenecut=0:bframes=3")
MPEG2 = ("-c:v", "mpeg2video", "-bf", "2", "-g", "12")
VFR = ("-vf", "select='not(mod(n,3))+not(mod(n,7))'", "-fps_mode", "vfr", *OPEN_GOP)
MAKES = {
    "open.mp4": OPEN_GOP,
    "open.mkv": OPEN_GOP,
    "open.ts": OPEN_GOP,
    "open.avi": OPEN_GOP,  # wrong time stamps
    "parts.mp4": (*OPEN_GOP, "-movflags", "frag_keyframe+empty_moov"),
    "refresh.mp4": (*X264, "intra-refresh=1:keyint=20:bframes=0"),
    "open265.mp4": (
        *("-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params"),
        "open-gop=1:keyint=20:min-keyint=20:bframes=4:log-level=none",
    ),
    "raw.h264": OPEN_GOP,  # no time stamps
    "mpeg2.mpg": MPEG2,
    "mpeg2.avi": MPEG2,
    "mpeg4.avi": ("-c:v", "mpeg4", "-bf", "2", "-g", "25"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-g", "25", "-deadline", "realtime", "-cpu-used", "8"),
    "changing.mp4": VFR,
    "changing.mkv": VFR,
    "loop.gif": (),
    "palette.avi": ("-c:v", "rawvideo", "-pix_fmt", "pal8"),  # the palette comes once
    "lossless.mkv": ("-c:v", "ffv1", "-g", "10", "-context", "1"),
    "photos.avi": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "plain.y4m": ("-pix_fmt", "yuv420p"),
}
SOUGHT = {*MAKES} - {"raw.h264", "refresh.mp4", "loop.gif", "palette.avi"}


@pytest.fixture(scope="module")
def makes(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    return {name: made(folder / name, *options) for name, options in MAKES.items()}


@pytest.mark.parametrize("name", MAKES)
def test_random_access_is_sequential_reading(makes, name):
    whole = read(makes[name]).frames
    film = open_film(makes[name])
    assert film.length == len(whole) > 60
    for seed in range(4):
        for places in some_places(film.length, seed):
            assert np.array_equal(film.take(places), whole[places])


@pytest.mark.parametrize("name", sorted(SOUGHT))
def test_the_frames_before_are_not_decoded(makes, name, monkeypatch):
    count = 0

    def counted(film: films.Film) -> Iterator[av.VideoFrame]:
        nonlocal count
        for frame in real_decoded(film):
            count += 1
            yield frame

    real_decoded = films.decoded
    film = open_film(makes[name])
    whole = read(makes[name]).frames
    monkeypatch.setattr(films, "decoded", counted)
    places = [film.length - 3, film.length - 1]
    assert np.array_equal(film.take(places), whole[places])
    assert count < film.length / 2
    count = 0
    film.take([0, film.length - 1])  # far apart: not what lies between
    assert count < film.length / 2


LENGTH = 60


@pytest.fixture(scope="module")
def lie(tmp_path_factory) -> tuple[Footage, np.ndarray]:
    path = made(tmp_path_factory.mktemp("lie") / "clip.mp4", *OPEN_GOP, frames=LENGTH)
    return open_film(path), read(path).frames


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_index_that_is_wrong_never_gives_a_wrong_frame(lie, data):
    film, whole = lie
    assert len(whole) == LENGTH
    index = film.reader.index
    stamps = data.draw(st.permutations(index.stamps.tolist()))
    missing = data.draw(st.sets(st.integers(0, LENGTH - 1), max_size=9))
    stamps = [NO_STAMP if i in missing else stamp for i, stamp in enumerate(stamps)]
    keys = sorted(data.draw(st.sets(st.integers(0, LENGTH - 1), max_size=9)))
    sums = data.draw(st.sampled_from([index.sums, np.roll(index.sums, 1), index.sums * 0]))
    false = replace(index, stamps=np.array(stamps), keys=np.array(keys, np.int64), sums=sums)
    places = sorted(data.draw(st.lists(st.integers(0, LENGTH - 1), min_size=1, max_size=6)))
    assert np.array_equal(replace(film.reader, index=false)(places), whole[places])


def test_entries_are_keyframes_with_a_time_stamp(lie):
    index = lie[0].reader.index
    stamps = np.arange(LENGTH)
    stamps[40] = NO_STAMP
    index = replace(index, stamps=stamps, keys=np.array([20, 40, 50]))
    entries = [index.entry(place) for place in (0, 19, 20, 39, 40, 49, 50, 59)]
    assert entries == [0, 0, 20, 20, 0, 0, 50, 50]
    assert not index.ascending


def test_equal_pictures_are_told_apart_or_are_equal(tmp_path):
    """A film that hardly changes: checksums alone don't say which frame it is."""
    frames = np.full((90, 16, 16, 3), 100, np.uint8)
    frames[40:] += 50
    path = tmp_path / "still.mp4"
    encode(path, frames, "rgb24", "libx264rgb")
    film = open_film(path)
    whole = read(path).frames
    for places in [*some_places(90, 0), [39, 40], [41]]:
        assert np.array_equal(film.take(places), whole[places])


def test_times_are_the_files(tmp_path):
    stamps = [0, 3, 4, 10, 11, 40]
    path = tmp_path / "changing.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=100)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "gray"
        for stamp, pixels in zip(stamps, ramp(6, 16, 16, 1), strict=True):
            frame = av.VideoFrame.from_ndarray(pixels[..., 0], format="gray")
            frame.pts, frame.time_base = stamp, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    film = open_film(path)
    assert film.times is not None
    assert film.times.dtype == np.float64
    assert film.times == pytest.approx(np.array(stamps) / 100, abs=1e-12)


def test_time_stamps_that_do_not_ascend_are_no_times(makes):
    assert open_film(makes["open.avi"]).times is None
    assert open_film(makes["raw.h264"]).times is None
    film = open_film(makes["open.mp4"])
    assert np.diff(film.times) == pytest.approx(1 / 25)
    assert film.fps == 25


@pytest.mark.parametrize(
    ("kind", "codec", "channels", "dtype"),
    [
        ("gray", "ffv1", 1, np.uint8),
        ("gray16le", "ffv1", 1, np.uint16),
        ("gray16be", "png", 1, np.uint16),
        ("rgba", "png", 4, np.uint8),
        ("rgb24", "png", 3, np.uint8),
    ],
)
def test_kinds_of_frames_are_those_of_read(tmp_path, kind, codec, channels, dtype):
    frames = ramp(12, 20, 30, channels).astype(dtype) * (np.iinfo(dtype).max // 255)
    path = encode(tmp_path / "clip.avi", frames.astype(dtype), kind, codec)
    film, whole = open_film(path), read(path).frames
    assert film.dtype == whole.dtype == dtype
    assert film.shape == whole.shape[1:] == (20, 30, min(channels, 3))
    assert np.array_equal(film.take([11]), whole[[11]])
    if channels < 4:
        assert np.array_equal(whole, frames.astype(dtype))


def test_a_turned_film_is_upright(tmp_path):
    matrix = [0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30]
    path = encode(tmp_path / "turned.mp4", ramp(20, 16, 24), "rgb24", "libx264rgb", matrix)
    film = open_film(path)
    assert film.shape == (24, 16, 3)
    assert np.array_equal(film.take([3, 19]), read(path).frames[[3, 19]])


def test_a_change_of_size_is_refused(tmp_path):
    with (tmp_path / "clip.mjpeg").open("wb") as file:
        for size in ((32, 32), (32, 32), (48, 32)):
            Image.new("RGB", size, "red").save(file, "JPEG")
    with pytest.raises(InputError, match=r"frame 2 of .*clip\.mjpeg is \(32, 48, 3\)"):
        open_film(tmp_path / "clip.mjpeg")


# Reading again and again


def test_a_reader_goes_to_another_process(makes):
    reader = pickle.loads(pickle.dumps(open_film(makes["open.mp4"]).reader))
    expected = read(makes["open.mp4"]).frames[[100, 120]]
    assert np.array_equal(reader([100, 120]), expected)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert np.array_equal(pool.apply(reader, ([100, 120],)), expected)


def test_a_film_that_changed_is_refused(tmp_path):
    path = encode(tmp_path / "clip.avi", ramp(30, 16, 16), "rgb24", "png")
    film = open_film(path)
    encode(path, ramp(20, 16, 16), "rgb24", "png")
    for places in ([3], [29]):
        with pytest.raises(InputError, match=r"clip\.avi has changed since it was opened"):
            film.take(places)
    path.unlink()
    with pytest.raises(InputError, match="doesn't exist"):
        film.take([3])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts in /proc")
@pytest.mark.timeout(SLOW)
def test_a_thousand_reads_leave_nothing_behind(makes):
    """Neither open files nor memory, whether seeking goes well or not."""
    readers = [open_film(makes[name]) for name in ("open.mp4", "palette.avi", "mpeg2.mpg")]
    chance = random.Random(0)

    def some_reads(count: int) -> None:
        for _ in range(count):
            film = chance.choice(readers)
            start = chance.randrange(film.length - 8)
            film.take(range(start, start + 8))

    some_reads(200)
    files, memory = open_files(), resident_bytes()
    some_reads(1000)
    assert open_files() == files
    assert resident_bytes() - memory < 20 * 2**20


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# What is remembered


def no_decoding(path: Path) -> FilmIndex:
    raise AssertionError(f"{path} was decoded again")


def test_an_index_is_made_once_for_all_processes(tmp_path, own_cache, monkeypatch):
    path = encode(tmp_path / "clip.avi", ramp(30, 16, 16), "rgb24", "png")
    film = open_film(path)
    assert [file.suffix for file in own_cache.iterdir()] == [".npz"]
    monkeypatch.setattr(films, "_indexed", no_decoding)
    again = open_film(path)
    assert np.array_equal(again.take([7, 29]), ramp(30, 16, 16)[[7, 29]])
    assert (again.length, again.shape, again.dtype, again.fps) == (30, (16, 16, 3), "uint8", 10.0)
    assert np.array_equal(again.times, film.times)
    os.utime(path, ns=(1, 1))
    with pytest.raises(AssertionError, match="decoded again"):
        open_film(path)


def test_nothing_is_kept_of_damaged_films(tmp_path, own_cache):
    path = encode(tmp_path / "clip.avi", ramp(30, 16, 16), "rgb24", "png")
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(InputError, match="damaged after"):
        open_film(path)
    assert not own_cache.exists()


def test_off_keeps_nothing(tmp_path, monkeypatch):
    path = encode(tmp_path / "clip.avi", ramp(30, 16, 16), "rgb24", "png")
    monkeypatch.setenv("FRAMEFILL_CACHE", "off")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert open_film(path).length == 30
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the places of Linux")
@pytest.mark.parametrize(
    ("variable", "place"),
    [("", "home/.cache"), ("relative", "home/.cache"), ("{}/xdg", "xdg")],
)
def test_the_usual_place(tmp_path, monkeypatch, variable, place):
    path = encode(tmp_path / "clip.avi", ramp(30, 16, 16), "rgb24", "png")
    monkeypatch.delenv("FRAMEFILL_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", variable.format(tmp_path))
    open_film(path)
    assert [file.suffix for file in (tmp_path / place / "framefill").iterdir()] == [".npz"]


def test_a_cache_that_can_not_be_used_is_passed_over(tmp_path, monkeypatch):
    path = encode(tmp_path / "clip.avi", ramp(30, 16, 16), "rgb24", "png")
    (tmp_path / "file").write_text("no folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper", Path("/proc/none")):
        monkeypatch.setenv("FRAMEFILL_CACHE", str(folder))
        assert np.array_equal(open_film(path).take([9]), ramp(30, 16, 16)[[9]])


class Trap:
    """Tells if it is ever unpickled."""

    def __reduce__(self):
        return pytest.fail, ("an index was unpickled",)


def spoil(file: Path, how: str) -> None:
    with np.load(file) as arrays:
        content = dict(arrays)
    match how:
        case "text":
            file.write_text("nonsense")
        case "cut":
            file.write_bytes(file.read_bytes()[:-30])
        case "empty":
            file.write_bytes(b"")
        case "folder":
            file.unlink()
            file.mkdir()
        case "pickle":
            content["stamps"] = np.array([Trap()], object)
        case "foreign":
            content["film"] = np.array("another")
            for name in ("stamps", "sums", "keys"):
                content[name] = content[name][:20]
        case "missing":
            del content["sums"]
        case "shorter":
            content["sums"] = content["sums"][:-1]
        case "huge":
            content["shape"] = np.array([2**20, 2**20, 3])
        case "keys":
            content["keys"] = np.array([0, 99])
        case "rate":
            content["rate"] = np.array([1, 0])
        case "dtype":
            content["dtype"] = np.array("object")
    if how not in ("text", "cut", "empty", "folder"):
        np.savez(file, **content)


@pytest.mark.parametrize(
    "how",
    [
        *("text", "cut", "empty", "folder", "pickle", "foreign", "missing", "shorter", "huge"),
        *("keys", "rate", "dtype"),
    ],
)
def test_a_spoiled_index_is_made_anew(tmp_path, own_cache, how, monkeypatch):
    path = encode(tmp_path / "clip.avi", ramp(30, 16, 16), "rgb24", "png")
    open_film(path)
    (file,) = own_cache.iterdir()
    spoil(file, how)
    film = open_film(path)
    assert film.length == 30
    assert np.array_equal(film.take([28, 29]), ramp(30, 16, 16)[[28, 29]])
    if how != "folder":  # it was put right
        monkeypatch.setattr(films, "_indexed", no_decoding)
        assert open_film(path).length == 30


# Hostile files


@pytest.mark.parametrize(
    "name",
    [
        "12:30.avi",
        "50%d %03d.avi",
        "ü 影片.avi",
        "a b'c\"d.avi",
        "-i.avi",
        "file:x.avi",
        "#?&=.avi",
    ],
)
def test_names_of_all_kinds(tmp_path, monkeypatch, name):
    encode(tmp_path / "clip.avi", ramp(30, 16, 16), "rgb24", "png")
    (tmp_path / "clip.avi").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (Path(name), tmp_path / name):
        assert np.array_equal(open_film(path).take([3, 29]), ramp(30, 16, 16)[[3, 29]])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names are text elsewhere")
def test_a_name_that_is_no_text(tmp_path):
    encode(tmp_path / "clip.avi", ramp(30, 16, 16), "rgb24", "png")
    path = tmp_path / os.fsdecode(b"\xff\xfe.avi")
    (tmp_path / "clip.avi").rename(path)
    assert np.array_equal(open_film(path).take([3, 29]), ramp(30, 16, 16)[[3, 29]])


@pytest.mark.parametrize("side", [16000, 30000, 2**31 - 1])
def test_a_header_with_a_huge_size_is_refused(tmp_path, side):
    header = f"YUV4MPEG2 W{side} H{side} F25:1 C420jpeg\nFRAME\n"
    (tmp_path / "clip.y4m").write_bytes(header.encode() + bytes(999))
    with pytest.raises(InputError, match=r"clip\.y4m"):
        open_film(tmp_path / "clip.y4m")


@pytest.mark.parametrize("side", [1, 8000, 30000, 2**31 - 1])
def test_a_header_may_lie_about_the_size(tmp_path, side):
    path = encode(tmp_path / "clip.avi", ramp(30, 16, 16), "rgb24", "png")
    data = path.read_bytes()
    sizes = (16).to_bytes(4, "little") * 2
    assert data.count(sizes) == 2
    path.write_bytes(data.replace(sizes, side.to_bytes(4, "little") * 2))
    same_or_refused(path)


@pytest.mark.parametrize("playlist", ["ffconcat version 1.0\nfile a.avi\n", "#EXTM3U\na.avi\n"])
def test_playlists_can_not_open_other_files(tmp_path, playlist):
    encode(tmp_path / "a.avi", ramp(3, 16, 16), "rgb24", "png")
    (tmp_path / "clip.mp4").write_text(playlist)
    with pytest.raises(InputError, match="can't be opened as a video"):
        open_film(tmp_path / "clip.mp4")


def same_or_refused(path: Path) -> None:
    """A film is refused in the words of `read`, or any frame is that of `read`."""
    refusal = ""
    try:
        whole = read(path).frames
    except InputError as error:
        refusal = str(error)
    if refusal:
        with pytest.raises(InputError) as caught:
            open_film(path)
        assert str(caught.value) == refusal
        return
    film = open_film(path)
    assert film.length == len(whole)
    sure = defined(film)
    for places in some_places(film.length, 0):
        taken = film.take(places)
        assert all(
            np.array_equal(frame, whole[place])
            for frame, place in zip(taken, places, strict=True)
            if place in sure
        )


def defined(film: Footage) -> set[int]:
    """Frames that FFmpeg fills in wholly; in others, it leaves what its memory held before.

    What that was depends on how long others have held frames.
    """
    sure = set(range(film.length))
    for most in (1, 2, 4, 1000):
        held: deque[av.VideoFrame] = deque(maxlen=most)
        with films.opened_film(film.path) as opened:
            for number, frame in zip(range(film.length), films.decoded(opened), strict=False):
                held.append(frame)
                if checksum(frame) != film.reader.index.sums[number]:
                    sure.discard(number)
    return sure


SPOILED = ("open.mp4", "parts.mp4", "open.mkv", "open.ts", "mpeg4.avi", "vp9.webm", "loop.gif")


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("short")
    return {name: made(folder / name, *MAKES[name], frames=45).read_bytes() for name in SPOILED}


@pytest.mark.timeout(SLOW)
@pytest.mark.parametrize("name", SPOILED)
@given(data=st.data())
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_cut_and_flipped_bytes(short, tmp_path, name, data, monkeypatch):
    monkeypatch.setenv("FRAMEFILL_CACHE", "off")
    content = bytearray(short[name])
    head = st.integers(0, 2000)  # where flips are worst
    flips = st.tuples(head | st.integers(0, len(content) - 1), st.integers(0, 255))
    for place, value in data.draw(st.lists(flips, max_size=6)):
        content[min(place, len(content) - 1)] = value
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    (tmp_path / name).write_bytes(content)
    same_or_refused(tmp_path / name)
