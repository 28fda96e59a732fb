"""The monitor and the workflow editor in Notebook 7, which has another page than JupyterLab: offline, light and dark."""

import re

import pytest

pytestmark = pytest.mark.browser

CELLS = (
    """import medfusion as mf
cohort = mf.synthetic_cohort(n=200, seed=0, image_size=16)
job = mf.train(cohort, name="in notebook 7", image_encoder="light_cnn", image_size=16, epochs=900, patience=None, device="cpu")
job""",
    "mf.builder('icu')",
)


def test_the_monitor_and_the_editor_work_in_notebook_7_without_a_network(tab, lab):
    page = tab.page
    away = []

    def only_here(route):
        if f"127.0.0.1:{lab.port}" in route.request.url or route.request.url.startswith(("data:", "blob:")):
            route.continue_()
        else:
            away.append(route.request.url)
            route.abort()

    page.route("**/*", only_here)
    lab.write("seven.ipynb", *CELLS)
    page.goto(lab.url("notebooks/seven.ipynb"))
    tab.ready()
    tab.run_all()
    page.wait_for_selector(".mf-monitor .mf-epochs tr >> nth=2")
    editor = page.locator(".mf-flow").first
    editor.locator(".mf-flow-palette-item").first.wait_for()
    editor.get_by_role("button", name="Templates").click()
    editor.get_by_role("menuitem").first.click()
    editor.locator(".mf-flow-node[data-node-id]").first.wait_for()
    editor.locator(".mf-flow-run:enabled").wait_for()
    nodes = editor.locator(".mf-flow-node").count()
    # its keys are not the notebook's: `d d` would delete the cell
    editor.locator(".mf-flow-node-title").first.click()
    page.keyboard.press("d")
    page.keyboard.press("d")
    assert page.locator(".jp-Notebook .jp-Cell").count() == 2
    assert editor.locator(".mf-flow-node").count() == nodes
    tab.shot("notebook-7-editor")
    page.locator(".mf-monitor").scroll_into_view_if_needed()
    tab.shot("notebook-7")

    page.locator(".mf-stop").click()
    page.wait_for_selector(".mf-title:has-text('stopped')")
    tab.command("apputils:change-theme", theme="JupyterLab Dark")
    page.wait_for_selector("body[data-jp-theme-light='false']", state="attached")
    tab.shot("notebook-7-dark")
    editor.scroll_into_view_if_needed()
    tab.shot("notebook-7-editor-dark")
    for selector in (".mf-title .mf-name", ".mf-epochs td", ".mf-flow-node-title", ".mf-flow-palette-item"):
        colour = page.locator(selector).first.evaluate("one => getComputedStyle(one).color")
        assert min(map(float, re.findall(r"[\d.]+", colour)[:3])) > 130, f"dark on dark: {selector} {colour}"
    assert away == []
    # Notebook's own, with any notebook: it asks for settings that it has not loaded yet
    assert [error for error in tab.errors if "reading 'schema'" not in error] == []
