"""Twins of the keys, draws and codes: float64 NumPy from the definitions, dense matrices for transforms.

Nothing of thinwire is imported. A block is a 1-d array; a stream is the four words (k0, k1, s2, s3).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.linalg import hadamard  # type: ignore[import-untyped]  # scipy has no types
from scipy.optimize import root  # type: ignore[import-untyped]
from scipy.stats import norm as normal  # type: ignore[import-untyped]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Stream = tuple[int, int, int, int]
CODE, SELECT, COIN, OWNER = range(4)
MASK = 2**32 - 1


def philox(counter: Stream, key: tuple[int, int]) -> Stream:
    """Philox4x32-10 in Python's integers (Salmon et al., SC 2011, figure 2)."""
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ k, q & MASK, (p >> 32) ^ d ^ m, p & MASK
        k, m = (k + 0x9E3779B9) & MASK, (m + 0xBB67AE85) & MASK
    return a, b, c, d


def stream(seed: int, step: int, tensor: int, rank: int, share: int = 0, level: int = 0, purpose: int = CODE) -> Stream:
    """The four words of one row's stream; rank 0xFFFFFF is what all workers share."""
    return philox((step, tensor, share, rank << 8 | level << 3 | purpose), (seed & MASK, seed >> 32))


def draws(words: Stream, block: int, size: int, bits: int, part: int = 0) -> Ints:
    """`bits` random bits for each of `size` elements; `part` is which of the sets drawn one after the other."""
    t = -(-size * bits // 128)
    counters = [philox((part * t + i, block, *words[2:]), words[:2]) for i in range(t)]
    flat = [counter[word] for word in range(4) for counter in counters]
    return np.array([flat[e % (4 * t)] >> bits * (e // (4 * t)) & 2**bits - 1 for e in range(size)], np.int64)


def dither(x: Floats, levels: int, norm: float, halves: Ints | None) -> Floats:
    """scale · sign(x) · ⌊s |x| / scale + u⌋ / s; nearest rounding where there are no draws."""
    scale = np.linalg.norm(x, norm)
    u = 0.5 if halves is None else (halves + 0.5) / 2**16
    return scale * np.sign(x) * np.floor(levels * abs(x) / scale + u) / levels if scale else 0 * x


def natural(x: Floats, halves: Ints) -> Floats:
    """sign(x) 2^⌊log2 |x|⌋ (1 + [mantissa + u ≥ 1]), zero below 2^-126."""
    mantissa, exponent = np.frexp(abs(x))  # a half to one, so that 2 · mantissa − 1 is the fraction
    low = np.exp2(exponent - 1.0)
    up = 2 * mantissa - 1 + (halves + 0.5) / 2**16 >= 1
    return np.where(abs(x) < 2.0**-126, 0, np.sign(x) * low * (1 + up))


def natural_dither(x: Floats, levels: int, norm: float, halves: Ints) -> Floats:
    """Between 2^(1-s) and 1 natural compression of |x| / scale, below it 0 or 2^(1-s)."""
    scale = np.linalg.norm(x, norm)
    if not scale:
        return 0 * x
    t, least = abs(x) / scale, 2.0 ** (1 - levels)
    low = least * np.floor(t / least + (halves + 0.5) / 2**16)
    return np.asarray(scale * np.sign(x) * np.where(t < least, low, natural(t, halves)))


def sign(x: Floats) -> Floats:
    return np.asarray(abs(x).mean() * np.where(x < 0, -1.0, 1.0))


@cache
def lloyd_max(bits: int) -> Floats:
    """The centroids of |z|, z ~ N(0, 1): each is the mean of |z| between the midpoints around it (Max, 1960)."""

    def step(c: Floats) -> Floats:
        edges = np.concatenate(([0.0], (c[1:] + c[:-1]) / 2, [np.inf]))
        mass, moment = normal.cdf(edges[1:]) - normal.cdf(edges[:-1]), normal.pdf(edges[:-1]) - normal.pdf(edges[1:])
        return np.asarray(moment / mass - c)

    start = np.linspace(0.3, 2.0, 2 ** (bits - 1)) if bits > 1 else np.array([0.8])
    return np.asarray(root(step, start, tol=1e-14).x)


def rotated(x: Floats, bits: int, words: Stream, block: int, least_error: bool) -> Floats:
    """S · Rᵀ c(R x), R = H D₂ H D₁ / B as a dense matrix, c the nearest centroids of R x / (‖x‖ / √B)."""
    size = len(x)
    flips = [1 - 2.0 * draws(words, block, size, 1, part) for part in (0, 1)]
    h = hadamard(size).astype(float)
    rotation = h @ np.diag(flips[1]) @ h @ np.diag(flips[0]) / size
    y = rotation @ x
    centroids = lloyd_max(bits)
    nearest = abs(abs(y)[:, None] / (np.linalg.norm(x) / size**0.5) - centroids).argmin(axis=1)
    c = np.where(y < 0, -1, 1) * centroids[nearest]
    scale = y @ c / (c @ c) if least_error else x @ x / (y @ c)
    return np.asarray(scale * rotation.T @ c)


def cut(d: int, block: int, rotated: bool = False) -> list[slice]:
    """The equal blocks of a vector of length d; the last may reach past its end."""
    count = -(-d // block)
    size = d if count == 1 else min(block, 8 * -(-d // (8 * count)))
    if rotated:
        size = block if count > 1 else min(block, max(128, 2 ** int(np.ceil(np.log2(d)))))
    return [slice(i * size, (i + 1) * size) for i in range(count)]


def permutation(words: Stream, of: int) -> Ints:
    """The numbers below `of` by their 32-bit draws, in blocks of 1024."""
    drawn = np.concatenate([draws(words, block, 1024, 32) for block in range(-(-of // 1024))])[:of]
    return np.argsort(drawn, kind="stable")


def randk(x: Floats, keep: int, run: int, words: Stream) -> Floats:
    """`keep` of the runs, times how many there are over `keep`."""
    runs = -(-len(x) // run)
    chosen = np.zeros(runs, bool)
    chosen[permutation(words, runs)[:keep]] = True
    return np.where(chosen.repeat(run)[: len(x)], x * runs / keep, 0.0)


def permk(x: Floats, workers: int, rank: int, words: Stream, turn: float) -> Floats:
    """The permuted positions are dealt to the workers, from a turn on; or each position to several workers."""
    dealt = min(workers, len(x))
    mine = permutation(words, len(x))[(rank + int(turn * dealt)) % dealt :: dealt]
    out = np.zeros(len(x))
    out[mine] = dealt * x[mine]
    return out


def topk(x: Floats, keep: int) -> Floats:
    out = np.zeros(len(x))
    kept = np.argsort(-abs(x), kind="stable")[:keep]
    out[kept] = x[kept]
    return out


def rounding_variance(x: Floats, low: Floats, high: Floats) -> float:
    """Σ (high − |x|)(|x| − low): the exact variance of rounding each |x_j| at random to low_j or high_j, unbiased."""
    return float(((high - abs(x)) * (abs(x) - low)).sum())
