"""Graphs as trainable PyTorch modules, and back: `to_fx`, `from_fx`.

`to_fx` walks a graph (`convert`), node by node: a handler of `operators` says in PyTorch what the
node computes, in modules and functions of torch where one says it exactly, in those of `functions`
where none does. `builder` holds what is being made: the fx graph, the tree of modules, which
parameter stands for which constant. Integer arithmetic on shapes runs beside the tensors, on plain
numbers (`functions.numbers`), so that sizes may be anything a later batch brings.
"""
