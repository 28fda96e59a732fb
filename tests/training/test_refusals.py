"""Whatever is wrong with a setting is said in words of ours, with what is allowed."""

import json
import math

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
    (
        {"gradient_clip_val": float("inf")},
        "gradient_clip_val=inf: give a number above 0. (gradient_clip_val: largest norm",
    ),
    ({"warmup": float("inf")}, "warmup=inf: give a number of 0 or more."),
    ({"limit_val_batches": float("inf")}, "limit_val_batches=inf: give a number above 0."),
    ({"val_check_interval": float("nan")}, "val_check_interval=nan: give a number above 0."),
    ({"mixup": True}, "mixup=True: give a number from 0 to 100. (mixup: alpha of mixup"),
    ({"epochs": True}, "epochs=True: give a whole number from 1 to 100,000."),
    (
        {"device": "gpu"},
        "device='gpu': give 'auto', 'cpu', 'cuda' or, of several GPUs one by its number from 0, 'cuda:1'.",
    ),
    ({"batch_size": 10**9}, "batch_size=1000000000: give a whole number from 2 to 65,536."),
]


@pytest.mark.parametrize(
    "value", [math.inf, -math.inf, math.nan, -1, 10**400, "x", [], {}, [math.nan], {"a": math.nan}, True]
)
@pytest.mark.parametrize("name", TrainingSettings.model_fields)
def test_any_value_of_any_setting_is_taken_or_refused_in_words(name, value):
    said = None
    try:
        taken = TrainingSettings.of({name: value})
        json.dumps(taken.model_dump(mode="json"), allow_nan=False)  # what is stored is JSON
    except ConfigError as refused:
        said = str(refused)
    assert said is None or (name in said and "Input should" not in said)


@pytest.mark.parametrize(("settings", "said"), REFUSED, ids=[next(iter(settings)) for settings, _ in REFUSED])
def test_it_names_the_value_and_what_is_allowed(settings, said):
    with pytest.raises(ConfigError) as refused:
        TrainingSettings.of(settings)
    assert said in str(refused.value)
    assert "Input should" not in str(refused.value)
