from hypothesis import given
from hypothesis import strategies as st

from medfusion_jupyter.training.schedule import warmup_cosine


@given(st.integers(1, 500), st.integers(0, 100))
def test_the_rate_rises_to_its_peak_and_falls_to_nothing(total, warmup):
    warmup = min(warmup, total - 1)
    rates = [warmup_cosine(step, warmup_steps=warmup, total_steps=total) for step in range(total + 1)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1])
    assert rates[warmup] == 1
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[total] < 1e-12
