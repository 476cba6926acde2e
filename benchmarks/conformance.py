"""What the conformance kit costs: CPU time of the fast suite of each bijector, after torch.

python benchmarks/conformance.py            # or: ... encoder sampler
"""

import os
import sys
import time
import warnings

import torch

from corekit.registry import registry
from corekit.testing import check_component

BUDGET = 8  # seconds for one bijector, on two cores


def main(kinds: list[str]) -> None:
    """Print a line per component; the first one pays for torch's compiler being imported."""
    warnings.simplefilter("ignore")
    print(f"load {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads, budget {BUDGET} s")
    for kind in kinds:
        for component in registry().components(kind):
            start = time.process_time()
            results = check_component(kind, component.name)
            seconds = time.process_time() - start
            cases = len({result.case for result in results})
            name = f"{kind} {component.name}"
            print(f"  {name:<32} {cases} cases  {len(results):3} checks  {seconds:5.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:] or ["bijector"])
