import numpy as np
import pytest

from roofwright.passes.cleanup import Identities
from tests.passes.harness import PLACES, Case, boolean, build, check, float32, int32, random, run_pass, same

X = "(float[2,3,4] x) => (float[2,3,4] y)"


def bypassed(name: str, node: str, **options: object) -> Case:
    """Only the neighbours of the node are left."""
    text = f"{X} {{ a = Neg(x)  b = {node}  y = Sin(b) }}"
    return Case(name, text, "Neg Sin", **options)  # type: ignore[arg-type] # the fields of Case, forwarded


def kept(name: str, node: str, **options: object) -> Case:
    return Case(name, f"{X} {{ a = Neg(x)  b = {node}  y = Sin(b) }}", None, **options)  # type: ignore[arg-type] # ditto


def i64(*values: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.asarray(values, np.int64)


ONE, ZERO = float32(1), float32(0)
CASES = [
    bypassed("identity", "Identity(a)"),
    bypassed("dropout at inference", "Dropout(a)"),
    bypassed("dropout, mode false", "Dropout(a, r, t)", arrays={"r": float32(0.5), "t": boolean(False)}),
    bypassed("dropout, opset 7", "Dropout(a)", opset=8),
    kept("dropout in training", "Dropout(a, r, t)", arrays={"r": ZERO, "t": boolean(True)}, declines="training mode"),
    bypassed("cast to its own type", "Cast<to = 1>(a)"),
    bypassed("transpose, identity", "Transpose<perm = [0, 1, 2]>(a)"),
    bypassed("reshape, static shape", "Reshape(a, s)", arrays={"s": i64(2, -1, 4)}),
    bypassed("reshape, 0 copies", "Reshape(a, s)", arrays={"s": i64(0, 0, 4)}),
    bypassed("expand to 1", "Expand(a, s)", arrays={"s": i64(1, 1)}),
    bypassed("expand to its own shape", "Expand(a, s)", arrays={"s": i64(3, 4)}),
    bypassed("pad by nothing", "Pad(a, p)", arrays={"p": i64(0, 0, 0, 0, 0, 0)}),
    bypassed("pad by nothing, opset 9", "Pad<pads = [0, 0, 0, 0, 0, 0]>(a)", opset=9),
    kept("pad that adds and takes", "Pad(a, p)", arrays={"p": i64(1, 0, 0, -1, 0, 0)}),
    bypassed("tile by ones", "Tile(a, r)", arrays={"r": i64(1, 1, 1)}),
    bypassed("slice of everything", "Slice(a, s, e)", arrays={"s": i64(0, 0), "e": i64(2, 9)}),
    bypassed("slice to INT_MAX", "Slice(a, s, e, x1)", arrays={"s": i64(0), "e": i64(2**31 - 1), "x1": i64(-1)}),
    kept("slice backwards", "Slice(a, s, e, x1, t)", arrays={"s": i64(3), "e": i64(-9), "x1": i64(2), "t": i64(-1)}),
    bypassed("concat of one", "Concat<axis = 1>(a)"),
    bypassed("sum of one", "Sum(a)"),
    bypassed("max of one", "Max(a)"),
    bypassed("min of one", "Min(a)"),
    bypassed("mean of one", "Mean(a)"),
    bypassed("split into one", "Split<axis = 1>(a)", opset=13),
    bypassed("times one", "Mul(a, c)", arrays={"c": ONE}),
    bypassed("one times", "Mul(c, a)", arrays={"c": np.ones((3, 1), np.float32)}),
    bypassed("divided by one", "Div(a, c)", arrays={"c": ONE}),
    kept("one divided by", "Div(c, a)", arrays={"c": ONE}),
    bypassed("to the first power", "Pow(a, c)", arrays={"c": ONE}),
    kept("one to the power", "Pow(c, a)", arrays={"c": ONE}),
    bypassed("minus zero", "Sub(a, c)", arrays={"c": ZERO}),
    kept("zero minus", "Sub(c, a)", arrays={"c": ZERO}),
    bypassed("plus negative zero", "Add(a, c)", arrays={"c": float32(-0.0)}),
    bypassed("plus zero", "Add(a, c)", arrays={"c": ZERO}, exact=False),
    kept("plus zero, exact only", "Add(a, c)", arrays={"c": ZERO}, context={"numerics": "exact"}, declines="numerics"),
    kept("not all ones", "Mul(a, c)", arrays={"c": float32([1, 1, 1, 2])}),
]
MORE = [
    Case("relu twice", f"{X} {{ a = Relu(x) b = Relu(a) y = Sin(b) }}", "Relu Sin"),
    Case("abs twice", f"{X} {{ a = Abs(x) b = Abs(a) y = Sin(b) }}", "Abs Sin"),
    Case("floor after ceil", f"{X} {{ a = Ceil(x) b = Floor(a) y = Sin(b) }}", "Ceil Sin"),
    Case("negative of a negative", f"{X} {{ a = Relu(x) b = Neg(a) c = Neg(b) y = Sin(c) }}", "Relu Sin"),
    Case(
        "not of not",
        "(bool[3] x) => (bool[3] y) { a = Not(x) b = Not(a) y = And(b, b) }",
        "And",
    ),
    Case(
        "the mask is used",
        "(float[4] x) => (float[4] y, bool[4] m) { a = Neg(x) y, m = Dropout(a) }",
        declines="its mask",
    ),
    Case("input to output: the Identity keeps both names", f"{X} {{ y = Identity(x) }}"),
    Case("the output takes its producer", f"{X} {{ a = Neg(x) y = Identity(a) }}", "Neg"),
    Case(
        "two outputs of one value",
        "(float[3] x) => (float[3] y, float[3] z) { y = Neg(x) z = Identity(y) }",
    ),
    Case(
        "a vector of ones, symbolic batch",
        "(float[N,4] x) => (float[N,4] y) { a = Mul(x, one) y = Exp(a) }",
        "Exp",
        arrays={"one": float32([1] * 4)},
    ),
    Case(
        "scale and bias of a normalization",
        "(float[2,4] x) => (float[2,4] y) { m = ReduceMean<axes = [1]>(x) d = Sub(x, m) p = Mul(d, d)"
        " v = ReduceMean<axes = [1]>(p) z = Add(v, e) r = Sqrt(z) n = Div(d, r) k = Mul(n, one) y = Add(k, nil) }",
        None,
        "normalization written out",
        arrays={"e": float32(1), "one": float32([1] * 4), "nil": float32([-0.0] * 4)},
    ),
    Case(
        "a vector of ones, symbolic size",
        "(float[2,N] x) => (float[2,2] y) { a = Mul(x, one) y = Exp(a) }",
        None,
        arrays={"one": float32([1] * 2)},
    ),
    Case(
        "one would broadcast up",
        "(float[3] x) => (float[2,3] y) { a = Neg(x) b = Mul(a, c) y = Sin(b) }",
        arrays={"c": np.ones((2, 1), np.float32)},
    ),
    Case(
        "a scalar of higher rank adds a dimension",
        "(float[3] x) => (float[1,3] y) { a = Neg(x) b = Mul(a, c) y = Sin(b) }",
        arrays={"c": np.ones((1, 1), np.float32)},
    ),
    Case(
        "lossless round trip of casts",
        "(float16[3] x) => (float16[3] y) { a = Neg(x) b = Cast<to = 1>(a) c = Cast<to = 10>(b) y = Neg(c) }",
        "Neg Neg",
    ),
    Case(
        "widening casts merge",
        "(float16[3] x) => (double[3] y) { a = Neg(x) b = Cast<to = 1>(a) c = Cast<to = 11>(b) y = Neg(c) }",
        "Cast Neg Neg",
    ),
    Case(
        "lossy round trip of casts stays",
        "(float[3] x) => (float[3] y) { a = Neg(x) b = Cast<to = 6>(a) c = Cast<to = 1>(b) y = Neg(c) }",
    ),
    Case(
        "an integer that floats cannot hold",
        "(int64[3] x) => (int64[3] y) { a = Neg(x) b = Cast<to = 1>(a) c = Cast<to = 7>(b) y = Neg(c) }",
    ),
    Case(
        "symbolic dimensions: -1 for one of them",
        '(float["n",3] x) => (float["n",3] y) { a = Neg(x) b = Reshape(a, s) y = Sin(b) }',
        "Neg Sin",
        arrays={"s": i64(-1, 3)},
    ),
    Case(
        "symbolic dimensions: a fixed number is not one of them",
        '(float["n",3] x) => (float[2,3] y) { a = Neg(x) b = Reshape(a, s) y = Sin(b) }',
        arrays={"s": i64(2, 3)},
    ),
    Case(
        "allowzero makes 0 a size",
        "(float[0,3] x) => (float[0,3] y) { a = Neg(x) b = Reshape<allowzero = 1>(a, s) y = Sin(b) }",
        "Neg Sin",
        arrays={"s": i64(0, 3)},
    ),
    Case(
        "or false",
        "(bool[3] x) => (bool[3] y) { a = And(x, x) b = Or(a, c) y = Not(b) }",
        "And Not",
        arrays={"c": boolean(False)},
    ),
    Case(
        "integers plus zero are exact",
        "(int32[3] x) => (int32[3] y) { a = Neg(x) b = Add(a, c) y = Abs(b) }",
        "Abs Neg",
        arrays={"c": int32(0)},
        context={"numerics": "exact"},
    ),
]


LSTM = '(float["s","b",3] x) => (float["s",1,"b",2] y) { %s y = LSTM<hidden_size = 2>(x, w, r, bias, , h, c) }'
WEIGHTS = {"w": random(1, 8, 3), "r": random(1, 8, 2), "bias": random(1, 16)}
STATE = "s = Shape(x) d = Gather(s, one) sizes = Concat<axis = 0>(lead, d, tail) z = ConstantOfShape%s(sizes)"
SIZES = {"one": i64(1), "lead": i64(1), "tail": i64(2)}
CUT = {"sizes": i64(2, 2, 2), "nought": i64(0), "first": i64(1), "second": i64(2)}
VECTOR = '(float["n"] x)'
CASES += [
    bypassed("5b. resize by ones", "Resize(a, , s)", arrays={"s": float32([1, 1, 1])}),
    bypassed("5b. resize to its own size", "Resize(a, , , s)", arrays={"s": i64(2, 3, 4)}),
    kept("5b. resize by nearly one", "Resize(a, , s)", arrays={"s": float32([1, 1, 1.01])}),
    kept(
        "5b. resize that crops",
        'Resize<coordinate_transformation_mode = "tf_crop_and_resize">(a, roi, s)',
        arrays={"s": float32([1, 1, 1]), "roi": float32([0, 0, 0, 1, 1, 0.5])},
    ),
    Case(
        "3. cast of a fill",
        f'{VECTOR} => (int64["n"] y) {{ s = Shape(x) z = ConstantOfShape<value = float[1] {{1.0}}>(s) '
        "i = Cast<to = 7>(z) y = Neg(i) }",
        "ConstantOfShape Neg Shape",
    ),
    Case(
        "3. cast of a fill without value to bool",
        f'{VECTOR} => (bool["n"] y) {{ s = Shape(x) z = ConstantOfShape(s) i = Cast<to = 9>(z) y = Not(i) }}',
        "ConstantOfShape Not Shape",
    ),
    Case(
        "3. cast of a fill of another value",
        f'{VECTOR} => (int64["n"] y) {{ s = Shape(x) z = ConstantOfShape<value = float[1] {{2.5}}>(s) '
        "i = Cast<to = 7>(z) y = Neg(i) }",
    ),
    Case(
        "3. cast of a fill to text",
        f'{VECTOR} => (float["n"] y) {{ s = Shape(x) z = ConstantOfShape(s) i = Cast<to = 8>(z) y = Cast<to = 1>(i) }}',
    ),
    Case(
        "3. cast of a fill of -0",
        f'{VECTOR} => (double["n"] y) {{ s = Shape(x) z = ConstantOfShape<value = float[1] {{-0.0}}>(s) '
        "i = Cast<to = 11>(z) y = Neg(i) }",
        "ConstantOfShape Neg Shape",
    ),
    Case(
        "3. cast of a fill that is read elsewhere",
        f'{VECTOR} => (int64["n"] y, float["n"] w) {{ s = Shape(x) z = ConstantOfShape(s) '
        "i = Cast<to = 7>(z) y = Neg(i) w = Neg(z) }",
    ),
    Case(
        "12. zero states",
        LSTM % (STATE % "" + " h = Expand(z, lead) c = Transpose<perm = [0, 1, 2]>(h)"),
        "LSTM",
        arrays=WEIGHTS | SIZES,
    ),
    Case(
        "12. slices and parts of zeros",
        LSTM % "z = ConstantOfShape(sizes) h = Slice(z, nought, first) e, c = Split(z)",
        "LSTM",
        arrays=WEIGHTS | CUT,
    ),
    Case(
        "12. zeros put together",
        LSTM % "z = ConstantOfShape(half) h = Concat<axis = 2>(z, z) c = Slice(h, nought, first)",
        "LSTM",
        arrays=WEIGHTS | CUT | {"half": i64(1, 2, 1)},
    ),
    Case(
        "12. a bias of zeros",
        '(float["s","b",3] x) => (float["s",1,"b",2] y) { y = GRU<hidden_size = 2>(x, w, r, bias) }',
        "GRU",
        arrays={"w": random(1, 6, 3), "r": random(1, 6, 2), "bias": float32(np.zeros((1, 12)))},
    ),
    Case(
        "12. a bias of -0",
        '(float["s","b",3] x) => (float["s",1,"b",2] y) { y = GRU<hidden_size = 2>(x, w, r, bias) }',
        arrays={"w": random(1, 6, 3), "r": random(1, 6, 2), "bias": float32(-np.zeros((1, 12)))},
    ),
    Case(
        "12. states of ones, and of zeros that became something else",
        LSTM % (STATE.replace("z =", "h =") % "<value = float[1] {1.0}>" + " z = ConstantOfShape(sizes) c = Cos(z)"),
        arrays=WEIGHTS | SIZES,
    ),
    Case(
        "12. one state of two",
        LSTM % (STATE % "" + " h = Expand(z, lead) c = Cos(z)"),
        "Concat ConstantOfShape Cos Gather LSTM Shape",
        arrays=WEIGHTS | SIZES,
    ),
    bypassed("13. where true", "Where(t, a, z)", arrays={"t": boolean(True), "z": ZERO}),
    bypassed("13. where false", "Where(t, z, a)", arrays={"t": boolean(np.zeros((2, 1, 1))), "z": random(3, 4)}),
    kept("13. where neither", "Where(t, a, z)", arrays={"t": boolean([True, False, True, True]), "z": ZERO}),
    Case(
        "13. where the condition broadcasts",
        "(float[3] x) => (float[2,3] y) { a = Neg(x) b = Where(t, a, z) y = Sin(b) }",
        arrays={"t": boolean([[True], [True]]), "z": ZERO},
    ),
    Case(
        "13. where the other branch may broadcast",
        f'{VECTOR} => (float["m"] y) {{ a = Neg(x) b = Where(t, a, z) y = Sin(b) }}',
        arrays={"t": boolean(True), "z": float32([1, 2])},
    ),
    Case(
        "13. where sizes are unknown but the others are single",
        f'{VECTOR} => (float["n"] y) {{ a = Neg(x) b = Where(t, a, z) y = Sin(b) }}',
        "Neg Sin",
        arrays={"t": boolean(True), "z": float32([1])},
    ),
    Case(
        "14. where not",
        "(float[3] x, float[3] z) => (float[3] y) { c = Less(x, z) n = Not(c) y = Where(n, x, z) }",
        "Less Where",
    ),
    Case(
        "15. integers times 0",
        "(int64[2,3] x) => (int64[2,3] y) { a = Mul(x, z) y = Neg(a) }",
        "Neg",
        arrays={"z": i64(0)},
    ),
    Case(
        "15. and false, or true",
        "(bool[2] x) => (bool[2] y) { a = And(x, f) b = Or(t, x) c = Xor(a, b) y = Xor(c, x) }",
        "Xor Xor",
        arrays={"f": boolean(False), "t": boolean([True])},
    ),
    kept("15. floats times 0", "Mul(a, z)", arrays={"z": ZERO}),
    Case(
        "15. integers of unknown sizes",
        '(int64["n"] x) => (int64["n"] y) { a = Mul(x, z) y = Neg(a) }',
        arrays={"z": i64(0)},
    ),
    Case("15. an output", "(int64[2] x) => (int64[2] y) { y = Mul(x, z) }", arrays={"z": i64(0)}),
    Case(
        "15. some zeros",
        "(int64[2] x) => (int64[2] y) { a = Mul(x, z) y = Neg(a) }",
        arrays={"z": i64(0, 1)},
    ),
]


CASES += [
    Case(
        "2. the mask is read",
        "(float[4] x) => (float[4] y, bool[4] n) { a = Neg(x) b, m = Dropout(a) y = Sin(b) n = Not(m) }",
        declines="its mask",
    ),
    Case(
        "4. a transpose that moves",
        "(float[2,3] x) => (float[3,2] y) { a = Neg(x) b = Transpose<perm = [1, 0]>(a) y = Sin(b) }",
    ),
    Case(
        "4. the default transpose of an unknown rank",
        "(float[2,3] x) => (float[3,2] y) { a = Neg(x) b = Transpose(a) y = Sin(b) }",
        forget=("a",),
    ),
    Case("4. a flatten that changes the shape", "(float[2,3,4] x) => (float[2,12] y) { a = Neg(x) y = Flatten(a) }"),
    Case(
        "4. a flatten of an unknown shape to an unknown one",
        "(float[2,3,4] x) => (float[2,12] y) { a = Neg(x) b = Flatten(a) y = Sin(b) }",
        forget=("a", "b"),
    ),
    Case(
        "4. a reshape of an unknown shape",
        "(float[2,3,4] x) => (float[2,12] y) { a = Neg(x) b = Reshape(a, s) y = Sin(b) }",
        arrays={"s": i64(2, 12)},
        forget=("a",),
    ),
    Case(
        "4. a reshape to another rank",
        '(float["n",3,4] x) => (float["n",12] y) { a = Neg(x) b = Reshape(a, s) y = Sin(b) }',
        arrays={"s": i64(-1, 12)},
    ),
    Case(
        "4. a reshape of which the beginning is the same",
        '(float["n",12,1] x) => (float["n",12] y) { a = Neg(x) b = Reshape(a, s) y = Sin(b) }',
        arrays={"s": i64(-1, 12)},
    ),
    Case(
        "4. a reshape to a target that is not constant",
        "(float[2,6] x, float[3,4] z) => (float[3,4] y) { a = Neg(x) s = Shape(z) b = Reshape(a, s) y = Sin(b) }",
    ),
    Case(
        "4. an expand of an unknown shape",
        "(float[3] x) => (float[2,3] y) { a = Neg(x) b = Expand(a, s) y = Sin(b) }",
        arrays={"s": i64(2, 3)},
        forget=("a",),
    ),
    Case(
        "4. an expand to a higher rank",
        '(float["n"] x) => (float[1,"n"] y) { a = Neg(x) b = Expand(a, s) y = Sin(b) }',
        arrays={"s": i64(1, 1)},
    ),
    Case(
        "4. an expand to a target that is not constant",
        "(float[3] x, float[2,3] z) => (float[2,3] y) { a = Neg(x) s = Shape(z) b = Expand(a, s) y = Sin(b) }",
    ),
    Case(
        "5a. pads that are not constant",
        "(float[2] x, float[1,3] z) => (float[6] y) { a = Neg(x) p = Shape(z) b = Pad(a, p) y = Sin(b) }",
    ),
    Case(
        "5a. a tile by two",
        "(float[2] x) => (float[4] y) { a = Neg(x) b = Tile(a, r) y = Sin(b) }",
        arrays={"r": i64(2)},
    ),
    Case(
        "5a. repeats that are not constant",
        "(float[2] x, float[3] z) => (float[6] y) { a = Neg(x) r = Shape(z) b = Tile(a, r) y = Sin(b) }",
    ),
    Case(
        "5b. a resize to another size",
        "(float[2,3] x) => (float[2,6] y) { a = Neg(x) b = Resize(a, , , s) y = Sin(b) }",
        arrays={"s": i64(2, 6)},
    ),
    Case(
        "5b. scales that are not constant",
        "(float[2,4] x, float[2] v) => (float[2,4] y) <float[2,4] b> "
        "{ a = Neg(x) z = Mul(v, nil) s = Add(z, k) b = Resize(a, , s) y = Sin(b) }",
        arrays={"nil": ZERO, "k": float32([1, 1.2])},
        context={"numerics": "exact"},
    ),
    Case(
        "6. every second element",
        "(float[4] x) => (float[2] y) { a = Neg(x) b = Slice(a, s, e, k, t) y = Sin(b) }",
        arrays={"s": i64(0), "e": i64(4), "k": i64(0), "t": i64(2)},
    ),
    Case(
        "6. not to the end",
        "(float[4] x) => (float[3] y) { a = Neg(x) b = Slice(a, s, e) y = Sin(b) }",
        arrays={"s": i64(0), "e": i64(3)},
    ),
    Case(
        "6. not from the beginning",
        "(float[4] x) => (float[3] y) { a = Neg(x) b = Slice(a, s, e) y = Sin(b) }",
        arrays={"s": i64(1), "e": i64(4)},
    ),
    Case(
        "6. bounds that are not constant",
        "(float[4] x, float[3] z) => (float[3] y) { a = Neg(x) e = Shape(z) b = Slice(a, s, e) y = Sin(b) }",
        arrays={"s": i64(0)},
    ),
    Case("10. between input and output", "(float[3] x) => (float[3] y) { y = Mul(x, c) }", arrays={"c": ONE}),
    Case(
        "12. a state that a caller gives",
        LSTM.replace(" x)", ' x, float[1,"b",2] h)') % "c = Cos(h)",
        arrays=WEIGHTS,
    ),
    Case(
        "13. where nothing is chosen",
        "(float[0] x) => (float[0] y) { a = Neg(x) b = Where(t, a, z) y = Sin(b) }",
        arrays={"t": boolean([]), "z": ZERO},
    ),
    Case(
        "13. where the other branch has an unknown shape",
        '(float["n"] x, float["n"] w) => (float["n"] y) { a = Neg(x) z = Abs(w) b = Where(t, a, z) y = Sin(b) }',
        arrays={"t": boolean(True)},
        forget=("z", "b"),
    ),
    Case(
        "13. where the other branch adds a dimension",
        "(float[3] x) => (float[1,3] y) { a = Neg(x) b = Where(t, a, z) y = Sin(b) }",
        arrays={"t": boolean(True), "z": float32([[0]])},
    ),
    Case(
        "14. where something else",
        "(bool[3] c, float[3] z) => (float[3] y) { y = Where(c, z, nil) }",
        arrays={"nil": ZERO},
    ),
    Case(
        "15. more zeros than a constant should have",
        "(int64[300,300] x) => (int64[300,300] y) { a = Mul(x, z) y = Neg(a) }",
        arrays={"z": i64(0)},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES + MORE, ids=str)
def test_case(case: Case, place: str) -> None:
    check(Identities(), case, place)


def test_a_default_that_a_caller_may_override_is_no_constant() -> None:
    text = "(float[3] x, float c) => (float[3] y) { a = Neg(x)  b = Mul(a, c)  y = Sin(b) }"
    case = Case("overridable", text, arrays={"c": ONE})
    _, _, result = run_pass(Identities(), case.model())
    assert not result.changed


def test_the_survivor_remembers_what_it_stands_for() -> None:
    case = Case("names", "(float[3] x) => (float[3] y) { a = Neg(x)  y = Identity(a) }")
    model = case.model()
    model.graph.node[0].name, model.graph.node[1].name = "first", "second"
    _, after, _ = run_pass(Identities(), model)
    assert [(p.key, p.value) for p in after.graph.node[0].metadata_props] == [("roofwright.source", "first + second")]


def test_values_are_not_read_for_large_constants() -> None:
    case = Case("large", "(float[70000] x) => (float[70000] y) { y = Mul(x, c) }", arrays={"c": random(70000)})
    assert not run_pass(Identities(), case.model())[2].changed


def test_a_constant_that_is_declared_with_names_for_sizes() -> None:
    made = "c = Constant<value = float[2] {1.0, 1.0}>() n = Constant<value = float[2] {0.0, 0.0}>()"
    text = f'(float[3,2] x) => (float["n"] c, float["m"] n, float[3,2] y) {{ {made} a = Mul(x, c) y = Max(a, n) }}'
    before, after, _ = run_pass(Identities(), build(text))
    same(before, after)


@pytest.mark.parametrize("node", ["Dropout(a)", "Mul<broadcast = 1>(a, c)"])
def test_before_opset_7_it_may_mean_something_else(node: str) -> None:
    model = build(f"{X} {{ a = Neg(x) b = {node} y = Exp(b) }}", {"c": ONE} if "c)" in node else {}, opset=6)
    assert not run_pass(Identities(), model)[2].changed
