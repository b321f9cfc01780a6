"""What medicine knows: ontology, disease annotations, crosswalks, common-condition figures.

No patients here.
"""
