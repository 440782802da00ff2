"""The nouns of the pipeline, the errors that a user sees, option checks, atomic files and collectives. Imports nothing
of ours."""
