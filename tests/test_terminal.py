import io

import pytest

from ntkstudy.terminal import Display, Forecast, usual_seconds

OUTPUT = """\
Job stats:
job               count
--------------  -------
all                   1
make_dataset          2
train_ensemble        3
total                 6
""".splitlines()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def forecast(**usual: float) -> Forecast:
    made = Forecast(usual, 2)
    for line in OUTPUT:
        made.feed(line)
    return made


def test_usual_times_are_means_over_earlier_jobs(tmp_path):
    for name, seconds in (("train/e/a.tsv", 2.0), ("train/e/b.tsv", 4.0), ("render.tsv", 1.0)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"s\th:m:s\n{seconds}\t0:00:01\n")
    assert usual_seconds(tmp_path) == {"train": 3.0, "render": 1.0}
    assert usual_seconds(tmp_path / "nowhere") == {}


def test_time_left_follows_from_the_jobs_that_are_left():
    made = forecast(make_dataset=1.0, train_ensemble=10.0)
    assert made.seconds == pytest.approx((2 * 1 + 3 * 10) / 2)
    made.feed("Finished jobid: 4 (Rule: train_ensemble)")
    assert made.seconds == pytest.approx((2 * 1 + 2 * 10) / 2)
    made.feed("some_words 3")
    assert made.seconds == pytest.approx(11)
    for rule in ("train_ensemble", "train_ensemble", "make_dataset", "make_dataset"):
        made.feed(f"Finished jobid: 4 (Rule: {rule})")
    assert made.seconds is None


def test_jobs_of_unknown_length_count_as_the_others_unless_they_are_most():
    assert forecast(train_ensemble=10.0).seconds == pytest.approx(5 * 10 / 2)
    assert forecast(make_dataset=1.0).seconds is None
    assert Forecast({}, 1).seconds is None


def shown(stream: io.StringIO, quiet: bool = False) -> str:
    with Display(stream, forecast(train_ensemble=60.0, make_dataset=60.0), quiet=quiet) as display:
        display.show("x", None, 0, 5, [])
        display.show("Job 1: Training e", "[0/5] started   Training e", 0, 5, [("Training e", 0.0)])
        step = "step 7 of 9, loss 0.1, 3 steps/s"
        display.show(step, None, 0, 5, [("Training e", 0.0)])
        display.show("Error: it broke", "Error: it broke", 0, 5, [])
    return stream.getvalue()


def test_lines_alone_where_there_is_no_terminal():
    assert shown(io.StringIO()) == "[0/5] started   Training e\nError: it broke\n"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_trouble_alone_where_nobody_looks(stream):
    assert shown(stream, quiet=True) == "Error: it broke\n"


def test_a_terminal_has_a_bar_with_the_time_left_and_what_is_at_work(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    text = shown(Terminal())
    assert "0/5\x1b" in text or "0/5  about 2 min left  Training e (" in text
    assert "step 7 of 9, loss 0.1, 3 steps/s" in text
    assert "\x1b[2m[0/5] started   Training e\x1b[0m\n" in text
    assert text.endswith("\r\x1b[K")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[2m" not in shown(Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in shown(Terminal())


def test_the_bar_is_cut_to_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    bars = [part for part in shown(Terminal()).split("\r\x1b[K") if part.startswith("·")]
    assert bars
    assert max(map(len, bars)) == 39
