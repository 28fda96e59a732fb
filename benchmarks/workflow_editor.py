"""How many frames a second has the workflow editor while a graph of 200 nodes is edited, in JupyterLab and headless Chromium?"""

import os
import shutil
import statistics
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))

from conftest import Lab

NODES = 200
CHAIN = ("source.synthetic", "cohort.split", "train", "evaluate")
PORTS = (("cohort", "cohort"), ("split", "split"), ("model", "model"))
FRAMES = """() => { window.frames_seen = []; const look = now => { window.frames_seen.push(now);
  window.frames_look = requestAnimationFrame(look); }; window.frames_look = requestAnimationFrame(look); }"""
SEEN = "() => { cancelAnimationFrame(window.frames_look); return window.frames_seen; }"


def graph():
    """Studies of four nodes each, side by side."""
    nodes, edges = [], []
    for study in range(NODES // len(CHAIN)):
        ids = [f"{kind.split('.')[-1]}_{study}" for kind in CHAIN]
        nodes += [{"id": one, "type": kind, "settings": {}} for one, kind in zip(ids, CHAIN, strict=True)]
        for source, target, (given, taken) in zip(ids, ids[1:], PORTS, strict=False):
            edges.append({"source": source, "source_port": given, "target": target, "target_port": taken})
    return {"nodes": nodes, "edges": edges}


def measured(page, what, work):
    """Do the work and print what the browser drew meanwhile."""
    page.evaluate(FRAMES)
    work()
    seen = page.evaluate(SEEN)
    gaps = [later - before for before, later in pairwise(seen)]
    slow = statistics.quantiles(gaps, n=20)[-1]
    print(f"| {what} | {1000 * len(gaps) / sum(gaps):.0f} | {1000 / slow:.0f} |")


def drag(page, element, steps=90):
    """Take hold of an element and move the mouse about."""
    box = element.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 4
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(steps):
        page.mouse.move(x + 3 * (step % 30), y + 2 * (step % 45))
    page.mouse.up()


def zoom(page):
    """Turn the wheel over the canvas, in and out again."""
    page.mouse.move(700, 500)
    for step in range(60):
        page.mouse.wheel(0, -40 if step < 30 else 40)


def connect(page, edges=10):
    """Draw edges between studies side by side, each in place of the one that the input had."""
    sources, targets = (
        page.locator(f"[data-port='split'] .react-flow__handle.{side}") for side in ("source", "target")
    )
    for k in range(edges):
        ends = [one.bounding_box() for one in (sources.nth(k), targets.nth(k + 1))]
        (x, y), (to_x, to_y) = ((end["x"] + end["width"] / 2, end["y"] + end["height"] / 2) for end in ends)
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(to_x, to_y, steps=10)
        page.mouse.up()


def undo(page, times=10):
    """Take back what was done last, and do it again."""
    for keys in ["Control+z"] * times + ["Control+Shift+z"] * times:
        page.keyboard.press(keys)


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    lab = Lab(folder)
    try:
        os.environ["MEDFUSION_HOME"] = str(lab.home)
        from medfusion_jupyter.store import open_store

        made = open_store().workflows.create("two hundred", **graph())
        with sync_playwright() as running:
            browser = running.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1500, "height": 1000})
            page.goto(lab.url("lab"))
            page.wait_for_function("window.jupyterapp && window.jupyterapp.restored", timeout=60_000)
            page.evaluate("window.jupyterapp.restored.then(() => true)")
            page.evaluate(
                "id => { window.jupyterapp.commands.execute('medfusion:open-workflow', { workflow_id: id }); }", made.id
            )
            page.wait_for_function(f"() => document.querySelectorAll('.mf-flow-node').length === {NODES}")
            page.wait_for_timeout(1000)
            print("| 200 nodes, 150 edges | frames/s | slowest 5 % |\n|---|---|---|")
            measured(page, "drag a node", lambda: drag(page, page.locator(".mf-flow-node").nth(90)))
            page.keyboard.press("f")
            page.wait_for_timeout(500)
            measured(page, "move the canvas", lambda: drag(page, page.locator(".react-flow__pane")))
            page.keyboard.press("f")
            page.wait_for_timeout(500)
            port = page.locator(".react-flow__handle.source").nth(90)
            measured(page, "draw an edge", lambda: drag(page, port))
            page.keyboard.press("Escape")
            measured(page, "connect", lambda: connect(page))
            measured(page, "undo and redo", lambda: undo(page))
            measured(page, "zoom", lambda: zoom(page))
            page.keyboard.press("f")
            page.wait_for_timeout(500)
            page.locator(".mf-flow-node").nth(40).click()
            field = page.locator(".mf-flow-inspector [data-setting] input").first
            measured(page, "type a setting", lambda: field.press_sequentially("1234567890" * 3, delay=20))
            browser.close()
    finally:
        lab.close()
        shutil.rmtree(folder)
