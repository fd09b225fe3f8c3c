"""The fifteen corruptions: what each does, and that it does the same everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy import ndimage, stats

from mnistnet.errors import DataError
from mnistnet.metrics.corruptions import CORRUPTIONS, corrupt

FIXED = {"scale", "brightness", "stripe", "canny_edges"}  # the same whatever the seed

# MNIST-C's fifteen, in its order: SHA-256 of the first 200 test images, corrupted with seed 0.
# They define the suite: where one changes, error rates no longer compare with earlier ones.
DIGESTS = {
    "shot_noise": "53d6eeaa36f3ef4bd5a88f9dced4fa76915e64f2c6dd668f629e9f5f405cfb4c",
    "impulse_noise": "7a8c0dae62ceffb9502dc70a5af816ae83fb8c614242e05b49cb2667ef88a13e",
    "glass_blur": "0065e496bd4a43e3e4647633b1e46d1f36d32935fd7418bda051a6146d372692",
    "motion_blur": "66214fce6bfe57fd3c40ceb3a9e49da06b53cab3f8a8fee0ba39f3f59dcf63d5",
    "shear": "0d9fc3fab2f48c64df7942864f09298ce9b80b5076b8540d914072d59b896a0d",
    "scale": "829ebddf1bbf3a554db8075ac72f722f8362487a56e93bb1a5650e4ad1668d4c",
    "rotate": "e366457f30a0d79dacda7fd36295fc222025f96e85dc3c00614aa61c4e022342",
    "brightness": "bbaf02ce0ceb9423dca50cda62bae53d87202f263c1b4201214d78b6d8d4b170",
    "translate": "737139738834f65aa5e40ac707e7257f91032eb189f89d42972a71caaa0330d1",
    "stripe": "063b199c2ba08e8b73b9f7661b69c58438da0bc0f90a5ccdb6f70774ea4d911c",
    "fog": "95d1253759ac1082be0f6f6505d30736def1bb65e396a1b93c4352e4d12cec28",
    "spatter": "cd39068aca41ffa86f0dd09b467567bf1a84d024d70b2449689f046c622b70c5",
    "dotted_line": "8d4eb2559ac64dc8e7b0a83df88ee7934b052a4ba726317db01b6a4518ed8aab",
    "zigzag": "addfddd0761fc8815f75c5e21ea0ad2afe0e766e0a32e381469bb82137ca4e19",
    "canny_edges": "58f3bee31af090879b9f8fecfade21f011026725e67b5f409a1591a9a7b7d04d",
}


def test_a_seed_gives_these_bytes_on_every_machine(images):
    corrupted = {name: corrupt(images, name, seed=0) for name in CORRUPTIONS}
    digests = {name: hashlib.sha256(c.tobytes()).hexdigest() for name, c in corrupted.items()}
    assert list(digests.items()) == list(DIGESTS.items())
    assert {(c.dtype, c.shape) for c in corrupted.values()} == {(images.dtype, images.shape)}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_are_not_written_to_and_do_not_depend_on_those_after_them(name, images):
    before = images[:9].copy()
    corrupted = corrupt(before, name)
    assert np.array_equal(before, images[:9])
    assert np.array_equal(corrupt(before[:7], name), corrupted[:7])
    assert corrupt(before[:0], name).shape == (0, 28, 28)
    assert (corrupt(before, name, seed=1) != corrupted).any() == (name not in FIXED)


def test_shot_noise_counts_photons_as_often_as_poisson_says():
    grey = np.full((400, 28, 28), 51, np.uint8)  # a fifth of white, which is three photons
    counts = corrupt(grey, "shot_noise") / 85
    shares = [(counts == k).mean() for k in range(4)]
    expected = [*stats.poisson.pmf([0, 1, 2], 0.6), stats.poisson.sf(2, 0.6)]  # three and more
    assert shares == pytest.approx(expected, abs=0.004)
    assert not corrupt(grey * 0, "shot_noise").any()


def test_impulse_noise_makes_17_percent_of_the_pixels_black_or_white_in_equal_parts():
    corrupted = corrupt(np.full((400, 28, 28), 100, np.uint8), "impulse_noise")
    shares = [(corrupted == level).mean() for level in (0, 100, 255)]
    assert shares == pytest.approx([0.085, 0.83, 0.085], abs=0.003)


def test_position_changes_are_the_affine_maps_of_mnist_c(images):
    image = images[:1].astype(np.float32)
    sin, cos = np.sin(0.4), np.cos(0.4)
    maps = {
        "shear": [(1, -sin, 0, cos), (1, sin, 0, cos)],
        "rotate": [(cos, -sin, sin, cos), (cos, sin, -sin, cos)],
        "scale": [(1 / 0.7, 0, 0, 1 / 0.7)],
    }
    for name, directions in maps.items():
        gaps = []
        for a, b, c, d in directions:
            matrix = np.array([[d, c], [b, a]])  # SciPy counts rows first
            offset = 13.5 - matrix @ [13.5, 13.5]
            expected = ndimage.affine_transform(
                image[0], matrix, offset, order=1, mode="grid-constant"
            )
            gaps.append(abs(corrupt(images[:1], name)[0] - expected).max())
        assert min(gaps) < 1, name


def test_canny_draws_the_outline_of_a_square_once_all_round():
    square = np.zeros((1, 28, 28), np.uint8)
    square[:, 8:20, 8:20] = 255
    edges = corrupt(square, "canny_edges")[0]
    assert set(np.unique(edges)) == {0, 255}
    assert not edges[10:18, 10:18].any()
    assert not edges[:7].any()
    for line in (edges[13], edges[:, 13]):  # crossing the square meets one pixel on each side
        assert (line[6:10] > 0).sum() == 1
        assert (line[18:22] > 0).sum() == 1
    assert ndimage.label(edges, np.ones((3, 3)))[1] == 1  # it closes


@pytest.mark.parametrize(
    ("shape", "dtype", "name", "reason"),
    [
        ((2, 28, 28), np.float32, "fog", "uint8"),
        ((2, 32, 32), np.uint8, "fog", r"\(2, 32, 32\)"),
        ((2, 28, 28), np.uint8, "snow", "'snow' is unknown; choose from shot_noise"),
    ],
)
def test_what_cannot_be_corrupted_is_refused_in_one_line(shape, dtype, name, reason):
    with pytest.raises(DataError, match=reason) as error:
        corrupt(np.zeros(shape, dtype), name)
    assert "\n" not in str(error.value)
