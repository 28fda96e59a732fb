"""The workflow editor in JupyterLab: built with the mouse in a cell, run, changed, reloaded."""

import pytest

pytestmark = pytest.mark.browser

CELLS = ("import medfusion as mf", "mf.builder('icu')", "'the last cell'")


class Editor:
    """The workflow editor that a tab shows, with what a person does in it."""

    def __init__(self, tab) -> None:
        self.page = tab.page
        self.box = tab.page.locator(".mf-flow").first
        self.box.wait_for(timeout=90_000)
        self.box.locator(".mf-flow-palette-item").first.wait_for(timeout=60_000)

    def node(self, node_id: str, status: str = ""):
        end = f"[data-status='{status}']" if status else ""
        return self.box.locator(f".mf-flow-node[data-node-id='{node_id}']{end}")

    def drag_in(self, node_type: str, x: int, y: int) -> None:
        """Drag a node type from the palette to a place of the canvas."""
        item = self.box.locator(f"[data-node-type='{node_type}']")
        item.drag_to(self.box.locator(".react-flow__pane"), target_position={"x": x, "y": y})

    def connect(self, source: str, source_port: str, target: str, target_port: str) -> None:
        """Draw an edge with the mouse."""
        start = self._port(source, "source", source_port)
        end = self._port(target, "target", target_port)
        start.hover()
        self.page.mouse.down()
        end.hover()
        self.page.mouse.up()

    def _port(self, node_id: str, side: str, port: str):
        return self.node(node_id).locator(f".react-flow__handle.{side}[data-handleid='{port}']")

    def set(self, node_id: str, setting: str, value: str) -> None:
        """Select a node and write one of its settings."""
        self.node(node_id).locator(".mf-flow-node-title").click()
        field = self.box.locator(f".mf-flow-inspector [data-setting='{setting}']")
        group = self.box.locator(f".mf-flow-group:has([data-setting='{setting}'])")
        if group.count() and group.get_attribute("open") is None:
            group.locator("summary").click()
        field.locator("input").first.fill(value)

    def press_run(self) -> None:
        self.box.locator(".mf-flow-run:enabled").click()


def test_a_workflow_is_built_with_the_mouse_runs_and_survives_a_reload(tab, lab):
    lab.write("workflow.ipynb", *CELLS)
    tab.open("workflow.ipynb")
    tab.page.set_viewport_size({"width": 1500, "height": 1000})
    tab.run_all()
    editor = Editor(tab)
    tab.shot("workflow-empty")
    editor.drag_in("source.synthetic", 100, 120)
    editor.node("synthetic").wait_for()
    editor.drag_in("cohort.split", 400, 120)
    editor.drag_in("train", 100, 320)
    editor.drag_in("evaluate", 400, 320)
    tab.shot("workflow-dragged")
    editor.connect("synthetic", "cohort", "split", "cohort")
    editor.connect("split", "split", "train", "split")
    editor.connect("train", "model", "evaluate", "model")
    tab.shot("workflow-connected")
    editor.set("synthetic", "n", "400")
    for setting, value in (("image_encoder", "light_cnn"), ("image_size", "32"), ("epochs", "6")):
        editor.set("train", setting, value)
    tab.shot("workflow-set")
    editor.press_run()
    editor.node("train", "running").wait_for(timeout=60_000)
    editor.page.wait_for_selector(".mf-flow-node[data-node-id='train'] >> text=/epoch [1-6].6.*AUROC/", timeout=60_000)
    tab.shot("workflow-running")
    editor.node("evaluate", "completed").wait_for(timeout=90_000)
    editor.node("evaluate").click()
    tab.shot("workflow-completed")
    assert tab.errors == []
