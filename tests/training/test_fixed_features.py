"""A frozen image encoder looks at each image once, and every result is as if it had looked each time."""

import numpy as np
import pytest
import torch

import medfusion as mf
from medfusion_jupyter.store import home
from medfusion_jupyter.training import ConfigError, JobFailed, TrainingConfig

FROZEN = {"freeze": ["image_encoder"], "augment": False, "epochs": 3}


@pytest.fixture
def looks(monkeypatch):
    """How many images the light encoder was given, and whether it was learning."""
    from medfusion_jupyter.nn.light_cnn import LightCNN

    seen = []
    encode = LightCNN.feature_map

    def counted(self, images):
        seen.append((len(images), self.training))
        return encode(self, images)

    monkeypatch.setattr(LightCNN, "feature_map", counted)
    return seen


@pytest.mark.parametrize("fusion", ["gated", "film"])
def test_the_result_is_that_of_looking_in_every_epoch(train, fusion):
    """gated takes the vector, film the tokens too."""
    kept = train(**FROZEN, fusion=fusion, cache_features=True).wait()
    plain = train(**FROZEN, fusion=fusion, cache_features=False).wait()
    columns = [name for name in plain.history if name != "seconds"]
    # a batch of another size may end in another last bit
    assert np.allclose(kept.history[columns], plain.history[columns], rtol=1e-4, atol=1e-6)
    assert (home() / "cache" / "features").exists()


def test_rows_without_an_image_are_as_they_are_without_the_cache(train, cohort):
    table = cohort.frame.copy()
    table.loc[table.index[::3], "image"] = None
    with pytest.warns(UserWarning, match="have no image"):
        data = mf.Cohort(table, **{**cohort.roles(), "categorical": []})
    kept = train(data, **FROZEN).wait()
    plain = train(data, **FROZEN, cache_features=False).wait()
    assert np.allclose(kept.history["val/loss"], plain.history["val/loss"], rtol=1e-4)


def test_each_image_is_looked_at_once_for_all_epochs_and_runs(train, cohort, looks):
    train(**FROZEN).wait()
    first = sum(count for count, _ in looks)
    assert len(cohort) <= first <= len(cohort) + 1  # one to learn the shape
    looks.clear()
    train(**FROZEN, fusion="late").wait()
    assert sum(count for count, _ in looks) == 1
    assert not any(training for _, training in looks)


def test_other_weights_have_features_of_their_own(train):
    for seed in (0, 1):
        train(**FROZEN, seed=seed).wait()
    assert len(list((home() / "cache" / "features").glob("*.npy"))) == 2


@pytest.mark.parametrize("harm", ["delete", "damage", "cut"])
def test_features_that_are_gone_or_damaged_are_computed_anew(train, harm):
    before = train(**FROZEN).wait()
    (array,) = (home() / "cache" / "features").glob("*.npy")
    content = array.read_bytes()
    if harm == "delete":
        array.unlink()
    elif harm == "cut":
        array.write_bytes(content[:-100])
    else:
        array.write_bytes(content[:-100] + b"\x55" * 100)
    after = train(**FROZEN).wait()
    assert np.allclose(before.history["val/loss"], after.history["val/loss"])
    assert array.read_bytes() == content


def test_the_model_that_is_kept_looks_at_images(train, cohort):
    job = train(**FROZEN).wait()
    assert job.model.module.image_encoder is not None
    history = job.history["val/auroc"].max()
    assert mf.evaluate(job.model, split="val").auroc.value == pytest.approx(history, abs=1e-6)


def test_frozen_statistics_stay_as_they_were(train):
    job = train(**{**FROZEN, "augment": True}).wait()
    for name, buffer in job.model.module.image_encoder.named_buffers():
        if name.endswith("running_mean"):
            assert not buffer.any(), name
        if name.endswith("num_batches_tracked"):
            assert buffer == 0


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "the image encoder learns"),
        ({"freeze": ["image_encoder"]}, "augment changes the images; set augment=False"),
        ({**FROZEN, "unfreeze_epoch": 2}, "learns from an epoch on"),
        ({**FROZEN, "mixup": 0.2}, "mixup changes the images"),
        ({"image_encoder": None}, "image_encoder is None"),
    ],
)
def test_asking_for_it_where_features_change_is_refused(settings, reason):
    with pytest.raises(ConfigError, match=reason):
        TrainingConfig.of({**settings, "cache_features": True})
    assert TrainingConfig.of(settings).why_features_change() is not None


def test_unasked_it_is_left_where_the_disk_has_no_room(train, monkeypatch, caplog):
    monkeypatch.setattr("medfusion_jupyter.training.fixed_features.FREE_SHARE", 0)
    assert train(**FROZEN).wait().status == "completed"
    assert "computed in each epoch" in caplog.text
    assert train(**FROZEN, cache_features=True).wait().status == "completed"


def test_an_encoder_starts_from_a_job_that_trained_it(train, cohort):
    teacher = train(epochs=1, tabular_encoder=None).wait()
    job = train(**FROZEN, image_weights=teacher.job_id).wait()
    learned, started = teacher.model.module.image_encoder, job.model.module.image_encoder
    assert all(torch.equal(a, b) for a, b in zip(learned.parameters(), started.parameters(), strict=True))
    for key, value in learned.state_dict().items():
        assert torch.equal(value, started.state_dict()[key]), key


def test_weights_that_cannot_be_had_are_refused_before_anything_is_stored(train, cohort, tmp_path):
    for settings, words in [
        ({"image_weights": "default"}, "nobody publishes weights of 'light_cnn'"),
        ({"image_weights": str(tmp_path / "no.pt"), "image_encoder": "resnet18_3x3"}, "is no file"),
        ({"image_weights": "default", "image_encoder": None}, "image_encoder is None"),
    ]:
        with pytest.raises(ConfigError, match=words):
            train(**settings)
    with pytest.raises(LookupError, match="job_0042"):
        train(image_weights="job_0042")
    assert len(mf.jobs()) == 0


def test_an_encoder_of_another_kind_fails_in_words(train):
    teacher = train(epochs=1, tabular_encoder=None).wait()
    job = train(image_weights=teacher.job_id, image_encoder="resnet18_3x3", epochs=1)
    with pytest.raises(JobFailed, match="is light_cnn of 1 channels"):
        job.wait()


def test_it_is_refused_where_it_cannot_be_had(train, cohort):
    bags = mf.Cohort(cohort.frame, **{**cohort.roles(), "bag": True})
    with pytest.raises(ConfigError, match="all pass through one encoder, and without bags"):
        train(bags, **FROZEN, cache_features=True)
    assert len(mf.jobs()) == 0
