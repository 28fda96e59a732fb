"""The golden path in a real JupyterLab: run the quickstart, watch, pause, reload, go on, stop from the panel."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from patience import wait_for

pytestmark = pytest.mark.browser

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
STEPS = "() => Number(document.querySelector('.mf-progress').innerText.match(/step ([0-9,]+)/)[1].replace(',', ''))"
# the longest: which of training and validation is drawn first is left to chance
CURVE = (
    "() => Math.max(0, ...[...document.querySelectorAll('.mf-curve-loss path.line')]"
    ".map(line => line.getAttribute('d')?.length ?? 0))"
)


def _grown(tab, script, than):
    tab.page.wait_for_function(f"than => ({script})() > than", arg=than)
    return tab.page.evaluate(script)


@pytest.fixture
def quickstart(lab):
    """The quickstart, with enough epochs to play with."""
    text = (NOTEBOOKS / "01-quickstart.ipynb").read_text(encoding="utf-8")
    assert "epochs=15" in text
    name = "quickstart.ipynb"
    (lab.notebooks / name).write_text(text.replace("epochs=15", "epochs=900, patience=None"), encoding="utf-8")
    return name


def test_an_empty_panel_offers_the_quickstart(lab, tab):
    shutil.copy(NOTEBOOKS / "01-quickstart.ipynb", lab.notebooks)
    lab.write("empty.ipynb", "1 + 1")
    tab.open("empty.ipynb")
    tab.show_panel()
    tab.page.get_by_text("No training jobs yet.").wait_for()
    tab.shot("empty-panel")
    tab.page.get_by_role("button", name="Open the quickstart notebook").click()
    tab.page.wait_for_selector(".lm-TabBar-tabLabel:has-text('01-quickstart.ipynb')")
    assert tab.errors == []


def test_the_golden_path(lab, tab, quickstart):
    page = tab.page
    tab.open(quickstart)
    tab.show_panel()
    tab.run_all()
    page.wait_for_selector(".mf-monitor")

    # curves grow while the training runs, here and in the panel
    row = tab.row("job_0001", "running")
    row.wait_for()
    before = _grown(tab, CURVE, 0)
    _grown(tab, CURVE, before)
    page.wait_for_selector(".mf-epochs tr >> nth=3")
    tab.shot("running")

    # pause from the monitor, though the cell with job.wait() is running; the panel shows it
    page.locator(".mf-pause").first.click()
    tab.row("job_0001", "paused").wait_for()
    page.wait_for_selector(".mf-title:has-text('paused')")
    stood = page.evaluate(STEPS)
    tab.shot("paused")

    # resume from the panel
    tab.row("job_0001", "paused").locator("[data-command='resume']").click()
    tab.row("job_0001", "running").wait_for()
    _grown(tab, STEPS, stood)

    # a reload: the monitor goes on, and so does the panel
    tab.command("docmanager:save")
    page.wait_for_function("() => !document.querySelector('.jp-mod-current.jp-mod-dirty')")
    page.reload()
    tab.ready_busy()
    page.wait_for_selector(".mf-monitor .mf-progress")
    step = _grown(tab, STEPS, stood)
    _grown(tab, STEPS, step)
    tab.show_panel()
    tab.row("job_0001", "running").wait_for()
    tab.shot("reloaded")

    # stop from the panel; it asks first, and the best epoch becomes a model
    tab.row("job_0001", "running").locator("[data-command='stop']").click()
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    tab.row("job_0001", "stopped").wait_for()
    page.wait_for_selector(".mf-title:has-text('stopped')")
    page.wait_for_selector("#medfusion-panel li[data-model-id]:has-text('quickstart'):has-text('v1')")
    tab.shot("stopped")
    assert tab.errors == []
    assert lab.jobs()["job_0001"]["status"] == "stopped"
    libraries = Path(f"/proc/{lab.process.pid}/maps")
    if libraries.exists():
        assert "libtorch" not in libraries.read_text(), "the server has loaded torch"


def test_another_notebook_shows_the_job_of_a_dead_kernel(lab, tab):
    lab.write("other.ipynb", "import medfusion as mf", "mf.monitor('job_0001')", "%load_ext medfusion\n%medfusion jobs")
    for kernel in lab.ask("api/kernels"):
        tab.page.request.delete(lab.url(f"api/kernels/{kernel['id']}"))
    tab.open("other.ipynb")
    tab.run_all()
    tab.page.wait_for_selector(".mf-title:has-text('stopped')")
    _grown(tab, CURVE, 100)
    tab.page.wait_for_selector("td:has-text('stopped')")
    tab.shot("other-notebook")
    assert tab.errors == []


def test_a_killed_kernel_is_seen_as_interrupted_and_the_panel_goes_on_in_a_kernel_of_its_own(lab, tab):
    lab.write(
        "killed.ipynb",
        "import medfusion as mf\ncohort = mf.synthetic_cohort(n=400)",
        "job = mf.train(cohort, name='<b>killed</b>', image_encoder='light_cnn', image_size=32, epochs=900, patience=None)\njob",
        "import os\nprint('pid', os.getpid())",
    )
    tab.open("killed.ipynb")
    tab.show_panel()
    tab.run_all()
    row = tab.row("job_0002", "running")
    row.wait_for()
    tab.page.wait_for_selector(".mf-epochs tr >> nth=2")
    assert row.get_by_role("button", name="<b>killed</b>", exact=True).inner_text() == "<b>killed</b>"
    os.kill(lab.ask("medfusion/api/training/status/job_0002")["pid"], signal.SIGKILL)
    tab.row("job_0002", "interrupted").wait_for()
    # JupyterLab's own word that the kernel has died
    tab.page.locator(".jp-Dialog:has-text('appears to have died') button.jp-mod-accept").click()
    tab.shot("interrupted")
    epoch = lab.jobs()["job_0002"]["current_epoch"]
    tab.row("job_0002").get_by_role("button", name="Resume <b>killed</b> in a kernel of its own").click()
    tab.row("job_0002", "running").wait_for()
    tab.page.wait_for_selector("#medfusion-panel li[data-job-id='job_0002'] [role='progressbar']")
    tab.shot("resumed-by-the-panel")
    wait_for(
        lambda: lab.jobs()["job_0002"]["current_epoch"] >= epoch, "it did not reach the epoch at which it was killed"
    )
    tab.row("job_0002").locator("[data-command='stop']").click()
    tab.page.locator(".jp-Dialog button.jp-mod-accept").click()
    tab.row("job_0002", "stopped").wait_for()
    assert tab.errors == []


def test_the_panel_is_readable_in_the_dark(lab, tab):
    lab.write("dark.ipynb", "import medfusion as mf", "mf.monitor('job_0001')")
    tab.open("dark.ipynb")
    tab.command("apputils:change-theme", theme="JupyterLab Dark")
    tab.show_panel()
    tab.run_all()
    tab.page.wait_for_selector("body[data-jp-theme-light='false']", state="attached")
    tab.page.wait_for_selector(".mf-title:has-text('stopped')")
    _grown(tab, CURVE, 0)
    tab.row("job_0001").get_by_role("button", name="quickstart", exact=True).click()
    tab.row("job_0001").locator("dl").wait_for()
    tab.shot("dark")
    panel = tab.page.evaluate(
        "() => { const p = document.querySelector('#medfusion-panel .jp-MedFusion-section');"
        " return p.scrollWidth <= p.clientWidth; }"
    )
    assert panel, "the panel overflows to the side"
    colours = tab.page.evaluate(
        "() => ['.mf-curve-loss text', '.mf-progress .mf-facts', '.jp-MedFusion-name'].map("
        "s => getComputedStyle(document.querySelector(s))).map(c => c.fill !== 'rgb(0, 0, 0)' ? c.fill : c.color)"
    )
    for colour in colours:
        channels = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        assert min(channels) > 130, f"dark on dark: {colours}"
