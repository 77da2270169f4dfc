"""The kernel that practice 11.2 gives ready-made: softmax and dropout with eight random bits an element.

It is here and not in the notebook because it contains the answer of the practice's problem 4; the notebook prints
its source when that is solved.
"""

from tf_study import mini_triton

tl = mini_triton.language


def softmax_dropout8(x, out, cols, seed, threshold, scale, BLOCK: tl.constexpr):
    """이웃한 열여섯 원소가 카운터 하나를 씁니다. 원소마다 8비트입니다."""
    row, offs = tl.program_id(0), tl.arange(0, BLOCK)
    at, mask = row * cols + offs, offs < cols
    v = tl.load(x + at, mask, -float("inf"))
    e = tl.exp(v - tl.max(v, 0))
    counter = row * (BLOCK // 16) + tl.arange(0, BLOCK // 16)
    a, b, c, d = tl.randint4x(seed, counter)
    words = tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (BLOCK // 4,))
    even, odd = tl.join(words, words >> 16), tl.join(words >> 8, words >> 24)
    octets = tl.reshape(tl.join(even, odd), (BLOCK,)) & 255
    y = e * (scale / tl.sum(e, 0))
    tl.store(out + at, tl.where(octets >= threshold, y, 0.0), mask)
