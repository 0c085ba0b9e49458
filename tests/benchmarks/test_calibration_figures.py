"""The pictures of a calibration say which layer costs what, which are kept, and how far the answers are apart."""

import re
from xml.etree import ElementTree

import numpy as np

from affectrt.benchmarks.calibration_figures import MAX_LAYERS, answers_svg, sensitivity_svg
from affectrt.bundle.manifest import Sensitivity


def words(svg: str) -> list[str]:
    return ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def layer(name: str, loss: float | None, error: float, stage: str = "video") -> Sensitivity:
    found = {} if loss is None else {"valence": loss, "arousal": loss / 2}
    return Sensitivity(stage=stage, layer=name, loss=found, error=error)


def test_each_layer_has_its_worst_loss_and_its_error_and_the_kept_one_its_colour() -> None:
    given = [layer("body.b/Conv_0:out0", 0.9802, 0.6059), layer("body.a/Conv_0:out0", -0.0003, 0.0031)]
    svg = sensitivity_svg(given, {("video", "body.b/Conv_0:out0")}, "one")
    assert {"body.b", "body.a", "0.9802", "−0.0001", "60.59", "0.31", "kept in higher precision"} <= set(words(svg))
    # two bars and the mark that explains them
    assert svg.count("var(--second)") == 3 and "#fe" not in svg
    assert "var(--second)" not in sensitivity_svg(given, set(), "two")
    assert all(name.startswith("one-") for name in re.findall(r' id="([^"]+)"', svg))


def test_where_no_ccc_was_judged_the_error_stands_alone() -> None:
    assert "loss of CCC" not in words(sensitivity_svg([layer("a", None, 0.1)], set(), "x"))
    mixed = words(sensitivity_svg([layer("a", 0.2, 0.1), layer("b", None, 0.1)], set(), "x"))
    assert "loss of CCC" in mixed and mixed.count("not judged") == 1


def test_layers_of_one_name_in_two_stages_and_two_of_one_module_are_told_apart() -> None:
    two = words(sensitivity_svg([layer("a/Conv_0", 0.1, 0.1), layer("a/Conv_0", 0.1, 0.1, "audio")], set(), "x"))
    assert {"video a", "audio a"} <= set(two)
    assert {"a/Conv_0", "a/Conv_1"} <= set(
        words(sensitivity_svg([layer("a/Conv_0", 0.1, 0.1), layer("a/Conv_1", 0.1, 0.1)], set(), "x"))
    )


def test_of_many_layers_the_first_are_drawn_and_the_rest_is_counted() -> None:
    many = [layer(f"layer{index}", 0.1 / (index + 1), 0.01) for index in range(MAX_LAYERS + 7)]
    found = words(sensitivity_svg(many, set(), "x"))
    assert "7 more layers do less" in found
    assert sum(text.startswith("layer") for text in found) == MAX_LAYERS


def test_answers_are_drawn_for_what_the_model_gives_and_gaps_are_no_difference() -> None:
    t_s = np.arange(100) / 25
    fp32 = {"valence": np.sin(t_s), "arousal": np.cos(t_s)}
    chosen = {"valence": np.sin(t_s) + 0.03, "arousal": np.where(t_s < 1, np.nan, np.cos(t_s) - 0.005)}
    found = words(answers_svg(t_s, fp32, chosen, "x"))
    assert {"Valence", "Arousal", "at most 0.030 apart", "at most 0.005 apart", "seconds"} <= set(found)
    alone = words(answers_svg(t_s, {"arousal": fp32["arousal"]}, chosen, "x", 380))
    assert "Valence" not in alone and "Arousal" in alone
