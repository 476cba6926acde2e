"""What reading data costs beside the same reading without corekit, as ratios.

python benchmarks/data.py            # tiny images and arrays of its own, in a temporary folder

Images: the same files decoded and resized in a plain torch DataLoader. Arrays: one fancy index per
batch into a NumPy array in memory, scaled the same way: the least that is possible.
"""

import os
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from corekit.data.arrays import Arrays
from corekit.data.image_folder import ImageFolder
from corekit.data.loading import Loader

IMAGES, SIDE, SIZE, BATCH, ROUNDS = 512, 160, 64, 32, 7
ROWS, BATCHES = 8192, 64


class Plain(Dataset):
    """The decoding of improved-diffusion and nothing else."""

    def __init__(self, files):
        self.files = files

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        with open(self.files[index], "rb") as file:
            image = Image.open(file)
            image.load()
        while min(image.size) >= 2 * SIZE:
            half = tuple(side // 2 for side in image.size)
            image = image.resize(half, Image.Resampling.BOX)
        scale = SIZE / min(image.size)
        rest = tuple(round(side * scale) for side in image.size)
        image = image.resize(rest, Image.Resampling.BICUBIC)
        pixels = np.array(image.convert("RGB"))
        top, left = (pixels.shape[0] - SIZE) // 2, (pixels.shape[1] - SIZE) // 2
        pixels = pixels[top : top + SIZE, left : left + SIZE]
        x = pixels.astype(np.float32) / 127.5 - 1
        return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))


def write_images(folder):
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        small = rng.integers(0, 256, (12, 16, 3), np.uint8)
        image = Image.fromarray(small).resize((SIDE * 4 // 3, SIDE), Image.Resampling.BICUBIC)
        image.save(folder / f"{i}.jpg", quality=90)


def first_batch_then(loader, batches):
    """Seconds for so many batches after the first: workers have started by then."""
    stream = iter(loader)
    next(stream)
    start = time.perf_counter()
    for _ in islice(stream, batches):
        pass
    return time.perf_counter() - start


def compare(title, makers, batches, rows):
    """Items per second of each, in turn, and the ratio to the first."""
    seconds = {name: [] for name in makers}
    for _ in range(ROUNDS):
        for name, make in makers.items():
            seconds[name].append(first_batch_then(make(), batches))
    rates = {name: batches * rows / median(values) for name, values in seconds.items()}
    base = next(iter(rates.values()))
    print(title)
    for name, rate in rates.items():
        print(f"  {name:<34} {rate:10.0f} items/s   {rate / base:5.2f}x")


def images(folder):
    write_images(folder)
    files = sorted(str(path) for path in folder.glob("*.jpg"))
    split = ImageFolder(folder, size=SIZE, held_out=0).split("train")
    for workers in (0, 2):

        def plain(workers=workers):
            return DataLoader(
                Plain(files), BATCH, shuffle=True, num_workers=workers, drop_last=True
            )

        def ours(workers=workers):
            return Loader(split, BATCH, seed=0, workers=workers)

        title = f"JPEG {SIDE} x {SIDE * 4 // 3} to {SIZE} x {SIZE}, {workers} workers"
        compare(title, {"plain DataLoader": plain, "image_folder": ours}, 14, BATCH)


def arrays(folder):
    for name, shape in (("3 x 32 x 32", (32, 32, 3)), ("8 numbers", (8,))):
        rng = np.random.default_rng(0)
        pixels = len(shape) == 3
        x = (
            rng.integers(0, 256, (ROWS, *shape), np.uint8)
            if pixels
            else rng.normal(size=(ROWS, *shape)).astype(np.float32)
        )
        np.save(folder / "x.npy", x)

        def raw(x=x, pixels=pixels):
            order = np.random.default_rng(0).permutation(ROWS).reshape(-1, BATCH)
            for rows in order:
                batch = x[rows]
                if pixels:
                    batch = batch.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
                yield torch.from_numpy(np.ascontiguousarray(batch))

        def ours():
            return Loader(Arrays(folder / "x.npy", held_out=0).split("train"), BATCH, seed=0)

        compare(f"rows of {name}, 0 workers", {"NumPy": raw, "arrays": ours}, BATCHES, BATCH)


def main():
    torch.set_num_threads(1)
    print(f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        for part in (images, arrays):
            (path := Path(folder) / part.__name__).mkdir()
            part(path)


if __name__ == "__main__":
    main()
