"""How well a candidate keeps what the outputs of a graph mean: classes, strings, masks, boxes.

`read_outputs` reads from the graph which axis of an output holds classes; `choose_metrics` says
with which metric each output is judged, and why; a `Metric` takes outputs of both, batch by batch.
"""
