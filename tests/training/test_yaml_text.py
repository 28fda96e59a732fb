"""Settings as YAML: numbers are numbers however they are written, and what is written is read back."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from medfusion_jupyter.settings.yaml_text import read_yaml, write_yaml

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(VALUES)
@example("1e-3")
@example("+.5E2")
@example({"a\x85": "one\u2028two\r\n three \n"})
@example("2020-01-01")
@example({"lr": 1e-7, "name": "1e7"})
def test_what_is_written_is_read_back(value):
    assert read_yaml(write_yaml(value)) == value


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.e-3", "1.0e-3", ".1e-2", "+1e-3"])
def test_a_learning_rate_is_a_number(text):
    assert read_yaml(f"lr: {text}") == {"lr": 1e-3}


@pytest.mark.parametrize("text", ["a: [", "!!python/object/apply:os.getcwd []", "a: 1\n b: 2"])
def test_what_is_no_plain_yaml_is_refused_with_its_line(text):
    with pytest.raises(ValueError, match=r"This is no YAML: (.|\n)*line \d"):
        read_yaml(text)
