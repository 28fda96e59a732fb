"""A run is changed and saved from the panel's menu and from the monitor's form, in a real JupyterLab."""

import pytest
from patience import wait_for

pytestmark = pytest.mark.browser

TRAIN = (
    "import medfusion as mf\n"
    "job = mf.train(mf.synthetic_cohort(n=300, image_size=16), name='steered', image_encoder='light_cnn', image_size=16,\n"
    "               epochs=9000, patience=None, freeze=['image_encoder'], device='cpu')\n"
    "job"
)


def settings(lab):
    return lab.ask("medfusion/api/training/status/job_0001")["training_config"]


def test_a_run_is_steered_from_the_panel_and_the_monitor(lab, tab):
    page = tab.page
    lab.write("steered.ipynb", TRAIN)
    tab.open("steered.ipynb")
    tab.show_panel()
    tab.run_all()
    row = tab.row("job_0001", "running")
    row.wait_for()
    page.wait_for_selector(".mf-epochs tr >> nth=1")

    # the panel's menu: a checkpoint, and changes by a form
    menu = row.get_by_role("button", name="More for steered")
    menu.click()
    page.locator(".lm-Menu").wait_for()
    assert page.locator(".lm-Menu-item .lm-Menu-itemLabel").all_inner_texts() == [
        "Pause", "Stop…", "Checkpoint now", "", "Change settings…", "", "Fork…"
    ]  # fmt: skip
    tab.shot("job-menu")
    page.locator(".lm-Menu-item:has-text('Checkpoint now')").click()
    events = "medfusion/api/training/job_0001/events"
    wait_for(
        lambda: any(one["data"] == {"command": "checkpoint"} for one in lab.ask(events)["items"]),
        "no checkpoint was asked for",
    )
    menu.click()
    page.locator(".lm-Menu-item:has-text('Change settings')").click()
    form = page.locator(".jp-Dialog .jp-MedFusion-form")
    form.wait_for()
    assert form.locator("input[name='lr']").input_value() == "0.0003"
    form.locator("input[name='lr']").fill("1e-4")
    form.locator("input[name='patience']").fill("500")
    form.locator("input[name='unfreeze']").fill("all")
    tab.shot("change-dialog")
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    wait_for(lambda: settings(lab)["lr"] == 1e-4, lambda: f"the change did not reach the run: {lab.ask(events)}")
    assert (settings(lab)["patience"], settings(lab)["unfreeze"]) == (500, ["image_encoder"])

    # what the server refuses is said in its words
    menu.click()
    page.locator(".lm-Menu-item:has-text('Change settings')").click()
    form.locator("input[name='lr']").fill("99")
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    page.locator(".jp-Dialog [role='alert']:has-text('lr=99: give a number above 0 and at most 10.')").wait_for()
    assert form.locator("input[name='lr']").input_value() == "99"
    tab.shot("change-refused")
    page.locator(".jp-Dialog button.jp-mod-reject").click()

    # the monitor's form and button, and the trail of what was changed
    page.wait_for_selector(".mf-monitor :text('lr=0.0001, patience=500, unfreeze=image_encoder')")
    page.locator(".mf-change-open").click()
    page.locator(".mf-change").wait_for()
    page.locator(".mf-change input").nth(1).fill("8000")
    tab.shot("monitor-form")
    page.locator(".mf-change button").click()
    wait_for(lambda: settings(lab)["epochs"] == 8000, "the change did not reach the run")
    page.wait_for_selector(".mf-monitor .mf-progress:has-text('/8000')")
    page.locator(".mf-save").click()
    page.wait_for_selector(".mf-save:not([disabled])")
    page.wait_for_selector(".mf-monitor :text('epochs=8000')")
    tab.shot("monitor-changed")
    page.locator(".mf-stop").click()
    tab.row("job_0001", "stopped").wait_for()
    page.wait_for_selector(".mf-change-open[disabled]")
    # a fork, by a form of what may be changed
    tab.row("job_0001", "stopped").get_by_role("button", name="More for steered").click()
    page.locator(".lm-Menu-item:has-text('Fork')").click()
    form.locator("input[name='name']").fill("forked")
    form.locator("input[name='others']").fill("fusion=concat")
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    page.locator(".jp-Dialog [role='alert']:has-text(\"fusion='concat' cannot be changed in a fork\")").wait_for()
    tab.shot("fork-dialog")
    form.locator("input[name='others']").fill("mixup=0.2 max_time=0.001")
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    wait_for(lambda: "job_0002" in lab.jobs(), "no fork was made")
    fork = lab.ask("medfusion/api/training/status/job_0002")
    assert (fork["name"], fork["parent_job_id"]) == ("forked", "job_0001")
    assert fork["fork"]["changes"]["mixup"] == {"from": 0.0, "to": 0.2}
    refused = [error for error in tab.errors if "422" not in error]
    assert refused == []
