from sample_run import Clock

from rl2cli.reporting.refresh import COST_FACTOR, Refresh


def test_a_cheap_drawing_waits_for_the_least_time(clock: Clock) -> None:
    refresh = Refresh(first=0.0, every=0.25, clock=clock)
    assert refresh.due()
    began = refresh.begin()
    clock.now += 0.001
    assert refresh.done(began) == clock.now - began
    clock.now += 0.24
    assert not refresh.due()
    clock.now += 0.011
    assert refresh.due()


def test_a_dear_drawing_costs_less_than_a_hundredth(clock: Clock) -> None:
    refresh = Refresh(first=0.0, every=0.25, clock=clock)
    began = refresh.begin()
    clock.now += 0.5
    refresh.done(began)
    clock.now += COST_FACTOR * 0.5 - 0.01
    assert not refresh.due()
    clock.now += 0.02
    assert refresh.due()


def test_the_first_drawing_waits(clock: Clock) -> None:
    refresh = Refresh(first=2.0, every=5.0, clock=clock)
    assert not refresh.due()
    clock.now += 2.0
    assert refresh.due()
