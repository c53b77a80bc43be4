"""What a stranger has to know to repeat an evaluation, and where it was made."""

import hashlib
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from framefill.config import DataConfig
from framefill.device import precision_on
from framefill.metrics.backbones.files import WeightFile
from framefill.model import Model
from framefill.model_config import SamplerConfig
from framefill.protocols.protocol import Protocol
from framefill.serialise import to_data
from framefill.settings import Settings


def request_of(
    protocol: Protocol,
    data: DataConfig,
    model: Model,
    settings: Settings,
    files: Mapping[str, WeightFile],
) -> dict[str, Any]:
    """Return all that decides the results of an evaluation, as plain data.

    The number of processes is no part of it, nor is where files lie.
    """
    return {
        "protocol": to_data(protocol, Protocol),
        "model": {"sha256": fingerprint(model), "config": to_data(model.config)},
        "data": {key: value for key, value in to_data(data, DataConfig).items() if key != "path"},
        "settings": {
            "seed": settings.seed,
            "sampler": to_data(settings.sampler_for(model), SamplerConfig),
            "guidance": model.config.guidance if settings.guidance is None else settings.guidance,
            "advance": settings.advance,
            "slide": settings.slide,
            "label": settings.label,
            "precision": str(precision_on(model.device, settings.precision)).removeprefix("torch."),
            "batch": settings.batch,
        },
        "weights": {
            kind: {"file": each.path.name, "sha256": each.sha256, "known": each.known}
            for kind, each in sorted(files.items())
        },
        "versions": {"framefill": version("framefill"), "torch": torch.__version__},
    }


def fingerprint(model: Model) -> str:
    """Return the SHA-256 of a model's weights and configuration."""
    digest = hashlib.sha256(json.dumps(to_data(model.config), sort_keys=True).encode())
    for name, value in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def made_now(device: torch.device, processes: int, command: str) -> dict[str, Any]:
    """Return where and when a report is made."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(device),
        "processes": processes,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "command": command,
    }


def machine(device: torch.device) -> str:
    """Return what computes, in a few words: the GPU's name, or the processor's."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    names = Path("/proc/cpuinfo")  # what Python itself says of a processor is little, on Linux
    if names.is_file():
        for line in names.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {torch.get_num_threads()} threads"
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
