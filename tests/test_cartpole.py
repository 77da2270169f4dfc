"""The cart-poles move as Gymnasium's do, and end where they end."""

import numpy as np
import pytest

from tf_study import cartpole

LIMIT = 60


def test_equal_to_gymnasium():
    gymnasium = pytest.importorskip("gymnasium")
    theirs = gymnasium.make("CartPole-v1", max_episode_steps=LIMIT)
    ours, random = cartpole.CartPole(1, seed=0, limit=LIMIT), np.random.default_rng(1)
    ends = {"terminated": 0, "truncated": 0}
    theirs.reset(seed=0)
    theirs.unwrapped.state = ours.states[0].copy()
    for number in range(3000):
        lean = (
            ours.states[0, 2] + 0.3 * ours.states[0, 3]
        )  # Every other episode is kept up, to reach the limit.
        action = int(lean > 0) if number // 500 % 2 else int(random.integers(2))
        state, reward, terminated, truncated, _ = theirs.step(action)
        step = ours.step(np.array([action]))
        np.testing.assert_array_equal(step.last[0].astype(np.float32), state)
        assert (step.rewards[0], step.terminated[0]) == (reward, terminated)
        assert step.truncated[0] == (truncated and not terminated)
        if terminated or truncated:
            ends["terminated" if terminated else "truncated"] += 1
            theirs.reset()
            theirs.unwrapped.state = ours.states[0].copy()
    assert min(ends.values()) >= 5, ends


def test_many_are_as_each_alone():
    states, actions = np.random.default_rng(0).normal(size=(7, 4)), np.array([0, 1, 1, 0, 1, 0, 0])
    together = cartpole.move(states, actions)
    alone = [cartpole.move(states[i : i + 1], actions[i : i + 1])[0] for i in range(7)]
    np.testing.assert_array_equal(together, alone)


def test_one_ending_leaves_the_others():
    poles = cartpole.CartPole(2, seed=0)
    poles.states[1] = [0, 0, cartpole.STEEPEST, 1]
    step = poles.step(np.array([1, 1]))
    assert step.terminated.tolist() == [False, True] and poles.ages.tolist() == [1, 0]
    assert np.abs(step.states[1]).max() <= 0.05 and step.last[1, 2] > cartpole.STEEPEST
    np.testing.assert_array_equal(step.states[0], step.last[0])
