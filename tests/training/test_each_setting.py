"""No setting is accepted and ignored: a run with another value is another run."""

import pytest

import medfusion as mf
from medfusion_jupyter.settings.training import TrainingSettings
from medfusion_jupyter.training import Callback, TrainingConfig
from medfusion_jupyter.training.starting import split_for

IMAGES = {"image_encoder": "light_cnn", "epochs": 1}
SGD = {"optimizer": "sgd"}
STEP = {"schedule": "step", "milestones": [1]}
PLATEAU = {"schedule": "plateau", "watch": "val/loss", "plateau_patience": 0, "plateau_threshold": 10.0}
FROZEN = {"freeze": ["tabular_encoder"]}

OTHER = {
    "epochs": ({}, 2),
    "batch_size": ({}, 24),
    "lr": ({}, 1e-2),
    "encoder_lr": ({}, 1e-2),
    "weight_decay": ({}, 1.0),
    "optimizer": ({}, "sgd"),
    "momentum": (SGD, 0.0),
    "nesterov": (SGD, True),
    "accumulate_grad_batches": ({}, 2),
    "gradient_clip_val": ({}, 1e-3),
    "schedule": ({}, "constant"),
    "warmup": ({}, 0),
    "warmup_steps": ({}, 2),
    "milestones": (STEP, [2]),
    "gamma": (STEP, 0.5),
    "plateau_factor": (PLATEAU, 0.5),
    "plateau_patience": (PLATEAU, 9),
    "plateau_threshold": (PLATEAU, 0.0),
    "label_smoothing": ({}, 0.1),
    "class_weights": ({}, [1.0, 3.0]),
    "sampler": ({}, "balanced"),
    "mixup": ({}, 0.4),
    "cutmix": (IMAGES, 1.0),
    "augment": (IMAGES, False),
    "modality_dropout": (IMAGES, 0.5),
    "image_size": (IMAGES, 24),
    "fusion": (IMAGES, "concat"),
    "image_encoder": ({"epochs": 1}, "light_cnn"),
    "tabular_encoder": ({}, "residual_mlp"),
    "head": ({}, "focal"),
    "ema_decay": ({}, 0.9),
    "freeze": ({}, ["tabular_encoder"]),
    "unfreeze": (FROZEN, ["tabular_encoder.layers.0"]),
    "unfreeze_epoch": (FROZEN, 2),
    "patience": ({"min_delta": 5.0, "patience": 9}, 1),
    "min_delta": ({"watch": "val/loss", "patience": 1}, 5.0),
    "max_time": ({}, 1e-9),
    "watch": ({}, "val/loss"),
    "check_val_every_n_epoch": ({}, 2),
    "limit_val_batches": ({}, 0.5),
    "val_check_interval": ({}, 2),
    "precision": ({}, "bf16"),
    "seed": ({}, 1),
}
"""What is set beside it in both runs, and the value of the second."""

OTHERWISE = {
    "name": "test_train: the name of the job and of its model",
    "description": "test_deletion, test_rest: kept with the job",
    "val": "test_the_parts_have_the_shares_that_are_set",
    "test": "test_the_parts_have_the_shares_that_are_set",
    "device": "test_config: a device that is not there fails the job",
    "devices": "test_devices",
    "sync_batchnorm": "test_devices: synchronised batch norms have the weights of plain ones",
    "compile": "test_computation: the step's forward is a compiled one",
    "channels_last": "test_computation: images and weights are laid out with the channels last",
    "gradient_checkpointing": "test_gradient_checkpointing_reaches_the_encoder, and test_image_encoders",
    "deterministic": "test_computation: a deterministic job is one",
    "on_out_of_memory": "test_out_of_memory",
    "checkpoint_minutes": "test_checkpointer: checkpoints within an epoch come by the clock",
    "save_top_k": "test_checkpointer: the best and the last are kept",
    "image_weights": "test_fixed_features: an encoder starts from a job that trained it",
    "cache_features": "test_fixed_features",
    "attention_supervision": "test_attention",
    "spacing": "test_volumes",
    "shared_encoder": "test_views_and_bags",
    "bag": "test_views_and_bags",
    "max_images": "test_views_and_bags",
    "task_heads": "test_several_targets: each head can be chosen",
    "task_weights": "test_several_targets: losses count as much as they are told",
}
"""Settings that need another cohort, a machine of their own or a job, and where they are tried."""


class Told(Callback):
    """What is said of the epochs."""

    def __init__(self):
        self.rows = []

    def validated(self, state):
        self.rows.append(dict(state.row))

    def epoch_end(self, state):
        self.rows.append({name: value for name, value in state.row.items() if name != "seconds"})


def end_of(loop_of, settings):
    told = Told()
    loop = loop_of(callbacks=[told], **{"image_encoder": None, **settings})
    loop.run()
    weights = {name: value.tolist() for name, value in loop.state.judged.state_dict().items()}
    return weights, told.rows, loop.state.best_value


@pytest.mark.parametrize("name", OTHER)
def test_a_run_with_another_value_is_another_run(loop_of, name):
    beside, value = OTHER[name]
    assert end_of(loop_of, beside) != end_of(loop_of, {**beside, name: value})


@pytest.mark.parametrize("settings", [{}, IMAGES, PLATEAU, SGD, STEP], ids=str)
def test_the_same_settings_give_the_same_run(loop_of, settings):
    assert end_of(loop_of, settings) == end_of(loop_of, settings)


@pytest.mark.parametrize("asked", [True, False])
def test_gradient_checkpointing_reaches_the_encoder(loop_of, asked):
    assert loop_of(gradient_checkpointing=asked).state.model.image_encoder.recompute is asked


def test_no_setting_is_left_out():
    assert OTHER.keys() | OTHERWISE.keys() == TrainingSettings.model_fields.keys()
    assert not OTHER.keys() & OTHERWISE.keys()


@pytest.mark.parametrize(("val", "test"), [(0.2, 0.2), (0.3, 0.1), (0.1, 0.0)])
def test_the_parts_have_the_shares_that_are_set(medfusion_home, val, test):
    split = split_for(mf.synthetic_cohort(n=400, seed=0, image_size=16), TrainingConfig.of({"val": val, "test": test}))
    assert len(split.val) == pytest.approx(400 * val, abs=12)
    assert len(split.test) == pytest.approx(400 * test, abs=12)
