"""The report on a model's predictions: as data, as one HTML page, as a Markdown summary."""
