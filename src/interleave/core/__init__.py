"""What everything else speaks of: the nouns of the pipeline, the errors that a user sees, checked options, files that
are written whole, and collectives. Imports no other folder of the package."""
