"""The spine's page: the pipeline of the root, its exercises, and what its model is worth."""

from functools import partial

from report import appendix
from report.page import CURRENT, SPINE, Page
from report.spine import (
    claims,
    data,
    exercises,
    forward,
    frontier,
    guidance,
    judge,
    lesson,
    memorisation,
    samplers,
    schedules,
    seeds,
    training,
    verdict,
)
from report.spine.headline import headline, tiles
from report.spine.views import VIEWS
from report.studies import EXERCISES, FRONTIER, LESSON, SEEDS

PAGE = Page(
    name=SPINE,
    headline=headline,
    tiles=tiles,
    models={"denoiser": CURRENT},
    sections=(
        verdict.section,
        forward.section,
        schedules.section,
        training.section,
        exercises.section,
        samplers.section,
        guidance.section,
        memorisation.section,
        claims.section,
        data.section,
        judge.section,
        partial(appendix.section, stages=("train", "benchmark"), file="params.yaml"),
    ),
    studies={
        LESSON: lesson.findings,
        EXERCISES: exercises.findings,
        SEEDS: seeds.findings,
        FRONTIER: frontier.findings,
    },
    views=VIEWS,
)
