"""The flags of RaMViD's scripts: the official files hold weights alone, the rest is in these."""

import argparse
import math
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, NoReturn

from framefill.convert.ramvid_shapes import Shapes
from framefill.errors import InputError, suggestion

MULTIPLIERS = {
    256: (1, 1, 2, 2, 4, 4),
    128: (1, 2, 3, 4),
    64: (1, 2, 3, 4),
    32: (1, 2, 2, 2),
}
MOST = 10**9
CLASSES = 1000  # of a network with class_cond
ELSEWHERE = (  # what changes neither model nor training
    *("data_dir", "resume_checkpoint", "use_fp16", "fp16_scale_growth"),
    *("model_path", "num_samples", "sampling_type", "cond_frames", "cond_generation", "save_gt"),
    *("save_gif", "prediction_step", "max_cond_frames"),
)


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The flags of video_train.py and video_sample.py that say what a model is, by their names.

    The defaults are those of the official scripts; the published commands pass
    ``--scale_time_dim 0``.
    """

    image_size: int = 64
    num_channels: int = 128
    num_res_blocks: int = 2
    num_heads: int = 4
    num_heads_upsample: int = -1
    attention_resolutions: str = "16,8"
    dropout: float = 0.0
    learn_sigma: bool = False
    sigma_small: bool = False
    class_cond: bool = False
    diffusion_steps: int = 1000
    noise_schedule: str = "linear"
    timestep_respacing: str = ""
    use_kl: bool = False
    predict_xstart: bool = False
    rescale_timesteps: bool = True
    rescale_learned_sigmas: bool = True
    use_checkpoint: bool = False
    use_scale_shift_norm: bool = True
    scale_time_dim: int = 20
    rgb: bool = True
    # training
    schedule_sampler: str = "uniform"
    lr: float = 1e-4
    weight_decay: float = 0.0
    lr_anneal_steps: int = 0
    batch_size: int = 64
    microbatch: int = 32
    ema_rate: str = "0.9999"
    log_interval: int = 10
    save_interval: int = 2000
    clip: float = 1.0
    seed: int = 123
    anneal_type: str = "None"
    steps_drop: float = 0.0
    drop: float = 0.0
    decay: float = 0.0
    seq_len: int = 20
    max_num_mask_frames: int = 4
    mask_range: str = ""
    uncondition_rate: float = 0.0
    exclude_conditional: bool = True
    # sampling
    use_ddim: bool = False
    clip_denoised: bool = True
    resample_steps: int = 1

    given: frozenset[str] = field(default=frozenset(), compare=False)
    """Names of the flags that were passed."""

    @property
    def attention_factors(self) -> set[int]:
        """The downsampling factors at which there is attention.

        Raises:
            InputError: the sizes are no numbers above 0.
        """
        parts = self.attention_resolutions.split(",")
        if not all(re.fullmatch(r"\s*0*[1-9]\d{0,5}\s*", part) for part in parts):
            raise InputError(
                f"--attention_resolutions {self.attention_resolutions!r}: needs sizes of feature "
                "maps, such as 16,8"
            )
        return {self.image_size // int(part) for part in parts}


def parse_flags(text: str) -> Flags:
    """Read flags as they were passed to the official scripts: ``--image_size 64 --lr 2e-5 ...``.

    Raises:
        InputError: a flag is unknown or its value is none of its type.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    for each in _flags():
        kind: Any = type(each.default)
        parser.add_argument(f"--{each.name}", type=_truth if kind is bool else kind)
    for name in ELSEWHERE:
        parser.add_argument(f"--{name}")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"the flags can't be read ({error}): {text[:80]}") from error
    found, unknown = parser.parse_known_args(words)
    if unknown and not unknown[0].startswith("--"):
        raise InputError(
            f"{unknown[0][:40]!r} among RaMViD's flags: give flags and their values alone, such as "
            "--image_size 64 --num_channels 128"
        )
    if unknown:
        names = [each.name for each in _flags()]
        hint = suggestion(unknown[0].lstrip("-"), names)
        raise InputError(f"{unknown[0]} is no flag of RaMViD's scripts{hint}")
    given = {
        name: value
        for name, value in vars(found).items()
        if value is not None and name not in ELSEWHERE
    }
    for name, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"--{name} {value}: needs a finite number")
        if isinstance(value, int) and abs(value) > MOST:
            raise InputError(f"--{name} {value}: needs a number up to {MOST}")
    return Flags(**given, given=frozenset(given))


def guess_flags(shapes: Shapes) -> Flags:
    """Return the flags that suit a network, as published where its shapes are silent.

    That is BAIR's command: no time scaling, 20 frames of which up to 4 are known, none in a
    quarter of the clips.

    Raises:
        InputError: no image size of the official code goes with it.
    """
    flags = Flags(
        num_channels=shapes.width,
        num_res_blocks=shapes.blocks,
        learn_sigma=shapes.learn_sigma,
        class_cond=shapes.classes > 0,
        use_scale_shift_norm=shapes.scale_shift,
        rgb=shapes.channels == 3,
        scale_time_dim=0,
        uncondition_rate=0.25,
    )
    sizes = [size for size, each in MULTIPLIERS.items() if each == shapes.multipliers]
    for size in sizes:
        sized = replace(flags, image_size=size)
        if not list(disagreements(sized, shapes)):
            return sized
    if len(sizes) == 1:
        maps = ",".join(str(sizes[0] >> level) for level in shapes.attention) or "1"
        return replace(flags, image_size=sizes[0], attention_resolutions=maps)
    said = f"{' or '.join(map(str, sizes))} pixels" if sizes else "none of RaMViD's image sizes"
    raise InputError(
        f"the weights have features {shapes.multipliers} times {shapes.width}, as for {said}, and "
        f"attention at resolutions {shapes.attention} (0: the finest): say with --flags what "
        "--image_size and --attention_resolutions they were trained with"
    )


def promised_shapes(flags: Flags) -> Shapes:
    """Return what the weights of a network with these flags are like.

    Raises:
        InputError: the official code has no network for this image size, or the sizes of
            feature maps with attention are no numbers.
    """
    if flags.image_size not in MULTIPLIERS:
        raise InputError(
            f"--image_size {flags.image_size}: the official code builds networks for "
            f"{', '.join(map(str, sorted(MULTIPLIERS)))} alone; other sizes: framefill train "
            "bair-ramvid --data.height ... --data.width ..."
        )
    multipliers = MULTIPLIERS[flags.image_size]
    factors = flags.attention_factors
    return Shapes(
        channels=3 if flags.rgb else 1,
        learn_sigma=flags.learn_sigma,
        width=flags.num_channels,
        multipliers=multipliers,
        blocks=flags.num_res_blocks,
        attention=tuple(level for level in range(len(multipliers)) if 2**level in factors),
        scale_shift=flags.use_scale_shift_norm,
        classes=CLASSES if flags.class_cond else 0,
    )


def disagreements(flags: Flags, shapes: Shapes) -> Iterator[str]:
    """Yield a line for each flag that the weights contradict."""
    told = {
        "num_channels": shapes.width,
        "num_res_blocks": shapes.blocks,
        "learn_sigma": shapes.learn_sigma,
        "class_cond": shapes.classes > 0,
        "use_scale_shift_norm": shapes.scale_shift,
        "rgb": shapes.channels == 3,
    }
    for name, value in told.items():
        if (said := getattr(flags, name)) != value:
            yield f"--{name} {said}, but the weights are of {value}"
    expected = MULTIPLIERS.get(flags.image_size)
    if expected is not None and expected != shapes.multipliers:
        yield (
            f"--image_size {flags.image_size} means features {expected} times num_channels, but "
            f"the weights have {shapes.multipliers}"
        )
    levels = range(len(shapes.multipliers))
    attention = tuple(level for level in levels if 2**level in flags.attention_factors)
    if attention != shapes.attention:
        yield (
            f"--image_size {flags.image_size} with --attention_resolutions "
            f"{flags.attention_resolutions} puts attention at resolutions {attention} (0: the "
            f"finest), but the weights have it at {shapes.attention}"
        )
    features = [shapes.width * shapes.multipliers[level] for level in (*attention, -1)]
    for name in ("num_heads", "num_heads_upsample"):
        heads = getattr(flags, name)
        if heads != -1 and (heads < 1 or any(count % heads for count in features)):
            yield f"--{name} {heads} does not divide {features} features"


def to_text(flags: Flags) -> str:
    """Return flags as the official scripts take them, those that are not their defaults."""
    plain, values = asdict(Flags()), asdict(flags)
    changed = [
        f"--{each.name} {values[each.name]}"
        for each in _flags()
        if values[each.name] != plain[each.name]
    ]
    return " ".join(changed)


def _flags() -> list[Any]:
    return [each for each in fields(Flags) if each.name != "given"]


class _Parser(argparse.ArgumentParser):
    """A parser that leaves the program to the caller."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"RaMViD's flags: {message}")


def _truth(text: str) -> bool:
    """Read a truth value as the official scripts do."""
    words = {"yes": True, "true": True, "t": True, "y": True, "1": True}
    words |= {"no": False, "false": False, "f": False, "n": False, "0": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return words[text.lower()]
