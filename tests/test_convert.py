"""Official MCVD checkpoints to models and back, and everything that is refused on the way."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from parity import agree, recording, tensors

from framefill.cli import main
from framefill.convert.mcvd_checkpoint import from_mcvd, to_mcvd
from framefill.convert.mcvd_config import model_config, official_config
from framefill.errors import InputError
from framefill.fill import load
from framefill.masks import BlockMasks
from framefill.model import Model
from framefill.nn.config import ConcatConfig, Mcvd3dConfig, SpatinConfig
from framefill.pndm import Pndm
from framefill.recipes import recipe
from framefill.sampling import Ddim, Ddpm
from framefill.schedule import TableSchedule


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A folder with an official checkpoint and its config, to be changed at will."""
    folder = tmp_path / "official"
    folder.mkdir()
    for name in ("checkpoint_4.pt", "config.yml"):
        shutil.copy(recording("mcvd/t_train_ckpt") / name, folder / name)
    return folder


def change_config(folder: Path, key: str, value: Any) -> None:
    path = folder / "config.yml"
    data = yaml.safe_load(path.read_text())
    section, name = key.split(".")
    if value is None:
        del data[section][name]
    else:
        data[section][name] = value
    path.write_text(yaml.safe_dump(data))


def change_states(folder: Path, change: Any) -> None:
    states = torch.load(folder / "checkpoint_4.pt", weights_only=True)
    torch.save(change(states) or states, folder / "checkpoint_4.pt")


@pytest.mark.parametrize(("weights", "key"), [("average", "output_ema"), ("last", "output_raw")])
def test_a_converted_checkpoint_predicts_what_the_official_one_did(
    official: Path, tmp_path: Path, weights: str, key: str
) -> None:
    out = tmp_path / "model"
    arguments = ["convert", "mcvd", str(official / "checkpoint_4.pt"), "--out", str(out)]
    assert main([*arguments, "--weights", weights]) == 0
    model = load(out).model
    io = tensors(recording("mcvd/t_train_ckpt") / "io.safetensors")
    clip = torch.cat([io["cond"][:, :2], io["x"], io["cond"][:, 2:]], dim=1)[:, :, None]
    labels = io["labels"][:, None].float().expand(-1, 5)
    with torch.no_grad():
        output = model.network(clip, labels, torch.ones(2, 5, dtype=torch.int8))
    agree(output[:, 2:4, 0], io[key], 1e-5, f"convert: {key}")


def test_models_go_back_and_forth_bit_for_bit(official: Path, tmp_path: Path) -> None:
    there, back, again = tmp_path / "a", tmp_path / "b" / "checkpoint_9.pt", tmp_path / "c"
    for source, out in ((official / "checkpoint_4.pt", there), (there, back), (back, again)):
        assert main(["convert", "mcvd", str(source), "--out", str(out)]) == 0
    for name in ("model.safetensors", "config.json"):
        assert (there / name).read_bytes() == (again / name).read_bytes()
    theirs = torch.load(official / "checkpoint_4.pt", weights_only=True)
    ours = torch.load(back, weights_only=True)
    assert len(ours) == len(theirs)
    assert set(ours[0]) == set(theirs[0])
    assert set(ours[4]) == set(theirs[4])
    for name, value in theirs[4].items():
        assert torch.equal(ours[4][name], value), name
    for name in ("betas", "alphas", "alphas_prev", "unet.sigmas"):
        assert torch.allclose(ours[0][f"module.{name}"], theirs[0][f"module.{name}"], rtol=1e-4)
    # What the official code does when it goes on with a training.
    adam = torch.optim.Adam([torch.nn.Parameter(value) for value in ours[4].values()])
    adam.load_state_dict(ours[1])
    sections = yaml.safe_load((official / "config.yml").read_text())
    written = yaml.safe_load((back.parent / "config.yml").read_text())
    lacking = {
        f"{section}.{key}"
        for section, values in sections.items()
        for key in values
        if key not in written[section] and key not in ("num_digits", "step_length")
    }
    assert not lacking


@pytest.mark.parametrize(
    "name",
    ["smmnist-concat", "kth-spatin-96", "smmnist-3d", "smmnist-pseudo3d", "cityscapes-small"],
)
def test_configs_come_back_as_they_were(name: str) -> None:
    config = recipe(name).model()
    again = model_config(official_config(config))
    assert again.network == config.network
    assert again.masks == config.masks
    assert (again.height, again.width, again.channels) == (
        config.height,
        config.width,
        config.channels,
    )


def test_the_sampler_of_the_config_is_carried_with_its_faults(official: Path) -> None:
    data = yaml.safe_load((official / "config.yml").read_text())
    assert model_config(data).sampler == Ddpm(steps=1000, denoise=True, as_published=True)
    data["model"]["version"], data["sampling"]["subsample"] = "DDIM", 100
    assert model_config(data).sampler == Ddim(steps=100, denoise=True, as_published=True)
    data["model"]["version"], data["sampling"]["clip_before"] = "FPNDM", False
    assert model_config(data).sampler == Pndm(steps=100, as_published=True)
    assert model_config(data).diffusion.limits is None


def test_configs_that_lack_the_later_keys_mean_their_defaults(official: Path) -> None:
    data = yaml.safe_load((official / "config.yml").read_text())
    for key in ("num_frames_future", "prob_mask_cond", "prob_mask_future", "prob_mask_sync"):
        del data["data"][key]
    for key in ("spade", "spade_dim", "cond_emb", "dropout", "version"):
        del data["model"][key]
    data["model"]["gff"] = False
    config = model_config(data)
    assert config.masks == BlockMasks(past=2, target=2)
    assert isinstance(config.network, ConcatConfig)
    assert config.network.dropout == 0.0


def test_every_kind_of_network_is_recognised(official: Path) -> None:
    data = yaml.safe_load((official / "config.yml").read_text())
    data["model"] |= {"spade": True, "spade_dim": 6}
    assert isinstance(model_config(data).network, SpatinConfig)
    data["model"]["arch"] = "unetmorepseudo3d"
    network = model_config(data).network
    assert isinstance(network, Mcvd3dConfig)
    assert network.separable
    assert network.hidden == 6


REFUSED = [
    ("model.gamma", True, "model.gamma is true"),
    ("model.noise_in_cond", True, "model.noise_in_cond is true"),
    ("model.output_all_frames", True, "model.output_all_frames is true"),
    ("data.logit_transform", True, "data.logit_transform is true"),
    ("data.rescaled", False, "data.rescaled is false"),
    ("model.arch", "unet", "model.arch is 'unet'"),
    ("model.num_classes", 500, "model.num_classes is 500"),
    ("model.sigma_begin", 0.5, "model.sigma_begin is 0.5"),
    ("model.sigma_dist", "geometric", "model.sigma_dist is 'geometric'"),
    ("model.version", "SMLD", "model.version is SMLD"),
    ("model.ngf", None, "model.ngf is missing"),
    ("model.ngf", "wide", "model.ngf is 'wide'"),
    ("model.ngf", 10**9, "width 1000000000"),
    ("data.image_size", 10**6, "at most 8192"),
    ("data.num_frames", 10**9, "at most 4096"),
    ("model.ngf", 16, "is not what"),
    ("model.num_res_blocks", 2, "is not what"),
    ("model.spade", True, "is not what"),
    ("model.ch_mult", ["1", "2"], "ch_mult holds '1'"),
    ("model.ch_mult", [[1]], "ch_mult holds a list"),
    ("model.attn_resolutions", [None], "attn_resolutions holds None"),
]


@pytest.mark.parametrize(("key", "value", "message"), REFUSED)
def test_configs_that_can_not_be_honoured_are_refused(
    official: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key: str,
    value: Any,
    message: str,
) -> None:
    change_config(official, key, value)
    out = tmp_path / "model"
    assert main(["convert", "mcvd", str(official / "checkpoint_4.pt"), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not out.exists()


def _without(states: list[Any]) -> None:
    del states[4]["unet.all_modules.3.Conv_0.weight"]


def _with_more(states: list[Any]) -> None:
    states[4]["unet.all_modules.99.weight"] = torch.zeros(1)


def _misshapen(states: list[Any]) -> None:
    states[4]["unet.all_modules.3.Conv_0.weight"] = torch.zeros(8, 8, 1, 1)


FIRST = "unet.all_modules.3.Conv_0.weight"


def _numbered(states: list[Any]) -> None:
    states[4][7] = states[4].pop(FIRST)


def _sparse(states: list[Any]) -> None:
    states[4][FIRST] = states[4][FIRST].to_sparse()


def _whole_numbers(states: list[Any]) -> None:
    states[4][FIRST] = states[4][FIRST].long()


def _complex(states: list[Any]) -> None:
    states[4][FIRST] = states[4][FIRST].to(torch.complex64)


def _not_a_number(states: list[Any]) -> None:
    states[4][FIRST][0] = torch.nan


def _huge_view(states: list[Any]) -> None:
    states[4][FIRST] = torch.zeros(1, dtype=torch.float16).expand(40_000, 40_000)


def _flat_matrix(states: list[Any]) -> None:
    states[4]["unet.all_modules.6.NIN_0.W"] = torch.zeros(16)


def _no_number(states: list[Any]) -> None:
    states[4]["unet.all_modules.x.weight"] = torch.zeros(1)


def _no_average(states: list[Any]) -> list[Any]:
    return states[:4]


def _no_tensor(states: list[Any]) -> None:
    states[4]["unet.all_modules.3.Conv_0.weight"] = "weight"


def _bare_state(states: list[Any]) -> Any:
    return states[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without, "lacks all_modules.3.Conv_0.weight"),
        (_with_more, "all_modules.99.weight"),
        (_misshapen, "Conv_0.weight is [8, 8, 1, 1]"),
        (_no_average, "no averaged weights"),
        (_no_tensor, "is no tensor"),
        (_bare_state, "no list of states"),
        (_numbered, "7 is no tensor"),
        (_sparse, "is no tensor of plain"),
        (_whole_numbers, "is no tensor of plain"),
        (_complex, "is no tensor of plain"),
        (_not_a_number, "holds NaN"),
        (_huge_view, "Conv_0.weight is no tensor of plain"),
        (_flat_matrix, "NIN_0.W is [16]"),
        (_no_number, "all_modules.x.weight"),
    ],
)
def test_checkpoints_that_are_not_whole_are_refused(
    official: Path, change: Any, message: str
) -> None:
    change_states(official, change)
    with pytest.raises(InputError) as refusal:
        from_mcvd(official / "checkpoint_4.pt")
    assert message in str(refusal.value)


class Hostile:
    """What a pickle can do to whoever opens it."""

    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize("how", ["torch", "pickle", "cut", "empty", "absent"])
def test_hostile_and_broken_files_are_refused(official: Path, how: str) -> None:
    path = official / "checkpoint_4.pt"
    match how:
        case "torch":
            torch.save([Hostile()], path)
        case "pickle":
            path.write_bytes(pickle.dumps([Hostile()]))
        case "cut":
            path.write_bytes(path.read_bytes()[:5000])
        case "empty":
            path.write_bytes(b"")
        case "absent":
            path.unlink()
    with pytest.raises(InputError, match=r"can't be read|is no file"):
        from_mcvd(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is no YAML"),
        ("!!python/object/apply:os.system [exit]", "is no YAML"),
        ("just words", "holds no settings"),
        ("x" * 2_000_000, "too large"),
        (None, "can't be read"),
        ("data: 3\nmodel: {}", "data holds no settings"),
        ("a: 2001-99-99", "is no YAML"),
        ('a: !!int ""', "is no YAML"),
        ("a: !!bool maybe", "is no YAML"),
        ("a: !!timestamp x", "is no YAML"),
        ("data: {image_size: 16, channels: 1}\nmodel: {arch: []}", "arch is"),
    ],
)
def test_configs_that_are_none_are_refused(official: Path, text: str | None, message: str) -> None:
    path = official / "config.yml"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=message):
        from_mcvd(official / "checkpoint_4.pt")


def test_the_last_norm_of_very_old_checkpoints_is_found(official: Path) -> None:
    before = from_mcvd(official / "checkpoint_4.pt").network.state_dict()

    def without_a_name(states: list[Any]) -> None:
        for name in [name for name in states[4] if name.count(".Norm_0.")]:
            states[4][name.replace(".Norm_0.", ".")] = states[4].pop(name)

    change_states(official, without_a_name)
    after = from_mcvd(official / "checkpoint_4.pt").network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_shared_parts_of_a_config_do_not_blow_up(official: Path) -> None:
    levels = ["x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    levels += [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]" for i in range(1, 12)]
    text = "\n".join([*levels, "data: {image_size: 16, channels: 1}", "model: {arch: *x11}"])
    (official / "config.yml").write_text(text)
    with pytest.raises(InputError, match=r"model.arch is") as refusal:
        from_mcvd(official / "checkpoint_4.pt")
    assert len(str(refusal.value)) < 500


def test_options_of_one_way_are_refused_on_the_other(official: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    from_mcvd(official / "checkpoint_4.pt").save(model)
    command = ["convert", "mcvd", str(model), "--out", str(tmp_path / "checkpoint_1.pt")]
    assert main([*command, "--weights", "last"]) == 2
    assert main([*command, "--config-yml", "nowhere.yml"]) == 2
    assert main(command) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"limits": (-2.0, 2.0)},
        {"schedule": TableSchedule(kind="cosine")},
        {"schedule": TableSchedule(levels=500)},
        {"keep_noise": False},
    ],
    ids=str,
)
def test_models_that_would_mean_something_else_there_are_refused(change: dict[str, Any]) -> None:
    config = recipe("smmnist-3d").model()
    official_config(config)
    with pytest.raises(InputError, match=r"no model with this diffusion|key model"):
        official_config(replace(config, diffusion=replace(config.diffusion, **change)))


def test_nothing_is_overwritten(official: Path, tmp_path: Path) -> None:
    model = from_mcvd(official / "checkpoint_4.pt")
    with pytest.raises(InputError, match=r"config.yml exists"):
        to_mcvd(model, official / "checkpoint_5.pt")
    out = tmp_path / "new" / "checkpoint_5.pt"
    to_mcvd(model, out)
    out.with_name("config.yml").unlink()
    with pytest.raises(InputError, match=r"checkpoint_5.pt exists"):
        to_mcvd(model, out)
    with pytest.raises(InputError, match=r"ends in \.pt"):
        to_mcvd(model, tmp_path / "folder")


def test_models_that_mcvd_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only models with MCVD's masks"):
        to_mcvd(load("digits").model, tmp_path / "checkpoint_1.pt")
    config = recipe("smmnist-3d").model()
    wide = replace(config, width=config.width * 2)
    with pytest.raises(InputError, match="square"):
        to_mcvd(Model(wide.build(), wide), tmp_path / "checkpoint_1.pt")
