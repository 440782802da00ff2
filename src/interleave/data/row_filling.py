"""Which of the waiting examples go into a row: the only place that searches combinations.

Sums that can be reached are kept as the bits of one long integer for each number of views, so that a shift adds an
example to all of them at once.
"""

from collections.abc import Sequence

SLACK = 0.01
"""Of a row's length, so much may stay empty for the sake of an even number of views."""
CHOICE = 32
"""Examples among which the best combination is sought at a time."""

Size = tuple[int, int]
"""Tokens and views of an example."""


def filled(sizes: Sequence[Size], tokens: int, views: int, due: float, slack: int) -> list[int]:
    """Numbers of the examples that fill ``tokens`` as far as they can, with at most ``views``, the first ones first.

    Of combinations that leave up to ``slack`` tokens more than the fullest, the one whose views are nearest to ``due``.
    ``CHOICE`` are looked at together; where all of them fit, all are taken, and the next ones are looked at.
    """
    chosen: list[int] = []
    start = 0
    while start < len(sizes):
        group: list[int] = []
        while start < len(sizes) and len(group) < CHOICE:
            if sizes[start][0] <= tokens and sizes[start][1] <= views:
                group.append(start)
            start += 1
        best = _best([sizes[i] for i in group], tokens, views, due, slack)
        chosen += [group[i] for i in best]
        tokens -= sum(sizes[group[i]][0] for i in best)
        views -= sum(sizes[group[i]][1] for i in best)
        due -= sum(sizes[group[i]][1] for i in best)
    return chosen


def _best(sizes: Sequence[Size], tokens: int, views: int, due: float, slack: int) -> list[int]:
    if sum(t for t, _ in sizes) <= tokens and sum(v for _, v in sizes) <= views:
        return list(range(len(sizes)))
    steps = _reachable(sizes, tokens, views)
    fullest = max(sums.bit_length() for sums in steps[-1].values()) - 1
    enough = {v: sums.bit_length() - 1 for v, sums in steps[-1].items() if sums.bit_length() > fullest - slack}
    seen = min(enough, key=lambda v: (abs(v - due), -enough[v], v))
    left, chosen = enough[seen], []
    for i in reversed(range(len(sizes))):
        if not steps[i].get(seen, 0) >> left & 1:  # not without this one
            left, seen = left - sizes[i][0], seen - sizes[i][1]
            chosen.append(i)
    return chosen[::-1]


def _reachable(sizes: Sequence[Size], tokens: int, views: int) -> list[dict[int, int]]:
    """Before each example and after the last: the sums of tokens that can be reached, by number of views."""
    mask, steps = (1 << tokens + 1) - 1, [{0: 1}]
    for need, seen in sizes:
        sums = dict(steps[-1])
        for v, reached in steps[-1].items():
            if v + seen <= views and (more := (reached << need) & mask):
                sums[v + seen] = sums.get(v + seen, 0) | more
        steps.append(sums)
    return steps
