"""Operators that treat some axes apart from each other and mix others: the batch must lie in one of the former."""

from collections.abc import Callable, Iterable

from roofwright.passes.batching.layout import Batched, State, from_front
from roofwright.passes.batching.sight import Sight

Rule = Callable[[Sight], list[State]]
_SOFTMAX_BY_AXIS = 13  # before, every axis from the given one on was flattened into one
_REDUCE_ALL = "it reduces over all axes, the samples' too"


def _clear_of(sight: Sight, at: Batched, mixed: Iterable[int]) -> None:
    """Refuse where the operator mixes the entries of the batch's axis."""
    if at.axis in set(mixed):
        sight.refuse(f"it mixes the entries of axis {at.axis}, which holds the samples")


def samples(*data: int) -> Rule:
    """An operator for which axis 0 of the inputs `data` counts samples, and of every output."""

    def rule(sight: Sight) -> list[State]:
        sight.only(data)
        return sight.everywhere(sight.shared({position: 0 for position in data if sight.is_given(position)}))

    return rule


def unary(sight: Sight) -> list[State]:
    """Every element by itself, whatever the other inputs say."""
    sight.only((0,))
    return [sight.data()]


def like(sight: Sight) -> list[State]:
    """CastLike: the second input gives its type only."""
    return [sight.state(0)]


def dropout(sight: Sight) -> list[State]:
    """Dropout at inference: nothing happens."""
    sight.only((0,))
    training = sight.values(2)
    is_off = not sight.is_given(2) or (training is not None and not training[0].any())
    if sight.view.opset < 7 and not sight.attr("is_test", 0):
        is_off = False
    return sight.everywhere(sight.data()) if is_off else sight.refuse("it may drop elements at random")


def max_pool(sight: Sight) -> list[State]:
    """MaxPool without its second output, whose indices count through the whole batch."""
    if len(sight.view.used_outputs(sight.node)) > 1:
        sight.refuse("its indices count through the whole batch")
    return samples(0)(sight)


def batch_norm(sight: Sight) -> list[State]:
    """BatchNormalization with stored statistics."""
    if sight.attr("training_mode", 0) or len(sight.view.used_outputs(sight.node)) > 1:
        sight.refuse("it is in training mode: its statistics run over the samples")
    if sight.view.opset < 7 and not sight.attr("is_test", 0):
        sight.refuse("it is in training mode: its statistics run over the samples")
    return samples(0)(sight)[:1]


def softmax(sight: Sight) -> list[State]:
    """Softmax, LogSoftmax, Hardmax."""
    sight.only((0,))
    modern = sight.view.opset >= _SOFTMAX_BY_AXIS
    axis, at = sight.axis(-1 if modern else 1), sight.data()
    _clear_of(sight, at, (axis,) if modern else range(axis, sight.rank()))
    return [at]


def along(default: int) -> Rule:
    """An operator that mixes along its attribute `axis` and keeps the shape."""

    def rule(sight: Sight) -> list[State]:
        sight.only((0,))
        at = sight.data()
        _clear_of(sight, at, (sight.axis(default),))
        return sight.everywhere(at)

    return rule


def onward(default: int) -> Rule:
    """A normalization over every axis from its attribute `axis` on."""

    def rule(sight: Sight) -> list[State]:
        sight.only((0,))
        at = sight.data()
        _clear_of(sight, at, range(sight.axis(default), sight.rank()))
        return sight.everywhere(at)

    return rule


def mean_variance(sight: Sight) -> list[State]:
    """MeanVarianceNormalization; by default it takes its statistics over the samples."""
    sight.only((0,))
    at = sight.data()
    _clear_of(sight, at, sight.axes() or [0, 2, 3])
    return [at]


def last_two(sight: Sight) -> list[State]:
    """An operator on matrices: the last two axes."""
    sight.only((0,))
    at, rank = sight.data(), sight.rank()
    _clear_of(sight, at, (rank - 2, rank - 1))
    return sight.everywhere(at)


def cumulative(sight: Sight) -> list[State]:
    """CumSum, CumProd: the axis is an input."""
    sight.only((0,))
    at = sight.data()
    _clear_of(sight, at, sight.axes("axis") or [at.axis])
    return [at]


def reduce(sight: Sight) -> list[State]:
    """Reduce*: the samples stay apart; axes ahead of them may go."""
    sight.only((0,))
    at, axes = sight.data(), sight.axes()
    if not axes:
        return [at] if sight.attr("noop_with_empty_axes", 0) else sight.refuse(_REDUCE_ALL)
    _clear_of(sight, at, axes)
    return [_dropped(sight, at, axes)]


def arg_reduce(sight: Sight) -> list[State]:
    """ArgMax, ArgMin."""
    sight.only((0,))
    at, axis = sight.data(), sight.axis(0)
    _clear_of(sight, at, (axis,))
    return [_dropped(sight, at, [axis])]


def _dropped(sight: Sight, at: Batched, axes: list[int]) -> Batched:
    return at if sight.attr("keepdims", 1) else sight.moved(at, at.axis - sum(axis < at.axis for axis in axes))


def quantize(sight: Sight) -> list[State]:
    """QuantizeLinear, DequantizeLinear: scales are one number, or run along an axis that is not the batch's."""
    sight.only((0,))
    at = sight.data()
    if any(size != 1 for size in sight.shape(1)):
        if sight.attr("block_size", 0):
            sight.refuse("its scales are given by blocks")
        _clear_of(sight, at, (sight.axis(1),))
    return [at]


def fourier(sight: Sight) -> list[State]:
    """DFT: along its axis, and over the pair of real and imaginary part."""
    sight.only((0,))
    at, rank = sight.data(), sight.rank()
    axes = sight.axes("axis", 2) or [from_front(1 if sight.view.opset < 20 else -2, rank)]
    _clear_of(sight, at, (*axes, rank - 1))
    return [at]


def reverse_sequence(sight: Sight) -> list[State]:
    """ReverseSequence: one length for every entry of its batch axis."""
    sight.only((0, 1))
    axis = int(sight.attr("batch_axis", 1))
    at = sight.data()
    if at.axis != axis:
        _clear_of(sight, at, (int(sight.attr("time_axis", 0)),))
        return unary(sight)
    return [sight.shared({0: axis, 1: 0})]


def recurrent(sight: Sight) -> list[State]:
    """LSTM, GRU, RNN: sequences of the batch are apart; initial states are repeated where they were made for one."""
    sight.only((0, 4, 5, 6))
    axis = 0 if sight.attr("layout", 0) else 1
    at = sight.shared({0: axis, 4: 0, 5: axis, 6: axis})
    all_steps = sight.moved(at, 0 if axis == 0 else 2)
    return [all_steps if position == 0 else sight.moved(at, axis) for position in range(len(sight.node.outputs))]


def attention(sight: Sight) -> list[State]:
    """Attention: axis 0 of query, key, value and cache counts samples; the mask broadcasts to the scores."""
    sight.only((0, 1, 2, 3, 4, 5, 6))
    places = {position: 0 for position in (0, 1, 2, 4, 5, 6) if sight.is_given(position)}
    at = sight.shared(places)
    if sight.is_given(3):
        _mask(sight, at)
    return sight.everywhere(at)


def _mask(sight: Sight, at: Batched) -> None:
    mask, rank = sight.state(3), sight.rank(3)
    if isinstance(mask, Batched):
        if mask.axis or rank < 4 or (mask.outer, mask.inner) != (at.outer, at.inner):
            sight.refuse("its mask holds the batch in another way than its query")
    elif rank == 4:
        sight.fit(3, 0, at, broadcasts=True)


def rotary(sight: Sight) -> list[State]:
    """RotaryEmbedding: the caches are tables where positions are given, else they are per sample."""
    tables = sight.is_given(3)
    sight.only((0, 3) if tables else (0, 1, 2))
    return [sight.shared({0: 0, 3: 0} if tables else {0: 0, 1: 0, 2: 0})]
