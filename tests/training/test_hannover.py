"""The real cohort: 243 films of 71 patients, with laboratory values that are missing or beyond a detection limit."""

import numpy as np

import medfusion as mf


def test_a_fused_run_of_20_epochs_on_real_patients(hannover_cohort):
    cohort = hannover_cohort()
    assert (len(cohort), cohort.num_patients, cohort.classes) == (243, 71, ("False", "True"))
    split = cohort.split(test=0.2, val=0.2, seed=0)
    assert set.isdisjoint(set(split.train.frame["patient_id"]), split.val.frame["patient_id"])
    assert set.isdisjoint(set(split.train.frame["patient_id"]), split.test.frame["patient_id"])
    assert set.isdisjoint(set(split.val.frame["patient_id"]), split.test.frame["patient_id"])
    job = mf.train(
        split, image_encoder="resnet18", image_size=96, epochs=20, batch_size=16, patience=None, device="cpu"
    ).wait()
    assert job.status == "completed"
    history = job.history
    assert list(history.index) == list(range(1, 21))
    assert history["val/auroc"].between(0, 1).all()
    assert (history["val/auroc_low"] < history["val/auroc_high"]).all()
    probability = job.model.predict(split.test)
    assert np.allclose(probability.sum(axis=1), 1, atol=1e-5)
    result = mf.evaluate(job.model, split="test")
    assert result.patients < result.rows
    assert "patients" in result.method
