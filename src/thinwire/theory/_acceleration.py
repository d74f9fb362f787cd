"""What ADIANA's numbers must fulfil for its Lyapunov function to fall by 1 − ρ, and the ones of the largest ρ."""

from __future__ import annotations

import math

from thinwire.theory.parameters import diana_shift
from thinwire.theory.plan import Constants


class Acceleration:
    """x = θ₁z + θ₂w + (1 − θ₁ − θ₂)y, y⁺ = prox_{ηR}(x − ηg), z⁺ = βz + (1 − β)x + (γ/η)(y⁺ − x), w⁺ = y or w.

    Let G = (x − y⁺)/η, D_u = f(u) − f(x) − ⟨∇f(x), u − x⟩, V = E‖g − ∇f(x)‖², H = mean‖h_i − ∇f_i(w)‖².

    1. For every u, P(y⁺) ≤ P(u) − D_u + ⟨G, x − u⟩ − η(1 − Lη/2)‖G‖² + ⟨∇f(x) − g, y⁺ − u⟩: smoothness at y⁺, and
       the prox. In expectation the last term is at most ηV, the prox being nonexpansive.
    2. z⁺ minimises ⟨G, u⟩ + ‖u − z‖²/(2γ') + (μ/2)‖u − x‖² where γ = γ'/(1 + γ'μ), β = 1 − γμ. So
       ⟨G, z − x*⟩ ≤ (γ'/2)‖G‖² + (‖z − x*‖² − (1 + γ'μ)‖z⁺ − x*‖²)/(2γ') + (μ/2)‖x − x*‖².
    3. Of 1, θ₁ times u = x*, where D_u ≥ (μ/2)‖x − x*‖², θ₂ times w, and y; with θ₁γ' = η(2 − Lη) there is no ‖G‖²:
       E P(y⁺) − P* ≤ θ₂(P(w) − P* − D_w) + (1 − θ₁ − θ₂)(P(y) − P* − D_y) + ηV
                      + θ₁(‖z − x*‖² − (1 + γ'μ) E‖z⁺ − x*‖²)/(2γ').
    4. V ≤ ω_av((1 + s) 2L_max D_w + (1 + 1/s) H), the f_i being convex, and with h_i⁺ = h_i + αC(∇f_i(w) − h_i),
       E H⁺ ≤ (1 − α)(1 + pt)H + p(1 + 1/t) 2L_max((1 + r)D_w + (1 + 1/r)D_y).
    5. So V, with c = ηω_av(1 + 1/s)/(1 − ρ − (1 − α)(1 + pt)), falls by 1 − ρ if D_w and D_y are absorbed,
       θ₁ ≥ ρ(1 + θ₂/(p − ρ)) and γ'μ ≥ ρ/(1 − ρ).

    s and t are the best ones; p, η and r the best of a grid.
    """

    def __init__(self, constants: Constants, omega: float, mean_variance: float) -> None:
        self.smoothness, self.strong, self.omega = constants.smoothness, constants.strong, omega
        self.alpha, self.noise = diana_shift(omega), 2 * constants.largest * mean_variance

    def best(self) -> tuple[float, tuple[float, float, float]]:
        """The largest ρ, and its p, η, r."""
        top = min(1 / self.smoothness, 2 / self.noise) if self.noise else 1 / self.smoothness
        chances = [min(1.0, self.alpha * 2 ** (j / 2)) for j in range(-4, 5)]
        grid = [(p, top * 2 ** (-j / 2), 4.0**-i) for p in chances for j in range(14) for i in range(3)]
        return max((self._largest(*point), point) for point in grid)

    def weights(self, p: float, eta: float, r: float, rate: float) -> tuple[float, float]:
        """θ₁ and θ₂, the least ones that ρ needs; infinite where it cannot be."""
        left = self.alpha - rate  # of α, for what the renewal of w does to H
        if rate >= p or (self.omega > 0 and left <= 0):
            return math.inf, math.inf
        theta2 = back = 0.0
        if self.omega > 0:
            share = (1 - self.alpha) * p
            t = math.sqrt(1 + left / share) - 1
            spread = p * (1 + 1 / t) / (left - share * t)
            s = math.sqrt(spread * (1 + r))
            theta2 = self.noise * eta * (1 + s) ** 2
            back = self.noise * eta * (1 + 1 / s) * spread * (1 + 1 / r)
        theta1 = rate * (1 + theta2 / (p - rate))
        long = eta * (2 - self.smoothness * eta)  # θ₁γ'
        fits = theta1 + theta2 + back <= 1 and theta1 * rate <= long * self.strong * (1 - rate)
        return (theta1, theta2) if fits else (math.inf, math.inf)

    def _largest(self, p: float, eta: float, r: float) -> float:
        """By bisection: numbers that allow ρ allow less; 0 where nothing is allowed."""
        low, high = 0.0, 1.0
        for _ in range(40):
            rate = (low + high) / 2
            feasible = self.weights(p, eta, r, rate)[0] < math.inf
            low, high = (rate, high) if feasible else (low, rate)
        return low
