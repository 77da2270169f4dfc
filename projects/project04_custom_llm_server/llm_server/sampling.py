"""The next token of one sequence: greedy, or drawn with a random number that its seed and position alone decide.

So a request gives the same answer whatever else the server computes. (Its logits depend on the size of the step in
their last bits; a draw would have to fall that near to the border of two tokens to notice.)
"""

import numpy as np

from llm_server.engine.base import Sampling

SEEDS = 2**64  # one more than the largest


def choose(logits: np.ndarray, sampling: Sampling, position: int) -> int:
    """Return the token that follows.

    Args:
        logits: (V,) float32.
        sampling: of the request.
        position: of the new token in its sequence.
    """
    if sampling.temperature == 0:
        return int(np.argmax(logits))
    tokens, shares = distribution(logits, sampling)
    # Philox is a function of key and counter, as TensorFlow's stateless generators are.
    number = np.random.Generator(np.random.Philox(key=sampling.seed % SEEDS, counter=position)).random()
    edges = np.cumsum(shares)
    return int(tokens[np.searchsorted(edges[:-1], number * edges[-1], side="right")])


def distribution(logits: np.ndarray, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens that may be drawn and their probabilities.

    As in vLLM and transformers: divide by the temperature, keep the ``top_k`` likeliest (and what is as likely as the
    last of them), and of these the fewest that have ``top_p`` together.
    """
    scaled = logits.astype(np.float64) / sampling.temperature
    tokens = np.arange(len(scaled))
    if 0 < sampling.top_k < len(scaled):
        tokens = np.flatnonzero(scaled >= np.partition(scaled, -sampling.top_k)[-sampling.top_k])
    shares = np.exp(scaled[tokens] - scaled.max())
    shares /= shares.sum()
    if sampling.top_p < 1:
        # All that are below this have less than 1 - top_p together, so none of them is needed, nor to be sorted.
        likely = shares >= (1 - sampling.top_p) / len(shares)
        tokens, shares = tokens[likely], shares[likely]
        order = np.argsort(-shares, kind="stable")
        kept = order[: np.searchsorted(np.cumsum(shares[order]), sampling.top_p) + 1]
        tokens, shares = tokens[kept], shares[kept] / shares[kept].sum()
    return tokens, shares
