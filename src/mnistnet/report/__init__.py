"""The report on a model's predictions: built, written as JSON, an HTML page, Markdown."""
