"""Graphs of workflows for tests."""

FAST = {"image_encoder": "light_cnn", "image_size": 16, "batch_size": 16, "device": "cpu", "patience": None}


def edge(source, source_port, target, target_port=None):
    """An edge as it is stored; the target's port has the name of the source's where none is given."""
    return {"source": source, "source_port": source_port, "target": target, "target_port": target_port or source_port}


def study(**settings):
    """A whole study on a synthetic cohort; its nodes are not in the order of their work. settings: of the training."""
    return {
        "nodes": [
            {"id": "report", "type": "evaluate", "position": {"x": 1, "y": 2}},
            {"id": "fit", "type": "train", "settings": {**FAST, "epochs": 2, **settings}},
            {"id": "parts", "type": "cohort.split", "settings": {"seed": 3}},
            {"id": "patients", "type": "source.synthetic", "settings": {"n": 120, "image_size": 16}},
        ],
        "edges": [
            edge("patients", "cohort", "parts"),
            edge("parts", "split", "fit"),
            edge("fit", "model", "report"),
        ],
    }
