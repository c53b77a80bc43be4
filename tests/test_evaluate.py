"""Evaluation: what is scored, beside what, and that it can be repeated."""

import csv
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm
from test_backbones import NETWORKS
from test_benchmarks import film
from test_training import tiny

import framefill
from framefill.cli import main
from framefill.data.digits import DigitsConfig
from framefill.data.selection import Selection
from framefill.data.videos import VideosConfig
from framefill.data.write import write
from framefill.errors import InputError
from framefill.evaluation import weights
from framefill.evaluation.examples import example_rows
from framefill.evaluation.job import Asked, Job, prepare
from framefill.evaluation.marks import marks
from framefill.evaluation.measures import Measures
from framefill.evaluation.parts import Parts
from framefill.evaluation.report import Report
from framefill.evaluation.run import evaluate
from framefill.evaluation.weights import WeightFiles
from framefill.fill import load
from framefill.masks import BlockMasks, RandomMasks
from framefill.metrics.backbones.load import load_backbone
from framefill.metrics.baselines import linear_blend, pixel_mean
from framefill.metrics.scores import Summary, score, summary
from framefill.model import Model
from framefill.normalise import Normaliser
from framefill.planning import can_fill
from framefill.protocols.protocol import Protocol, own_protocol
from framefill.protocols.registry import PROTOCOLS
from framefill.recipes import recipe
from framefill.sampling import Ddpm
from framefill.settings import Settings

ROW = "KKTTKK"
DIGITS = DigitsConfig(size=16, glyph=8, speed=1, digits=1)


@pytest.fixture(scope="module")
def small() -> Model:
    """A model that has learned nothing, of one digit on 16 x 16."""
    torch.manual_seed(0)
    config = tiny().model()
    return Model(config.build().eval(), config)


def scored(model: Model, row: str = ROW, clips: int = 3, samples: int = 2, **asked) -> Report:
    settings = asked.pop("settings", Settings(steps=2))
    protocol = own_protocol(row, clips=clips, trajectories=samples)
    return evaluate(model, data=DIGITS, protocol=protocol, settings=settings, **asked)


def numbers(report: Report) -> dict:
    """Return all that must not depend on how a report was made."""
    data = report.data()
    del data["made"]
    return data


def test_scores_do_not_depend_on_the_batch(small: Model) -> None:
    one, many = (scored(small, settings=Settings(steps=2, batch=batch)) for batch in (1, 16))
    # One grey level may differ, where a convolution rounds otherwise in another batch.
    for metric in ("psnr", "ssim", "mse"):
        ours, theirs = (each.results.videos["model"].best[metric].mean for each in (one, many))
        assert ours == pytest.approx(theirs, rel=1e-3)
    assert one.results.videos["copy last"] == many.results.videos["copy last"]


def test_the_same_again_is_the_same(small: Model) -> None:
    assert numbers(scored(small)) == numbers(scored(small))
    other = scored(small, settings=Settings(steps=2, seed=1))
    assert other.results.videos["model"] != scored(small).results.videos["model"]


def test_only_targets_are_scored_and_baselines_are_what_they_say(small: Model) -> None:
    found = scored(small, "KKTTK", clips=2).results.videos
    source = DIGITS.clips(frames=5, split="test", seed=0)
    truth = np.stack([source[0], source[1]])
    for name, filled in (
        ("copy last", truth[:, [1, 1]]),
        ("nearest", truth[:, [1, 4]]),
        ("linear", linear_blend(truth, "KKTTK")[:, 2:4]),
        ("pixel mean", pixel_mean(truth, "KKTTK")[:, 2:4]),
    ):
        expected = score(truth[:, 2:4], filled[:, None], data_range=255, ssim="binary_bytes")
        assert found[name] == expected, name
    assert found["model"].videos == 2
    assert len({each.average["mse"].mean for each in found.values()}) == 5


def test_no_more_trajectories_are_filled_at_once_than_asked_for(small: Model) -> None:
    sizes = []

    class Watched(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small.network

        def forward(self, canvas, labels, roles):
            sizes.append(len(canvas))
            return self.inner(canvas, labels, roles)

    watched = Model(Watched(), replace(small.config, guidance=1.0))
    scored(watched, clips=2, samples=5, settings=Settings(steps=1, batch=3))
    assert max(sizes) == 3


class Counted(torch.nn.Module):
    """A network that counts its calls, and fails at one of them."""

    def __init__(self, inner: torch.nn.Module, last: int) -> None:
        super().__init__()
        self.inner, self.last, self.calls = inner, last, 0

    def forward(self, canvas, labels, roles):
        self.calls += 1
        if self.calls > self.last:
            raise MemoryError
        return self.inner(canvas, labels, roles)


def test_what_is_done_is_not_done_again(small: Model, tmp_path: Path) -> None:
    settings = Settings(steps=2, batch=2)

    def run(last: int, out: Path) -> tuple[int, Report | None]:
        network = Counted(small.network, last)
        counted = Model(network, replace(small.config, guidance=1.0))
        try:
            report = scored(counted, clips=6, out=out, settings=settings)
        except MemoryError:
            return network.calls - 1, None
        return network.calls, report

    all_calls, whole = run(10**6, tmp_path / "whole")
    first, nothing = run(all_calls // 4, tmp_path / "cut")
    assert nothing is None
    done = len(list((tmp_path / "cut" / "parts").glob("0*")))
    assert 1 <= done < 6
    rest, report = run(10**6, tmp_path / "cut")
    assert numbers(report) == numbers(whole)
    per_unit = first // done
    assert rest == all_calls - done * per_unit


def test_a_report_holds_what_a_stranger_needs(small: Model, tmp_path: Path) -> None:
    report = scored(small, out=tmp_path / "out", name="mine", keep=False)
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written == json.loads(json.dumps(report.data()))
    assert written["protocol"]["row"] == ROW
    assert written["protocol"]["clips"] == 3
    assert written["data"]["size"] == 16
    assert written["settings"]["seed"] == 0
    assert written["settings"]["sampler"]["steps"] == 2
    assert re.fullmatch("[0-9a-f]{64}", written["model"]["sha256"])
    assert written["model"]["config"]["height"] == 16
    assert {"framefill", "torch"} <= written["versions"].keys()
    assert {"date", "machine", "command", "processes"} <= written["made"].keys()
    assert written["left_out"].keys() == {"fvd", "lpips"}
    assert "10 frames or more, not 6" in written["left_out"]["fvd"]
    with (tmp_path / "out" / "clips.csv").open() as file:
        lines = list(csv.DictReader(file))
    source = DIGITS.clips(frames=6, split="test", seed=0)
    assert [line["sha256"] for line in lines] == [
        hashlib.sha256(source[i].tobytes()).hexdigest() for i in range(3)
    ]
    best = np.mean([max(float(line["psnr_0"]), float(line["psnr_1"])) for line in lines])
    assert best == pytest.approx(report.results.videos["model"].best["psnr"].mean)
    pictures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert pictures == ["best.png", "ensemble.png", "frames.png", "median.png", "worst.png"]
    for name in pictures:
        with Image.open(tmp_path / "out" / name) as image:
            assert np.asarray(image.convert("L")).std() > 5, "something is drawn"
    assert not list((tmp_path / "out").glob("parts*")), "what is needed no longer is gone"


def test_its_row_can_be_pasted_and_says_what_is_not_as_the_protocol_says(small: Model) -> None:
    protocol = replace(PROTOCOLS["digits-5-5"], clips=2, trajectories=2, sampler="ddim", steps=3)
    report = evaluate(small, data=DIGITS, protocol=protocol)
    lines = report.markdown().splitlines()
    assert lines[0].startswith("| filled by | PSNR | SSIM | MSE | CRPS |")
    best, mean, copied = lines[2:5]
    assert "trajectories each" not in copied, "nobody's sampler made it"
    assert "2 of 64 clips" in copied
    assert best.startswith("| model, best of 2 |")
    assert mean.startswith("| model, mean of 2 |")
    assert copied.startswith("| copy last |")
    for mark in (
        "2 of 64 clips",
        "2 instead of 4 trajectories",
        "frames of 16 x 16 x 1 instead of 32 x 32 x 1",
        "NOT AS THE PROTOCOL SAYS",
        "ddim of 3 steps",
    ):
        assert mark in mean
    psnr = report.results.videos["model"].best["psnr"].mean
    assert f"| {psnr:.2f} ± " in best


def test_as_the_protocol_says_there_is_no_mark(small: Model) -> None:
    own = scored(small)
    assert own.marks == []
    assert "NOT" not in own.markdown()


def test_a_report_is_a_protocol_that_repeats_it(small: Model, tmp_path: Path) -> None:
    first = scored(small, out=tmp_path / "first")
    again = evaluate(
        small, data=DIGITS, protocol=tmp_path / "first" / "report.json", settings=Settings(steps=2)
    )
    assert numbers(again) == numbers(first)


def test_a_model_that_loses_to_a_baseline_is_told_so(small: Model) -> None:
    report = scored(small)
    assert re.match(
        r"PSNR: the model \([\d.]+\) loses to .*copy last \([\d.]+\)", report.verdicts[0]
    )
    assert report.verdicts[-1].startswith("CRPS: the model") or "MSE" in report.verdicts[-1]
    digits = evaluate("digits", protocol=PROTOCOLS["digits-interpolate-4-2-4"], clips=4, samples=1)
    assert digits.verdicts == ["PSNR, SSIM, MSE, CRPS: the model is ahead of every baseline"]


# What is refused, and what is left out


def test_data_with_too_few_clips_is_refused_unless_asked_for(small: Model, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "test"
    folder.mkdir(parents=True)
    source = DIGITS.clips(frames=8, split="test", seed=0)
    for number in range(3):
        np.save(folder / f"{number}.npy", source[number])
    data = VideosConfig(path=folder.parent, height=16, width=16, channels=1)
    protocol = Protocol(name="own-data", row=ROW, clips=10, trajectories=1, videos=5)
    settings = Settings(steps=1)
    with pytest.raises(InputError, match="takes 10 different clips, and the test data has 9: ask"):
        evaluate(small, data=data, protocol=protocol, settings=settings)
    few = replace(protocol, clips=4)
    with pytest.raises(InputError, match="of 5 test videos or more, and the data has 3: add"):
        evaluate(small, data=data, protocol=few, settings=settings)
    asked = evaluate(small, data=data, protocol=few, clips=4, settings=settings)
    assert asked.marks == ["3 of 5 test videos"]
    assert "3 of 5 test videos" in asked.markdown()


def test_a_done_or_foreign_folder_is_not_written_to(small: Model, tmp_path: Path) -> None:
    scored(small, out=tmp_path / "done")
    before = (tmp_path / "done" / "report.json").read_bytes()
    with pytest.raises(InputError, match="exists and is done: choose another"):
        scored(small, out=tmp_path / "done")
    assert (tmp_path / "done" / "report.json").read_bytes() == before
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match="foreign exists: choose another"):
        scored(small, out=tmp_path / "foreign")
    Parts(tmp_path / "begun").begin({"settings": {"seed": 1}})
    with pytest.raises(InputError, match="unfinished evaluation with another protocol: repeat"):
        scored(small, out=tmp_path / "begun")
    scored(small, out=tmp_path / "kept", keep=True)
    assert len(list((tmp_path / "kept" / "frames").glob("*.npz"))) == 1
    (tmp_path / "table.json").write_text("mine")
    with pytest.raises(InputError, match=r"table\.json exists"):
        scored(small, out=tmp_path / "table.json")


def test_a_report_can_have_a_name_of_its_own(small: Model, tmp_path: Path) -> None:
    scored(small, out=tmp_path / "table.json")
    assert (tmp_path / "table.json").read_text() == (tmp_path / "table" / "report.json").read_text()


def test_rows_without_given_frames_have_sets_and_pictures_alone(
    small: Model, tmp_path: Path
) -> None:
    masks = BlockMasks(past=2, target=1, future=1, drop_past=0.5, drop_future=0.5)
    free = replace(small, config=replace(small.config, masks=masks))
    with pytest.raises(InputError, match="has no known frames, so videos can only be scored as a"):
        scored(free, "TTT", out=tmp_path / "out")
    report = scored(free, "TTT", out=tmp_path / "out", keep=True)
    assert report.results.videos == {}
    assert report.results.ensemble is None
    assert (tmp_path / "out" / "filled.png").is_file()
    assert len(report.markdown().splitlines()) == 3
    assert report.rows[0].values == {}
    assert report.verdicts == []


def test_a_model_of_another_size_is_refused_before_the_work(small: Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="digits-5-5 has frames of 32 x 32 x 1 and the model take"):
        evaluate(small, protocol="digits-5-5", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="smmnist-5-10 is of MNIST: give the folder"):
        evaluate(small, protocol="smmnist-5-10")
    with pytest.raises(InputError, match="digits-5-5 makes its clips itself"):
        evaluate(small, protocol="digits-5-5", data=tmp_path)
    with pytest.raises(InputError, match="is no run, which knows its data"):
        evaluate(small, protocol="kth-10-30")
    with pytest.raises(InputError, match="has sampler 'euler': use ddpm, ddim"):
        prepared(small, replace(own_protocol(ROW), sampler="euler"))


def test_an_own_sampler_of_the_protocols_kind_stays_as_it_is(small: Model) -> None:
    walk = Ddpm(steps=4, variance="large")
    own = replace(small, config=replace(small.config, sampler=walk))
    protocol = replace(own_protocol(ROW, clips=1, trajectories=1), sampler="ddpm", steps=2)
    job = prepared(own, protocol)
    assert job.work.settings.sampler == replace(walk, steps=2)
    assert prepared(small, protocol).work.settings.sampler == Ddpm(steps=2)


def prepared(model: Model, protocol: Protocol, **asked) -> Job:
    given = {
        "source": None,
        "data": DIGITS,
        "clips": None,
        "samples": None,
        "fit": "none",
        "weights": WeightFiles(),
        "settings": Settings(),
        **asked,
    }
    return prepare(model, Asked(protocol=protocol, **given), lambda line: None)


# What the rows say


def test_other_data_under_a_published_name_is_marked(small: Model) -> None:
    digits = load("digits").model

    class Noise:
        def __len__(self) -> int:
            return 64

        def clip(self, i: int) -> dict:
            rng = np.random.default_rng(i)
            return {"frames": rng.integers(0, 256, (10, 32, 32, 1)).astype(np.uint8)}

    job = prepared(digits, PROTOCOLS["digits-5-5"], data=Noise())
    assert job.marks == ["data not recognised as digits"]
    assert prepared(digits, PROTOCOLS["digits-5-5"], data=None).marks == []
    slow = replace(PROTOCOLS["digits-5-5"].digits, speed=1, held_out=9)
    assert prepared(digits, PROTOCOLS["digits-5-5"], data=slow).marks == [
        "speed 1 of the digits instead of 2",
        "held_out 9 of the digits instead of 0",
    ]
    carried = DigitsConfig(held_out=256)
    assert "data not recognised as smmnist" in marks_of(small, "smmnist-5-10", carried)


def marks_of(model: Model, name: str, data) -> list[str]:
    """Return the marks of a protocol's data; the first one is of the small model's frames."""
    selection = Selection(DIGITS.clips(frames=4, split="test", seed=0), 2)
    protocol = PROTOCOLS[name]
    return marks(protocol, protocol, data, model, selection, Ddpm(steps=100), {})


def test_what_decides_the_clips_of_a_benchmark_is_marked(small: Model, tmp_path: Path) -> None:
    data = VideosConfig(
        path=tmp_path,
        benchmark="bair",
        split="official",
        variables=("image_main",),
        every=2,
        fps=12.5,
        short="pad",
        classes=("push",),
    )
    found = marks_of(small, "bair-1-15", data)
    assert found[1:] == [
        "every 2 of the data instead of 1",
        "fps 12.5 of the data instead of 0.0",
        "short 'pad' of the data instead of 'leave_out'",
        "variables ('image_main',) of the data instead of ()",
        "told the class of each clip",
    ]
    plain = VideosConfig(path=tmp_path, benchmark="bair", split="official")
    assert marks_of(small, "bair-1-15", plain)[1:] == []
    assert marks_of(small, "kth-10-30", plain)[1:] == ["data not recognised as kth"]


def test_a_published_data_set_is_evaluated_as_it_lies_on_the_disk(tmp_path: Path) -> None:
    for person, action in ((1, "walking"), (21, "walking"), (22, "boxing")):
        name = f"person{person:02}_{action}_d1_uncomp.avi"
        film(tmp_path / "kth" / action / name, frames=45, level=person)
    base = recipe("kth-concat")
    network = replace(
        base.network, width=8, head_width=8, multipliers=(1, 1), blocks=1, attention=()
    )
    config = replace(base, network=network).model()
    torch.manual_seed(0)
    report = evaluate(
        Model(config.build().eval(), config),
        protocol="kth-10-30",
        data=tmp_path / "kth",
        clips=2,
        samples=1,
        settings=Settings(steps=1),
    )
    assert report.marks == [
        "2 of 256 clips",
        "1 instead of 10 trajectories",
        "2 of 100 test videos",
        "ddpm of 1 steps instead of ddpm of 100 steps",
    ]
    assert report.data()["data"]["split"] == "svg"
    assert report.data()["data"]["fit"] == "stretch", "films are of another size"
    assert report.results.videos["copy last"].average["psnr"].mean is not None


def test_a_changed_protocol_of_ones_own_is_marked_too(small: Model) -> None:
    mine = Protocol(name="mine", row=ROW, clips=20, trajectories=4, sampler="ddpm", steps=100)
    job = prepared(
        small, mine, clips=2, samples=1, settings=Settings(sampler="ddim", steps=7, guidance=1.5)
    )
    assert job.marks == [
        "2 of 20 clips",
        "1 instead of 4 trajectories",
        "ddim of 7 steps instead of ddpm of 100 steps",
    ]
    assert job.walk == "ddim of 7 steps, guidance 1.5"
    repeated = prepared(small, mine, settings=Settings(repeats=3, seed=2, advance=1))
    assert repeated.marks == ["ddpm of 100 steps x 3 instead of ddpm of 100 steps"]
    assert repeated.walk == "ddpm of 100 steps x 3, advance 1, seed 2"
    with pytest.raises(InputError, match="conditions are those of the held-out clips"):
        prepared(small, mine, settings=Settings(conditions={}))


def test_a_draw_is_no_lead(small: Model) -> None:
    report = scored(small)
    same = report.results.videos["copy last"]
    videos = dict(report.results.videos) | {"model": same}
    level = replace(report, results=replace(report.results, videos=videos, crps={}))
    assert not any("MSE: the model is ahead" in each for each in level.verdicts)
    assert not any("copy last" in each for each in level.verdicts)


def test_given_frames_of_baselines_are_the_true_ones(networks: dict[str, Path]) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (2, 12, 16, 16, 1)).astype(np.uint8)
    seen: list[np.ndarray] = []

    class Watching(Seen):
        def __call__(
            self, videos: np.ndarray, *, data_range: float, resize: str = "bilinear"
        ) -> np.ndarray:
            seen.append(videos)
            return super().__call__(videos, data_range=data_range, resize=resize)

    protocol = own_protocol("KKKK" + "T" * 8, clips=2, trajectories=1)
    measures = Measures(protocol, 0.0, 255.0, backbones={"i3d": Watching()})
    measures.of(truth, np.zeros((2, 1, *truth.shape[1:]), np.float32) + truth[:, None])
    assert len(seen) == 3, "truth, copying (as nearest and linear) and the mean of the pixels"
    for videos in seen:
        np.testing.assert_allclose(videos[:, :4], truth[:, :4] / 255, atol=1e-6)


def test_an_infinite_ratio_is_ahead_and_no_score_is_no_ratio(small: Model) -> None:
    report = scored(small)

    def with_copied(psnr: Summary) -> Report:
        videos = dict(report.results.videos)
        average = {**videos["copy last"].average, "psnr": psnr}
        videos["copy last"] = replace(videos["copy last"], average=average)
        return replace(report, results=replace(report.results, videos=videos))

    still = with_copied(summary(np.array([30.0, np.inf])))
    assert "copy last (inf)" in still.verdicts[0]
    assert "| infinite |" in still.markdown()
    assert "infinite" not in with_copied(summary(np.full(3, np.nan))).markdown()


def test_chances_to_be_above_a_threshold_are_scored(small: Model, tmp_path: Path) -> None:
    report = evaluate(
        small,
        data=DIGITS,
        protocol=own_protocol(ROW, clips=3, trajectories=4, above=(100.0,)),
        settings=Settings(steps=1),
        keep=True,
        out=tmp_path / "out",
    )
    kept = [np.load(path) for path in sorted((tmp_path / "out" / "frames").glob("*.npz"))]
    truth, filled = (np.concatenate([each[name] for each in kept]) for name in ("truth", "filled"))
    came = truth[:, 2:4] > 100
    chance = (filled[:, :, 2:4] > 100).mean(axis=1)
    scores = report.results.thresholds["100"]
    assert scores.brier["model"].mean == pytest.approx(((chance - came) ** 2).mean())
    assert sum(scores.share) == pytest.approx(1)
    assert scores.share[0] == pytest.approx((chance < 0.1).mean())
    assert scores.event[0] == pytest.approx(came[chance < 0.1].mean())
    copied = (truth[:, [1, 1]] > 100) != came
    assert scores.brier["copy last"].mean == pytest.approx(copied.mean())


# Scores with networks


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Narrow networks in the formats of the published files."""
    folder = tmp_path_factory.mktemp("weights")
    for kind in ("i3d", "c3d"):
        torch.save(NETWORKS[kind]().state_dict(), folder / f"{kind}.pt")
    return {kind: folder / f"{kind}.pt" for kind in ("i3d", "c3d")}


def frechet(real: np.ndarray, fake: np.ndarray) -> float:
    gap = real.mean(axis=0) - fake.mean(axis=0)
    one, other = (np.cov(each.astype(np.float64), rowvar=False) for each in (real, fake))
    return float(gap @ gap + np.trace(one + other - 2 * np.real(sqrtm(one @ other))))


@pytest.mark.parametrize("span", ["all", "filled"])
def test_fvd_is_what_a_computation_by_hand_from_the_videos_gives(
    small: Model, networks: dict[str, Path], tmp_path: Path, span: str
) -> None:
    row = "KK" + "T" * 10
    protocol = replace(
        own_protocol(row, clips=8, trajectories=2), span=span, sets=("fvd", "kvd"), scores=("mse",)
    )
    report = evaluate(
        small,
        data=DIGITS,
        protocol=protocol,
        out=tmp_path / "out",
        weights=WeightFiles(i3d=networks["i3d"]),
        settings=Settings(steps=1, batch=6),
        keep=True,
    )
    kept = [np.load(path) for path in sorted((tmp_path / "out" / "frames").glob("*.npz"))]
    assert len(kept) == 3, "three clips at once"
    truth, filled = (np.concatenate([each[name] for each in kept]) for name in ("truth", "filled"))
    assert truth.shape == (8, 12, 16, 16, 1)
    assert filled.shape == (8, 2, 12, 16, 16, 1)
    fakes = filled.copy()
    fakes[:, :, :2] = truth[:, None, :2]
    seen = slice(None) if span == "all" else slice(2, None)
    network = load_backbone("i3d", networks["i3d"])
    real = network(truth[:, seen], data_range=255)
    fake = network(fakes[:, :, seen].reshape(16, -1, 16, 16, 1) / np.float32(255), data_range=1)
    found = report.results.sets["model"]
    assert (found.real, found.filled) == (8, 16)
    assert found.fvd == pytest.approx(frechet(real, fake), rel=1e-4)
    each = [frechet(real, fake[k::2]) for k in range(2)]
    assert found.fvd_of_trajectories is not None
    assert found.fvd_of_trajectories.mean == pytest.approx(np.mean(each), rel=1e-4)
    assert found.kvd is not None
    assert not found.deficient, "8 videos for 7 features"
    copied = truth.copy()
    copied[:, 2:] = truth[:, 1:2]
    expected = frechet(real, network(copied[:, seen], data_range=255))
    assert report.results.sets["copy last"].fvd == pytest.approx(expected, rel=1e-4)
    assert report.data()["weights"]["i3d"]["known"] == ""
    assert f"| {found.fvd:.1f} |" in report.markdown()


def test_unknown_weights_are_marked(small: Model, networks: dict[str, Path]) -> None:
    protocol = replace(own_protocol("KK" + "T" * 12, clips=2), scores=("mse",))
    job = prepared(small, protocol, weights=WeightFiles(i3d=networks["i3d"]))
    sha = hashlib.sha256(networks["i3d"].read_bytes()).hexdigest()
    assert job.marks == [f"i3d of unknown weights ({sha[:8]})"]


def test_only_files_with_a_known_hash_are_fetched(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FRAMEFILL_WEIGHTS", str(tmp_path))
    asked: list[str] = []
    monkeypatch.setattr(weights, "fetch", lambda kind, folder: asked.append(kind))
    (tmp_path / "alex.pth").write_bytes(b"there already")
    protocol = replace(PROTOCOLS["ucf101-generate-ramvid"], scores=("lpips",))
    weights.fetch_missing([protocol], WeightFiles(), lambda line: None)
    assert asked == ["i3d", "alexnet"], "c3d_ucf101.pt has no known hash"


def test_known_frames_make_fvd_smaller(small: Model, networks: dict[str, Path]) -> None:
    row = "K" * 6 + "T" * 10

    def fvd(span: str) -> float:
        protocol = replace(own_protocol(row, clips=6, trajectories=1), span=span, sets=("fvd",))
        files = WeightFiles(i3d=networks["i3d"])
        report = evaluate(
            small, data=DIGITS, protocol=protocol, weights=files, settings=Settings(steps=1)
        )
        value = report.results.sets["model"].fvd
        assert value is not None
        return value

    assert fvd("all") < 0.8 * fvd("filled")


def noisy_digits(frames: int, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Return true clips, and others that are near to them."""
    source = DIGITS.clips(frames=frames, split="test", seed=0)
    truth = np.stack([source[i] for i in range(count)])
    noise = np.random.default_rng(0).normal(0, 40, truth.shape)
    return truth, np.clip(truth + noise, 0, 255).astype(np.uint8)


def test_16_frames_and_20_are_different_scores(networks: dict[str, Path]) -> None:
    network = load_backbone("i3d", networks["i3d"])
    real, fake = (network(each, data_range=255) for each in noisy_digits(20))
    cut, cut_fake = (network(each[:, :16], data_range=255) for each in noisy_digits(20))
    longer, shorter = frechet(real, fake), frechet(cut, cut_fake)
    assert abs(longer - shorter) > 0.01 * longer
    with pytest.raises(InputError, match="8 frames: i3d takes at least 9"):
        network(noisy_digits(8)[0], data_range=255)


def test_a_round_trip_through_mp4_changes_the_score_and_none_is_made(
    networks: dict[str, Path], tmp_path: Path
) -> None:
    network = load_backbone("i3d", networks["i3d"])
    truth, _ = noisy_digits(12)
    tripped = truth.copy()
    for number, clip in enumerate(truth):
        write(tmp_path / f"{number}.mp4", clip, fps=8.0)
        read = framefill.read(tmp_path / f"{number}.mp4").frames
        tripped[number] = read[..., :1]
    assert not np.array_equal(tripped, truth), "a lossy file"
    real = network(truth, data_range=255)
    moved = frechet(real, network(tripped, data_range=255))
    assert moved > 1000 * abs(frechet(real, real))
    protocol = replace(own_protocol("KK" + "T" * 10, clips=8, trajectories=1), scores=("mse",))
    measures = Measures(protocol, 0.0, 255.0, backbones={"i3d": network})
    arrays = measures.of(truth, truth[:, None].astype(np.float32))
    np.testing.assert_array_equal(
        arrays["features/i3d/model"][:, 0], arrays["features/i3d/truth"][:, 0]
    )


def test_the_inception_score_is_of_filled_and_of_true_videos(
    small: Model, networks: dict[str, Path]
) -> None:
    protocol = replace(
        own_protocol("K" + "T" * 15, clips=10, trajectories=1), sets=("is",), scores=("mse",)
    )
    report = evaluate(
        small,
        data=DIGITS,
        protocol=protocol,
        weights=WeightFiles(c3d=networks["c3d"]),
        settings=Settings(steps=1),
    )
    assert report.results.sets["model"].inception >= 1
    assert report.rows[-1].method == "the true videos"
    assert report.rows[-1].values["IS"].startswith(f"{report.results.sets['truth'].inception:.2f}")


@pytest.mark.parametrize(
    ("sets", "row", "message"),
    [
        (("fvd",), "KK" + "T" * 7, "10 frames or more, not 9"),
        (("cd-fvd",), "K" * 4 + "T" * 16, "videos of 16 frames, not 20"),
        (("is",), "K" * 4 + "T" * 16, "videos of 16 frames, not 20"),
        (("is",), "K" + "T" * 15, "10 videos or more"),
        (("fvd",), "K" * 4 + "T" * 16, r"give --i3d FILE, .* i3d_torchscript\.pt \(SHA-256 bec651"),
    ],
)
def test_scores_that_can_not_be_had_are_left_out_and_said(
    small: Model, sets: tuple[str, ...], row: str, message: str, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FRAMEFILL_WEIGHTS", str(tmp_path))
    said: list[str] = []
    protocol = replace(own_protocol(row, clips=2, trajectories=1), sets=sets, scores=("mse",))
    asked = Asked(
        protocol=protocol,
        source=None,
        data=DIGITS,
        clips=None,
        samples=None,
        fit="none",
        weights=WeightFiles(),
        settings=Settings(steps=1),
    )
    job = prepare(small, asked, said.append)
    assert re.search(message, job.networks.left_out[sets[0]])
    assert said == [f"{sets[0]} is left out: {job.networks.left_out[sets[0]]}"]


def test_files_of_weights_are_found_in_their_folder_and_their_change_is_noticed(
    small: Model, networks: dict[str, Path], monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FRAMEFILL_WEIGHTS", str(tmp_path))
    (tmp_path / "i3d_pretrained_400.pt").write_bytes(networks["i3d"].read_bytes())
    protocol = replace(own_protocol("KK" + "T" * 12, clips=2), scores=("mse",))
    job = prepared(small, protocol)
    assert job.networks.left_out == {}
    sha = hashlib.sha256(networks["i3d"].read_bytes()).hexdigest()
    assert job.request["weights"]["i3d"] == {
        "file": "i3d_pretrained_400.pt",
        "sha256": sha,
        "known": "",
    }
    with pytest.raises(InputError, match="is no file: give --i3d"):
        prepared(small, protocol, weights=WeightFiles(i3d=tmp_path / "missing.pt"))


# Data of other kinds


def test_gaps_are_not_scored() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(250, 300, (2, 5, 12, 12, 1)).astype(np.float32)
    filled = np.repeat(truth[:, None], 2, axis=1) + 5
    protocol = own_protocol("KKTTT", clips=2, trajectories=2)
    measures = Measures(protocol, 250.0, 300.0, ssim="channels", whole=False)
    whole = measures.of(truth, filled)
    holed = truth.copy()
    holed[0, 2, :6] = np.nan  # a gap in a target
    holed[0, :2, 0, 0] = np.nan  # beyond the reach of the given frames
    holed[1, 3] = np.nan  # a target that is missing
    wild = filled.copy()
    wild[0, :, 2, :6] = 1e6
    wild[0, :, :, 0, 0] = -1e6
    found = measures.of(holed, wild)
    np.testing.assert_allclose(found["model/mse"][0], whole["model/mse"][0], rtol=1e-4)
    assert np.isnan(found["model/mse"][1, :, 1]).all()
    np.testing.assert_allclose(found["model/crps"][0], 0.1, rtol=1e-4)
    assert np.isnan(found["model/ssim"][0]).all(), "of frames without gaps alone"
    assert np.isfinite(found["model/ssim"][1, :, [0, 2]]).all()
    assert np.isfinite(found["copy last/mse"][0]).all()


def test_pictures_of_floats_end_where_their_range_ends() -> None:
    # In 32 bits the difference of the ends may lie above that in 64: no reason to stop.
    low, high = 12.1, 31.66
    rng = np.random.default_rng(0)
    truth = rng.uniform(low, high, (1, 3, 12, 12, 1)).astype(np.float32)
    truth[0, 2, 0, 0] = high + 0.2  # within the margin of new data
    filled = np.full((1, 1, 3, 12, 12, 1), np.float32(high))
    network = Seen()
    protocol = own_protocol("KKT", clips=1, trajectories=1)
    measures = Measures(
        protocol, low, high, ssim="grey_bytes", backbones={"i3d": network}, whole=False
    )
    arrays = measures.of(truth, filled)
    assert np.isfinite(arrays["model/ssim"]).all()
    assert network.largest == 1
    error = ((filled[0, 0, 2] - truth[0, 2]).astype(np.float64) / (high - low)) ** 2
    np.testing.assert_allclose(arrays["model/mse"][0, 0, 0], error.mean(), rtol=1e-5)


class Seen:
    """Features that remember the largest value."""

    dims, largest = 2, 0.0

    def __call__(
        self, videos: np.ndarray, *, data_range: float, resize: str = "bilinear"
    ) -> np.ndarray:
        assert not np.isnan(videos).any()
        self.largest = max(self.largest, float(videos.max()))
        return np.zeros((len(videos), 2), np.float32)


def test_gaps_of_given_frames_alone_leave_a_video_out_of_sets() -> None:
    truth = np.random.default_rng(0).uniform(0, 1, (2, 4, 12, 12, 1)).astype(np.float32)
    truth[0, [0, 3], 2, 2] = np.nan
    protocol = replace(own_protocol("KTTK", clips=2, trajectories=1), span="filled")
    measures = Measures(protocol, 0.0, 1.0, backbones={"i3d": Seen()}, whole=False)
    arrays = measures.of(truth, np.nan_to_num(truth)[:, None])
    for name in ("truth", "model", "copy last"):
        assert np.isnan(arrays[f"features/i3d/{name}"][0]).all()
        assert np.isfinite(arrays[f"features/i3d/{name}"][1]).all()


def test_a_clip_whose_given_frame_is_missing_is_left_out_and_counted(tmp_path: Path) -> None:
    config = replace(
        tiny().model(),
        normaliser=Normaliser(
            dtype="float32", offset=(280.0,), scale=(20.0,), low=250.0, high=310.0, units="K"
        ),
    )
    torch.manual_seed(0)
    model = Model(config.build().eval(), config)
    (tmp_path / "test").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        frames = rng.uniform(260, 300, (6, 16, 16)).astype(np.float32)
        if number == 1:
            frames[1] = np.nan
        np.save(tmp_path / "test" / f"{number}.npy", frames)
    data = VideosConfig(path=tmp_path, height=16, width=16, channels=1)
    report = evaluate(
        model,
        data=data,
        protocol=own_protocol(ROW, clips=3, trajectories=2),
        settings=Settings(steps=1),
    )
    assert report.results.unscored == 1
    assert "3 clips, 1 of them without anything to score, 2 trajectories each" in report.markdown()
    assert report.results.videos["model"].average["mse"].mean is not None
    assert report.data()["settings"]["sampler"]["steps"] == 1


def test_many_channels_are_scored_but_for_pictures() -> None:
    config = replace(tiny().model(), channels=5)
    torch.manual_seed(0)
    model = Model(config.build().eval(), config)

    class Fields:
        def __len__(self) -> int:
            return 4

        def clip(self, i: int) -> dict:
            rng = np.random.default_rng(i)
            return {"frames": rng.integers(0, 256, (6, 16, 16, 5)).astype(np.uint8)}

    report = evaluate(
        model,
        data=Fields(),
        protocol=own_protocol(ROW, clips=4, trajectories=2),
        settings=Settings(steps=1),
    )
    assert report.results.videos["model"].average["ssim"].mean is not None
    assert "1 or 3 channels, not 5" in report.left_out["lpips"]
    assert framefill.evaluate is evaluate
    gray = replace(own_protocol(ROW, clips=1, trajectories=1), ssim="grey_bytes")
    job = prepared(model, gray, data=Fields())
    assert "1 or 3 channels, not 5" in job.networks.left_out["ssim"]


@pytest.mark.parametrize(
    "masks",
    [
        BlockMasks(past=2, target=3, future=2, drop_past=0.5, drop_future=0.5),
        RandomMasks(frames=9, max_known=3),
        RandomMasks(frames=2, max_known=1),
    ],
    ids=str,
)
def test_example_rows_can_be_filled(masks) -> None:
    assert all(can_fill(row, masks) for row in example_rows(masks).values())


# The command


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, small: Model) -> tuple[Path, Path]:
    """A model folder, and a folder of test videos."""
    folder = tmp_path_factory.mktemp("command")
    small.save(folder / "model")
    (folder / "data" / "test").mkdir(parents=True)
    source = DIGITS.clips(frames=8, split="test", seed=0)
    for number in range(4):
        np.save(folder / "data" / "test" / f"{number}.npy", source[number])
    return folder / "model", folder / "data"


def test_the_command_scores_rows_of_ones_own(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = folders
    command = ["evaluate", str(model), "--data", str(data), "--out", str(tmp_path / "out")]
    command += ["--roles", ROW, "KKT", "--clips", "3", "--samples", "2", "--steps", "2"]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "best of 2" in shown.out
    assert ") loses to copy last (" in shown.out
    assert "lpips is left out: give --alexnet FILE" in shown.err
    for name in ("own-K2T2K2", "own-K2T1"):
        written = json.loads((tmp_path / "out" / name / "report.json").read_text())
        assert written["protocol"]["clips"] == 3
        assert written["marks"] == []
        assert written["made"]["command"].startswith("framefill ")
    assert main(command) == 0
    assert capsys.readouterr().err.count("is done already") == 2
    assert main([*command, "--seed", "1"]) == 2, "it must not write into a folder that is there"
    assert "done: choose another folder" in capsys.readouterr().err


def test_rows_of_ones_own_take_the_clips_that_there_are(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    model, data = folders
    command = ["evaluate", str(model), "--data", str(data), "--out", str(tmp_path / "out")]
    assert main([*command, "--roles", ROW, "--samples", "1", "--steps", "1"]) == 0
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["protocol"]["clips"] == 12
    assert written["made"]["data"]["path"] == str(data)
    assert "path" not in written["data"], "where data lies decides nothing"
    assert written["marks"] == []
    with (tmp_path / "out" / "clips.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {Path(line["video"]).name for line in lines} == {f"{n}.npy" for n in range(4)}
    source = DIGITS.clips(frames=8, split="test", seed=0)
    for line in lines:
        video = source[int(Path(line["video"]).stem)]
        first = int(line["first_frame"])
        expected = hashlib.sha256(video[first : first + 6].tobytes()).hexdigest()
        assert line["sha256"] == expected


def test_of_several_what_is_lacking_is_done(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = folders
    command = ["evaluate", str(model), "--data", str(data), "--out", str(tmp_path / "out")]
    command += ["--clips", "2", "--samples", "1", "--steps", "1", "--roles", ROW]
    assert main([*command, "KKT"]) == 0
    shutil.rmtree(tmp_path / "out" / "own-K2T1")
    assert main([*command, "KKT"]) == 0
    said = capsys.readouterr().err
    assert f"{tmp_path / 'out' / 'own-K2T2K2'} is done already" in said
    assert (tmp_path / "out" / "own-K2T1" / "report.json").is_file()
    # Nothing begins before everything was looked at.
    more = [word if word != str(tmp_path / "out") else str(tmp_path / "more") for word in command]
    assert main([*more, "K" + "T" * 99]) == 2
    assert not (tmp_path / "more").exists()


def test_a_name_is_no_markup(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = folders
    command = ["evaluate", str(model), "--data", str(data), "--out", str(tmp_path / "out")]
    command += ["--clips", "2", "--samples", "2", "--steps", "1", "--roles", ROW]
    assert main([*command, "--name", "[/x]", "--above", "100", "200.5"]) == 0
    assert "[/x]" in capsys.readouterr().out
    row = (tmp_path / "out" / "table.md").read_text()
    assert "| Brier >100 | Brier >200.5 |" in row


def test_the_command_chooses_a_name_where_there_is_none(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = folders
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", str(model), "--data", str(data), "--roles", ROW, "--clips", "2"]
    command += ["--samples", "1", "--steps", "1"]
    assert main(command) == 0
    assert main(command) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "scores-own-K2T2K2",
        "scores-own-K2T2K2-2",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--protocol", "digits-5"], "no protocol 'digits-5'; did you mean 'digits-5-5'?"),
        (["--protocol", "digits-5-5", "--roles", "KT"], "--roles, --ssim and --above are for row"),
        (["--roles", ROW, ROW], "own-K2T2K2 is asked for twice"),
        (["--roles", "KTX"], "KTX"),
        (
            ["--roles", ROW, "--clips", "2", "--alexnet", "nowhere.pt"],
            "nowhere.pt is no file: give --alexnet",
        ),
        (["--roles", ROW, "--clips", "0"], "clips 0 must be"),
        (["--roles", ROW, "--samples", "-1"], "samples -1 must be at least 1"),
        (["--roles", ROW, "--metric", "bpd", "--keep"], "for --metric all"),
        (["--roles", ROW, "--clips", "99"], "takes 99 different clips, and the test data has 12"),
        (["--roles", ROW, "--c3d", "x.pt"], "--c3d x.pt is for a score that own-K2T2K2 has not"),
        (["--roles", ROW, "--steps", "0"], "0 steps with"),
    ],
)
def test_mistakes_are_one_line(
    folders: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    model, data = folders
    out = tmp_path / "out"
    assert main(["evaluate", str(model), "--data", str(data), "--out", str(out), *words]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if line.startswith("framefill:")]) == 1
    assert message in said[-1]
    assert not out.exists()


def test_rows_that_the_model_can_not_fill_are_refused_before_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(
        recipe("digits").model(),
        masks=BlockMasks(past=2, target=2),
        network=recipe("smmnist-3d").network,
    )
    torch.manual_seed(0)
    Model(config.build(), config).save(tmp_path / "model")
    command = ["evaluate", str(tmp_path / "model"), "--data", str(tmp_path)]
    assert main([*command, "--out", str(tmp_path / "out"), "--roles", "TTKK"]) == 2
    assert "it can predict (after 2 or more given frames)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_carried_model_is_scored_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "digits", "--protocol", "digits-5-5", "--out", str(tmp_path / "t.json")]
    assert main([*command, "--clips", "3", "--samples", "2", "--steps", "3"]) == 0
    written = json.loads((tmp_path / "t.json").read_text())
    assert written["marks"] == ["3 of 64 clips", "2 instead of 4 trajectories"]
    assert written["rows"][0]["method"] == "digits, best of 2"
    assert load("digits").model.config.sampler.steps == 10
    assert "3 of 64 clips" in " ".join(capsys.readouterr().out.split())
