"""Views against torchvision's own transforms, image by image, and the promises of one batched call."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from cl_as_gnn.config import AugmentConfig
from cl_as_gnn.datasets import DATASETS, BatchedViews, Split, channel_stats, normalize
from cl_as_gnn.errors import ConfigError

OFF = AugmentConfig(
    crop_scale=(1, 1), crop_ratio=(1, 1), rotate=0, flip=0, jitter=(0, 0, 0, 0), jitter_prob=0, grayscale=0, blur=0
)


def off_but(**changes: object) -> AugmentConfig:
    return AugmentConfig.model_validate(OFF.model_dump() | changes)


def views(config: AugmentConfig, size: int = 32, channels: int = 3) -> BatchedViews:
    """Views on the plain scale [0, 1]."""
    return BatchedViews(config, size, channels, (0.0,) * channels, (1.0,) * channels)


def natural(count: int, size: int = 32, channels: int = 3, seed: int = 0) -> Tensor:
    """Smooth colored blobs with some noise: colors that vary within and between images."""
    source = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 4, generator=source) + 0.5 * torch.rand(
        count, channels, 1, 1, generator=source
    )
    images = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic") * 170
    return (images + 8 * torch.randn(images.shape, generator=source)).clamp(0, 255).round().to(torch.uint8)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chroma(images: Tensor) -> Tensor:
    """Mean spread of the channels per image."""
    return (images.amax(1) - images.amin(1)).mean((1, 2))


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_on_is_plain_normalisation(channels: int) -> None:
    images = natural(9, channels=channels)
    mean, std = (0.4, 0.5, 0.6)[:channels], (0.2, 0.25, 0.3)[:channels]
    out = BatchedViews(OFF, 32, channels, mean, std)(images, 2)
    expected = normalize(images, mean, std)
    assert torch.allclose(expected, tv.normalize(images / 255, list(mean), list(std)), atol=1e-6)
    assert out.dtype == torch.float32
    assert torch.allclose(out, torch.cat([expected, expected]), atol=1e-5)
    if channels == 3:
        assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [16, 32, 48])
def test_crop_and_resize_match_torchvision_pixel_by_pixel(size: int) -> None:
    images = natural(40)
    module = views(off_but(crop_scale=(0.1, 1), crop_ratio=(0.5, 2)), size)
    boxes = module.draw_crops(40, 32, 32, rng(3))
    out = module(images, generator=rng(3))
    for image, got, top, left, tall, wide in zip(images / 255, out, *boxes, strict=True):
        wanted = tv.resized_crop(image, int(top), int(left), int(tall), int(wide), [size, size], antialias=True)
        assert torch.allclose(got, wanted.clamp(0, 1), atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 64), (64, 24)])
def test_crops_are_distributed_as_in_torchvision(height: int, width: int) -> None:
    scale, ratio, count = (0.2, 1.0), (3 / 4, 4 / 3), 6000
    top, left, tall, wide = views(off_but(crop_scale=scale, crop_ratio=ratio)).draw_crops(count, height, width, rng())
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    params = [v2.RandomResizedCrop(32, scale, ratio).make_params([image]) for _ in range(count)]
    theirs = torch.tensor([[p[k] for k in ("top", "left", "height", "width")] for p in params]).double()
    ours = torch.stack([top, left, tall, wide], 1).double()
    assert bool((ours[:, 0] + ours[:, 2] <= height).all())
    assert bool((ours[:, 1] + ours[:, 3] <= width).all())
    assert torch.equal(ours, ours.round())
    for name, measure in {
        "top": lambda b: b[:, 0],
        "left": lambda b: b[:, 1],
        "area": lambda b: b[:, 2] * b[:, 3],
        "ratio": lambda b: (b[:, 3] / b[:, 2]).log(),
    }.items():
        a, b = measure(ours).sort().values, measure(theirs).sort().values
        spread = float(b.std())
        # Sampling moves the mean gap of two sorted samples of 6,000 by about 0.02 of their spread.
        assert float((a - b).abs().mean()) < 0.06 * spread, name


def test_crop_that_never_fits_is_the_largest_central_one() -> None:
    module = views(off_but(crop_scale=(1, 1), crop_ratio=(1, 1)))
    for height, width in ((20, 40), (40, 20)):
        top, left, tall, wide = module.draw_crops(3, height, width)
        assert tall.tolist() == wide.tolist() == [20, 20, 20]
        assert (top.tolist(), left.tolist()) == ([(height - 20) // 2] * 3, [(width - 20) // 2] * 3)


def test_flip_share_and_exactness() -> None:
    images = natural(2000, size=8)
    out = views(off_but(flip=0.3), 8)(images, generator=rng())
    plain = images / 255
    flipped = (out - plain.flip(-1)).abs().amax((1, 2, 3)) < 1e-5
    kept = (out - plain).abs().amax((1, 2, 3)) < 1e-5
    assert bool((flipped ^ kept).all())
    assert float(flipped.float().mean()) == pytest.approx(0.3, abs=0.04)


def test_rows_are_view_major_and_every_draw_is_its_own() -> None:
    base = natural(1)
    images = torch.cat([base.expand(6, -1, -1, -1), 255 - base])
    out = views(DATASETS["cifar10"].augment)(images, 3, rng())
    assert out.shape == (21, 3, 32, 32)
    same = out.unflatten(0, (3, 7))[:, :6].reshape(18, -1)
    assert float(torch.pdist(same).min()) > 0.1
    black_and_white = torch.stack([torch.full((3, 8, 8), level, dtype=torch.uint8) for level in (10, 120, 250)])
    levels = views(off_but(crop_scale=(0.2, 1), flip=0.5), 8)(black_and_white, 2).amax((1, 2, 3)) * 255
    assert levels.round().tolist() == [10, 120, 250, 10, 120, 250]


def test_blocks_of_a_large_batch_are_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cl_as_gnn.datasets.augment.CACHED", 10 * 3 * 8 * 8)
    images = natural(35, 8)
    assert torch.allclose(views(OFF, 8)(images, 2), (images / 255).repeat(2, 1, 1, 1), atol=1e-5)
    same = images[:1].expand(35, -1, -1, -1)
    out = views(DATASETS["cifar10"].augment.model_copy(update={"jitter_prob": 1.0}), 8)(same, 2, rng()).flatten(1)
    assert len(out.unique(dim=0)) == 70


@pytest.mark.parametrize("name", ["digits", "cifar10", "stl10"])
def test_a_generator_decides_everything(name: str) -> None:
    channels, size = (1, 8) if name == "digits" else (3, 32)
    images, module = natural(20, size, channels), views(DATASETS[name].augment, size, channels)
    one = module(images, 2, rng(5))
    torch.manual_seed(99)
    assert torch.equal(one, module(images, 2, rng(5)))
    assert not torch.equal(one, module(images, 2, rng(6)))
    assert not torch.equal(module(images), module(images))
    assert 0 <= float(one.min()) <= float(one.max()) <= 1


def both(config: AugmentConfig, transform: Callable[[Tensor], Tensor], count: int = 1500) -> tuple[Tensor, Tensor]:
    images = natural(count)
    torch.manual_seed(0)
    theirs = torch.stack([transform(image) for image in images / 255])
    return views(config)(images, generator=rng()), theirs


@pytest.mark.parametrize("position", range(3))
def test_one_jitter_alone_matches_torchvision(position: int) -> None:
    strength = [0.0] * 4
    strength[position] = 0.4
    ours, theirs = both(off_but(jitter=strength, jitter_prob=1), v2.ColorJitter(*strength), 600)
    plain = natural(600) / 255
    for measure in (lambda x: x.mean((1, 2, 3)), lambda x: x.flatten(1).std(1), chroma):
        change, wanted = measure(ours) / measure(plain), measure(theirs) / measure(plain)
        assert float(change.mean()) == pytest.approx(float(wanted.mean()), abs=0.02)
        assert float(change.std()) == pytest.approx(float(wanted.std()), abs=0.02)


def test_recipe_matches_torchvision_in_level_spread_chroma_and_clipping() -> None:
    compose = v2.Compose(
        [
            v2.RandomResizedCrop(32, (0.2, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            v2.RandomGrayscale(0.2),
        ]
    )
    ours, theirs = both(DATASETS["cifar10"].augment, compose, 800)
    assert torch.allclose(ours.mean((0, 2, 3)), theirs.mean((0, 2, 3)), atol=0.015)
    assert torch.allclose(ours.std((0, 2, 3)), theirs.std((0, 2, 3)), atol=0.015)
    assert float(chroma(ours).mean()) == pytest.approx(float(chroma(theirs).mean()), rel=0.08)
    gray = [float((chroma(x) < 1e-3).float().mean()) for x in (ours, theirs)]
    assert gray[0] == pytest.approx(gray[1], abs=0.04)
    clipped = [float(((x < 1e-4) | (x > 1 - 1e-4)).float().mean()) for x in (ours, theirs)]
    assert clipped[0] == pytest.approx(clipped[1], abs=0.02)


def test_contrast_turns_about_the_brightened_mean() -> None:
    images = natural(1500, 8) // 4 + 64
    out = views(off_but(jitter=(0.4, 0.4, 0.4, 0), jitter_prob=1), 8)(images, generator=rng())
    luma = torch.tensor([0.299, 0.587, 0.114])
    brightness = (out.mean((2, 3)) @ luma) / ((images / 255).mean((2, 3)) @ luma)
    assert float(brightness.min()) == pytest.approx(0.6, abs=0.01)
    assert float(brightness.max()) == pytest.approx(1.4, abs=0.01)


def test_jitter_probability() -> None:
    images = natural(2000, size=8)
    out = views(off_but(jitter=(0.4, 0, 0, 0), jitter_prob=0.7), 8)(images, generator=rng())
    changed = (out - images / 255).abs().amax((1, 2, 3)) > 1e-4
    assert float(changed.float().mean()) == pytest.approx(0.7, abs=0.04)


def test_gray_is_the_luma() -> None:
    images = natural(5)
    out = views(off_but(grayscale=1))(images)
    assert torch.allclose(out, tv.rgb_to_grayscale(images / 255, 3), atol=1e-3)


def test_hue_turns_both_ways_within_its_limit_and_keeps_the_luma() -> None:
    color = torch.tensor([140, 100, 100], dtype=torch.uint8).view(1, 3, 1, 1).expand(4000, 3, 4, 4)
    out = views(off_but(jitter=(0, 0, 0, 0.1), jitter_prob=1), 4)(color, generator=rng())
    luma = torch.tensor([0.299, 0.587, 0.114])
    assert torch.allclose(out.mean((2, 3)) @ luma, color[0, :, 0, 0].float() @ luma / 255, atol=1e-5)
    yiq = torch.tensor([[0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
    i, q = (out.mean((2, 3)) @ yiq.T).unbind(1)
    start = yiq @ torch.tensor([140.0, 100.0, 100.0])
    turned = (torch.atan2(q, i) - math.atan2(float(start[1]), float(start[0]))) / (2 * math.pi)
    assert float(turned.min()) == pytest.approx(-0.1, abs=0.003)
    assert float(turned.max()) == pytest.approx(0.1, abs=0.003)
    assert abs(float(turned.mean())) < 0.005


def test_colors_are_those_of_images_that_are_not_resized() -> None:
    flat = torch.randint(256, (30, 3, 1, 1), dtype=torch.uint8, generator=rng())
    module = views(off_but(jitter=(0.3, 0.3, 0.4, 0.3), jitter_prob=1, grayscale=0.2), 16)
    small, large = (module(flat.expand(-1, -1, side, side).contiguous(), 2, rng()) for side in (16, 40))
    assert torch.allclose(small, large, atol=1e-5)
    assert float((small[:30] - flat / 255).abs().mean()) > 0.02


def test_one_channel_changes_by_brightness_and_contrast_alone() -> None:
    images = natural(50, 8, 1)
    silent = views(off_but(jitter=(0, 0, 0.9, 0.5), jitter_prob=1, grayscale=1), 8, 1)(images)
    assert torch.allclose(silent, images / 255, atol=1e-5)
    loud = views(off_but(jitter=(0.4, 0.4, 0, 0), jitter_prob=1), 8, 1)(images, generator=rng())
    assert float((loud - images / 255).abs().mean()) > 0.02


@pytest.mark.parametrize("size", [32, 64])
def test_blur_matches_torchvision(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images = natural(4, size)
    monkeypatch.setattr("cl_as_gnn.datasets.augment.BLUR_SIGMA", (1.3, 1.3))
    out = views(off_but(blur=1), size)(images)
    assert torch.allclose(out, tv.gaussian_blur(images / 255, [2 * (size // 20) + 1] * 2, [1.3, 1.3]), atol=1e-5)
    some = views(off_but(blur=0.5), size)(images[:1].expand(600, -1, -1, -1), generator=rng())
    kept = (some - images[:1] / 255).abs().amax((1, 2, 3)) < 1e-5
    assert float(kept.float().mean()) == pytest.approx(0.5, abs=0.07)


def test_solarizing_matches_torchvision_and_comes_after_the_colors() -> None:
    images = natural(6)
    out = views(off_but(solarize=1, grayscale=1))(images)
    expected = tv.solarize(tv.rgb_to_grayscale(images / 255, 3), 0.5)
    assert float(((out - expected).abs() > 1e-3).float().mean()) < 1e-3  # gray levels of just 1/2
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    scaled = BatchedViews(off_but(solarize=1, grayscale=1), 32, 3, mean, std)(images)
    assert torch.allclose(scaled, tv.normalize(out, list(mean), list(std)), atol=1e-4)


@pytest.mark.parametrize("name", ["solarize", "blur"])
def test_a_pair_of_probabilities_alternates_between_the_views(name: str) -> None:
    images = natural(5)
    out = views(off_but(**{name: (0, 1)}))(images, 4, rng()).reshape(4, 5, -1)
    plain = (images / 255).flatten(1)
    changed = [float((view - plain).abs().max()) > 0.01 for view in out]
    assert changed == [False, True, False, True]


def test_rotation_matches_torchvision_and_stays_within_its_limit() -> None:
    image = natural(1, 8, 1)
    out = views(off_but(rotate=15), 8, 1)(image.expand(200, -1, -1, -1), generator=rng())
    angles = torch.linspace(-16, 16, 641).tolist()
    turned = torch.cat([tv.rotate(image / 255, a, tv.InterpolationMode.BILINEAR) for a in angles]).flatten(1)
    distance, nearest = (out.flatten(1)[:, None] - turned).abs().amax(2).min(1)
    assert float(distance.max()) < 0.02
    found = torch.tensor(angles)[nearest]
    assert -15.1 < float(found.min()) < -13.5
    assert 13.5 < float(found.max()) < 15.1


def test_autocast_does_not_coarsen_the_pixels() -> None:
    images = natural(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = views(OFF)(images)
    assert torch.allclose(out, images / 255, atol=1e-5)


def test_values_are_clamped_before_they_are_normalized() -> None:
    images = natural(200)
    out = BatchedViews(off_but(jitter=(0.9, 0.9, 0, 0), jitter_prob=1), 32, 3, (0.5,) * 3, (0.25,) * 3)(images)
    assert float(out.min()) == pytest.approx(-2, abs=1e-6)
    assert float(out.max()) == pytest.approx(2, abs=1e-6)


def test_views_may_be_smaller_than_images() -> None:
    assert views(DATASETS["cifar10"].augment, 16)(natural(3, 40), 2).shape == (6, 3, 16, 16)


def test_memory_format_of_the_images_does_not_matter() -> None:
    images = natural(5)
    last = images.contiguous(memory_format=torch.channels_last)
    module = views(DATASETS["cifar10"].augment)
    assert torch.equal(module(images, 2, rng(1)), module(last, 2, rng(1)))


def test_module_adds_nothing_to_a_checkpoint() -> None:
    assert not views(DATASETS["stl10"].augment).state_dict()


def test_channel_stats() -> None:
    images = natural(30)
    images[:, 2] = 51
    mean, std = channel_stats(Split(images, torch.zeros(30, dtype=torch.long)))
    assert mean == pytest.approx((images / 255).double().mean((0, 2, 3)).tolist(), abs=1e-6)
    assert std[:2] == pytest.approx((images / 255).double().std((0, 2, 3))[:2].tolist(), abs=1e-4)
    assert std[2] == pytest.approx(1 / 255)


def test_mistakes_are_one_line() -> None:
    def fails(call: Callable[[], object], part: str) -> None:
        with pytest.raises(ConfigError, match=part) as caught:
            call()
        assert "\n" not in str(caught.value)

    fails(lambda: BatchedViews(OFF, 8, 4, (0.0,) * 4, (1.0,) * 4), "not 4")
    fails(lambda: BatchedViews(OFF, 8, 3, (0.0,), (1.0,)), "3 channels")
    fails(lambda: channel_stats(Split(natural(1)[:0], torch.zeros(0, dtype=torch.long))), "empty")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_draws_without_waiting_for_the_host() -> None:
    images = natural(64).cuda()
    module = views(DATASETS["stl10"].augment).cuda()
    source = torch.Generator("cuda").manual_seed(0)
    module(images, 2, source)
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = module(images, 2, source)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert out.shape == (128, 3, 32, 32)
    assert torch.allclose(views(OFF).cuda()(images).cpu(), images.cpu() / 255, atol=1e-5)
