"""The picture of time against length."""

from ssm_bench.speed import length_plot
from ssm_bench.speed.grid import Problem
from ssm_testing.problems import row


def test_a_picture_shows_each_operator_at_the_sizes_with_most_lengths(tmp_path):
    def of(name, H, L, work="forward+backward"):
        return row(Problem(name, 0, H, 8, L), work=work)

    rows = [of("cauchy", 9, L) for L in (1, 2)] + [of("cauchy", 5, L) for L in (1, 2, 4)] + [of("long_conv", 5, 1)]
    rows.append(of("cauchy", 5, 8, "forward"))
    rows.append(of("cauchy", 5, 4))
    assert length_plot.panels(rows) == {"cauchy": [rows[2], rows[3], rows[4], rows[7]]}
    assert not length_plot.draw(rows[5:6], "nothing at two lengths", tmp_path / "none.png")
    assert not list(tmp_path.iterdir())
