"""Recurrent layers as ONNX's operators have them: one direction at a time, one step after another.

    LSTM  C_t = f C_{t-1} + i c,  H_t = o h(C_t)        gates i, o, f, c
    GRU   H_t = (1 - z) h + z H_{t-1}                   gates z, r, h
    RNN   H_t = f(X W + H_{t-1} R + b)

With D directions, G gates and T steps of N sequences: X [T, N, I]; W [D, G H, I]; R [D, G H, H];
B [D, 2 G H], that of W first; P [D, 3 H] of i, o, f; states [D, N, H]. Sequences end after their
`lengths`: what comes behind is 0, and the last state is that of the last step before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

Activation = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]
# One step: what the input gives to all gates, and the state -> the new state, H first.
Step = Callable[[Tensor, State], State]

ACTIVATIONS: dict[str, Activation] = {
    "elu": functional.elu,
    "hardsigmoid": lambda x: torch.clamp(0.2 * x + 0.5, 0, 1),
    "leakyrelu": functional.leaky_relu,
    "relu": functional.relu,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "tanh": torch.tanh,
}


def recurrent(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    lengths: Tensor | None,
    states: Sequence[Tensor | None],
    p: Tensor | None,
    *,
    op: str,
    reverse: tuple[bool, ...],
    activations: tuple[tuple[str, ...], ...],
    clip: float | None,
    reset_after: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """Return Y [T, D, N, H], and the last of each state [D, N, H].

    `reverse` and `activations` have an entry a direction; `states`, one a state, None where it
    begins with zeros. `batch_first`: N comes first in x, Y and states (layout 1). `reset_after`:
    GRU's linear_before_reset.
    """
    if batch_first:
        x = x.transpose(0, 1)
        states = [None if s is None else s.transpose(0, 1) for s in states]
    made, last = [], []
    for d, backwards in enumerate(reverse):
        hidden = r.shape[2]
        zero = x.new_zeros((x.shape[1], hidden))
        bias = None if b is None else b[d].split(r.shape[1])
        step = _STEPS[op](
            r[d], bias, None if p is None else p[d], activations[d], clip, reset_after
        )
        state = tuple(zero if s is None else s[d] for s in states)
        order = _order(x, lengths) if backwards else None
        steps = x if order is None else _reordered(x, order)
        gates = functional.linear(steps, w[d], None if bias is None else bias[0])
        y, state = _run(gates, state, step, lengths)
        made.append(y if order is None else _reordered(y, order))
        last.append(state)
    y, ends = torch.stack(made, 1), [torch.stack(part) for part in zip(*last, strict=True)]
    if batch_first:
        return y.permute(2, 0, 1, 3), *(end.transpose(0, 1) for end in ends)
    return y, *ends


def _run(gates: Tensor, state: State, step: Step, lengths: Tensor | None) -> tuple[Tensor, State]:
    """Return the first state of all steps and the last state."""
    made = []
    for t, now in enumerate(gates.unbind(0)):
        new = step(now, state)
        if lengths is None:
            made.append(new[0])
            state = new
            continue
        goes_on = (t < lengths).unsqueeze(1)
        made.append(new[0] * goes_on)
        state = tuple(torch.where(goes_on, a, b) for a, b in zip(new, state, strict=True))
    return torch.stack(made), state


def _order(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return which step comes when, [T, N], the sequences read from their ends; its own inverse."""
    steps = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    if lengths is None:
        return (x.shape[0] - 1 - steps).expand(x.shape[0], x.shape[1])
    return torch.where(steps < lengths, lengths - 1 - steps, steps)


def _reordered(x: Tensor, order: Tensor) -> Tensor:
    return torch.take_along_dim(x, order.to(torch.int64).unsqueeze(2), 0)


def _clipped(x: Tensor, clip: float | None) -> Tensor:
    return x if clip is None else x.clamp(-clip, clip)


def _lstm(
    r: Tensor,
    bias: Sequence[Tensor] | None,
    p: Tensor | None,
    activations: tuple[str, ...],
    clip: float | None,
    _reset_after: bool,
) -> Step:
    f, g, h = (ACTIVATIONS[name] for name in activations)
    peep_i, peep_o, peep_f = (0.0, 0.0, 0.0) if p is None else p.chunk(3)

    def step(x: Tensor, state: State) -> State:
        before, cell = state
        total = x + functional.linear(before, r, None if bias is None else bias[1])
        i, o, forget, c = total.chunk(4, -1)
        i = f(_clipped(i + peep_i * cell, clip))
        forget = f(_clipped(forget + peep_f * cell, clip))
        cell = forget * cell + i * g(_clipped(c, clip))
        o = f(_clipped(o + peep_o * cell, clip))
        return o * h(cell), cell

    return step


def _gru(
    r: Tensor,
    bias: Sequence[Tensor] | None,
    _p: Tensor | None,
    activations: tuple[str, ...],
    clip: float | None,
    reset_after: bool,
) -> Step:
    f, g = (ACTIVATIONS[name] for name in activations)
    size = 2 * (r.shape[0] // 3)
    both, last = r[:size], r[size:]
    shift = (None, None) if bias is None else (bias[1][:size], bias[1][size:])

    def step(x: Tensor, state: State) -> State:
        (before,) = state
        gates = x[..., :size] + functional.linear(before, both, shift[0])
        z, reset = f(_clipped(gates, clip)).chunk(2, -1)
        if reset_after:
            inner = reset * functional.linear(before, last, shift[1])
        else:
            inner = functional.linear(reset * before, last, shift[1])
        h = g(_clipped(x[..., size:] + inner, clip))
        return ((1 - z) * h + z * before,)

    return step


def _rnn(
    r: Tensor,
    bias: Sequence[Tensor] | None,
    _p: Tensor | None,
    activations: tuple[str, ...],
    clip: float | None,
    _reset_after: bool,
) -> Step:
    f = ACTIVATIONS[activations[0]]

    def step(x: Tensor, state: State) -> State:
        total = x + functional.linear(state[0], r, None if bias is None else bias[1])
        return (f(_clipped(total, clip)),)

    return step


_STEPS = {"GRU": _gru, "LSTM": _lstm, "RNN": _rnn}
