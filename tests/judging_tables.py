"""Tables of made-up measurements, and one criterion judged on them."""

import numpy as np
import pandas as pd

from ntkstudy.claims import judge_criterion

WIDTHS = (100, 400, 1600)


def table(draw, seeds=40, widths=WIDTHS) -> pd.DataFrame:
    """Rows (width, seed, theta) with theta = draw(generator, width, seeds)."""
    rng = np.random.default_rng(5)
    return pd.concat(
        pd.DataFrame({"width": width, "seed": range(seeds), "theta": draw(rng, width, seeds)})
        for width in widths
    )


def judge(data, requires=(), **criterion):
    texts = {"description": "theta", "table": "t", "column": "theta", "range": [-9.0, 9.0]}
    criterion = texts | criterion
    return judge_criterion(criterion, "observation", dict(requires), {"t": data})


def noise(mean, std):
    """Normal noise whose mean over the seeds is exactly `mean`, so that bounds there straddle."""

    def draw(rng, width, seeds):
        values = rng.standard_normal(seeds)
        return mean + std * (values - values.mean())

    return draw


POWER_LAW = table(lambda rng, width, seeds: 1 + width**-0.5 * rng.standard_normal(seeds))
ASYMPTOTE = table(lambda rng, width, seeds: noise(0.5 + 2 * width**-0.5, 1e-3)(rng, width, seeds))
MEAN_LAW = table(lambda rng, width, seeds: 3 / width * (1 + 0.01 * rng.standard_normal(seeds)))
