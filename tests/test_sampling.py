"""Samplers against an exact denoiser: of Gaussian data, and of data that is one known clip."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from framefill.completion import complete
from framefill.diffusion import Diffusion, Estimate
from framefill.errors import InputError
from framefill.fill import load
from framefill.guidance import Guided
from framefill.masks import BlockMasks, ContextMasks, RandomMasks
from framefill.nn.config import (
    ConcatConfig,
    ContextConfig,
    Mcvd3dConfig,
    SpatinConfig,
    VolumeConfig,
)
from framefill.nn.mcvd3d import conv3d
from framefill.nn.spatin import SpatinNorm
from framefill.pndm import Pndm
from framefill.roles import Role, roles_from
from framefill.sampling import Ddim, Ddpm, DpmSolver2M, Sampler
from framefill.schedule import LogNormalSchedule, TableSchedule
from framefill.settings import Settings

MEAN, STD = 0.3, 0.2
TABLE = Diffusion(schedule=TableSchedule(spacing="linspace"), limits=None)
EDM = Diffusion(schedule=LogNormalSchedule(), predicts="edm", labels="log", limits=None)


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(count)]


def gaussian_denoiser(diffusion: Diffusion):
    """The best prediction for data that is normal with MEAN and STD, from the label alone."""

    def denoise(canvas: Tensor, labels: Tensor, roles: Tensor) -> Tensor:
        if isinstance(diffusion.schedule, TableSchedule):
            levels = labels + 1
        else:
            levels = (labels / 250).exp()
        alpha, sigma = (part.float() for part in diffusion.schedule.scales(levels))
        reading = diffusion.reading(levels)
        noisy = canvas / reading.scale.float()
        gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
        clean = MEAN + gain * (noisy - alpha * MEAN)
        noise = (noisy - alpha * clean) / sigma
        return reading.clean.float() * clean + reading.noise.float() * noise

    return denoise


def draw(diffusion: Diffusion, sampler: Sampler) -> Tensor:
    clip = torch.zeros(8, 1, 1, 40, 40)
    roles = roles_from("T").expand(8, -1)
    return complete(gaussian_denoiser(diffusion), diffusion, clip, roles, sampler, generators(8))


@pytest.mark.parametrize("diffusion", [TABLE, EDM], ids=["table", "edm"])
@pytest.mark.parametrize(
    "sampler",
    [
        Ddpm(steps=200),
        Pndm(steps=50),
        Ddpm(steps=200, variance="large"),
        Ddim(steps=200),
        Ddim(steps=200, eta=1.0),
        DpmSolver2M(steps=50),
        DpmSolver2M(steps=100, eta=1.0),
    ],
    ids=str,
)
def test_samples_have_the_moments_of_the_data(diffusion: Diffusion, sampler: Sampler) -> None:
    samples = draw(diffusion, sampler)
    assert samples.mean().item() == pytest.approx(MEAN, abs=0.015)
    # Evenly spaced levels of the linear table leave out much of the last, least noisy part.
    slack = 0.035 if diffusion is TABLE else 0.01
    assert samples.std().item() == pytest.approx(STD, abs=slack)


@pytest.mark.parametrize("sampler", [Ddpm(), Ddim(), Ddim(eta=1.0)], ids=str)
def test_more_steps_come_closer_to_the_data(sampler: Sampler) -> None:
    errors = [abs(draw(TABLE, replace(sampler, steps=n)).std().item() - STD) for n in (20, 80, 320)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_the_second_order_solver_converges_at_second_order() -> None:
    """Against a very fine walk from the same noise; one order more than DDIM."""
    diffusion = EDM
    exact = draw(diffusion, DpmSolver2M(steps=400))

    def error(sampler: Sampler) -> float:
        return (draw(diffusion, sampler) - exact).abs().mean().item()

    second = math.log2(error(DpmSolver2M(steps=20)) / error(DpmSolver2M(steps=40)))
    first = math.log2(error(Ddim(steps=20)) / error(Ddim(steps=40)))
    assert second > 1.6
    assert 0.7 < first < 1.4


def counted(denoiser, calls: list[int]):
    def denoise(canvas: Tensor, labels: Tensor, roles: Tensor) -> Tensor:
        calls.append(1)
        return denoiser(canvas, labels, roles)

    return denoise


def test_pndm_evaluates_once_a_step_after_three_of_four() -> None:
    calls: list[int] = []
    clip, roles = torch.zeros(1, 1, 1, 4, 4), roles_from("T")
    complete(
        counted(gaussian_denoiser(TABLE), calls), TABLE, clip, roles, Pndm(steps=12), generators(1)
    )
    assert len(calls) == 12 + 9


def moments(sampler: Sampler, diffusion: Diffusion = TABLE) -> tuple[float, float]:
    sample = draw(diffusion, sampler)
    return sample.mean().item(), sample.std().item()


def test_twenty_steps_of_pndm_are_closer_than_of_first_order() -> None:
    errors = [
        abs(moments(sampler)[1] - STD)
        for sampler in (Pndm(steps=20), Ddim(steps=20), Ddpm(steps=20))
    ]
    assert errors[0] < 0.5 * min(errors[1:])


MCVD = Diffusion(limits=None, keep_noise=True)


def test_as_published_is_what_it_is_and_never_the_default() -> None:
    """The official walks lose contrast (DDPM), or never arrive at the data (F-PNDM)."""
    published = Ddpm(steps=20, denoise=True, as_published=True)
    assert moments(published, MCVD)[1] < 0.6 * STD
    assert moments(Ddpm(steps=20), MCVD)[1] > 0.6 * STD
    mean, _ = moments(Pndm(steps=20, as_published=True), MCVD)
    assert abs(mean - MEAN) > 0.1
    for sampler in (Ddpm(), Ddim(), Pndm()):
        assert not sampler.as_published


def test_published_subsets_have_more_steps_where_the_number_does_not_divide() -> None:
    schedule = TableSchedule()
    for asked, taken in ((12, 13), (300, 334), (100, 100), (1000, 1000)):
        walk = Ddim(steps=asked, as_published=True).walk(schedule)
        assert len(walk) - 1 == taken
        assert len(Ddim(steps=asked).walk(schedule)) - 1 == asked


@pytest.mark.parametrize(
    ("sampler", "schedule"),
    [
        (Ddpm(steps=10, as_published=True), LogNormalSchedule()),
        (Pndm(steps=10, as_published=True), LogNormalSchedule()),
        (Pndm(steps=501, as_published=True), TableSchedule()),
        (Ddim(steps=1001, as_published=True), TableSchedule()),
        (Ddpm(steps=(5, 5), as_published=True), TableSchedule()),
    ],
    ids=str,
)
def test_walks_that_the_official_code_can_not_make_are_refused(sampler: Sampler, schedule) -> None:
    with pytest.raises(InputError, match=r"as_published|steps"):
        sampler.walk(schedule)


@pytest.mark.parametrize("sampler", [Ddim(steps=5), DpmSolver2M(steps=5), Pndm(steps=5)], ids=str)
def test_deterministic_walks_use_noise_only_to_begin(sampler: Sampler) -> None:
    def estimate(noisy: Tensor, level: float) -> Estimate:
        return Estimate(torch.zeros_like(noisy), noisy)

    walk = sampler.walk(TABLE.schedule)
    start = torch.ones(1, 1, 1, 4, 4)
    ends = [sampler(start, estimate, walk, lambda v=value: v * start) for value in (0.0, 1e9)]
    assert torch.equal(ends[0], ends[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ddim(eta=1.5), "eta 1.5"),
        (lambda: DpmSolver2M(eta=-0.1), "eta -0.1"),
        (lambda: Pndm(steps=3), "3 steps"),
        (lambda: Pndm(clip=True), "clip goes with as_published"),
        (lambda: Ddpm(denoise=True), "denoise goes with as_published"),
        (lambda: Ddim(denoise=True), "denoise goes with as_published"),
    ],
)
def test_impossible_settings_are_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_learned_variance_needs_a_network_that_learned_it() -> None:
    with pytest.raises(InputError, match="learned"):
        draw(TABLE, Ddpm(steps=3, variance="learned"))


NETWORKS = {
    "concat": (
        ConcatConfig(width=8, multipliers=(1, 2), blocks=1, attention=(1,), head_width=8),
        BlockMasks(past=2, target=2, future=1, drop_past=0.5, drop_future=0.5),
        ["KKTTK", "--TT-"],
    ),
    "spatin": (
        SpatinConfig(width=8, multipliers=(1, 2), blocks=1, attention=(1,), head_width=8, hidden=4),
        BlockMasks(past=2, target=2, future=1, drop_past=0.5, drop_future=0.5),
        ["KKTTK", "--TT-"],
    ),
    "told": (
        ConcatConfig(
            width=8, multipliers=(1, 2), blocks=1, attention=(1,), head_width=8, told_past=True
        ),
        BlockMasks(past=2, target=2, future=1, drop_past=0.5, drop_future=0.5),
        ["KKTTK", "--TT-"],
    ),
    "3d": (
        Mcvd3dConfig(width=8, multipliers=(1, 2), attention=(1,)),
        BlockMasks(past=2, target=2, future=1, drop_past=0.5, drop_future=0.5),
        ["KKTTK", "--TT-"],
    ),
    "3d spatin": (
        Mcvd3dConfig(width=8, multipliers=(1, 2), attention=(1,), hidden=4),
        BlockMasks(past=2, target=2, future=1, drop_past=0.5, drop_future=0.5),
        ["KKTTK", "--TT-"],
    ),
    "volume": (
        VolumeConfig(width=32, multipliers=(1, 1), blocks=1, attention=(1,)),
        RandomMasks(frames=5, max_known=3),
        ["KTTTK", "TTKTT"],
    ),
    "context": (
        ContextConfig(width=8, multipliers=(1, 2), blocks=1, attention=(1,), head_width=8),
        ContextMasks(past=2, target=2, future=1),
        ["KKTTK", "-KT-K"],
    ),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest):
    """A network with random weights everywhere, also where training starts from zero."""
    config, masks, rows = NETWORKS[request.param]
    torch.manual_seed(0)
    built = config.build(channels=2, masks=masks).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter) / max(1, parameter[0].numel()) ** 0.5)
    return built, rows


def clip_of(rows: list[str]) -> Tensor:
    return torch.randn(len(rows), len(rows[0]), 2, 8, 8, generator=generators(1)[0])


def fill(network, clip: Tensor, rows: list[str], sampler: Sampler | None = None, seeds=None):
    chosen = sampler or DpmSolver2M(steps=4, eta=1.0)
    made = seeds or generators(len(clip))
    return complete(network, Diffusion(), clip, roles_from(*rows), chosen, made)


def test_hidden_frames_never_leak(network) -> None:
    built, rows = network
    clip = clip_of(rows)
    spoiled = clip.clone()
    spoiled[roles_from(*rows) != Role.KNOWN] = float("nan")
    assert torch.equal(fill(built, clip, rows), fill(built, spoiled, rows))


def test_known_frames_matter_and_come_back_untouched(network) -> None:
    built, rows = network
    clip = clip_of(rows)
    roles = roles_from(*rows)
    known = roles == Role.KNOWN
    filled, other = fill(built, clip, rows), fill(built, clip + known[..., None, None, None], rows)
    assert torch.equal(filled[known], clip[known])
    assert (filled[0] - other[0])[roles[0] == Role.TARGET].abs().max() > 1e-3
    assert filled[roles == Role.ABSENT].abs().sum() == 0


def test_a_clip_does_not_depend_on_its_batch(network) -> None:
    built, rows = network
    clip = clip_of(rows)
    together = fill(built, clip, rows, seeds=generators(2))
    alone = fill(built, clip[1:], rows[1:], seeds=generators(1, seed=1))
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-4)


def test_the_noise_level_matters(network) -> None:
    built, rows = network
    clip, roles = clip_of(rows), roles_from(*rows)
    outputs = [built(clip, torch.full(roles.shape, label), roles) for label in (5.0, 800.0)]
    assert (outputs[0] - outputs[1])[roles == Role.TARGET].abs().max() > 1e-4


def test_numbers_of_roles_and_generators_must_match() -> None:
    def zero(canvas: Tensor, labels: Tensor, roles: Tensor) -> Tensor:
        return torch.zeros_like(canvas)

    clip = torch.zeros(2, 3, 1, 4, 4)
    with pytest.raises(InputError, match="roles"):
        complete(zero, TABLE, clip, roles_from("KT", "KT"), Ddpm(), generators(2))
    with pytest.raises(InputError, match="1 generators for 2 clips"):
        complete(zero, TABLE, clip, roles_from("KTT", "KTT"), Ddpm(), generators(1))


@pytest.mark.parametrize("name", ["spatin", "3d spatin"])
@torch.no_grad()
def test_guidance_with_maps_of_a_walk_is_that_without(name: str) -> None:
    config, masks, rows = NETWORKS[name]
    torch.manual_seed(0)
    built = config.build(channels=2, masks=masks).eval()
    for parameter in built.parameters():
        parameter.copy_(0.3 * torch.randn_like(parameter) / max(1, parameter[0].numel()) ** 0.5)
    guided_net = Guided(built, 2.0)
    for chosen in (rows[:1], rows[1:], rows[:1] * 3):
        clip, roles = clip_of(chosen), roles_from(*chosen)
        clip[roles == Role.ABSENT] = 0
        clip[1:] = clip[:1]  # several ways to fill one clip
        labels = torch.full(roles.shape, 300.0)
        prepared = guided_net.prepare(clip, roles)
        plainly = guided_net(clip, labels, roles)
        assert torch.allclose(prepared(clip, labels, roles), plainly, atol=1e-5)
        if "K" in chosen[0]:
            assert not torch.allclose(built(clip, labels, roles), plainly, atol=1e-3)


def test_maps_are_shared_by_clips_with_the_same_known_frames() -> None:
    config, masks, rows = NETWORKS["spatin"]
    built = config.build(channels=2, masks=masks).eval()
    sizes = []
    for module in built.modules():
        if isinstance(module, SpatinNorm):
            module.shared.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    clip = clip_of(rows[:1]).expand(6, -1, -1, -1, -1)
    fill(built, clip, rows[:1] * 6)
    assert set(sizes) == {1}
    assert len(sizes) == sum(isinstance(module, SpatinNorm) for module in built.modules())


def test_pndm_converges_at_a_higher_order_than_the_first() -> None:
    exact = draw(TABLE, Pndm(steps=250))
    errors = [(draw(TABLE, Pndm(steps=n)) - exact).abs().max().item() for n in (20, 40)]
    assert errors[0] / errors[1] > 3


def test_guidance_extrapolates_from_the_blind_prediction() -> None:
    def denoise(canvas: Tensor, labels: Tensor, roles: Tensor) -> Tensor:
        assert (canvas[roles == Role.ABSENT] == 0).all()
        seen = (roles == Role.KNOWN).sum(1).float()
        return torch.ones_like(canvas) * (1 + seen[:, None, None, None, None])

    canvas = torch.ones(1, 3, 1, 2, 2)
    labels = torch.zeros(1, 3)
    assert Guided(denoise, 2.0)(canvas, labels, roles_from("KKT")).unique().item() == 1 + 2 * 2
    assert Guided(denoise, 1.0)(canvas, labels, roles_from("KKT")).unique().item() == 3
    assert Guided(denoise, 2.0)(canvas, labels, roles_from("TTT")).unique().item() == 1


def test_volumes_two_frames_deep_have_right_gradients_in_half_precision() -> None:
    """On CPUs torch's own convolution gets them wrong, without a word."""
    torch.manual_seed(0)
    layer, volume = conv3d(24, 12, 3), torch.randn(2, 24, 2, 16, 16)
    gradients = []
    for enabled in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            layer(volume).square().mean().backward()
        assert layer.weight.grad is not None
        gradients.append(layer.weight.grad.clone())
    assert (gradients[0] - gradients[1]).norm() < 0.05 * gradients[0].norm()


def test_repeated_steps_are_for_ddpm_alone() -> None:
    model = load("digits").model
    assert Settings(sampler="ddpm", repeats=3).sampler_for(model) == Ddpm(repeats=3)
    with pytest.raises(InputError, match="repeats 3 is for sampler 'ddpm'"):
        Settings(sampler="ddim", repeats=3).sampler_for(model)
    with pytest.raises(InputError, match=r"repeats 0 must be in 1\.\.1000"):
        Ddpm(repeats=0)


def test_repeated_steps_reach_the_same_distribution() -> None:
    """With a perfect network a step taken twice ends where a step taken once does."""
    schedule, generator = TableSchedule(), torch.Generator().manual_seed(0)
    mean, std, shape = 0.3, 0.5, (20_000, 1, 1, 1, 1)

    def estimate(noisy: torch.Tensor, level: float) -> Estimate:
        alpha, sigma = (s.item() for s in schedule.scales(torch.tensor([[level]])))
        gain = alpha * std**2 / (alpha**2 * std**2 + sigma**2)
        clean = mean + gain * (noisy - alpha * mean)
        return Estimate(clean, (noisy - alpha * clean) / sigma)

    for repeats in (1, 3):
        sampler = Ddpm(steps=50, variance="small", repeats=repeats)
        walk = sampler.walk(schedule)
        end = sampler(
            torch.randn(shape, generator=generator),
            estimate,
            walk,
            lambda: torch.randn(shape, generator=generator),
        )
        assert end.mean().item() == pytest.approx(mean, abs=0.02)
        assert end.std().item() == pytest.approx(std, rel=0.25)
