"""The workflow editor in JupyterLab: built with the mouse in a cell, run, changed, reloaded."""

import json
import re

import pytest
from patience import wait_for

pytestmark = pytest.mark.browser

CELLS = ("import medfusion as mf", "mf.builder('icu')", "'the last cell'")
STORED = """from medfusion_jupyter.store import open_store
from medfusion_jupyter.workflows.templates import templates
template = next(one for one in templates() if one.name == "compare-fusions")
made = open_store().workflows.create("three fusions", **template.graph.to_json())"""
OWN_NODE = """import medfusion as mf
from medfusion_jupyter.workflows.catalogue import Output, catalogue

class Words:
    def _repr_html_(self):
        return (
            "<script>window.acted = 1</script><img src=x onerror='window.acted = 2'><b onclick='window.acted = 3'>harmless</b>"
            "<a href='javascript:window.acted = 4'>link</a><table style='position:fixed'><tr><td>1</td><td>2</td></tr></table>"
        )

@catalogue().register("mine.words", family="Mine", title="Words of mine", outputs=[Output("words", "words")])
def words(inputs, settings, context):
    return {"words": Words()}

wf = mf.Workflow("own")"""
TWO_STUDIES = """import medfusion as mf
from medfusion_jupyter.store import open_store
wf = mf.Workflow("study of the panel")
patients = wf.add("source.synthetic", n=300, image_size=16)
split = wf.add("cohort.split")
train = wf.add("train", image_encoder="light_cnn", image_size=16, epochs=2000, patience=None)
wf.connect(patients, split)
wf.connect(split, train)
graph = wf.save().graph.to_json()
graph["nodes"][2]["settings"]["epochs"] = 0
open_store().workflows.create("of no epochs", **graph)"""
IN_SIGHT = """node => {
  const [card, canvas] = [`.mf-flow-node[data-node-id='${node}']`, ".mf-flow-canvas"].map(
    one => document.querySelector(one).getBoundingClientRect()
  );
  return canvas.left <= card.left && card.right <= canvas.right && canvas.top <= card.top && card.bottom <= canvas.bottom;
}"""
HANGS = """import threading
import medfusion as mf

@mf.node("mine.hang", title="Hangs")
def hang() -> None:
    threading.Event().wait()

wf = mf.Workflow("hangs")
wf.add("mine.hang")
mf.builder(wf)"""
AS_IT_IS_MEASURED = """() => new Promise(done => {
  // told after the canvas, which looks at the same card, and before it is drawn for what it was told
  const card = document.querySelector(".react-flow__node[data-id='words']");
  let looked = 0;
  const told = new ResizeObserver(() => {
    looked += 1;
    if (looked === 2) {
      told.disconnect();
      const key = new KeyboardEvent("keydown", { key: "d", ctrlKey: true, bubbles: true });
      document.querySelector(".mf-flow").dispatchEvent(key);
      done();
    } else {
      card.querySelector(".mf-flow-node").style.paddingBottom = "20px";
    }
  });
  told.observe(card);
})"""
SAVED_BY_ANOTHER = (
    """workflows = open_store().workflows
newest = workflows.get(made.id)
workflows.update(made.id, seen_version=newest.version, nodes=newest.nodes[:1], edges=[])
print("saved by another")""",
)


class Editor:
    """The workflow editor that a tab shows, with what a person does in it."""

    def __init__(self, tab) -> None:
        self.page = tab.page
        self.box = tab.page.locator(".mf-flow").first
        self.box.wait_for()
        self.box.locator(".mf-flow-palette-item").first.wait_for()

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

    def summary(self, node_id: str, words: str) -> None:
        """The node's line says this; from far away it is not seen, but there."""
        line = self.node(node_id).locator(f".mf-flow-node-line:has-text('{words}')")
        line.wait_for(state="attached")

    def press_run(self) -> None:
        self.box.locator(".mf-flow-run:enabled").click()

    def select(self, node_id: str) -> None:
        """Select a node; the keys are then the editor's."""
        self.node(node_id).click()
        self.box.locator(f"[data-node-id='{node_id}'][data-selected]").wait_for()

    def place(self, node_id: str) -> str:
        """Where a node stands on the canvas, as CSS."""
        return self.box.locator(f".react-flow__node[data-id='{node_id}']").evaluate("node => node.style.transform")

    def checked(self) -> None:
        """What was edited has been checked, and is kept as the draft."""
        self.box.locator(".mf-flow-status[aria-busy='false']").wait_for()

    def saved(self, version: int) -> None:
        self.box.locator(f".mf-flow-status:has-text('version {version}')").wait_for()


def _cells(page) -> int:
    return page.locator(".jp-Notebook .jp-Cell").count()


def test_a_workflow_is_built_with_the_mouse_runs_and_survives_a_reload(tab, lab):
    lab.write("workflow.ipynb", *CELLS)
    tab.open("workflow.ipynb")
    page = tab.page
    tab.run_all()
    editor = Editor(tab)
    tab.shot("workflow-empty")

    # from the empty canvas
    editor.drag_in("source.synthetic", 100, 100)
    editor.node("synthetic").wait_for()
    editor.drag_in("cohort.split", 400, 100)
    editor.drag_in("train", 100, 300)
    editor.drag_in("evaluate", 400, 300)
    editor.node("split").locator(".mf-flow-node-issue:has-text('not connected')").wait_for()
    assert editor.box.locator(".mf-flow-run").is_disabled()
    tab.shot("workflow-invalid")
    editor.connect("synthetic", "cohort", "split", "cohort")
    editor.connect("split", "split", "train", "split")
    editor.connect("train", "model", "evaluate", "model")
    page.wait_for_function("() => document.querySelectorAll('.react-flow__edge').length === 3")
    # a cohort is no split: the edge is not drawn
    editor.connect("synthetic", "cohort", "train", "split")
    assert editor.box.locator(".react-flow__edge").count() == 3
    editor.box.get_by_role("button", name="Lay out (L)").click()

    # its keys are not the notebook's: `d d` would delete the cell
    for place in (editor.node("split"), editor.box.locator(".react-flow__pane")):
        place.click(position={"x": 5, "y": 5})
        page.keyboard.press("d")
        page.keyboard.press("d")
        page.keyboard.press("x")
    assert _cells(page) == 3

    editor.set("synthetic", "n", "400")
    for setting, value in (("image_encoder", "light_cnn"), ("image_size", "32"), ("epochs", "6")):
        editor.set("train", setting, value)
    editor.press_run()
    editor.node("train", "running").wait_for()
    editor.node("train").get_by_text(re.compile(r"AUROC 0\.\d{3} · epoch [1-6]/6")).wait_for()
    tab.shot("workflow-running")
    editor.node("evaluate", "completed").wait_for()
    editor.node("evaluate").get_by_text(re.compile(r"AUROC 0\.\d{3} \[")).wait_for()
    editor.node("evaluate").click()
    tab.shot("workflow-completed")

    # another fusion: only what depends on it is computed anew
    editor.set("train", "fusion", "concat")
    editor.box.locator(".mf-flow-status:has-text('unsaved changes')").wait_for()
    # what was computed before the change does not look like what the next run gives
    for node in ("train", "evaluate"):
        editor.node(node).get_by_role("img", name="completed, changed since").wait_for()
    editor.node("split").get_by_role("img", name="completed", exact=True).wait_for()
    tab.shot("workflow-changed")
    editor.press_run()
    editor.saved(2)
    editor.node("synthetic", "cached").wait_for()
    editor.node("split", "cached").wait_for()
    editor.node("train", "running").wait_for()
    editor.node("evaluate", "completed").wait_for()
    tab.shot("workflow-again")

    # what is not saved is there after a reload too
    editor.set("train", "epochs", "7")
    editor.summary("train", "epochs 7")
    editor.checked()
    tab.command("docmanager:save")
    page.wait_for_function("() => !document.querySelector('.jp-mod-current.jp-mod-dirty')")
    page.reload()
    tab.ready_busy()
    editor = Editor(tab)
    editor.summary("train", "epochs 7")
    editor.box.locator(".mf-flow-status:has-text('unsaved changes')").wait_for()
    editor.node("evaluate", "completed").wait_for()
    assert editor.box.locator(".react-flow__edge").count() == 3
    assert tab.errors == []


def test_a_workflow_is_built_and_saved_with_the_keys_alone(tab, lab):
    lab.write("keys.ipynb", "import medfusion as mf\nmf.builder('keys')")
    tab.open("keys.ipynb")
    tab.run_all()
    editor = Editor(tab)
    keys = tab.page.keyboard
    search = editor.box.locator(".mf-flow-palette input[type='search']")
    for words, node_id in (
        ("synthetic", "synthetic"),
        ("split by patient", "split"),
        ("train", "train"),
        ("evaluate", "evaluate"),
    ):
        search.focus()
        keys.press("Control+a")
        keys.type(words)
        keys.press("Enter")
        editor.node(node_id).wait_for()
        # it is in sight, wherever the ones before it were
        tab.page.wait_for_function(IN_SIGHT, arg=node_id)
    tab.page.wait_for_function("() => document.querySelectorAll('.react-flow__edge').length === 3")
    tab.shot("workflow-keys")
    keys.press("Control+s")
    editor.saved(1)
    assert tab.errors == []


def test_a_stored_workflow_opens_in_a_tab_and_runs_in_a_kernel_of_its_own(tab, lab):
    lab.write("stored.ipynb", STORED, *SAVED_BY_ANOTHER)
    tab.open("stored.ipynb")
    page = tab.page
    tab.command("notebook:run-cell-and-select-next")
    tab.show_panel()
    page.locator("#medfusion-panel li[data-workflow-id]").get_by_role(
        "button", name="three fusions", exact=True
    ).click()
    editor = Editor(tab)
    assert editor.box.locator(".mf-flow-node").count() == 16
    tab.shot("workflow-tab")
    editor.set("patients", "n", "300")
    editor.set("concat_training", "epochs", "2000")  # it is still at work when it is stopped
    editor.press_run()
    editor.saved(2)
    editor.node("concat_training", "running").wait_for()
    editor.node("concat_training").get_by_text(re.compile(r"AUROC 0\.\d{3} · epoch \d+/2000")).wait_for()
    tab.shot("workflow-tab-running")
    editor.box.locator(".mf-flow-stop").click()
    editor.node("concat_training", "stopped").wait_for()

    # somebody else saves: who saves second is told, and neither change is lost
    editor.set("patients", "n", "200")
    page.locator(".lm-TabBar-tabLabel:has-text('stored.ipynb')").click()
    tab.command("notebook:run-cell-and-select-next")
    page.wait_for_selector(".jp-OutputArea-output:has-text('saved by another')")
    page.locator(".lm-TabBar-tabLabel:has-text('three fusions')").click()
    editor.box.locator(".mf-flow-save").click()
    editor.box.locator(".mf-flow-notice[data-kind='conflict']").wait_for()
    tab.shot("workflow-conflict")
    stored = lab.ask("medfusion/api/workflows")["items"][0]
    assert (stored["version"], len(stored["nodes"])) == (3, 1)
    editor.box.get_by_role("button", name="Save mine as the newest").click()
    editor.saved(4)
    editor.box.get_by_role("button", name="Versions").click()
    editor.box.locator("[data-version='3']").get_by_role("button", name="version 3").click()
    editor.box.locator(".mf-flow-difference:has-text('+ gated_training')").wait_for()
    tab.shot("workflow-versions")

    # what is not saved is kept in the browser
    editor.box.get_by_role("button", name="Close versions").click()
    editor.set("patients", "n", "250")
    page.wait_for_function(
        "() => Object.entries(localStorage).some(([key, kept]) => /draft/.test(key) && /250/.test(kept))"
    )
    page.reload()
    page.wait_for_function("window.jupyterapp && window.jupyterapp.restored")
    tab.show_panel()
    page.locator("#medfusion-panel li[data-workflow-id]").get_by_role(
        "button", name="three fusions", exact=True
    ).click()
    editor = Editor(tab)
    editor.summary("patients", "n 250")
    editor.box.locator(".mf-flow-status:has-text('unsaved changes')").wait_for()
    errors = [error for error in tab.errors if "409" not in error]
    assert errors == []


def test_the_panel_runs_stops_and_deletes_workflows_and_says_what_is_refused(tab, lab):
    lab.write("panel.ipynb", TWO_STUDIES)
    tab.open("panel.ipynb")
    page = tab.page
    tab.run_all()
    tab.show_panel()

    def row(name, status=""):
        end = f"[data-status='{status}']" if status else ""
        return page.locator(f"#medfusion-panel li[data-workflow-id]{end}:has(button[title='{name}'])")

    def choose(name, what):
        row(name).locator("[data-command='menu']").click()
        page.locator(f".lm-Menu-item:has-text('{what}')").click()

    dialog = page.locator(".jp-Dialog")

    # what is wrong with its graph is said in whole, and nothing is queued
    row("of no epochs").locator("[data-command='run']").click()
    dialog.get_by_text("'train': epochs: give a whole number").wait_for()
    tab.shot("panel-workflow-refused")
    dialog.locator("button.jp-mod-accept").click()

    row("study of the panel").locator("[data-command='run']").click()
    row("study of the panel", "running").get_by_text("2 of 3 nodes done").wait_for()
    row("study of the panel").locator("[role='progressbar'][aria-valuenow='67']").wait_for()
    tab.shot("panel-workflow-running")
    row("study of the panel").locator("[data-command='stop']").click()
    row("study of the panel", "stopped").get_by_text("stopped · 2 of 3 done").wait_for()

    choose("of no epochs", "Delete…")
    dialog.get_by_text("Delete of no epochs?").wait_for()
    dialog.locator("button.jp-mod-accept").click()
    row("of no epochs").wait_for(state="detached")
    # a job came of this one: it says which
    choose("study of the panel", "Delete…")
    dialog.locator("button.jp-mod-accept").click()
    dialog.get_by_text("cannot be deleted: job job_").wait_for()
    tab.shot("panel-workflow-in-use")
    dialog.locator("button.jp-mod-accept").click()
    row("study of the panel", "stopped").wait_for()
    assert [error for error in tab.errors if "409" not in error and "422" not in error] == []


def test_a_workflow_file_opens_in_the_editor_and_keeps_what_is_not_known(tab, lab):
    strange = {"id": "strange", "type": "gone.away", "settings": {"x": 1}, "colour": "red"}
    synthetic = {"id": "synthetic", "type": "source.synthetic", "settings": {"n": 100}}
    edge = {"source": "synthetic", "source_port": "cohort", "target": "strange", "target_port": "table"}
    path = lab.notebooks / "study.medflow.json"
    path.write_text(json.dumps({"title": "kept", "nodes": [synthetic, strange], "edges": [edge]}), encoding="utf-8")
    tab.page.goto(lab.url("lab/tree/study.medflow.json") + "&reset")
    editor = Editor(tab)
    editor.node("strange").get_by_text("Unknown: gone.away").wait_for()
    assert editor.box.locator(".react-flow__edge").count() == 1
    tab.shot("workflow-unknown")
    editor.set("synthetic", "n", "120")
    tab.page.keyboard.press("Control+s")
    editor.box.locator(".mf-flow-status:has-text('saved')").wait_for()

    def whole():
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError:  # Jupyter is about to write it
            return None
        return document if document["nodes"][0]["settings"] == {"n": 120} else None

    written = wait_for(whole, lambda: path.read_text(encoding="utf-8"))
    assert written["title"] == "kept"
    assert {**strange, "position": written["nodes"][1]["position"]} == written["nodes"][1]
    assert written["edges"] == [edge]
    assert tab.errors == []


def test_a_node_of_ones_own_runs_and_nothing_of_its_html_acts(tab, lab):
    lab.write("own.ipynb", OWN_NODE, "wf.add('mine.words')", "mf.builder(wf)", "wf.add('mine.words', id='by_code')")
    tab.open("own.ipynb")
    page = tab.page
    tab.run_all()
    editor = Editor(tab)
    editor.box.get_by_text("Words of mine").first.wait_for()
    # what code adds afterwards is there too
    editor.node("by_code").wait_for()

    # the keys of every editor
    editor.select("by_code")
    for keys, count in (("Control+c", 2), ("Control+v", 3), ("Control+d", 4), ("Delete", 3), ("Control+z", 4)):
        page.keyboard.press(keys)
        page.wait_for_function(f"() => document.querySelectorAll('.mf-flow-node').length === {count}")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    editor.box.get_by_text("An empty workflow").wait_for()
    # the node under the focus is gone: the keys are the editor's nevertheless
    page.keyboard.press("d")
    page.keyboard.press("d")
    assert _cells(page) == 4
    for keys, count in (("Control+z", 4), ("Control+z", 3), ("Control+Shift+z", 4), ("Control+z", 3), ("Control+z", 2)):
        page.keyboard.press(keys)
        page.wait_for_function(f"() => document.querySelectorAll('.mf-flow-node').length === {count}")

    # a node that is moved with the keys stays there, and both views of a widget show the same
    editor.select("by_code")
    before = editor.place("by_code")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    editor.box.get_by_role("button", name="Undo (Ctrl Z)").click()
    page.wait_for_function(
        "([node, place]) => document.querySelector(`.react-flow__node[data-id='${node}']`).style.transform === place",
        arg=["by_code", before],
    )
    tab.command("notebook:create-output-view")
    page.wait_for_function("() => document.querySelectorAll('.mf-flow-node').length === 4")
    editor.select("by_code")
    page.keyboard.press("Control+d")
    page.wait_for_function("() => document.querySelectorAll('.mf-flow-node').length === 6")
    page.keyboard.press("Delete")
    page.wait_for_function("() => document.querySelectorAll('.mf-flow-node').length === 4")
    tab.shot("workflow-two-views")
    editor.press_run()
    editor.node("words", "completed").wait_for()
    editor.node("words").click()
    shown = editor.box.locator(".mf-flow-html")
    shown.get_by_text("harmless").wait_for()
    tab.shot("workflow-own-node")
    assert shown.locator("table td").all_inner_texts() == ["1", "2"]
    assert shown.locator("script, a, style, [onclick], [style], img").count() == 0
    assert page.evaluate("() => window.acted") is None
    assert tab.errors == []


def test_a_node_that_is_added_while_the_canvas_measures_another_is_shown(tab, lab):
    lab.write("measured.ipynb", OWN_NODE, "wf.add('mine.words')", "mf.builder(wf)")
    tab.open("measured.ipynb")
    tab.run_all()
    editor = Editor(tab)
    editor.select("words")
    tab.page.evaluate(AS_IT_IS_MEASURED)
    editor.node("words_2").wait_for()
    assert editor.box.locator(".mf-flow-node").count() == 2


def test_in_a_narrow_cell_the_graph_is_seen_and_a_node_that_hangs_is_said_to_be_stopping(tab, lab):
    lab.write("narrow.ipynb", HANGS)
    tab.page.set_viewport_size({"width": 1000, "height": 1000})
    tab.open("narrow.ipynb")
    tab.run_all()
    box = tab.page.locator(".mf-flow")
    node = box.locator(".mf-flow-node[data-node-id='hang']")
    node.wait_for()
    assert box.locator(".mf-flow-inspector").count() == 0
    tab.shot("workflow-narrow")
    node.locator(".mf-flow-node-title").dblclick()
    box.locator(".mf-flow-inspector:has-text('Hangs')").wait_for()
    tab.shot("workflow-narrow-inspector")
    box.locator(".mf-flow-run:enabled").click()
    box.locator(".mf-flow-node[data-node-id='hang'][data-status='running']").wait_for()
    box.locator(".mf-flow-stop").click()
    box.locator(".mf-flow-status:has-text('stopping, 0/1')").wait_for()
    assert box.locator(".mf-flow-stop").is_disabled()
    tab.shot("workflow-stopping")
    assert tab.errors == []


def test_the_editor_is_readable_in_the_dark(tab, lab):
    lab.write(
        "dark-workflow.ipynb",
        "import medfusion as mf\nwf = mf.Workflow('dark')\nwf.add('source.synthetic')\nmf.builder(wf)",
    )
    tab.open("dark-workflow.ipynb")
    tab.command("apputils:change-theme", theme="JupyterLab Dark")
    tab.page.wait_for_selector("body[data-jp-theme-light='false']", state="attached")
    tab.run_all()
    editor = Editor(tab)
    editor.node("synthetic").click()
    tab.shot("workflow-dark")
    for selector in (".mf-flow-node-title", ".mf-flow-port", ".mf-flow-field label", ".mf-flow-palette-item"):
        colour = editor.box.locator(selector).first.evaluate("one => getComputedStyle(one).color")
        channels = [float(part) for part in re.findall(r"[\d.]+", colour)[:3]]
        assert min(channels) > 130, f"dark on dark: {selector} {colour}"
