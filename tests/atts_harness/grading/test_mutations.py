"""A gold that is changed in one place is refused, one that is written otherwise is accepted."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from atts_harness.grading.equivalence import Gold, fast

whole = st.integers(2, 999)
small = st.integers(2, 9)
letters = st.sampled_from("abcdkmnpqrstuvwxyz")


def right(gold, answer, **row):
    verdict = fast(answer, Gold(gold, **row))
    assert verdict is not None, (gold, answer)
    return verdict.right


def none_right(gold, answers):
    assert [answer for answer in answers if right(gold, answer)] == []


def all_right(gold, answers):
    assert [answer for answer in answers if not right(gold, answer)] == []


@settings(deadline=None, max_examples=50)
@given(whole)
def test_whole_numbers(n):
    gold = str(n)
    all_right(
        gold, [f"{n}.0", f"0{n}", rf"\frac{{{2 * n}}}{{2}}", f"x = {n}", f"{n} eggs", f"+{n}"]
    )
    all_right(gold, [rf"{n}\text{{ cm}}", rf"\${n}", rf"{n}^\circ", f"m+n={n}", rf"\boxed{{{n}}}"])
    none_right(
        gold, [f"-{n}", rf"\pm {n}", rf"\frac{{1}}{{{n}}}", f"{n}, 7919", f"{n}^2", f"{n}_7"]
    )
    none_right(
        gold, [f"{n}m", f"{n}x", f"{n}!" if n > 2 else "7", rf"{n}\%", f"2x = {n}", f"x > {n}"]
    )
    none_right(gold, [rf"{n}\text{{ thousand}}", rf"{n}\text{{ or more}}", rf"\text{{not }} {n}"])
    if n > 9:
        head, tail = gold[0], gold[1:]
        none_right(gold, [f"{head}**{tail}", f"{head} {tail}", f"{head}, {tail}", f"{head}.{tail}"])


@settings(deadline=None, max_examples=50)
@given(whole, whole)
def test_fractions(top, bottom):
    assume(top != bottom)
    gold = rf"\frac{{{top}}}{{{bottom}}}"
    all_right(
        gold, [f"{top}/{bottom}", rf"\dfrac{{{3 * top}}}{{{3 * bottom}}}", f"({top})/({bottom})"]
    )
    all_right(
        gold,
        [
            rf"\frac{{{top}}}{{{bottom}}} \text{{ ft}}",
            rf"P(A) = {gold}",
            f"{{{top} \\over {bottom}}}",
        ],
    )
    none_right(
        gold, [f"{bottom}/{top}", f"-{gold}", f"{top}{bottom}", rf"{gold}^2", f"{top + 1}/{bottom}"]
    )
    none_right(
        gold, [rf"\sqrt{{{gold}}}", f"{gold}, 7919", f"({top}, {bottom})", f"{top} {bottom}"]
    )


@settings(deadline=None, max_examples=50)
@given(small, st.integers(11, 97), letters, letters)
def test_formulas(a, b, x, y):
    assume(x != y)
    gold = f"{a}{x}+{b}{y}"
    all_right(
        gold,
        [f"{b}{y}+{a}{x}", rf"{a} \cdot {x} + {b}*{y}", rf"{x}\cdot{a}-(-{b}{y})", f"z_1={gold}"],
    )
    all_right(gold, [rf"{a}({x}+\frac{{{b}}}{{{a}}}{y})", rf"\frac{{{2 * a}{x}+{2 * b}{y}}}{{2}}"])
    none_right(
        gold, [f"{a}{x}-{b}{y}", f"{a}{y}+{b}{x}", f"{a}{x}+{b}", f"{a}+{b}", f"{a}{x}^2+{b}{y}"]
    )
    none_right(
        gold,
        [f"{a}{x.upper()}+{b}{y}", f"-({gold})", rf"\lfloor {gold} \rfloor", f"{a}({x}+{b}{y})"],
    )


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-99, 99), min_size=3, max_size=5, unique=True), st.randoms())
def test_lists_and_tuples(values, rng):
    shuffled = list(values)
    rng.shuffle(shuffled)
    bare, mixed = (", ".join(map(str, some)) for some in (values, shuffled))
    all_right(
        bare,
        [mixed, rf"\{{{mixed}\}}", rf"x \in \{{{mixed}\}}", mixed.replace(",", r" \text{ or }")],
    )
    none_right(bare, [f"{bare}, 7919", mixed.rpartition(",")[0], f"({bare})", f"[{bare}]"])
    all_right(f"({bare})", [bare, rf"\left({bare}\right)", rf"\langle {bare} \rangle"])
    none_right(f"({bare})", [f"[{bare}]", rf"\{{{bare}\}}", f"({bare}, 7919)", f"({bare}]"])
    assert right(f"({bare})", f"({mixed})") == (values == shuffled)


@settings(deadline=None, max_examples=50)
@given(st.integers(-50, 50), st.integers(1, 60), letters)
def test_intervals(low, length, x):
    high = low + length
    gold = f"({low}, {high}]"
    all_right(gold, [rf"{low} < {x} \le {high}", rf"{high} \ge {x} > {low}", rf"{x} \in {gold}"])
    all_right(
        gold,
        [rf"\{{{x} \mid {low} < {x} \le {high}\}}", rf"{x} > {low} \text{{ and }} {x} \le {high}"],
    )
    none_right(
        gold,
        [f"({low}, {high})", f"[{low}, {high}]", f"{low}, {high}", rf"{low} \le {x} \le {high}"],
    )
    none_right(
        gold,
        [f"({low}, {high + 1}]", rf"{x} > {low}", rf"(-\infty, {high}]", rf"\{{{low}, {high}\}}"],
    )


@settings(deadline=None, max_examples=50)
@given(whole, st.sampled_from([("cm", "m", 100), ("minutes", "hours", 60), ("g", "kg", 1000)]))
def test_units(n, units):
    one, many, size = units
    gold = rf"{n * size}\text{{ {one}}}"
    all_right(gold, [rf"{n}\text{{ {many}}}", str(n * size), rf"{n * size} \mathrm{{ {one}}}"])
    none_right(
        gold,
        [rf"{n * size}\text{{ {many}}}", rf"{n * size}\text{{ {one}}}^2", rf"{n}\text{{ dollars}}"],
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 60), st.integers(2, 60))
def test_roots(a, b):
    gold = rf"{a}\sqrt{{{b}}}"
    all_right(
        gold,
        [
            f"{a}*sqrt({b})",
            f"{a}√{b}",
            rf"\sqrt{{{a * a * b}}}",
            rf"{gold} \approx {a * b**0.5:.3f}",
        ],
    )
    none_right(
        gold,
        [rf"{a}\sqrt[3]{{{b}}}", f"{a * b + 1}", rf"\sqrt{{{a * b + 1}}}", rf"{a}+\sqrt{{{b}}}"]
        if (a, b) != (2, 4)
        else [],
    )
    none_right(gold, [rf"-{gold}", rf"\pm{gold}", f"{a * b**0.5 + 1:.3f}"])


def test_no_mutation_of_the_golds_is_accepted(load_benchmark, shared):
    mutations = load_benchmark("mutations")
    found = mutations.all_golds(shared / "benchmarks")
    # The benchmark takes all of them; a fifth keeps the suite quick.
    counts, accepted = mutations.survey(dict(list(found.items())[::5]))
    assert len(counts) >= 14
    assert sum(counts.values()) > 10_000
    assert accepted == []


@pytest.mark.parametrize("answer", ["", " ", "$$", r"\text{}", "{}", ",", ".", r"\boxed{}"])
def test_nothing_is_never_right(answer):
    for gold in ("5", r"\emptyset", r"\text{nothing}", "0"):
        assert not right(gold, answer)
