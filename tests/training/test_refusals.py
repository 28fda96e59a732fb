"""Whatever is wrong with a setting is said in words of ours, with what is allowed."""

import pytest

from medfusion_jupyter.settings.training import ConfigError, TrainingSettings

REFUSED = [
    ({"momentum": 1.0, "optimizer": "sgd"}, "momentum=1.0: give a number of 0 or more and below 1."),
    ({"augment": {"flip": 3}}, "augment.flip=3: give a number from 0 to 1. (augment.flip: probability of"),
    ({"augment": {"flap": 1}}, "augment.flap=1: there is no such name; did you mean 'flip'?"),
    ({"image_size": "big"}, "image_size='big': give a whole number; or: give a list. (image_size: side in pixels"),
    ({"milestones": [1, "a"], "schedule": "step"}, "milestones.1='a': give a whole number."),
    ({"optimizer": "adamx"}, "or 'adafactor' (did you mean 'adam'?)."),
    ({"name": ""}, "name='': give at least 1 character."),
    ({"description": "x" * 20_000}, "x…: give at most 10,000 characters; it has 20,000."),
    ({"freeze": "head"}, "freeze='head': give a list."),
    ({"compile": "perhaps"}, "compile='perhaps': give true or false."),
    ({"lr": float("nan")}, "lr=nan: give a number above 0 and at most 10."),
    ({"batch_size": 10**9}, "batch_size=1000000000: give a whole number from 2 to 65,536."),
]


@pytest.mark.parametrize(("settings", "said"), REFUSED, ids=[next(iter(settings)) for settings, _ in REFUSED])
def test_it_names_the_value_and_what_is_allowed(settings, said):
    with pytest.raises(ConfigError) as refused:
        TrainingSettings.of(settings)
    assert said in str(refused.value)
    assert "Input should" not in str(refused.value)
