"""Small networks with the shapes of real ones."""

from collections.abc import Callable

import numpy as np
import onnx

from tests.builders import Array, model

Build = Callable[[], onnx.ModelProto]


def _spread(*shape: int) -> Array:
    """Positive values around 1, for scales and variances."""
    return np.asarray(np.random.default_rng(3).random(shape) + 0.5, np.float32)


def _scaled(*shape: int, seed: int = 0) -> Array:
    """Normal values, small enough that layers in a row keep their size."""
    depth = int(np.prod(shape[1:]))
    return np.asarray(np.random.default_rng(seed).standard_normal(shape) / np.sqrt(depth), np.float32)


def conv_bn_relu() -> onnx.ModelProto:
    text = """agraph (float[2,16,15,17] x) => (float[2,24,15,17] y) {
        a = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, w)
        b = BatchNormalization (a, s, o, m, v)
        y = Relu (b) }"""
    return model(text, w=_scaled(24, 16, 3, 3), s=_spread(24), o=(24,), m=(24,), v=_spread(24))


def residual_block() -> onnx.ModelProto:
    text = """agraph (float[1,16,16,16] x) => (float[1,16,16,16] y) {
        a = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, w0, b0)
        b = Relu (a)
        c = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (b, w1, b1)
        d = Add (c, x)
        y = Relu (d) }"""
    return model(text, w0=_scaled(16, 16, 3, 3), b0=(16,), w1=_scaled(16, 16, 3, 3, seed=1), b1=(16,))


def inverted_residual() -> onnx.ModelProto:
    text = """agraph (float[1,8,14,14] x) => (float[1,8,14,14] y) {
        a = Conv <kernel_shape = [1,1]> (x, w0, b0)
        zero = Constant <value_float = 0.0> ()
        six = Constant <value_float = 6.0> ()
        b = Clip (a, zero, six)
        c = Conv <kernel_shape = [3,3], pads = [1,1,1,1], group = 48> (b, w1, b1)
        d = HardSwish (c)
        p = GlobalAveragePool (d)
        q = Sigmoid (p)
        e = Mul (d, q)
        f = Conv <kernel_shape = [1,1]> (e, w2, b2)
        y = Add (x, f) }"""
    w0, w1, w2 = _scaled(48, 8, 1, 1), _scaled(48, 1, 3, 3), _scaled(8, 48, 1, 1)
    return model(text, w0=w0, w1=w1, w2=w2, b0=(48,), b1=(48,), b2=(8,))


def inception() -> onnx.ModelProto:
    text = """agraph (float[1,16,12,12] x) => (float[1,40,12,12] y) {
        a = Conv <kernel_shape = [1,1]> (x, w0)
        ar = Relu (a)
        b = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, w1)
        br = Relu (b)
        p = MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> (x)
        c = Conv <kernel_shape = [1,1]> (p, w2)
        y = Concat <axis = 1> (ar, br, c) }"""
    return model(text, w0=_scaled(8, 16, 1, 1), w1=_scaled(24, 16, 3, 3), w2=_scaled(8, 16, 1, 1))


def odd_convolutions() -> onnx.ModelProto:
    text = """agraph (float[2,12,19,19] x) => (float[2,12,5,5] y) {
        a = Conv <kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1], group = 3> (x, w0, b0)
        b = Conv <kernel_shape = [3,3], dilations = [2,2], pads = [2,2,2,2]> (a, w1)
        c = Sigmoid (b)
        d = Conv <kernel_shape = [1,1], strides = [2,2]> (c, w2)
        y = Tanh (d) }"""
    return model(text, w0=_scaled(24, 4, 3, 3), b0=(24,), w1=_scaled(24, 24, 3, 3), w2=_scaled(12, 24, 1, 1))


def dilated_depthwise() -> onnx.ModelProto:
    text = """agraph (float[1,8,6,16] x) => (float[1,8,4,14] y) {
        a = Conv <kernel_shape = [3,3], dilations = [2,2], pads = [1,1,1,1], group = 8> (x, w0)
        b = Conv <kernel_shape = [1,1], group = 8> (a, w1)
        y = Concat <axis = 1> (b) }"""
    return model(text, w0=_scaled(8, 1, 3, 3), w1=_scaled(8, 1, 1, 1))


def gemm_chain() -> onnx.ModelProto:
    text = """agraph (float[24,96] x) => (float[24,32] y) {
        a = Gemm <transB = 1> (x, w0, b0)
        b = Relu (a)
        c = MatMul (b, w1)
        d = Add (c, b1)
        e = Mul (d, x)
        y = Gemm <alpha = 0.5> (e, w2, b2) }"""
    w0, w1, w2 = _scaled(160, 96), _scaled(160, 96), _scaled(96, 32)
    return model(text, w0=w0, w1=w1, w2=w2, b0=(160,), b1=(96,), b2=(32,))


def attention() -> onnx.ModelProto:
    text = """agraph (float[1,48,32] x) => (float[1,48,32] y) {
        n = LayerNormalization (x, g, h)
        q = MatMul (n, wq)
        k = MatMul (n, wk)
        v = MatMul (n, wv)
        heads = Constant <value_ints = [1,48,4,8]> ()
        flat = Constant <value_ints = [1,48,32]> ()
        qr = Reshape (q, heads)
        kr = Reshape (k, heads)
        vr = Reshape (v, heads)
        qt = Transpose <perm = [0,2,1,3]> (qr)
        kt = Transpose <perm = [0,2,3,1]> (kr)
        vt = Transpose <perm = [0,2,1,3]> (vr)
        s = MatMul (qt, kt)
        p = Softmax (s)
        o = MatMul (p, vt)
        ot = Transpose <perm = [0,2,1,3]> (o)
        of = Reshape (ot, flat)
        z = MatMul (of, wo)
        y = Add (x, z) }"""
    wq, wk, wv, wo = (_scaled(32, 32, seed=seed) for seed in range(4))
    return model(text, g=_spread(32), h=(32,), wq=wq, wk=wk, wv=wv, wo=wo)


def pooling() -> onnx.ModelProto:
    text = """agraph (float[1,6,24,20] x) => (float[1,10] y) {
        a = Conv <kernel_shape = [5,5], strides = [2,2], pads = [2,2,2,2]> (x, w0, b0)
        r = Relu (a)
        b = MaxPool <kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]> (r)
        c = AveragePool <kernel_shape = [2,2], strides = [2,2]> (b)
        d = GlobalAveragePool (c)
        e = Flatten (d)
        f = Gemm (e, w1, b1)
        y = Softmax (f) }"""
    return model(text, w0=_scaled(24, 6, 5, 5), b0=(24,), w1=_scaled(24, 10), b1=(10,))


def long_skip() -> onnx.ModelProto:
    text = """agraph (float[1,8,16,16] x) => (float[1,16,16,16] y, float[1,12,16,16] z) {
        a = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, w0)
        s = Relu (a)
        b = Conv <kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]> (s, w1)
        c = Relu (b)
        d = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (c, w2)
        e = Relu (d)
        f = DepthToSpace <blocksize = 2> (e)
        z = Concat <axis = 1> (f, x)
        g = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (z, w3)
        y = Add (g, s) }"""
    w0, w1, w2 = _scaled(16, 8, 3, 3), _scaled(24, 16, 3, 3), _scaled(16, 24, 3, 3)
    return model(text, w0=w0, w1=w1, w2=w2, w3=_scaled(16, 12, 3, 3))


def wide_layers() -> onnx.ModelProto:
    text = """agraph (float[1,96,8,8] x) => (float[1,96,8,8] y) {
        a = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, w0, b0)
        b = Relu (a)
        c = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (b, w1)
        y = Add (c, x) }"""
    return model(text, w0=_scaled(96, 96, 3, 3), b0=(96,), w1=_scaled(96, 96, 3, 3, seed=1))


MODELS: dict[str, Build] = {
    build.__name__: build
    for build in (
        conv_bn_relu,
        residual_block,
        inverted_residual,
        inception,
        odd_convolutions,
        dilated_depthwise,
        gemm_chain,
        attention,
        pooling,
        long_skip,
        wide_layers,
    )
}
