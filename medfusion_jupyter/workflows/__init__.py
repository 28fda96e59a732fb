"""A study as a graph: node types, the graph of them, its validation and its execution.

`graph`, `catalogue` and `validation` are free of torch, so that a server knows them too; what a node does is imported when it
runs. Start at `catalogue.py`.
"""
