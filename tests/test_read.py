"""Reading: every real file is read whole and right, or refused with a reason; and `fit`."""

import csv
import random
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from framefill.data.read import read, to_video
from framefill.data.video import Video
from framefill.errors import InputError

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no sample videos in {DATA}")


def manifest() -> list[dict[str, str]]:
    if not DATA.is_dir():
        return []
    with (DATA / "MANIFEST.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [row for row in rows if row["kind"] in ("clip", "edge") and row["frames"]]


def real(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"no sample video {DATA / name}")
    return DATA / name


def ramp(frames: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Frames whose first pixels tell their number."""
    rows, columns = np.mgrid[:height, :width]
    picture = (rows * 5 + columns * 3)[None, ..., None] + 40 * np.arange(channels)
    return (picture + 10 * np.arange(frames)[:, None, None, None]).astype(np.uint8)


def encode(path: Path, frames: np.ndarray, kind: str, codec: str, matrix=None) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], kind
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for index, pixels in enumerate(frames):
            picture = pixels[..., 0] if pixels.shape[2] == 1 else pixels
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=kind)
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


# Real files


@pytest.mark.parametrize("row", manifest(), ids=lambda row: row["file"])
def test_real_videos_are_read_whole(row):
    width, height = (int(side) for side in row["size"].split("x"))
    count, fps = int(row["frames"]), float(row["fps"])
    if "rotated" in row["file"]:
        width, height = height, width
    if "two_streams" in row["file"]:  # the second stream, which FFmpeg prefers
        count, width, height, fps = 390, 480, 270, 29.970
    start = max(0, count - 100)  # all are decoded, the last hundred kept: quicker
    video = read(DATA / row["file"], start=start)
    assert video.frames.shape == (count - start, height, width, 3)
    assert video.frames.dtype == np.uint8
    assert video.fps == pytest.approx(fps, abs=1e-3)


@needs_data
def test_too_few_frames_are_counted():
    with pytest.raises(InputError, match="has 51 frames, too few for frames=52 "):
        read(real("clips/bgs_demo_raw.avi"), frames=52)


@needs_data
@pytest.mark.parametrize("name", ["clips/dlc_mouse_reach.avi", "edge/unordered_4f.mov"])
def test_frames_come_in_the_order_of_display(name):
    """Neighbors in time look alike; the time stamps of this AVI would shuffle the frames."""
    frames = read(real(name), frames=4).frames.astype(float)
    near = [abs(frames[i + 1] - frames[i]).mean() for i in range(3)]
    far = abs(frames[3] - frames[0]).mean()
    assert far >= max(near)


@needs_data
def test_a_part_is_what_slicing_gives():
    path = real("clips/bgs_demo_raw.avi")
    whole = read(path).frames
    part = read(path, start=5, frames=4, every=7).frames
    assert np.array_equal(part, whole[5:33:7])
    assert np.array_equal(read(path, start=40, every=5).frames, whole[40::5])


@needs_data
def test_raw_pixels_are_exact():
    """The file holds uncompressed BGR rows from bottom to top behind each frame's chunk header."""
    path = real("clips/bgs_demo_raw.avi")
    data = path.read_bytes()
    at = data.index(b"00db", data.index(b"movi")) + 8
    raw = np.frombuffer(data, np.uint8, 48 * 48 * 3, at).reshape(48, 48, 3)
    assert np.array_equal(read(path, frames=1).frames[0], raw[::-1, :, ::-1])


@needs_data
def test_transparent_pixels_are_black():
    path = real("edge/transparent_1f.gif")
    with Image.open(path) as image:
        rgba = np.asarray(image.convert("RGBA"))
    seen = rgba[..., 3] == 255
    frame = read(path).frames[0]
    assert 0 < seen.sum() < seen.size
    assert np.array_equal(frame[seen], rgba[seen][:, :3])
    assert not frame[~seen].any()


# Damage


@needs_data
def test_damage_is_told_and_the_part_before_it_can_be_read():
    path = real("edge/corrupted.mp4")
    with pytest.raises(InputError, match=r"damaged after 28 frames \(.*\): frames=28 .* reads"):
        read(path)
    assert len(read(path, frames=28).frames) == 28
    with pytest.raises(InputError, match="damaged after 28 frames"):
        read(path, frames=29)
    with pytest.raises(InputError, match=r"frames=5 .* reads"):
        read(path, start=8, every=4)
    assert len(read(path, start=8, every=4, frames=5).frames) == 5
    with pytest.raises(InputError, match="give another file"):
        read(path, start=40)


@needs_data
def test_damage_does_not_hang_with_logging_on():
    code = (
        "import sys, av; av.logging.set_level(av.logging.ERROR)\n"
        "from framefill.data.read import read\n"
        "try: read(sys.argv[1])\n"
        "except ValueError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(real("edge/corrupted.mp4"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "damaged after 28 frames" in done.stdout


@needs_data
@pytest.mark.parametrize("share", [0.55, 0.8, 0.97])
@pytest.mark.parametrize(
    "name",
    [
        "mmaction_ucf_style.avi",  # at 0.8 FFmpeg gives half a frame for a whole one
        "dlc_mouse_reach.avi",
        "bgs_demo_raw.avi",
        "intel_people.gif",
        "decord_pancake.mkv",
        "udacity_road38.mp4",
    ],
)
def test_files_that_were_cut_off_are_refused_and_the_rest_is_true(tmp_path, name, share):
    path = real(f"clips/{name}")
    data = path.read_bytes()
    cut = tmp_path / name
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="damaged after") as caught:
        read(cut)
    count = int(str(caught.value).split("frames=")[1].split()[0])
    assert count > 5
    tail = read(cut, start=count - 2, frames=2).frames
    assert np.array_equal(tail, read(path, start=count - 2, frames=2).frames)


@needs_data
@pytest.mark.parametrize("name", ["sleap_small_robot.mp4", "pims_bulk_water.mov"])
def test_files_without_their_index_are_refused(tmp_path, name):
    data = real(f"clips/{name}").read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 9 // 10])
    with pytest.raises(InputError, match="can't be opened as a video"):
        read(tmp_path / name)


def test_a_picture_that_was_cut_in_the_middle_is_no_frame(tmp_path):
    """FFmpeg would give its upper half and gray below, without an error."""
    frames = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    with av.open(tmp_path / "clip.mov", "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuvj420p"
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels).reformat(format="yuvj420p")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    whole, data = read(tmp_path / "clip.mov").frames, (tmp_path / "clip.mov").read_bytes()
    (tmp_path / "clip.mov").write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(InputError, match=r"damaged after 3 frames .* frames=3 .* reads"):
        read(tmp_path / "clip.mov")
    assert np.array_equal(read(tmp_path / "clip.mov", frames=3).frames, whole[:3])


@pytest.mark.parametrize("seed", range(8))
def test_flipped_bytes_never_shorten_a_clip(tmp_path, seed):
    path = encode(tmp_path / "clip.avi", ramp(12, 48, 64), "rgb24", "png")
    data, chance = bytearray(path.read_bytes()), random.Random(seed)
    start = data.index(b"movi") + 4
    for _ in range(3):
        data[chance.randrange(start, len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    try:
        count = len(read(path).frames)
    except InputError:
        return
    assert count == 12


def test_refusals(tmp_path):
    def refused(name, match, content=None):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=match):
            read(tmp_path / name)

    refused("none.mp4", "doesn't exist")
    refused("empty.webm", "is empty", b"")
    refused("text.mp4", "can't be opened as a video", b"hello\n" * 100)
    refused("text.png", "can't be read as an image", b"hello\n" * 100)
    refused("text.npy", "can't be read as an array", b"hello\n" * 100)
    refused("text.npz", "can't be read as an array", b"hello\n" * 100)
    (tmp_path / "folder").mkdir()
    refused("folder", "holds no images")


def test_sound_alone_is_no_video(tmp_path):
    with av.open(tmp_path / "sound.mkv", "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.rate, sound.pts = 8000, 0
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="no video stream"):
        read(tmp_path / "sound.mkv")


def test_an_unknown_codec_is_refused(tmp_path):
    path = encode(tmp_path / "clip.avi", ramp(3, 16, 16), "rgb24", "png")
    path.write_bytes(path.read_bytes().replace(b"MPNG", b"QQQQ"))
    with pytest.raises(InputError, match="no video stream that FFmpeg decodes"):
        read(path)


@pytest.mark.parametrize(
    "playlist",
    ["ffconcat version 1.0\nfile inner.avi\n", "#EXTM3U\n#EXTINF:1,\ninner.avi\n#EXT-X-ENDLIST\n"],
)
def test_playlists_can_not_open_other_files(tmp_path, playlist):
    encode(tmp_path / "inner.avi", ramp(3, 16, 16), "rgb24", "png")
    (tmp_path / "clip.mp4").write_text(playlist)
    with pytest.raises(InputError, match="can't be opened as a video"):
        read(tmp_path / "clip.mp4")


# Videos made here


def test_names_that_look_like_addresses_can_be_read(tmp_path, monkeypatch):
    frames = ramp(3, 16, 16)
    encode(tmp_path / "12:30.avi", frames, "rgb24", "png")
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(read("12:30.avi").frames, frames)


@pytest.mark.parametrize(("kind", "dtype"), [("gray", np.uint8), ("gray16le", np.uint16)])
def test_gray_videos_keep_one_channel_and_their_bits(tmp_path, kind, dtype):
    frames = (ramp(5, 20, 30, 1).astype(dtype) * np.iinfo(dtype).max // 255).astype(dtype)
    video = read(encode(tmp_path / "gray.mkv", frames, kind, "ffv1"))
    assert video.frames.dtype == dtype
    assert np.array_equal(video.frames, frames)


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
@pytest.mark.parametrize("turned", [False, True])
def test_display_matrices_are_applied(tmp_path, turned, signs):
    a, b, c, d = (0, signs[0], signs[1], 0) if turned else (signs[0], 0, 0, signs[1])
    matrix = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    frames = ramp(2, 16, 24)
    path = encode(tmp_path / "turned.mp4", frames, "rgb24", "libx264rgb", matrix)
    raw = read(encode(tmp_path / "plain.mp4", frames, "rgb24", "libx264rgb")).frames
    y, x = np.mgrid[:16, :24]
    new_x, new_y = a * x + c * y, b * x + d * y
    expected = np.zeros((2, 24, 16, 3) if turned else (2, 16, 24, 3), np.uint8)
    expected[:, new_y - new_y.min(), new_x - new_x.min()] = raw
    assert np.array_equal(read(path).frames, expected)


def test_odd_angles_are_refused(tmp_path):
    matrix = [46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30]
    path = encode(tmp_path / "odd.mp4", ramp(2, 16, 16), "rgb24", "libx264rgb", matrix)
    with pytest.raises(InputError, match="odd angle"):
        read(path)


def test_a_change_of_size_is_refused(tmp_path):
    with (tmp_path / "clip.mjpeg").open("wb") as file:
        for size in ((32, 32), (32, 32), (48, 32)):
            Image.new("RGB", size, "red").save(file, "JPEG")
    with pytest.raises(InputError, match=r"frame 2 of .*clip\.mjpeg is \(32, 48, 3\)"):
        read(tmp_path / "clip.mjpeg")
    assert read(tmp_path / "clip.mjpeg", frames=2).frames.shape == (2, 32, 32, 3)


@pytest.mark.parametrize("kind", ["avi", "npy", "npz", "folder"])
def test_the_limit_is_kept(tmp_path, kind):
    frames, path = ramp(6, 16, 16), tmp_path / f"clip.{kind}"
    if kind == "avi":
        encode(path, frames, "rgb24", "png")
    elif kind == "folder":
        path.mkdir()
        for index, frame in enumerate(frames):
            Image.fromarray(frame).save(path / f"{index}.png")
    else:
        {"npy": np.save, "npz": np.savez}[kind](path, frames)
    assert np.array_equal(read(path, limit_bytes=frames.nbytes).frames, frames)
    if kind == "npz":
        with pytest.raises(InputError, match="above the limit"):
            read(path, limit_bytes=1)
        return
    with pytest.raises(InputError, match=r"6 frames of 16x16x3 .* above the limit .* frames="):
        read(path, limit_bytes=frames.nbytes - 1)
    with pytest.raises(InputError, match="1 frames of 16x16"):
        read(path, frames=1, limit_bytes=255)
    assert len(read(path, start=1, every=2, frames=2, limit_bytes=2 * 768).frames) == 2


@pytest.mark.parametrize(
    ("part", "match"),
    [
        ({"start": -1}, "start=-1 is negative"),
        ({"frames": 0}, "frames=0 asks for nothing"),
        ({"every": 0}, "every=0 never moves on"),
        ({"start": 4}, "has 4 frames: start=4 is past its end"),
        ({"start": 1, "every": 2, "frames": 3}, "ask for at most 2"),
    ],
)
@pytest.mark.parametrize("name", ["clip.npy", "clip.avi"])
def test_impossible_parts_are_refused(tmp_path, part, match, name):
    if name == "clip.avi":
        encode(tmp_path / name, ramp(4, 16, 16), "rgb24", "png")
    else:
        np.save(tmp_path / name, ramp(4, 16, 16))
    with pytest.raises(InputError, match=match):
        read(tmp_path / name, **part)


# Folders and images


def test_folders_are_read_in_natural_order(tmp_path):
    frames = ramp(12, 8, 10)
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"Frame{index}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / "._Frame1.png").write_text("not a frame either")
    video = read(tmp_path)
    assert np.array_equal(video.frames, frames)
    assert video.fps is None
    assert np.array_equal(read(tmp_path, start=1, every=5).frames, frames[1::5])


@pytest.mark.parametrize(
    ("array", "name"),
    [(np.zeros((8, 9, 3), np.uint8), "size.png"), (np.zeros((8, 10), np.uint8), "gray.png")],
)
def test_frames_that_differ_are_named(tmp_path, array, name):
    Image.fromarray(ramp(1, 8, 10)[0]).save(tmp_path / "a.png")
    Image.fromarray(array).save(tmp_path / name)
    with pytest.raises(InputError, match=name):
        read(tmp_path)


@pytest.mark.parametrize(
    ("array", "suffix"),
    [
        (ramp(1, 5, 7, 1)[0, ..., 0], ".png"),
        (ramp(1, 5, 7, 1)[0, ..., 0].astype(np.uint16) * 257, ".png"),
        (ramp(1, 5, 7, 1)[0, ..., 0].astype(np.float32) / 7, ".tif"),
        (ramp(1, 5, 7)[0], ".bmp"),
    ],
)
def test_images_keep_their_values(tmp_path, array, suffix):
    Image.fromarray(array).save(tmp_path / f"image{suffix}")
    frames = read(tmp_path / f"image{suffix}").frames
    assert frames.dtype == array.dtype
    assert np.array_equal(frames[0], array.reshape(5, 7, -1))


def test_pages_are_frames(tmp_path):
    frames = ramp(4, 6, 5)
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    assert np.array_equal(read(tmp_path / "stack.tif", start=1).frames, frames[1:])


def test_half_transparent_images_are_composed_on_black(tmp_path):
    Image.new("RGBA", (4, 3), (200, 100, 50, 51)).save(tmp_path / "image.png")
    assert read(tmp_path / "image.png").frames[0, 0, 0].tolist() == [40, 20, 10]


def test_images_that_can_not_be_read_are_named(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (50, 50), np.uint8)).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "z.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"z\.png can't be read"):
        read(tmp_path)
    Image.fromarray(np.zeros((4, 4), np.int32)).save(tmp_path / "integers.tif")
    assert read(tmp_path / "integers.tif").frames.dtype == np.float64  # which holds them all


def test_image_bombs_are_refused(tmp_path):
    header = b"P5 100000 100000 255\n"  # ten gigapixels in 21 bytes
    (tmp_path / "bomb.png").write_bytes(header + bytes(9))
    with pytest.raises(InputError, match="can't be read as an image"):
        read(tmp_path / "bomb.png")


# Arrays


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", ">f8"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_array_files_keep_every_bit(tmp_path, dtype, suffix):
    frames = ramp(5, 6, 7, 2).astype(dtype)
    {".npy": np.save, ".npz": np.savez}[suffix](tmp_path / f"clip{suffix}", frames)
    video = read(tmp_path / f"clip{suffix}", start=1, every=3)
    assert np.array_equal(video.frames, frames[1::3])
    assert video.frames.dtype == np.dtype(dtype).newbyteorder("=")


def test_archives_of_several_arrays_need_a_name(tmp_path):
    frames = ramp(3, 4, 5)
    np.savez(tmp_path / "some.npz", a=frames, b=frames)
    with pytest.raises(InputError, match=r"2 arrays that can be a video: a \(.*, b \("):
        read(tmp_path / "some.npz")
    np.savez(tmp_path / "named.npz", frames=frames, b=frames[:1], fps=12.5)
    video = read(tmp_path / "named.npz")
    assert np.array_equal(video.frames, frames)
    assert video.fps == 12.5


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_objects_and_damage_in_array_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    {".npy": np.save, ".npz": np.savez}[suffix](path, np.array([[[{}]]], object))
    with pytest.raises(InputError, match="clip"):
        read(path)
    {".npy": np.save, ".npz": np.savez}[suffix](path, ramp(3, 30, 30))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"can't be read as|of its 8228 bytes"):
        read(path)


def test_archives_that_lie_about_their_size_are_refused(tmp_path):
    np.save(tmp_path / "small.npy", ramp(3, 8, 8))
    data = (tmp_path / "small.npy").read_bytes()
    lie = data.replace(b"(3, 8, 8, 3), }    ", b"(3, 8, 8, 3000000)}")
    assert lie != data
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive:
        archive.writestr("frames.npy", lie)
    with pytest.raises(InputError, match="above the limit"):
        read(tmp_path / "lie.npz", limit_bytes=10**6)


def test_to_video_takes_what_users_have(tmp_path):
    frames = ramp(3, 4, 5)
    video = Video(frames, fps=3.0)
    assert to_video(video) is video
    assert to_video(frames).frames is frames
    assert to_video(frames[..., 0]).frames.shape == (3, 4, 5, 1)
    np.save(tmp_path / "clip.npy", frames)
    assert np.array_equal(to_video(str(tmp_path / "clip.npy")).frames, frames)


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros((4, 5)), r"shape \(4, 5\)"),
        (np.zeros((1, 2, 3, 4, 5)), r"shape \(1, 2, 3, 4, 5\)"),
        (np.zeros((0, 4, 5, 3)), "holds nothing"),
        (np.zeros((2, 4, 5), np.int64), "dtype int64"),
        (np.zeros((2, 4, 5), bool), "dtype bool"),
        (np.ma.masked_equal(np.eye(3, dtype=np.uint8)[None], 1), "no NaN for missing"),
    ],
)
def test_arrays_that_are_no_video_are_refused(array, match):
    with pytest.raises(InputError, match=match):
        to_video(array)


def test_masked_values_become_nan():
    masked = np.ma.masked_equal(np.arange(12.0).reshape(1, 3, 4), 5)
    frames = to_video(masked).frames
    assert np.isnan(frames[0, 1, 1, 0])
    assert np.isfinite(frames).sum() == 11


# Fitting


def test_what_fits_is_not_touched():
    video = Video(ramp(3, 8, 9))
    assert video.fit(height=8, width=9, channels=3, how="stretch") is video


@pytest.mark.parametrize("size", [(8, 8), (31, 17), (100, 130)])
@pytest.mark.parametrize("channels", [1, 3])
def test_stretch_is_pillows_bicubic(size, channels):
    frames = np.random.default_rng(0).integers(0, 256, (2, 40, 60, channels), np.uint8)
    video = Video(frames, fps=5.0, units="K", source="x")
    fitted = video.fit(height=size[1], width=size[0], channels=channels, how="stretch")
    for frame, new in zip(frames, fitted.frames, strict=True):
        image = Image.fromarray(frame.squeeze()).resize(size, Image.Resampling.BICUBIC)
        assert np.array_equal(new.squeeze(), np.asarray(image))
    assert (fitted.fps, fitted.units, fitted.source) == (5.0, "K", "x")


@given(*(st.integers(2, 40) for _ in range(4)))
@settings(max_examples=60, deadline=None)
def test_crop_is_pillows_fit(height, width, new_height, new_width):
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    size = (new_width, new_height)
    fitted = Video(frame[None]).fit(height=new_height, width=new_width, channels=3, how="crop")
    assert fitted.frames.shape == (1, new_height, new_width, 3)
    if new_height / height == 1 or new_width / width == 1:
        return  # Pillow may cut between pixels there; the next test has its own law
    expected = np.asarray(ImageOps.fit(Image.fromarray(frame), size, Image.Resampling.BICUBIC))
    assert abs(fitted.frames[0].astype(int) - expected).max() <= 1


@given(st.integers(0, 9), st.sampled_from(["uint8", "uint16", "float32"]), st.booleans())
def test_a_crop_without_resizing_keeps_every_value(extra, dtype, tall):
    frames = ramp(2, 12 + extra * tall, 12 + extra * (not tall)).astype(dtype)
    if dtype == "float32":
        frames[0, 3, 4] = np.nan
    fitted = Video(frames).fit(height=12, width=12, channels=3, how="crop").frames
    half = extra // 2
    top, left = (half, 0) if tall else (0, half)
    expected = frames[:, top : top + 12, left : left + 12]
    assert np.array_equal(fitted, expected, equal_nan=dtype == "float32")


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float16", "float32", "float64"])
def test_other_dtypes_are_resized_alike(dtype):
    frames = ramp(2, 20, 20) // 2 + 60
    exact = Video(frames).fit(height=13, width=29, channels=3, how="stretch").frames
    fitted = Video(frames.astype(dtype)).fit(height=13, width=29, channels=3, how="stretch").frames
    assert fitted.dtype == dtype
    assert abs(fitted.astype(float) - exact).max() <= 1


def test_integers_do_not_wrap_at_edges():
    frames = np.zeros((1, 8, 8, 1), np.uint16)
    frames[:, :, 4:] = 65535
    fitted = Video(frames).fit(height=16, width=16, channels=1, how="stretch").frames[0, 0, :, 0]
    assert (np.diff(fitted.astype(int)) >= 0).all()


def test_missing_frames_stay_missing_and_holes_are_resized_with_their_frame():
    frames = ramp(3, 8, 8, 1).astype(np.float32)
    frames[1] = np.nan
    fitted = Video(frames).fit(height=4, width=4, channels=1, how="stretch").frames
    assert np.isnan(fitted[1]).all()
    assert np.isfinite(fitted[[0, 2]]).all()
    frames[2] = 7.0
    frames[2, :4, :4] = np.nan
    fitted = Video(frames).fit(height=4, width=4, channels=1, how="stretch").frames[2, ..., 0]
    hole = np.zeros((4, 4), bool)
    hole[:2, :2] = True
    assert np.array_equal(np.isnan(fitted), hole)
    assert fitted[~hole] == pytest.approx(7.0)  # what is there is not mixed with what is not
    frames[2, 6, 6] = np.inf
    with pytest.raises(InputError, match="frame 2 of the video holds infinite values"):
        Video(frames).fit(height=4, width=4, channels=1, how="stretch")


def test_luma_is_pillows():
    frames = np.random.default_rng(0).integers(0, 256, (2, 30, 30, 3), np.uint8)
    gray = Video(frames).fit(height=30, width=30, channels=1, how="stretch").frames
    expected = [np.asarray(Image.fromarray(frame).convert("L")) for frame in frames]
    assert np.array_equal(gray[..., 0], np.stack(expected))
    for dtype in ("float16", "float32", "uint16"):
        other = Video(frames.astype(dtype)).fit(height=30, width=30, channels=1, how="stretch")
        assert abs(other.frames - gray.astype(float)).max() <= 0.7


def test_channels_are_converted_or_refused():
    gray, color = Video(ramp(2, 4, 4, 1)), Video(ramp(2, 4, 4))
    tripled = gray.fit(height=4, width=4, channels=3, how="crop").frames
    assert all(np.array_equal(tripled[..., i], gray.frames[..., 0]) for i in range(3))
    opaque = np.concatenate([color.frames, np.full((2, 4, 4, 1), 255, np.uint8)], axis=3)
    fitted = Video(opaque).fit(height=4, width=4, channels=3, how="crop").frames
    assert np.array_equal(fitted, color.frames)
    opaque[1, 2, 2, 3] = 254
    with pytest.raises(InputError, match="alpha below 255"):
        Video(opaque).fit(height=4, width=4, channels=3, how="crop")
    with pytest.raises(InputError, match="has 2 channels and the model needs 3"):
        Video(ramp(2, 4, 4, 2)).fit(height=4, width=4, channels=3, how="crop")
    with pytest.raises(InputError, match="put the channel axis last"):
        Video(np.zeros((2, 3, 8, 8), np.uint8)).fit(height=8, width=8, channels=3, how="crop")
