"""How long does it take to check a graph of 200 nodes? At most 5 ms are asked."""

import time

from rounds import environment, interleave, report

from medfusion_jupyter.workflows.catalogue import catalogue
from medfusion_jupyter.workflows.graph import read
from medfusion_jupyter.workflows.templates import templates
from medfusion_jupyter.workflows.validation import validate

NODES = 200


def graph():
    """Copies of the template that compares fusions, side by side, up to 200 nodes."""
    (template,) = (one.to_json() for one in templates() if one.name == "compare-fusions")
    nodes, edges = [], []
    copy = 0
    while len(nodes) + len(template["nodes"]) <= NODES:
        nodes += [{**node, "id": f"{node['id']}_{copy}"} for node in template["nodes"]]
        edges += [
            {**edge, "source": f"{edge['source']}_{copy}", "target": f"{edge['target']}_{copy}"}
            for edge in template["edges"]
        ]
        copy += 1
    nodes += [{"id": f"note_{k}", "type": "note", "settings": {"text": "x"}} for k in range(NODES - len(nodes))]
    return {"nodes": nodes, "edges": edges}


def seconds(work):
    """How long one call keeps its thread busy: what other processes of the machine do does not count."""

    def measure():
        begin = time.thread_time()
        work()
        return time.thread_time() - begin

    return measure


if __name__ == "__main__":
    whole = graph()
    of_json, places, flaws = read(whole)
    assert len(whole["nodes"]) == NODES
    assert not validate(whole, catalogue())
    broken = {"nodes": [{**node, "settings": {"none": 1}} for node in whole["nodes"]], "edges": whole["edges"][::2]}
    figures = interleave(
        {
            "valid, from JSON": seconds(lambda: validate(whole, catalogue())),
            "valid, as a Graph": seconds(lambda: validate(of_json, catalogue())),
            "an issue at each node": seconds(lambda: validate(broken, catalogue())),
        },
        rounds=100,
    )
    print(environment("pydantic"))
    report(f"{NODES} nodes, {len(whole['edges'])} edges", figures, against="valid, from JSON", unit="ms", scale=1e3)
