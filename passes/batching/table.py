"""Operator of the default domain -> where the samples of its outputs are. What is not here cannot be widened."""

from collections.abc import Mapping

from roofwright.passes.batching import axes, labels, moves, picks, views
from roofwright.passes.batching.axes import Rule

_UNARY = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "Ceil", "Celu", "Clip", "Cos",
    "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN",
    "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign",
    "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
)  # fmt: skip
_ELEMENTWISE = (
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual",
    "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor",
)  # fmt: skip
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
_BY_SAMPLE = (
    "AveragePool", "Conv", "ConvInteger", "ConvTranspose", "DepthToSpace", "GlobalAveragePool", "GlobalLpPool",
    "GlobalMaxPool", "GroupNormalization", "InstanceNormalization", "LRN", "LpPool", "QLinearConv", "STFT",
    "SpaceToDepth",
)  # fmt: skip

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_UNARY, axes.unary),
    **dict.fromkeys(_ELEMENTWISE, labels.elementwise),
    **dict.fromkeys(_REDUCTIONS, axes.reduce),
    **dict.fromkeys(_BY_SAMPLE, axes.samples(0)),
    "AffineGrid": moves.affine_grid,
    "ArgMax": axes.arg_reduce,
    "ArgMin": axes.arg_reduce,
    "Attention": axes.attention,
    "BatchNormalization": axes.batch_norm,
    "CastLike": axes.like,
    "Compress": picks.compress,
    "Concat": moves.concat,
    "CumProd": axes.cumulative,
    "CumSum": axes.cumulative,
    "DFT": axes.fourier,
    "DeformConv": axes.samples(0, 2, 4),
    "DequantizeLinear": axes.quantize,
    "Det": axes.last_two,
    "Dropout": axes.dropout,
    "Einsum": labels.einsum,
    "Expand": moves.expand,
    "Flatten": views.flatten,
    "GRU": axes.recurrent,
    "Gather": picks.gather,
    "GatherElements": picks.elements(0, 1),
    "GatherND": picks.gather_nd,
    "Gemm": labels.gemm,
    "GridSample": axes.samples(0, 1),
    "Hardmax": axes.softmax,
    "LSTM": axes.recurrent,
    "LayerNormalization": axes.onward(-1),
    "LogSoftmax": axes.softmax,
    "LpNormalization": axes.along(-1),
    "MatMul": labels.matmul,
    "MatMulInteger": labels.matmul_integer,
    "MaxPool": axes.max_pool,
    "MeanVarianceNormalization": axes.mean_variance,
    "OneHot": picks.one_hot,
    "Pad": moves.pad,
    "QLinearMatMul": labels.qlinear_matmul,
    "QuantizeLinear": axes.quantize,
    "RMSNormalization": axes.onward(-1),
    "RNN": axes.recurrent,
    "Reshape": views.reshape,
    "Resize": moves.resize,
    "ReverseSequence": axes.reverse_sequence,
    "RotaryEmbedding": axes.rotary,
    "ScatterElements": picks.elements(0, 1, 2),
    "Slice": moves.slice_,
    "Softmax": axes.softmax,
    "Split": moves.split,
    "Squeeze": views.squeeze,
    "Tile": moves.tile,
    "TopK": axes.along(-1),
    "Transpose": views.transpose,
    "Trilu": axes.last_two,
    "Unsqueeze": views.unsqueeze,
    "Upsample": moves.resize,
}
CREATORS = ("ConstantOfShape", "Expand", "Tile")  # their size may follow the batch where their data does not

_VALUES = "what it picks depends on the values of all samples together"
REASONS: Mapping[str, str] = {
    "DynamicQuantizeLinear": "its scale is taken over all samples together",
    "MaxUnpool": "its indices count through the whole batch",
    "NonMaxSuppression": _VALUES,
    "NonZero": _VALUES,
    "Unique": _VALUES,
    "Scan": "its body is not followed",
    "ScatterND": "its indices name samples by their place in the batch",
}
RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
