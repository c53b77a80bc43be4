"""Writing: what is read back is what was written, and nothing is lost by accident."""

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from PIL import Image

from framefill.data.read import read
from framefill.data.write import to_pixels, write
from framefill.errors import InputError
from framefill.files import replacing


def waves(frames: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth moving colors, as video codecs expect them."""
    y, x = np.mgrid[:height, :width]
    time = np.arange(frames)[:, None, None]
    bands = [np.sin((x + time) / 19), np.cos((y - time) / 17), np.sin((x + y + time) / 23)]
    return (128 + 100 * np.stack(bands[:channels], axis=-1)).astype(np.uint8)


def distance(path: Path, frames: np.ndarray) -> float:
    return float(abs(read(path).frames.astype(float) - frames).mean())


# Round trips


@given(frames=nps.arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 3, st.sampled_from([1, 3]))))
@settings(max_examples=25, deadline=None)
def test_folders_and_arrays_come_back_exactly(tmp_path_factory, frames):
    folder = tmp_path_factory.mktemp("out")
    for name in ("clip.npy", "clip.npz", "clip"):
        write(folder / name, frames, fps=None)
        assert np.array_equal(read(folder / name).frames, frames)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".NPY"])
def test_arrays_keep_dtype_and_missing_values(tmp_path, dtype, suffix):
    frames = waves(3, 4, 5).astype(dtype)
    if frames.dtype.kind == "f":
        frames[1, 2, 3] = np.nan
    path = tmp_path / f"clip{suffix}"
    write(path, frames, fps=12.5, value_range=(0, 1))
    video = read(path)
    assert video.frames.dtype == frames.dtype
    assert video.frames.tobytes() == frames.tobytes()
    assert video.fps == (12.5 if suffix == ".npz" else None)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("height", "width", "kind"),
    [(48, 64, "yuv420p"), (47, 64, "yuv444p"), (48, 63, "yuv444p"), (1, 1, "yuv444p")],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_mp4_is_close(tmp_path, height, width, kind, channels):
    frames = waves(7, height, width, channels)
    write(tmp_path / "clip.mp4", frames, fps=30000 / 1001)
    video = read(tmp_path / "clip.mp4")
    assert video.frames.shape == (7, height, width, 3)
    assert video.fps == pytest.approx(30000 / 1001, rel=1e-9)
    assert distance(tmp_path / "clip.mp4", frames) < 2
    with av.open(tmp_path / "clip.mp4") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == kind
        assert stream.codec_context.name == "h264"
        assert (stream.colorspace, stream.color_range) == (1, 1)  # BT.709, limited: as converted


def test_mp4_keeps_colors(tmp_path):
    """A wrong color matrix is off by tens for saturated colors."""
    frames = np.zeros((3, 16, 48, 3), np.uint8)
    frames[:, :, :16, 0] = frames[:, :, 16:32, 1] = frames[:, :, 32:, 2] = 220
    write(tmp_path / "clip.mp4", frames, fps=8)
    middles = read(tmp_path / "clip.mp4").frames[:, 8, [8, 24, 40]]
    assert abs(middles.astype(int) - frames[:, 8, [8, 24, 40]]).max() <= 4


def test_mp4_can_start_before_it_is_loaded(tmp_path):
    write(tmp_path / "clip.mp4", waves(3, 16, 16), fps=8)
    data = (tmp_path / "clip.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("channels", [1, 3])
def test_gif_is_exact_for_few_colors(tmp_path, channels):
    palette = np.random.default_rng(0).integers(0, 256, (256, channels), np.uint8)
    frames = palette[np.random.default_rng(1).integers(0, 256, (5, 40, 30))]
    frames[3] = frames[2]  # a still moment stays two frames
    write(tmp_path / "clip.gif", frames, fps=8)
    video = read(tmp_path / "clip.gif")
    assert np.array_equal(video.frames, np.broadcast_to(frames, (5, 40, 30, 3)))
    with Image.open(tmp_path / "clip.gif") as image:
        assert image.info["loop"] == 0
        delays = []
        for page in range(image.n_frames):
            image.seek(page)
            delays.append(image.info["duration"])
    assert len(delays) == 5
    assert sum(delays) == 620  # 5 / 8 s in hundredths, the odd one rounded to even


def test_gif_is_close_for_many_colors(tmp_path):
    frames = waves(3, 64, 64)
    write(tmp_path / "clip.gif", frames, fps=None)
    assert distance(tmp_path / "clip.gif", frames) < 4


@pytest.mark.parametrize("name", ["clip.gif", "clip", "clip.mp4"])
def test_enlarging_repeats_pixels(tmp_path, name):
    frames = waves(2, 8, 6, 1)
    write(tmp_path / name, frames, fps=8, enlarge=3)
    large = frames.repeat(3, axis=1).repeat(3, axis=2)
    assert read(tmp_path / name).frames.shape[1:3] == (24, 18)
    assert distance(tmp_path / name, large) < (2 if name == "clip.mp4" else 1e-9)


def test_folders_name_frames_in_order(tmp_path):
    write(tmp_path / "new" / "folder", waves(12, 4, 4), fps=None)
    names = sorted(entry.name for entry in (tmp_path / "new" / "folder").iterdir())
    assert names == [f"frame_{index:04d}.png" for index in range(12)]


# Values to pixels


def test_the_range_becomes_black_to_white():
    values = np.array([-np.inf, -9, 2, 3, 4, 99, np.inf, np.nan]).reshape(1, 2, 4, 1)
    pixels = to_pixels(values, (2, 4))
    assert pixels.ravel().tolist() == [0, 0, 0, 128, 255, 255, 255, 0]


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float16, np.float32, np.float64])
def test_pixels_of_other_dtypes_are_linear(dtype):
    values = np.arange(256).reshape(1, 16, 16, 1)
    assert np.array_equal(to_pixels((values * 3 + 7).astype(dtype), (7, 772)), values)


def test_uint8_is_passed_through_or_stretched():
    frames = waves(2, 4, 4)
    assert to_pixels(frames, None) is frames
    assert np.array_equal(to_pixels(frames, (0, 255)), frames)
    assert to_pixels(np.full((1, 1, 1, 1), 60, np.uint8), (50, 70)).item() == 128


@pytest.mark.parametrize("extreme", [(-8e307, 8e307), (0.0, 5e-324)])
def test_extreme_ranges_do_not_overflow(extreme):
    pixels = to_pixels(np.array(extreme).reshape(1, 1, 2, 1), extreme)
    assert pixels.ravel().tolist() == [0, 255]


# Refusals


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("clip.mp5", {}, r"unknown suffix \.mp5: use \.mp4, \.gif, \.npy, \.npz"),
        ("frame.png", {}, r"unknown suffix \.png: .* folder of \.png images"),
        ("clip.mp4", {"fps": 0.0}, "fps=0.0 is out of range"),
        ("clip.mp4", {"fps": float("nan")}, "fps=nan is out of range"),
        ("clip.gif", {"fps": 60.0}, "too fast for .gif"),
        ("clip.mp4", {"enlarge": 0}, "enlarge=0 is no factor"),
        ("clip.mp4", {"enlarge": 5000}, "20000x20000 are too large"),
        ("clip.npy", {"enlarge": 2}, "enlarge=2 is for pictures"),
        ("clip.gif", {"value_range": (3.0, 3.0)}, "is no range"),
        ("clip.gif", {"value_range": (0.0, float("inf"))}, "is no range"),
        ("clip.gif", {"value_range": (-1.7e308, 1.7e308)}, "is no range"),
        ("clip.mp4", {"frames": np.zeros((2, 4, 4, 2), np.uint8)}, "2 channels"),
        ("clip.npy", {"frames": np.zeros((0, 4, 4, 3), np.uint8)}, "nothing to write"),
        ("clip.mp4", {"frames": np.zeros((2, 4, 4, 1))}, "pass value_range"),
        ("..", {}, "no name"),
    ],
)
def test_what_can_not_be_written_is_refused(tmp_path, name, options, match):
    arguments = {"frames": waves(2, 4, 4), "fps": None, **options}
    with pytest.raises(InputError, match=match):
        write(tmp_path / name, overwrite=True, **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip.npy", "clip.npz", "clip"])
def test_nothing_is_overwritten_unless_asked(tmp_path, name):
    old, new = waves(2, 8, 8), waves(5, 8, 8)
    write(tmp_path / name, old, fps=8)
    with pytest.raises(InputError, match="exists: choose another name or pass --overwrite"):
        write(tmp_path / name, new, fps=8)
    assert len(read(tmp_path / name).frames) == 2
    write(tmp_path / name, new, fps=8, overwrite=True)
    assert len(read(tmp_path / name).frames) == 5
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_folders_with_other_files_are_never_replaced(tmp_path):
    write(tmp_path / "clip", waves(2, 8, 8), fps=None)
    (tmp_path / "clip" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"holds other files \(thesis\.txt\)"):
        write(tmp_path / "clip", waves(2, 8, 8), fps=None, overwrite=True)
    assert (tmp_path / "clip" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write(tmp_path / "folder.mp4", waves(2, 8, 8), fps=None, overwrite=True)


def test_a_place_that_can_not_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"):
        write(tmp_path / "file" / "clip.npy", waves(2, 8, 8), fps=None)


@pytest.mark.parametrize("name", ["clip.npz", "clip"])
def test_a_failure_leaves_the_old_and_no_rest(tmp_path, name):
    """An interrupt in the middle, from an array that can't be converted to the end."""
    write(tmp_path / name, waves(2, 8, 8), fps=None)

    def interrupted() -> None:
        with replacing(tmp_path / name, overwrite=True, folder=name == "clip") as temporary:
            if name == "clip":
                temporary.mkdir()
                (temporary / "frame_0000.png").write_bytes(b"half")
            else:
                temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert len(read(tmp_path / name).frames) == 2
