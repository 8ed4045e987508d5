"""Judge trained weights on dates that neither training nor selection has seen."""
