"""The fused model comes near the best possible AUROC, and beats what either modality gives alone."""

import numpy as np

import medfusion as mf


def test_fusion_reaches_its_ceiling_and_beats_each_modality():
    cohort = mf.synthetic_cohort(n=4000, seed=0)
    split = cohort.split(test=0.3, val=0.2, seed=0)
    settings = {"image_size": 32, "epochs": 12, "batch_size": 64, "lr": 2e-3, "patience": 5, "device": "cpu"}
    encoders = {
        "both": {"image_encoder": "light_cnn"},
        "image": {"image_encoder": "light_cnn", "tabular_encoder": None},
        "table": {"image_encoder": None},
    }
    found = {}
    for name, chosen in encoders.items():
        model = mf.train(split, name=name, **chosen, **settings).wait().model
        found[name] = mf.evaluate(model, split.test).auroc.value
    assert found["both"] >= 0.97 * cohort.best_auroc["both"]
    assert found["both"] > max(found["image"], found["table"]), found
    # a test part of 1,200 rows may be a little luckier than the population, not much
    for name, value in found.items():
        assert value <= cohort.best_auroc[name] + 0.03
    assert np.isfinite(list(found.values())).all()
