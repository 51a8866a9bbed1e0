"""Kernels of networks that people bring, against the two methods of torch.func's tutorial.

All take turns in one process, on one thread, after a warm-up: seconds are medians, peaks are what
a process of its own needs for one kernel beyond the network, and the error is the largest deviation
from plain autograd in float64, relative to the largest entry. Prints CSV.

    python benchmarks/architectures.py [--repeats 5] [WORK ...]
"""

import csv
import sys
import warnings
from collections.abc import Callable

from side_by_side import peak_mb, print_peak, read_options, seconds

WORKS = {
    "ResNet-18": (8, "block"),
    "ResNet-18, trace": (8, "trace"),
    "ResNet-18, CIFAR stem": (4, "block"),
    "MobileNetV2": (8, "block"),
    "ViT-Tiny": (4, "block"),
    "GPT-2 tiny, tied": (8, "block"),
    "GPT-2 4 x 256": (8, "block"),
    "BERT-mini": (8, "block"),
    "Llama tiny": (8, "block"),
    "U-Net 8 x 8": (8, "block"),
    "ConvNeXt tiny": (8, "block"),
    "Swin tiny": (8, "block"),
    "LSTM": (32, "block"),
    "GRU": (32, "block"),
}
COLUMNS = ["work", "N", "O", "ours_s", "contraction_s", "products_s", "faster", "our_error"]
MEMORY = ["ours_mb", "contraction_mb", "products_mb", "smaller"]
METHODS = ["ours", "contraction", "products"]
LEAST_MB = 1.0  # what we need is taken for at least this in a ratio


def calls(work: str) -> dict[str, Callable]:
    """Function of the rows for us and each peer, and the rows."""
    from brought_networks import build
    from gpu.peers import contraction, products

    from ntkflow import empirical_ntk

    network, rows = build(work.removesuffix(", trace"))
    outputs = WORKS[work][1]

    def traced(peer: Callable) -> Callable:
        return lambda x: peer(network, x, outputs == "trace")

    return {
        "rows": rows,
        "network": network,
        "ours": lambda x: empirical_ntk(network, x, outputs=outputs).values,
        "contraction": traced(contraction),
        "products": traced(products),
    }


def error(work: str) -> tuple[int, float]:
    """Number of outputs, and our error in float32 against plain autograd in float64."""
    from ntkflow import empirical_ntk

    table, (count, outputs) = calls(work), WORKS[work]
    x = table["rows"](count)
    found = table["ours"](x)
    network = table["network"].double()
    wide = x.double() if x.is_floating_point() else x
    options = dict(outputs=outputs, method="autograd", memory_budget=2**32)
    expected = empirical_ntk(network, wide, **options).values
    count = network(wide[:1]).shape[1]
    return count, float((found - expected).abs().max() / expected.abs().max())


def compare(work: str, repeats: int) -> list:
    """One row of the table."""
    table, (count, _) = calls(work), WORKS[work]
    x = table["rows"](count)
    able = [name for name in METHODS if name == "ours" or works(lambda name=name: table[name](x))]
    measured = seconds([lambda name=name: table[name](x) for name in able], repeats)
    times = dict(zip(able, measured, strict=True))
    peaks = {name: peak_mb(__file__, work, name) for name in able}
    outputs, deviation = error(work)
    row = [work, count, outputs, *_cells(times, "{:.4f}"), _ratio(times, "{:.2f}")]
    return [*row, f"{deviation:.1e}", *_cells(peaks, "{:.0f}"), _ratio(peaks, "{:.1f}", LEAST_MB)]


def works(call: Callable) -> bool:
    """Whether torch.func takes the network."""
    try:
        call()
    except (RuntimeError, NotImplementedError) as error:
        print(str(error).splitlines()[0], file=sys.stderr)
        return False
    return True


def _cells(found: dict[str, float], form: str) -> list[str]:
    return [form.format(found[name]) if name in found else "fails" for name in METHODS]


def _ratio(found: dict[str, float], form: str, least: float = 0.0) -> str:
    """The better peer over ours, or that there is none."""
    peers = [value for name, value in found.items() if name != "ours"]
    return form.format(min(peers) / max(found["ours"], least)) if peers else "no peer"


def print_one_peak(work: str, name: str) -> None:
    """Of one call, after one of fewer rows, which is not counted."""
    table = calls(work)
    table[name](table["rows"](2))
    x = table["rows"](WORKS[work][0])
    print_peak(lambda: table[name](x))


def main() -> None:
    """Read the command line and print the table."""
    options = read_options(__doc__)
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    if options.peak:
        print_one_peak(*options.peak)
        return
    table = csv.writer(sys.stdout)
    table.writerow([*COLUMNS, *MEMORY])
    for work in options.works or WORKS:
        table.writerow(compare(work, options.repeats))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
