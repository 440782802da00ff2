"""Which of the waiting examples go into a row: the only place that searches combinations.

This is the subset-sum problem with a second number, solved exactly by dynamic programming. For each number of views,
the sums of tokens that can be reached are the bits of one long integer (bit n: some combination has n tokens), so that
a shift adds an example to all combinations at once.
"""

from collections.abc import Sequence

from .budget import NO_LOAD, Load

SLACK = 0.01
"""The share of a row's length that may stay empty for the sake of an even number of views."""
CHOICE = 32
"""How many examples are searched together for the best combination."""

Reachable = dict[int, int]
"""Number of views -> the sums of tokens that combinations with so many views have, as bits of an integer."""


def filled(loads: Sequence[Load], space: Load, due_views: float, slack: int) -> list[int]:
    """Choose examples that fill ``space``; returns their indices in ``loads``, ascending.

    Among combinations that leave at most ``slack`` tokens more empty than the fullest one, the one with its views
    nearest to ``due_views`` is taken. ``CHOICE`` examples are searched together, from the first on; where all of them
    fit, all are taken. The next ones then compete for the space that is left.

    loads: size of each example.
    space: tokens and views that the chosen ones may have together.
    due_views: the number of views that the row should have.
    slack: tokens.
    """
    chosen: list[int] = []
    start = 0  # the first example that was not looked at yet
    while start < len(loads):
        group: list[int] = []  # up to CHOICE examples that still fit by themselves
        while start < len(loads) and len(group) < CHOICE:
            if loads[start].fits_into(space):
                group.append(start)
            start += 1
        best = _best_combination([loads[i] for i in group], space, due_views, slack)
        taken = sum((loads[group[i]] for i in best), NO_LOAD)
        chosen += [group[i] for i in best]
        space = space - taken
        due_views -= taken.views
    return chosen


def _best_combination(loads: Sequence[Load], space: Load, due_views: float, slack: int) -> list[int]:
    """As ``filled``, over all combinations of the examples."""
    if sum(loads, NO_LOAD).fits_into(space):
        return list(range(len(loads)))
    reachable = _reachable(loads, space)
    # the highest bit that is set is the largest sum of tokens
    fullest = max(sums.bit_length() for sums in reachable[-1].values()) - 1
    candidates: dict[int, int] = {}  # number of views -> most tokens
    for views, sums in reachable[-1].items():
        tokens = sums.bit_length() - 1
        if tokens >= fullest - slack:
            candidates[views] = tokens
    # nearest to what is due; of two that are equally near the fuller one, then the one with fewer views
    best = min(candidates, key=lambda views: (abs(views - due_views), -candidates[views], views))
    return _combination(loads, reachable, Load(candidates[best], best))


def _combination(loads: Sequence[Load], reachable: Sequence[Reachable], total: Load) -> list[int]:
    """Indices of examples whose loads sum up to ``total``, found from the last example back to the first."""
    chosen: list[int] = []
    for i in reversed(range(len(loads))):
        # whether the earlier examples alone reach the same total
        without_this_one = reachable[i].get(total.views, 0) >> total.tokens & 1
        if not without_this_one:
            total = total - loads[i]
            chosen.append(i)
    return chosen[::-1]  # ascending


def _reachable(loads: Sequence[Load], space: Load) -> list[Reachable]:
    """What combinations within ``space`` reach: entry i with the first i examples, so the last entry with all."""
    mask = (1 << space.tokens + 1) - 1  # bits 0 to space.tokens
    steps: list[Reachable] = [{0: 1}]  # without any example: no view, and bit 0 for no token
    for load in loads:
        before = steps[-1]
        after = dict(before)  # combinations that leave the example out
        for views, sums in before.items():
            if views + load.views > space.views:
                continue
            # every sum grows by the example's tokens; those beyond the space are cut off
            longer = (sums << load.tokens) & mask
            if longer:
                after[views + load.views] = after.get(views + load.views, 0) | longer
        steps.append(after)
    return steps
