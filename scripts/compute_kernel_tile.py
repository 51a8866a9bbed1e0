"""Compute one tile of the kernel of the training rows, into a file of its own."""

import time

import numpy as np

from job import run_job
from ntkflow.empirical.tile_files import write_kernel_tile
from ntkstudy.data.dataset import open_dataset
from ntkstudy.data.storage import Array, add_arrays, replacing
from ntkstudy.registry import load
from ntkstudy.subjects.pace import at_work
from ntkstudy.subjects.tiles import TiledKernel


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write the tile, and a group `tiles` with what it cost: seconds, bytes, entries."""
    load(cfg["modules"])
    place = tuple(cfg["place"])
    with open_dataset(input["dataset"]) as data:
        kernel = TiledKernel.prepare(cfg, data, device)
    with replacing(output["tile"]) as temporary:
        begin = time.perf_counter()
        with at_work(f"tile {place[0]}-{place[1]}"):
            values = kernel.at(*place)
        write_kernel_tile(
            temporary,
            values,
            place,
            kernel.size,
            tile=kernel.tile,
            convention=kernel.convention,
            dtype=cfg["tiles"]["dtype"],
            data=kernel.x,
        )
        seconds = time.perf_counter() - begin
        cost = dict(
            seconds=(seconds, "s"),
            bytes=(temporary.stat().st_size, "B"),
            entries=(values.numel(), "1"),
            repeats=(kernel.repeats, "rows of the kernel per training row"),
        )
        add_arrays(temporary, cfg, _at(place, cost), device=device, dtype=cfg["tiles"]["dtype"])


def _at(place: tuple[int, int], numbers: dict[str, tuple[float, str]]) -> dict[str, Array]:
    """One row of the table `tiles`."""
    axes = ["row", "column"]
    coordinates = {
        axis: Array(np.array([at]), [axis]) for axis, at in zip(axes, place, strict=True)
    }
    found = {
        name: Array(np.array([[value]]), axes, unit) for name, (value, unit) in numbers.items()
    }
    return {f"tiles/{name}": array for name, array in (coordinates | found).items()}


run_job(main, globals())
