"""What the tests of training share: pictures, small options, and runs in processes of their own.

    python -c "import training_runs; training_runs.main()" train PICTURES ...

is `espcn train`, but for a checkpoint after every step: something to kill.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
SMALL = (
    *("--scale", "2", "--channels", "luma", "--device", "cpu", "--set", "run.threads=1"),
    *("--set", "recipe.patch=16", "--set", "recipe.batch=4", "--set", "recipe.turn_every=8"),
)
"""Flags of a run that takes a second or two."""


def squares(shape: tuple[int, int, int], dtype: str = "uint8", *, seed: int = 0) -> np.ndarray:
    """(band, y, x) of tilted squares, each band its own: edges of all directions, no grid."""
    random, (_, y, x) = np.random.default_rng(seed), np.mgrid[[slice(side) for side in shape]]
    sides, turns = (
        random.uniform(9, 14, (2, shape[0], 1, 1)),
        random.uniform(0, 1, (shape[0], 1, 1)),
    )
    along, across = x + turns * y, y - turns * x
    checks = (along // sides[0] + across // sides[1]) % 2
    top = np.iinfo(dtype).max if np.dtype(dtype).itemsize == 1 else 3000
    return (0.2 * top + 0.6 * top * checks).astype(dtype)


def write_pictures(folder: Path, count: int = 10, *, first: int = 0) -> Path:
    """RGB pictures of tilted squares, 96 x 112 px."""
    folder.mkdir()
    for number in range(first, first + count):
        values = squares((3, 96, 112), seed=number)
        Image.fromarray(np.moveaxis(values, 0, -1)).save(folder / f"{number:02}.png")
    return folder


def start(*arguments: str | Path, quick_to_save: bool = False) -> subprocess.Popen[str]:
    """`espcn` in a process of its own; its lines on stderr can be read while it runs."""
    call = "main()" if quick_to_save else "cli()"
    return subprocess.Popen(
        [sys.executable, "-c", f"import training_runs; training_runs.{call}", *map(str, arguments)],
        cwd=HERE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def await_step(process: subprocess.Popen[str], step: int) -> None:
    """Read what it reports until it has taken so many steps."""
    assert process.stderr is not None
    for line in process.stderr:
        found = re.match(r"(\d+)/\d+ steps", line)
        if found and int(found[1]) >= step:
            return
    raise AssertionError(f"ended with {process.wait()} before step {step}")


@contextmanager
def as_torchrun_does(count: int) -> Iterator[list[dict[str, str]]]:
    """The environments of processes that `torchrun` starts, meeting on the loopback only.

    `torchrun` itself listens on all interfaces.
    """
    from torch.distributed import TCPStore

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        store = TCPStore(
            *("127.0.0.1", port, None, True),
            wait_for_workers=False,
            master_listen_fd=os.dup(listening.fileno()),
        )
        shared = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "GLOO_SOCKET_IFNAME": "lo",
        }
        ranks = map(str, range(count))
        yield [os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in ranks]
        del store


def cli() -> None:
    """`espcn` as it is."""
    from workflows.cli import main as run

    run()


def main() -> None:
    """`espcn` with a checkpoint after every step."""
    from espcn import course

    course.SAVED_EVERY = 0.0
    cli()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) by name of all event files in a folder, as TensorBoard reads them.

    TFRecord: length (8 bytes), its CRC (4), an Event of protobuf, its CRC (4).
    """
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for record in _records(file.read_bytes()):
            event = Event.FromString(record)
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def _records(data: bytes) -> Iterator[bytes]:
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        yield data[12 : 12 + length]
        data = data[16 + length :]


def measure_memory() -> None:
    """Print the peak memory in kB after training on each of two folders, one after the other."""
    import resource

    from workflows.cli import run

    *folders, model = sys.argv[1:]
    cut = ("--channels", "each", "--set", "data.max_pixels=400000", "--set", "recipe.steps=5")
    for folder in folders:
        assert run(["train", folder, "-o", model, *SMALL, *cut, "--overwrite", "-q"]) in (0, 5)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def keep_weights() -> None:
    """`espcn`, of several processes, that leaves the weights of each beside the path given."""
    from espcn import training

    path = sys.argv.pop(1)
    train = training.train

    def kept(*arguments: object, **options: object) -> object:
        trained = train(*arguments, **options)  # type: ignore[arg-type]
        layers = {
            f"{number}.{part}": getattr(layer, part)
            for number, layer in enumerate(trained.weights.layers)
            for part in ("weight", "bias")
        }
        np.savez(f"{path}.{os.environ['RANK']}.npz", **layers)
        return trained

    training.train = kept  # type: ignore[assignment]
    cli()


if __name__ == "__main__":
    keep_weights()
