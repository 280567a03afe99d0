"""ListOps expressions: the evaluator, and the generator against a sample of the Long Range Arena's own."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ssm_data.generators import listops_expressions as generator
from ssm_data.generators.listops_expressions import Grammar, evaluate

SAMPLES = Path(__file__).parents[1] / "samples"


def sources(expressions):
    """Expressions as text."""
    for start, end in zip(expressions.offsets, expressions.offsets[1:], strict=False):
        yield " ".join(generator.SYMBOLS[code] for code in expressions.codes[start:end])


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("7", 7),
        ("[MAX 2 9 [MIN 4 7 ] 0 ]", 9),
        ("[MED 1 2 ]", 1),
        ("[MED 3 9 4 ]", 4),
        ("[MED 8 3 4 9 ]", 6),
        ("[SM 9 8 [SM 7 6 ] ]", 0),
        ("( ( ( [MIN 5 ) 3 ) ] )", 3),
    ],
)
def test_evaluates(source, value):
    assert evaluate(source) == value


@pytest.mark.parametrize("source", ["", "1 2", "[MAX 1", "]", "[MAX ]", "[AVG 1 2 ]", "12"])
def test_a_text_that_is_no_expression_is_refused(source):
    with pytest.raises(ValueError):  # noqa: PT011 (each has its own words)
        evaluate(source)


def test_evaluator_gives_the_labels_of_the_original_generator():
    rows = (SAMPLES / "listops_basic_test.tsv").read_text().splitlines()[1:]
    assert len(rows) == 20
    for row in rows:
        source, target = row.split("\t")
        assert evaluate(source) == int(target)


def test_generator_agrees_with_the_evaluator():
    expressions = generator.generate(np.random.default_rng(3), 60, Grammar())
    assert [evaluate(source) for source in sources(expressions)] == expressions.values.tolist()


def chi_square(counts, expected_counts):
    """Statistic of homogeneity of two samples of the same categories, and its degrees of freedom."""
    table = np.array([[counts.get(key, 0), expected_counts.get(key, 0)] for key in sorted({*counts, *expected_counts})])
    table = table[table.sum(axis=1) >= 10]
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return ((table - expected) ** 2 / expected).sum(), len(table) - 1


def structure(source):
    """Numbers of arguments of the operators, and the depth of the deepest operator."""
    arguments, depth, stack = Counter(), 0, []
    for symbol in source.split():
        if symbol == "]":
            arguments[str(stack.pop())] += 1
        elif symbol.startswith("["):
            if stack:
                stack[-1] += 1
            stack.append(0)
            depth = max(depth, len(stack))
        else:
            stack[-1] += 1
    return arguments, str(depth)


def test_generator_has_the_distribution_of_the_original():
    """Two-sample tests at a level of about 0.001 each, against 1,000 rows of the original generator."""
    sample = json.loads((SAMPLES / "listops_1000.json").read_text())
    expressions = generator.generate(np.random.default_rng(0), 1000, Grammar())
    ours = np.sort(np.diff(expressions.offsets))
    theirs = np.array(sample["lengths"])
    grid = np.arange(500, 2001)
    distance = np.abs(np.searchsorted(ours, grid, "right") - np.searchsorted(theirs, grid, "right")).max() / 1000
    assert distance < 1.95 * np.sqrt(2 / 1000)  # Kolmogorov-Smirnov

    arguments, depths = Counter(), Counter()
    for source in sources(expressions):
        number, depth = structure(source)
        arguments += number
        depths[depth] += 1
    codes = np.bincount(expressions.codes, minlength=15)
    symbols = {symbol: int(count) for symbol, count in zip(generator.SYMBOLS, codes, strict=True)}
    values = Counter(str(value) for value in expressions.values)
    for counts, name in (
        (symbols, "symbols"),
        (values, "values"),
        (arguments, "arguments"),
        (depths, "operator_depth"),
    ):
        statistic, freedom = chi_square(counts, sample[name])
        assert statistic < freedom + 3.3 * np.sqrt(2 * freedom) + 4, name


def test_lengths_stay_in_bounds():
    lengths = np.diff(generator.generate(np.random.default_rng(1), 200, Grammar()).offsets)
    assert lengths.min() > 500
    assert lengths.max() < 2000
