"""Where the clips of a protocol come from."""

from dataclasses import replace
from pathlib import Path

from framefill.config import DataConfig, read_config
from framefill.data.benchmarks.registry import recognised
from framefill.data.digits import DigitsConfig
from framefill.data.own import OwnConfig
from framefill.data.videos import Fit, VideosConfig
from framefill.errors import InputError
from framefill.model_config import ModelConfig
from framefill.protocols.protocol import Protocol
from framefill.run_folder import Run


def data_of(
    protocol: Protocol,
    source: Path | None,
    data: Path | None,
    config: ModelConfig,
    *,
    fit: Fit = "none",
) -> DataConfig:
    """Return where a model's held-out clips come from.

    Args:
        protocol: Decides what they are of.
        source: Where the model was loaded from; a run folder knows its data.
        data: Folder to take them from instead; without a run, one with videos in test/.
        config: The model's configuration.
        fit: For videos of another size than the model's; "none": as the run or the protocol says.

    Raises:
        InputError: there is neither a run nor a folder, or not the data of the protocol.
    """
    known = _run_data(source)
    if protocol.digits is not None:
        return _digits(protocol, known, data)
    if isinstance(known, OwnConfig):
        raise InputError(
            f"{source} was trained on a Python object of your own: call framefill.evaluate with it"
        )
    if isinstance(known, DigitsConfig):
        if not protocol.benchmark:
            return known if data is None else _videos(protocol, None, data, config, fit)
        known = None
    if data is None and known is None:
        raise InputError(
            f"{source or 'this model'} is no run, which knows its data: give a folder with --data, "
            "or a protocol that makes its clips itself, such as digits-5-5"
        )
    return _videos(protocol, known, data, config, fit)


def is_benchmark(protocol: Protocol, data: DataConfig) -> bool:
    """Say whether clips are of the published data set that a protocol is of, if it is of one."""
    if not protocol.benchmark:
        return True
    if protocol.digits is not None:
        own = protocol.benchmark == "digits"
        return isinstance(data, DigitsConfig) and (data.path is None) == own
    if not isinstance(data, VideosConfig) or data.path is None or data.benchmark == "none":
        return False
    found = recognised(data.path) if data.benchmark == "auto" else None
    name = data.benchmark if found is None else found.name
    return name == protocol.benchmark


def _run_data(source: Path | None) -> DataConfig | None:
    if source is None:
        return None
    run = Run(source)
    known = run.config.is_file() and run.model.is_dir()
    return read_config(run.config).data if known else None


def _digits(protocol: Protocol, known: DataConfig | None, data: Path | None) -> DigitsConfig:
    """Return the protocol's moving digits; a reduced run's own, of its size, where it has them."""
    own = protocol.digits or DigitsConfig()
    if protocol.benchmark == "digits":
        if data is not None:
            raise InputError(f"{protocol.name} makes its clips itself: leave out --data {data}")
        return own
    if isinstance(known, DigitsConfig):
        own = replace(known, held_out=own.held_out)
    path = data or own.path
    if path is None:
        raise InputError(f"{protocol.name} is of MNIST: give the folder of its files with --data")
    return replace(own, path=path)


def _videos(
    protocol: Protocol,
    known: VideosConfig | None,
    data: Path | None,
    config: ModelConfig,
    fit: Fit,
) -> VideosConfig:
    found = known or VideosConfig(
        height=config.height,
        width=config.width,
        channels=config.channels,
        classes=config.classes,
        conditions=tuple(each.name for each in config.conditions),
    )
    found = replace(found, path=data or found.path)
    if fit == "none" and found.fit == "none":
        fit = protocol.fit
    if fit != "none":
        found = replace(found, fit=fit)
    if not protocol.benchmark:
        return found
    # Folders of converted clips, which are no published layout, have no published split.
    split = protocol.split if is_benchmark(protocol, found) else ""
    return replace(found, resize=protocol.filter, split=split)
