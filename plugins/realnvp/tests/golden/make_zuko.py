"""Writes zuko.npz: flows of zuko with random weights, points and their log-densities.

python make_zuko.py    # needs: pip install zuko==1.6.0
"""

from pathlib import Path

import numpy as np
import torch

SMALL = {"hidden_features": (8, 7)}
FLOWS = {
    "maf": lambda zuko: zuko.flows.MAF(4, transforms=2, **SMALL),
    "maf_random": lambda zuko: zuko.flows.MAF(5, transforms=2, randperm=True, hidden_features=(9,)),
    "nsf": lambda zuko: zuko.flows.NSF(3, transforms=2, bins=4, **SMALL),
    "nsf_coupling": lambda zuko: zuko.flows.NSF(4, transforms=2, bins=4, passes=2, **SMALL),
    "realnvp": lambda zuko: zuko.flows.RealNVP(5, transforms=3, **SMALL),
}


def main() -> None:
    """Write the file beside this one."""
    import zuko

    torch.manual_seed(0)
    arrays = {}
    for name, make in FLOWS.items():
        flow = make(zuko)
        for parameter in flow.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        flow = flow.double()
        state = flow.state_dict()
        x = 2 * torch.randn(6, len(state["base.loc"]), dtype=torch.float64)
        arrays |= {f"{name}/state/{key}": value.numpy() for key, value in state.items()}
        arrays[f"{name}/x"] = x.numpy()
        arrays[f"{name}/log_prob"] = flow().log_prob(x).detach().numpy()
    np.savez_compressed(Path(__file__).with_name("zuko.npz"), **arrays)


if __name__ == "__main__":
    main()
