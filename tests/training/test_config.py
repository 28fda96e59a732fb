"""Settings are validated in one place, and a mistake is answered with what is allowed."""

import json

import pytest

import medfusion as mf
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training import ConfigError, TrainingConfig


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epoch": 3}, ["no setting 'epoch'", "Did you mean 'epochs'?"]),
        ({"epochs": 0}, ["epochs=0", "give a whole number from 1 to 100,000", "passes over the training part"]),
        ({"epochs": "many"}, ["epochs='many'", "a whole number"]),
        ({"lr": -1.0}, ["lr=-1.0", "above 0"]),
        ({"lr": float("nan")}, ["lr=nan"]),
        ({"fusion": "gate"}, ["no fusion 'gate'", "Did you mean 'gated'?", "concat"]),
        ({"image_encoder": "resnet"}, ["no image encoder 'resnet'", "resnet18"]),
        ({"watch": "val/f1"}, ["watch='val/f1'", "val/auroc"]),
        ({"precision": "fp8"}, ["precision='fp8'", "bf16"]),
        ({"augment": {"flip": 2}}, ["augment.flip=2"]),
        ({"augment": {"flop": 0.5}}, ["augment.flop"]),
        ({"val": 0.6, "test": 0.5}, ["val=0.6 and test=0.5", "below 1"]),
        ({"image_encoder": None, "tabular_encoder": None}, ["both None"]),
        ({"batch_size": 1}, ["batch_size=1", "2 or more"]),
        ({"optimizer": "adamv"}, ["optimizer='adamv'", "'sgd'", "did you mean 'adam"]),
        ({"schedule": "cosin"}, ["schedule='cosin'", "did you mean 'cosine'?"]),
        ({"momentum": 0.9}, ["momentum is of optimizer='sgd'", "nothing with optimizer='adamw'"]),
        ({"nesterov": True}, ["nesterov is of optimizer='sgd'"]),
        ({"optimizer": "sgd", "momentum": 0, "nesterov": True}, ["nesterov=True needs a momentum"]),
        ({"milestones": [3]}, ["milestones is of schedule='step'"]),
        ({"schedule": "step"}, ["needs milestones"]),
        ({"schedule": "step", "milestones": [5, 3]}, ["milestones=[5, 3] must rise"]),
        ({"schedule": "step", "milestones": [5], "gamma": 2}, ["gamma=2", "below 1"]),
        ({"plateau_factor": 0.5}, ["plateau_factor is of schedule='plateau'"]),
        ({"warmup": 1, "warmup_steps": 10}, ["keep one"]),
        ({"patience": None, "min_delta": 0.1}, ["min_delta is of early stopping"]),
        ({"max_time": "1:30"}, ["max_time='1:30'", "01:30:00"]),
        ({"max_time": "00:75:00"}, ["max_time='00:75:00'"]),
        ({"max_time": 0}, ["max_time=0"]),
        ({"limit_val_batches": 2.5}, ["limit_val_batches=2.5", "a whole number, or a share below 1"]),
        ({"class_weights": [1, -1]}, ["class_weights=[1, -1]", "above 0"]),
        ({"class_weights": "balancd"}, ["class_weights='balancd'", "did you mean 'balanced'?"]),
        ({"class_weights": "balanced", "sampler": "balanced"}, ["keep one"]),
        ({"freeze": ["encoder"]}, ["'encoder' is no part", "image_encoder, tabular_encoder, fusion, head"]),
        ({"freeze": ["image_encoder", "tabular_encoder", "fusion", "head"]}, ["nothing would learn"]),
        ({"unfreeze_epoch": 3}, ["freeze names none"]),
        ({"freeze": ["head"], "unfreeze_epoch": {"fusion": 3}}, ["names 'fusion', which freeze does not"]),
        ({"freeze": ["head"], "unfreeze_epoch": 1}, ["unfreeze_epoch=1", "2 or later"]),
        ({"freeze": ["image_encoder"], "image_encoder": None}, ["image_encoder is None"]),
        ({"cutmix": 1.0, "image_encoder": None}, ["cutmix=1.0 is of images"]),
        ({"channels_last": True, "image_encoder": None}, ["channels_last=True is of images"]),
        ({"gradient_checkpointing": True, "image_encoder": None}, ["gradient_checkpointing=True is of images"]),
        ({"ema_decay": 1}, ["ema_decay=1", "below 1"]),
    ],
)
def test_a_bad_setting_is_named_with_what_is_allowed(settings, words):
    with pytest.raises(ConfigError) as refused:
        TrainingConfig.of(settings)
    for word in words:
        assert word in str(refused.value)


def test_a_refused_setting_stores_nothing(cohort):
    with pytest.raises(ConfigError):
        mf.train(cohort, epochz=3)
    assert open_store().jobs.list().items == []


def test_a_configuration_survives_json():
    config = TrainingConfig.of({"augment": {"flip": 0.25}, "epochs": 7, "image_encoder": None})
    assert TrainingConfig.of(config.model_dump(mode="json")) == config
    many = {
        "class_weights": {"a": 1, "b": 2},
        "freeze": ["head"],
        "unfreeze_epoch": {"head": 2},
        "max_time": "01:00:00",
    }
    config = TrainingConfig.of({**many, "schedule": "step", "milestones": [1, 2], "limit_val_batches": 3})
    assert TrainingConfig.of(json.loads(json.dumps(config.model_dump(mode="json")))) == config
    off = TrainingConfig.of({"augment": False})
    assert off.augment is None
    assert TrainingConfig.of(off.model_dump(mode="json")) == off


def test_every_setting_says_what_it_is():
    assert all(field.description for field in TrainingConfig.model_fields.values())


def test_an_encoder_for_a_modality_that_is_not_there_is_refused(cohort):
    frame = cohort.frame.drop(columns="image")
    table_only = mf.Cohort(frame, target="lesion", patient="patient", numeric=["marker"], categorical=[])
    with pytest.raises(ConfigError, match="image_encoder='light_cnn', but the cohort has no image column"):
        mf.train(table_only, image_encoder="light_cnn")


@pytest.mark.parametrize("setting", ["cutmix", "channels_last", "gradient_checkpointing"])
def test_a_setting_of_images_is_refused_where_the_cohort_has_none(cohort, setting):
    frame = cohort.frame.drop(columns="image")
    table_only = mf.Cohort(frame, target="lesion", patient="patient", numeric=["marker"], categorical=[])
    with pytest.raises(ConfigError, match=f"{setting}=(True|1.0) is of images, and the cohort has no image column"):
        mf.train(table_only, **{setting: 1.0 if setting == "cutmix" else True})


def test_a_head_of_another_target_is_refused_with_those_that_fit(cohort):
    with pytest.raises(
        ConfigError, match=r"head='cox' learns another target \(survival\).*choose one of classification, focal"
    ):
        mf.train(cohort, head="cox")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image_encoder": "resnet18", "image_size": 16}, "at least 32 pixels a side.*choose 'resnet18_3x3'"),
        ({"image_encoder": "vit_b_16", "image_size": 40}, "Set image_size=48"),
    ],
)
def test_images_of_a_size_that_the_encoder_does_not_take_are_refused_before_a_job_is_stored(cohort, settings, said):
    with pytest.raises(ConfigError, match=said):
        mf.train(cohort, **settings)
    assert mf.jobs().empty
