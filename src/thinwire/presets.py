"""The named methods: rows of parameters for the one recursion, and the class of compressors that each needs."""

from __future__ import annotations

from thinwire import theory
from thinwire._check import fault
from thinwire.compressors import Compressor, Identity
from thinwire.link import Link, Recursion

TYPICAL = 1 << 16
"""The length at which a compressor is judged when its link is made; its own d is judged again when it is used."""


def _omega(link: Link, d: int) -> float:
    omega = link.compressor.omega(d)
    if omega is None:
        way_out = f"Use ef21({link.compressor!r}), or Induced({link.compressor!r}, …) to make it unbiased."
        raise ValueError(
            fault(
                repr(link), f"{link.method} needs an unbiased compressor; {link.compressor!r} is biased", None, way_out
            )
        )
    return omega


def _delta(link: Link, d: int) -> float:
    compressor = link.compressor
    delta = compressor.delta(d)
    if delta is None:
        omega = compressor.omega(d)
        nature = "not contractive" if omega is None else f"unbiased (ω = {omega:.3g} ≥ 1)"
        way_out = "" if omega is None else f"Use diana({compressor!r}), or ({compressor!r}).contractive()."
        rule = f"{link.method} needs a contractive compressor; at d = {d} {compressor!r} is {nature}"
        raise ValueError(fault(repr(link), rule, None, way_out))
    return delta


def _dcgd(link: Link, d: int, workers: int) -> Recursion:
    _omega(link, d)
    return Recursion()


def _diana(link: Link, d: int, workers: int) -> Recursion:
    return Recursion(lam=theory.diana_shift(_omega(link, d)))


def _ef21(link: Link, d: int, workers: int) -> Recursion:
    _delta(link, d)
    return Recursion(lam=1.0)


def _ef_bv(link: Link, d: int, workers: int) -> Recursion:
    compressor = link.compressor
    bias, variance = compressor.bias(d), compressor.variance(d)
    if bias >= 1:
        raise ValueError(
            fault(repr(link), f"ef_bv needs a bias η < 1; {compressor!r} declares none", None, "Scale or induce it.")
        )
    return Recursion(
        lam=theory.ef_bv_scaling(bias, variance),
        nu=theory.ef_bv_scaling(bias, compressor.mean_variance(d, workers)),
    )


def _dasha(link: Link, d: int, workers: int) -> Recursion:
    return Recursion(a=theory.dasha_momentum(_omega(link, d)), lam=1.0)


def _marina(link: Link, d: int, workers: int) -> Recursion:
    _omega(link, d)
    share = link.compressor.nbytes(d) / Identity().nbytes(d)
    return Recursion(a=0.0, lam=1.0, p=min(1.0, share))


def _rand_diana(link: Link, d: int, workers: int) -> Recursion:
    return Recursion(lam=0.0, p=theory.rand_diana_probability(_omega(link, d)))


def _lazy(link: Link, d: int, workers: int) -> Recursion:
    _delta(link, d)
    return Recursion(lam=1.0, zeta=link.zeta)


def _ef14(link: Link, d: int, workers: int) -> Recursion:
    _delta(link, d)
    return Recursion(cumulative=True)


def _made(link: Link) -> Link:
    """The link, once its compressor has been found fit for vectors of a typical length and a few workers."""
    link.recursion(TYPICAL, workers=4)
    return link


def dcgd(compressor: Compressor) -> Link:
    """Compress the vector itself: a = 1, λ = 0, ν = 1. For unbiased compressors. No memory.

    With exact gradients it stops at a floor unless all workers agree at the optimum; in return it forgets everything.
    Source: QSGD (Alistarh et al., 2017), TernGrad (Wen et al., 2017); Khirirat et al. (2018).

    >>> import thinwire as tw
    >>> tw.dcgd(tw.Rotated(bits=3))
    dcgd(Rotated(bits=3))
    """
    return _made(Link("dcgd", compressor, _dcgd))


def diana(compressor: Compressor) -> Link:
    """Compress the difference to a shift that learns: a = 1, λ = 1 / (1 + ω), ν = 1. For unbiased compressors.

    h_i → ∇f_i(x*), so the differences, and with them all compression error, vanish: linear convergence to the optimum.
    Source: Mishchenko, Gorbunov, Takáč, Richtárik, "Distributed learning with compressed gradient differences" (2019);
    with an L-SVRG or SAGA oracle it is VR-DIANA (Horváth et al., 2019).

    >>> import thinwire as tw
    >>> link = tw.diana(tw.RandK(0.1) >> tw.Dither(bits=4))
    >>> round(link.recursion(d=1000, workers=4).lam, 3)
    0.066
    """
    return _made(Link("diana", compressor, _diana))


def ef21(compressor: Compressor) -> Link:
    """Compress the difference to the last estimate: a = 1, λ = 1, ν = 1. For contractive compressors.

    Source: Richtárik, Sokolov, Fatkhullin, "EF21" (NeurIPS 2021); on a running average it is EF21-SGDM (2023).

    >>> import thinwire as tw
    >>> tw.ef21(tw.RandK(0.01))
    Traceback (most recent call last):
    ValueError: ef21(RandK(k=0.01)): ef21 needs a contractive compressor; at d = 65536 RandK(k=0.01) is unbiased
        (ω = 99.1 ≥ 1). Use diana(RandK(k=0.01)), or (RandK(k=0.01)).contractive().
    """
    return _made(Link("ef21", compressor, _ef21))


def ef_bv(compressor: Compressor) -> Link:
    """Both kinds, by bias and variance: a = 1, λ = λ*(η, ω), ν = ν*(η, ω_av). DIANA and EF21 are its ends.

    Source: Condat, Yi, Richtárik, "EF-BV" (NeurIPS 2022).

    >>> import thinwire as tw
    >>> tw.ef_bv(tw.TopK(0.1)).recursion(d=100, workers=4).lam
    1
    """
    return _made(Link("ef_bv", compressor, _ef_bv))


def dasha(compressor: Compressor) -> Link:
    """MARINA without its dense rounds: a = 1 / (2ω + 1), λ = 1, ν = 1. For unbiased compressors.

    Source: Tyurin and Richtárik, "DASHA" (ICLR 2023), algorithm 1.

    >>> import thinwire as tw
    >>> tw.dasha(tw.RandK(0.5)).recursion(d=100, workers=4).a
    0.3333333333333333
    """
    return _made(Link("dasha", compressor, _dasha))


def marina(compressor: Compressor) -> Link:
    """Compress the change since the last step: a = 0, λ = 1, ν = 1, and all is sent whole with probability p.

    p is the payload's share of the float32 bytes, so that dense rounds cost as much as the others. The first is dense.
    Source: Gorbunov, Burlachenko, Li, Richtárik, "MARINA" (ICML 2021), algorithm 1.

    >>> import thinwire as tw
    >>> round(tw.marina(tw.RandK(0.1)).recursion(d=1000, workers=4).p, 3)
    0.101
    """
    return _made(Link("marina", compressor, _marina))


def rand_diana(compressor: Compressor) -> Link:
    """A shift that is renewed whole with probability p = 1 / (1 + ω): a = 1, λ = 0, ν = 1. For unbiased compressors.

    Where the shift is renewed, the vector it was renewed with is the estimate of that step, being at hand.
    Source: Shulgin and Richtárik, "Shifted compression framework" (UAI 2022), Rand-DIANA.

    >>> import thinwire as tw
    >>> tw.rand_diana(tw.RandK(0.25)).recursion(d=100, workers=4).p
    0.25
    """
    return _made(Link("rand_diana", compressor, _rand_diana))


def lag(zeta: float = 2.0) -> Link:
    """Send whole or not at all: λ = 1, and silence while ‖v − h‖² ≤ ζ ‖v − v_prev‖².

    Below ζ = 1 it would speak at every step: right after a message h = v_prev. At ζ = 1 rounding would decide.
    Collectives have equal splits, so a silent worker's slot travels as zeros: what lag saves is not bytes here.
    Source: Chen et al., "LAG" (NeurIPS 2018), in the form of Richtárik et al., "3PC" (ICML 2022).

    >>> import thinwire as tw
    >>> tw.lag()
    lag(zeta=2.0)
    """
    return _triggered("lag", Identity(), zeta)


def clag(compressor: Compressor, zeta: float = 2.0) -> Link:
    """EF21 with lag's trigger. For contractive compressors. Source: Richtárik et al., "3PC" (ICML 2022).

    >>> import thinwire as tw
    >>> tw.clag(tw.TopK(0.1), zeta=2.0).recursion(d=100, workers=4).zeta
    2.0
    """
    return _triggered("clag", compressor, zeta)


def _triggered(method: str, compressor: Compressor, zeta: float) -> Link:
    if not zeta >= 0:
        raise ValueError(fault(f"{method}(zeta={zeta})", "zeta must be at least 0", zeta))
    return _made(Link(method, compressor, _lazy, zeta))


def ef14(compressor: Compressor) -> Link:
    """Error feedback: what was not sent is remembered and added to the next vector. For contractive compressors.

    m_i = C(e_i + v_i), e_i ← e_i + v_i − m_i, v̂ = mean(m_i). The memory is in units of v: where the learning rate
    changes, `attach(…, optimizer=optimizer)` keeps what it stands for.
    Source: Seide et al. (2014); Stich et al. (NeurIPS 2018); Karimireddy et al. (ICML 2019).

    >>> import thinwire as tw
    >>> tw.ef14(tw.TopK(0.01)).recursion(d=1000, workers=4).cumulative
    True
    """
    return _made(Link("ef14", compressor, _ef14))


PRESETS = {
    "dcgd": dcgd,
    "diana": diana,
    "ef21": ef21,
    "ef_bv": ef_bv,
    "dasha": dasha,
    "marina": marina,
    "rand_diana": rand_diana,
    "lag": lag,
    "clag": clag,
    "ef14": ef14,
}
"""Every preset by its name in specs."""
