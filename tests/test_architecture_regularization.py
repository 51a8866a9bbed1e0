"""The figure of largest eigenvalues under regularisation."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from figures import architecture_regularization as figure
from ntkstudy.report.plotting import use_style

CELLS = {  # normalization, l2, dropout: lambda_max at the end, over that at the start
    "mlp": {("none", 0.0, 0.0): 8, ("none", 0.1, 0.0): 4, ("none", 0.0, 0.5): 2,
            ("usual", 0.0, 0.0): 3},
    "transformer": {("usual", 0.0, 0.0): 8, ("usual", 0.1, 0.0): 4, ("usual", 0.0, 0.5): 2,
                    ("none", 0.0, 0.0): 5},
}  # fmt: skip


def test_own_networks_stand_above_and_normalised_ones_below():
    use_style()
    rows = [
        (name, *cell, seed, step, 10.0 * (end if step else 1), 0.5 if cell[1] and step else 1.0)
        for name, cells in CELLS.items()
        for cell, end in cells.items()
        for seed in range(3)
        for step in (0, 5)
    ]
    axes = ["architecture", "normalization", "l2", "dropout", "seed", "step"]
    table = pd.DataFrame(rows, columns=[*axes, "lambda_max", "null_factor"])
    drawn = figure.draw({"training_gram": table}, {})
    ends = [[line.get_ydata()[-1] for line in each.lines] for each in drawn.axes]
    np.testing.assert_allclose(ends[0], [8, 4, 0.5, 2])
    np.testing.assert_allclose(ends[1], [8, 4, 0.5, 2])
    np.testing.assert_allclose(ends[2], [8, 3])
    np.testing.assert_allclose(ends[3], [5, 8])
    assert [each.get_title() for each in drawn.axes[:2]] == ["mlp", "transformer"]
    plt.close("all")
