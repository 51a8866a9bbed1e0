import time

import pytest
import torch

import ntkflow
from ntkstudy.subjects.pace import Pace, told


def test_a_line_every_few_seconds_with_step_loss_and_rate(capsys):
    now = iter([0.0, 1.0, 5.0, 6.0, 7.0, 12.0])
    pace = Pace(1000, every=5.0, clock=lambda: next(now))
    nan = torch.nan
    for step, losses in ((10, [9.0]), (100, [0.5, nan]), (150, [0.4]), (20, [1.0]), (220, [nan])):
        pace.tell(step, torch.tensor(losses))
    assert capsys.readouterr().out.splitlines() == [
        "step 100 of 1000, loss 0.5, 20 steps/s",
        "step 220 of 1000, loss nan, 44 steps/s",
    ]


def test_training_tells_its_steps_and_the_losses_there():
    network = ntkflow.mlp(2, (4,), 1)
    start = ntkflow.draw_parameters(network, [0, 1], dtype=torch.float64)
    x, y = torch.ones(3, 2, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)
    told = []
    schedule = ntkflow.Schedule(
        6,
        record=range(7),
        snapshots=[4],
        on_snapshot=lambda *given: None,
        on_progress=lambda step, losses: told.append((step, losses)),
    )
    result = ntkflow.train_ensemble(
        network, start, x, y, optimizer=ntkflow.GradientDescent(0.1), schedule=schedule
    )
    assert [step for step, _ in told] == [4, 6]
    for step, losses in told:
        assert torch.equal(losses, result.losses[:, step - 1])


def test_what_takes_long_is_told_with_what_it_is_part_of(capsys):
    kinds = told(["gram", "kernel"], lambda kind: kind, every=0.05)
    for kind in kinds:
        for network in told(range(3), "network", every=0.05):
            if (kind, network) == ("kernel", 1):
                time.sleep(0.3)
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert set(lines) == {"at work: kernel, network 2 of 3, 0 s"}


def test_nothing_is_at_work_after_an_error(capsys):
    def fail():
        for _ in told([1], "draw", every=0.02):
            raise ZeroDivisionError("division")

    with pytest.raises(ZeroDivisionError, match="division"):
        fail()
    time.sleep(0.1)
    assert capsys.readouterr().out == ""
    assert list(told([], "draw")) == []
