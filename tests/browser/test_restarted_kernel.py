"""The kernel is restarted while a workflow trains in it: nothing in the page goes on as running, and the new kernel goes on."""

import re

import pytest
from patience import wait_for

pytestmark = pytest.mark.browser

CELLS = (
    """import medfusion as mf
from medfusion_jupyter.store import UnknownId
try:
    wf = mf.load_workflow("restarted")
except UnknownId:
    wf = mf.Workflow("restarted")
    patients, split = wf.add("source.synthetic", n=300, image_size=16), wf.add("cohort.split")
    train = wf.add("train", image_encoder="light_cnn", image_size=16, epochs=2000, patience=None)
    wf.connect(patients, split)
    wf.connect(split, train)
    wf.save()
mf.builder(wf)""",
    "mf.monitor('job_0001')",
)


def test_what_ran_is_interrupted_in_words_and_run_goes_on_with_it_in_the_new_kernel(tab, lab):
    lab.write("restarted.ipynb", *CELLS)
    tab.open("restarted.ipynb")
    tab.show_panel()
    page = tab.page

    def run_cell(number):
        page.locator(".jp-Notebook .jp-Cell").nth(number).locator(".jp-InputArea").click()
        tab.command("notebook:run-cell")

    def train_node(status):
        return page.locator(f".mf-flow-node[data-node-id='train'][data-status='{status}']")

    def execution(number):
        return lab.ask(f"medfusion/api/workflows/executions/{number}")

    workflow = page.locator("#medfusion-panel li[data-workflow-id]")
    run_cell(0)
    page.locator(".mf-flow-run:enabled").click()
    train_node("running").get_by_text(re.compile(r"epoch [1-9]")).wait_for()
    run_cell(1)
    page.wait_for_selector(".mf-monitor .mf-epochs tr >> nth=1")

    tab.command("kernelmenu:restart")
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    train_node("interrupted").wait_for()
    page.locator(".mf-flow-notice:has-text('Run the cell again')").wait_for()
    tab.row("job_0001", "interrupted").wait_for()
    workflow.get_by_text("interrupted · 2 of 3 done").wait_for()
    states = {node["node_id"]: node["status"] for node in execution(1)["nodes"]}
    assert states == {"synthetic": "completed", "split": "completed", "train": "interrupted"}
    assert execution(1)["error"]
    # the monitor says that what it shows is old, and no longer that the job runs
    assert page.locator(".mf-monitor .mf-state").is_hidden()
    said = "getComputedStyle(document.querySelector('.mf-monitor'), '::before').content"
    assert "has lost its kernel" in page.evaluate(said)
    tab.shot("kernel-restarted")
    page.locator(".mf-flow").scroll_into_view_if_needed()
    tab.shot("kernel-restarted-builder")

    reached = lab.jobs()["job_0001"]["current_epoch"]
    run_cell(0)
    train_node("interrupted").wait_for()
    page.locator(".mf-flow-notice").wait_for(state="detached")
    page.locator(".mf-flow-run:enabled").click()
    train_node("running").wait_for()
    tab.row("job_0001", "running").wait_for()
    wait_for(lambda: lab.jobs()["job_0001"]["current_epoch"] >= reached, "it did not go on")
    assert list(lab.jobs()) == ["job_0001"]
    page.locator(".mf-flow-stop").click()
    train_node("stopped").wait_for()
    assert tab.errors == []
