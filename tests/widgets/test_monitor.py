"""The monitor shows what the store has, whoever trains, obeys its buttons, and stays small."""

import subprocess
import sys
import time
from itertools import pairwise
from xml.etree import ElementTree

import ipywidgets
import numpy as np
import pytest

import medfusion as mf
from medfusion_jupyter.store import UnknownId, home
from medfusion_jupyter.widgets.annotations import Annotation
from medfusion_jupyter.widgets.charts import Charts
from medfusion_jupyter.widgets.curve import MAX_POINTS
from medfusion_jupyter.widgets.refresher import refresher


def _all_text(monitor):
    def below(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from below(child)

    return " ".join(widget.value for widget in below(monitor) if isinstance(widget, ipywidgets.HTML))


def test_curves_numbers_and_epochs_of_a_running_job(live_run):
    run = live_run("hannover-icu")
    run.epoch(1, auroc=0.75)
    run.epoch(2, auroc=0.874)
    monitor = mf.monitor(run.job.job_id)
    charts = monitor.charts
    assert charts.train.x[-1] == 2.0
    assert charts.train.y[-1] == np.float32(1 / 20)
    assert charts.validation.x.tolist() == [1.0, 2.0]
    assert charts.metric.y.tolist() == pytest.approx([0.75, 0.874])
    assert np.asarray(charts.band.y).tolist() == [pytest.approx([0.65, 0.774]), pytest.approx([0.85, 0.974])]
    assert (charts.best.x.tolist(), charts.best.y.tolist()) == ([2.0], pytest.approx([0.874]))
    shown = _all_text(monitor)
    for words in (
        "hannover-icu",
        "● running on cuda:0",
        "epoch 2/4",
        "step 20/40",
        "1,904 samples/s",
        "3.1 GB",
        "3 min left",
        "0.874 [0.774, 0.974]",
        "best 0.874 at epoch 2",
    ):
        assert words in shown, words


def test_a_fork_says_where_it_comes_from_and_what_it_changed(live_run, store):
    parent = live_run("parent").job
    folder = home() / "jobs" / parent.job_id
    folder.mkdir(parents=True)
    for name in ("one.safetensors", "split.json"):
        (folder / name).write_text("")
    path = str(folder / "one.safetensors")
    store.checkpoints.add(
        parent.job_id, run_token="t", epoch=2, step=1234, metrics={"m": 1}, path=path, file_size=1, is_best=True
    )
    fork = store.jobs.fork(
        parent.job_id,
        store.checkpoints.best(parent.job_id),
        training_config={"epochs": 9, "watch": "val/auroc"},
        changes={"lr": {"from": 0.001, "to": 0.0001}, "freeze": {"from": [], "to": ["<b>"]}},
    )
    shown = _all_text(mf.monitor(fork.job_id))
    assert (
        f"Forked from {parent.job_id} at epoch 2, step 1,234: lr 0.001 → 0.0001, freeze [] → [&#x27;&lt;b&gt;&#x27;]"
        in shown
    )
    assert "Forked from" not in _all_text(mf.monitor(parent.job_id))
    store.jobs.claim(fork.job_id, run_token="t", host="h", pid=1, process_started=0.0, kernel_id=None)
    store.jobs.truncate(fork.job_id, run_token="t", epoch=2, step=20)
    store.jobs.update_status(fork.job_id, "initializing", run_token="t")
    store.jobs.update_status(fork.job_id, "running", run_token="t")
    store.jobs.update_progress(fork.job_id, run_token="t", progress=0.2, current_step=20, total_steps=90)
    monitor = mf.monitor(fork.job_id)
    monitor.refresh()
    assert (monitor.charts.of_loss.lines.x.tolist(), monitor.charts.of_loss.right.text) == ([2.0, 2.0], ["fork"])


def test_what_went_wrong_while_the_run_goes_on_is_shown(live_run, store):
    run = live_run()
    monitor = mf.monitor(run.job.job_id)
    for said in ("<b>full</b>", "still full"):
        store.jobs.note_event(run.job.job_id, "checkpoint_failed", {"error": said}, run_token="t")
    failed = {"callback": "Mine", "event": "epoch_end", "error": "KeyError: 'x'", "given_up": False}
    store.jobs.note_event(run.job.job_id, "callback_failed", failed, run_token="t")
    assert monitor.refresh()
    shown = _all_text(monitor)
    assert "A checkpoint could not be written. The training goes on, and it is tried again. still full" in shown
    assert "A callback failed. Mine at epoch_end: KeyError: &#x27;x&#x27;" in shown
    assert "full</b>" not in shown


def test_what_was_done_to_a_run_is_marked_on_both_curves_where_it_was_done(live_run, store):
    run = live_run()
    run.epoch(1)
    store.jobs.note_changes(run.job.job_id, run_token="t", changes={"lr": 1e-4, "unfreeze": ["a", "b"]}, step=5)
    run.status("paused", step=12)
    run.status("running", step=12)
    store.jobs.note_changes(run.job.job_id, run_token="t", changes={"epochs": 8}, step=12)
    monitor = mf.monitor(run.job.job_id)
    run.status("stopped")
    store.jobs.claim(run.job.job_id, run_token="t", host="h", pid=1, process_started=0.0, kernel_id=None)
    store.jobs.truncate(run.job.job_id, run_token="t", epoch=1, step=10)
    run.status("initializing")
    run.status("running")
    monitor.refresh()
    for marks in (monitor.charts.of_loss, monitor.charts.of_metric):
        # an epoch has ten steps, also when there are more of them
        assert marks.lines.x[:, 0].tolist() == pytest.approx([0.5, 1.0, 1.2])
        assert marks.lines.y.tolist() == 3 * [[0, 1]]
        labels = dict(zip([*marks.right.text, *marks.left.text], [*marks.right.x, *marks.left.x], strict=True))
        first, second, third = sorted(labels, key=labels.get)
        assert (first, second) == ("lr=0.0001 +1", "resume")
        assert third.startswith("pause 0.")
        assert third.endswith(" s · epochs=8")


def test_labels_of_what_was_done_never_overlap():
    marks = Charts("val/auroc").of_loss
    done = [Annotation(x, f"lr=0.{x}") for x in (*range(1, 99), 100)]
    marks.show(done, 100)
    assert len(marks.lines.x) == 40  # the picture does not grow with the run
    assert marks.lines.x[-1].tolist() == [100, 100]
    for labels in (marks.right, marks.left):
        for height in set(labels.y):
            at = sorted(x / 100 for x, y in zip(labels.x, labels.y, strict=True) if y == height)
            assert all(later - x >= 6 * 0.015 for x, later in pairwise(at))
    assert marks.left.x.tolist()[0] == 100  # the newest has its label, at the right edge to the left of the line


def test_it_keeps_up_and_stops_following_at_the_end(live_run):
    run = live_run()
    monitor = mf.monitor(run.job.job_id)
    run.epoch(1)
    assert monitor.refresh()
    assert len(monitor.charts.validation.x) == 1
    run.epoch(2)
    run.status("completed")
    assert not monitor.refresh()
    assert len(monitor.charts.validation.x) == 2
    assert "✓ completed" in _all_text(monitor)
    assert monitor.pause.disabled
    assert monitor.stop.disabled


def test_the_thread_refreshes_and_ends_when_there_is_nothing_to_follow(live_run):
    run = live_run()
    monitor = mf.monitor(run.job.job_id)
    thread = refresher._thread
    assert thread.is_alive()
    run.epoch(1)
    run.status("completed")
    thread.join(20)
    assert not thread.is_alive()
    assert "✓ completed" in _all_text(monitor)


def test_the_best_epoch_is_shown_when_it_is_long_ago_too(live_run):
    run = live_run()
    for epoch in range(1, 9):
        run.epoch(epoch)
    run.store.jobs.set_best(run.job.job_id, run_token="t", epoch=1, value=0.8)
    _, *rows = ElementTree.fromstring(mf.monitor(run.job.job_id)._epochs.value)
    assert [row[0].text for row in rows] == ["★ 1", "4", "5", "6", "7", "8"]


def test_a_finished_job_is_shown_still(live_run):
    run = live_run()
    run.epoch(1)
    run.status("completed")
    monitor = mf.monitor(run.job.job_id)
    assert len(monitor.charts.train.x) == 10
    assert refresher._thread is None


def test_a_job_of_another_kernel_says_so(live_run):
    run = live_run(host="other-host", kernel_id="0123456789abcdef")
    shown = _all_text(mf.monitor(run.job.job_id))
    assert "Runs in another kernel 01234567 on other-host" in shown


def test_a_failure_is_shown_in_its_own_words_and_an_interruption_says_what_to_do(live_run):
    run = live_run()
    run.status("failed", error="The loss is NaN at step 412 <b>")
    assert "The loss is NaN at step 412 &lt;b&gt;" in _all_text(mf.monitor(run.job.job_id))
    other = live_run()
    other.status("interrupted", error="its process is gone")
    shown = _all_text(mf.monitor(other.job.job_id))
    assert "Interrupted at epoch 0" in shown
    assert f"mf.resume('{other.job.job_id}')" in shown


def test_an_interrupted_job_that_another_kernel_resumes_is_followed(live_run, store):
    run = live_run()
    run.status("interrupted", error="its process is gone")
    monitor = mf.monitor(run.job.job_id)
    assert monitor.refresh()
    store.jobs.claim(
        run.job.job_id, run_token="u", host="elsewhere", pid=1, process_started=0.0, kernel_id="0123456789abcdef"
    )
    assert monitor.refresh()
    shown = _all_text(monitor)
    assert "pending" in shown
    assert "Runs in another kernel 01234567 on elsewhere" in shown


def test_text_of_users_is_escaped(live_run):
    run = live_run("<script>alert(1)</script>")
    shown = _all_text(mf.monitor(run.job.job_id))
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_buttons_ask_the_run_and_wait_for_it(live_run, store):
    run = live_run()
    monitor = mf.monitor(run.job.job_id)
    assert (monitor.pause.description, monitor.pause.disabled, monitor.stop.disabled) == ("Pause", False, False)
    monitor.pause.click()
    assert monitor.pause.disabled
    assert "Pausing" in _all_text(monitor)
    with store.writing() as session:
        assert [c.command for c in store.jobs.take_commands_in(session, run.job.pk, "t")] == ["pause"]
    run.status("paused")
    monitor.refresh()
    assert (monitor.pause.description, monitor.pause.disabled) == ("Resume", False)
    assert "Pausing" not in _all_text(monitor)
    monitor.pause.click()
    monitor.stop.disabled = False
    monitor.stop.click()
    with store.writing() as session:
        assert [c.command for c in store.jobs.take_commands_in(session, run.job.pk, "t")] == ["resume", "stop"]


def test_a_click_that_comes_too_late_is_answered_in_words(live_run):
    run = live_run()
    monitor = mf.monitor(run.job.job_id)
    run.status("completed")
    monitor.stop.click()
    assert "is completed: &#x27;stop&#x27; is possible when" in _all_text(monitor)


def test_showing_a_job_again_is_the_same_monitor_until_it_is_closed(live_run):
    run = live_run()
    monitor = mf.monitor(run.job.job_id)
    assert mf.monitor(run.job.job_id) is monitor
    monitor.close()
    assert mf.monitor(run.job.job_id) is not monitor
    assert not monitor.refresh()


def test_closing_lets_go_of_every_widget(live_run):
    run = live_run()
    before = set(ipywidgets.Widget._instances) if hasattr(ipywidgets.Widget, "_instances") else None
    from ipywidgets.widgets.widget import _instances

    before = set(_instances)
    monitor = mf.monitor(run.job.job_id)
    made = len(set(_instances) - before)
    monitor.close()
    left = {type(_instances[key]).__name__ for key in set(_instances) - before}
    assert made > 20
    assert left <= {"Layout", "HTMLStyle", "ButtonStyle", "TextStyle", "DescriptionStyle", "LinearScale", "Axis"}


def test_an_unknown_job_is_answered_with_those_there_are(live_run):
    live_run()
    with pytest.raises(UnknownId, match=r"job_0999.*job_0001"):
        mf.monitor("job_0999")


def test_what_it_holds_does_not_grow_with_the_run(live_run, store):
    run = live_run()
    for step in range(1, 20_001):
        store.writer.append(run.job.pk, "train/loss", step, 1.0)
    store.writer.flush()
    monitor = mf.monitor(run.job.job_id)
    assert len(monitor.charts.train.x) <= MAX_POINTS
    assert monitor.charts.train.y.dtype == np.float32


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(live_run, store):
    import os
    import socket

    run = live_run()
    for epoch in (1, 2, 3):
        run.epoch(epoch)
    monitor = mf.monitor(run.job.job_id)
    run.status("stopped")
    store.jobs.claim(
        run.job.job_id, run_token="u", host=socket.gethostname(), pid=os.getpid(), process_started=0.0, kernel_id=None
    )
    store.jobs.truncate(run.job.job_id, run_token="u", epoch=1, step=10)
    monitor.refresh()
    assert monitor.charts.train.x.max() == 1.0


def test_a_store_that_cannot_be_read_is_said_and_tried_again(live_run, store, monkeypatch):
    run = live_run()
    monitor = mf.monitor(run.job.job_id)
    get = store.jobs.get
    failures = []

    def fail(job_id):
        failures.append(1)
        raise OSError("disk <gone>")

    monkeypatch.setattr(store.jobs, "get", fail)
    until = time.monotonic() + 20
    while "disk &lt;gone&gt;" not in _all_text(monitor):
        assert time.monotonic() < until
        time.sleep(0.01)
    monkeypatch.setattr(store.jobs, "get", get)
    run.status("completed")
    while "✓ completed" not in _all_text(monitor):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert "disk" not in _all_text(monitor)


def test_charts_are_not_sent_again_when_nothing_changed(monkeypatch):
    from medfusion_jupyter.widgets.curve import Curve

    charts = Charts("val/auroc")
    curves = {name: Curve() for name in ("train", "validation", "metric", "low", "high")}
    for curve in curves.values():
        curve.extend([1, 2], [0.5, 0.6])
    charts.draw(curves, steps_per_epoch=1, epochs=2, best=(2, 0.6))
    changes = []
    for mark in (charts.train, charts.validation, charts.metric, charts.band, charts.best):
        mark.observe(changes.append)
    charts.draw(curves, steps_per_epoch=1, epochs=2, best=(2, 0.6))
    assert changes == []


def test_neither_torch_nor_training_is_loaded(live_run):
    run = live_run()
    code = (
        "import sys, medfusion as mf; mf.monitor(sys.argv[1]);"
        "print([m for m in ('torch', 'medfusion_jupyter.training') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, run.job.job_id], capture_output=True, text=True, check=True, timeout=60
    )
    assert out.stdout.strip() == "[]"


def test_a_run_is_changed_by_the_form_and_saved_by_a_button(live_run, store):
    run = live_run()
    monitor = mf.monitor(run.job.job_id)
    assert not monitor.form.shown
    monitor.change.click()
    assert monitor.form.shown
    assert {name: field.value for name, field in monitor.form.fields.items()} == {
        "lr": "none", "epochs": "none", "patience": "none"
    }  # fmt: skip
    monitor.form.fields["lr"].value = "99"
    monitor.form.apply.click()
    assert "lr=99: give a number above 0 and at most 10." in _all_text(monitor)
    monitor.form.fields["lr"].value = "1e-4"
    monitor.form.fields["epochs"].value = " 9 "
    monitor.form.apply.click()
    assert not monitor.form.shown
    assert "Changing" in _all_text(monitor)
    store.jobs.note_changes(run.job.job_id, run_token="t", changes={"lr": 1e-4, "epochs": 9})
    monitor.refresh()
    assert "Changing" not in _all_text(monitor)
    assert "lr=0.0001, epochs=9</div>" in _all_text(monitor)
    monitor.save.click()
    with store.writing() as session:
        taken = [(one.command, one.arguments) for one in store.jobs.take_commands_in(session, run.job.pk, "t")]
    assert taken == [("set", {"lr": 1e-4, "epochs": 9}), ("checkpoint", None)]
    run.status("completed")
    monitor.refresh()
    assert monitor.change.disabled
    assert monitor.save.disabled


def test_a_fork_is_asked_for_by_a_form_with_the_checkpoints_and_the_usual_settings(live_run, store):
    run = live_run()
    monitor = mf.monitor(run.job.job_id)
    assert monitor.fork.disabled  # there is nothing to begin from
    run.epoch(1)
    for epoch, step, metrics in ((1, 10, {"val/auroc": 0.8}), (1, 15, {})):
        store.checkpoints.add(
            run.job.job_id, run_token="t", epoch=epoch, step=step, metrics=metrics, path=f"/{step}", file_size=1,
            is_best=bool(metrics),
        )  # fmt: skip
    store.jobs.note_changes(run.job.job_id, run_token="t", changes={"lr": 3e-4, "patience": None}, step=10)
    monitor.refresh()
    monitor.fork.click()
    form = monitor.fork_form
    assert form.shown
    assert [words for words, _ in form.checkpoint.options] == [
        "the newest checkpoint", "epoch 1, step 15", "★ epoch 1, step 10"
    ]  # fmt: skip
    assert (form.keywords()["epoch"], form.keywords()["step"]) == (None, None)
    assert (form.fields["lr"].value, form.fields["patience"].value) == ("0.0003", "none")
    form.others.value = "mixup"
    form.make.click()
    assert "mixup&#x27; is no change: write a setting and its value" in _all_text(monitor)
    form.checkpoint.value = (1, 10)
    form.fields["lr"].value = "1e-4"
    form.others.value = "mixup=0.2 freeze=head"
    form.name.value = "slower"
    assert form.keywords() == {
        "epoch": 1, "step": 10, "lr": 1e-4, "mixup": 0.2, "freeze": ["head"], "name": "slower"
    }  # fmt: skip
    form.make.click()
    assert form.shown
    assert "is not there" in _all_text(monitor) or "cannot be read" in _all_text(monitor)
    monitor.fork.click()
    assert not form.shown
