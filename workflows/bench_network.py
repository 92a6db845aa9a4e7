"""The bare networks of `make bench`: `python -m workflows.bench_network bare|torch SCENE ..`.

Prints CPU seconds. Pixels are in memory as floats before the clock starts.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import espcn
from espcn.reference import whole_image
from pipeline.sources import open_source
from pipeline.tiling import Tiling, Window

MODEL, TILE, THREADS = "general-x3", 2048, 2
"""The network, the tiles of the job it is compared with, and how many run at once."""


def main(what: str, *scenes: str) -> None:
    """Measure one of the two and print its CPU seconds, a line for every scene."""
    for scene in scenes:
        print(_measure(what, scene), flush=True)


def _measure(what: str, scene: str) -> float:
    source = open_source(str(Path(scene).absolute()))
    profile = source.profile
    pixels = source.read(Window(0, 0, profile.height, profile.width)).astype(np.float32)
    return {"bare": bare, "torch": whole}[what](pixels)


def bare(pixels: NDArray[np.float32]) -> float:
    """The blocks of all tiles through the backend that the job uses, and nothing else."""
    network = espcn.load(MODEL, device="cpu")
    halo = network.halo
    field = np.pad(pixels, ((0, 0), (halo, halo), (halo, halo)), mode="symmetric")
    height, width = pixels.shape[1:]
    tiling = Tiling(height, width, network.scale, TILE, halo)
    blocks = [
        block
        for tile in tiling
        for block in tiling.core(tile).cut(network.block)
        if pixels[:, *block.slices].any()  # the job computes nothing where all is nodata, 0
    ]

    def run(block: Window) -> None:
        rows = slice(block.y, block.stop_y + 2 * halo)
        columns = slice(block.x, block.stop_x + 2 * halo)
        for band in range(len(field)):
            network(np.ascontiguousarray(field[band : band + 1, rows, columns]))

    run(blocks[0])
    started = time.process_time()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, blocks))
    return time.process_time() - started


def whole(pixels: NDArray[np.float32]) -> float:
    """One eager float32 forward per band over the whole image."""
    whole_image(MODEL, pixels[:1, :64, :64])
    started = time.process_time()
    whole_image(MODEL, pixels)
    return time.process_time() - started


if __name__ == "__main__":
    main(*sys.argv[1:])
