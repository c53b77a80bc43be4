"""Trackers: what they write can be read back, and none of them can stop a training."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from framefill.errors import InputError
from framefill.trackers.gif import gif
from framefill.trackers.opening import open_trackers
from framefill.trackers.tracker import Tracker, Trackers

SETTINGS = {"optim": {"steps": 8, "lr": 0.001}, "seed": 0}


def opened(folder: Path, *names: str, step: int = 0, said: list[str] | None = None) -> Trackers:
    say = (said if said is not None else []).append
    return open_trackers(names, folder, run_name="bair", settings=SETTINGS, step=step, say=say)


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard")).Reload()


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in events(folder).Scalars(name)]


def film(frames: int, seed: int = 0) -> np.ndarray:
    pixels = np.zeros((frames, 16, 24, 3), np.uint8)
    for index in range(frames):
        pixels[index, :, index : index + 4] = (255, 20 * seed, 0)
    return pixels


def shown(encoded: bytes) -> tuple[np.ndarray, list[int]]:
    with Image.open(io.BytesIO(encoded)) as image:
        assert image.format == "GIF"
        frames = [
            (np.asarray(each.convert("RGB")), each.info["duration"])
            for each in ImageSequence.Iterator(image)
        ]
    return np.stack([pixels for pixels, _ in frames]), [length for _, length in frames]


def test_without_names_nothing_happens(tmp_path: Path) -> None:
    with opened(tmp_path) as trackers:
        trackers.numbers(1, {"train/loss": 0.5})
        trackers.picture(1, "a", film(1)[0])
        trackers.video(1, "b", film(3), 4.0)
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_reads_back_what_was_tracked(tmp_path: Path) -> None:
    said: list[str] = []
    with opened(tmp_path, "tensorboard", said=said) as trackers:
        trackers.numbers(50, {"train/loss": 0.5, "train/loss by level/0.1-0.3": 0.25})
        trackers.numbers(100, {"train/loss": float("nan")})
        trackers.picture(100, "held out/picture", film(1)[0])
        trackers.video(100, "held out/video", film(7), 5.0)
    assert said == []
    assert scalars(tmp_path, "train/loss by level/0.1-0.3") == [(50, 0.25)]
    (first, half), (second, nan) = scalars(tmp_path, "train/loss")
    assert (first, half, second) == (50, 0.5, 100)
    assert np.isnan(nan)
    (picture,) = events(tmp_path).Images("held out/picture")
    assert (picture.step, picture.height, picture.width) == (100, 16, 24)
    with Image.open(io.BytesIO(picture.encoded_image_string)) as image:
        assert np.array_equal(np.asarray(image), film(1)[0])
    (video,) = events(tmp_path).Images("held out/video")
    assert (video.height, video.width) == (16, 24)
    frames, lengths = shown(video.encoded_image_string)
    assert np.array_equal(frames, film(7))
    assert lengths == [200] * 7


def test_tensorboard_shows_the_settings(tmp_path: Path) -> None:
    opened(tmp_path, "tensorboard").close()
    (text,) = events(tmp_path).Tensors("settings/text_summary")
    said = text.tensor_proto.string_val[0].decode()
    assert said.startswith("**bair**")
    assert json.loads(said.split("```json")[1].split("```")[0]) == SETTINGS


def test_what_was_tracked_is_on_the_disk_at_once(tmp_path: Path) -> None:
    """A run that is killed without warning loses no curve."""
    trackers = opened(tmp_path, "tensorboard")
    trackers.numbers(1, {"train/loss": 0.5})
    assert scalars(tmp_path, "train/loss") == [(1, 0.5)]
    trackers.close()


def test_curves_of_a_resumed_run_do_not_go_back(tmp_path: Path) -> None:
    """Killed at step 30, with half a record; its last checkpoint was that of step 20."""
    first = opened(tmp_path, "tensorboard")
    for step in (10, 20, 30):
        first.numbers(step, {"train/loss": 1.0, "train/lr": 0.1})
    first.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes() + b"\x30\x00\x00")
    with opened(tmp_path, "tensorboard", step=20) as again:
        again.numbers(30, {"train/loss": 2.0})
        again.numbers(40, {"train/loss": 2.0})
    assert scalars(tmp_path, "train/loss") == [(10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0)]
    assert scalars(tmp_path, "train/lr") == [(10, pytest.approx(0.1)), (20, pytest.approx(0.1))]


@given(
    order=st.lists(st.integers(0, 2), min_size=1, max_size=9),
    fps=st.sampled_from([1.0, 4.0, 7.5, 30.0, 1000.0]),
)
def test_a_gif_has_all_frames_also_equal_ones(order: list[int], fps: float) -> None:
    frames = film(3)[order]
    pixels, lengths = shown(gif(frames, fps))
    assert np.array_equal(pixels, frames)
    assert abs(sum(lengths) - 1000 * len(order) / min(fps, 50)) <= 10


def test_tensorboard_that_is_not_installed_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    said: list[str] = []
    opened(tmp_path, "tensorboard", said=said).numbers(1, {"train/loss": 0.5})
    assert said == [
        "no curves for tensorboard, which is not installed: pip install 'framefill[tensorboard]'"
    ]
    assert list(tmp_path.iterdir()) == []


def test_wandb_that_is_not_installed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"pip install 'framefill\[wandb\]'"):
        opened(tmp_path, "wandb")


def test_importing_framefill_imports_no_library_of_curves() -> None:
    code = (
        "import framefill, framefill.info, framefill.trackers.opening, sys; "
        "sys.exit(any(name in sys.modules for name in ('tensorboard', 'wandb', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


WANDB = """
import sys
from pathlib import Path
from test_trackers import film, opened

trackers = opened(Path(sys.argv[1]), "wandb", step=0, said=(said := []))
if said == []:
    trackers.numbers(50, {"train/loss": 0.5})
    trackers.picture(50, "picture", film(1)[0])
    trackers.video(50, "video", film(5), 4.0)
    trackers.numbers(40, {"train/loss": 0.7})
    trackers.numbers(100, {"train/loss": 0.25})
    print(trackers.trackers["wandb"].run.step, trackers.trackers["wandb"].run.id)
    trackers.close()
    again = opened(Path(sys.argv[1]), "wandb", step=50, said=said)
    print(again.trackers["wandb"].run.id)
    again.close()
print(said)
"""


def in_wandb(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment = {**kept, "HOME": str(folder), "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run(
        [sys.executable, "-c", WANDB, str(folder)],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


def test_wandb_offline_keeps_everything_in_the_run_folder(tmp_path: Path) -> None:
    done = in_wandb(tmp_path, WANDB_MODE="offline")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    identity = (tmp_path / "wandb-id.txt").read_text().strip()
    assert done.stdout == f"100 {identity}\n{identity}\n[]\n"
    runs = list((tmp_path / "wandb").glob(f"offline-run-*-{identity}"))
    (video,) = (path for run in runs for path in (run / "files" / "media").rglob("*.gif"))
    assert np.array_equal(shown(video.read_bytes())[0], film(5))
    (picture,) = (path for run in runs for path in (run / "files" / "media").rglob("*.png"))
    with Image.open(picture) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), film(1)[0])


def test_wandb_without_an_account_says_so_in_one_line(tmp_path: Path) -> None:
    done = in_wandb(tmp_path)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("framefill.errors.InputError: tracker 'wandb' can't be opened (")
    assert "wandb login" in last


def test_an_altered_name_of_the_run_at_wandb_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wandb-id.txt").write_text("../../else\n")
    with pytest.raises(InputError, match=r"wandb-id\.txt holds no name"):
        opened(tmp_path, "wandb")


PLUGIN = '''
class Sheet:
    """Breaks down at step 3."""

    def __init__(self, folder, run_name, settings, step):
        self.file = (folder / "sheet.txt").open("a")
        self.file.write(f"{run_name} {settings['seed']} {step}\\n")

    def numbers(self, step, values):
        if step == 3:
            raise OSError("the sheet is full\\nfor ever")
        self.file.write(f"{step} {dict(values)}\\n")

    def picture(self, step, name, pixels):
        self.file.write(f"{step} {name} {pixels.shape}\\n")

    def video(self, step, name, frames, fps):
        self.file.write(f"{step} {name} {frames.shape} {fps}\\n")

    def close(self):
        self.file.write("closed\\n")
        self.file.close()


def numberless(folder, run_name, settings, step):
    return object()


def broken(folder, run_name, settings, step):
    raise RuntimeError("no server\\nat all")


PLAIN = 3
'''
ENTRIES = """[framefill.trackers]
sheet = sheet_plugin:Sheet
numberless = sheet_plugin:numberless
broken = sheet_plugin:broken
plain = sheet_plugin:PLAIN
absent = sheet_plugin_absent:Sheet
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a plugin, and return a run folder."""
    site, run = tmp_path / "site", tmp_path / "run"
    info = site / "sheet_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    run.mkdir()
    (site / "sheet_plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sheet-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "sheet_plugin", raising=False)
    return run


def test_a_plugin_is_a_tracker_by_its_name(plugin: Path) -> None:
    with opened(plugin, "sheet", step=7) as trackers:
        trackers.numbers(8, {"train/loss": 0.5})
        trackers.picture(8, "p", film(1)[0])
        trackers.video(8, "v", film(2), 4.0)
    assert (plugin / "sheet.txt").read_text().splitlines() == [
        "bair 0 7",
        "8 {'train/loss': 0.5}",
        "8 p (16, 24, 3)",
        "8 v (2, 16, 24, 3) 4.0",
        "closed",
    ]


def test_a_tracker_that_fails_is_dropped_and_the_others_go_on(plugin: Path) -> None:
    said: list[str] = []
    with opened(plugin, "sheet", "tensorboard", said=said) as trackers:
        for step in range(1, 6):
            trackers.numbers(step, {"train/loss": 0.5})
    assert said == ["nothing goes to tracker sheet any more: the sheet is full"]
    assert [step for step, _ in scalars(plugin, "train/loss")] == [1, 2, 3, 4, 5]
    assert (plugin / "sheet.txt").read_text().splitlines()[1:] == [
        "1 {'train/loss': 0.5}",
        "2 {'train/loss': 0.5}",
        "closed",
    ]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["tensorbord"], "no tracker 'tensorbord'; did you mean 'tensorboard'?; there are: tens"),
        (["shet"], "did you mean 'sheet'?; there are: tensorboard, wandb, "),
        (["sheet", "sheet"], "name each one once"),
        (["numberless"], "gave a object, which lacks one of numbers"),
        (["broken"], r"tracker 'broken' can't be opened (no server): mend that or leave it out"),
        (["plain"], "(sheet_plugin:PLAIN) is no callable"),
        (["absent"], "can't be loaded (No module named 'sheet_plugin_absent')"),
    ],
)
def test_what_can_not_be_opened_is_refused(plugin: Path, names: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        opened(plugin, *names)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(plugin.iterdir()) == []


def test_what_was_opened_is_closed_when_the_next_one_fails(plugin: Path) -> None:
    with pytest.raises(InputError, match="broken"):
        opened(plugin, "sheet", "broken")
    assert (plugin / "sheet.txt").read_text().splitlines()[-1] == "closed"


def test_a_place_that_can_not_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file")
    with pytest.raises(InputError, match="tracker 'tensorboard' can't be opened"):
        opened(tmp_path, "tensorboard")


FULL = """
import resource, sys
from pathlib import Path
from test_trackers import opened

trackers = opened(Path(sys.argv[1]), "tensorboard", said=(said := []))
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
for step in range(1, 101):
    trackers.numbers(step, {"train/loss": 1.0 * step})
trackers.close()
print(said)
"""


def test_a_full_disk_stops_the_curves_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (
        done.stdout
        == "['nothing goes to tracker tensorboard any more: [Errno 27] File too large']\n"
    )
    kept = scalars(tmp_path, "train/loss")
    assert 5 < len(kept) < 100
    assert kept == [(step, float(step)) for step in range(1, len(kept) + 1)]


def test_ours_are_trackers(tmp_path: Path) -> None:
    def takes(tracker: Tracker, values: Mapping[str, float]) -> None:
        tracker.numbers(1, values)

    with opened(tmp_path, "tensorboard") as trackers:
        takes(trackers, {"a": 1.0})
    assert scalars(tmp_path, "a") == [(1, 1.0)]
