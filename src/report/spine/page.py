"""The spine's page: the pipeline of the root, its exercises, and what its model is worth."""

from functools import partial

from report import appendix
from report.page import CURRENT, SPINE, Page
from report.spine import (
    claims,
    data,
    exercises,
    forward,
    guidance,
    judge,
    memorisation,
    samplers,
    schedules,
    training,
    verdict,
)
from report.spine.headline import headline, tiles
from report.spine.views import VIEWS

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
        partial(appendix.section, stages=("train", "benchmark", "lesson"), file="params.yaml"),
    ),
    views=VIEWS,
)
