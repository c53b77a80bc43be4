"""The command line as real processes: what it writes, what it says, how it exits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import framefill as ff
from framefill.cli import main
from framefill.data.write import write
from framefill.errors import InputError
from framefill.parsing import parse_frames

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "data" / "clips"


def run(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "framefill", *map(str, words)]
    environment = {**os.environ, "COLUMNS": "60"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command that must fail as a user's mistake, and return its one line."""
    assert main([str(word) for word in words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("framefill: ")
    return lines[0]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    config = ff.recipe("digits").data
    path = tmp_path / "clip.npz"
    write(path, config.clips(frames=8, split="test", seed=0)[0], fps=6.0)
    return path


def test_predicting_a_video_file(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)
    write(tmp_path / "in.mp4", pixels, fps=5.0)
    words = ("predict", "in.mp4", "--frames", 2, "--fit", "stretch", "--steps", 2)
    done = run(*words, "--out", "sub/out.mp4", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "wrote sub/out.mp4, sub/out.sheet.png" in done.stderr
    video = ff.read(tmp_path / "sub" / "out.mp4")
    assert len(video.frames) == 8
    assert video.fps == 5
    again = run(*words, "--out", "sub/out.mp4", folder=tmp_path)
    assert again.returncode == 2
    assert "exists" in again.stderr


def test_every_verb_writes_its_frames(clip: Path, tmp_path: Path) -> None:
    lengths = {
        ("predict", clip, "--frames", 2): 10,
        ("rewind", clip, "--frames", 2): 10,
        ("interpolate", clip, "--between", 1): 15,
        ("upsample", clip, "--factor", 2, "--take", 3): 5,
        ("fill", clip, "--known", "0-2,6,7"): 8,
        ("fill", clip, "--roles", "KKTTKKTT", "--seed", 4): 8,
        ("generate", "--frames", 3): 3,
    }
    for number, (words, frames) in enumerate(lengths.items()):
        out = tmp_path / f"{number}.npz"
        assert main([*map(str, words), "--steps", "1", "--out", str(out)]) == 0
        written = ff.read(out).frames
        assert written.shape == (frames, 32, 32, 1)
    known = [0, 1, 2, 6, 7]
    assert np.array_equal(ff.read(tmp_path / "4.npz").frames[known], ff.read(clip).frames[known])


@pytest.mark.skipif(not CLIPS.is_dir(), reason=f"the real clips are not at {CLIPS}")
@pytest.mark.parametrize(
    "name",
    [
        "tierpsy_worm.avi",
        "decord_pancake.mkv",
        "intel_people.gif",
        "mdn_flower.webm",
        "pims_bulk_water.mov",
        "nasa_hevc10.mp4",
    ],
)
@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_the_carried_model_fills_real_clips(tmp_path: Path, name: str, fit: str) -> None:
    out = tmp_path / "filled.npz"
    words = ["fill", str(CLIPS / name), "--known", "0-4,7", "--take", "8", "--fit", fit]
    assert main([*words, "--steps", "2", "--out", str(out)]) == 0
    given = ff.read(CLIPS / name, frames=8).fit(height=32, width=32, channels=1, how=fit)
    known = [0, 1, 2, 3, 4, 7]
    assert np.array_equal(ff.read(out).frames[known], given.frames[known])
    assert (tmp_path / "filled.sheet.png").stat().st_size > 1000


def test_samples_become_several_files(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "many.gif"
    words = ["predict", str(clip), "--frames", "1", "--samples", "2", "--steps", "1"]
    assert main([*words, "--out", str(out)]) == 0
    assert sorted(p.name for p in tmp_path.glob("many*")) == [
        "many-0.gif",
        "many-1.gif",
        "many.sheet.png",
    ]


MISTAKES = [
    ("predict nowhere.mp4 --frames 3", "nowhere.mp4"),
    ("predict CLIP --frames many", "--frames"),
    ("predict CLIP --frames 0", "frames 0"),
    ("predict CLIP", "--frames"),
    ("predict CLIP --frmes 3", "did you mean '--frames'"),
    ("predict CLIP --frames 3 --model nowhere", "no model 'nowhere'"),
    ("predict CLIP --frames 3 --model digit", "did you mean 'digits'"),
    ("predict CLIP --frames 3 --model TEXT", "not a model"),
    ("predict TEXT --frames 3", "TEXT"),
    ("predict BIG --frames 3", "--fit"),
    ("predict CLIP --frames 3 --start 7 --take 5", "8"),
    ("predict CLIP --frames 3 --out x.xyz", ".xyz"),
    ("fill CLIP --known 99", "known frame 99"),
    ("fill CLIP --known 3-1", "'3-1'"),
    ("fill CLIP --known a", "'a'"),
    ("fill CLIP --known 0-7", "nothing to fill"),
    ("fill CLIP --roles KKT", "3 roles"),
    ("fill CLIP --roles KKKKKKKX", "'X'"),
    ("fill CLIP", "which ones are known"),
    ("predit CLIP", "did you mean 'predict'"),
    ("", "which command"),
    ("train digts --out RUN", "did you mean 'digits'"),
    ("train digits --out RUN --optim.stps 3", "--optim.steps"),
    ("train digits --out RUN --optim.steps 0", "at least 1"),
    ("train digits --out RUN --data nowhere", "nowhere"),
    ("train digits --out RUN --data.size 30", "divisible by 4"),
    ("train nowhere.json --out RUN", "nowhere.json"),
    ("train TEXT.json --out RUN", "not JSON"),
    ("demo --out HERE", "holds files already"),
    ("train digits --out RUN --sampler.steps -1", "-1 steps"),
    ("train digits --out RUN --optim.lr nan", "lr nan"),
    ("train digits --out RUN --optim.lr inf", "lr inf"),
    ("train digits --out RUN --diffusion.limits 5 -5", "limits"),
    ("train digits --out RUN --normaliser.scale nan", "scale"),
    ("train digits --out RUN --normaliser.dtype float32", "uint8"),
    ("predict CLIP --frames 100000000000", "1000000"),
    ("predict CLIP --frames 3 --samples 99999999", "samples 99999999"),
    ("predict CLIP --frames 999999 --samples 9999", "GiB"),
    ("predict CLIP --frames 3 --steps 999999999", "steps"),
    ("predict CLIP --frames 3 --out CLIP --overwrite", "the video itself"),
    ("demo --out TEXT", "is a file"),
    ("train digits --out TEXT", "is a file"),
    ("train --out RUN digits", "name the recipe first"),
    ("train digits --out RUN --seed -1", "seed -1"),
    ("train digits --out RUN --workers -1", "workers -1"),
    ("train digits --out RUN --optim.betas 2 2", "betas"),
    ("train digits --out RUN --network.dropout 2", "dropout"),
    ("train digits --out RUN --network.head-width 0", "head_width 0"),
    ("train digits --out RUN --loss.known-level -1", "known_level -1"),
    ("train digits --out RUN --device cpu:x", "cpu:x"),
    ("predict CLIP --frames 1 --guidance nan", "guidance nan"),
    ("predict CLIP --frames 1 --out . --overwrite", "no name for a file"),
    ("demo --clips 0", "clips 0"),
    ("plan KKxT", "'x'"),
    ("generate --frames 2 --device warp", "warp"),
]


@pytest.mark.parametrize(("command", "said"), MISTAKES, ids=[command for command, _ in MISTAKES])
def test_mistakes_take_one_line_and_exit_with_two(
    command: str, said: str, clip: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TEXT", "TEXT.json"):
        (tmp_path / name).write_text("not a video, not a model")
    write(tmp_path / "BIG.npz", np.zeros((4, 40, 50, 3), np.uint8), fps=None)
    places = {"CLIP": clip.name, "BIG": "BIG.npz", "HERE": "."}
    before = sorted(tmp_path.iterdir())
    line = fails(capsys, *[places.get(word, word) for word in command.split()])
    assert said in line
    left = [path for path in sorted(tmp_path.iterdir()) if path not in before]
    assert left == []
    assert not list(tmp_path.glob(".*"))


def test_help_is_on_stdout_and_no_mistake(tmp_path: Path) -> None:
    overview = run("--help", folder=tmp_path)
    assert overview.returncode == 0
    assert "interpolate" in overview.stdout
    one = run("fill", "--help", folder=tmp_path)
    assert one.returncode == 0
    assert "--known" in one.stdout
    assert run("--version", folder=tmp_path).stdout.startswith("framefill ")


def test_a_plan_is_plain_data(capsys) -> None:
    assert main(["plan", "KKKKTTTT"]) == 0
    windows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [window["fills"] for window in windows] == [[4, 5], [6, 7]]
    assert windows[0]["row"] == "KKKKTT----"
    assert windows[1]["frames"] == list(range(2, 12))


def test_frames_can_come_one_at_a_time(capsys) -> None:
    assert main(["plan", "KKKKTTTT", "--advance", "1"]) == 0
    windows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [window["fills"] for window in windows] == [[4], [5], [6], [7]]


def test_a_plan_is_drawn(capsys) -> None:
    assert main(["plan", "KKKKTTTT", "--draw"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "      KKKKTTTT",
        "   0  KKKKTT--",
        "   1    KKKKTT",
    ]


def test_training_by_command_with_changed_settings(tmp_path: Path) -> None:
    words = ["train", "digits", "--out", "run", "--optim.steps", "2", "--optim.batch", "2"]
    done = run(*words, "--log.sample-every", "0", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "step 2/2" in done.stderr
    assert json.loads((tmp_path / "run" / "config.json").read_text())["optim"]["batch"] == 2
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    other = run(*words, "--seed", "1", folder=tmp_path)
    assert other.returncode == 2
    assert "seed: 0 -> 1" in other.stderr


def test_frames_are_read_as_people_write_them() -> None:
    assert parse_frames("0-4,15") == [0, 1, 2, 3, 4, 15]
    assert parse_frames(" 3 , 5 - 6") == [3, 5, 6]
    for bad in ("", "1,,2", "-1", "1-", "4-2", "1.5", "0-999999999"):
        with pytest.raises(InputError):
            parse_frames(bad)
