"""Numbers in English and in Korean words: a translation whose right answer is known for every sentence."""

import numpy as np

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
LARGEST = 10**12 - 1


def english(n):
    """Words of n, 0 <= n < 10^12, in groups of three digits: 20,105 -> twenty thousand one hundred five."""
    _check(n)
    if n < 20:
        return [ONES[n]]
    parts = []
    for size, name in ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (100, "hundred")):
        if n >= size:
            parts += [*english(n // size), name]
            n %= size
    if n >= 20:
        parts.append(TENS[n // 10 - 2])
        n %= 10
    return parts + ([ONES[n]] if n else [])


def korean(n):
    """Syllables of n, 0 <= n < 10^12, in groups of four digits: 20,105 -> 이 만 백 오.

    Sino-Korean. A one is not said before 십, 백, 천, nor before 만 when it leads (10,000 is 만), but it is
    before 억 (일 억).
    """
    _check(n)
    if n == 0:
        return ["영"]
    groups = []
    for size, name in ((10**8, "억"), (10**4, "만"), (1, "")):
        group, n = divmod(n, size)
        if group:
            said = [] if group == 1 and name == "만" and not groups else _thousands(group)
            groups += [*said, name] if name else said
    return groups


def _thousands(n):
    said = []
    for size, name in ((1000, "천"), (100, "백"), (10, "십"), (1, "")):
        digit, n = divmod(n, size)
        if digit:
            said += (["일이삼사오육칠팔구"[digit - 1]] if digit > 1 or size == 1 else []) + ([name] if name else [])
    return said


def _check(n):
    if not 0 <= n <= LARGEST:
        raise ValueError(f"{n} is outside 0..{LARGEST}")


def numbers(count, digits=8, seed=0):
    """`count` different numbers whose numbers of digits are as equally frequent as can be: a list in random order.

    There are only ten numbers of one digit: the short ones run out, the longer ones fill up.
    """
    rng = np.random.default_rng(seed)
    found = set()
    if count > 10**digits:
        raise ValueError(f"there are no {count} different numbers of at most {digits} digits")
    while len(found) < count:
        d = int(rng.integers(1, digits + 1))
        found.add(int(rng.integers(10 ** (d - 1) if d > 1 else 0, 10**d)))
    return rng.permutation(sorted(found)).tolist()
