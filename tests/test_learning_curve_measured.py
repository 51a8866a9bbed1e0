"""The measured learning curve and its prediction on a few labelled rows, and the figure of them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from study_cases import in_float64, measured

from figures import learning_curve as figure
from ntkflow.errors import ConfigurationError
from ntkflow.limits import limit_kernels
from ntkflow.networks import mlp
from ntkflow.randomness import generator
from ntkflow.regression.learning_curve import learning_curve, power_law_tail
from ntkstudy.data.tables import with_axes
from ntkstudy.report.plotting import use_style
from ntkstudy.subjects.limit import Limit

SMALL = {"pool": 10, "sizes": [2, 5], "ridges": [0.01, 0.5], "draws": 2, "training_sets": 3}


@pytest.fixture
def limit():
    return Limit(mlp(5, [1, 1], 3, sigma_b=0.1, device="meta"), "cpu")


def test_every_number_is_that_of_its_definition(limit, data):
    found = measured("learning_curve", limit, data, "limit", **SMALL)
    x, y, probe, targets = in_float64(data)
    gram = limit_kernels(limit.network, torch.cat([x, probe])).ntk
    y = torch.cat([y, targets])
    rng = generator(1, "split")  # the second draw
    order = rng.permutation(14)
    pool, fresh = order[:10], order[10:]
    y = y - y[pool].mean(0)
    orders = [pool[rng.permutation(10)] for _ in range(3)]
    ridge = 0.5 * gram.diagonal().mean().item()
    errors = []
    for rows in (order[:5] for order in orders):
        inside = gram[rows][:, rows]
        inverse = torch.linalg.inv(inside + ridge * torch.eye(5, dtype=torch.float64))
        squared = (gram[:, rows] @ inverse @ y[rows] - y).square().sum(1)
        errors.append([squared[pool].mean().item(), squared[fresh].mean().item()])
    on_pool, on_fresh = np.mean(errors, axis=0)
    at = (1, 1, 1)  # draw, ridge, size
    assert found["pool"][at] == pytest.approx(on_pool)
    assert found["fresh"][at] == pytest.approx(on_fresh)
    rows = orders[0][:5]
    inside = gram[rows][:, rows]
    inverse = torch.linalg.inv(inside + ridge * torch.eye(5, dtype=torch.float64))
    assert found["learnability"][at] == pytest.approx(torch.trace(inside @ inverse).item())

    values, vectors = torch.linalg.eigh(gram[pool][:, pool] / 10)
    curve = learning_curve(values, vectors.T @ y[pool] / 10**0.5, 5, ridge)
    assert found["predicted"][at] == pytest.approx(curve.error.item())
    assert found["predicted_learnability"][at] == pytest.approx(curve.learnability.sum().item())
    assert found["pool_ratio"][at] == pytest.approx(on_pool / curve.error.item())
    assert found["fresh_ratio"][at] == pytest.approx(on_fresh / curve.error.item())
    tail = on_fresh / found["predicted_with_tail"][at]
    assert found["tail_ratio"][at] == pytest.approx(tail)
    assert found["n"].tolist() == [2, 5]
    assert found["ridge"].tolist() == [0.01, 0.5]
    assert found["share"].tolist() == [0.2, 0.5]


def test_a_power_law_is_continued_as_it_is():
    places = torch.arange(1, 100_001, dtype=torch.float64)
    terms = places**-1.4
    total = terms.sum() + (100_000.5**-0.4) / 0.4  # the sum to infinity
    cut = torch.cat([terms[:40], (total - terms[:40].sum())[None]])
    found, behind = power_law_tail(cut, 40, 1000)
    torch.testing.assert_close(found, terms[:1000], rtol=0.03, atol=0.0)
    assert found.sum() + behind == pytest.approx(total.item())
    assert behind.item() == pytest.approx((total - terms[:1000].sum()).item(), rel=0.03)


def test_a_tail_without_terms_is_empty():
    for terms in ([1.0, 0.5, 0.0], [1.0, 0.0, 0.0]):
        found, behind = power_law_tail(torch.tensor(terms), 2, 5)
        assert found.tolist() == [*terms[:2], 0.0, 0.0, 0.0]
        assert behind.item() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"pool": 14},
            "^learning_curve: pool: 14 is not allowed; allowed: less than",
        ),
        ({"sizes": [2, 11]}, "^learning_curve: sizes: 11 is not allowed; allowed: at most 10"),
    ],
)
def test_sizes_that_do_not_fit_are_named(limit, data, change, message):
    with pytest.raises(ConfigurationError, match=message):
        measured("learning_curve", limit, data, "limit", **SMALL | change)


def test_the_figure_draws_predictions_and_points():
    rng = np.random.default_rng(0)
    axes = {"seed": range(3), "ridge": [0.001, 0.1], "n": [10, 20, 50]}
    table = pd.MultiIndex.from_product(axes.values(), names=axes).to_frame(index=False)
    names = ["predicted", "predicted_with_tail", "pool", "fresh", "learnability"]
    table[[*names, "predicted_learnability"]] = rng.random((len(table), 6)) + 0.5
    table["share"] = table["n"] / 200
    use_style()
    drawn = figure.draw({"limit_learning_curve": with_axes(table, axes)}, {})
    drawn.draw_without_rendering()
    errors, learned = drawn.axes
    assert errors.get_xlabel() == "training rows n, M = 200"
    lines = [line.get_ydata() for line in errors.lines]
    for column in ("predicted", "predicted_with_tail", "pool", "fresh"):
        for _, rows in table.groupby("ridge"):
            expected = rows.groupby("n")[column].mean()
            assert any(np.allclose(line, expected) for line in lines if len(line) == 3), column
    shaded = sorted(patch.get_x() + patch.get_width() for patch in errors.patches)
    assert shaded == pytest.approx([10, 50])
    assert [text.get_text() for text in learned.get_legend().texts] == ["ridge 0.001", "ridge 0.1"]
    plt.close(drawn)
