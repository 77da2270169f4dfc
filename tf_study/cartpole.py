"""Many cart-poles at once, in NumPy: the equations and limits of Gymnasium's ``CartPole-v1``.

A pole stands on a cart, which is pushed left or right at every step; every step pays 1. An episode is over when
the cart is more than 2.4 m from the middle or the pole leans more than 12 degrees (``terminated``), and it is cut
off after 500 steps (``truncated``): the state after the last step is worth something then.
Source: Barto, Sutton and Anderson 1983 (IEEE Transactions on Systems, Man, and Cybernetics 13); numbers as in
Gymnasium 1.4.
"""

from dataclasses import dataclass

import numpy as np

GRAVITY, CART_MASS, POLE_MASS, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
FARTHEST, STEEPEST = 2.4, np.deg2rad(12)  # m, rad


def move(states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return the states 0.02 s later, by one explicit Euler step.

    Args:
        states: (N, 4): place of the cart in m, its speed, angle of the pole in rad, its angular speed.
        actions: (N,): 0 pushes to the left, 1 to the right, with 10 N.
    """
    x, speed, angle, turn = states.T
    mass, moment = CART_MASS + POLE_MASS, POLE_MASS * HALF_LENGTH
    push = (np.where(actions == 1, FORCE, -FORCE) + moment * turn**2 * np.sin(angle)) / mass
    inertia = HALF_LENGTH * (4 / 3 - POLE_MASS * np.cos(angle) ** 2 / mass)
    turning = (GRAVITY * np.sin(angle) - np.cos(angle) * push) / inertia
    pushing = push - moment * turning * np.cos(angle) / mass
    return np.stack(
        [x + SECONDS * speed, speed + SECONDS * pushing, angle + SECONDS * turn, turn + SECONDS * turning], 1
    )


@dataclass(frozen=True)
class Step:
    """What one step of N cart-poles brought; all arrays have N rows.

    ``states`` (N, 4) are those to act on next: where an episode is over they are the start of a new one, and
    ``last`` (N, 4) still has the end of the old one.
    """

    states: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    last: np.ndarray


class CartPole:
    """``count`` cart-poles, each of which starts again by itself.

    Args:
        count: N.
        seed: of the states at the start, uniform in ±0.05.
        limit: steps after which an episode is cut off.
    """

    def __init__(self, count: int, seed: int, limit: int = 500):
        self.random, self.limit = np.random.default_rng(seed), limit
        self.states, self.ages = np.zeros((count, 4)), np.zeros(count, int)
        self._start(np.ones(count, bool))

    def _start(self, which: np.ndarray) -> None:
        self.states[which] = self.random.uniform(-0.05, 0.05, (which.sum(), 4))
        self.ages[which] = 0

    def step(self, actions: np.ndarray) -> Step:
        """Push every cart, ``actions`` (N,) of 0 and 1."""
        self.states = move(self.states, actions)
        self.ages += 1
        terminated = (np.abs(self.states[:, 0]) > FARTHEST) | (np.abs(self.states[:, 2]) > STEEPEST)
        truncated = (self.ages >= self.limit) & ~terminated
        last = self.states.copy()
        self._start(terminated | truncated)
        return Step(self.states.copy(), np.ones(len(last)), terminated, truncated, last)
