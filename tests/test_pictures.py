"""Images as frames: what Pillow reads, upright and exact, and only when it is asked for."""

import contextlib
import itertools
import pickle
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from test_read import ramp

from framefill.data.footage import Footage
from framefill.data.pictures import open_folder, open_pages, open_pictures, pillow_reads
from framefill.data.read import read
from framefill.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F")


def folder_of(path: Path, frames: np.ndarray, suffix: str = ".png") -> Path:
    path.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame.squeeze()).save(path / f"frame{index}{suffix}")
    return path


def image_of(mode: str) -> Image.Image:
    rows, columns = np.mgrid[:6, :10]
    picture = (rows * 20 + columns * 11).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(picture.astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(picture.astype(np.float32) / 7)
    image = Image.fromarray(np.stack([picture, picture + 9, picture[::-1]], axis=2))
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(255 - picture))
    return image.convert(mode)


def save(image: Image.Image, path: Path, **options: object) -> Path:
    """Write an image; one of a mode that the format doesn't have is no case."""
    try:
        image.save(path, **options)
    except (OSError, ValueError):
        pytest.skip(f"no {image.mode} in {path.suffix}")
    return path


def check(footage: Footage, expected: np.ndarray) -> None:
    """All that can be asked of footage, against the frames that it holds."""
    assert (footage.length, *footage.shape) == expected.shape
    assert footage.dtype == expected.dtype
    chance, last = random.Random(0), len(expected) - 1
    asked = [range(len(expected)), [last], [0, last], [last, last]]
    asked += [sorted(chance.choices(range(len(expected)), k=3)) for _ in range(4)]
    for places in asked:
        assert np.array_equal(footage.take(places), expected[list(places)])


# What frames are


def test_a_folder_is_in_natural_order(tmp_path):
    frames = ramp(12, 8, 10)
    folder = folder_of(tmp_path / "frames", frames)
    (folder / "notes.txt").write_text("not a frame")
    (folder / "._frame1.png").write_text("not a frame either")
    footage = open_folder(folder)
    check(footage, frames)
    assert (footage.name, footage.path) == (str(folder), folder)
    assert footage.fps is footage.times is None


def test_pictures_come_in_the_order_given(tmp_path):
    frames = ramp(5, 8, 10)
    paths = sorted(folder_of(tmp_path / "frames", frames).iterdir())
    footage = open_pictures(paths[::-1], "backwards", tmp_path)
    check(footage, frames[::-1])
    assert (footage.name, footage.path) == ("backwards", tmp_path)


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".webp", ".png"])
def test_pages_are_frames(tmp_path, suffix):
    frames = ramp(9, 16, 24)
    first, *others = (Image.fromarray(frame) for frame in frames)
    path = tmp_path / f"pages{suffix}"
    first.save(path, save_all=True, append_images=others, lossless=True)
    check(open_pages(path), frames)
    assert np.array_equal(read(path).frames, frames)


def test_a_lone_image_is_one_frame(tmp_path):
    frame = ramp(1, 8, 10)
    Image.fromarray(frame[0]).save(tmp_path / "lone.png")
    check(open_pages(tmp_path / "lone.png"), frame)


def test_other_views_of_a_camera_are_no_frames(tmp_path):
    views = [Image.fromarray(frame) for frame in ramp(2, 16, 16)]
    views[0].save(tmp_path / "camera.jpg", "MPO", save_all=True, append_images=views[1:])
    assert open_pages(tmp_path / "camera.jpg").length == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("mode", MODES)
def test_the_header_tells_what_the_frame_will_be(tmp_path, mode, suffix):
    image = image_of(mode)
    path = save(image, tmp_path / f"image{suffix}")
    frames = read(path).frames
    check(open_pages(path), frames)
    (tmp_path / "folder").mkdir()
    path.rename(tmp_path / "folder" / path.name)
    check(open_folder(tmp_path / "folder"), frames)
    exact = suffix not in (".jpg", ".jpeg", ".webp")
    if mode in ("L", "I;16", "F", "RGB") and exact:
        assert np.array_equal(frames[0].squeeze(), np.asarray(image))
    if mode in ("LA", "RGBA") and exact and suffix != ".bmp":  # Pillow passes over its alpha
        color, alpha = np.split(np.asarray(image.convert("RGBA")).astype(float), [3], axis=2)
        assert abs(frames[0] - color * alpha / 255).max() <= 0.5


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = image_of("RGB")
    path = save(image, tmp_path / f"image{suffix}", exif=exif.tobytes())
    plain = save(image, tmp_path / f"plain{suffix}")
    with Image.open(plain) as seen:
        flat = seen.convert("RGB")
    flat.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(flat))
    assert expected.shape == ((10, 6, 3) if orientation > 4 else (6, 10, 3))
    check(open_pages(path), expected[None])


# What is loaded, and when


def test_opening_decodes_nothing(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 64, 64, 3), np.uint8)
    folder = folder_of(tmp_path / "frames", frames, ".bmp")
    for name in ("frame0.bmp", "frame2.bmp"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])
    footage = open_folder(folder)
    assert footage.shape == (64, 64, 3)
    assert np.array_equal(footage.take([1]), frames[[1]])
    for place in (0, 2):
        with pytest.raises(InputError, match=rf"frame{place}\.bmp can't be read as an image"):
            footage.take([1, place] if place else [place])


def test_another_size_is_refused_when_it_is_read(tmp_path):
    folder = folder_of(tmp_path / "frames", ramp(3, 8, 10))
    Image.new("RGB", (11, 8)).save(folder / "frame1.png")
    Image.new("L", (10, 8)).save(folder / "frame2.png")
    footage = open_folder(folder)
    footage.take([0])
    with pytest.raises(InputError, match=r"frame1\.png is \(8, 11, 3\) of uint8 and the first"):
        footage.take([0, 1])
    with pytest.raises(InputError, match=r"frame2\.png is \(8, 10, 1\) of uint8 and the first"):
        footage.take([2])


def test_a_page_of_another_size_is_refused_when_it_is_read(tmp_path):
    pages = [Image.new("RGB", (10, 8)), Image.new("RGB", (10, 9)), Image.new("L", (10, 8))]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    footage = open_pages(tmp_path / "pages.tif")
    assert footage.length == 3
    with pytest.raises(InputError, match=r"page 1 of .* is \(9, 10, 3\)"):
        footage.take([0, 1])
    with pytest.raises(InputError, match=r"page 2 of .* is \(8, 10, 1\)"):
        footage.take([2])


def test_readers_go_to_other_processes(tmp_path):
    frames = ramp(4, 8, 10)
    folder = folder_of(tmp_path / "frames", frames)
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(tmp_path / "pages.tif", save_all=True, append_images=others)
    for footage in (open_folder(folder), open_pages(tmp_path / "pages.tif")):
        reader = pickle.loads(pickle.dumps(footage.reader))
        assert np.array_equal(reader([1, 3]), frames[[1, 3]])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts in /proc")
def test_reading_leaves_no_files_open(tmp_path):
    frames = ramp(4, 8, 10)
    footage = open_folder(folder_of(tmp_path / "frames", frames, ".tif"))
    (tmp_path / "frames" / "frame3.tif").write_text("nothing")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        footage.take([0, 1, 2])
        with pytest.raises(InputError):
            footage.take([3])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# Refusals


def test_folders_without_images(tmp_path):
    with pytest.raises(InputError, match=r"holds no images \(\.png .*\): give a folder"):
        open_folder(tmp_path)
    with pytest.raises(InputError, match="can't be listed"):
        open_folder(tmp_path / "none")


def test_what_is_no_image(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InputError, match=r"text\.png can't be read as an image"):
        open_pages(tmp_path / "text.png")
    with pytest.raises(InputError, match=r"none\.png can't be read as an image"):
        open_pages(tmp_path / "none.png")
    (tmp_path / "bomb.png").write_bytes(b"P5 100000 100000 255\n" + bytes(9))
    with pytest.raises(InputError, match=r"bomb\.png can't be read as an image"):
        open_folder(tmp_path)


def other_tiffs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "3 channels of 16 bits": rng.integers(0, 2**16, (8, 10, 3), np.uint16),
        "4 channels of 16 bits": rng.integers(0, 2**16, (8, 10, 4), np.uint16),
        "4 channels": rng.integers(0, 256, (8, 10, 4), np.uint8),
        "signed 16-bit integers": rng.integers(-(2**15), 2**15, (8, 10), np.int16),
        "signed 8-bit integers": rng.integers(-128, 128, (8, 10), np.int8),
        "32-bit integers": rng.integers(0, 2**31, (8, 10), np.uint32),
        "float RGB": rng.random((8, 10, 3), np.float32),
        "float64": rng.random((8, 10)),
        "7 channels": rng.integers(0, 256, (8, 10, 7), np.uint8),
    }


@pytest.mark.parametrize("what", other_tiffs())
@pytest.mark.parametrize("installed", [True, False])
def test_tiffs_that_pillow_can_not_represent(tmp_path, monkeypatch, what, installed):
    """Pillow would take the upper bytes, or drop channels, without a word."""
    tifffile = pytest.importorskip("tifffile")
    path, array = tmp_path / "image.tif", other_tiffs()[what]
    kind = "rgb" if array.ndim == 3 and array.shape[2] < 5 else "minisblack"
    extra = ["unspecified"] if what == "4 channels" else None
    plan = "contig" if array.ndim == 3 else None  # not one page for each channel
    tifffile.imwrite(path, array, photometric=kind, extrasamples=extra, planarconfig=plan)
    assert not pillow_reads(path)
    if not installed:
        monkeypatch.setitem(sys.modules, "tifffile", None)
    remedy = "as an .npy array" if installed else r"pip install 'framefill\[tiff\]'"
    with pytest.raises(InputError, match=rf"image\.tif .*Pillow.*{remedy}|cannot.*{remedy}"):
        open_pages(path)
    with pytest.raises(InputError, match=remedy):
        open_folder(tmp_path)
    if what.startswith(("3", "4", "signed")):
        with pytest.raises(InputError, match=f"has {what}, which Pillow"):
            open_pages(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_tiffs_that_pillow_represents(tmp_path, mode):
    image_of(mode).save(tmp_path / "image.tif")
    assert pillow_reads(tmp_path / "image.tif")


def test_other_images_are_pillows(tmp_path):
    Image.new("RGB", (3, 3)).save(tmp_path / "image.png")
    (tmp_path / "text.tif").write_text("hello")
    assert pillow_reads(tmp_path / "image.png")
    assert pillow_reads(tmp_path / "text.tif")  # no TIFF at all: Pillow says what is wrong
    assert pillow_reads(tmp_path / "none.tif")


@pytest.mark.parametrize("name", ["12:30", "50%d %03d", "ü 影像", "-i", "#?&="])
def test_names_of_all_kinds(tmp_path, name):
    frames = ramp(3, 8, 10)
    check(open_folder(folder_of(tmp_path / name, frames)), frames)
    Image.fromarray(frames[0]).save(tmp_path / f"{name}.png")
    check(open_pages(tmp_path / f"{name}.png"), frames[:1])


SPOILED = tuple(itertools.product((".png", ".jpg", ".tif", ".webp", ".bmp"), ("RGB", "P")))


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize(("suffix", "mode"), SPOILED)
@given(data=st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_cut_and_flipped_bytes(tmp_path, suffix, mode, data):
    path = tmp_path / f"image{suffix}"
    pages = [image_of("RGB").convert("RGB" if suffix == ".jpg" else mode) for _ in range(2)]
    pages[0].save(
        path, **({"save_all": True, "append_images": pages[1:]} if suffix == ".tif" else {})
    )
    content = bytearray(path.read_bytes())
    flips = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for place, value in data.draw(st.lists(flips, max_size=6)):
        content[place] = value
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        footage = open_pages(path)
        frames = footage.take(range(footage.length))
        assert frames.shape == (footage.length, *footage.shape)
