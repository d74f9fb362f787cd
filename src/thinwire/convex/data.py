"""From a file to the rows of a problem: LIBSVM text, NumPy, SciPy, Parquet; and three small sets that are at hand.

scikit-learn and pyarrow are imported where they are used: they take a second, and most programs load nothing.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from thinwire._check import call, fault, one_of

Array = npt.NDArray[np.floating[Any]]
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
BROKEN = (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """A (rows, d), dense or CSR, and b (rows,), finite, of one dtype: float64, or float32 where A came so.

    >>> Data(np.eye(3), np.ones(3))
    Data(3 × 3 dense, float64)
    """

    A: Array | sp.csr_matrix
    b: Array

    def __repr__(self) -> str:
        rows, d = self.A.shape
        return f"Data({rows:,} × {d:,} {'sparse' if sp.issparse(self.A) else 'dense'}, {self.A.dtype})"


def load(
    path: str | Path,
    *,
    columns: Sequence[str] | Sequence[int] | None = None,
    target: str | int | None = None,
    features: int | None = None,
    rank: int | None = None,
) -> Data:
    """Read a data set. What a file is, its name says:

    | name | read as | `columns`, `target` |
    |---|---|---|
    | `.npz` | arrays `A` and `b`; or a matrix of `scipy.sparse.save_npz`, with b in `NAME.b.npy` beside `NAME.npz` | |
    | `.npy` | a table: `target` is a column, the others, or `columns`, are A | numbers; the last by default |
    | `.parquet` | the same, by names; needs the extra `parquet` | names; `target` is needed |
    | any other | LIBSVM text, plain or `.gz`, `.bz2`, `.xz`: `label index:value …`, indices from 1 | |

    Args:
        path: the file. Where it has `{rank}` in it, each rank reads its own.
        columns, target: see above.
        features: d. Sparse data get so many columns: of the files of several ranks, one may show fewer than another.
        rank: what stands for `{rank}`.

    Raises:
        ValueError: with the file, and the line or the row and column, where something is not a finite number, is
            missing, or does not fit.
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: Parquet without pyarrow.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "shard-0.txt"
    >>> _ = file.write_text("+1 1:0.5 3:2\\n-1 2:1\\n")
    >>> data = load(file.with_name("shard-{rank}.txt"), rank=0, features=4)
    >>> data, data.b
    (Data(2 × 4 sparse, float64), array([ 1., -1.]))
    """
    where = call("load", path=str(path))
    file = Path(path)
    if "{rank}" in str(path):
        if rank is None:
            raise ValueError(fault(where, "the path has {rank} in it", None, "Pass rank=."))
        file = Path(str(path).replace("{rank}", str(rank)))
        where = call("load", path=str(file))
    if file.suffix not in (".npy", ".parquet") and (columns is not None or target is not None):
        raise ValueError(fault(where, "columns= and target= are for .npy and .parquet", None, "Leave them out."))
    try:
        match file.suffix:
            case ".npz":
                A, b = _npz(where, file)
            case ".npy":
                A, b = _npy(where, file, columns, target)
            case ".parquet":
                A, b = _parquet(where, file, columns, target)
            case _:
                A, b = _libsvm(where, file, features)
    except FileNotFoundError:
        raise
    except BROKEN as error:
        raise ValueError(
            fault(where, f"the file cannot be read ({error})", None, "Is it what its name says?")
        ) from error
    return _checked(where, A, b, features)


def bundled(name: str) -> Data:
    """A small set that comes with scikit-learn; each column of A is shifted and scaled to mean 0 and variance 1.

    Columns that are constant become 0. `"digits"`: 1,797 × 64, b = 0 … 9. `"breast_cancer"`: 569 × 30, b = 0 or 1.
    `"diabetes"`: 442 × 10, b a number, standardised as the columns are.

    Raises:
        ValueError: there is no such set.

    >>> bundled("breast_cancer")
    Data(569 × 30 dense, float64)
    """
    one_of(call("bundled", name=name), "name", name, ("digits", "breast_cancer", "diabetes"))
    from sklearn import datasets

    A, b = getattr(datasets, f"load_{name}")(return_X_y=True)
    return Data(_standardised(A), _standardised(b) if name == "diabetes" else b.astype(np.float64))


def _standardised(table: Array) -> Array:
    centred = table - table.mean(axis=0)
    deviation = centred.std(axis=0)
    return np.asarray(centred / np.where(deviation > 0, deviation, 1))


def _checked(where: str, A: Any, b: Any, features: int | None) -> Data:
    """What all formats have in common: two dimensions, rows, a width, real finite numbers, one dtype."""
    if A.ndim != 2 or b.shape != A.shape[:1]:
        raise ValueError(fault(where, "A must be (rows, d) and b (rows,)", f"{A.shape} and {b.shape}"))
    for name, array in (("A", A), ("b", b)):
        if array.dtype.kind not in "fiub":
            raise ValueError(fault(where, f"{name} must hold real numbers", str(array.dtype)))
    if features not in (None, A.shape[1]):
        if not sp.issparse(A) or features < A.shape[1]:
            raise ValueError(fault(where, f"features={features} columns were asked for", f"{A.shape[1]}"))
        A.resize(A.shape[0], features)
    if not all(A.shape):
        raise ValueError(fault(where, "there must be at least one row and one column", A.shape))
    dtype = np.float32 if A.dtype == np.float32 else np.float64
    A, b = A.astype(dtype, copy=False), b.astype(dtype, copy=False)
    if not np.isfinite(b).all():
        raise ValueError(fault(where, "b must be finite", f"{b[~np.isfinite(b)][0]} in row {_first(~np.isfinite(b))}"))
    wrong = ~np.isfinite(A.data if sp.issparse(A) else A)
    if wrong.any():
        at = _first(wrong)
        row, column = (A.tocoo().row[at], A.indices[at]) if sp.issparse(A) else divmod(at, A.shape[1])
        raise ValueError(fault(where, "A must be finite", f"{A[row, column]} in row {row}, column {column}"))
    return Data(A, b)


def _first(wrong: npt.NDArray[np.bool_]) -> int:
    return int(np.argmax(wrong))


def _npz(where: str, file: Path) -> tuple[Any, Any]:
    with _numbers(where, file) as archive:
        names = set(archive.files)
        if names >= {"A", "b"}:
            return _numbers(where, archive, "A"), _numbers(where, archive, "b")
    if "format" not in names:
        raise ValueError(
            fault(where, "there must be arrays A and b", sorted(names), "np.savez(FILE, A=…, b=…) makes it.")
        )
    beside = file.with_suffix(".b.npy")
    if not beside.is_file():
        raise ValueError(
            fault(where, f"a sparse matrix needs b beside it, in {beside.name}", None, "np.save makes it.")
        )
    return sp.csr_matrix(sp.load_npz(file)), _numbers(call("load", path=str(beside)), beside)


def _numbers(where: str, source: Any, name: str | None = None) -> Any:
    """An array, or an archive of arrays, of NumPy's, which runs no pickle."""
    try:
        return np.load(source) if name is None else source[name]
    except ValueError as error:
        raise ValueError(fault(where, f"{name or 'the file'} must hold NumPy's numbers, not Python objects")) from error


def _npy(where: str, file: Path, columns: Sequence[Any] | None, target: Any) -> tuple[Any, Any]:
    table = _numbers(where, file)
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError(fault(where, "the table must be (rows, columns)", table.shape))
    width = table.shape[1]
    last = -1 if target is None else target
    for column in (last, *(columns or ())):
        if not isinstance(column, int | np.integer) or not -width <= column < width:
            raise ValueError(fault(where, f"columns are numbers, from 0 to {width - 1}", column))
    return table[:, _others(range(width), last % width) if columns is None else list(columns)], table[:, last]


def _others(names: Any, target: Any) -> list[Any]:
    return [name for name in names if name != target]


def _parquet(where: str, file: Path, columns: Sequence[Any] | None, target: Any) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        way_out = "Install it: pip install 'thinwire[parquet]'."
        raise ModuleNotFoundError(fault(where, "Parquet needs pyarrow", None, way_out)) from error
    file.stat()
    try:
        schema = pq.read_schema(file)
        if target is None:
            raise ValueError(fault(where, "target is needed", None, f"Name one of the columns: {_some(schema.names)}."))
        wanted = _others(schema.names, target) if columns is None else list(columns)
        for name in (target, *wanted):
            if name not in schema.names:
                raise ValueError(
                    fault(where, f"there is no column {name!r}", None, f"There are {_some(schema.names)}.")
                )
            kind = schema.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
                way_out = "Choose others by columns=, or make it a number."
                raise ValueError(fault(where, f"column {name!r} must be a number", str(kind), way_out))
        table = pq.read_table(file, columns=list(dict.fromkeys((*wanted, target))))
    except pa.ArrowInvalid as error:
        raise OSError(error) from error
    made = {name: _filled(where, name, table.column(name)) for name in table.column_names}
    return np.column_stack([made[name] for name in wanted] or [np.empty((table.num_rows, 0))]), made[target]


def _filled(where: str, name: str, column: Any) -> Any:
    values = column.to_numpy()
    if column.null_count or not np.isfinite(values).all():
        wrong = column.is_null().to_numpy() if column.null_count else ~np.isfinite(values)
        given = None if column.null_count else values[wrong][0]
        raise ValueError(fault(where, f"column {name!r} must be finite", f"{given} in row {_first(wrong)}"))
    return values


def _some(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")


def _opened(file: Path) -> IO[bytes]:
    opened: IO[bytes] = OPENERS.get(file.suffix, open)(file, "rb")
    return opened


def _libsvm(where: str, file: Path, features: int | None) -> tuple[Any, Any]:
    from sklearn.datasets import load_svmlight_file

    try:
        with _opened(file) as lines:
            A, b = load_svmlight_file(lines, zero_based=False)
        if len(b) and np.isfinite(A.data).all() and np.isfinite(b).all():
            shape = (len(b), A.shape[1] if len(A.indices) else 0)
            return sp.csr_matrix((A.data, A.indices, A.indptr), shape), b  # with indices of 32 bits, where they fit
    except (ValueError, IndexError) as error:  # scikit-learn does not say where
        raise ValueError(_complaint(where, file) or fault(where, str(error))) from error
    raise ValueError(_complaint(where, file))


def _complaint(where: str, file: Path) -> str:
    """What is wrong, with the number of the line; empty if nothing is found."""
    empty = True
    with _opened(file) as lines:
        for number, line in enumerate(lines, 1):
            parts = line.partition(b"#")[0].split()
            if parts and (rule := _fault_of(parts)):
                shown = line[:60].decode(errors="replace").rstrip()
                return fault(f"{where}, line {number}", rule, shown, "Lines read label index:value ….")
            empty &= not parts
    return fault(where, "there must be at least one row", "an empty file") if empty else ""


def _fault_of(parts: list[bytes]) -> str:
    """The rule that a line of LIBSVM text breaks, if any."""
    if not _is_number(parts[0]):
        return "the label must be a finite number"
    last = 0
    for part in parts[1:]:
        index, colon, value = part.partition(b":")
        if index == b"qid" and last == 0:
            continue
        if not colon or not index.isdigit():
            return f"{part.decode(errors='replace')!r} must read index:value"
        if int(index) <= last:
            return "indices must count from 1 and grow"
        last = int(index)
        if not _is_number(value):
            return f"feature {last} must be a finite number"
    return ""


def _is_number(text: bytes) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
