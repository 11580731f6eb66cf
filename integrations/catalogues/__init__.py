"""The shapes in which catalogues of models are published, each read into offers."""
