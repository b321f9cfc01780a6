"""All wording of the page, in English and Spanish.

What belongs here: every sentence, label and button that the page itself says. What does not: names of
findings, questions and conditions (``medassets.knowledge`` and the API).
"""

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES = {"en": "English", "es": "Español"}

#: key -> (English, Spanish)
TEXTS: Mapping[str, tuple[str, str]] = {
    "title": ("Differential for common and rare diseases", "Diferencial de enfermedades comunes y raras"),
    "language": ("Language", "Idioma"),
    "notice": (
        "Decision support for health professionals: it ranks and explains, it does not diagnose. "
        "The physician decides.",
        "Apoyo a la decisión para profesionales sanitarios: ordena y explica, no diagnostica. "
        "Decide el médico.",
    ),
    "trained_on": ("Learned from", "Aprendido de"),
    "rare": ("Rare diseases", "Enfermedades raras"),
    "common": ("Common conditions", "Afecciones comunes"),
    "patient": ("Patient", "Paciente"),
    "no_names": ("Enter no names or record numbers.", "No introduzca nombres ni números de historia."),
    "age": ("Age", "Edad"),
    "age_unit": ("Unit of age", "Unidad de edad"),
    "years": ("years", "años"),
    "months": ("months", "meses"),
    "days": ("days", "días"),
    "sex": ("Sex", "Sexo"),
    "sex_unknown": ("Not known", "No consta"),
    "sex_F": ("Female", "Mujer"),
    "sex_M": ("Male", "Hombre"),
    "new_patient": ("New patient", "Paciente nuevo"),
    "tab_case": ("Findings and differential", "Hallazgos y diferencial"),
    "tab_interview": ("Interview", "Entrevista"),
    "tab_audit": ("Audit", "Auditoría"),
    "search": ("Search a symptom or sign", "Buscar un síntoma o signo"),
    "search_hint": ("e.g. chorea, seizure, chest pain", "p. ej. fiebre, tos, dolor de pecho"),
    "search_none": ("No finding has a name like this.", "Ningún hallazgo tiene un nombre parecido."),
    "search_hpo": ("rare · HPO", "raras · HPO"),
    "search_evidence": ("common", "comunes"),
    "text": ("Read findings from text", "Leer hallazgos de un texto"),
    "text_box": ("Findings in words (no patient names)", "Hallazgos en palabras (sin nombres de pacientes)"),
    "text_read": ("Read", "Leer"),
    "text_add": ("Add these findings", "Añadir estos hallazgos"),
    "text_none": ("No finding was understood.", "No se entendió ningún hallazgo."),
    "state_uncertain": ("uncertain", "dudoso"),
    "state_family": ("in the family", "en la familia"),
    "value": ("Which", "Cuál"),
    "present": ("Present", "Presente"),
    "absent": ("Absent", "Ausente"),
    "unknown": ("Unknown", "Desconocido"),
    "findings": ("Findings", "Hallazgos"),
    "findings_none": (
        "None yet. Search above, or open the common questions.",
        "Ninguno todavía. Busque arriba o abra las preguntas frecuentes.",
    ),
    "remove": ("Remove", "Quitar"),
    "questions": ("Common questions", "Preguntas frecuentes"),
    "group": ("Topic", "Tema"),
    "not_asked": ("Not asked", "Sin preguntar"),
    "yes": ("Yes", "Sí"),
    "no": ("No", "No"),
    "dont_know": ("Don't know", "No se sabe"),
    "rank": ("Rank the diseases", "Ordenar las enfermedades"),
    "empty_case": (
        "Give at least one finding that is present or absent.",
        "Indique al menos un hallazgo presente o ausente.",
    ),
    "no_answer": ("The differential appears here.", "El diferencial aparecerá aquí."),
    "changed": (
        "The findings have changed since this answer: rank again.",
        "Los hallazgos han cambiado desde esta respuesta: ordene de nuevo.",
    ),
    "confidence": ("confidence", "confianza"),
    "confidence_high": ("high", "alta"),
    "confidence_moderate": ("moderate", "moderada"),
    "confidence_low": ("low", "baja"),
    "confidence_none": ("none", "ninguna"),
    "abstain_rare": ("Not among the diseases that I know", "No está entre las enfermedades que conozco"),
    "abstain_rare_why": (
        "with a probability of {percent}. The list below is the nearest that is known.",
        "con una probabilidad del {percent}. La lista muestra lo más parecido que se conoce.",
    ),
    "abstain_common": ("Too little is known to tell", "Se sabe demasiado poco para distinguir"),
    "abstain_common_why": (
        "The list below is not narrow enough to go by; the interview asks what would narrow it.",
        "La lista no es lo bastante estrecha para guiarse por ella; la entrevista pregunta lo que falta.",
    ),
    "not_answered": ("Not answered", "Sin respuesta"),
    "not_answered_rare": ("it needs HPO findings", "necesita hallazgos HPO"),
    "not_answered_common": (
        "it needs answers to the common questions",
        "necesita respuestas a las preguntas frecuentes",
    ),
    "red_flags": ("Severe and still possible", "Graves y aún posibles"),
    "reasons": ("Reasons for and against", "Razones a favor y en contra"),
    "for": ("for", "a favor"),
    "against": ("against", "en contra"),
    "state_observed": ("present", "presente"),
    "state_present": ("present", "presente"),
    "state_excluded": ("absent", "ausente"),
    "state_absent": ("absent", "ausente"),
    "known_cases": ("published cases known", "casos publicados conocidos"),
    "severity": ("severity", "gravedad"),
    "look_next": ("What to look for next", "Qué buscar a continuación"),
    "look_next_why": (
        "Findings that would best tell the leading candidates apart.",
        "Hallazgos que mejor separarían los primeros candidatos.",
    ),
    "similar": ("Similar published patients", "Pacientes publicados similares"),
    "similarity": ("similarity", "similitud"),
    "conformal": (
        "With {percent} coverage, the condition is one of: {names}.",
        "Con una cobertura del {percent}, la afección es una de: {names}.",
    ),
    "print": ("Print or save as PDF", "Imprimir o guardar como PDF"),
    "download": ("Download as HTML", "Descargar como HTML"),
    "feedback": ("Feedback", "Comentarios"),
    "feedback_which": ("Diagnosis", "Diagnóstico"),
    "feedback_comment": ("Comment (no patient names)", "Comentario (sin nombres de pacientes)"),
    "confirm": ("Confirmed", "Confirmado"),
    "reject": ("Rejected", "Descartado"),
    "feedback_thanks": (
        "Thank you; it is kept with the prediction.",
        "Gracias; queda unido a la predicción.",
    ),
    "question_number": ("Question {n}", "Pregunta {n}"),
    "red_flag": ("warning sign", "signo de alarma"),
    "value_one": ("Choose one", "Elija una opción"),
    "value_many": ("Choose all that apply", "Elija todas las que correspondan"),
    "enter": ("Enter", "Registrar"),
    "none_of_these": ("None of these", "Ninguna de estas"),
    "undo": ("Take back the last answer", "Deshacer la última respuesta"),
    "leading": ("Leading now", "En cabeza ahora"),
    "answered": ("Answered so far", "Respondido hasta ahora"),
    "interview_hint": (
        "Tip: state the main complaint in the first tab; the interview goes on from there.",
        "Consejo: indique el motivo principal en la primera pestaña; la entrevista continúa desde ahí.",
    ),
    "interview_done": ("The interview can stop here.", "La entrevista puede terminar aquí."),
    "prediction_id": ("Prediction id", "Identificador de la predicción"),
    "show_lineage": ("Show the lineage", "Mostrar el origen"),
    "lineage_intro": (
        "From an answer back to the sums of the source files.",
        "De una respuesta hasta las sumas de los archivos de origen.",
    ),
    "lineage_alt": ("Graph of the steps in the table below", "Gráfico de los pasos de la tabla siguiente"),
    "steps": ("Steps", "Pasos"),
    "download_prov": ("Download as PROV-JSON", "Descargar como PROV-JSON"),
    "step_prediction": ("prediction", "predicción"),
    "step_bento": ("service (bento)", "servicio (bento)"),
    "step_bundle": ("bundle", "paquete de modelos"),
    "step_model": ("model", "modelo"),
    "step_run": ("training run", "entrenamiento"),
    "step_data": ("table", "tabla"),
    "step_source": ("source file", "archivo de origen"),
    "versions": ("Versions", "Versiones"),
    "api_down": ("The service is not running at {address}.", "El servicio no está en marcha en {address}."),
    "api_start": (
        "Please start it in a terminal, then reload this page:",
        "Inícielo en una terminal y vuelva a cargar esta página:",
    ),
    "api_not_ready": (
        "The service runs, but it has no models to answer with yet.",
        "El servicio está en marcha, pero aún no tiene modelos con los que responder.",
    ),
    "api_make": (
        "Please build them once, then start the service again:",
        "Constrúyalos una vez y vuelva a iniciar el servicio:",
    ),
    "api_key": ("API key", "Clave de la API"),
    "api_denied": (
        "This service asks for a key. Enter yours in the sidebar.",
        "Este servicio pide una clave. Introdúzcala en la barra lateral.",
    ),
    "api_refused": ("The service cannot use this:", "El servicio no puede usar esto:"),
    "retry": ("Try again", "Reintentar"),
    "origin_published_case": ("published cases", "casos publicados"),
    "origin_ddxplus": ("DDXPlus (synthesized by its authors)", "DDXPlus (sintetizado por sus autores)"),
    "origin_simulated": ("simulated patients", "pacientes simulados"),
    "origin_ctgan": ("CTGAN patients (synthetic)", "pacientes CTGAN (sintéticos)"),
    "origin_ehr": ("hospital records", "historias clínicas"),
    "group_bleeding": ("Bleeding", "Sangrado"),
    "group_breathing": ("Breathing", "Respiración"),
    "group_digestion": ("Digestion", "Digestión"),
    "group_exposure": ("Exposure", "Exposición"),
    "group_eyes": ("Eyes", "Ojos"),
    "group_family": ("Family", "Familia"),
    "group_general": ("General", "General"),
    "group_heart": ("Heart", "Corazón"),
    "group_history": ("Previous illnesses", "Enfermedades previas"),
    "group_lifestyle": ("Way of life", "Estilo de vida"),
    "group_medication": ("Medicines", "Medicamentos"),
    "group_mental": ("Mind", "Ánimo"),
    "group_neuro": ("Nerves and muscles", "Nervios y músculos"),
    "group_nose_ears": ("Nose and ears", "Nariz y oídos"),
    "group_pain": ("Pain", "Dolor"),
    "group_skin": ("Skin", "Piel"),
    "group_throat": ("Throat and mouth", "Garganta y boca"),
    "group_travel": ("Travel", "Viajes"),
    "group_women": ("Women's health", "Salud de la mujer"),
    "group_work": ("Work", "Trabajo"),
}


def text(key: str, language: str, **values: object) -> str:
    """A wording in a language, with its placeholders filled.

    Raises:
        KeyError: no such wording.
    """
    english, spanish = TEXTS[key]
    return (spanish if language == "es" else english).format(**values)


def origin(name: str, language: str) -> str:
    """Where training patients came from, in words; an origin without words stays as it is."""
    return text(f"origin_{name}", language) if f"origin_{name}" in TEXTS else name
