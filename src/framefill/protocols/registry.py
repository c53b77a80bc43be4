"""The protocols of the published tables, and those of the digits that ship with the package.

Where a paper or its code leaves a value open, `source` says so.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from framefill.data.digits import DigitsConfig
from framefill.errors import InputError, suggestion
from framefill.protocols.protocol import Protocol
from framefill.serialise import from_data, read_json

MCVD = (
    "MCVD's runner and scripts (runners/ncsn_runner.py, example_scripts/final), which never take "
    "the last start that is possible"
)
RAMVID = "RaMViD (Höppe et al. 2022), Section 4"
CODE_OR_PAPER = "the scripts say 16 predicted frames, later tables 12 of 16 in all"
GENERATED = "the code generates 4 frames more than it predicts: 20 with the scripts' 16, or 16"

SMMNIST = Protocol(
    name="smmnist",
    row="T",
    clips=256,
    trajectories=10,
    benchmark="smmnist",
    digits=DigitsConfig(held_out=256),
    height=64,
    width=64,
    channels=1,
    ssim="binary_bytes",
    sampler="ddpm",
    steps=100,
    source=f"{MCVD}; the clips are made here, so they are others of the same kind",
)
KTH = replace(
    SMMNIST,
    name="kth",
    benchmark="kth",
    split="svg",
    digits=None,
    videos=100,
    fit="stretch",
    order="spread",
    ssim="grey_bytes",
    source=f"{MCVD}; persons 21 to 25 are for testing, in 120 videos of which some are short",
)
BAIR = replace(
    KTH,
    name="bair",
    benchmark="bair",
    split="official",
    videos=256,
    channels=3,
    fit="none",
    source=MCVD,
)
CITYSCAPES = replace(
    BAIR,
    name="cityscapes",
    benchmark="cityscapes",
    split="test",
    filter="lanczos",
    height=128,
    width=128,
    fit="crop",
    source=MCVD,
)
UCF101 = replace(
    BAIR,
    name="ucf101",
    benchmark="ucf101",
    split="3",
    fit="crop",
    source=f"{MCVD}; there the 256 are spread over every tenth test video, here over all",
)
BAIR_RAMVID = replace(
    BAIR,
    name="bair-ramvid",
    trajectories=100,
    order="in_turn",
    start="first",
    scores=("psnr", "ssim", "mse"),
    resize="bilinear_tf1",
    steps=1000,
    source=f"{RAMVID}, after FitVid: 100 predictions of each test video. Where clips start is not "
    "said; that they are the first frames is MAGVIT's reading (Yu et al. 2023, Appendix B.3)",
)
KINETICS600 = replace(
    BAIR_RAMVID,
    name="kinetics600",
    benchmark="kinetics600",
    split="val",
    clips=50_000,
    trajectories=1,
    videos=0,
    start="random",
    fit="ramvid",
    source=f"{RAMVID}, after CCVS. How many clips is not said; 50,000 is MAGVIT's number (Yu et "
    "al. 2023, Appendix B.3)",
)
DIGITS = Protocol(
    name="digits",
    row="T",
    clips=64,
    trajectories=4,
    benchmark="digits",
    digits=DigitsConfig(size=32, glyph=10, digits=2, speed=2, bounce="reflect"),
    height=32,
    width=32,
    channels=1,
    ssim="channels",
    scores=("psnr", "ssim", "mse"),
    sets=("fvd",),
    source="ours: handwritten digits that the package carries, none of them seen in training",
)


def _of(base: Protocol, name: str, summary: str, **changes: Any) -> Protocol:
    return replace(base, name=name, summary=summary, **changes)


def _predict(base: Protocol, known: int, new: int, **changes: Any) -> Protocol:
    changes = {"name": f"{base.name}-{known}-{new}"} | changes
    given = "frame" if known == 1 else f"{known} frames"
    return replace(
        base, summary=f"{new} frames after {given}", row="K" * known + "T" * new, **changes
    )


def _between(base: Protocol, past: int, new: int, future: int) -> Protocol:
    return _of(
        base,
        f"{base.name}-interpolate-{past}-{new}-{future}",
        f"{new} frames between {past} and {future}",
        row="K" * past + "T" * new + "K" * future,
    )


def _complete(base: Protocol, name: str, known: tuple[int, ...], frames: int) -> Protocol:
    places = ", ".join(map(str, known))
    return _of(
        base,
        name,
        f"frames other than {places} of {frames}, scored alone",
        row="".join("K" if place in known else "T" for place in range(frames)),
        span="filled",
    )


def _generate(base: Protocol, name: str, frames: int, **changes: Any) -> Protocol:
    return _of(base, name, f"{frames} frames from nothing", row="T" * frames, **changes)


_ALL = (
    _predict(SMMNIST, 5, 10),
    _between(SMMNIST, 5, 10, 5),
    _between(SMMNIST, 5, 5, 5),
    _predict(KTH, 10, 30),
    _predict(KTH, 10, 40),
    _between(KTH, 10, 10, 5),
    _between(KTH, 5, 5, 5),
    _predict(BAIR, 1, 15),
    _predict(BAIR_RAMVID, 1, 15, name="bair-1-15-ramvid"),
    _predict(BAIR, 2, 14),
    _predict(BAIR, 2, 28),
    _between(BAIR, 1, 5, 2),
    _between(BAIR, 2, 5, 2),
    _complete(BAIR_RAMVID, "bair-complete-0-15", (0, 15), 16),
    _predict(CITYSCAPES, 2, 28),
    _predict(KINETICS600, 5, 11),
    _complete(KINETICS600, "kinetics600-complete-0-1-14-15", (0, 1, 14, 15), 16),
    _complete(KINETICS600, "kinetics600-complete-0-5-10-15", (0, 5, 10, 15), 16),
    _predict(UCF101, 4, 12, source=f"{UCF101.source}; {CODE_OR_PAPER}"),
    _predict(UCF101, 4, 16, source=f"{UCF101.source}; {CODE_OR_PAPER}"),
    _generate(UCF101, "ucf101-generate", 16, source=f"{UCF101.source}; {GENERATED}"),
    _generate(
        UCF101,
        "ucf101-generate-ramvid",
        16,
        clips=10_000,
        trajectories=1,
        videos=0,
        sets=("is", "fvd"),
        fit="ramvid",
        steps=1000,
        source=f"{RAMVID}, after TGANv2: the Inception Score of C3D. How many videos is not said; "
        "10,000 is MAGVIT's number (Yu et al. 2023, Appendix B.3)",
    ),
    _predict(DIGITS, 5, 5),
    _between(DIGITS, 4, 2, 4),
    _generate(DIGITS, "digits-generate", 10),
)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


def protocol(name: str | Path) -> Protocol:
    """Return a protocol by its name, or from a JSON file: one of its own, or a report's.

    Raises:
        InputError: there is neither such a name nor such a file, or the file is faulty.
    """
    if str(name) in PROTOCOLS:
        return PROTOCOLS[str(name)]
    if str(name).endswith(".json"):
        data = read_json(Path(name))
        if isinstance(data, dict) and "protocol" in data:
            data = data["protocol"]
        return from_data(data, Protocol, source=str(name))
    raise InputError(
        f"no protocol {str(name)!r}{suggestion(str(name), PROTOCOLS)}; framefill protocols lists "
        "them; or give a .json file, or --roles for one of your own"
    )
