"""What medicine knows: ontology, disease annotations, terminology crosswalks, common-condition figures. No patients here."""
