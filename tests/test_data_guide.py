"""The examples of docs/data.md do what they say."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import framefill as ff
from framefill.config import LogConfig, OptimConfig

GUIDE = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_dataset_of_the_guide_is_fifteen_lines_and_trains(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    text, call = block[block.index("class Waves") :].split("\n\n\nmodel = ")
    assert len([line for line in text.splitlines() if line.strip()]) <= 15
    assert call.strip() == 'ff.train("small-st", data=Waves(), out="runs/waves")'
    space: dict[str, Any] = {"np": np}
    exec(compile(text, "docs/data.md", "exec"), space)
    config = replace(
        ff.recipe("small-st"),
        optim=OptimConfig(steps=2, batch=2, lr=1e-3),
        log=LogConfig(sample_every=0),
    )
    model = ff.train(config, data=space["Waves"](), out=tmp_path / "run", progress=False)
    assert (model.config.height, model.config.width, model.config.channels) == (16, 24, 1)
    assert [each.name for each in model.config.conditions] == ["speed"]
    clip = space["Waves"]().clip(0)["frames"][..., None]
    speed = np.full((12, 1), 0.5, np.float32)
    filled = ff.Filler(model).predict(clip, frames=2, steps=2, conditions={"speed": speed})
    assert filled.frames.shape == (1, 12, 16, 24, 1)
    assert np.array_equal(filled.frames[0, :10], clip, equal_nan=True)
    assert np.isfinite(filled.frames[0, 10:]).all()


def test_links_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", GUIDE) if "://" not in link]
    for link in links:
        assert (Path(__file__).parents[1] / "docs" / link.split("#")[0]).is_file(), link
