"""Units with their dimensions, so that 5 m equals 500 cm and not 5 s."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from atts_harness.grading.wordlists import words_of

Dimensions = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Unit:
    """A product of powers of base units.

    Attributes:
        factor: how many of the base units it is.
        dimensions: base units and their powers, sorted; powers are never 0.
    """

    factor: Fraction
    dimensions: Dimensions

    def times(self, other: Unit, power: int = 1) -> Unit:
        """The product with a power of another unit."""
        powers = dict(self.dimensions)
        for base, exponent in other.dimensions:
            powers[base] = powers.get(base, 0) + exponent * power
        dimensions = tuple(sorted((base, p) for base, p in powers.items() if p))
        return Unit(self.factor * other.factor**power, dimensions)


NONE = Unit(Fraction(1), ())

# Base unit: symbols and names, with what one of them is in base units.
_TABLE: dict[str, dict[str, str | int]] = {
    "length": {
        "m metre metres meter meters": 1,
        "cm centimetre centimetres centimeter centimeters": "1/100",
        "mm millimetre millimetres millimeter millimeters": "1/1000",
        "dm decimetre decimetres decimeter decimeters": "1/10",
        "km kilometre kilometres kilometer kilometers": 1000,
        "inch inches in ins": "127/5000",
        "foot feet ft": "381/1250",
        "yard yards yd yds": "1143/1250",
        "mile miles mi": "201168/125",
        "厘米": "1/100", "毫米": "1/1000", "千米": 1000, "公里": 1000, "米": 1,
    },
    "mass": {
        "g gram grams gm": 1,
        "kg kilogram kilograms kilo kilos kgs": 1000,
        "mg milligram milligrams": "1/1000",
        "tonne tonnes": 1000000,
        "lb lbs pound pounds": "45359237/100000",
        "oz ounce ounces": "45359237/1600000",
        "千克": 1000, "公斤": 1000, "克": 1,
    },
    "time": {
        "s sec secs second seconds": 1,
        "ms millisecond milliseconds": "1/1000",
        "min mins minute minutes": 60,
        "h hr hrs hour hours": 3600,
        "day days": 86400,
        "week weeks": 604800,
        "秒": 1, "分钟": 60, "小时": 3600, "天": 86400,
    },
    "month": {"month months": 1, "year years yr yrs": 12, "decade decades": 120,
              "century centuries": 1200, "个月": 1, "年": 12},
    "angle": {
        "deg degree degrees": 1,
        "arcminute arcminutes": "1/60",
        "arcsecond arcseconds": "1/3600",
        "度": 1,
    },
    "radian": {"rad radian radians": 1},
    "temperature": {"°C celsius centigrade": 1, "°F fahrenheit": 1, "K kelvin kelvins": 1},
    "dollar": {"dollar dollars USD usd money buck bucks": 1, "cent cents ¢": "1/100",
               "美元": 1},
    "euro": {"euro euros EUR €": 1},
    "sterling": {"GBP £ sterling": 1, "pence": "1/100"},
    "yuan": {"yuan RMB CNY 元": 1},
    "yen": {"yen JPY ¥": 1},
    "rupee": {"rupee rupees INR Rs ₹": 1},
    "newton": {"N newton newtons": 1},
    "joule": {"J joule joules": 1, "kJ kilojoule kilojoules": 1000, "Wh": 3600, "kWh": 3600000},
    "watt": {"W watt watts": 1, "kW kilowatt kilowatts": 1000},
    "volt": {"V volt volts": 1},
    "ampere": {"A amp amps ampere amperes": 1},
    "pascal": {"Pa pascal pascals": 1, "kPa": 1000, "atm": 101325},
    "hertz": {"Hz hertz": 1, "kHz": 1000, "MHz": 1000000},
    "unit": {"unit units": 1},
    "ohm": {"ohm ohms": 1},
    "mole": {"mol mole moles": 1},
    "electronvolt": {"eV": 1, "keV": 1000, "MeV": 1000000, "GeV": 1000000000},
}  # fmt: skip
_LENGTH = ("length", 1)
UNITS: dict[str, Unit] = {
    name: Unit(Fraction(size), ((base, 1),))
    for base, rows in _TABLE.items()
    for names, size in rows.items()
    for name in names.split()
}
"""By symbol or name. Temperatures differ by an offset, so each scale is a dimension."""
for _scale in ("°F", "K"):
    for _name in {"°F": ("°F", "fahrenheit"), "K": ("K", "kelvin", "kelvins")}[_scale]:
        UNITS[_name] = Unit(Fraction(1), ((_scale, 1),))
_LITRE = Unit(Fraction(1, 1000), (("length", 3),))
for _name in words_of("l L litre litres liter liters"):
    UNITS[_name] = _LITRE
for _name in words_of("ml mL millilitre millilitres milliliter milliliters cc"):
    UNITS[_name] = Unit(_LITRE.factor / 1000, _LITRE.dimensions)
UNITS["acre"] = UNITS["acres"] = Unit(Fraction(4840) * UNITS["yard"].factor ** 2, (("length", 2),))
UNITS["hectare"] = UNITS["hectares"] = Unit(Fraction(10000), (("length", 2),))
for _name, _top, _bottom in (
    ("mph", "mile", "hour"),
    ("kph", "km", "hour"),
    ("kmh", "km", "hour"),
):
    UNITS[_name] = UNITS[_top].times(UNITS[_bottom], -1)

SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9,
    "trillion": 10**12, "dozen": 12, "十": 10, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8,
}  # fmt: skip
"""Words that multiply the number before them."""

_WORD = re.compile(r"[A-Za-z°€£¥₹¢]+")


def parse_unit(text: str) -> Unit | None:
    r"""A unit from a row's own field: `cm`, `km/h`, `^{\circ}`, `cm^2`; None if it is none."""
    if "circ" in text:
        return UNITS["degree"]
    unit, power = NONE, 1
    cleaned = re.sub(r"\\(?:text|mathrm|mbox)\b|[{}$~\\]", "", text).strip()
    if not cleaned:
        return None
    for match in re.finditer(r"([A-Za-z°€£¥₹¢]+)(?:\^(-?\d))?|(/|per)|(\S)", cleaned):
        name, exponent, slash, other = match.groups()
        if slash or name == "per":
            power = -1
        elif name in UNITS:
            unit = unit.times(UNITS[name], power * int(exponent or 1))
            power = 1
        elif other != "*":
            return None
    return unit
