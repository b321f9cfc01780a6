"""Everything that is trained: common-condition ensembles and rare-disease few-shot learners."""
