"""Protocols: values with names, of which every number decides something."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framefill.cli import main
from framefill.data.digits import DigitsConfig
from framefill.data.selection import Selection
from framefill.data.videos import VideosConfig
from framefill.errors import InputError
from framefill.planning import can_fill
from framefill.protocols.protocol import Protocol, own_protocol
from framefill.protocols.published import published_rows
from framefill.protocols.registry import PROTOCOLS, protocol
from framefill.recipes import recipe
from framefill.serialise import from_data, to_data

# By whose recipe the row of a protocol has to be possible.
RECIPES = {
    "smmnist": "smmnist-concat",
    "kth": "kth-concat",
    "bair": "bair-concat",
    "bair-1-15-ramvid": "bair-ramvid",
    "bair-complete": "bair-ramvid",
    "cityscapes": "cityscapes-concat",
    "kinetics600": "kinetics600-ramvid",
    "ucf101": "ucf101-mcvd",
    "ucf101-generate-ramvid": "ucf101-ramvid",
    "digits": "digits",
}


def test_all_protocols_of_both_papers_are_there() -> None:
    asked = {
        *("smmnist-5-10", "kth-10-30", "kth-10-40", "bair-1-15", "bair-2-28", "cityscapes-2-28"),
        *("kinetics600-5-11", "kinetics600-complete-0-1-14-15", "ucf101-generate"),
        *("smmnist-interpolate-5-10-5", "kth-interpolate-5-5-5", "bair-interpolate-1-5-2"),
        *("bair-1-15-ramvid", "bair-complete-0-15", "kinetics600-complete-0-5-10-15", "digits-5-5"),
    }
    assert asked <= PROTOCOLS.keys()
    assert {row.protocol for row in published_rows()} <= PROTOCOLS.keys()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_says_where_it_is_from_and_suits_a_recipe(name: str) -> None:
    found = PROTOCOLS[name]
    assert found.name == name
    assert found.source
    assert found.summary
    # A checkpoint that was trained for all tasks or for prediction alone; the longest key fits.
    key = max((key for key in RECIPES if name.startswith(key)), key=len)
    assert can_fill(found.row, recipe(RECIPES[key]).masks)
    size = recipe(RECIPES[key]).data
    assert (found.height, found.width, found.channels) == (size.height, size.width, size.channels)


def test_what_the_published_numbers_were_made_with() -> None:
    kth = PROTOCOLS["kth-10-30"]
    assert (kth.row.count("K"), kth.row.count("T")) == (10, 30)
    assert (kth.clips, kth.trajectories, kth.order, kth.start) == (256, 10, "spread", "random")
    assert (kth.ssim, kth.psnr, kth.span, kth.sampler, kth.steps) == (
        "grey_bytes",
        "video",
        "all",
        "ddpm",
        100,
    )
    assert PROTOCOLS["smmnist-5-10"].ssim == "binary_bytes"
    completion = PROTOCOLS["kinetics600-complete-0-1-14-15"]
    assert completion.row == "KK" + "T" * 12 + "KK"
    assert completion.span == "filled"
    assert completion.scored == list(range(2, 14))
    assert completion.resize == "bilinear_tf1"
    assert PROTOCOLS["bair-1-15"].scored == list(range(16))
    assert PROTOCOLS["ucf101-generate"].from_nothing


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_goes_through_json(name: str, tmp_path: Path) -> None:
    found = PROTOCOLS[name]
    text = json.dumps(to_data(found, Protocol))
    assert from_data(json.loads(text), Protocol, source="test") == found
    (tmp_path / "mine.json").write_text(text)
    assert protocol(tmp_path / "mine.json") == found
    (tmp_path / "report.json").write_text(json.dumps({"protocol": json.loads(text), "rows": []}))
    assert protocol(tmp_path / "report.json") == found


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="no protocol 'kth-10-31'; did you mean 'kth-10-3"):
        protocol("kth-10-31")
    (tmp_path / "mine.json").write_text('{"name": "mine", "row": "KT", "start": "middle"}')
    with pytest.raises(InputError, match="middle"):
        protocol(tmp_path / "mine.json")
    (tmp_path / "mine.json").write_text('{"name": "mine", "row": "KT", "clip": 3}')
    with pytest.raises(InputError, match="unknown key 'clip'; did you mean 'clips'"):
        protocol(tmp_path / "mine.json")
    for changes, message in (
        ({"row": "KKK"}, "nothing to fill"),
        ({"row": "KXT"}, "KXT"),
        ({"clips": 0}, "clips 0 must be"),
        ({"trajectories": 10**6}, "trajectories 1000000"),
        ({"name": "a/b"}, "name 'a/b'"),
        ({"name": ""}, "name ''"),
        ({"name": ".."}, r"name '\.\.'"),
        ({"name": "[/b]"}, r"name '\[/b\]'"),
        ({"videos": -1}, "below 0"),
    ):
        with pytest.raises(InputError, match=message):
            replace(PROTOCOLS["digits-5-5"], **changes)
    assert main(["protocols", "kth-10-31"]) == 2
    assert "framefill protocols lists them" in capsys.readouterr().err


def test_the_command_lists_and_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocols"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(PROTOCOLS)
    assert any(line.startswith("bair-1-15 ") and "256 clips x  10" in line for line in listed)
    assert main(["protocols", "kth-10-40"]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown) == json.loads(json.dumps(to_data(PROTOCOLS["kth-10-40"], Protocol)))


@settings(max_examples=50, deadline=None)
@given(st.text("KT-", min_size=1, max_size=90).filter(lambda row: "T" in row))
def test_a_row_of_ones_own_has_a_name(row: str) -> None:
    found = own_protocol(row)
    assert found.row == row
    assert found.name.startswith("own-")
    assert len(found.name) <= 40
    assert found.name not in PROTOCOLS


# Which clips


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> VideosConfig:
    """Three test videos of 5, 7 and 9 frames, whose pixels say where they are from."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "test").mkdir()
    for number, length in enumerate((5, 7, 9)):
        frames = np.arange(length, dtype=np.uint8) + 100 * number // 2
        frames = np.broadcast_to(frames[:, None, None, None], (length, 4, 4, 1))
        np.save(folder / "test" / f"{number}.npy", frames)
    return VideosConfig(path=folder, height=4, width=4, channels=1)


def starts(config: VideosConfig, clips: int, **choice: str) -> list[tuple[int, int]]:
    """Return the video and the first frame of each clip of 4 frames."""
    source = config.clips(frames=4, split="test", seed=0)
    chosen = Selection(source, clips, **choice)
    found = []
    for number in range(clips):
        value = int(chosen.clip(number)["frames"][0, 0, 0, 0])
        found.append(divmod(value, 50))
    return found


def test_clips_are_of_videos_in_turn_or_spread_as_in_the_official_loader(
    videos: VideosConfig,
) -> None:
    assert [video for video, _ in starts(videos, 7)] == [0, 1, 2, 0, 1, 2, 0]
    spread = [video for video, _ in starts(videos, 7, order="spread")]
    assert spread == [round(i / 6 * 2) for i in range(7)]
    assert starts(videos, 1, order="spread")[0][0] == 0


def test_no_clip_comes_twice_while_there_are_others(videos: VideosConfig) -> None:
    assert len(set(starts(videos, 6))) == 6
    last = [place for place in starts(videos, 18) if place[0] == 2]
    assert sorted(last) == [(2, start) for start in range(6)]


def test_clips_start_at_random_at_first_or_everywhere(videos: VideosConfig) -> None:
    random = starts(videos, 60)
    assert random == starts(videos, 60), "the same each time"
    assert {start for video, start in random if video == 2} == set(range(6))
    assert {start for _, start in starts(videos, 9, start="first")} == {0}
    everywhere = (
        [(0, s) for s in range(2)] + [(1, s) for s in range(4)] + [(2, s) for s in range(6)]
    )
    assert starts(videos, 12, start="even") == everywhere
    assert starts(videos, 2, start="even") == [everywhere[0], everywhere[-1]]


def test_videos_and_windows_are_counted(videos: VideosConfig) -> None:
    source = videos.clips(frames=4, split="test", seed=0)
    assert Selection(source, 3).videos == 3
    for start, most in (("random", 12), ("first", 3), ("even", 12)):
        for order in ("in_turn", "spread"):
            for clips in (1, 3, 7, 12, 18):
                chosen = Selection(source, clips, order=order, start=start)
                different = set(starts(videos, clips, order=order, start=start))
                assert chosen.distinct == len(different) <= most
    endless = DigitsConfig(size=16, glyph=8).clips(frames=4, split="test", seed=0)
    assert Selection(endless, 10**9).distinct == 10**9


def test_test_digits_can_be_the_first_ones() -> None:
    all_of_them = DigitsConfig(size=16, glyph=8).clips(frames=2, split="test", seed=0)
    first = DigitsConfig(size=16, glyph=8, held_out=5).clips(frames=2, split="test", seed=0)
    assert len(first.glyphs) == 5
    np.testing.assert_array_equal(first.glyphs, all_of_them.glyphs[:5])
    training = DigitsConfig(size=16, glyph=8, held_out=5).clips(frames=2, split="train", seed=0)
    assert len(training.glyphs) > 1000
    with pytest.raises(InputError, match="held_out -1"):
        DigitsConfig(held_out=-1)
