"""Settings are validated in one place, and a mistake is answered with what is allowed."""

import pytest

import medfusion as mf
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training import ConfigError, TrainingConfig


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epoch": 3}, ["no setting 'epoch'", "Did you mean 'epochs'?"]),
        ({"epochs": 0}, ["epochs=0", "greater than or equal to 1", "passes over the training part"]),
        ({"epochs": "many"}, ["epochs='many'", "integer"]),
        ({"lr": -1.0}, ["lr=-1.0", "greater than 0"]),
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
    off = TrainingConfig.of({"augment": False})
    assert off.augment is None
    assert TrainingConfig.of(off.model_dump(mode="json")) == off


def test_every_setting_says_what_it_is():
    assert all(field.description for field in TrainingConfig.model_fields.values())


def test_an_encoder_for_a_modality_that_is_not_there_is_refused(cohort):
    frame = cohort.frame.drop(columns="image")
    table_only = mf.Cohort(frame, target="lesion", patient="patient", numeric=["marker"], categorical=[])
    with pytest.raises(ConfigError, match="image_encoder='light_cnn', but the cohort has no an image column"):
        mf.train(table_only, image_encoder="light_cnn")


def test_a_device_that_is_not_there_fails_the_job_with_a_word(train):
    with pytest.raises(RuntimeError, match="device='cuda:7': this machine shows"):
        train(device="cuda:7").wait()
