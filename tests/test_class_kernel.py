"""The kernel between images sorted by class, and its animation."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from study_cases import digits_data, digits_networks, measured

from animations import class_kernel as animation
from ntkflow.empirical import empirical_ntk
from ntkstudy.report.plotting import use_style


def test_images_come_class_by_class(tmp_path):
    networks = digits_networks(seeds=2)
    with digits_data(tmp_path) as data:
        found = measured("class_kernel", networks, data)
        x, y = data.training_set(**networks.where)
    labels = y.argmax(1).numpy()
    order = np.argsort(labels, kind="stable")
    np.testing.assert_array_equal(found["label"], np.tile(labels[order], (2, 1)))
    for seed, one in enumerate(networks):
        kernel = empirical_ntk(networks.network, x, parameters=one.weights).values.double()
        mean = torch.einsum("oonm->nm", kernel).numpy() / 10
        expected = (mean / np.trace(mean) * len(mean))[order][:, order]
        np.testing.assert_allclose(found["entry"][seed], expected, rtol=1e-3, atol=1e-4)


def test_animation_shows_the_kernel_of_its_step():
    use_style()
    rng, labels = np.random.default_rng(0), [0, 0, 1, 3]
    matrices = rng.random((3, 4, 4))
    rows = [
        (0, step, row, labels[row], *matrices[place, row])
        for place, step in enumerate((0, 5, 10))
        for row in range(4)
    ]
    columns = ["seed", "step", "row", "label", *(f"entry_{j}" for j in range(4))]
    accuracy = pd.DataFrame({"seed": 0, "step": [0, 5, 10], "train_accuracy": [0.1, 0.5, 0.9]})
    tables = {
        "training_class_kernel": pd.DataFrame(rows, columns=columns),
        "training_classification": accuracy.assign(test_accuracy=[0.1, 0.4, 0.6]),
        "training_kernel": pd.DataFrame(
            {"seed": 0, "step": [0, 5, 10], "alignment": [0.2, 0.3, 0.7]}
        ),
    }
    figure, show, count = animation.draw(tables, {})
    assert count == 3
    show(1)
    left, right = figure.axes[:2]
    np.testing.assert_array_equal(left.images[0].get_array(), matrices[1])
    assert left.get_title() == "after 5 steps"
    assert [label.get_text() for label in left.get_xticklabels()] == ["0", "1", "3"]
    drawn = [line.get_ydata().tolist() for line in right.lines]
    assert drawn == [[0.1, 0.5], [0.1, 0.4], [0.2, 0.3]]
    plt.close("all")
