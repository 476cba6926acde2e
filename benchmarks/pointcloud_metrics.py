"""Metrics of point clouds against a straight restatement of the reference's arithmetic.

python benchmarks/pointcloud_metrics.py [chamfer] [jsd] [emd FILE.h5] [memory]

``jsd`` needs scikit-learn, as the reference does; ``emd`` a file of clouds with a group "headwear".
"""

import resource
import subprocess
import sys
import time

import h5py
import numpy as np
import torch
from interleave import interleaved, show

from corekit.data.point_clouds import shift_and_scale
from corekit.metrics.all_pairs import Pairs
from corekit.metrics.distances import pairwise_chamfer
from corekit.metrics.emd import EMDPairs
from corekit.metrics.occupancy import jsd, occupancy
from corekit.metrics.torch_chamfer import chamfer_loss

N = 2048


def shells(count, points=N, seed=0):
    """Clouds on ellipsoids in [-1, 1], each of its own axes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, points, 3))
    x /= np.linalg.norm(x, axis=2, keepdims=True)
    return (x * rng.uniform(0.3, 1, (count, 1, 3))).astype(np.float32)


def reference_chamfer(a, b, batch=8):
    """All pairs by Gram matrices, in float32, eight at a time."""
    rows = []
    for x in a:
        row = []
        for y in b.split(batch):
            many = x.expand(len(y), -1, -1)
            xx, yy = (torch.bmm(t, t.transpose(1, 2)) for t in (many, y))
            xy = torch.bmm(many, y.transpose(1, 2))
            of_x, of_y = (torch.diagonal(t, dim1=1, dim2=2) for t in (xx, yy))
            squared = of_x[:, :, None] + of_y[:, None, :] - 2 * xy
            row.append(squared.min(1).values.mean(1) + squared.min(2).values.mean(1))
        rows.append(torch.cat(row))
    return torch.stack(rows)


def reference_jsd(sets, scale=1.0, resolution=28):
    """A grid by three loops, a neighbour search per cloud, and a counter per point.

    The reference also takes an entropy per cell, which its divergence does not use: left out.
    """
    from sklearn.neighbors import NearestNeighbors

    counts = []
    for clouds in sets:
        grid = np.ndarray((resolution, resolution, resolution, 3), np.float32)
        for i in range(resolution):
            for j in range(resolution):
                for k in range(resolution):
                    grid[i, j, k] = [c / (resolution - 1.0) - 0.5 for c in (i, j, k)]
        grid = grid.reshape(-1, 3)
        grid = grid[np.linalg.norm(grid, axis=1) <= 0.5]
        counter, hits = np.zeros(len(grid)), np.zeros(len(grid))
        nearest = NearestNeighbors(n_neighbors=1).fit(grid)
        for cloud in clouds:
            cells = np.squeeze(nearest.kneighbors(cloud * scale)[1])
            for cell in cells:
                counter[cell] += 1
            for cell in np.unique(cells):
                hits[cell] += 1
        counts.append(counter)
    return jsd(*counts)


def bench_chamfer():
    """The matrix of 32 x 32 clouds of 2048 points, whole, after a warm-up round."""
    a, b = shells(32), shells(32, seed=1)
    found = {}
    medians = interleaved(
        {
            "restatement": lambda: found.update(
                theirs=reference_chamfer(torch.from_numpy(a), torch.from_numpy(b))
            ),
            "corekit": lambda: found.update(ours=pairwise_chamfer(a, b)),
        },
        rounds=1,
    )
    show(f"Chamfer matrix, 32 x 32 clouds of {N} points", medians, "restatement")
    print("  largest difference:", np.abs(found["ours"] - found["theirs"].numpy()).max())


def bench_jsd():
    """16 + 16 clouds in [-1, 1], halved into the grid."""
    a, b = shells(16), shells(16, seed=1)
    found = {}

    def ours():
        found["ours"] = jsd(*(occupancy(x, scale=0.5).counts for x in (a, b)))

    def theirs():
        found["theirs"] = reference_jsd((a, b), scale=0.5)

    medians = interleaved({"restatement": theirs, "corekit": ours}, rounds=5)
    show(f"JSD, 16 + 16 clouds of {N} points", medians, "restatement")
    print("  values:", found)


def bench_emd(path):
    """Exact EMD between the held-out and as many training shapes of one class, 512 points."""
    with h5py.File(path) as file:
        names = {group.attrs.get("name", name): name for name, group in file.items()}
        group = file[names["headwear"]]
        sets = [np.concatenate([group["val"], group["test"]]), group["train"][:58]]

    def box(cloud):
        shift, scale = shift_and_scale(cloud, "shape_bbox")
        return ((cloud - shift) / scale)[:512]

    held_out, other = ([box(cloud) for cloud in clouds] for clouds in sets)
    rows, columns = range(len(held_out)), range(len(other))
    for what in ("rows", "rows and columns"):
        pairs = Pairs(EMDPairs(), held_out, other)
        start = time.process_time()
        pairs.minima(rows, columns, of_columns=what != "rows")
        seconds = time.process_time() - start
        share = pairs.solved / (len(rows) * len(columns))
        print(f"exact EMD, minima of {what}: {pairs.solved} solved, {share:.1%}, {seconds:.1f} s")
    start = time.process_time()
    whole = Pairs(EMDPairs(), held_out, other).all()
    print(f"exact EMD, all {whole.size}: {time.process_time() - start:.1f} s")


def bench_memory():
    """Peak memory of the Chamfer distance with gradients, each in a process of its own."""
    for points in (4096, 16384):
        for chunk in (512, points):
            run = [sys.executable, __file__, "peak", str(points), str(chunk)]
            peak = subprocess.run(run, capture_output=True, text=True, check=True).stdout
            print(f"Chamfer with gradients, {points} points, chunk {chunk}: {peak.strip()}")


def peak(points, chunk):
    """Growth of the resident set by one call, in MB."""
    x, y = (torch.from_numpy(shells(1, points, seed)).requires_grad_() for seed in (0, 1))
    chamfer_loss(x[:, :64], y[:, :64]).sum().backward()  # loads what is loaded once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chamfer_loss(x, y, chunk=chunk).sum().backward()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{grown / 1024:.0f} MB; all pairs in float32 would be {points**2 * 4 / 2**20:.0f} MB")


def main() -> None:
    """What is named, or all but emd."""
    torch.set_num_threads(1)
    names = sys.argv[1:] or ["chamfer", "jsd", "memory"]
    if names[0] == "peak":
        return peak(int(names[1]), int(names[2]))
    for name in names:
        if name == "emd":
            bench_emd(names[names.index("emd") + 1])
        elif name in ("chamfer", "jsd", "memory"):
            {"chamfer": bench_chamfer, "jsd": bench_jsd, "memory": bench_memory}[name]()
    return None


if __name__ == "__main__":
    main()
