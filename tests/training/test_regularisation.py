"""Smoothing, class weights, drawing, mixing, averaging and freezing do what they say."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import medfusion as mf
from medfusion_jupyter.data.batches import Batch
from medfusion_jupyter.nn import Head, heads
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training import Callback, ConfigError, TrainingConfig
from medfusion_jupyter.training.mixing import Mixing, partners
from medfusion_jupyter.training.objective import compose_loss, mixed_loss, weights_of_classes

OUTPUTS, TARGET = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
HEAD = heads("classification")(in_features=4, num_classes=3)


def test_label_smoothing_is_that_of_torch():
    loss = compose_loss(HEAD, label_smoothing=0.2, class_weights=None)
    assert torch.allclose(loss(OUTPUTS, TARGET), F.cross_entropy(OUTPUTS, TARGET, label_smoothing=0.2))


def test_class_weights_are_those_of_torch():
    weights = torch.tensor([1.0, 2.0, 0.5])
    loss = compose_loss(HEAD, label_smoothing=0, class_weights=weights)
    assert torch.allclose(loss(OUTPUTS, TARGET), F.cross_entropy(OUTPUTS, TARGET, weight=weights))


def test_without_either_the_head_alone_is_asked():
    assert compose_loss(HEAD, label_smoothing=0, class_weights=None) == HEAD.loss


def test_balanced_weights_give_every_class_the_same_sum():
    targets = np.asarray([0] * 10 + [1] * 30 + [2] * 60)
    weights = weights_of_classes("balanced", ["a", "b", "c"], targets)
    assert np.allclose([weights[k] * (targets == k).sum() for k in range(3)], 100 / 3)


def test_weights_by_name_are_put_in_the_order_of_the_classes():
    assert weights_of_classes({"b": 2, "a": 1}, ["a", "b"], np.zeros(1)).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("weights", "words"),
    [({"yes": 2.0}, r"names \['yes'\]; the classes are \['no', 'yes'\]"), ([1.0], "has 1 weights")],
)
def test_weights_that_do_not_fit_the_classes_are_refused_before_anything_is_stored(cohort, weights, words):
    with pytest.raises(ConfigError, match=words):
        mf.train(cohort, class_weights=weights, image_encoder=None)
    assert len(mf.jobs()) == 0


def test_balanced_drawing_shows_the_rare_class_as_often(loop_of, cohort):
    frame = cohort.frame
    rare = frame[(frame["lesion"] == "no") | (np.arange(len(frame)) < 30)].reset_index(drop=True)
    data = mf.Cohort(rare, target="lesion", patient="patient", numeric=["marker"])
    shares = {}
    for sampler in ("shuffle", "balanced"):
        loop = loop_of(data=data, image_encoder=None, sampler=sampler)
        rows = [np.concatenate(loop.train.rows_of_epoch((0, epoch))) for epoch in range(20)]
        assert all(len(one) == len(loop.train.rows) for one in rows)
        count = Counter(data.target_codes[np.concatenate(rows)].tolist())
        shares[sampler] = count[1] / sum(count.values())
    assert shares["shuffle"] < 0.35
    assert 0.45 < shares["balanced"] < 0.55


def batch_of(count, presence):
    g = torch.Generator().manual_seed(1)
    return Batch(
        images=(torch.rand(count, 1, 8, 8, generator=g) * torch.from_numpy(presence[:, 0]).view(-1, 1, 1, 1),),
        numeric=torch.rand(count, 3, generator=g),
        codes=torch.randint(0, 9, (count, 2), generator=g),
        present=torch.from_numpy(presence),
        target=torch.arange(count) % 2,
        rows=np.arange(count),
        all_present=bool(presence.all()),
    )


PRESENCE = np.asarray([[True, True]] * 5 + [[False, True]] * 4 + [[True, False]])


def test_a_partner_has_the_same_modalities_and_is_another_row():
    chosen = partners(PRESENCE, np.random.default_rng(0))
    assert sorted(chosen) == list(range(10))
    assert (PRESENCE[chosen] == PRESENCE).all()
    assert [row for row in range(10) if chosen[row] == row] == [9]  # nobody else has what row 9 has


def test_mixup_mixes_images_numbers_and_targets_by_one_share():
    batch = batch_of(10, PRESENCE)
    mixed, other, share = Mixing(mixup=1.0, cutmix=0.0)(batch, PRESENCE, np.random.default_rng(3))
    chosen = partners(PRESENCE, _after_beta(3, 1.0))
    assert 0 < share < 1
    assert torch.equal(other, batch.target[chosen])
    assert torch.allclose(mixed.images[0], share * batch.images[0] + (1 - share) * batch.images[0][chosen])
    assert torch.allclose(mixed.numeric, share * batch.numeric + (1 - share) * batch.numeric[chosen])
    assert ((mixed.codes == batch.codes) | (mixed.codes == batch.codes[chosen])).all()
    assert (mixed.images[0][5:9] == 0).all()  # an absent image is mixed with absent ones alone


def _after_beta(seed, alpha):
    rng = np.random.default_rng(seed)
    rng.beta(alpha, alpha)
    return rng


def test_cutmix_pastes_a_rectangle_whose_area_is_the_share():
    batch = batch_of(10, np.ones((10, 2), bool))
    for seed in range(20):
        mixed, _, share = Mixing(mixup=0.0, cutmix=1.0)(batch, np.ones((10, 2), bool), np.random.default_rng(seed))
        changed = (mixed.images[0] != batch.images[0]).float().mean(dim=(1, 2, 3))
        assert torch.allclose(changed, torch.full((10,), 1 - share), atol=1e-6)


def test_with_both_each_batch_takes_one_of_them():
    batch, there = batch_of(10, np.ones((10, 2), bool)), np.ones((10, 2), bool)
    kinds = Counter()
    for seed in range(40):
        mixed, _, share = Mixing(mixup=1.0, cutmix=1.0)(batch, there, np.random.default_rng(seed))
        kinds["cut" if (mixed.images[0] == batch.images[0]).any() and share < 1 else "up"] += 1
    assert min(kinds["cut"], kinds["up"]) > 8


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5])])
def test_the_loss_of_mixed_rows_is_mixed_by_the_same_share(weights):
    partner = TARGET.roll(1)
    loss = mixed_loss(HEAD, label_smoothing=0, class_weights=weights)
    soft = 0.3 * F.one_hot(TARGET, 3) + 0.7 * F.one_hot(partner, 3)
    rows = soft if weights is None else soft * weights
    expected = -(rows * OUTPUTS.log_softmax(1)).sum() / rows.sum()
    assert torch.allclose(loss(OUTPUTS, TARGET, partner, 0.3), expected)


@pytest.mark.parametrize(
    "settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"label_smoothing": 0.1}, {"sampler": "balanced"}]
)
def test_each_changes_what_is_learned_and_not_what_is_validated(loop_of, settings):
    plain, other = loop_of(epochs=1), loop_of(epochs=1, **settings)
    for loop in (plain, other):
        loop.run()
    assert plain.state.row["train/loss"] != other.state.row["train/loss"]
    probe = loop_of(epochs=1)
    probe.state.model.load_state_dict(other.state.model.state_dict())
    assert probe._validated()["val/loss"] == other.state.row["val/loss"]


def test_a_head_that_cannot_weigh_rows_is_refused_by_name():
    @heads.register("plain")
    class Plain(Head):
        target_dtype = torch.int64

        def __init__(self, in_features, num_classes):
            super().__init__()
            self.linear = torch.nn.Linear(in_features, num_classes)

        def forward(self, fused):
            return self.linear(fused)

        def loss(self, outputs, target):
            return F.cross_entropy(outputs, target)

    try:
        assert TrainingConfig.of({"head": "plain"}).head == "plain"
        for settings in ({"mixup": 0.2}, {"cutmix": 1.0}, {"label_smoothing": 0.1}, {"class_weights": "balanced"}):
            with pytest.raises(ConfigError, match=rf"{next(iter(settings))}=.*the head 'plain' does not allow it"):
                TrainingConfig.of({"head": "plain", **settings})
    finally:
        del heads._builders["plain"]


class Following(Callback):
    """The average by hand."""

    def fit_start(self, state):
        self.by_hand = {name: value.clone() for name, value in state.model.state_dict().items()}

    def step_end(self, state):
        decay = min(0.8, (1 + state.step) / (10 + state.step))
        for name, value in state.model.state_dict().items():
            if value.is_floating_point():
                self.by_hand[name] = decay * self.by_hand[name] + (1 - decay) * value
            else:
                self.by_hand[name] = value.clone()


def test_the_average_is_what_it_says_and_is_what_is_validated(loop_of):
    follower = Following()
    loop = loop_of(callbacks=[follower], epochs=3, ema_decay=0.8)
    loop.run()
    average = loop.state.ema.state_dict()
    for name, value in follower.by_hand.items():
        assert torch.allclose(average[name], value, atol=1e-5), name
    probe = loop_of(epochs=1)
    probe.state.model.load_state_dict(average)
    assert probe._validated()["val/loss"] == loop.state.row["val/loss"]


def test_the_kept_model_is_the_average(train, loop_of):
    settings = {"epochs": 2, "patience": None, "watch": "val/loss", "ema_decay": 0.9}
    model = train(**settings).wait().model
    loop = loop_of(**settings)
    loop.run()
    assert model.epoch == 2
    for name, value in loop.state.ema.state_dict().items():
        assert torch.equal(model.module.state_dict()[name], value), name


class Weights(Callback):
    """All weights and statistics at the start, and at the end of each epoch."""

    def fit_start(self, state):
        self.at = [{name: value.clone() for name, value in state.model.state_dict().items()}]

    def epoch_end(self, state):
        self.at.append({name: value.clone() for name, value in state.model.state_dict().items()})

    def changed(self, epoch):
        return {name for name, value in self.at[epoch].items() if not torch.equal(value, self.at[epoch - 1][name])}


def test_what_is_frozen_stays_and_what_is_unfrozen_learns(loop_of):
    weights = Weights()
    loop = loop_of(
        callbacks=[weights],
        epochs=4,
        weight_decay=0.1,
        freeze=["image_encoder", "tabular_encoder"],
        unfreeze_epoch={"image_encoder": 3},
    )
    loop.run()
    every = set(weights.at[0])
    of_images = {name for name in every if name.startswith("image_encoder.")}
    of_table = {name for name in every if name.startswith("table_encoder.")}
    tokens = {name for name in every if name.startswith("absent.")}  # no row lacks anything here
    for epoch in (1, 2):
        assert weights.changed(epoch) == every - of_images - of_table - tokens, epoch
    for epoch in (3, 4):
        assert weights.changed(epoch) == every - of_table - tokens, epoch
    assert any("running_mean" in name for name in of_images)
    # validation leaves each part in its mode
    assert loop.state.model.image_encoder.training
    assert not loop.state.model.table_encoder.training


def test_one_epoch_for_all_and_a_module_within_a_part(loop_of):
    weights = Weights()
    loop_of(callbacks=[weights], epochs=2, freeze=["image_encoder.body.0", "head"], unfreeze_epoch=2).run()
    frozen = {name for name in weights.at[0] if name.startswith(("image_encoder.body.0.", "head."))}
    assert not frozen & weights.changed(1)
    assert frozen <= weights.changed(2)


def test_a_module_that_is_not_there_is_named_with_the_closest(loop_of, train):
    with pytest.raises(ConfigError, match=r"'tabular_encoder.layer', which .* Did you mean 'tabular_encoder.layers'"):
        loop_of(freeze=["tabular_encoder.layer"])
    # of the image encoder before anything is stored
    with pytest.raises(
        ConfigError, match=r"freeze names 'image_encoder.bodi', which .* Did you mean 'image_encoder.body'"
    ):
        train(freeze=["image_encoder.bodi"])
    with pytest.raises(
        ConfigError, match=r"unfreeze names 'image_encoder.body.77', .* Did you mean 'image_encoder.body.\d'"
    ):
        train(freeze=["image_encoder"], unfreeze=["image_encoder.body.77"])
    assert open_store().jobs.list().items == []
