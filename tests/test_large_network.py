"""The spectrum of a network from products alone, beside its kernel; ResNet-18; their figure."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from study_cases import ROOT, in_float64, made_data, measured

import ntkflow
from figures import large_network as figure
from ntkflow.errors import ConfigurationError
from ntkflow.networks import draw_parameters, member
from ntkflow.networks.resnet import resnet18
from ntkstudy.claims import judge_claim
from ntkstudy.data.storage import Array
from ntkstudy.data.tables import with_axes
from ntkstudy.plan.configuration import read_yaml
from ntkstudy.report.plotting import use_style
from ntkstudy.subjects.networks import build_network
from ntkstudy.theory.setting import Setting

OPTIONS = {"eigenvalues": 3, "probes": 6, "steps": 12, "bins": 3, "compared_rows": 8}
DESCRIBED = {"kind": "resnet18", "channels": 2, "padding": 1, "stem": "cifar"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve images of 6 x 6 pixels, of three classes."""
    rng = np.random.default_rng(0)
    arrays = {
        "train/x": Array(rng.random((12, 36)), ["sample", "coordinate"]),
        "train/y": Array(np.eye(3)[rng.integers(0, 3, 12)], ["sample", "output"]),
        "probe/x": Array(rng.random((2, 36)), ["image", "coordinate"]),
        "probe/y": Array(np.eye(3)[:2], ["image", "output"]),
        "probe/image": Array(np.arange(2), ["image"]),
    }
    with made_data(tmp_path_factory.mktemp("images"), arrays) as data:
        yield data


@pytest.fixture(scope="module")
def setting(data):
    """Shared: what is measured once serves all tables."""
    return Setting.prepare(build_network(DESCRIBED, 36, 3), data, {}, "cpu")


def dense(setting, data, rows):
    """Kernel and targets of the first rows, the first from a loop over rows of the Jacobian."""
    x, y, *_ = in_float64(data)
    network, x = setting.network, x[:rows]
    leaves = member(draw_parameters(network, [0], dtype=torch.float64), 0)

    def outputs(parameters):
        return torch.func.functional_call(network, parameters, (x,)).flatten()

    parts = torch.func.jacrev(outputs)(leaves).values()
    jacobian = torch.cat([part.flatten(1) for part in parts], dim=1)
    return jacobian @ jacobian.T, (y[:rows] - y[:rows].mean(0)).flatten()


def test_eigenvalues_are_those_of_both_kernels(setting, data):
    found = measured("large_spectrum", setting, data, "theory", **OPTIONS)
    for rows, columns in {
        12: ["eigenvalue"],
        8: ["compared_eigenvalue", "formed_eigenvalue"],
    }.items():
        expected = torch.linalg.eigvalsh(dense(setting, data, rows)[0]).flip(0)[:3]
        for column in columns:
            np.testing.assert_allclose(found[column], expected, rtol=1e-4)
    assert (found["residual"] < 1e-3).all()
    assert (found["difference"] < 1e-4).all()
    assert (found["difference"] > 0).all()
    assert found["rows"] == 12
    assert found["columns"] == 36
    assert found["weights"] == sum(p.numel() for p in setting.network.parameters())
    # Those of random vectors, of eigenpairs, and one for the alignment.
    assert found["products"] > 9 * 12 + 3 + 1
    assert 0.05 < found["peak_gigabytes"] < 100


def test_estimates_are_near_both_kernels(setting, data):
    found = measured("large_estimates", setting, data, "theory", **OPTIONS)
    names = ["trace", "frobenius norm", "effective rank", "alignment"]
    assert [name.decode() for name in found["quantity"]] == names
    for rows, value, error in [(12, "value", "standard_error"),
                               (8, "compared_value", "compared_error")]:  # fmt: skip
        kernel, y = dense(setting, data, rows)
        values = torch.linalg.eigvalsh(kernel)
        expected = [
            kernel.trace(), kernel.norm(), ntkflow.effective_rank(values),
            ntkflow.alignment(kernel, y),
        ]  # fmt: skip
        # An error over random vectors does not hold the rounding of products in float32.
        rounding = 8 * np.finfo(np.float32).eps * np.abs(expected)
        assert (np.abs(found[value] - expected) < 4 * found[error] + rounding).all()
        if rows == 12:
            assert found["exact"][0] == pytest.approx(float(expected[0]), rel=1e-5)
        else:
            np.testing.assert_allclose(found["formed_value"], expected, rtol=1e-8)
            gap = np.abs(found[value] - found["formed_value"])
            np.testing.assert_allclose(found["deviation"], gap / found[error])
            np.testing.assert_allclose(found["difference"], gap / found["formed_value"])


def test_densities_count_all_eigenvalues(setting, data):
    found = measured("large_density", setting, data, "theory", **OPTIONS)
    values = torch.linalg.eigvalsh(dense(setting, data, 8)[0])
    relative = (values / values[-1]).numpy()
    counts = [(relative < 0.01).sum(), ((relative >= 0.01) & (relative < 0.1)).sum()]
    np.testing.assert_allclose(found["below"], [0.01, 0.1, 1])
    np.testing.assert_array_equal(found["formed_count"], [*counts, 24 - sum(counts)])
    assert (found["columns"] == 36).all()
    # Random vectors are not all of one length once those of eigenvectors are taken out.
    assert abs(found["count"].sum() - 36) < 4 * np.linalg.norm(found["error"])
    off = np.abs(found["compared_count"] - found["formed_count"])
    assert (off < 4 * found["compared_error"] + 1e-9).all()


def test_tables_share_what_is_measured(setting, data, monkeypatch):
    measured("large_spectrum", setting, data, "theory", **OPTIONS)
    monkeypatch.setattr("ntkstudy.theory.large_network.LargeNetwork", None)
    measured("large_density", setting, data, "theory", **OPTIONS)
    with pytest.raises(TypeError):
        measured("large_density", setting, data, "theory", **OPTIONS | {"probes": 7})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(compared_rows=13), "compared_rows: 13 is not allowed; allowed: at most the 12 "),
        (dict(eigenvalues=24), "eigenvalues: 24 is not allowed; allowed: less than the 24 of 8 "),
    ],
)
def test_too_many_are_named(setting, data, options, words):
    with pytest.raises(ConfigurationError, match=f"^large_network: {words}"):
        measured("large_spectrum", setting, data, "theory", **OPTIONS | options)


def test_resnet18_has_its_weights_and_shapes():
    network = resnet18(3, 1000, device="meta")
    # Of the 11,689,512 weights the normalisation has 9,600.
    assert sum(p.numel() for p in network.parameters()) == 11_689_512 - 9_600
    assert network(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, 1000)
    with pytest.raises(ConfigurationError, match=r"^stem: 'x' is unknown; allowed: imagenet"):
        resnet18(3, 10, stem="x")


def test_values_keep_their_size():
    """Through all blocks, without the zeros at edges."""
    sizes = []
    for seed in range(4):
        torch.manual_seed(seed)
        network = resnet18(1, 10, width=16, stem="cifar")
        for layer in network.modules():
            if getattr(layer, "kernel_size", None) == (3, 3):
                layer.padding_mode = "circular"
        with torch.no_grad():
            x = torch.randn(1, 1, 64, 64)
            sizes.append([part(x).square().mean() for part in (network[:2], network[:-3])])
    before, after = torch.tensor(sizes).mean(0)
    assert 0.9 < before < 1.1
    assert 0.5 < after < 3  # without the division some hundred


def test_padding_and_stem_of_a_described_network():
    network = build_network(DESCRIBED | {"stem": "imagenet", "padding": 2}, 784, 10)
    assert network[0](torch.empty(3, 784)).shape == (3, 1, 28, 28)
    assert network[:3](torch.empty(3, 784, device="meta")).shape == (3, 2, 16, 16)
    assert network(torch.empty(3, 784, device="meta")).shape == (3, 10)


def test_operators_count_their_products():
    theta = ntkflow.ntk_operator(ntkflow.mlp(2, [3]), torch.ones(4, 2))
    assert theta.products == 0
    theta @ torch.ones(4)
    theta @ torch.ones(4, 3)
    assert theta.products == 4
    theta.to_scipy() @ np.ones((4, 2))
    assert theta.products == 6


def tables(rows):
    rank = np.arange(1, 4)
    spectrum = pd.DataFrame({"rank": rank, "eigenvalue": 9.0 / rank, "rows": rows})
    spectrum = spectrum.assign(
        compared_eigenvalue=3.0 / rank, formed_eigenvalue=3.0 / rank, compared_rows=20
    )
    estimates = pd.DataFrame({"quantity": list(figure.LABELS)})
    estimates = estimates.assign(compared_value=2.2, formed_value=2.0, compared_error=0.2)
    density = pd.DataFrame({"bin": range(3), "below": [0.01, 0.1, 1.0], "count": [60, 30, 10]})
    density = density.assign(
        error=[5, 3, 0], formed_count=[12, 6, 2], compared_count=[11, 7, 2],
        compared_error=1.0, columns=100,
    )  # fmt: skip
    found = zip(figure.TABLES, (spectrum, estimates, density), strict=True)
    return {name: with_axes(table, table.columns[:1]) for name, table in found}


@pytest.mark.parametrize(("rows", "count"), [(20, 2), (1000, 3)])
def test_the_figure_shows_the_kernel_beside_products(rows, count):
    use_style()
    drawn = figure.draw(tables(rows), {})
    drawn.draw_without_rendering()
    left, middle, right = drawn.axes
    labels = [line.get_label() for line in left.lines]
    assert labels == ["kernel, 20", "products, 20", "products, 1,000"][:count]
    assert [bar.get_height() for bar in middle.patches] == [0.6, 0.3, 0.1]
    assert middle.lines[-3].get_ydata().tolist() == pytest.approx([0.55, 0.35, 0.1])
    assert right.lines[1].get_xdata().tolist() == pytest.approx([1.1] * 4)
    plt.close(drawn)


def claim():
    path = ROOT / "config" / "claims" / "scale.yaml"
    claims = read_yaml(path)["claims"]
    one = next(one for one in claims if one["id"] == "scale.large-network")
    return {"source": "scale"} | one


def full_tables():
    """Of 1,000 images, such that the claim holds."""
    rank = np.arange(1, 11)
    spectrum = pd.DataFrame({"rank": rank, "difference": 1e-5, "residual": 1e-4, "rows": 1000})
    spectrum = spectrum.assign(peak_gigabytes=3.0, products=345, seconds=2e3)
    estimates = pd.DataFrame({"quantity": list(figure.LABELS), "rows": 1000})
    estimates = estimates.assign(deviation=[0.1, 1.0, 2.0, 3.0], difference=1e-3)
    return {
        "theory_large_spectrum": with_axes(spectrum, ["rank"]),
        "theory_large_estimates": with_axes(estimates, ["quantity"]),
    }


@pytest.mark.parametrize(
    ("table", "column", "value", "verdict"),
    [
        ("spectrum", "seconds", 1e4, "reproduced"),
        ("spectrum", "peak_gigabytes", 4.5, "contradicted"),
        ("spectrum", "products", 10_000, "contradicted"),
        ("spectrum", "residual", 2e-3, "contradicted"),
        ("spectrum", "difference", 2e-3, "contradicted"),
        ("estimates", "deviation", 5.0, "contradicted"),
        ("estimates", "rows", 20, "not run"),
    ],
)
def test_the_claim_is_judged_on_every_number(table, column, value, verdict):
    made = full_tables()
    made[f"theory_large_{table}"][column] = value
    assert judge_claim(claim(), made)["verdict"] == verdict
