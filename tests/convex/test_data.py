"""Files come back as what was written, and one that cannot be used is refused with its place."""

from __future__ import annotations

import builtins
import bz2
import gzip
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from sklearn.datasets import dump_svmlight_file

from thinwire.convex.data import Data, bundled, load

RNG = np.random.default_rng(0)
A = np.where(RNG.random((30, 7)) < 0.4, RNG.normal(size=(30, 7)), 0)
A = A.round(3)  # text has 16 digits
A[0, 6] = 1.5  # sparse text shows all columns
B = np.where(RNG.random(30) < 0.5, -1.0, 1.0)


def dense(data: Data) -> Any:
    return data.A.toarray() if sp.issparse(data.A) else data.A


def same(data: Data, a: Any = A, b: Any = B) -> None:
    assert data.A.dtype == data.b.dtype == np.float64
    assert np.array_equal(dense(data), a)
    assert np.array_equal(data.b, b)


@pytest.mark.parametrize("ending", ["", ".txt", ".gz", ".bz2", ".xz"])
def test_libsvm_text_plain_and_compressed(tmp_path: Path, ending: str) -> None:
    plain, file = tmp_path / "plain", tmp_path / f"data{ending}"
    dump_svmlight_file(A, B, str(plain), zero_based=False)
    writer: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(ending, open)
    with writer(file, "wb") as out:
        out.write(plain.read_bytes())
    data = load(file)
    assert sp.issparse(data.A)
    assert data.A.indices.dtype == np.int32
    same(data)


def test_comments_blank_lines_query_numbers_and_empty_rows(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_text("# made by hand\n\n3 qid:1 2:0.5 # one\n-1\n1e2 1:1\n")
    same(load(file), [[0, 0.5], [0, 0], [1, 0]], [3, -1, 100])


def test_numpy_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", A=A, b=B.astype(int))
    same(load(tmp_path / "data.npz"))


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_sparse_archive_with_its_targets_beside(tmp_path: Path, kind: str) -> None:
    sp.save_npz(tmp_path / "data.npz", sp.csr_matrix(A).asformat(kind))
    np.save(tmp_path / "data.b.npy", B)
    data = load(tmp_path / "data.npz")
    assert sp.issparse(data.A)
    assert data.A.format == "csr"
    same(data)


def test_numpy_table(tmp_path: Path) -> None:
    file = tmp_path / "data.npy"
    np.save(file, np.c_[A, B])
    same(load(file))
    same(load(file, target=7))
    same(load(file, target=0), np.c_[A[:, 1:], B], A[:, 0])
    same(load(file, columns=[2, 0], target=-1), A[:, [2, 0]])


def write_parquet(file: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), file)
    return file


def test_parquet_by_columns(tmp_path: Path) -> None:
    columns: dict[str, Any] = {f"x{j}": A[:, j] for j in range(7)}
    file = write_parquet(tmp_path / "data.parquet", y=B.astype(np.int8), **columns)
    same(load(file, target="y"))
    same(load(file, target="y", columns=["x2", "x0"]), A[:, [2, 0]])
    mixed = write_parquet(
        tmp_path / "mixed.parquet", y=B, yes=A[:, 0] > 0, count=pa.chunked_array([range(10), range(20)])
    )
    same(load(mixed, target="y"), np.c_[A[:, 0] > 0, [*range(10), *range(20)]])


def test_float32_stays(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", A=A.astype(np.float32), b=B)
    file = write_parquet(tmp_path / "data.parquet", y=B, x=A[:, 0].astype(np.float32))
    for data in (load(tmp_path / "data.npz"), load(file, target="y")):
        assert data.A.dtype == data.b.dtype == np.float32


def test_each_rank_has_its_file_and_all_have_one_width(tmp_path: Path) -> None:
    for rank in range(2):
        rows = slice(15 * rank, 15 * rank + 15)
        dump_svmlight_file(A[rows, : 7 - 3 * rank], B[rows], str(tmp_path / f"part-{rank}"), zero_based=False)
    parts = [load(tmp_path / "part-{rank}", rank=rank, features=7) for rank in range(2)]
    assert [part.A.shape for part in parts] == [(15, 7)] * 2
    assert np.array_equal(dense(parts[1]), np.c_[A[15:, :4], np.zeros((15, 3))])
    (tmp_path / "part-2").write_text("1\n-1\n")  # rows of zeros only
    assert load(tmp_path / "part-{rank}", rank=2, features=7).A.shape == (2, 7)
    whole = load(tmp_path / "part-1", rank=0)  # no {rank} in it: one file for all
    assert whole.A.shape == (15, 4)


@pytest.mark.parametrize(
    "text, message",
    [
        ("1 1:2\n1 1:nan\n", r"line 2: feature 1 must be a finite number; got '1 1:nan'"),
        ("1 1:2\n\n# no\n1 3:1 4:inf\n", "line 4: feature 4 must be a finite number"),
        ("1 1:2\nnan 1:1\n", "line 2: the label must be a finite number"),
        ("1 1:2\nyes 1:1\n", "line 2: the label must be a finite number"),
        ("1,2,3\n", "line 1: the label must be a finite number; got '1,2,3'. Lines read label index:value"),
        ("1 1:2 2:two\n", "line 1: feature 2 must be a finite number"),
        ("1 1:2 2\n", "line 1: '2' must read index:value"),
        ("1 a:2\n", "line 1: 'a:2' must read index:value"),
        ("1 0:2\n", "line 1: indices must count from 1 and grow"),
        ("1 2:2 1:1\n", "line 1: indices must count from 1 and grow"),
        ("", "there must be at least one row; got 'an empty file'"),
        ("# nothing\n", "there must be at least one row; got 'an empty file'"),
        ("1\n-1\n", r"there must be at least one row and one column; got \(2, 0\)"),
        ("\x00\x01 \x02", "line 1: the label must be a finite number"),
    ],
)
def test_text_that_cannot_be_used_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "data.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"load\(path='.*data.txt'\).*" + message):
        load(file)


def refused(message: str, *args: Any, **kwargs: Any) -> None:
    with pytest.raises(ValueError, match=message):
        load(*args, **kwargs)


def test_arrays_that_cannot_be_used_are_refused_with_their_place(tmp_path: Path) -> None:
    wrong = A.copy()
    wrong[3, 2] = np.nan
    file = tmp_path / "data.npz"
    for arrays, message in [
        ({"A": wrong, "b": B}, "A must be finite; got 'nan in row 3, column 2'"),
        ({"A": A, "b": np.r_[B[:-1], np.inf]}, "b must be finite; got 'inf in row 29'"),
        ({"A": A, "b": B[:-1]}, r"A must be \(rows, d\) and b \(rows,\); got '\(30, 7\) and \(29,\)'"),
        ({"A": A[0], "b": B[:7]}, r"A must be \(rows, d\)"),
        ({"A": A[:0], "b": B[:0]}, "at least one row and one column"),
        ({"A": A.astype(str), "b": B}, "A must hold real numbers; got '<U32'"),
        ({"A": A, "b": B + 1j}, "b must hold real numbers; got 'complex128'"),
        ({"A": A.astype(object), "b": B}, "A must hold NumPy's numbers, not Python objects"),
        ({"X": A, "y": B}, r"there must be arrays A and b; got \['X', 'y'\]\. np\.savez"),
    ]:
        np.savez(file, **arrays)
        refused(message, file)
    np.savez(file, A=A, b=B)
    refused("features=9 columns were asked for; got '7'", file, features=9)
    refused("columns= and target= are for .npy and .parquet", file, target="b")
    refused(r"the path has \{rank\} in it. Pass rank=", tmp_path / "data-{rank}.npz")


def test_sparse_archives_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "data.npz"
    wrong = sp.csr_matrix(A)
    wrong.data[wrong.indptr[4]] = np.inf
    sp.save_npz(file, wrong)
    refused("a sparse matrix needs b beside it, in data.b.npy", file)
    np.save(tmp_path / "data.b.npy", B)
    refused(f"A must be finite; got 'inf in row 4, column {wrong.indices[wrong.indptr[4]]}'", file)
    np.save(tmp_path / "data.b.npy", B.astype(object))
    refused(r"data.b.npy'\): the file must hold NumPy's numbers, not Python objects", file)


def test_tables_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "data.npy"
    np.save(file, np.c_[A, B])
    refused("columns are numbers, from 0 to 7; got 8", file, target=8)
    refused("columns are numbers, from 0 to 7; got 'y'", file, target="y")
    refused("columns are numbers, from 0 to 7; got -9", file, columns=[-9])
    refused(r"at least one row and one column; got \(30, 0\)", file, columns=[])
    np.save(file, B)
    refused(r"the table must be \(rows, columns\); got \(30,\)", file)


def test_parquet_that_cannot_be_used(tmp_path: Path) -> None:
    holes = pa.array([1.0, None, 3.0])
    file = write_parquet(
        tmp_path / "data.parquet", x=holes, name=["a", "b", "c"], y=[1, 2, 3], z=[1.0, 2.0, float("nan")]
    )
    refused(r"target is needed. Name one of the columns: x, name, y, z\.", file)
    refused("there is no column 'w'. There are x, name, y, z", file, target="w")
    refused("there is no column 'v'", file, target="y", columns=["x", "v"])
    refused("column 'name' must be a number; got 'string'", file, target="y")
    refused("column 'x' must be finite; got 'None in row 1'", file, target="y", columns=["x"])
    refused("column 'z' must be finite; got 'nan in row 2'", file, target="y", columns=["z"])
    refused(r"at least one row and one column; got \(3, 0\)", file, target="y", columns=[])


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError(name)
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ModuleNotFoundError, match=r"Parquet needs pyarrow\. Install it: pip install 'thinwire\[parquet\]'"
    ):
        load(tmp_path / "data.parquet", target="y")


@pytest.mark.parametrize("ending", [".npz", ".npy", ".parquet", ".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("content", [b"", b"not what the name says", b"\x1f\x8b\x08\x00damaged all over"])
def test_damaged_files_are_refused_by_name(tmp_path: Path, ending: str, content: bytes) -> None:
    file = tmp_path / f"data{ending}"
    file.write_bytes(content)
    refused(f"load.*data{ending}'", file, target=None if ending != ".parquet" else "y")


def test_a_compressed_file_that_ends_early(tmp_path: Path) -> None:
    for ending, pack in ((".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)):
        file = tmp_path / f"data{ending}"
        file.write_bytes(pack(b"1 1:2\n" * 1000)[:-9])
        refused("the file cannot be read", file)


@pytest.mark.parametrize("ending", ["", ".npz", ".npy", ".parquet", ".xz"])
def test_a_file_that_is_not_there(tmp_path: Path, ending: str) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        load(tmp_path / f"missing{ending}", target="y" if ending == ".parquet" else None)


@pytest.mark.parametrize("name, shape", [("digits", (1797, 64)), ("breast_cancer", (569, 30)), ("diabetes", (442, 10))])
def test_bundled_sets_are_standardised(name: str, shape: tuple[int, int]) -> None:
    data = bundled(name)
    assert data.A.shape == shape
    assert data.A.mean(axis=0) == pytest.approx(0, abs=1e-12)
    deviation = data.A.std(axis=0)
    assert deviation[deviation > 0] == pytest.approx(1, rel=1e-12)
    assert np.count_nonzero(deviation == 0) == (3 if name == "digits" else 0)  # three corners are always white
    if name == "diabetes":
        assert (data.b.mean(), data.b.std()) == pytest.approx((0, 1), abs=1e-12)
    else:
        assert set(data.b) == set(range(10 if name == "digits" else 2))


def test_a_name_that_is_not_bundled() -> None:
    with pytest.raises(ValueError, match=r"got 'digit'\. Did you mean 'digits'"):
        bundled("digit")
