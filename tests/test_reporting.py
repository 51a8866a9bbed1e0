import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from report_model import INK, build_model, claim, criterion

from ntkflow.errors import ConfigurationError
from ntkstudy.report import page as reporting
from ntkstudy.report.page import render

TEMPLATE = Path(__file__).parents[1] / "report" / "template"
VOID = {"meta", "link", "br", "col", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects identifiers, attributes and the text of a page; fails on unbalanced tags."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.ids, self.attributes, self.text = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"unbalanced {tag} at {self.getpos()}"

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style", "script"}:
            self.text.append(data)


@pytest.fixture(scope="module")
def model():
    return build_model()


@pytest.fixture(scope="module")
def html(model):
    return render(model, TEMPLATE)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_every_claim_has_a_row_and_an_article(model, html):
    for entry in model["claims"]:
        assert f'<a href="#claim-{entry["id"]}">' in html.split('id="claim-rows"')[1]
        article = html.split(f'id="claim-{entry["id"]}"')[1].split("</article>")[0]
        assert f"{entry['verdict']}</span>" in article


def test_every_experiment_has_a_stable_anchor(model, page):
    assert {f"experiment-{e['name']}" for e in model["experiments"]} < set(page.ids)


def test_experiments_that_were_run_come_first(model, page):
    order = [i.removeprefix("experiment-") for i in page.ids if i.startswith("experiment-")]
    first = [e["name"] for e in model["experiments"] if e["status"] == "run"]
    assert 0 < len(first) < len(order)
    assert order[: len(first)] == first
    assert f"runs {len(first)} of {len(order)} experiments" in " ".join("".join(page.text).split())


def test_a_claim_without_experiment_gets_a_section(page):
    assert "experiment-absent_experiment" in page.ids


def test_ids_are_unique_and_links_have_targets(page):
    assert [i for i, n in Counter(page.ids).items() if n > 1] == []
    targets = {
        value[1:] for _, name, value in page.attributes if name == "href" and value[0] == "#"
    }
    assert {t for t in targets if not t.startswith(("source=", "kind="))} <= set(page.ids)


def test_nothing_is_loaded_from_outside(html, page):
    loading = [
        v
        for tag, name, v in page.attributes
        if name in {"src", "srcset", "data"} or (name == "href" and tag != "a")
    ]
    assert [v for v in loading if not v.startswith(("#", "data:"))] == []
    links = {v for tag, name, v in page.attributes if tag == "a" and name == "href" and v[0] != "#"}
    logs = {"../logs", "../logs/aggregate_experiment"}
    assert links == {"../kernel_profile/tables/profile.csv", *logs}
    assert [u for u in re.findall(r"url\((.*?)\)", html) if not u.startswith("#")] == []
    assert "@import" not in html


def test_statements_are_escaped(html, page):
    assert "<script>alert" not in html
    assert "<script>alert(1)</script> is text" in "".join(page.text)


def test_figures_follow_the_text_colour(html):
    assert INK not in html
    assert "currentColor" in html


def test_criteria_show_value_interval_bound_and_outcome(html):
    claim = html.split('id="claim-exp001.profile-concentrates"')[1].split("</article>")[0]
    row = claim.split('<table class="criteria')[1]
    method, counted = "95 %, Student&#39;s t", '100<span class="note">networks'
    for text in ("−0.512", "−0.561 to −0.463", method, counted, "−0.5 ± 0.15", "holds"):
        assert text in row


def test_a_claim_says_where_it_was_read_and_what_chance_would_turn(html):
    claim = html.split('id="claim-exp001.profile-concentrates"')[1].split("</article>")[0]
    for text in (
        "(read in: figure)",
        "Against the source: width 500 here, 2048 there.",
        "Deviation: one hidden layer less",
        "2 claims judged by 4 intervals; by chance alone at most 0.2 verdicts would turn.",
    ):
        assert text in claim
    bare = html.split('id="claim-slides.bare"')[1].split("</article>")[0]
    assert "by chance alone" not in bare


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "95 %, Student's t"),
        ({"level": 0.9375, "method": "order statistics"}, "93.75 %, order statistics"),
        ({"level": None, "method": "exact"}, "exact"),
    ],
)
def test_level_and_method_of_an_interval(changes, text):
    assert reporting.describe_method(criterion() | changes) == text


def row_of(html: str, name: str) -> str:
    """The claim's row in the table of all claims."""
    return html.split('id="claim-rows"')[1].split(f'href="#claim-{name}"')[1].split("</tr>")[0]


def test_a_row_tells_the_number_that_the_verdict_hangs_on(html):
    row = row_of(html, "exp001.profile-concentrates")
    assert "<strong>−0.512 (−0.561 to −0.463)</strong>" in row
    assert "observation, allowed −0.5 ± 0.15; 95 %, Student&#39;s t, 100 networks" in row
    corrected = row_of(html, "exp001.profile-inflation")
    assert "<strong>1.23×10⁻⁷ (1.10×10⁻⁷ to 1.40×10⁻⁷)</strong>" in corrected
    assert "correction, allowed" in corrected
    assert "2 more on its card" in corrected


def test_findings_come_first_with_their_numbers(model, html):
    first = html.split('class="findings"')[1].split("</ol>")[0]
    assert re.findall(r'href="#claim-([^"]*)"', first) == model["findings"]
    assert "<strong>−0.512 (−0.561 to −0.463)</strong>, 100 networks." in first
    assert "needs width 10000, which the default scale does not run" in first
    assert html.index("findings") < html.index('class="tally"') < html.index('id="claims"')


def test_a_finding_that_is_no_claim_is_refused(model):
    with pytest.raises(ConfigurationError) as error:
        render({**model, "findings": ["exp001.profile-concentrate"]}, TEMPLATE)
    assert str(error.value).startswith("report.findings: 'exp001.profile-concentrate' is unknown")


@pytest.mark.parametrize("picture", [None, ["kernel_profile", "absent"], ["alpha_sweep", "film"]])
def test_a_picture_that_was_not_drawn_is_left_out(model, picture):
    assert 'class="first-picture"' not in render({**model, "picture": picture}, TEMPLATE)


def test_the_scoreboard_says_what_every_verdict_means(html):
    board = html.split('class="score"')[1].split("</table>")[0]
    for verdict in reporting.VERDICTS:
        assert f"{verdict}</span><span" in board
        assert reporting.MEANINGS[verdict] in board
    assert '<a href="#kind=trivial&amp;verdict=reproduced"' in board


def test_an_experiment_reads_from_question_to_protocol(html):
    section = html.split('id="experiment-kernel_profile"')[1].split("</section>")[0]
    order = ("question", "answer", "Figures", "Claims", "Explanation", "Deviations", "protocol-of")
    places = [section.index(word) for word in order]
    assert places == sorted(places)
    said = "What is claimed holds in part: 2 claims, 1 reproduced, 1 corrected."
    assert said in section


def test_deviations_are_listed_with_their_claims_and_steps_are_among_them(html):
    ends = [("step", 1000, 600.0), ("width", 64, 64.0), ("seeds", 1, 10), ("rank", 9, None)]
    rows = [{"axis": axis, "source": theirs, "here": here} for axis, theirs, here in ends]
    claims = [
        claim("a.x", "e", "reproduced", deviations=["decay once"], scale=rows),
        claim("a.y", "e", "reproduced", deviations=["decay once"]),
    ]
    assert reporting.gather_deviations(claims) == [
        {"text": "decay once", "claims": ["a.x", "a.y"]},
        {"text": "largest step: 1000 in the source, 600 here", "claims": ["a.x"]},
    ]
    section = html.split('id="experiment-kernel_profile"')[1].split("</section>")[0]
    listed = section.split("Deviations from the source")[1].split("</ul>")[0]
    for text in ("one hidden layer less", "largest width: 2048 in the source, 500 here"):
        assert text in listed


def test_a_card_says_how_its_numbers_are_checked(html):
    card = html.split('id="claim-exp001.profile-concentrates"')[1].split("</article>")[0]
    check = card.split('class="check"')[1].split("</details>")[0]
    for text in (
        '<a href="../kernel_profile/tables/profile.csv"><code>profile.csv</code></a>',
        "92" * 32,
        "aggregate_experiment",
        "snakemake --force results/default/kernel_profile/tables",
    ):
        assert text in check


def test_a_card_says_why(model):
    texts = dict(explanation="", explanation_note="Another.")
    claims = [
        claim("a.why", "simple_task", "reproduced"),
        claim("a.other", "simple_task", "inconclusive", **texts),
    ]
    html = render({**model, "findings": [], "claims": claims}, TEMPLATE)
    why, other = (
        html.split(f'id="claim-{name}"')[1].split("</article>")[0] for name in ("a.why", "a.other")
    )
    assert '<p class="why">Why</p><p>Wider averages fluctuate less.</p>' in why
    assert "<p>So the spread falls like <code>n**-0.5</code>.</p>" in why
    assert "Why" not in other
    assert '<p class="reason">Another.</p>' in other


def test_figures_say_in_words_what_was_found(html):
    figure = html.split('id="figure-kernel_profile.profiles"')[1]
    label = re.search(r'role="img" aria-label="([^"]*)"', figure)[1]
    assert label == (
        "Kernel profiles of all seeds at three widths. Reproduced: slope of log std of "
        "Θ(x₀, x₀) against log width, −0.512 (−0.561 to −0.463)."
    )


def test_claims_refer_to_their_figures(html):
    article = html.split('id="claim-exp001.profile-concentrates"')[1].split("</article>")[0]
    assert '<a href="#figure-kernel_profile.spread">Figure 2</a>' in article


def test_own_and_trivial_claims_are_not_counted_as_the_sources(model, page):
    def words(page):
        return " ".join("".join(page.text).split())

    assert "9 claims of the sources: 2 reproduced, 1 corrected," in words(page)
    assert "2 not run. 1 trivial or definitional are counted apart." in words(page)
    own = claim("ours.x", "simple_task", "reproduced", counts_as="ours")
    more = {**model, "claims": [*model["claims"], own]}
    text = words(Page(render(more, TEMPLATE)))
    assert "9 claims of the sources: 2 reproduced," in text
    assert "1 of our own, 1 trivial or definitional are counted apart." in text


def test_claims_are_counted_by_kind():
    kinds = [("ours", "reproduced"), ("ours", "not run"), ("trivial", "reproduced")]
    claims = [claim("a.b", "e", verdict, counts_as=kind) for kind, verdict in kinds]
    counted = reporting.count_apart(claims)
    assert (counted["ours", None], counted["ours", "reproduced"]) == (2, 1)
    assert (counted["trivial", None], counted["source", None]) == (1, 0)


def test_a_card_tells_how_the_claim_fared_on_its_control(html):
    card = html.split('id="claim-exp001.profile-concentrates"')[1].split("</article>")[0]
    assert "Control: fails its control, as it should." in " ".join(card.split())
    assert "control: axis reversed, caught" in card
    without = html.split('id="claim-lazy-blog.kappa"')[1].split("</article>")[0]
    assert "ontrol:" not in without


def test_claims_that_cannot_fail_are_listed_with_their_reasons(html):
    listed = html.split("Claims that cannot fail")[1].split("</ul>")[0]
    assert "<code>slides.exact</code></a>: an identity</li>" in listed
    assert listed.count("<li>") == 1
    assert '<span class="flag">cannot fail</span>' in row_of(html, "slides.exact")


def test_default_values_are_folded_away(html):
    section = html.split('id="experiment-kernel_profile"')[1].split("</section>")[0]
    folded = section.split('<details class="defaults">')[1].split("</details>")[0]
    assert '<th scope="row">activation</th><td>relu</td>' in folded
    assert "widths" not in folded
    assert "widths" in section
    without = html.split('id="experiment-simple_task"')[1].split("</section>")[0]
    assert "defaults" not in without


def test_a_missing_key_is_an_error(model):
    incomplete = {
        **model,
        "findings": [],
        "claims": [claim("exp001.x", "simple_task", "reproduced")],
    }
    del incomplete["claims"][0]["flags"]
    with pytest.raises(UndefinedError, match="flags"):
        render(incomplete, TEMPLATE)


def test_an_empty_model_renders(model):
    nothing = {"versions": {}, "rules": [], "parts": [], "changes": [], "overlays": [], "only": []}
    rest = {"config": "", "seeds": "", "diagram": None, "machine": {}}
    empty = {
        "findings": [],
        "picture": None,
        "sources": {},
        "claims": [],
        "families": [],
        "experiments": [],
        "provenance": model["provenance"] | nothing | rest,
    }
    assert "No claims" in "".join(Page(render({**model, **empty}, TEMPLATE)).text)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast_is_readable(scheme):
    style = (TEMPLATE / "style.css").read_text()
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", style)
    colours = {name: values[scheme] for name, *values in pairs}
    verdicts = [v.replace(" ", "-") for v in reporting.VERDICTS]
    grounds = [(v, ground) for v in verdicts for ground in (f"{v}-tint", "paper", "raised")]
    grounds += [(text, g) for text in ("ink", "muted", "link") for g in ("paper", "raised")]
    low = {pair: _contrast(*(colours[name] for name in pair)) for pair in grounds}
    assert {pair: ratio for pair, ratio in low.items() if ratio < 4.5} == {}


def test_reporting_imports_no_torch():
    code = "import sys, ntkstudy.report.page; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=TEMPLATE.parents[1] / "scripts")


def test_mistakes_are_shown_for_the_version_in_which_they_were_made(model, html):
    section = html.split('id="mutations"')[1].split("</section>")[0]
    assert "1 of 1 seeded mistakes" in section
    assert "Half the steps" in section
    assert "contradicted, inconclusive" in section
    older = {**model, "mutations": {**model["mutations"], "current": False}}
    section = render(older, TEMPLATE).split('id="mutations"')[1].split("</section>")[0]
    assert "Not measured for this version" in section
    assert "Half the steps" not in section


def test_an_inconclusive_claim_says_what_would_decide(html):
    article = html.split('id="claim-lazy-blog.alpha"')[1].split("</article>")[0]
    assert "About 40 networks in place of 10 would decide" in article
