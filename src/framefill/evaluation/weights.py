"""The networks of metrics: which of them there are files for, and what is left out without."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from framefill.errors import InputError
from framefill.evaluation.sets import NETWORKS
from framefill.metrics.backbones.files import (
    KNOWN,
    Kind,
    WeightFile,
    explain,
    fetch,
    find_weights,
    identify,
    weights_folder,
)
from framefill.metrics.backbones.load import Backbone, load_backbone
from framefill.metrics.distances import SPLITS
from framefill.metrics.lpips import Lpips, load_lpips
from framefill.metrics.scores import SsimConvention
from framefill.protocols.protocol import Protocol

LEAST_FRAMES = 10  # of a video, for FVD


@dataclass(frozen=True, kw_only=True)
class WeightFiles:
    """Files of weights that metrics need; none: those in the folder of weights."""

    i3d: Path | None = None
    """I3D, for FVD and KVD: i3d_torchscript.pt or i3d_pretrained_400.pt."""
    videomae: Path | None = None
    """VideoMAE, for content-debiased FVD: vit_g_hybrid_pt_1200e_ssv2_ft.pth."""
    c3d: Path | None = None
    """C3D, for the Inception Score: c3d_ucf101.pt."""
    alexnet: Path | None = None
    """AlexNet, for LPIPS: alexnet-owt-7be5be79.pth."""
    vgg: Path | None = None
    """VGG-16, for LPIPS instead of AlexNet: vgg16-397923af.pth."""
    lpips: Path | None = None
    """The linear weights of LPIPS: alex.pth, or vgg.pth."""
    trust: bool = False
    """Run TorchScript files that are not known by their SHA-256: they are programs."""
    fetch: bool = False
    """Download missing files whose SHA-256 is known, into the folder of weights."""


@dataclass(frozen=True, eq=False)
class Networks:
    """What metrics compute with.

    Attributes:
        lpips: A distance of frames, if asked for and possible.
        backbones: By kind.
        files: Every file of weights that is used, by kind.
        left_out: By score, why it can't be computed.
    """

    lpips: Lpips | None
    backbones: dict[str, Backbone]
    files: dict[str, WeightFile]
    left_out: dict[str, str]


def load_networks(
    protocol: Protocol,
    files: WeightFiles,
    *,
    channels: int,
    device: torch.device,
) -> Networks:
    """Load the networks that a protocol's scores need, as far as there are files.

    Args:
        protocol: Says which scores there are.
        files: Which files the user has given.
        channels: Of a frame; networks take 1 or 3.
        device: Where to compute.

    Raises:
        InputError: a file that was given can't be read, or is another one.
    """
    left_out: dict[str, str] = {}
    found: dict[str, WeightFile] = {}
    backbones: dict[str, Backbone] = {}
    for score in protocol.sets:
        kind = NETWORKS[score]
        why = _impossible(protocol, score, channels)
        path = None if why else find_weights(kind, getattr(files, kind))
        if path is None:
            left_out[score] = why or explain(kind)
        elif kind not in backbones:
            backbone = load_backbone(kind, path, device=device, trust=files.trust)
            backbone.check_frames(len(protocol.scored))
            backbones[kind], found[kind] = backbone, backbone.file
    lpips = None
    if "lpips" in protocol.scores:
        lpips = _lpips(files, channels, device, found, left_out)
    return Networks(lpips, backbones, found, left_out)


def check_used(protocols: Sequence[Protocol], files: WeightFiles) -> None:
    """Refuse a file of weights that none of some protocols has a score for.

    Raises:
        InputError: names it.
    """
    used: set[str] = {NETWORKS[score] for protocol in protocols for score in protocol.sets}
    if any("lpips" in protocol.scores for protocol in protocols):
        used |= {"vgg" if files.vgg else "alexnet", "lpips"}
    for kind in ("i3d", "videomae", "c3d", "alexnet", "vgg", "lpips"):
        if getattr(files, kind) is not None and kind not in used:
            raise InputError(
                f"--{kind} {getattr(files, kind)} is for a score that "
                f"{', '.join(each.name for each in protocols)} has not: leave it out"
            )


def ssim_of(protocol: Protocol, suited: SsimConvention) -> SsimConvention | None:
    """Return what SSIM is computed of under a protocol; None if it isn't.

    Args:
        protocol: The protocol.
        suited: What suits the data, where the protocol leaves that open.
    """
    if "ssim" not in protocol.scores:
        return None
    return suited if protocol.ssim == "suited" else protocol.ssim


def _impossible(protocol: Protocol, score: str, channels: int) -> str:
    """Return why a score is not to be had, whatever files there are; nothing if it is."""
    frames = len(protocol.scored)
    if channels not in (1, 3):
        return f"it is of frames of 1 or 3 channels, not {channels}"
    if score in ("fvd", "kvd") and frames < LEAST_FRAMES:
        return f"it is of videos of {LEAST_FRAMES} frames or more, not {frames}"
    if score in ("cd-fvd", "is") and frames != 16:
        return f"it is of videos of 16 frames, not {frames}"
    if score == "is" and protocol.clips * protocol.trajectories < SPLITS:
        return f"it is of {SPLITS} videos or more"
    if protocol.clips < 2:
        return "it is of 2 videos or more"
    return ""


def fetch_missing(
    protocols: Sequence[Protocol], files: WeightFiles, say: Callable[[str], None]
) -> None:
    """Download the files that scores of some protocols need, as far as they are known.

    Raises:
        InputError: a download fails, or is another file.
    """
    wanted: dict[Kind, Path | None] = {}
    for protocol in protocols:
        for score in protocol.sets:
            wanted[NETWORKS[score]] = getattr(files, NETWORKS[score])
        if "lpips" in protocol.scores:
            net: Kind = "vgg" if files.vgg else "alexnet"
            heads: Kind = "lpips-vgg" if files.vgg else "lpips-alex"
            wanted |= {net: files.vgg or files.alexnet, heads: files.lpips}
    for kind, given in wanted.items():
        pinned = next(known for known in KNOWN if known.kind == kind).sha256
        if find_weights(kind, given) is None and pinned:
            say(f"{kind}: downloading its weights into {weights_folder()}")
            fetch(kind, weights_folder())


def _lpips(
    files: WeightFiles,
    channels: int,
    device: torch.device,
    found: dict[str, WeightFile],
    left_out: dict[str, str],
) -> Lpips | None:
    """Load LPIPS, and note which files it is of, or why there is none."""
    if channels not in (1, 3):
        left_out["lpips"] = f"it is of frames of 1 or 3 channels, not {channels}"
        return None
    net: Kind = "vgg" if files.vgg else "alexnet"
    heads: Kind = "lpips-vgg" if files.vgg else "lpips-alex"
    given = files.vgg or files.alexnet
    paths: dict[Kind, Path | None] = {
        net: find_weights(net, given),
        heads: find_weights(heads, files.lpips),
    }
    if missing := [kind for kind, path in paths.items() if path is None]:
        if given or files.lpips:
            raise InputError(f"LPIPS needs two files: {explain(missing[0])}")
        left_out["lpips"] = explain(missing[0])
        return None
    found |= {kind: identify(kind, path) for kind, path in paths.items() if path is not None}
    return load_lpips(paths[net], paths[heads], device=device)
