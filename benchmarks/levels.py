"""CPU time of the commands that must be quick, against their budgets.

    python benchmarks/levels.py                 # median of 7, user + system time of the child
    python benchmarks/levels.py --strict        # ends with 1 if a budget is exceeded

CPU time, because it depends less on what else the machine does. The speed of a shared core varies
all the same, so the commands run in turn and bare Python is timed beside them.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BUDGETS = {"--help": 60, "plugins": 120, "validate": 300}  # milliseconds of CPU
ROUNDS = 7
SPEC = Path(__file__).parents[1] / "corekit" / "cli" / "demo.yaml"


def cpu_seconds(*command: str) -> float:
    """User and system time of one run of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Print the table; every command imports what it imports, in a process of its own."""
    corekit = str(Path(sys.executable).with_name("corekit"))
    rows = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "--help": (corekit, "--help"),
        "plugins": (corekit, "plugins"),
        "validate": (corekit, "validate", str(SPEC)),
    }
    too_slow = []
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        times: dict[str, list[float]] = {name: [] for name in rows}
        for turn in range(ROUNDS + 1):
            for name, command in rows.items():
                spent = 1000 * cpu_seconds(*command)
                if turn:  # the first writes bytecode
                    times[name].append(spent)
    for name, values in times.items():
        median, budget = statistics.median(values), BUDGETS.get(name)
        verdict = "" if budget is None else f"budget {budget} ms"
        if budget is not None and median > budget:
            too_slow.append(name)
            verdict += "  EXCEEDED"
        spread = f"{min(values):.0f} to {max(values):.0f}"
        print(f"  {name:<16} {median:6.0f} ms  ({spread})  {verdict}".rstrip())
    return 1 if too_slow and "--strict" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
