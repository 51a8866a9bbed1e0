"""The training loop of a group of seeds: steps, records, divergence."""

from bisect import bisect_left
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from .objective import Objective
from .optimizers import Optimizer

EXPLOSION = 1e6
HISTORY_NUMBERS = 2**17


class GroupTraining:
    """Seeds that step together. `advance` trains them; the tensors it was given are its results.

    Outputs are kept for a stretch of steps and looked at together, so that losses and divergence
    cost little. A diverged seed therefore runs on until the end of its stretch; seeds share no
    number, so that harms nobody.
    """

    @torch.no_grad()
    def __init__(
        self,
        group,
        objective: Objective,
        optimizer: Optimizer,
        y: Tensor,
        record: list[int],
        watch: Callable[[int, Tensor], object] | None = None,
    ):
        self.group, self.stepper, self.record = group, optimizer.begin(), record
        self.objective, self.watch = objective, watch
        seeds = len(group.parameters[0])
        length = max(1, HISTORY_NUMBERS // (seeds * y.numel()))
        # Samples along the last axis in memory, as the dense engine writes them.
        self.history = y.new_empty(length, seeds, *y.mT.shape).mT
        self.residual = torch.empty_like(self.history[0])
        self.losses = y.new_full((seeds, len(record)), torch.nan)
        self.diverged_at = torch.full((seeds,), -1, device=y.device)
        self.y, self.loss, self.step, self.ahead = y, None, 0, False

    @torch.no_grad()
    def _begin(self) -> None:
        """Look at the start; the first step goes on from this pass."""
        initial = self.history[0]
        self.group.forward(initial)
        self.loss, self.ahead = self.objective.of(self.y, initial.clone()), True
        zero = self.loss.value(torch.zeros_like(initial))
        self.bound = EXPLOSION * (self.loss.value(initial) + zero)

    def _forward(self, outputs: Float[Tensor, "s m o"]) -> None:
        """Write the outputs, unless those of the start are there already."""
        if not self.ahead:
            self.group.forward(outputs)
        self.ahead = False

    def advance(self, stop: int) -> None:
        """Train until `stop` updates are done, and look at the loss there too."""
        if self.loss is None:
            self._begin()
        with self.group.mode():
            while self.step < stop:
                history = self.history[: stop - self.step]
                for outputs in history.unbind():
                    self._forward(outputs)
                    self.stepper.update(self.group, self.loss, outputs, self.residual)
                losses = self._review(history)
                self.step += len(history)
                if self.watch:
                    self.watch(self.step, losses[-1])
            self._look(self.history[0])
            self._review(self.history[:1])

    def _look(self, outputs: Float[Tensor, "s m o"]) -> None:
        """Write the outputs; what a step would need from this pass is not kept."""
        self._forward(outputs)
        self.group.forget()

    def losses_before_each_step(self, most_steps: int) -> Iterator[Float[Tensor, " s"]]:
        """Losses after 0, 1, ..., `most_steps` updates, each made when the next one is asked for.

        No divergence is looked for; nothing is recorded.
        """
        outputs = self.history[0]
        self._begin()
        try:
            for step in range(most_steps + 1):
                with self.group.mode():
                    self._forward(outputs)
                    losses = self.loss.value(outputs)
                yield losses
                if step < most_steps:
                    with self.group.mode():
                        self.stepper.update(self.group, self.loss, outputs, self.residual)
        finally:
            self.group.forget()

    def _review(self, history: Float[Tensor, "t s m o"]) -> Float[Tensor, "t s"]:
        """Record the losses of steps self.step, ..., and freeze the seeds that diverged there."""
        losses = self.loss.value(history)
        steps = torch.arange(self.step, self.step + len(losses), device=losses.device)[:, None]
        exploded = ~(losses <= self.bound) | ~losses.isfinite()
        first = steps.where(exploded, torch.iinfo(torch.int64).max).amin(0)
        fresh = (self.diverged_at < 0) & exploded.any(0)
        self.diverged_at.copy_(first.where(fresh, self.diverged_at))
        losses.masked_fill_((self.diverged_at >= 0) & (steps >= self.diverged_at), torch.nan)
        begin = bisect_left(self.record, self.step)
        end = bisect_left(self.record, self.step + len(losses))
        rows = [step - self.step for step in self.record[begin:end]]
        self.losses[:, begin:end] = losses[rows].mT
        for tensor in self.group.parameters:
            tensor.masked_fill_(fresh.reshape(-1, *[1] * (tensor.ndim - 1)), torch.nan)
        return losses
