"""The doctor: each finding is where it should be, absent from sane data, and its cure works."""

import io
import json
import math
import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from test_examine import EVERYTHING, SHARED, folder_of, moving, sane

from framefill.cli import main
from framefill.config import Config
from framefill.data.examine import Shared, examine, gather
from framefill.data.videos import VideosConfig
from framefill.data.write import write
from framefill.doctor import Asked, Finding, Overfit, Report, Speed, doctor, print_report
from framefill.doctor.advice import advised, commands
from framefill.doctor.diagnosis import diagnose
from framefill.doctor.looks import MAGENTA, prepared, sheet_rows
from framefill.doctor.overfit import overfit_clip, usual_row, verdict_on
from framefill.doctor.speed import judge_speed
from framefill.errors import InputError
from framefill.masks import BlockMasks, RandomMasks
from framefill.nn.config import SpaceTimeConfig
from framefill.recipes import recipe

PUBLISHED = "kth-concat"
SMALL = SpaceTimeConfig(
    width=8, multipliers=(1,), blocks=1, attention=(), temporal_attention=(), head_width=8
)


def asked_of(root: Path, name: str = "small-st", **fields: Any) -> Asked:
    """The question about a folder of sane data's size, with further settings of the data."""
    plain = recipe(name)
    settings = {"height": 16, "width": 16, "channels": 1, **fields}
    config = replace(plain, data=replace(plain.data, **settings))
    return Asked(data=root, recipe=name, plain=plain, config=config)


def tiny(asked: Asked) -> Asked:
    """The same with a network that is trained in no time."""
    small = (
        replace(each, network=SMALL, optim=replace(each.optim, batch=2))
        for each in (asked.plain, asked.config)
    )
    return replace(asked, **dict(zip(("plain", "config"), small, strict=True)))


def findings_of(asked: Asked) -> list[Finding]:
    return diagnose(examine(gather(asked.videos), asked.videos, EVERYTHING), asked)


def about(asked: Asked, subject: str) -> Finding:
    """The one finding about something."""
    (found,) = (each for each in findings_of(asked) if each.subject == subject)
    return found


def command_for(asked: Asked) -> str:
    """The last command of the advice."""
    findings = findings_of(asked)
    config, refused = advised(asked, findings)
    assert not refused
    return commands(asked, config, findings)[-1]


def cured(asked: Asked) -> list[Finding]:
    """What is left to say once the advice was taken."""
    config, _ = advised(asked, findings_of(asked))
    return findings_of(replace(asked, config=config))


def run(command: str, out: Path, *more: str) -> int:
    """Give a command of the advice to the program, made short."""
    words = shlex.split(command)
    assert words[:3] == ["framefill", "train", "small-st"]
    words[words.index("--out") + 1] = str(out)
    short = ["--optim.steps=1", "--optim.batch=2", "--network.width=8", "--log.sample_every=0"]
    return main([*words[1:], *short, *more])


def test_of_sane_data_there_is_nothing_to_say_and_the_command_trains(tmp_path: Path) -> None:
    asked = asked_of(sane(tmp_path / "d"))
    assert findings_of(asked) == []
    command = command_for(asked)
    assert command == (
        f"framefill train small-st --data {tmp_path / 'd'} --out d-run --data.height 16 "
        "--data.width 16 --data.channels 1"
    )
    assert run(command, tmp_path / "run") == 0


def test_files_that_cannot_be_read_stop_training_and_are_put_aside(tmp_path: Path) -> None:
    asked = asked_of(sane(tmp_path / "d"))
    broken = tmp_path / "d" / "train" / "broken one.npy"
    broken.write_bytes(b"nothing")
    found = about(asked, "files")
    assert (found.weight, found.unfit) == ("stops", (str(broken),))
    findings = findings_of(asked)
    *aside, train = commands(asked, advised(asked, findings)[0], findings)
    for line in aside:
        assert os.system(line) == 0
    assert not broken.exists()
    assert (tmp_path / "d-left-out" / "train" / "broken one.npy").is_file()
    assert findings_of(asked) == []
    assert run(train, tmp_path / "run") == 0


def test_files_of_other_kinds_are_worth_a_note(tmp_path: Path) -> None:
    (sane(tmp_path) / "train" / "a.txt").touch()
    assert about(asked_of(tmp_path), "files").text == "passed over, as no videos: 1 .txt"


def test_without_a_test_part_training_has_to_do_without_pictures(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "d", {"train/a": moving()})
    found = about(asked_of(root), "test part")
    assert (found.weight, found.settings) == ("stops", {"log.sample_every": 0})
    assert run(command_for(asked_of(root)), tmp_path / "run") == 0
    assert about(asked_of(folder_of(tmp_path / "e", {"test/a": moving()})), "training part")


def test_videos_that_are_too_short(tmp_path: Path) -> None:
    asked = asked_of(sane(tmp_path / "d", short=moving(5)))
    assert about(asked, "lengths").weight == "note"
    root = folder_of(
        tmp_path / "e", {"train/a": moving(5), "train/b": moving(6), "test/c": moving(4)}
    )
    train, test = (each for each in findings_of(asked_of(root)) if each.subject == "lengths")
    assert (train.weight, test.weight) == ("stops", "stops")
    assert train.settings == {"data.short": "pad"}
    assert run(command_for(asked_of(root)), tmp_path / "run") == 0
    assert "lengths" not in {each.subject for each in cured(asked_of(root))}


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((32, 48), {"data.height": 32, "data.width": 48}),
        ((30, 41), {"data.height": 32, "data.width": 44, "data.fit": "pad"}),
        ((480, 640), {"data.height": 56, "data.width": 72, "data.fit": "crop"}),
        ((1, 1), {"data.height": 4, "data.width": 4, "data.fit": "pad"}),
    ],
)
def test_frames_of_another_size_than_the_recipe(
    tmp_path: Path, size: tuple[int, int], settings: dict[str, object]
) -> None:
    video = np.random.default_rng(0).integers(0, 256, (11, *size, 1), np.uint8)
    root = folder_of(tmp_path / "d", {"train/a": video, "test/b": video[::-1]})
    plain = recipe("small-st")
    asked = Asked(data=root, recipe="small-st", plain=plain, config=plain)
    found = about(asked, "sizes")
    assert (found.weight, found.settings) == ("stops", settings)
    assert ("at their own size" in found.text) == (size == (480, 640))
    assert "sizes" not in {each.subject for each in cured(asked)}
    assert run(command_for(asked), tmp_path / "run") == 0


def test_a_network_that_is_not_told_of_gaps_gets_frames_that_are_cut(tmp_path: Path) -> None:
    video = moving(20, size=50)
    root = folder_of(tmp_path, {"train/a": video, "test/b": video[::-1]})
    config = replace(recipe(PUBLISHED), data=VideosConfig(channels=1))
    asked = Asked(data=root, recipe=PUBLISHED, plain=config, config=config)
    assert about(asked, "sizes").settings == {
        "data.height": 48,
        "data.width": 48,
        "data.fit": "crop",
    }


def test_frames_of_several_sizes(tmp_path: Path) -> None:
    asked = asked_of(sane(tmp_path, other=moving(size=20)))
    found = about(asked, "sizes")
    assert (found.weight, found.settings) == ("stops", {"data.fit": "crop"})
    assert cured(asked) == []
    plain = about(asked_of(tmp_path, height=64, width=64), "sizes")
    assert plain.settings == {"data.height": 16, "data.width": 16, "data.fit": "crop"}


def test_a_size_that_the_user_chose_is_kept(tmp_path: Path) -> None:
    asked = asked_of(sane(tmp_path), height=8, width=12)
    assert about(asked, "sizes").settings == {"data.fit": "crop"}


def test_frames_that_are_enlarged_or_bent_or_too_large_to_pad(tmp_path: Path) -> None:
    root = sane(tmp_path)
    found = about(asked_of(root, height=32, width=32, fit="crop"), "sizes")
    assert (found.weight, found.settings) == ("harms", {"data.height": 16, "data.width": 16})
    assert about(asked_of(root, height=8, width=16, fit="stretch"), "sizes").weight == "note"
    assert about(asked_of(root, height=8, width=8, fit="pad"), "sizes").weight == "stops"
    for fit in ("crop", "stretch"):
        assert findings_of(asked_of(root, height=8, width=8, fit=fit)) == []


def test_channels_of_another_number_than_the_recipe(tmp_path: Path) -> None:
    root = sane(tmp_path / "d")
    found = about(asked_of(root, channels=3), "channels")
    assert (found.weight, found.settings) == ("stops", {"data.channels": 1})
    assert cured(asked_of(root, channels=3)) == []
    found = about(asked_of(root, channels=3, fit="crop"), "channels")
    assert found.weight == "harms"
    many = folder_of(
        tmp_path / "e", {"train/a": moving(channels=5), "test/b": moving(seed=1, channels=5)}
    )
    assert about(asked_of(many, channels=3), "channels").settings == {"data.channels": 5}
    assert run(command_for(asked_of(many, channels=3)), tmp_path / "run") == 0


def test_videos_of_different_channels(tmp_path: Path) -> None:
    asked = asked_of(sane(tmp_path, color=moving(channels=3)))
    found = about(asked, "channels")
    assert (found.weight, found.settings) == ("stops", {"data.channels": 3, "data.fit": "crop"})
    strange = asked_of(folder_of(tmp_path, {"train/color": moving(channels=2)}))
    assert about(strange, "channels").settings == {}


def test_gray_frames_that_are_stored_as_rgb(tmp_path: Path) -> None:
    gray = {"train/a": moving(), "test/b": moving(seed=1)}
    root = folder_of(tmp_path, {name: video.repeat(3, axis=3) for name, video in gray.items()})
    asked = asked_of(root, channels=3)
    found = about(asked, "channels")
    assert found.weight == "harms"
    assert found.settings == {"data.channels": 1, "data.fit": "crop"}
    assert cured(asked) == []
    assert advised(asked, [found])[0].data.channels == 1


def test_of_advice_that_differs_the_first_counts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gray = [rng.integers(0, 256, (12, 30, 41, 1), np.uint8).repeat(3, axis=3) for _ in "ab"]
    root = folder_of(tmp_path / "d", {"train/a": gray[0], "test/b": gray[1]})
    asked = asked_of(root, height=64, width=64, channels=3)
    assert {each.settings.get("data.fit") for each in findings_of(asked)} == {"pad", "crop"}
    data = advised(asked, findings_of(asked))[0].data
    assert (data.fit, data.height, data.width, data.channels) == ("pad", 32, 44, 1)
    assert run(command_for(asked), tmp_path / "run") == 0


def test_color_is_not_taken_for_gray(tmp_path: Path) -> None:
    videos = {"train/a": moving(channels=3), "test/b": moving(seed=1, channels=3)}
    assert findings_of(asked_of(folder_of(tmp_path, videos), channels=3)) == []


def test_two_channels_that_are_the_same(tmp_path: Path) -> None:
    video = moving(channels=2).astype(np.float32)
    video[..., 1] = video[..., 0]
    asked = asked_of(
        folder_of(tmp_path, {"train/a": video, "test/b": video[::-1, ::-1]}), channels=2
    )
    assert "channel 0 = channel 1" in about(asked, "channels").text


def test_types_of_values_that_differ(tmp_path: Path) -> None:
    asked = asked_of(sane(tmp_path, floats=moving().astype(np.float32)))
    found = about(asked, "dtypes")
    assert found.weight == "stops"
    assert "uint8 (4" in found.text
    assert "float32 (1, such as train/floats.npy)" in found.text
    assert command_for(asked).startswith("framefill doctor ")


def test_infinite_values_stop_training(tmp_path: Path) -> None:
    video = moving().astype(np.float32)
    asked = asked_of(folder_of(tmp_path, {"train/a": video, "test/b": video[::-1, ::-1]}))
    assert findings_of(asked) == []
    video[3, 3, 3] = np.inf
    folder_of(tmp_path, {"train/a": video})
    assert about(asked, "values").weight == "stops"


def test_channels_that_hold_nothing_or_one_value(tmp_path: Path) -> None:
    video = moving(channels=3).astype(np.float32)
    video[..., 0], video[..., 2] = np.nan, 7
    root = folder_of(tmp_path, {"train/a": video, "test/b": video[::-1, ::-1]})
    asked = asked_of(root, channels=3)
    texts = [each.text for each in findings_of(asked) if each.subject == "values"]
    assert len(texts) == 2
    assert texts[0] == "channel 0 is missing everywhere"
    assert "channel 2 is 7 everywhere" in texts[1]


def test_a_variable_of_one_value_is_left_out(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    import h5py

    for number, part in enumerate(("train", "test")):
        (tmp_path / part).mkdir()
        with h5py.File(tmp_path / part / "a.h5", "w") as file:
            file["rain"] = moving(seed=number)[..., 0].astype(np.float32)
            file["mask"] = np.ones((20, 16, 16), np.float32)
    asked = asked_of(tmp_path, channels=2, variables=("rain", "mask"))
    found = about(asked, "values")
    assert found.settings == {"data.variables": ("rain",), "data.channels": 1}
    assert run(command_for(asked), tmp_path / "run") == 0


@pytest.mark.parametrize("by", ["auto", "spread"])
def test_eight_bits_of_which_few_levels_are_used(tmp_path: Path, by: str) -> None:
    masks = {
        name: (moving(seed=i) > 199).astype(np.uint8)
        for i, name in enumerate(("train/a", "test/b"))
    }
    asked = asked_of(folder_of(tmp_path / "d", masks))
    asked = replace(
        asked, config=replace(asked.config, scaling=replace(asked.config.scaling, by=by))
    )
    found = about(asked, "values")
    assert "0..1 of 0..255" in found.text
    assert found.weight == ("harms" if by == "auto" else "note")
    assert found.settings == ({"scaling.by": "range"} if by == "auto" else {})
    assert run(command_for(asked), tmp_path / "run") == 0


def rain(frames: int = 20, *, seed: int = 0) -> np.ndarray:
    """Rain in mm/h: mostly none, and now and then very much."""
    rng = np.random.default_rng(seed)
    amount = np.exp(rng.normal(0, 2.5, (frames, 16, 16, 1)))
    return np.where(rng.random(amount.shape) < 0.5, 0, amount).astype(np.float32)


def test_values_that_span_orders_of_magnitude(tmp_path: Path) -> None:
    asked = asked_of(folder_of(tmp_path / "d", {"train/a": rain(), "test/b": rain(seed=1)}))
    found = about(asked, "values")
    assert found.weight == "harms"
    assert found.settings["scaling.transform"] == "log"
    assert found.settings["scaling.low"] == 0
    soft = found.settings["scaling.soft"]
    assert isinstance(soft, float)
    assert 0.01 < soft < 0.2
    assert cured(asked) == []
    assert run(command_for(asked), tmp_path / "run") == 0


@pytest.mark.parametrize("scale", [1.0, 0.001])
def test_other_floats_need_no_logarithm(tmp_path: Path, scale: float) -> None:
    videos = {"train/a": moving() * np.float32(scale), "test/b": moving(seed=1) * np.float32(scale)}
    assert findings_of(asked_of(folder_of(tmp_path, videos))) == []


def test_a_number_that_may_mean_missing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    videos = {}
    for number, name in enumerate(("train/a", "test/b")):
        video = moving(seed=number).astype(np.int16)
        video[rng.random(video.shape) < 0.05] = -9999
        videos[name] = video
    asked = asked_of(folder_of(tmp_path / "d", videos))
    found = about(asked, "missing")
    assert (found.weight, found.settings) == ("harms", {"data.missing": -9999})
    (left,) = cured(asked)
    assert (left.subject, left.weight) == ("missing", "note")
    assert run(command_for(asked), tmp_path / "run") == 0


def test_gaps_and_networks_that_are_not_told_of_them(tmp_path: Path) -> None:
    video = moving(30).astype(np.float32)
    video[:, :4, :4], video[5] = np.nan, np.nan
    root = folder_of(tmp_path, {"train/a": video, "test/b": video[::-1, :, ::-1]})
    found = about(asked_of(root), "missing")
    assert found.weight == "note"
    assert "2 of 60 frames" in found.text
    assert about(asked_of(root, PUBLISHED, fit="none"), "missing").weight == "harms"


def test_rates_that_differ(tmp_path: Path) -> None:
    for number, (name, fps) in enumerate((("train/a", 25), ("train/b", 12.5), ("test/c", 25))):
        write(tmp_path / "d" / f"{name}.mp4", moving(40, seed=number, channels=3), fps=fps)
    asked = asked_of(tmp_path / "d", channels=3)
    found = about(asked, "times")
    assert (found.weight, found.settings) == ("harms", {"data.fps": 12.5})
    assert "times" not in {each.subject for each in cured(asked)}
    assert run(command_for(asked), tmp_path / "run") == 0
    write(tmp_path / "d" / "train" / "b.mp4", moving(40, channels=3), fps=25, overwrite=True)
    assert "times" not in {each.subject for each in findings_of(asked)}


def grids(root: Path, hours: Sequence[float]) -> Path:
    """Files with time stamps."""
    xarray = pytest.importorskip("xarray")
    for number, part in enumerate(("train", "test")):
        (root / part).mkdir(parents=True, exist_ok=True)
        start = np.datetime64("2024-01-01", "ns") + np.timedelta64(number * 366, "D")
        stamps = start + (np.array(hours) * 3600e9).astype("timedelta64[ns]")
        values = moving(len(hours), seed=number)[..., 0].astype(np.float32)
        data = xarray.DataArray(values, dims=("time", "y", "x"), name="rain")
        data.assign_coords(time=stamps).to_netcdf(root / part / "a.nc")
    return root


def test_holes_in_time(tmp_path: Path) -> None:
    hours = [*range(10), *range(13, 25)]
    found = {each.subject: each for each in findings_of(asked_of(grids(tmp_path / "a", hours)))}
    assert set(found) == {"times", "missing"}
    assert "6 of 50 frames" in found["times"].text
    assert findings_of(asked_of(grids(tmp_path / "b", list(range(20))))) == []


def test_uneven_times(tmp_path: Path) -> None:
    hours = np.arange(20) + np.random.default_rng(0).uniform(-0.3, 0.3, 20)
    found = about(asked_of(grids(tmp_path, hours.tolist())), "times")
    assert found.weight == "harms"


def test_dates_in_training_and_test(tmp_path: Path) -> None:
    root = grids(tmp_path, list(range(20)))
    (root / "train" / "a.nc").replace(root / "train" / "b.nc")
    (root / "train" / "c.nc").write_bytes((root / "test" / "a.nc").read_bytes())
    subjects = [each.subject for each in findings_of(asked_of(root))]
    assert subjects.count("leak") == 2  # of the frames and of the stamps


def test_videos_that_never_change(tmp_path: Path) -> None:
    root = sane(
        tmp_path / "d", black=np.zeros_like(moving()), frozen=moving(1, seed=9).repeat(20, axis=0)
    )
    asked = asked_of(root)
    found = [each for each in findings_of(asked) if each.subject == "still"]
    assert [Path(*each.unfit).name for each in found] == ["black.npy", "frozen.npy"]
    assert [each.weight for each in found] == ["harms", "harms"]
    findings = findings_of(asked)
    *aside, train = commands(asked, advised(asked, findings)[0], findings)
    assert [os.system(line) for line in aside] == [0, 0]
    assert findings_of(asked) == []
    assert run(train, tmp_path / "run") == 0


def test_frames_of_one_value_now_and_then(tmp_path: Path) -> None:
    video = moving(40, seed=9)
    video[0] = 0
    asked = asked_of(sane(tmp_path, start=video))
    assert about(asked, "still").weight == "note"
    video[:20] = 0
    folder_of(tmp_path, {"train/start": video})
    assert "harms" in {each.weight for each in findings_of(asked) if each.subject == "still"}


def test_frames_that_come_twice(tmp_path: Path) -> None:
    videos = {
        name: moving(24, seed=i).repeat(2, axis=0) for i, name in enumerate(("train/a", "test/b"))
    }
    asked = asked_of(folder_of(tmp_path / "d", videos))
    assert about(asked, "still").settings == {"data.every": 2}
    assert run(command_for(asked), tmp_path / "run") == 0
    short = {name: video[:12] for name, video in videos.items()}
    assert about(asked_of(folder_of(tmp_path / "e", short)), "still").settings == {}


def test_copies_in_training_and_copies_in_test(tmp_path: Path) -> None:
    asked = asked_of(sane(tmp_path, again=moving(seed=1)))
    assert about(asked, "copies").weight == "note"
    folder_of(tmp_path, {"test/e": moving(seed=0)})
    assert "harms" in {each.weight for each in findings_of(asked) if each.subject == "copies"}
    leak = about(asked, "leak")
    assert leak.weight == "harms"
    assert (
        "20 of 20 frames of the test video test/e.npy are in the training video train/a"
        in leak.text
    )


def test_a_few_frames_that_are_alike_may_be_chance(tmp_path: Path) -> None:
    asked = asked_of(sane(tmp_path))
    facts = examine(gather(asked.videos), asked.videos, EVERYTHING)

    def said(equal: int, near: int) -> list[str]:
        shared = [Shared("test", "train", equal, near, 100)]
        return [each.weight for each in diagnose(replace(facts, shared=shared), asked)]

    assert said(0, 2) == []
    assert said(1, 1) == ["note"]
    assert said(0, 20) == said(20, 20) == ["harms"]


def test_classes_that_are_only_in_the_test(tmp_path: Path) -> None:
    names = ("train/run_1", "train/walk_1", "test/run_2")
    root = folder_of(tmp_path, {name: moving(seed=i) for i, name in enumerate(names)})
    plain = recipe("small-st")
    network = replace(plain.network, classes=3)
    asked = asked_of(root)
    data = replace(asked.videos, path=None, classes=("run", "walk", "jump"))
    asked = replace(asked, config=replace(asked.config, data=data, network=network))
    assert findings_of(asked) == []
    folder_of(root, {"test/jump_1": moving(seed=9)})
    assert about(asked, "classes").weight == "stops"


def test_conditions_of_one_value_and_unknown_ones_and_unused_ones(tmp_path: Path) -> None:
    action = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    for number, name in enumerate(("train/a", "test/b")):
        write(tmp_path / name, moving(seed=number), fps=None)
        np.savez(tmp_path / f"{name}.conditions.npz", action=action)
    assert "--data.conditions action" in about(asked_of(tmp_path), "conditions").text
    asked = asked_of(tmp_path, conditions=("action",))
    assert findings_of(asked) == []
    action[:, 0], action[:, 1], action[1:, 2] = 3, np.nan, np.nan
    for name in ("train/a", "test/b"):
        np.savez(tmp_path / f"{name}.conditions.npz", action=action)
    found = [each for each in findings_of(asked) if each.subject == "conditions"]
    assert [each.weight for each in found] == ["note", "stops", "note"]


# The whole ---------------------------------------------------------------------------------------


def examined(asked: Asked, out: Path, **more: Any) -> Report:
    return doctor(tiny(asked), out=out, full=True, device="cpu", **more)


def test_the_report_is_written_and_printed(tmp_path: Path) -> None:
    asked = asked_of(sane(tmp_path / "d"))
    report = examined(asked, tmp_path / "out")
    stops = [each for each in report.findings if each.weight == "stops"]
    assert stops == []
    assert report.speed is not None
    assert report.speed.clips_per_second > 1
    assert report.speed.step_seconds > 0
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(written["facts"]["videos"]) == 4
    assert written["commands"] == report.commands
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.width > 400
    console = Console(width=60, record=True, file=io.StringIO())
    print_report(report, tmp_path / "out", console)
    shown = console.export_text()
    assert "verdict" not in shown
    assert f"  {report.commands[-1]}\n" in shown  # in one line, to be pasted
    assert "3 to train, 1 to test" in shown
    assert "80 of 80 frames" in shown


def test_it_does_not_stop_at_data_that_training_would_refuse(tmp_path: Path) -> None:
    root = sane(tmp_path / "d", floats=moving().astype(np.float32))
    (root / "train" / "broken.mp4").write_bytes(b"nothing")
    report = examined(asked_of(root), tmp_path / "out")
    subjects = {each.subject for each in report.findings if each.weight == "stops"}
    assert {"files", "dtypes", "training"} <= subjects
    assert report.speed is None
    assert not (tmp_path / "out" / "sheet.png").exists()
    print_report(report, tmp_path / "out", Console(quiet=True))


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    root = sane(tmp_path / "d")
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="exists"):
        doctor(asked_of(root), out=tmp_path / "there")
    with pytest.raises(InputError, match="doesn't exist"):
        doctor(asked_of(tmp_path / "nowhere"), out=tmp_path / "out")
    with pytest.raises(InputError, match="minutes"):
        doctor(asked_of(root), out=tmp_path / "out", minutes=0)
    plain = recipe("digits")
    digits = Asked(data=root, recipe="digits", plain=plain, config=plain)
    with pytest.raises(InputError, match="makes its own data"):
        doctor(digits, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def ready(asked: Asked) -> tuple[Config, Any]:
    return prepared(replace(asked.config, data=asked.videos), gather(asked.videos), EVERYTHING)


def test_the_sheet_shows_clips_roles_and_what_is_missing(tmp_path: Path) -> None:
    video = moving(40).astype(np.float32)
    video[:, :8, :8] = np.nan
    root = folder_of(tmp_path, {"train/a": video, "test/b": video})
    config, clips = ready(tiny(asked_of(root)))
    rows = sheet_rows(config, clips)
    for number in range(4):
        clean, noisy = rows[2 * number : 2 * number + 2]
        assert clean.marks == "R" * 10
        assert set(noisy.marks) <= {"K", "T", "-"}
        assert config.masks.allows(noisy.marks)
        assert (clean.frames[:, :8, :8, 1] == 0).all()  # magenta and plum have no green
        assert tuple(clean.frames[0, 0, 0]) == MAGENTA
        there = np.isfinite(video[0, ..., 0])
        low, high = config.normaliser.low, config.normaliser.high
        expected = np.rint((clips[number][0, there, 0] - low) / (high - low) * 255)
        assert np.abs(clean.frames[0, there, 0] - expected).max() <= 1
        target = noisy.marks.index("T")
        changed = noisy.frames[target, there].astype(float) - clean.frames[target, there]
        assert abs(changed).mean() > 20
        if "K" in noisy.marks:
            known = noisy.marks.index("K")
            same = noisy.frames[known, there].astype(float) - clean.frames[known, there]
            assert abs(same).mean() < 10
    assert [row.marks for row in sheet_rows(config, clips)] == [row.marks for row in rows]


def test_the_sheet_of_sane_data_has_no_magenta(tmp_path: Path) -> None:
    config, clips = ready(tiny(asked_of(sane(tmp_path))))
    clean = sheet_rows(config, clips)[0].frames
    assert (clean[..., 0] == clean[..., 1]).all()


def speed(reading: float, second: float) -> Speed:
    return Speed(
        device="cpu", clips_per_second=reading, step_seconds=second, measured_batch=8, batch=8
    )


def test_data_that_is_read_too_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_of(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert list(judge_speed(speed(9, 1), asked, asked.config)) == []
    (workers,) = judge_speed(speed(3, 1), asked, asked.config)
    assert workers.settings == {"workers": 4}
    assert list(judge_speed(speed(3, 1), asked, replace(asked.config, workers=4))) == []
    (pack,) = judge_speed(speed(0.1, 1), asked, asked.config)
    assert pack.subject == "speed"
    first, train = commands(asked, asked.config, [pack])
    size = "--data.height 16 --data.width 16 --data.channels 1"
    store = f"{tmp_path}-packed"
    assert first == f"framefill pack {tmp_path} --out {store} --recipe small-st {size}"
    assert f"--data {store} " in train
    (memory,) = judge_speed(speed(9, math.inf), asked, asked.config)
    assert memory.settings == {"optim.microbatch": 2}


def test_the_commands_that_pack_and_train_work(tmp_path: Path) -> None:
    videos = {name: moving(seed=i, size=20) for i, name in enumerate(("train/a", "test/b"))}
    asked = asked_of(folder_of(tmp_path / "d", videos), fit="crop", every=2, short="pad")
    slow = Finding(subject="speed", weight="harms", text="slow")
    pack, train = commands(asked, asked.config, [slow])
    assert main(shlex.split(pack)[1:]) == 0
    assert "--data.fit" not in train
    assert "--data.every 2" in train
    assert run(train, tmp_path / "run") == 0
    packed = replace(asked, data=tmp_path / "d-packed")
    (found,) = judge_speed(speed(0.001, 1), packed, asked.config)
    assert found.weight == "note"


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = sane(tmp_path / "d", floats=moving().astype(np.float32))
    words = ["doctor", str(root), "--data.channels=1", "--network.width=8", "--optim.batch=2"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    line = capsys.readouterr().out.splitlines()[-1].strip()
    again = shlex.split(line)
    assert again[:2] == ["framefill", "doctor"]
    (root / "train" / "floats.npy").unlink()
    again[again.index("--out") + 1] = str(tmp_path / "again")
    assert main(again[1:]) == 0
    train = capsys.readouterr().out.splitlines()[-1].strip()
    assert run(train, tmp_path / "run") == 0
    (tmp_path / "empty").mkdir()
    assert main(["doctor", str(tmp_path / "empty"), "--out", str(tmp_path / "none")]) == 2
    assert "holds no videos" in capsys.readouterr().err


def test_the_row_that_is_filled_is_one_that_training_shows() -> None:
    assert usual_row(BlockMasks(past=2, target=3), 0) == "KKTTT"
    assert usual_row(BlockMasks(past=2, target=3, drop_past=0.9), 0) == "KKTTT"
    row = usual_row(RandomMasks(frames=4, max_known=2), 0)
    assert set(row) == {"K", "T"}
    assert usual_row(BlockMasks(past=0, target=3), 0) == "TTT"
    assert usual_row(recipe("small-st").masks, 0) == "KKKKTTTTTT"


def test_flags_say_what_differs(tmp_path: Path) -> None:
    asked = asked_of(sane(tmp_path / "d d"), flip=True, every=2, missing=-9.5, resize="box")
    plain = replace(asked.plain, data=replace(asked.plain.data, holdout=0.2), recompute=True)
    asked = replace(asked, plain=plain)
    (line,) = commands(asked, asked.config, [])
    words = shlex.split(line)
    assert words[:5] == ["framefill", "train", "small-st", "--data", str(tmp_path / "d d")]
    assert set(words[7:]) == {
        *("--data.height", "16", "--data.width", "--data.channels", "1", "--data.flip"),
        *("--data.every", "2", "--data.missing=-9.5", "--data.resize", "box"),
        *("--data.holdout", "0.1", "--no-recompute"),
    }
    assert run(line, tmp_path / "run") == 0


@pytest.mark.parametrize(
    ("psnr", "best", "last", "steps", "verdict"),
    [
        (30.0, 29.0, 0.1, 10, "learned"),
        (None, 29.0, 0.1, 10, "learned"),
        (28.0, 29.0, 0.1, 10, "too few steps"),
        (28.0, 29.0, 0.1, 1000, "too few steps"),
        (28.0, 29.0, 0.99, 1000, "not learned"),
        (None, None, 0.1, 1000, "nothing moves"),
    ],
)
def test_verdicts(
    psnr: float | None, best: float | None, last: float, steps: int, verdict: str
) -> None:
    found = Overfit(
        row="KT",
        steps=steps,
        seconds=1.0,
        first_loss=1.0,
        last_loss=last,
        psnr=psnr,
        baselines={"copy last": 10.0, "linear": best},
        verdict="learned",
    )
    assert verdict_on(found) == verdict


def flickering(seed: int) -> np.ndarray:
    """Two pictures in turn: hard for what copies, easy for what learns."""
    rows, columns = np.indices((16, 16))
    one = 127 + 100 * np.sin(rows / 2 + seed) * np.cos(columns / 3)
    both = np.stack([one, 255 - one])[..., None].astype(np.uint8)
    return np.tile(both, (10, 1, 1, 1))


def test_a_clip_is_learned(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"train/a": flickering(0), "test/b": flickering(1)})
    asked = tiny(asked_of(root))
    config, clips = ready(asked)
    masks = BlockMasks(past=2, target=2)
    config = replace(config, masks=masks)
    clips = gather(asked.videos).clips(asked.videos, "train", frames=4, seed=0)
    # So slow, as far as it knows, that there is time for 100 steps.
    found = overfit_clip(config, clips, speed(100, 12), 5.0, torch.device("cpu"))
    assert (found.row, found.steps) == ("KKTT", 100)
    assert set(found.baselines) == {"copy last", "nearest", "linear", "mean of given frames"}
    assert found.verdict == "learned"


def test_nothing_is_learned_without_steps(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"train/a": flickering(0), "test/b": flickering(1)})
    report = examined(asked_of(root), tmp_path / "out", overfit=True, minutes=0.002)
    assert report.overfit is not None
    assert report.overfit.verdict == "too few steps"
    print_report(report, tmp_path / "out", Console(quiet=True))


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the difficult files are not at {SHARED}")
def test_difficult_files(tmp_path: Path) -> None:
    plain = tiny(asked_of(SHARED / "edge"))
    report = doctor(plain, out=tmp_path / "out", device="cpu")
    assert {"files", "sizes"} <= {each.subject for each in report.findings}
    print_report(report, tmp_path / "out", Console(quiet=True))
