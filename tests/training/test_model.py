"""A model carries all that its input needs: it predicts from rows alone, in another process, with parts missing."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import medfusion as mf
from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training import JobFailed, Model, ModelError


@pytest.fixture
def model(train):
    return train(name="m", epochs=2).wait().model


def test_probabilities_have_the_rows_index_and_the_classes(model, cohort):
    out = model.predict(cohort)
    assert list(out.columns) == ["no", "yes"]
    assert list(out.index) == list(cohort.frame.index)
    assert np.allclose(out.sum(axis=1), 1)


def test_a_frame_without_the_target_is_enough(model, cohort):
    frame = cohort.frame.drop(columns="lesion").sample(frac=1, random_state=0)
    out = model.predict(frame, image_root=cohort.image_root)
    assert np.allclose(out, model.predict(cohort).loc[frame.index], atol=1e-5)


def test_a_missing_image_or_table_still_gives_a_prediction_and_another_one(model, cohort):
    frame = cohort.frame.drop(columns="lesion").head(8)
    whole = model.predict(frame, image_root=cohort.image_root)
    with pytest.warns(UserWarning, match="8"):
        no_image = model.predict(frame.assign(image=None), image_root=cohort.image_root)
    no_table = model.predict(frame.assign(marker=np.nan, age=np.nan, sex=None), image_root=cohort.image_root)
    for other in (no_image, no_table):
        assert np.isfinite(other).all(axis=None)
        assert not np.allclose(other, whole)


def test_a_column_that_is_not_there_is_named(model, cohort):
    with pytest.raises(ValueError, match="marker"):
        model.predict(cohort.frame.drop(columns="marker"), image_root=cohort.image_root)


def test_another_process_loads_it_by_name_and_predicts_the_same(model, cohort, tmp_path):
    cohort.write(tmp_path / "cohort")
    code = (
        "import sys, json, medfusion as mf; c = mf.Cohort.read(sys.argv[1]);"
        "print(json.dumps(mf.load_model('m').predict(c)['yes'].tolist()))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "cohort")], capture_output=True, text=True, check=True
    )
    assert np.allclose(json.loads(out.stdout.splitlines()[-1]), model.predict(cohort)["yes"], atol=1e-5)


def test_versions_count_up_and_the_newest_is_the_default(model, train):
    train(name="m", epochs=1).wait()
    assert mf.load_model("m").version == 2
    assert mf.load_model("m", version=1).version == 1
    open_store().models.set_alias("m", "production", 1)
    assert mf.load_model("m", alias="production").version == 1
    with pytest.raises(LookupError, match="'n'"):
        mf.load_model("n")
    with pytest.raises(LookupError, match="'staging'. The newest: production"):
        mf.load_model("m", alias="staging")
    with pytest.raises(ModelError, match="keep one"):
        mf.load_model("m", 1, alias="production")


def test_a_damaged_model_is_refused(model, tmp_path):
    model.save(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"1234")
    with pytest.raises(ModelError, match="cannot be read"):
        Model.load(tmp_path / "m")


def test_its_text_names_no_patient(model, cohort):
    assert "lesion" in repr(model) or "m v1" in repr(model)
    assert isinstance(model.predict(cohort), pd.DataFrame)


@pytest.mark.parametrize("colours", [True, False])
def test_grey_and_coloured_images_are_predicted_for_by_a_model_of_either(colours, tmp_path, medfusion_home):
    grey = np.random.default_rng(0).integers(0, 255, (24, 8, 8), np.uint8)
    for k, pixels in enumerate(grey):
        Image.fromarray(pixels).save(tmp_path / f"grey{k}.png")
        Image.fromarray(np.repeat(pixels[:, :, None], 3, axis=2)).save(tmp_path / f"rgb{k}.png")
    table = pd.DataFrame({"ill": np.arange(24) % 2, "film": [f"{'rgb' if colours else 'grey'}{k}" for k in range(24)]})
    cohort = mf.Cohort(table, target="ill", image="film", image_root=tmp_path)
    model = mf.train(cohort, image_encoder="light_cnn", image_size=8, epochs=1, batch_size=8, device="cpu").wait().model
    assert model.spec.channels == (3 if colours else 1)
    other = table.assign(film=[f"{'grey' if colours else 'rgb'}{k}" for k in range(24)])
    assert np.allclose(model.predict(cohort), model.predict(other, image_root=tmp_path), atol=0.02)


@pytest.fixture
def stained(tmp_path, medfusion_home):
    """24 images of five stains, of which the last tells the class."""
    ill = np.arange(24) % 2
    for k, pixels in enumerate(np.random.default_rng(0).integers(0, 100, (24, 16, 16, 5), np.uint8)):
        pixels[..., 4] += np.uint8(100 * ill[k])
        np.save(tmp_path / f"{k}.npy", pixels)
    table = pd.DataFrame({"ill": ill, "slide": [str(k) for k in range(24)]})
    return mf.Cohort(table, target="ill", image="slide", image_root=tmp_path)


def test_images_of_five_channels_are_learned_from_and_predicted_for(stained, tmp_path):
    how = {"image_encoder": "resnet18_3x3", "image_size": 16, "epochs": 4, "batch_size": 8, "device": "cpu"}
    model = mf.train(stained, **how).wait().model
    assert (model.spec.channels, len(model.spec.mean)) == (5, 5)
    predicted = model.predict(stained)
    # the fifth stain was seen: without it the probabilities are others
    for path in tmp_path.glob("*.npy"):
        pixels = np.load(path)
        pixels[..., 4] = 0
        np.save(path, pixels)
    assert not np.allclose(predicted, model.predict(stained), atol=1e-3)
    assert "data:image/jpeg" in stained._repr_html_()


def test_images_of_other_channels_are_refused_in_training_and_in_prediction(stained, tmp_path):
    model = mf.train(stained, image_encoder="light_cnn", image_size=8, epochs=1, device="cpu").wait().model
    np.save(tmp_path / "3.npy", np.zeros((16, 16, 4), np.uint8))
    with pytest.raises(JobFailed, match=r"images of 4 and 5 channels; all must have the same number"):
        mf.train(stained, image_encoder="light_cnn", image_size=8, epochs=1, device="cpu").wait()
    with pytest.raises(CohortError, match=r"images of 4 and 5 channels; the model takes 5"):
        model.predict(stained)


def test_a_run_that_started_from_weights_goes_on_and_is_loaded_without_them(train):
    teacher = train(epochs=1).wait()
    job = train(image_weights=teacher.job_id, callbacks=[FailsInItsSecondEpoch()], modality_dropout=0.2)
    with pytest.raises(JobFailed, match="cut off"):
        job.wait()
    assert job.record.training_config["image_weights"] == teacher.job_id
    assert job.record.training_config["modality_dropout"] == 0.2
    shutil.rmtree(teacher.record.model_path)
    resumed = mf.resume(job.job_id).wait()
    assert resumed.record.current_epoch == 2
    assert mf.load_model(resumed.model.name).epoch == resumed.model.epoch


class FailsInItsSecondEpoch(mf.Callback):
    essential = True

    def epoch_start(self, state):
        if state.epoch == 2:
            raise RuntimeError("cut off")


def test_what_a_model_predicts_goes_through_the_same_steps_as_what_it_learned_from(train, cohort):
    steps = {"crop": 0.75, "clahe": 2.0, "resize": "pad", "normalise": "image"}
    prepared = cohort.preprocess_images(**steps).preprocess_table(scale="quantile", outliers=0.05, rare=2)
    job = train(prepared, epochs=1).wait()
    model = Model.load(Path(open_store().models.get_by_name(job.record.name).model_path))
    assert model.spec.image_preprocessing.model_dump() == steps
    assert (model.spec.mean, model.spec.std) == ((), ())
    learned = model.predict(prepared)
    frame = cohort.frame.drop(columns="lesion")
    for other in (cohort, frame):  # neither says how it is preprocessed
        assert np.array_equal(model.predict(other, image_root=cohort.image_root), learned)
    for name, value in {"crop": None, "clahe": None}.items():
        roles = {**model.spec.roles, "image_preprocessing": {**steps, name: value}}
        other = replace(model, spec=replace(model.spec, roles=roles))
        assert not np.allclose(other.predict(cohort), learned, atol=1e-6), name


def test_a_resumed_job_keeps_the_preprocessing_of_its_cohort(train, cohort):
    job = train(cohort.preprocess_images(crop=0.75, normalise=(0.4, 0.2)), epochs=1).wait()
    before = job.model.spec
    assert set(before.mean) == {0.4}
    assert mf.resume(job.job_id, epochs=2).wait().model.spec == before
