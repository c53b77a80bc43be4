"""Training clips from a folder of the user's own videos."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, cast

import av
import numpy as np
from av.video.stream import VideoStream
from jaxtyping import Shaped

from framefill.data.digits import Split
from framefill.data.read import CONTAINERS, IMAGES, collected, natural, read
from framefill.data.video import Part, Video
from framefill.errors import InputError, check_fields

Fit = Literal["none", "stretch", "crop", "ramvid"]
ALL_CLASSES = ("all",)
ARRAYS = (".npy", ".npz")
FILMS = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".gif", ".mpg", ".mpeg", ".ts"),
    *(".mts", ".m2ts", ".wmv", ".asf", ".flv", ".ogv", ".ogg", ".ivf", ".y4m", ".mjpeg"),
)
LAYOUT = "put the videos to learn from into its folder train and others, held out, into test"


@dataclass(frozen=True, kw_only=True)
class VideosConfig:
    """The user's own videos, a folder of them.

    They are read as `read` does; files of other kinds, hidden files and links are passed over.
    Each clip is decoded from the start of its video, save those from .npy files, which are fastest.
    """

    path: Path | None = None
    """Folder with train/ and test/, which hold videos, .npy or .npz arrays, or folders of images,
    in subfolders or not; has to be given."""
    height: int = 64
    """Height of a frame, in pixels."""
    width: int = 64
    """Width of a frame, in pixels."""
    channels: int = 3
    """Channels of a frame: 1 for gray, 3 for RGB; arrays may have others."""
    fit: Fit = "none"
    """For frames of another size: refuse them (none), resize them (stretch), or resize their
    largest centered part of the right shape (crop; ramvid: as the official RaMViD code does). All
    but none convert gray and RGB too."""
    every: int = 1
    """Step between the frames of a clip: 2 takes every other frame of a video."""
    flip: bool = False
    """Mirror half of the training clips left to right."""
    classes: tuple[str, ...] = ()
    """Names of classes, in the order of their numbers, for networks that have them: a video's class
    is what its file name has before the first _ (RaMViD). all: those of the training videos, in
    alphabetic order."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("height", "width", "channels", "every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} must be at least 1")

    def resolved(self) -> "VideosConfig":
        """Return the same with the names that "all" classes stand for.

        Raises:
            InputError: the folder lacks train/, or it holds no videos.
        """
        if self.classes != ALL_CLASSES:
            return self
        names = {class_name(path) for path in find_videos(_split_folder(self.path, "train"))}
        return replace(self, classes=tuple(sorted(names)))

    def clips(self, *, frames: int, split: Split, seed: int) -> "VideoClips":
        """Return the clips of this configuration; measures all videos of the split."""
        return VideoClips(self, frames=frames, split=split, seed=seed)


class Footage(NamedTuple):
    """What is known of a video without holding it: frames, [h w c] of a frame, dtype by name."""

    path: Path
    length: int
    shape: tuple[int, ...]
    dtype: str


def class_name(path: Path) -> str:
    """Return the name of a video's class: what its own name has before the first _."""
    return path.stem.split("_")[0]


class VideoClips:
    """Clips without end: clip number i is a function of (seed, split, i) and the files alone.

    In training a clip is any stretch of any video that is long enough, every video and then every
    start with equal probability. In testing clip i is of video i modulo their number, so that the
    first clips show them all, and never mirrored. Shorter videos are left out, nothing is padded.

    Each video is decoded once to count its frames, since headers are often wrong.

    Attributes:
        footage: The videos that clips are taken from.
        left_out: The videos of the split that are shorter than a clip, and so never seen.

    Args:
        config: Folder and frame size.
        frames: Length of a clip.
        split: "train" or "test", the folder to take.
        seed: Seed of all clips.

    Raises:
        InputError: the folder lacks the split, or it holds no video that is long enough, one that
            can't be read or is damaged, one of another frame size or of none of the classes, or
            several dtypes.
    """

    def __init__(self, config: VideosConfig, *, frames: int, split: Split, seed: int) -> None:
        self.config, self.frames, self.seed, self.split = config, frames, seed, split
        self.span = (frames - 1) * config.every + 1
        folder = _split_folder(config.path, split)
        found = [measure(path) for path in find_videos(folder)]
        self.footage = self._long_enough(found, folder)
        self.left_out = [each for each in found if each.length < self.span]
        _check_dtypes(self.footage)
        _check_frames(self.footage, config)
        _check_classes(self.footage, config)

    def __len__(self) -> int:
        """Return the number of clips, as many as an index can name."""
        return 2**62

    def __getitem__(self, index: int) -> Shaped[np.ndarray, "f h w c"]:
        """Return clip number `index`, in the videos' units.

        Raises:
            InputError: the file has changed, is damaged, or has frames that can't be resized.
        """
        rng, (path, length, *_) = self._chosen(index)
        start = int(rng.integers(length - self.span + 1))
        video = read(path, start=start, frames=self.frames, every=self.config.every)
        frames = _fitted(video, self.config).frames
        mirrored = self.split == "train" and self.config.flip and rng.random() < 0.5
        return np.ascontiguousarray(frames[:, :, ::-1]) if mirrored else frames

    def label(self, index: int) -> int | None:
        """Return the number of the class of clip number `index`; None without classes."""
        if not self.config.classes:
            return None
        _, footage = self._chosen(index)
        return self.config.classes.index(class_name(footage.path))

    def _chosen(self, index: int) -> tuple[np.random.Generator, Footage]:
        """Return a clip's randomness, with the first draw taken, and its video."""
        train = self.split == "train"
        rng = np.random.default_rng([self.seed, not train, index])
        number = rng.integers(len(self.footage)) if train else index % len(self.footage)
        return rng, self.footage[number]

    def _long_enough(self, footage: list[Footage], folder: Path) -> list[Footage]:
        if usable := [each for each in footage if each.length >= self.span]:
            return usable
        longest = max(footage, key=lambda each: each.length)
        raise InputError(
            f"clips of {self.frames} frames with every={self.config.every} span {self.span} frames "
            f"and the longest video of {folder}, {longest.path}, has {longest.length}: make the "
            f"clips shorter, or give longer videos"
        )


def find_videos(folder: Path) -> list[Path]:
    """Return the videos below a folder, frame2 before frame10; a folder of images is one.

    Raises:
        InputError: there are none, one folder holds images beside videos, or one can't be listed.
    """
    found: list[Path] = []
    ahead = [folder]  # no recursion: folders may be nested deeper than Python calls may
    while ahead:
        here, deeper = _listed(ahead.pop())
        found += here
        ahead += reversed(deeper)
    if found:
        return found
    raise InputError(
        f"{folder} holds no videos: fill it with videos ({' '.join(FILMS[:7])} ...), arrays "
        f"({' '.join(ARRAYS)}) or folders of images ({' '.join(IMAGES)})"
    )


def measure(path: Path) -> Footage:
    """Count the frames of a video, which decodes all of it and holds one of them.

    What was counted is remembered in this process for as long as the file doesn't change.

    Raises:
        InputError: the video can't be read, or it is damaged.
    """
    stat = path.stat()
    return _measured(path, stat.st_size, stat.st_mtime_ns)


def _split_folder(path: Path | None, split: Split) -> Path:
    if path is None:
        raise InputError(f"no folder of videos: give one with --data; {LAYOUT}")
    if not path.is_dir():
        raise InputError(f"{path} is no folder: give a folder of videos; {LAYOUT}")
    missing = [name for name in ("train", "test") if not (path / name).is_dir()]
    if split in missing:
        raise InputError(f"{path} has no folder {' and no folder '.join(missing)}: {LAYOUT}")
    return path / split


def _listed(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the videos and the folders in one folder, itself if it holds images."""
    try:
        entries = sorted(folder.iterdir(), key=natural)
        # Links could lead round in circles, or from train to test.
        own = [path for path in entries if not path.name.startswith(".") and not path.is_symlink()]
        files = [path for path in own if path.is_file()]
        folders = [path for path in own if path.is_dir()]
    except OSError as error:
        raise InputError(
            f"{folder} can't be listed ({error.strerror}): check its permissions, or take it out"
        ) from error
    images = [path for path in files if path.suffix.lower() in IMAGES]
    videos = [path for path in files if path.suffix.lower() in FILMS + ARRAYS]
    links = [p for p in entries if p.is_symlink() and p.suffix.lower() in IMAGES]
    if images and links:
        raise InputError(
            f"{folder} holds images ({images[0].name}) beside links to images ({links[0].name}): "
            "put copies in their place, or take them out"
        )
    if images and videos:
        raise InputError(
            f"{folder} holds images ({images[0].name}) beside videos ({videos[0].name}): give the "
            f"images of each video a folder of their own"
        )
    return [folder] if images else videos, folders


@cache
def _measured(path: Path, size: int, changed: int) -> Footage:
    first = read(path, frames=1).frames
    if path.is_dir():
        images = [image for image in path.iterdir() if image.suffix.lower() in IMAGES]
        length = sum(not image.name.startswith(".") for image in images)
    elif path.suffix.lower() == ".npy":
        length = len(np.load(path, mmap_mode="r", allow_pickle=False))
    elif path.suffix.lower() == ".npz":
        length = len(read(path).frames)
    else:
        length = _decoded_length(path)
    return Footage(path, length, first.shape[1:], first.dtype.name)


def _decoded_length(path: Path) -> int:
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    part = Part(start=0, frames=None, every=2**62, limit_bytes=2**31)  # keeps the first frame alone
    with av.open(
        path.absolute(), container_options=options, metadata_errors="replace"
    ) as container:
        stream = cast(VideoStream, container.streams.best("video"))
        stream.thread_type = "NONE"
        _, length, damage = collected(container, stream, part, str(path))
    if damage:
        raise InputError(f"{path} is damaged after {length} frames ({damage}): take it out")
    return length


def _check_dtypes(footage: list[Footage]) -> None:
    path, _, _, dtype = footage[0]
    for each in footage:
        if each.dtype != dtype:
            raise InputError(
                f"{path} holds {dtype} and {each.path} {each.dtype}: convert them to one dtype"
            )


def _check_classes(footage: list[Footage], config: VideosConfig) -> None:
    for path, *_ in footage if config.classes else ():
        if class_name(path) not in config.classes:
            raise InputError(
                f"{path} is of none of the classes {', '.join(config.classes[:20])}: name files "
                "CLASS_anything, or take it out"
            )


def _check_frames(footage: list[Footage], config: VideosConfig) -> None:
    # A white frame of each shape, so that no training stops at the first clip of some video.
    kinds: dict[tuple[int, ...], Footage] = {}
    for each in footage:
        kinds.setdefault(each.shape, each)
    for path, _, shape, name in kinds.values():
        dtype = np.dtype(name)
        white = 1 if dtype.kind == "f" else np.iinfo(dtype).max  # and so opaque, if it has alpha
        _fitted(Video(np.full((1, *shape), white, dtype), source=str(path)), config)


def _fitted(video: Video, config: VideosConfig) -> Video:
    size = (config.height, config.width, config.channels)
    if config.fit != "none":
        return video.fit(height=size[0], width=size[1], channels=size[2], how=config.fit)
    if video.frames.shape[1:] == size:
        return video
    have, want = ("x".join(map(str, shape)) for shape in (video.frames.shape[1:], size))
    raise InputError(
        f"{video.source} has frames of {have} and the model takes {want} (height, width, channels):"
        f" --data.fit (in training) or --fit stretch, crop or ramvid converts them"
    )
