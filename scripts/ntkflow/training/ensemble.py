"""The training loop of a group of seeds: steps, records, divergence."""

from bisect import bisect_left
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

EXPLOSION = 1e6
HISTORY_NUMBERS = 2**17


@dataclass(frozen=True)
class TrainingResult:
    """What `train_ensemble` returns; S seeds, T recorded steps.

    Attributes:
        parameters: name to tensor (S, *shape) after the last step; NaN for a diverged seed.
        steps: recorded steps, ascending.
        losses: loss of every seed before update `steps[t]`; NaN from `diverged_at` on.
        diverged_at: first step at which the loss is not finite or above the explosion bound, -1
            for never.
    """

    parameters: dict[str, Tensor]
    steps: Int[Tensor, " t"]
    losses: Float[Tensor, "s t"]
    diverged_at: Int[Tensor, " s"]


class GroupTraining:
    """Seeds that step together. `advance` trains them; the tensors it was given are its results.

    Outputs are kept for a stretch of steps and looked at together, so that losses and divergence
    cost little. A diverged seed therefore runs on until the end of its stretch; seeds share no
    number, so that harms nobody.
    """

    def __init__(self, engine, loss, optimizer, record_steps: list[int], losses, diverged_at):
        self.engine, self.loss, self.optimizer = engine, loss, optimizer
        self.record_steps, self.losses, self.diverged_at = record_steps, losses, diverged_at
        self.step = 0
        target = loss.target
        self.history = target.new_empty(max(1, HISTORY_NUMBERS // target.numel()), *target.shape)
        self.cotangent = torch.empty_like(target)
        self.bound = None

    def advance(self, stop: int) -> None:
        """Train until `stop` updates are done, and look at the loss there too."""
        while self.step < stop:
            count = min(len(self.history), stop - self.step)
            for outputs in self.history[:count].unbind():
                self.engine.forward(outputs)
                self.optimizer.update(self.engine, self.loss, outputs, self.cotangent)
            self._review(self.history[:count])
            self.step += count
        self.engine.forward(self.history[0])
        self._review(self.history[:1])

    def _review(self, history: Float[Tensor, "t s m o"]) -> None:
        """Record the losses of steps self.step, ..., and freeze the seeds that diverged there."""
        losses = self.loss.value(history)
        if self.bound is None:
            self.bound = EXPLOSION * (losses[0] + self.loss.value(torch.zeros_like(history[0])))
        steps = torch.arange(self.step, self.step + len(losses), device=losses.device)[:, None]
        exploded = ~(losses <= self.bound) | ~losses.isfinite()
        first = steps.where(exploded, torch.iinfo(torch.int64).max).amin(0)
        fresh = (self.diverged_at < 0) & exploded.any(0)
        self.diverged_at.copy_(first.where(fresh, self.diverged_at))
        losses.masked_fill_((self.diverged_at >= 0) & (steps >= self.diverged_at), torch.nan)
        begin = bisect_left(self.record_steps, self.step)
        end = bisect_left(self.record_steps, self.step + len(losses))
        rows = [step - self.step for step in self.record_steps[begin:end]]
        self.losses[:, begin:end] = losses[rows].mT
        for tensor in self.engine.parameters.values():
            tensor.masked_fill_(fresh.reshape(-1, *[1] * (tensor.ndim - 1)), torch.nan)
