"""Show the tiles of a kernel as one, without copying them."""

from job import run_job
from ntkflow.empirical.tile_files import assemble_kernel_tiles
from ntkstudy.data.seal import check_seal, seal
from ntkstudy.data.storage import replacing


def main(input: dict, output: dict) -> None:
    """Write a virtual data set over the files of the tiles, or an error that names a wrong one."""
    tiles = input["tiles"]
    tiles = [tiles] if isinstance(tiles, str) else tiles
    for tile in tiles:
        check_seal(tile, "tile")
    with replacing(output["kernel"]) as temporary:
        assemble_kernel_tiles(temporary, tiles)
        seal(temporary)


run_job(main, globals())
