"""English phrases of patients and notes that the ontology lacks, in our own wording.

What belongs here: which phrase means which term. What does not: synonyms that the ontology has already.

One term a line: its name in the ontology, then the phrases. A name that a release lacks is passed over.
"""

from medassets.ingest.text.phrases import read_phrases

_TABLE = """
Hypotonia = floppy baby; floppy infant; low muscle tone; poor muscle tone
Insomnia = cannot sleep; can't sleep; trouble sleeping; unable to sleep
Inability to walk = cannot walk; unable to walk; not able to walk; non-ambulatory
Inability to walk = could not walk; never walked; does not walk
Loss of ambulation = lost the ability to walk; loss of the ability to walk; stopped walking
Absent speech = cannot speak; cannot talk; unable to speak; unable to talk; not able to speak; non-verbal
Absent speech = could not speak; could not talk; never spoke
Dyspnea = out of breath; cannot breathe; can't breathe; trouble breathing; breathlessness
Dysphagia = trouble swallowing; difficulty in swallowing; cannot swallow; unable to swallow
Dysphagia = swallowing disorder; disordered swallowing; impaired swallowing
Feeding difficulties = trouble feeding; poor feeding; feeds poorly
Developmental regression = loss of skills; loss of milestones; neuroregression; lost skills
Global developmental delay = delayed milestones; delay in milestones; psychomotor delay; delayed development
Delayed speech and language development = late talker; delayed to speak; delay in speaking
Delayed ability to walk = late walker; delay in walking; late walking
Seizure = convulsions; convulsive episodes; epileptic fits
Hearing impairment = hard of hearing; loss of hearing; cannot hear
Visual impairment = loss of vision; cannot see; poor eyesight
Syncope = passing out; passed out; fainted; fainting spells; blackouts
Abnormal facial shape = facial dysmorphism; dysmorphic facies; dysmorphic face
Abnormal facial shape = facial dysmorphia; peculiar face; peculiar facies; unusual face
Hypertelorism = wide set eyes; wide spaced eyes; widely set eyes
Autistic behavior = autistic features; autistic traits
Nausea = feels sick; feeling sick; queasy
Vomiting = throwing up; threw up
Diarrhea = loose stools; watery stools; loose stool
Abdominal pain = tummy pain; belly pain; tummy ache; bellyache; stomach pain
Pruritus = itchy; itching
Fever = febrile; high temperature; feverish
Fatigue = exhausted; always tired; tiredness
Muscle weakness = weak muscles; loss of strength
Myalgia = aching muscles; sore muscles; muscle aches
Arthralgia = aching joints; sore joints
Jaundice = yellow eyes; jaundiced
Joint hypermobility = double jointed; loose joints; bendy joints
Recurrent infections = always sick; frequent infections; repeated infections
Ventriculomegaly = dilated ventricles; enlarged ventricles
Respiratory insufficiency = respiratory failure
Phenotypic variability = clinical variability; phenotypic variation; clinical variation
Phenotypic variability = intrafamilial variability; interfamilial variability; variability within families
Variable expressivity = variable expression; variability of expression
Autosomal dominant inheritance = dominantly inherited; dominant inheritance; dominant trait
Autosomal dominant inheritance = dominant transmission
Autosomal recessive inheritance = recessively inherited; recessive inheritance; recessive trait
Typified by incomplete penetrance = incomplete penetrance; reduced penetrance; nonpenetrance
Sporadic = de novo mutation
Elevated circulating creatine kinase concentration = high ck; elevated ck; raised ck; elevated cpk
Elevated circulating creatine kinase concentration = high creatine kinase
Elevated circulating hepatic transaminase concentration = elevated transaminases; raised liver enzymes
Elevated circulating hepatic transaminase concentration = elevated alt
"""


#: Name of the term -> everyday phrases.
PHRASES: dict[str, tuple[str, ...]] = read_phrases(_TABLE)
