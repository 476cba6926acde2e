"""Time functions in turn, one thread, CPU time: a ratio that survives a busy machine."""

import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(
    functions: Mapping[str, Callable[[], object]], rounds: int = 15
) -> dict[str, float]:
    """Median CPU seconds of each function; A B C A B C ..., after one warm-up round."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for i in range(rounds + 1):
        for name, function in functions.items():
            start = time.process_time()
            function()
            if i:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def show(title: str, medians: Mapping[str, float], base: str) -> None:
    """A table with ratios to one of them: above 1 is faster than the base."""
    print(title)
    for name, seconds in medians.items():
        print(f"  {name:<28} {1000 * seconds:9.2f} ms   {medians[base] / seconds:5.2f}x")
