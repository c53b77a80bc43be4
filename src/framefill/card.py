"""The model card: what to know about a trained model."""

import json
from datetime import UTC, datetime

import torch

from framefill.config import Config
from framefill.data.digits import DigitsConfig
from framefill.data.own import OwnConfig
from framefill.serialise import to_data
from framefill.training import TrainState


def model_card(config: Config, name: str, state: TrainState) -> str:
    """Return what to know about the model of a run, in Markdown."""
    parameters = sum(p.numel() for p in state.network.parameters())
    settings = json.dumps(to_data(config), indent=2)
    command = f"framefill train {name or 'config.json'} --out RUN"
    source = getattr(config.data, "path", None) or {
        DigitsConfig: "the handwritten digits that framefill carries",
        OwnConfig: "a Python object of the user's own",
    }.get(type(config.data), "none")
    return f"""# {name or "framefill"} model

A masked conditional video diffusion model for {config.data.height} x {config.data.width} frames of
{config.data.channels} channel(s), {parameters:,} parameters.

- Trained by: `{command}`
- Steps: {state.step:,} of {config.optim.steps:,}, {config.optim.batch} clips each
- Data: {source}
- Written: {datetime.now(UTC):%Y-%m-%d} with torch {torch.__version__.split("+")[0]}

## Settings

```json
{settings}
```
"""
