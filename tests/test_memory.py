import pytest

from ntkflow.networks import cnn, mlp
from ntkstudy.plan import memory
from ntkstudy.plan.entries import read_facts
from ntkstudy.registry import discover

discover()

TASK = {"kind": "gaussian_product", "train_points": 8, "probe_points": 4}


def config(depth=1, width=4, dtype="float32", measured="profile", when=None, **task):
    return {
        "network": {"kind": "mlp", "depth": depth, "width": width},
        "task": TASK | task,
        "training": {"dtype": dtype},
        "measurements": [{"kind": measured, "when": when or ["initialization", "trained"]}],
    }


def memory_mb(stage, config, seeds):
    return memory.memory_mb(stage, config, read_facts(config), seeds)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("depth", "width"), [(0, 1), (1, 10), (1, 1000), (3, 2048), (4, 500)])
def test_memory_holds_four_copies_of_the_weights_and_the_activations(depth, width, dtype):
    like = mlp(2, depth * [width], 1, sigma_b=0.1, device="meta")
    numbers = sum(parameter.numel() for parameter in like.parameters())
    activations = 8 * (depth * width + 1)
    for stage, seeds in (("train", 2), ("ntk", 1), ("initialization", 1)):
        needed = seeds * (4 * numbers + 2 * activations) * (8 if dtype == "float64" else 4) / 1e6
        assert memory_mb(stage, config(depth, width, dtype), 2) >= needed + 500


@pytest.mark.parametrize(("depth", "width"), [(1, 4), (2, 32)])
def test_memory_holds_the_filters_and_images_of_convolutions(depth, width):
    described = {"kind": "cnn", "depth": depth, "width": width, "padding": "same"}
    digits = {"kind": "mnist", "train_points": 1000, "test_points": 10}
    block = config(measured="function") | {"network": described, "task": digits}
    like = cnn(1, depth * [width], 10, image_size=28, padding="same", sigma_b=0.1, device="meta")
    numbers = sum(parameter.numel() for parameter in like.parameters())
    needed = 2 * (4 * numbers + 2 * 1000 * 28**2 * width * depth) * 4 / 1e6
    assert needed + 500 <= memory_mb("train", block, 2) <= 4 * needed + 2000


def test_one_hidden_layer_has_no_square_of_weights():
    assert memory_mb("train", config(1, 16384), 10) < 2500


def test_kernels_of_all_networks_at_once_count_for_each():
    during = dict(when=["training"], train_points=500)
    each, at_once = (
        memory_mb("train", config(measured=kind, **during), 20)
        for kind in ("spectrum", "gram_spectrum")
    )
    assert at_once - each >= 19 * 500**2 * 8 / 1e6


def test_measurements_that_keep_a_kernel_a_network_need_more_with_every_seed():
    during = dict(when=["training"], train_points=500)
    kept, plain = (
        [memory_mb("train", config(measured=kind, **during), seeds) for seeds in (1, 20)]
        for kind in ("linearized", "spectrum")
    )
    kernels = 19 * 500**2 * 8 / 1e6
    assert kept[1] - kept[0] >= plain[1] - plain[0] + kernels
    digits = during | dict(kind="mnist", test_points=4, test_from="test")
    of_digits = memory_mb("train", config(measured="linearized", **digits), 1)
    assert of_digits - kept[0] >= (5000**2 - 500**2) * 8 / 1e6


def test_kernels_of_splits_are_not_those_of_their_pool():
    digits = {"kind": "mnist", "train_points": 1500, "test_points": 10}
    cell = config(when=["theory"]) | {"task": digits}
    split, pool = (
        memory_mb("theory", cell | {"measurements": [entry]}, 1)
        for entry in (
            {"kind": "architecture_regression", "when": ["theory"], "train": 500},
            {"kind": "architecture_regression", "when": ["theory"], "train": 1500},
        )
    )
    assert pool - split == pytest.approx(6 * (15_000**2 - 5_000**2) * 8 / 1e6)
    wide = cell | {"task": digits | {"train_points": 20_000}}
    few = {"kind": "architecture_regression", "when": ["theory"], "train": 50}
    found = [
        memory_mb("theory", wide | {"measurements": [few | {"test": test}]}, 1)
        for test in (10, 5_000)
    ]
    assert found[0] >= 6 * 20_000**2 * 8 / 1e6
    assert found[1] - found[0] == pytest.approx(4_990 * 10 * 500 * 8 / 1e6, rel=0.01)
