"""Callbacks with one mistake each."""

from functools import partial

import numpy as np
import torch

from corekit.interfaces.callback import Callback
from teeth import Tooth


class Right(Callback):
    """Remembers the least held-out loss, writes it, and stops when it is small."""

    def __init__(self):
        self.best = float("inf")

    def on_evaluate(self, run, record):
        self.best = min(self.best, record["loss"])
        if self.best < 2.1:
            run.stop()
        if run.main:
            (run.path / "best.txt").write_text(f"{self.best}\n")

    def state_dict(self):
        return {"best": self.best}

    def load_state_dict(self, state):
        self.best = state["best"]


class MisspeltHook(Right):
    def on_evaluation(self, run, record):
        pass


class AsksForAnotherLoss(Right):
    def on_log(self, run, record):
        assert record["elbo"] > 0


class MovesTheWeights(Right):
    def on_step_end(self, run):
        with torch.no_grad():
            next(run.model.parameters()).mul_(0.999)


class LeavesEvaluationMode(Right):
    def on_evaluate(self, run, record):
        super().on_evaluate(run, record)
        run.model.eval()


class DrawsFromTorch(Right):
    def on_checkpoint(self, run, folder):
        torch.rand(1)


class DrawsFromNumpy(Right):
    def on_checkpoint(self, run, folder):
        np.random.rand()


class RemembersAFunction(Right):
    def state_dict(self):
        return {**super().state_dict(), "how": min}


class ForgetsWhatItIsGiven(Right):
    def load_state_dict(self, state):
        pass


class CountsFromItsOwnStart(Right):
    """It keeps all but the number that decides when it stops."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def on_evaluate(self, run, record):
        super().on_evaluate(run, {"loss": 9.0})
        self.seen += 1
        if self.seen == 3:
            run.stop()


class EveryProcessWrites(Right):
    def on_end(self, run, reason):
        (run.path / "end.txt").write_text(str(reason))


_bug = partial(Tooth, "callback")
RIGHT = [Right]
TEETH = [
    _bug("a hook is misspelt", MisspeltHook, "every_hook_is_one_that_is_called"),
    _bug("a figure is asked for that few have", AsksForAnotherLoss, "a_whole_run_can_be_watched"),
    _bug("it moves weights", MovesTheWeights, "weights_and_random_numbers_are_left_alone"),
    _bug(
        "the model stays in eval mode",
        LeavesEvaluationMode,
        "weights_and_random_numbers_are_left_alone",
    ),
    _bug("it draws from torch", DrawsFromTorch, "weights_and_random_numbers_are_left_alone"),
    _bug("it draws from NumPy", DrawsFromNumpy, "weights_and_random_numbers_are_left_alone"),
    _bug("its state is a function", RemembersAFunction, "what_it_remembers_can_be_saved"),
    _bug("it forgets its state", ForgetsWhatItIsGiven, "what_it_remembers_can_be_saved"),
    _bug(
        "part of its state is not kept",
        CountsFromItsOwnStart,
        "a_resumed_run_is_watched_as_if_it_had_not_stopped",
    ),
    _bug("every process writes", EveryProcessWrites, "only_the_main_process_writes"),
]
