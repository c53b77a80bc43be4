"""Evaluation: what is scored, beside what, and that it can be repeated."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from framefill.cli import main
from framefill.config import Config
from framefill.data.videos import VideosConfig
from framefill.errors import InputError
from framefill.evaluate import Scoring, data_of, evaluate, example_rows
from framefill.fill import load
from framefill.masks import BlockMasks, RandomMasks
from framefill.metrics.scores import score
from framefill.model import Model
from framefill.planning import can_fill
from framefill.recipes import recipe
from framefill.settings import Settings

ROW = "KKTTKK"


@pytest.fixture(scope="module")
def digits() -> tuple[Model, Config]:
    return load("digits").model, recipe("digits")


def test_scores_do_not_depend_on_the_batch(digits: tuple[Model, Config]) -> None:
    model, config = digits
    one, many = (
        evaluate(
            model,
            config.data,
            ROW,
            scoring=Scoring(clips=3),
            settings=Settings(samples=2, steps=2, batch=batch),
        )
        for batch in (1, 16)
    )
    # One grey level may differ, where a convolution rounds otherwise in another batch.
    for metric in ("psnr", "ssim"):
        ours, theirs = one.model.best[metric].mean, many.model.best[metric].mean
        assert ours == pytest.approx(theirs, rel=1e-3)
    assert one.baselines == many.baselines


def test_only_targets_are_scored_and_baselines_are_what_they_say(
    digits: tuple[Model, Config],
) -> None:
    model, config = digits
    settings = Settings(samples=1, steps=2)
    scoring = Scoring(clips=2, ssim="channels")
    found = evaluate(model, config.data, "KKT", scoring=scoring, settings=settings)
    source = config.data.clips(frames=3, split="test", seed=0)
    truth = np.stack([source[0], source[1]])
    copied = score(truth[:, 2:], truth[:, None, 1:2], data_range=255)
    assert found.baselines["copy last"] == copied
    assert found.model.videos == 2


def test_no_more_trajectories_are_filled_at_once_than_asked_for(
    digits: tuple[Model, Config],
) -> None:
    model, config = digits
    sizes = []

    class Watched(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model.network

        def forward(self, canvas, labels, roles):
            sizes.append(len(canvas))
            return self.inner(canvas, labels, roles)

    watched = Model(Watched(), replace(model.config, guidance=1.0))
    settings = Settings(samples=5, steps=1, batch=3)
    evaluate(watched, config.data, ROW, scoring=Scoring(clips=2), settings=settings)
    assert max(sizes) == 3


def test_scores_are_of_what_the_model_gave_not_of_whole_numbers(
    digits: tuple[Model, Config],
) -> None:
    model, config = digits
    seen = []
    evaluate(
        model,
        config.data,
        ROW,
        scoring=Scoring(clips=1),
        settings=Settings(samples=1, steps=2),
        show=lambda truth, filled: seen.append(filled),
    )
    assert seen[0].dtype == np.float32
    assert (seen[0] % 1 != 0).any()


def test_digits_are_compared_in_black_and_white(digits: tuple[Model, Config]) -> None:
    model, config = digits
    assert Scoring().ssim_for(model.config, config.data) == "binary_bytes"
    assert Scoring().ssim_for(model.config, VideosConfig()) == "grey_bytes"
    assert Scoring(ssim="channels").ssim_for(model.config, config.data) == "channels"
    counts = replace(model.config.normaliser, dtype="uint16")
    deep = replace(model.config, normaliser=counts)
    assert Scoring().ssim_for(deep, VideosConfig()) == "channels"


def test_rows_without_given_frames_have_no_scores(digits: tuple[Model, Config]) -> None:
    model, config = digits
    with pytest.raises(InputError, match="no given frames"):
        evaluate(model, config.data, "TTT")


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


def test_a_model_without_a_run_needs_data(digits: tuple[Model, Config], tmp_path: Path) -> None:
    model, _ = digits
    with pytest.raises(InputError, match="give a folder with --data"):
        data_of(tmp_path, None, model.config)
    assert data_of(tmp_path, tmp_path, model.config) == VideosConfig(
        path=tmp_path, height=32, width=32, channels=1
    )


def test_the_command_writes_scores_and_sheets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data" / "test"
    data.mkdir(parents=True)
    source = recipe("digits").data.clips(frames=8, split="test", seed=0)
    for number in range(2):
        np.save(data / f"{number}.npy", source[number])
    model, out = tmp_path / "model", tmp_path / "scores"
    load("digits").model.save(model)
    command = ["evaluate", str(model), "--data", str(data.parent), "--out", str(out)]
    command += ["--roles", ROW, "TTT", "--clips", "2", "--samples", "2", "--steps", "2"]
    assert main(command) == 0
    table = capsys.readouterr().out
    assert "best of 2" in table
    assert "linear" in table
    assert (out / f"0-{ROW}.png").is_file()
    assert (out / "1-TTT.png").is_file()
    written = json.loads((out / "scores.json").read_text())
    assert [row["row"] for row in written["rows"]] == [ROW]
    assert written["settings"]["steps"] == 2
    assert written["ssim"] == "grey_bytes"
    assert main(command) == 2, "it must not write into a folder that is there"
    assert "exists" in capsys.readouterr().err


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
    said = capsys.readouterr().err
    assert "it can predict (after 2 or more given frames)" in said
    assert not (tmp_path / "out").exists()
