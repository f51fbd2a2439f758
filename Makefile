# Pictures and tables in the documentation, from stored results.
.PHONY: docs-figures
docs-figures:
	python -m docs.refused
	python -m docs.figures
	python -m docs.scale

# The networks that ship with the package, and their page. DATA holds train/ and val/, one folder a class; CLASSES names them.
.PHONY: bundled-models
bundled-models:
	python -m tools.bundled_models --data $(DATA)/train --val $(DATA)/val --classes $(CLASSES) --card docs/models.md

# All attacks of tests/torture, and the page of what they came to.
.PHONY: torture
torture:
	XAI_TORTURE=full XAI_TORTURE_RESULTS=docs/results/reliability python -m pytest -q -m torture tests/torture -s
	python -m tools.reliability docs/results/reliability > docs/reliability.md

# Networks of torchvision, timm and transformers, tried one by one: about an hour for those that are not in docs/results.
.PHONY: models-tested
models-tested:
	python -m tools.models_tested

# Every method over a small network of each kind: the table of docs/models-and-targets.md.
.PHONY: models-and-targets
models-and-targets:
	python -m tools.models_and_targets docs/models-and-targets.md

# Which methods to trust on five networks, and which faults of exports are found: the tables of docs/trust.md and docs/ci.md. Some hours
# on two cores; both go on where they were stopped. ASSETS holds weights/ and photos/.
.PHONY: certificates
certificates:
	python -m tools.certificates --assets $(ASSETS) --output build/trust
	XAI_ASSETS=$(ASSETS) python -m benchmarks parity --write --rounds 7
	python -m docs.measured
