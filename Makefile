# Pictures and tables in the documentation, from stored results.
.PHONY: docs-figures
docs-figures:
	python -m docs.figures
