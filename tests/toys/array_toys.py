"""Arrays and the files that hold them, for the tests of reading them."""

import h5py
import numpy as np

from corekit.data.rows import ChunkRows, FileRows, MemoryRows


def numbers(rows=20, *shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=(rows, *(shape or (3,)))).astype(dtype)


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write(path, arrays, **options):
    """The same arrays as .npz, .npy in a folder, or .h5 (with these options of h5py)."""
    if path.suffix == ".npz":
        (np.savez_compressed if options else np.savez)(path, **arrays)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, **options)
    else:
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    return path


FORMS = {
    "npz": ("a.npz", {}, FileRows),
    "npz_packed": ("a.npz", {"compression": True}, MemoryRows),
    "npy": ("folder", {}, FileRows),
    "h5": ("a.h5", {}, FileRows),
    "h5_chunks": ("a.h5", {"chunks": True, "compression": "gzip"}, ChunkRows),
}


def get(dataset, index, split="train", seed=0):
    return dataset.split(split).get(index, np.random.default_rng(seed))
