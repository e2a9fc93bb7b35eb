"""Numbers as people write them, and words that follow from numbers."""

import math
import unicodedata
from collections.abc import Sequence

MISSING = "–"
NB = "\N{NO-BREAK SPACE}"
Z95 = 1.959964  # standard deviations on either side that hold 95 % of a normal distribution
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits, thousands apart, powers of ten outside 0.001 .. 1,000,000; a dash for no value."""
    if unusual := _unusual(value):
        return unusual
    if value == 0:
        return "0"
    value = float(f"{value:.{digits - 1}e}")
    exponent = math.floor(math.log10(abs(value)))
    if not -3 <= exponent < 6:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa}{NB}×{NB}10{str(int(power)).translate(_SUPERSCRIPTS)}".replace("-", "−")
    return f"{value:,.{max(0, digits - 1 - exponent)}f}".replace("-", "−")


def ratio(value: float | None, to: float | None) -> float:
    """How many times `to` a value is; NaN where that is not defined."""
    return math.nan if value is None or not to else value / to


def whole(value: float | None) -> str:
    """A count: 1,000."""
    return _unusual(value) or f"{value:,.0f}".replace("-", "−")


def nfe(calls: float) -> str:
    """A number of network evaluations: 50 NFE."""
    return f"{whole(calls)}{NB}NFE"


def with_article(noun: str) -> str:
    """A digit, an image."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def fixed(value: float | None, decimals: int = 2) -> str:
    """A ratio with a fixed number of decimals, so that columns line up."""
    return _unusual(value) or f"{value:.{decimals}f}".replace("-", "−")


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal."""
    if share is None:
        return MISSING
    return _unusual(share) or f"{100 * share:.1f}{NB}%".replace("-", "−")


def spread(mean: float | None, std: float | None) -> str:
    """mean ± std, both with the decimals that the std needs."""
    if mean is None or std is None or not math.isfinite(mean) or not math.isfinite(std) or std == 0:
        return number(mean)
    decimals = max(0, 1 - math.floor(math.log10(std)))
    return f"{mean:,.{decimals}f}{NB}±{NB}{std:,.{decimals}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """0.45 s, 21.3 s, 4 min 12 s, 2 h 05 min."""
    if unusual := _unusual(seconds):
        return unusual
    if seconds < 99.95:
        return f"{number(seconds)}{NB}s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes}{NB}min{NB}{rest:02d}{NB}s"
        if minutes < 120
        else f"{minutes // 60}{NB}h{NB}{minutes % 60:02d}{NB}min"
    )


def isolated(name: str) -> str:
    """A name within a sentence: one that is written from right to left would turn the numbers beside it around."""
    from_right = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in name)
    return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}" if from_right else name


def listing(items: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def movement(before: float, after: float, tolerance: float, rises: str, falls: str, stays: str) -> str:
    """One of three wordings; a change within `tolerance` counts as none."""
    if abs(after - before) <= tolerance:
        return stays
    return rises if after > before else falls


def share_error(share: float, n: float) -> float:
    """Standard error of a share among n, with one success and one failure added so that 0 and 1 have an error too.

    NaN where nothing was counted.
    """
    if not n or not 0 <= share <= 1:
        return math.nan
    smoothed = (share * n + 1) / (n + 2)
    return math.sqrt(smoothed * (1 - smoothed) / n)


def wilson(share: float, n: float) -> tuple[float, float]:
    """The interval of a share among n that covers the true one in 95 of 100 cases (Wilson 1927); NaN where n is 0."""
    if not (n > 0 and 0 <= share <= 1):
        return math.nan, math.nan
    middle, weight = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n), Z95 / (1 + Z95**2 / n)
    half = weight * math.sqrt(share * (1 - share) / n + (Z95 / (2 * n)) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)


def share_of(share: float | None, n: float) -> str:
    """A share among n as a percentage with its interval: 97.1 % (95.9 to 98.0)."""
    low, high = (math.nan, math.nan) if share is None else wilson(share, n)
    return percent(share) if math.isnan(low) else f"{percent(share)} ({100 * low:.1f}{NB}to{NB}{100 * high:.1f})"


def differ(a: float, b: float, error_a: float, error_b: float) -> bool:
    """Whether two measurements are more than two standard errors apart."""
    return abs(a - b) > 2 * math.hypot(error_a, error_b)


def _unusual(value: float | None) -> str:
    """What stands for a value that is missing or infinite; empty for any other."""
    if value is None or math.isnan(value):
        return MISSING
    return "" if math.isfinite(value) else "∞" if value > 0 else "−∞"
