# Pictures and tables in the documentation, from stored results.
.PHONY: docs-figures
docs-figures:
	python -m docs.figures

# The networks that ship with the package, and their page. DATA holds train/ and val/, one folder a class; CLASSES names them.
.PHONY: bundled-models
bundled-models:
	python -m tools.bundled_models --data $(DATA)/train --val $(DATA)/val --classes $(CLASSES) --card docs/models.md
