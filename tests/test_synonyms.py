"""Words that no caption had: which prompts are asked, what is counted, and what the page says of it."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from PIL import Image

from diffusion.latents.captions import Captions, Combination
from report.latent import synonyms as page
from report.reading import Reports
from stages.shared import synonyms

SHOWN = {"slim": 0, "bold": 2}  # the grade that images of the fake model show; of any other word the middle one


class Fake:
    """As much of `Prompted` as is used: an image holds one number, the grade of every property."""

    def __init__(self):
        bounds, grades = torch.tensor([0.5, 1.5]).expand(2, 3, 2), torch.zeros(4, 3).long()
        held_out = (Combination(0, "thickness", 0),)
        self.captions = Captions("strokes", ("zero", "one"), held_out, bounds, grades, grades, ())
        self.captions.__dict__["measured"] = lambda images, labels: images[:, 0, 0, :1].long().expand(-1, 3)
        see = lambda images: SimpleNamespace(logits=torch.eye(2)[torch.zeros(len(images)).long()])  # noqa: E731
        self.reference, self.texts = SimpleNamespace(seed=0, judge=SimpleNamespace(see=see)), []

    def draw(self, texts, steps, scale, purpose, batch_size):
        self.texts += texts
        grades = [next((grade for word, grade in SHOWN.items() if word in text), 1) for text in texts]
        return torch.tensor(grades, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)


@pytest.fixture
def written(tmp_path):
    opened, results = Fake(), tmp_path / "results" / "sample_latent"
    settings = SimpleNamespace(scales=[2.0], num_prompts=60, num_steps=3)
    synonyms.write_synonyms(results, opened, settings, 10)
    card = {"properties": {name: part.adjectives for name, part in opened.captions.properties.items()}}
    (results.parent / "captions").mkdir()
    (results.parent / "captions" / "card.json").write_text(json.dumps(card))
    return results, opened


def test_every_word_is_asked_of_every_class_and_no_unheard_word_is_a_captions():
    opened = Fake()
    heard, unheard = (list(synonyms.prompts_of(opened, of)) for of in (False, True))
    assert len(heard) == 9 * 2 and {asked.label for asked in unheard} == {0, 1}
    assert not {asked.word for asked in unheard} & set(opened.captions.vocabulary.words)
    assert synonyms.Asked("slim", 1, 0, 0).text(("zero", "one")) == "a slim one"
    assert synonyms.Asked("erect", 1, 1, 1).text(("zero", "one")) == "an erect one"


def test_what_is_counted_is_the_property_that_was_asked_for(written):
    results, opened = written
    rows = pd.read_csv(results / "synonyms.csv").set_index(["group", "words"])
    assert (rows["n"] == 60).all() and set(rows.index) == {(g, w) for g in ("seen", "unseen") for w in synonyms.WORDS}
    words = pd.read_csv(results / "words.csv")
    words = words[words["words"] == "unheard"]
    shares = words.groupby("word")["share"].first()
    assert shares["slim"] == shares["bold"] == shares["usual"] == 1 and shares["skinny"] == shares["spacious"] == 0
    assert words[words["group"] == "unseen"]["word"].unique().tolist() == ["skinny", "slender", "slim"]  # of thin zeros
    assert rows.loc[("unseen", "captions"), "property"] == 0  # the fake knows no `thin`
    vocabulary = json.loads((results / "synonyms.json").read_text())
    assert vocabulary["refused"] == vocabulary["n"] == 2 * 21
    with Image.open(results / "synonyms_2.png") as sheet:
        assert sheet.size == (2 * 10 - 2, 30 * 10 - 2)
    rows = pd.read_csv(results / "synonyms_sheet.csv")
    assert list(zip(rows["word"], rows["words"], strict=True))[:5] == [
        ("thin", "captions"),
        ("slim", "unheard"),
        ("skinny", "unheard"),
        ("slender", "unheard"),
        ("medium", "captions"),
    ]


def test_the_page_sets_unheard_words_beside_those_of_the_captions(written, tmp_path):
    results, _ = written
    reports = Reports(tmp_path / "reports", "latent", results.parent)
    section = page.section(reports, {})
    assert "refuses 42 of the 42 prompts" in section.answer[0]
    assert (tmp_path / "reports/figures/latent/synonyms.png").is_file()
    rows = pd.DataFrame(
        [("seen", words, 2.0, 100, 0.9, share, share) for words, share in (("captions", 0.8), ("unheard", 0.6))],
        columns=["group", "words", "scale", "n", "accuracy", "thickness", "property"],
    )
    answer = page.synonyms_answer(rows, {"n": 44, "refused": 44})
    assert "75.0" in answer and "short of the goal" in answer
    met = page.synonyms_answer(rows.assign(property=[0.8, 0.7]), {"n": 44, "refused": 44})
    assert "which meets the goal" in met
    (results / "synonyms.csv").unlink()
    assert page.section(reports, {}) is None
