"""From constants to parameters, step sizes and rates: one function per theorem, citing it and checking what it assumes.

f is the mean of n functions f_i, and f_i of m functions f_ij; L is the smoothness of f, L_i of f_i, L̃ = √mean L_i²,
L_max = max L_i, 𝓛 = max L_ij, κ = L/μ; ω, δ, η as declared by the compressor, ω_av that of the mean of n messages.
Where an argument `mean_variance` (ω_av) is left out, messages are independent and it is ω/n. An assumption that does
not hold is a ValueError.
"""

from thinwire.theory.accelerated import adiana, adiana_refined, adiana_tight
from thinwire.theory.bidirectional import dore, ef21p_diana, mcm
from thinwire.theory.descent import fista, gradient_descent, heavy_ball, nesterov
from thinwire.theory.feedback import clag, dasha, ef14, ef21, ef_bv, marina
from thinwire.theory.finite_sums import (
    dasha_page,
    lsvrg_probability,
    saga_probability,
    vr_diana,
    vr_diana_nonconvex,
    vr_marina,
)
from thinwire.theory.integers import int_scale, intdiana, intsgd
from thinwire.theory.local import locodl, per_communication, scaffnew
from thinwire.theory.parameters import dasha_momentum, diana_shift, ef_bv_scaling, rand_diana_probability
from thinwire.theory.partial import dasha_pp, ef21_pp, pp_marina
from thinwire.theory.plan import Constants, Plan
from thinwire.theory.shifts import (
    dcgd,
    diana,
    diana_balanced,
    diana_convex,
    diana_nonconvex,
    diana_original,
    rand_diana,
    sgd_diana,
)

__all__ = [
    "Constants",
    "Plan",
    "adiana",
    "adiana_refined",
    "adiana_tight",
    "clag",
    "dasha",
    "dasha_momentum",
    "dasha_page",
    "dasha_pp",
    "dcgd",
    "diana",
    "diana_balanced",
    "diana_convex",
    "diana_nonconvex",
    "diana_original",
    "diana_shift",
    "dore",
    "ef14",
    "ef21",
    "ef21_pp",
    "ef21p_diana",
    "ef_bv",
    "ef_bv_scaling",
    "fista",
    "gradient_descent",
    "heavy_ball",
    "int_scale",
    "intdiana",
    "intsgd",
    "locodl",
    "lsvrg_probability",
    "marina",
    "mcm",
    "nesterov",
    "per_communication",
    "pp_marina",
    "rand_diana",
    "rand_diana_probability",
    "saga_probability",
    "scaffnew",
    "sgd_diana",
    "vr_diana",
    "vr_diana_nonconvex",
    "vr_marina",
]
