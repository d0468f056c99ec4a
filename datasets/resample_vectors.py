"""What `datasets.resample_kernel` leaves to whole registers: weighted sums of lines, and turning blocks of pixels.

A weight has 23 bits. Multiplying 32-bit numbers costs two instructions for every sum on x86, and there is one for two
products of 16-bit numbers and their sum (pmaddwd). So weights are cut into an upper part and `LOW` bits below, a register
takes the bytes of two lines in turns, and sums of both parts are put together exactly. LLVM does not find that in a loop;
here it is told. Registers are as wide as the compiler is told that this processor's are. On other processors the same
is written out in instructions that LLVM has everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

PRECISION = 22
"""bits behind the point of a weight"""
LOW = PRECISION // 2
"""bits of the lower part of a weight"""

_I8, _I16, _I32 = ir.IntType(8), ir.IntType(16), ir.IntType(32)
_NAMES = {
    16: ("sse2.pmadd.wd", "sse2.packssdw.128", "sse2.packuswb.128"),
    32: ("avx2.pmadd.wd", "avx2.packssdw", "avx2.packuswb"),
    64: ("avx512.pmaddw.d.512", "avx512.packssdw.512", "avx512.packuswb.512"),
}


def _width() -> tuple[int, bool]:
    """(bytes of the widest register of this processor, whether it is an x86)."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    if not triple.startswith("x86_64"):
        return 16, False
    has = features.split(",")
    return (64 if "+avx512bw" in has else 32 if "+avx2" in has else 16), True


WIDTH, _X86 = _width()


def _vector(kind: Any, count: int) -> Any:
    return ir.VectorType(kind, count)


def _all(kind: Any, count: int, value: int) -> Any:
    return ir.Constant(_vector(kind, count), [value] * count)


def _shuffled(build: Any, x: Any, y: Any, places: Sequence[int]) -> Any:
    """The elements at these places of x and then y; y is None if they are all of x."""
    y = ir.Constant(x.type, ir.Undefined) if y is None else y
    return build.shuffle_vector(x, y, ir.Constant(_vector(_I32, len(places)), list(places)))


def _load(build: Any, address: Any, count: int) -> Any:
    return build.load(build.inttoptr(address, _vector(_I8, count).as_pointer()), align=1)


def _store(build: Any, value: Any, address: Any) -> None:
    build.store(value, build.inttoptr(address, value.type.as_pointer()), align=1)


def _spread(build: Any, value: Any, count: int) -> Any:
    """`count` times the 32 bits of a weight, or pair of them, as pairs of 16 bits."""
    one = build.insert_element(ir.Constant(_vector(_I32, count), ir.Undefined), value, ir.Constant(_I32, 0))
    return build.bitcast(_shuffled(build, one, None, [0] * count), _vector(_I16, 2 * count))


def _mixed(build: Any, x: Any, y: Any, upper: bool) -> Any:
    """The bytes of the lower or upper half of each 16 of x and y in turns (punpcklbw, punpckhbw)."""
    count = x.type.count
    starts = (lane + 8 * upper for lane in range(0, count, 16))
    return _shuffled(
        build, x, y, [place for start in starts for i in range(start, start + 8) for place in (i, count + i)]
    )


def _called(build: Any, which: int, kind: Any, x: Any, y: Any) -> Any:
    name = f"llvm.x86.{_NAMES[x.type.count * x.type.element.width // 8][which]}"
    function = ir.FunctionType(kind, [x.type, y.type])
    return build.call(cgutils.get_or_insert_function(build.module, function, name), [x, y])


def _sums(build: Any, x: Any, y: Any, x86: bool) -> Any:
    """Of 16-bit numbers x and y: the products, two neighbours added, 32 bits."""
    count = x.type.count
    if x86:
        return _called(build, 0, _vector(_I32, count // 2), x, y)
    wide = _vector(_I32, count)
    products = build.mul(build.sext(x, wide), build.sext(y, wide))
    return build.add(*(_shuffled(build, products, None, range(odd, count, 2)) for odd in (0, 1)))


def _narrowed(build: Any, x: Any, y: Any, low: int, high: int, x86: bool) -> Any:
    """x and y side by side (in each 16 bytes), clipped to [low, high] and of half the bits."""
    kind = _vector(ir.IntType(x.type.element.width // 2), 2 * x.type.count)
    if x86:
        return _called(build, 1 if x.type.element.width == 32 else 2, kind, x, y)
    both = _shuffled(build, x, y, range(2 * x.type.count))
    for limit, comparison in ((low, ">"), (high, "<")):
        bound = _all(x.type.element, 2 * x.type.count, limit)
        both = build.select(build.icmp_signed(comparison, both, bound), both, bound)
    return build.trunc(both, kind)


def weighing(pairs: int, width: int = WIDTH, x86: bool = _X86) -> Any:
    """An intrinsic (to, lines, high, low) that makes `width` bytes of a weighted sum of 2 * `pairs` lines.

    `to` and `lines` are addresses; `high` and `low` hold two weights' upper 12 and lower `LOW` bits in each 32 bits, the
    first line's below. The sum is rounded to whole numbers and clipped to 0...255. `width` is 16 where not `x86`.
    """
    parts = types.UniTuple(types.int32, pairs)
    lines_type = types.UniTuple(types.int64, 2 * pairs)

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        to, lines, high, low = args
        count, nothing = width // 4, _all(_I8, width, 0)
        inputs: list[list[Any]] = [[], [], [], []]
        for pair in range(pairs):
            x, y = (_load(build, build.extract_value(lines, 2 * pair + i), width) for i in (0, 1))
            for quarter in range(4):
                bytes_ = _mixed(build, _mixed(build, x, y, quarter >= 2), nothing, quarter % 2 == 1)
                inputs[quarter].append(build.bitcast(bytes_, _vector(_I16, width // 2)))
        upper, lower = ([_spread(build, build.extract_value(w, p), count) for p in range(pairs)] for w in (high, low))
        sums = []
        for values in inputs:
            total = _all(_I32, count, 1 << (PRECISION - LOW - 1))
            for value, weight in zip(values, upper, strict=True):
                total = build.add(total, _sums(build, value, weight, x86))
            total = build.shl(total, _all(_I32, count, LOW))
            for value, weight in zip(values, lower, strict=True):
                total = build.add(total, _sums(build, value, weight, x86))
            sums.append(build.ashr(total, _all(_I32, count, PRECISION)))
        first, second = (_narrowed(build, sums[i], sums[i + 1], -(2**15), 2**15 - 1, x86) for i in (0, 2))
        _store(build, _narrowed(build, first, second, 0, 255, x86), to)
        return context.get_dummy_value()

    @intrinsic
    def weigh(typing: Any, to: Any, lines: Any, high: Any, low: Any) -> Any:
        return types.void(types.int64, lines_type, parts, parts), generate

    return weigh


def turning(read: int) -> Any:
    """An intrinsic (source, line, to, to_line): 4 x 4 pixels of 3 bytes from lines `line` bytes apart, turned, to others.

    Of a line it reads and writes 12 bytes, or 16, which is sooner: the last 4 are read for nothing and overwritten.
    """

    def generate(context: Any, build: Any, signature: Any, args: Any) -> Any:
        source, line, to, to_line = args
        four = []
        for _ in range(4):
            pixels = _shuffled(
                build,
                _load(build, source, read),
                None,
                [place for p in range(4) for place in (3 * p, 3 * p + 1, 3 * p + 2, 0)],
            )
            four.append(build.bitcast(pixels, _vector(_I32, 4)))
            source = build.add(source, line)
        for upper in (0, 2):
            x, y = (_shuffled(build, a, b, [upper, 4 + upper, 1 + upper, 5 + upper]) for a, b in (four[:2], four[2:]))
            for places in ([0, 1, 4, 5], [2, 3, 6, 7]):
                turned = build.bitcast(_shuffled(build, x, y, places), _vector(_I8, 16))
                kept = [4 * p + channel for p in range(4) for channel in range(3)] + [0] * (read - 12)
                _store(build, _shuffled(build, turned, None, kept), to)
                to = build.add(to, to_line)
        return context.get_dummy_value()

    @intrinsic
    def turn(typing: Any, source: Any, line: Any, to: Any, to_line: Any) -> Any:
        return types.void(types.int64, types.int64, types.int64, types.int64), generate

    return turn
