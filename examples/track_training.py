"""Train a small network in a plain torch loop and watch its tangent kernel.

    python examples/track_training.py [figure.png]

The step is large for this network: gradient descent leaves the sharp place where it starts and
then stays where the sharpness is near 2 / eta, the edge of stability (Cohen et al. 2021,
arXiv:2103.00065).
"""

import sys

import matplotlib.pyplot as plt
import pandas as pd
import torch

import ntkflow

STEPS, RATE = 1000, 0.2


def train() -> pd.DataFrame:
    """Full-batch gradient descent, tracked within a quarter of the time it takes."""
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 30)[:, None]
    y = torch.sin(3 * x)
    hidden = [torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 32), torch.nn.Tanh()]
    network = torch.nn.Sequential(*hidden, torch.nn.Linear(32, 1))
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    tracker = ntkflow.Tracker(network, x, y, every=50, share=0.25)
    for step in range(STEPS):
        tracker.step(step, learning_rate=RATE)
        optimizer.zero_grad()
        (network(x) - y).square().mean().backward()
        optimizer.step()
    tracker.step(STEPS, learning_rate=RATE, now=True)
    return pd.DataFrame(tracker.table())


def draw(table: pd.DataFrame, file: str) -> None:
    """Sharpness against 2 / eta, and what becomes of the kernel."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    left.plot(table.step, table.sharpness, "o-", color="#0072B2", label="sharpness")
    left.plot(table.step, table.stability_limit, "--", color="#D55E00", label=r"$2/\eta$")
    left.set_ylabel(r"curvature of the loss (units of $1/\eta$)")
    middle.plot(table.step, table.drift, "o-", color="#0072B2", label="drift from the start")
    middle.plot(table.step, table.alignment, "s--", color="#D55E00", label="alignment with targets")
    middle.set_ylabel("relative to the kernel's norm (no unit)")
    right.plot(table.step, table.effective_rank, "o-", color="#0072B2", label="effective rank")
    right.set_ylabel("effective rank (number of directions)")
    for axes in (left, middle, right):
        axes.set(xlabel="updates", ylim=(0, None))
        axes.legend(frameon=False)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    table = train()
    columns = ["step", "due", "lambda_max", "sharpness", "stability_limit", "trace"]
    print(table[[*columns, "effective_rank", "alignment", "drift"]].round(3).to_string(index=False))
    draw(table, sys.argv[1] if len(sys.argv) > 1 else "track_training.png")
