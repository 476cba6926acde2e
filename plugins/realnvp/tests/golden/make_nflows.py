"""Writes nflows.npz: flows of nflows with random weights, and what they compute.

python make_nflows.py    # needs: pip install nflows==0.14
"""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

SMALL = {"hidden_features": 8}
TAILS = {"tails": "linear", "tail_bound": 2.0, "num_bins": 4}


def flows(n):
    """Name -> (flow, features, width of the context).

    Args:
        n: What is used of nflows.
    """

    def residual_net(context=None):
        return lambda a, b: n.ResidualNet(a, b, context_features=context, num_blocks=2, **SMALL)

    class Plain(n.MLP):
        """What makes an MLP of nflows the network of a coupling."""

        def __init__(self, a, b):
            super().__init__((a,), (b,), hidden_sizes=(8, 7), activation=torch.tanh)

        def forward(self, x, context=None):
            return super().forward(x)

    def flow(features, *transforms):
        return n.Flow(n.CompositeTransform(list(transforms)), n.StandardNormal([features]))

    def ar(kind, features, **options):
        kind = getattr(n, f"Masked{kind}AutoregressiveTransform")
        return kind(features=features, num_blocks=2, **SMALL, **options)

    def coupling(kind, mask, net, **options):
        kind = getattr(n, f"{kind}CouplingTransform")
        return kind(mask=torch.tensor(mask), transform_net_create_fn=net, **options)

    spline = "PiecewiseRationalQuadratic"
    maf, plain = {"features": 4, "num_layers": 2, **SMALL}, {"use_residual_blocks": False}
    return {
        "maf": (
            n.MaskedAutoregressiveFlow(
                **maf, num_blocks_per_layer=2, batch_norm_between_layers=True
            ),
            4,
            0,
        ),
        "maf_plain": (
            n.MaskedAutoregressiveFlow(
                **maf, **plain, num_blocks_per_layer=1, use_random_permutations=True
            ),
            4,
            0,
        ),
        "maf_context": (
            flow(
                4,
                n.PointwiseAffineTransform(torch.randn(4), 0.5 + torch.rand(4)),
                ar("Affine", 4, context_features=3),
                n.RandomPermutation(4),
                ar("Affine", 4, context_features=3),
            ),
            4,
            3,
        ),
        "maf_plain_context": (  # as sbi builds it
            flow(
                3,
                n.PointwiseAffineTransform(torch.tensor(0.3), torch.tensor(0.7)),
                ar("Affine", 3, context_features=2, activation=torch.tanh, **plain),
                n.ReversePermutation(3),
                ar("Affine", 3, context_features=2, activation=torch.tanh, **plain),
            ),
            3,
            2,
        ),
        "nsf": (
            flow(
                5,
                n.CompositeTransform([n.RandomPermutation(5), n.LULinear(5)]),
                ar(spline, 5, **TAILS),
                n.CompositeTransform([n.RandomPermutation(5), n.LULinear(5)]),
                ar(spline, 5, **TAILS, **plain),
            ),
            5,
            0,
        ),
        "nsf_coupling": (
            flow(
                5,
                coupling(spline, [1, 1, -1, 1, -1], residual_net(2), **TAILS),
                n.LULinear(5),
                coupling(spline, [0, 0, 0, 1, 1], residual_net(2), **TAILS),
            ),
            5,
            2,
        ),
        "nsf_mlp": (
            flow(
                4,
                coupling(spline, [1, 0, 0, 0], Plain, **TAILS),
                n.NaiveLinear(4),
                coupling("Affine", [0, 0, 1, 1], Plain),
            ),
            4,
            0,
        ),
        "realnvp": (
            n.SimpleRealNVP(features=5, num_layers=3, num_blocks_per_layer=2, **SMALL),
            5,
            0,
        ),
        "nice": (
            n.SimpleRealNVP(
                features=3,
                num_layers=2,
                num_blocks_per_layer=0,
                use_volume_preserving=True,
                batch_norm_between_layers=True,
                **SMALL,
            ),
            3,
            0,
        ),
        "inverse": (
            flow(
                4,
                n.ActNorm(4),
                n.InverseTransform(
                    n.CompositeTransform([ar("Affine", 4), n.LULinear(4), n.RandomPermutation(4)])
                ),
            ),
            4,
            0,
        ),
        "one_feature": (n.Flow(ar("Affine", 1, context_features=2), n.StandardNormal([1])), 1, 2),
    }


MODULES = ("transforms", "nn.nets", "flows", "flows.autoregressive", "flows.realnvp")
MODULES += ("distributions.normal", "transforms.linear", "transforms.permutations")


def names():
    """What is used of nflows, in one place; and the solvers that it calls and torch has no more."""

    def triangular(b, a, *, upper, unitriangular):
        return torch.linalg.solve_triangular(a, b, upper=upper, unitriangular=unitriangular), None

    torch.triangular_solve = triangular
    torch.solve = lambda b, a: (torch.linalg.solve(a, b), torch.linalg.lu_factor(a)[0])
    found = SimpleNamespace()
    for module in MODULES:
        vars(found).update(vars(import_module(f"nflows.{module}")))
    return found


def packed(name, state):
    """A state dict as two arrays: hundreds of small ones take several times the room."""
    about = [f"{k} {str(v.dtype)[6:]} {','.join(map(str, v.shape))}" for k, v in state.items()]
    values = torch.cat([value.double().flatten() for value in state.values()])
    return {f"{name}/tensors": np.array(about), f"{name}/values": values}


@torch.no_grad()
def main() -> None:
    """Write the file beside this one."""
    torch.manual_seed(0)
    arrays = {}
    for name, (flow, features, context_size) in flows(names()).items():
        for parameter in flow.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        for key, buffer in flow.named_buffers():
            if key.endswith("running_mean"):
                buffer.normal_()
            if key.endswith("running_var"):
                buffer.uniform_(0.5, 2)
            if key.endswith("initialized"):
                buffer.fill_(True)
        flow = flow.double().eval()
        x, u = 1.5 * torch.randn(2, 6, features, dtype=torch.float64)
        context = torch.randn(6, context_size, dtype=torch.float64) if context_size else None
        arrays |= packed(name, flow.state_dict())
        arrays |= {
            f"{name}/x": x,
            f"{name}/log_prob": flow.log_prob(x, context),
            f"{name}/z": flow.transform_to_noise(x, context),
            f"{name}/u": u,
            f"{name}/inverse": flow._transform.inverse(u, context)[0],
        }
        arrays |= {} if context is None else {f"{name}/context": context}
    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    np.savez_compressed(Path(__file__).with_name("nflows.npz"), **arrays)


if __name__ == "__main__":
    main()
