# make = install, run the spine of the pipeline, say where the report is; `make help` lists the rest.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

# where git does not answer (an unpacked archive, a folder of another owner), DVC does without it, and only for that long
ifneq ($(shell git rev-parse --git-dir >/dev/null 2>&1 && echo git),git)
export DVC_SYSTEM_CONFIG_DIR := $(CURDIR)/.dvc/without_git
endif

INSTALL := python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable
# where benchmarks find MNIST or download it, as data.root
MNIST := data/raw
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11
CHAPTERS := score latent baselines

.DEFAULT_GOAL := spine
.PHONY: spine all $(CHAPTERS) playground moved demo test reproducible bench gpu profile load photographs frontier distill peers study sweep lesson deps lock clean help

spine: .venv/.installed
	dvc repro
	@echo "The report: reports/index.html (for a browser), reports/README.md (the same figures as text)"
	@echo "For dvc and python in this shell: . .venv/bin/activate"

all: .venv/.installed
	dvc repro --all-pipelines
	@echo "The reports: reports/index.html, with links to the chapters' pages; the same figures as text: reports/README.md"

$(CHAPTERS): .venv/.installed
	dvc repro chapters/$@/dvc.yaml
	@echo "The chapter's page: reports/$@.html (for a browser), reports/$@.md (the same figures as text)"

# in a clone, so that the params, reports and results of this folder stay as they are
demo: .venv/.installed
	@test -e demo || git clone --quiet . demo
	@git -C demo config user.name demo && git -C demo config user.email demo@localhost
	cd demo && dvc exp run $$(cat presets/demo.args)
	@echo "Your own digits: demo/reports/evaluate/recommended.png; all about them: demo/reports/index.html (for a browser)"

playground: .venv/.installed-playground
	python -m playground

test: .venv/.installed-dev
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	pytest

reproducible: .venv/.installed
	python tests/reproducible.py

bench: .venv/.installed
	python -m benchmarks.bench
	python -m benchmarks.processes

gpu: .venv/.installed-dev
	python -m benchmarks.gpu

profile: .venv/.installed
	python -m benchmarks.operations

load: .venv/.installed
	python -m benchmarks.load --mnist $(MNIST)

photographs: .venv/.installed
	python -m benchmarks.photographs

frontier: .venv/.installed
	python -m studies.frontier --data data/processed --card results/data/card.json --model models/denoiser.safetensors \
	  --judge models/judges/judge.safetensors --report reports/frontier
	dvc repro --single-item report

distill: .venv/.installed
	python -m studies.distill --data data/processed --card results/data/card.json --model models/denoiser.safetensors \
	  --judge models/judges/judge.safetensors --students models/students --report reports/frontier
	dvc repro --single-item report

peers: .venv/.installed-peers
	python -m benchmarks.peers --mnist $(MNIST)

INPUTS_larger := --data data/processed --card results/data/card.json --judge models/judges/judge.safetensors
INPUTS_stability := $(INPUTS_larger)
INPUTS_density := --mnist $(MNIST)
PAGE_larger := chapters/latent/dvc.yaml:latent_page
PAGE_stability := report chapters/baselines/dvc.yaml:baselines_page
PAGE_density := chapters/score/dvc.yaml:score_page

study: .venv/.installed
	$(if $(PAGE_$(STUDY)),,$(error which one? make study STUDY=larger, stability or density))
	python -m studies.$(STUDY) $(INPUTS_$(STUDY)) --report reports/$(STUDY)
	dvc repro --force --single-item $(PAGE_$(STUDY))

sweep: .venv/.installed
	$(if $(wildcard $(SWEEP)),,$(error which one? make sweep SWEEP=studies/seeds.yaml, studies/exercises.yaml or one of your own))
	python -m studies.sweep --sweep $(SWEEP) --report reports/$(basename $(notdir $(SWEEP)))
	dvc repro --force --single-item report
	@echo "The page: reports/$(basename $(notdir $(SWEEP)))/index.html (for a browser), README.md beside it (the same figures as text)"

lesson: .venv/.installed
	dvc exp run --temp --force --name lesson $$(cat presets/lesson.args) evaluate
	mkdir -p reports/lesson
	set -e; folder=$$(mktemp -d); ref=$$(git for-each-ref --sort=-creatordate --count=1 --format='%(refname)' 'refs/exps/*/*/lesson'); \
	git show "$$ref:params.yaml" > reports/lesson/params.yaml; \
	for stage in train evaluate; do dvc get . results/$$stage --rev "$$ref" --out $$folder/$$stage; done; \
	cp $$folder/train/history.csv $$folder/train/timing.json $$folder/evaluate/metrics.json $$folder/evaluate/ddpm_grid.png reports/lesson
	git log -1 --format='{"data": {"dataset": "mnist"}, "commit": "%h", "settings": "presets/lesson.args"}' > reports/lesson/about.json

deps: .venv/.installed-dev
	python tests/deps.py

lock: .venv/.installed-dev .venv/.installed-peers
	pip freeze --exclude-editable | grep -v ' @ ' > requirements.lock

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find src stages studies benchmarks tests -name __pycache__ -type d -exec rm -rf {} +

help:
	@echo "To try it"
	@echo "  make demo       the spine in small, in a clone (demo/): a page of digits of your own in three minutes"
	@echo "Pipelines (DVC runs only what a change makes stale)"
	@echo "  make            install into .venv and run the spine (dvc repro): data, judge, training, evaluation, report"
	@echo "  make all        run the spine and all chapters (dvc repro --all-pipelines)"
	@echo "  make score      run one chapter with the stages of the spine that it needs: the model as a score, likelihood"
	@echo "  make latent     likewise: an autoencoder, captions, latent diffusion on text"
	@echo "  make baselines  likewise: diffusion beside a GAN and a VAE"
	@echo "  make playground the trained model in a page that runs it, for any browser: reports/playground.html (needs npm)"
	@echo "Development"
	@echo "  make test          install the tools too, check format, style, types and imports, run all tests (minutes)"
	@echo "  make reproducible  run the smoke preset twice from nothing and compare every output byte for byte (minutes)"
	@echo "  make deps          write the code that every stage imports into the deps of every dvc.yaml"
	@echo "  make lock          write the versions in .venv to requirements.lock"
	@echo "  make clean         remove .venv and caches (data, models and reports stay)"
	@echo "Studies, with results in git (they start from the models of a finished run)"
	@echo "  make lesson                the lesson's own settings (hours on a CPU): reports/lesson"
	@echo "  make frontier              every sampler, 5 to 1,000 network evaluations (an hour or more): reports/frontier"
	@echo "  make distill               students of the default model for 8, 4, 2 and 1 evaluations, and MeanFlow: reports/frontier"
	@echo "  make sweep SWEEP=studies/NAME.yaml  a grid of params with training seeds, as DVC experiments: reports/NAME"
	@echo "             seeds: five seeds of the default; exercises: T = 200, cosine and flow beside it (half an hour each)"
	@echo "  make study STUDY=larger    latents against pixels, at the size of the data and at twice that (an hour)"
	@echo "  make study STUDY=stability diffusion, GAN and VAE with three seeds and two learning rates each (half an hour)"
	@echo "  make study STUDY=density   bits per dimension of all of MNIST, by a likelihood model (an hour)"
	@echo "Benchmarks"
	@echo "  make bench      images per second of training and sampling, overhead of the samplers, one process against several"
	@echo "  make gpu        on a machine with a GPU: its tests, the smoke pipeline, make bench, ten minutes of training: reports/gpu"
	@echo "  make profile    where the time of training, sampling and judging goes, by operation"
	@echo "  make load       memory and seconds for 50,000 images, all of MNIST, 10,000 samples, 50 classes (minutes)"
	@echo "  make photographs photographs of mixed sizes that prepare reads in a second, in one lane and two"
	@echo "  make peers      this project and other libraries, with equal training times (over an hour): reports/peers"

# scripts in .venv/bin and the editable install name the folder that they were made in: after a move, the new one
moved:
	@test ! -s .venv/.installed || test "$$(cat .venv/.installed)" = "$$(cd .venv && pwd -P)" || python tests/moved.py .venv

.venv/.installed: pyproject.toml requirements.lock | moved .venv/bin/python
	@echo "Installing into .venv what is not there yet: torch and the rest take a few minutes"
	$(INSTALL) .
	@python -c 'from importlib.metadata import version; print("Installed: torch", version("torch"))'
	@cd .venv && pwd -P > .installed

.venv/.installed-dev: .venv/.installed
	$(INSTALL) '.[dev]'
	@python -m playground.onnxruntime_web || echo "The playground's tests in a browser will be skipped" >&2
	@touch $@

.venv/.installed-playground: .venv/.installed src/playground/onnxruntime_web.py
	$(INSTALL) '.[onnx]'
	python -m playground.onnxruntime_web
	@touch $@

.venv/.installed-peers: .venv/.installed
	$(INSTALL) '.[peers]'
	@touch $@

.venv/bin/python:
	@for python in $(PYTHONS); do \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  $$python -m venv .venv && exit 0; \
	  rm -rf .venv; \
	  echo "error: $$python cannot make a virtual environment (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; \
	done; \
	echo "error: Python 3.11 or newer is needed; tried: $(PYTHONS)" >&2; exit 1
