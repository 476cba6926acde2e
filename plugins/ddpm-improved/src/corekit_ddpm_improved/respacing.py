"""Which steps of a long schedule are kept, by a few words. Plain Python: specs use it too."""

from collections.abc import Sequence

Respacing = int | str | Sequence[int]
"""25, "25", "10,15,20", [10, 15, 20] or "ddim25"; "" keeps all steps."""


def kept_steps(steps: int, respacing: Respacing) -> list[int]:
    """The steps t = 0 ... T-1 that are kept, in order.

    - a number of steps, or several numbers ("10,15,20", a list): so many of each of as many equal
      sections of the schedule, of which the first ``T mod sections`` are one step longer. Within a
      section they are spread evenly from its first step to its last; of one step, the first
    - ``ddimN``: every i-th step from 0, with the smallest i that leaves N of them
    - "": all steps

    Raises:
        ValueError: If there are not so many steps, in words that name both numbers.

    Source:
        Nichol and Dhariwal, Improved DDPM, ICML 2021, section 4, https://arxiv.org/abs/2102.09672;
        its words are those of improved-diffusion, respace.py (``space_timesteps``).

    Example:
        >>> kept_steps(10, 3), kept_steps(10, "ddim5"), kept_steps(10, "1,2")
        ([0, 4, 9], [0, 2, 4, 6, 8], [0, 5, 9])
    """
    if isinstance(respacing, str) and not respacing.strip():
        return list(range(steps))
    if isinstance(respacing, str) and respacing.strip().startswith("ddim"):
        return _strided(steps, respacing)
    counts = _counts(respacing)
    size, longer = divmod(steps, len(counts))
    kept, start = [], 0
    for number, count in enumerate(counts):
        length = size + (number < longer)
        if count > length:
            raise ValueError(
                f"respacing must keep at most as many steps as there are, got {count} of the "
                f"{length} steps of section {number + 1} of {len(counts)} ({steps} steps in all)"
            )
        kept += [start + offset for offset in _spread(length, count)]
        start += length
    if not kept:
        raise ValueError(f"respacing must keep at least one of {steps} steps, got {respacing!r}")
    return kept


def _spread(length: int, count: int) -> list[int]:
    """``count`` of the steps 0 ... length-1, with both ends.

    As in the reference, the stride is added up, not multiplied (of 16 steps, 15 would be others),
    and halves are rounded to even numbers.
    """
    stride = (length - 1) / (count - 1) if count > 1 else 1.0
    at, offsets = 0.0, []
    for _ in range(count):
        offsets.append(round(at))
        at += stride
    return offsets


def _strided(steps: int, respacing: str) -> list[int]:
    word = respacing.strip().removeprefix("ddim")
    if not word.isdecimal():
        raise ValueError(f"respacing must be ddim and a number, as ddim25, got {respacing!r}")
    number = int(word)
    for stride in range(1, max(steps, 2)):
        kept = list(range(0, steps, stride))
        if len(kept) == number:
            return kept
    near = sorted({len(range(0, steps, i)) for i in range(1, max(steps, 2))})
    best = min(near, key=lambda count: (abs(count - number), count))
    raise ValueError(
        f"respacing must leave {number} of {steps} steps by a whole stride, got {respacing!r}, for "
        f"which there is none; use ddim{best}, or '{number}' for uneven strides"
    )


def _counts(respacing: Respacing) -> list[int]:
    if isinstance(respacing, bool):
        raise ValueError(f"respacing must be a number of steps, got {respacing}")
    if isinstance(respacing, int):
        counts = [respacing]
    elif isinstance(respacing, str):
        words = [word.strip() for word in respacing.split(",")]
        if not all(word.isdecimal() for word in words):
            raise ValueError(
                "respacing must be a number of steps, several with commas between them, or ddim "
                f"and a number, got {respacing!r}"
            )
        counts = [int(word) for word in words]
    else:
        counts = list(respacing)
    if not counts or min(counts) < 0:
        raise ValueError(f"respacing must count steps, 0 or more of each section, got {respacing}")
    return counts
