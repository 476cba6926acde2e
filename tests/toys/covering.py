"""A few cases in place of all: every few values of different columns stand together in one."""

from itertools import combinations


def combined(case, size):
    """Which values of so many columns stand together in a case."""
    return set(combinations(enumerate(case), size))


def covering(cases, size, known=()):
    """Cases that hold every combination that the known ones lack; the one that adds most first."""
    of = {case: combined(case, size) for case in cases}
    left = set().union(*of.values()) - set().union(*(combined(case, size) for case in known))
    chosen = []
    while left:
        chosen.append(max(cases, key=lambda case: len(of[case] & left)))
        left -= of[chosen[-1]]
    return chosen
