"""The register tile: the innermost loop of a matrix product, written as LLVM instructions.

A product c = a b takes 2 M N K operations on (M + N) K + M N numbers. A core does 32 or more operations in a cycle if
both factors are in registers, but it loads only a few numbers from the first-level cache in that time. So each loaded
number must be used many times. A tile of c, `rows` high and `vectors` vectors wide, stays in registers while k runs:

                    b[k]  ─ ─ ─ ─      load `vectors` vectors, once a step
        a[0, k]  →  c[0]  ▒ ▒ ▒ ▒
        a[1, k]  →  c[1]  ▒ ▒ ▒ ▒      broadcast each a[i, k] to a vector, and multiply it by all of b[k]:
        a[2, k]  →  c[2]  ▒ ▒ ▒ ▒      c[i] += a[i, k] b[k], one fused multiply-add a vector

A step loads rows + vectors · lanes numbers and makes rows · vectors · lanes products: with 12 rows and 2 vectors of 16
floats, 44 numbers for 384 products. The number of registers limits the tile. AVX-512 has 32: 12 · 2 sums, 2 vectors of
b and 1 of a take 27. The sums also hide latency. A fused multiply-add takes 4 cycles, and two can start in each, so a
core needs at least 8 independent sums.

Numba's own loops cannot keep 24 vectors in registers. LLVM's instructions can: `emit_tile` writes them for one height,
and numba's `@intrinsic` puts them into a compiled function. The host's features decide the vector width and the number
of registers (`shape_for`). At the right edge of c, masks keep the tile from loading or storing lanes outside of c. A
mask costs an instruction a vector, and a masked store takes several cycles on some processors: so only the stores of
the last columns have one, and the loop over k has none. Hence b must be readable to the tile's full width.

`packing.py` brings a and b into the order in which a tile reads them, so that both addresses grow by a constant. In the
highest tile four steps are written out between two branches. While the loop runs, the lines of c come into the cache
(`prefetch`), so that the sums need not wait for them at its end.

For the smallest of tiles, one row of one vector of two floats, the loop over the last few k is:

    loop.head:
      %a.at = phi  i64 [%a.at, %unrolled.after], [%a.next, %loop]
      %b.at = phi  i64 [%b.at, %unrolled.after], [%b.next, %loop]
      %left = phi  i64 [%left, %unrolled.after], [%left.next, %loop]
      %total = phi  <2 x float> [%total, %unrolled.after], [%sum, %loop]
      %more = icmp sge i64 %left, 1
      br i1 %more, label %loop, label %loop.after
    loop:
      %pointer = inttoptr i64 %b.at to <2 x float>*
      %b.k = load <2 x float>, <2 x float>* %pointer, align 4
      %pointer = inttoptr i64 %a.at to float*
      %a.k = load float, float* %pointer, align 4
      %a.vector.first = insertelement <2 x float> <float undef, float undef>, float %a.k, i32 0
      %a.vector = shufflevector <2 x float> %a.vector.first, <2 x float> <float undef, float undef>,
          <2 x i32> <i32 0, i32 0>
      %product = fmul contract <2 x float> %a.vector, %b.k
      %sum = fadd contract <2 x float> %product, %total
      %a.next = add i64 %a.at, 4
      %b.next = add i64 %b.at, %b.row
      %left.next = sub i64 %left, 1
      br label %loop.head

It has two loads, a broadcast, a product and a sum (LLVM numbers names that occur again; the numbers are left out here).
The other instructions advance the two addresses and count the steps. A tile of 12 rows has a, product and sum twelve
times, and everything else once.

Source: Goto and van de Geijn, 2008, "Anatomy of high-performance matrix multiplication", ACM Transactions on
Mathematical Software 34(3); Van Zee and van de Geijn, 2015, "BLIS", ACM TOMS 41(3), for the tile in registers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from npae.kernels.arrays import LINE
from npae.kernels.numba_backend.compile import inlined

I32, I64 = ir.IntType(32), ir.IntType(64)


class Shape(NamedTuple):
    """Tiles of `vectors` vectors of `bytes` bytes. `heights` are their possible rows, the highest first."""

    bytes: int
    vectors: int
    heights: tuple[int, ...]


def shape_for(features: str) -> Shape:
    """The tile for a host with these features, as LLVM names them: "+avx2,+fma,-avx512f,...".

    >>> shape_for("+avx2,+fma,-avx512f")
    Shape(bytes=32, vectors=2, heights=(6, 4, 3, 2, 1))
    """
    has = {name[1:] for name in features.split(",") if name.startswith("+")}
    if "avx512f" in has:  # 32 registers of 64 bytes
        return Shape(64, 2, (12, 8, 6, 4, 2, 1))
    if "avx2" in has or "avx" in has:  # 16 registers of 32 bytes
        return Shape(32, 2, (6, 4, 3, 2, 1))
    if "neon" in has:  # 32 registers of 16 bytes
        return Shape(16, 4, (6, 4, 3, 2, 1))
    return Shape(16, 2, (6, 4, 3, 2, 1))


def host() -> tuple[str, str]:
    """The name and the features of the processor that numba compiles for."""
    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    return name, features


SHAPE = shape_for(host()[1])
HEIGHTS = SHAPE.heights


class Emitter:
    """Writes the instructions of a tile of one dtype. With `columns`, it masks the lanes beyond that column."""

    def __init__(self, builder: ir.IRBuilder, real: ir.Type, shape: Shape, columns: Any = None) -> None:
        self.builder = builder
        self.real = real
        self.size = 4 if isinstance(real, ir.FloatType) else 8
        self.lanes = shape.bytes // self.size
        self.vectors = range(shape.vectors)
        self.vector = ir.VectorType(real, self.lanes)
        self.masked = columns is not None
        self.masks = [self._mask(columns, v * self.lanes) for v in self.vectors] if self.masked else []

    def broadcast(self, scalar: Any, name: str = "") -> Any:
        """The vector whose lanes all are `scalar`."""
        undefined = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, I32(0), name=f"{name}.first" if name else "")
        order = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, order, name=name)

    def _mask(self, columns: Any, first: int) -> Any:
        """Which of the lanes first, first + 1, ... are below `columns`."""
        lanes = ir.Constant(ir.VectorType(I64, self.lanes), list(range(first, first + self.lanes)))
        return self.builder.icmp_signed("<", lanes, self.broadcast(columns), name="mask")

    def step(self, address: Any, stride: Any, times: int, name: str = "") -> Any:
        """address + times · stride."""
        return address if times == 0 else self.builder.add(address, self.builder.mul(stride, I64(times)), name=name)

    def pointer(self, address: Any, kind: ir.Type) -> Any:
        return self.builder.inttoptr(address, kind.as_pointer(), name="pointer")

    def load_scalar(self, address: Any) -> Any:
        return self.builder.load(self.pointer(address, self.real), align=self.size, name="a.k")

    def load(self, address: Any, name: str) -> list[Any]:
        """The vectors of the row of the tile at `address`; masked lanes are 0."""
        if not self.masked:
            pointers = [self._vector_pointer(address, v) for v in self.vectors]
            return [self.builder.load(pointer, align=self.size, name=name) for pointer in pointers]
        zero = ir.Constant(self.vector, None)
        kind = ir.FunctionType(self.vector, [self.vector.as_pointer(), I32, self.masks[0].type, zero.type])
        load = self._intrinsic("llvm.masked.load", kind)
        return [
            self.builder.call(load, [self._vector_pointer(address, v), I32(self.size), mask, zero], name=name)
            for v, mask in enumerate(self.masks)
        ]

    def store(self, row: list[Any], address: Any) -> None:
        """Write a row of the tile, except its masked lanes."""
        if not self.masked:
            for v, value in enumerate(row):
                self.builder.store(value, self._vector_pointer(address, v), align=self.size)
            return
        kind = ir.FunctionType(ir.VoidType(), [self.vector, self.vector.as_pointer(), I32, self.masks[0].type])
        store = self._intrinsic("llvm.masked.store", kind)
        for v, (value, mask) in enumerate(zip(row, self.masks, strict=True)):
            self.builder.call(store, [value, self._vector_pointer(address, v), I32(self.size), mask])

    def prefetch(self, address: Any, write: bool = False) -> None:
        """Have the cache lines of the row of the tile at `address` loaded."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        module = self.builder.module
        prefetch = module.globals.get("llvm.prefetch.p0") or ir.Function(module, kind, "llvm.prefetch.p0")
        for offset in range(0, len(self.vectors) * self.vector_bytes, LINE):
            line = self.builder.inttoptr(self.builder.add(address, I64(offset)), byte)
            self.builder.call(prefetch, [line, I32(int(write)), I32(3), I32(1)])

    def multiply_add(self, x: Any, y: Any, total: Any) -> Any:
        """x y + total: one fused instruction if the host has it."""
        product = self.builder.fmul(x, y, flags=["contract"], name="product")
        return self.builder.fadd(product, total, flags=["contract"], name="sum")

    @property
    def vector_bytes(self) -> int:
        return self.lanes * self.size

    def _vector_pointer(self, address: Any, v: int) -> Any:
        return self.pointer(self.step(address, I64(self.vector_bytes), v), self.vector)

    def _intrinsic(self, name: str, kind: ir.FunctionType) -> Any:
        module = self.builder.module
        name = f"{name}.v{self.lanes}f{self.size * 8}.p0"
        return module.globals.get(name) or ir.Function(module, kind, name)


KC = 320  # steps of k at a time, at most: a multiple of the lanes of every vector, since squares are transposed
UNROLLED = 4  # steps of k between two branches
ARGUMENTS = ("a", "a.row", "b", "b.row", "start", "start.row", "c", "c.row", "columns", "depth")


@inlined
def parts_of_k(K: int) -> int:
    """The steps of k in each part into which K is cut: equal parts of at most KC, in multiples of 16."""
    parts = (K + KC - 1) // KC
    return ((K + parts - 1) // parts + 15) // 16 * 16


def new_function(module: ir.Module, name: str, arguments: list[ir.Type]) -> ir.Function:
    """A function without result in the module: internal, and called rather than copied, since it is large."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return function


def emit_tile(
    module: ir.Module, real: ir.Type, shape: Shape, rows: int, packed: bool, b_to_full_width: bool = True
) -> Any:
    """Add to `module` the function that computes one tile of `rows` rows, and return it:

        c[i, j] = start[i, j] + sum_k a[i, k] b[k, j]        i < rows, j < columns, k < depth

    The sum begins at zero and is then added to `start`. If `start` is the sum over earlier k, this keeps the digits of
    the new sum, however many k came before.

    The arguments are addresses, and strides in bytes. The elements of a row of b, start and c are contiguous. Rows of b
    are read to the tile's full width, also beyond `columns`, unless `b_to_full_width` is False. If a is packed, its
    columns follow each other, and `a.row` is not used. Else its rows are contiguous, `a.row` apart.
    """
    name = f"npae_tile_{real}_{rows}_{shape.vectors}_{packed}_{b_to_full_width}"
    if name in module.globals:
        return module.globals[name]
    function = new_function(module, name, [I64] * len(ARGUMENTS))
    for argument, label in zip(function.args, ARGUMENTS, strict=True):
        argument.name = label
    a, a_row, b, b_row, start, start_row, c, c_row, columns, depth = function.args
    builder = ir.IRBuilder(function.append_basic_block("before"))
    emit = Emitter(builder, real, shape)
    size = I64(emit.size)
    a_row, a_column = (size, I64(rows * emit.size)) if packed else (a_row, size)
    for i in range(rows):
        emit.prefetch(emit.step(c, c_row, i), write=True)

    b_loads = emit if b_to_full_width else Emitter(builder, real, shape, columns)
    carried = [a, b, depth, *[ir.Constant(emit.vector, None)] * (rows * shape.vectors)]
    unrolled = [(UNROLLED, "unrolled")] if packed and rows == shape.heights[0] else []
    for steps, label in (*unrolled, (1, "loop")):
        carried = _emit_loop(b_loads, rows, steps, label, carried, a_row, a_column, b_row)
    totals = carried[3:]

    with builder.if_else(builder.icmp_signed("<", columns, I64(shape.vectors * emit.lanes))) as (partial, full):
        for branch, masked in ((partial, True), (full, False)):
            with branch:
                edge = Emitter(builder, real, shape, columns) if masked else emit
                for i in range(rows):
                    first = edge.load(edge.step(start, start_row, i), "start")
                    total = totals[i * shape.vectors : (i + 1) * shape.vectors]
                    row = [builder.fadd(f, t, name="sum") for f, t in zip(first, total, strict=True)]
                    edge.store(row, edge.step(c, c_row, i))
    builder.ret_void()
    return function


def _emit_loop(
    emit: Emitter, rows: int, steps: int, label: str, carried: list[Any], a_row: Any, a_column: Any, b_row: Any
) -> list[Any]:
    """Emit a loop that takes `steps` steps of k at a time while as many are left.

    `carried` are the addresses of a and b, the steps left, and the sums: before the loop, and returned after it.
    """
    builder, before = emit.builder, emit.builder.block
    function = builder.function
    head, loop, after = (function.append_basic_block(label + end) for end in (".head", "", ".after"))
    names = ("a.at", "b.at", "left", *["total"] * (len(carried) - 3))
    builder.branch(head)
    builder.position_at_end(head)
    phis = [builder.phi(value.type, name) for value, name in zip(carried, names, strict=True)]
    builder.cbranch(builder.icmp_signed(">=", phis[2], I64(steps), name="more"), loop, after)

    builder.position_at_end(loop)
    a_at, b_at, left, *totals = phis
    for _ in range(steps):
        b_vectors = emit.load(b_at, "b.k")
        for i in range(rows):
            a_vector = emit.broadcast(emit.load_scalar(emit.step(a_at, a_row, i)), "a.vector")
            for v, b_vector in enumerate(b_vectors):
                at = i * len(b_vectors) + v
                totals[at] = emit.multiply_add(a_vector, b_vector, totals[at])
        a_at, b_at = builder.add(a_at, a_column, name="a.next"), builder.add(b_at, b_row, name="b.next")
    left = builder.sub(left, I64(steps), name="left.next")
    builder.branch(head)
    for phi, first, value in zip(phis, carried, (a_at, b_at, left, *totals), strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(value, loop)
    builder.position_at_end(after)
    return phis


@intrinsic
def tile(typing_context, kind, rows, packed, a, a_row, b, b_row, start, start_row, c, c_row, columns, depth):
    """Compute one tile of `rows` rows (see `emit_tile`). `kind` is any number of the arrays' dtype."""

    def emit(context, builder, signature, arguments):
        _, rows, packed, *rest = arguments
        real = ir.FloatType() if kind == types.float32 else ir.DoubleType()
        end = builder.append_basic_block("end")
        choice = builder.switch(builder.or_(builder.shl(rows, I64(1)), packed), end)
        for height in HEIGHTS:
            for is_packed in (0, 1):
                block = builder.append_basic_block(f"height_{height}")
                choice.add_case(I64(2 * height + is_packed), block)
                with builder.goto_block(block):
                    builder.call(emit_tile(builder.module, real, SHAPE, height, bool(is_packed)), rest)
                    builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(kind, *[types.intp] * 12), emit
