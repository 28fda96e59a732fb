"""The optimiser, its rates and its gradients are what the settings say."""

import pytest
import torch

from medfusion_jupyter.training import Callback
from medfusion_jupyter.training.control import Stopped

TABLE = {"image_encoder": None}


class Watch(Callback):
    """Looks at the state after each step, and ends the run after so many."""

    essential = True

    def __init__(self, look, steps=None):
        self.look, self.steps, self.seen = look, steps, []

    def step_end(self, state):
        self.seen.append(self.look(state))
        if state.step == self.steps:
            raise Stopped


def without_dropout(loop):
    for module in loop.state.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return loop


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, torch.optim.AdamW),
        ({"optimizer": "adam"}, torch.optim.Adam),
        ({"optimizer": "sgd"}, torch.optim.SGD),
        ({"optimizer": "nadam"}, torch.optim.NAdam),
        ({"optimizer": "radam"}, torch.optim.RAdam),
        ({"optimizer": "adafactor"}, torch.optim.Adafactor),
    ],
)
def test_each_optimiser_is_the_one_of_torch_and_learns(loop_of, settings, expected):
    loop = loop_of(epochs=4, **TABLE, **settings)
    before = flat(loop.state.model)
    loop.run()
    assert type(loop.state.optimizer) is expected
    assert not torch.equal(before, flat(loop.state.model))
    assert torch.isfinite(flat(loop.state.model)).all()


def test_sgd_has_the_momentum_that_was_asked_for(loop_of):
    default = loop_of(optimizer="sgd", **TABLE).state.optimizer.defaults
    assert (default["momentum"], default["nesterov"]) == (0.9, False)
    chosen = loop_of(optimizer="sgd", momentum=0.5, nesterov=True, **TABLE).state.optimizer.defaults
    assert (chosen["momentum"], chosen["nesterov"]) == (0.5, True)


@pytest.mark.parametrize("settings", [{}, {"encoder_lr": 1e-4}])
def test_norms_biases_and_tokens_are_not_decayed_and_everything_learns(loop_of, settings):
    state = loop_of(weight_decay=0.3, **settings).state
    decay = {id(p): group["weight_decay"] for group in state.optimizer.param_groups for p in group["params"]}
    names = dict(state.model.named_parameters())
    assert len(decay) == len(names)
    for name, parameter in names.items():
        assert decay[id(parameter)] == (0.3 if parameter.ndim > 1 else 0.0), name


def test_the_encoders_have_a_rate_of_their_own(loop_of):
    watch = Watch(lambda state: [(group["of_encoders"], group["lr"]) for group in state.optimizer.param_groups], 1)
    loop = loop_of(
        callbacks=[watch], lr=1e-2, encoder_lr=1e-9, schedule="constant", warmup=0, optimizer="sgd", weight_decay=0
    )
    model = loop.state.model
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    loop.run()
    assert set(watch.seen[0]) == {(False, 1e-2), (True, 1e-9)}
    for name, value in model.named_parameters():
        moved = (value - before[name]).abs().max()
        assert (moved < 1e-7) == name.startswith(("image_encoder.", "table_encoder.", "absent.")), name


@pytest.mark.parametrize("class_weights", [None, [1.0, 5.0]])
@pytest.mark.parametrize(("batch_size", "together"), [(6, 5), (7, 4)])
def test_accumulated_gradients_are_those_of_one_large_batch_also_in_the_last_group(
    loop_of, class_weights, batch_size, together
):
    common = {**TABLE, "class_weights": class_weights, "lr": 1e-2, "optimizer": "sgd", "epochs": 1, "warmup_steps": 0}
    common |= {"schedule": "constant"}
    many = without_dropout(loop_of(batch_size=batch_size, accumulate_grad_batches=together, **common))
    many.run()
    large = without_dropout(loop_of(batch_size=together * batch_size, **common))
    large.run()
    sizes = [len(rows) for rows in many.train.rows_of_epoch((0, 0))]
    assert len(sizes) % together
    assert sizes[-1] != batch_size
    assert many.state.step == large.state.step == large.state.steps_per_epoch
    assert torch.allclose(flat(many.state.model), flat(large.state.model), atol=1e-6)
    alone = without_dropout(loop_of(batch_size=batch_size, **common))
    alone.run()
    assert not torch.allclose(flat(alone.state.model), flat(large.state.model), atol=1e-4)


def test_the_recorded_loss_of_accumulated_batches_is_that_of_the_large_one(loop_of):
    class Losses(Callback):
        def __init__(self):
            self.read = []

        def losses(self, state):
            self.read += state.read_losses

    found = []
    for settings in ({"batch_size": 7, "accumulate_grad_batches": 5}, {"batch_size": 35}):
        losses = Losses()
        without_dropout(loop_of(callbacks=[losses], epochs=1, **TABLE, **settings)).run()
        found.append(losses.read)
    for (step, loss, rate), (other_step, other_loss, other_rate) in zip(*found, strict=True):
        assert (step, rate) == (other_step, other_rate)
        assert loss == pytest.approx(other_loss, abs=1e-5)


def test_gradients_are_clipped_to_their_norm(loop_of):
    common = {**TABLE, "optimizer": "sgd", "momentum": 0, "weight_decay": 0, "lr": 1.0, "schedule": "constant"}
    moved = []
    for clip in (None, 1e-3):
        loop = loop_of(callbacks=[Watch(lambda state: None, 1)], warmup=0, gradient_clip_val=clip, **common)
        before = flat(loop.state.model)
        loop.run()
        moved.append(float((flat(loop.state.model) - before).norm()))
    assert moved[0] > 2e-3
    assert moved[1] == pytest.approx(1e-3, rel=1e-2)


def test_the_rate_falls_when_the_watched_metric_stands_still(loop_of):
    watch = Watch(lambda state: state.optimizer.param_groups[0]["lr"])
    loop = loop_of(
        callbacks=[watch],
        epochs=7,
        lr=1e-6,
        warmup=0,
        schedule="plateau",
        plateau_factor=0.5,
        plateau_patience=1,
        plateau_threshold=0.9,  # nothing gets that much better
        **TABLE,
    )
    loop.run()
    rates = watch.seen[:: loop.state.steps_per_epoch]

    def of_torch():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-6)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="max", factor=0.5, patience=1, threshold=0.9, eps=0
        )
        for _ in range(7):
            yield optimizer.param_groups[0]["lr"]
            plateau.step(0.6)

    assert rates == pytest.approx(list(of_torch()))
    assert rates[-1] < 1e-6 / 2


def test_a_rate_that_is_changed_on_the_way_is_that_of_the_rest_and_holds_from_the_next_step(loop_of):
    class Change(Callback):
        def step_end(self, state):
            if state.step == 3:
                loop.control.deliver("set", {"lr": 1e-4})

    watch = Watch(lambda state: sorted({group["lr"] for group in state.optimizer.param_groups}), 6)
    loop = loop_of(callbacks=[Change(), watch], lr=1e-2, encoder_lr=1e-3, schedule="constant", warmup=0)
    loop.run()
    assert watch.seen == [[1e-3, 1e-2]] * 3 + [[1e-4, 1e-3]] * 3
