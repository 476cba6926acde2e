"""Experiment trackers of Accelerate, by name: TensorBoard, Weights & Biases and others."""

from collections.abc import Mapping, Sequence
from typing import Any

from corekit.errors import PluginError, UsageError
from corekit.interfaces.callback import Callback, TrainingRun

_PIP = {"comet_ml": "comet-ml"}  # where the package is not called like the tracker


class Trackers(Callback):
    """Sends every record to trackers, with the spec as flat configuration.

    ``metrics.jsonl`` is written in any case. A tracker that writes files does so in ``trackers/``
    of the run folder.

    Args:
        names: As Accelerate has them: "tensorboard", "wandb", "mlflow", …

    Raises:
        UsageError: If there is no tracker of a name.
        PluginError: If its package is not installed.
    """

    def __init__(self, names: Sequence[str]) -> None:
        from accelerate import tracking

        known = {_name(kind): make for kind, make in tracking.LOGGER_TYPE_TO_CLASS.items()}
        installed = {_name(kind) for kind in tracking.get_available_trackers()}
        for name in names:
            if name not in known:
                raise UsageError(
                    f"train.trackers: must be trackers of Accelerate, got '{name}'. "
                    f"Known: {', '.join(sorted(known))}."
                )
            if name not in installed:
                raise PluginError(
                    f"train.trackers: the package of '{name}' must be installed, got none: "
                    f"pip install {_PIP.get(name, name)}."
                )
        self._makers = [known[name] for name in names]
        self._trackers: list[Any] = []

    def on_start(self, run: TrainingRun) -> None:
        """Start a run of each tracker."""
        if not run.main:
            return
        for make in self._makers:
            folder = run.path / "trackers"
            folder.mkdir(parents=True, exist_ok=True)
            where = {"logging_dir": str(folder)} if make.requires_logging_directory else {}
            tracker = make(run.path.name, **where)
            if hasattr(tracker, "start"):  # older versions start when they are made
                tracker.start()
            tracker.store_init_configuration(flat(run.spec.model_dump(mode="json")))
            self._trackers.append(tracker)

    def on_log(self, run: TrainingRun, record: Mapping[str, Any]) -> None:
        """Send the numbers of a record."""
        numbers = {
            f"{record['split']}/{name}": value
            for name, value in flat(record).items()
            if isinstance(value, (int, float)) and name != "step"
        }
        for tracker in self._trackers:
            tracker.log(numbers, step=run.step)

    def on_evaluate(self, run: TrainingRun, record: Mapping[str, Any]) -> None:
        """Send the numbers of a record."""
        self.on_log(run, record)

    def on_end(self, run: TrainingRun, reason: str | None) -> None:
        """Close them."""
        for tracker in self._trackers:
            tracker.finish()


def _name(kind: Any) -> str:
    return str(getattr(kind, "value", kind))  # members of an enumeration in some versions


def flat(tree: Any, path: str = "") -> dict[str, int | float | str | bool]:
    """Nested mappings and lists as one mapping; trackers take numbers and text alone.

    Example:
        >>> flat({"a": {"b": [1, None]}, "c": "x"})
        {'a.b.0': 1, 'a.b.1': 'null', 'c': 'x'}
    """
    if isinstance(tree, Mapping):
        items = list(tree.items())
    elif isinstance(tree, (list, tuple)):
        items = [(str(i), value) for i, value in enumerate(tree)]
    else:
        plain = tree if isinstance(tree, (int, float, str)) else "null"
        return {path: plain}
    found: dict[str, int | float | str | bool] = {}
    for name, value in items:
        found |= flat(value, f"{path}.{name}" if path else str(name))
    return found
