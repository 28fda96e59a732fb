"""A study as a graph: written, edited, checked, saved, executed, and turned into Python and back.

All but `nodes`, `outputs` and `execution` is free of torch, so that a server knows it too; what a node does is imported when it
runs. Start at `workflow.py` for what a person holds, at `catalogue.py` for what a node is.
"""
